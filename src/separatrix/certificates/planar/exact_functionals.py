"""Functionals of a network in rational arithmetic, and what follows from the inequalities of a cell."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

import numpy as np

from separatrix.certificates.planar.stages import Stage
from separatrix.certificates.problem import Problem

if TYPE_CHECKING:
    from separatrix.certificates.planar.cells import Cell, Label

_CACHE = 1000


class ExactFunctionals:
    """Functionals in rational arithmetic, and what follows from the inequalities of a cell.

    All numbers are whole ones over a common denominator; the sign of a functional does not depend on its own.
    """

    def __init__(self, stages: list[Stage], problem: Problem) -> None:
        self.stages = stages
        self.ends = np.cumsum([0] + [len(stage.weight) for stage in stages]).tolist()
        u, self.scale = whole_numbers(problem.u_box[0].numpy())
        first = np.full((problem.n + problem.m, 3), 0, dtype=object)
        first[range(problem.n), range(problem.n)] = self.scale
        first[problem.n :, 2] = u
        self.first = first
        self.weights: dict[int, tuple[np.ndarray, int]] = {}
        self.pieces: dict[int, tuple[np.ndarray, np.ndarray, int]] = {}
        self.joined: dict[tuple[int, bytes], tuple[np.ndarray, int]] = {}
        self.known: dict[tuple[int, bytes], tuple[tuple[np.ndarray, int], ...]] = {}

    def empty(self, cell: Cell, prefix: bytes, label: Label, sign: int, value: list[float]) -> bool:
        """Whether sign g > 0 is impossible in a cell, shown by -sign g = a h + b h' with a, b >= 0 and edges h, h'."""
        if any(stage.slope_radius.any() and not stage.sixths for stage in self.stages[: label[0] - 1]):
            return False
        target = self._row((*label, -sign), prefix)
        if not any(target):
            return True
        # the edges at the rays where the part is
        order = sorted(range(len(value)), key=lambda k: -sign * value[k])[:4]
        near = dict.fromkeys([cell.edges[k] for k in order] + [cell.edges[k - 1] for k in order])
        rows = [self._row(edge, prefix) for edge in near] + [(0, 0, 1)]
        for i, h in enumerate(rows):
            for other in rows[:i]:
                normal = _cross(h, other)
                if not any(normal):
                    continue
                inside = _dot(target, normal) == 0
                if inside and _dot(_cross(target, other), normal) >= 0 and _dot(_cross(h, target), normal) >= 0:
                    return True
        return False

    def _row(self, label: Label, prefix: bytes) -> tuple[int, ...]:
        if label[0] == "domain":
            return label[1]
        place, j, k, sign = label
        values, scale = self._stacked(place, prefix)
        weight, own = self._weight(place)
        g = weight[j] @ values
        above, below = float(self.stages[place - 1].breaks[j, k]).as_integer_ratio()
        g = g * below
        g[2] -= above * scale * own
        return tuple((sign * g).tolist())

    def _weight(self, place: int) -> tuple[np.ndarray, int]:
        if place not in self.weights:
            self.weights[place] = whole_numbers(self.stages[place - 1].weight)
        return self.weights[place]

    def _piece(self, place: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Slopes and offsets, and their denominator."""
        if place not in self.pieces:
            stage = self.stages[place - 1]
            both = np.stack([stage.slopes, stage.offsets])
            if stage.sixths:
                sixths = (np.where(stage.slopes == 0, 0, 1), (6 * stage.offsets).astype(int))
                self.pieces[place] = (sixths[0].astype(object), sixths[1].astype(object), 6)
            else:
                whole, scale = whole_numbers(both)
                self.pieces[place] = (whole[0], whole[1], scale)
        return self.pieces[place]

    def _stacked(self, place: int, prefix: bytes) -> tuple[np.ndarray, int]:
        """Values of a layer's sources, and 1 for the bias, over one denominator."""
        key = (place, prefix[: self.ends[place - 1]])
        if key not in self.joined:
            if len(self.joined) > _CACHE:
                self.joined.clear()
            known = self._values(place, prefix)
            found = [known[source] for source in self.stages[place - 1].sources]
            scale = lcm(*(own for _, own in found))
            one = np.array([[0, 0, scale]], dtype=object)
            self.joined[key] = np.concatenate([*(v * (scale // own) for v, own in found), one]), scale
        return self.joined[key]

    def _values(self, place: int, prefix: bytes) -> tuple[tuple[np.ndarray, int], ...]:
        """Values of the sources 0 to place - 1 on the pieces of a cell."""
        if place == 1:
            return ((self.first, self.scale),)
        key = (place, prefix[: self.ends[place - 1]])
        if key not in self.known:
            if len(self.known) > _CACHE:
                self.known.clear()
            earlier = self._values(place - 1, prefix)
            values, scale = self._stacked(place - 1, prefix)
            weight, own = self._weight(place - 1)
            z, scale = weight @ values, scale * own
            code = np.frombuffer(prefix[self.ends[place - 2] : self.ends[place - 1]], dtype=np.uint8).astype(int)
            breaks = self.stages[place - 2].breaks
            for j in range(len(z)):
                if not z[j, 0] and not z[j, 1]:  # a constant is on a piece of its own
                    code[j] = sum(Fraction(z[j, 2], scale) >= Fraction(float(at)) for at in breaks[j])
            slopes, offsets, factor = self._piece(place - 1)
            at = (np.arange(len(code)), code)
            v = z * slopes[at][:, None]
            v[:, 2] = v[:, 2] + offsets[at] * scale
            self.known[key] = (*earlier, (v, scale * factor))
        return self.known[key]


def whole_numbers(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Whole numbers and their denominator, a power of two."""
    ratios = [float(v).as_integer_ratio() for v in values.ravel()]
    scale = max((below for _, below in ratios), default=1)
    found = np.empty(values.shape, dtype=object)
    found.ravel()[:] = [above * (scale // below) for above, below in ratios]
    return found, scale


def _cross(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
