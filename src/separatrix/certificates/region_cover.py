"""Affine pieces that cover a piecewise-linear map everywhere: unbounded regions too, and in spite of rounding.

A point x is the ray (x, 1), and the plane the rays (y, tau) with tau > 0, so that unbounded regions are cones like all
others. What is claimed of the result: *almost every point of the domain lies in a cell whose A x + b is f near that
point.* Then the domain is a union of finitely many closed convex sets with f affine on each, every segment is cut into
finitely many parts on each of which f is one of the maps, and what bounds all A_i bounds f's slopes.

Why it holds. A cell is the cone of a loop of real rays, of which the computer knows numbers and a relative error; its
functionals (pre-activations as linear functions of the ray) are known as intervals that hold the true ones. Let g be a
functional and C a cell, in which every point has the pieces so far.

- The part {g >= 0} of C is covered by the rays at which g may be positive or zero, u >= 0 for its upper bound u, and
  by one more ray on each edge that leads from such a ray r (u) to another r' (u' < 0): (1 - l) r + l r' for a floating
  point l >= u / (u - u'). There g <= (1 - l) u + l u' <= 0, so the crossing lies between r and this ray. The new ray is
  the exact combination; the numbers stored for it are off by a few units. All vertices of {g >= 0} within C are thus in
  the part, which is inscribed in C: convex, and in order. Likewise for {g <= 0}: the two parts overlap.
- Only where g <= 0 for certain at all rays is there no upper part: {g >= 0} is then without interior, or g = 0 on all
  of C, where both pieces give the same function. A part of fewer than three rays has no interior either.
- Rays of one cell have components of one sign, so that combinations do not cancel and errors stay relative. Zeros
  are exact, in rays and in functionals: networks without biases keep their corner at the origin.
- If nothing but rounding may lie beyond a kink, kinks often coincide (v and -v, or relu(relu(z))) and nothing is there:
  then rational arithmetic may show that g >= 0 follows from one or two of the cell's own inequalities.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from separatrix.certificates.problem import Problem
from separatrix.certificates.verified import TINY, UNIT, UP, product
from separatrix.local.region_layers import layers
from separatrix.results.errors import ArgumentError
from separatrix.systems.curve_forms import ROUNDING
from separatrix.systems.curves import Curve

LEAST = 1e-290
"""Added to the error of what is not exactly zero: covers what underflows."""
THIN = 2.0**-30
"""Share of the terms' sizes within which a part of a cell is so thin that it is looked at in rational arithmetic."""
_CHUNK = 2**20
_CACHE = 1000

Ray = tuple[float, float, float, float]
"""y, tau and the relative error of each."""
Label = tuple[Any, ...]
"""What an edge is: ("domain", row), or (layer, component, kink, sign)."""


class Incomplete(Exception):
    """The map could not be covered; ``reason`` and ``advice`` say why."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


@dataclass(frozen=True)
class Cover:
    """Cells with the affine maps A x + b of a network; see the module for what they cover.

    Attributes
    ----------
    A, A_radius : array (cells, outputs, n)
        Bounds of the exact maps: midpoint and radius, entry by entry.
    b, b_radius : array (cells, outputs)
    pattern : array (cells, components)
        Piece of every component, counted from 0 at the left. Cells may share one: the domain is cut along the axes.
    rays : array (total, 3)
        Rays (y, tau) of the cells, one cell after the other: the points y / tau, and directions where tau = 0.
    error : array (total,)
        Relative error of each component.
    start, count : array (cells,)
        Where each cell begins in ``rays``, and how many it has.
    unbounded : array (cells,)
        Whether the cell may be unbounded: it has a ray with tau = 0.
    """

    A: Float[np.ndarray, "cells outputs n"]
    A_radius: Float[np.ndarray, "cells outputs n"]
    b: Float[np.ndarray, "cells outputs"]
    b_radius: Float[np.ndarray, "cells outputs"]
    pattern: UInt8[np.ndarray, "cells components"]
    rays: Float[np.ndarray, "total 3"]
    error: Float[np.ndarray, " total"]
    start: Int[np.ndarray, " cells"]
    count: Int[np.ndarray, " cells"]
    unbounded: Bool[np.ndarray, " cells"]

    @property
    def cell(self) -> Int[np.ndarray, " total"]:
        """Cell of each ray."""
        return np.repeat(np.arange(len(self.count)), self.count)


def region_cover(problem: Problem, *, limit: int = 20_000, seconds: float = 60.0) -> Cover:
    """Cover the problem's box, or all of space, with cells on each of which the map is affine.

    Parameters
    ----------
    problem : Problem
        One or two state components, and no input, or one that is constant. Activations are piecewise linear.
    limit : int
        Most cells.
    seconds : float
        Time allowed.

    Returns
    -------
    Cover

    Raises
    ------
    Incomplete
        If an activation is not piecewise linear, there are more components, an input varies, or the budget ends: a part
        of the cells is never given for all.

    Notes
    -----
    Cells are cut layer by layer, by all components whose kinks may pass through them: about 0.1 ms a cut, and a pass of
    three columns through the network for each cell.
    """
    until = perf_counter() + seconds
    stages = _stages(problem)
    cells, least = _start(problem)
    exact = _Exact(stages, problem)
    first = np.zeros((problem.n + problem.m, 3))
    first[range(problem.n), range(problem.n)] = 1
    first[problem.n :, 2] = problem.u_box[0].numpy()
    count = len(cells)
    middle = np.repeat(first[:, None], count, axis=1)
    values = {0: _Values(middle, np.zeros_like(middle), middle != 0)}
    pattern = np.zeros((count, 0), dtype=np.uint8)
    for place, stage in enumerate(stages[:-1], 1):
        z = stage.preactivation(values, count)
        _require_finite(z)
        low, high = _pieces(z, stage.breaks, cells)
        constant = np.logical_not(z.live[:, :, :2].any(-1))
        high = np.where(constant, low, high)
        cutter = _Cutter(stage, place, z, exact, least)
        cells, parent, code = _cut_all(cutter, cells, pattern, low, high, limit, until)
        count = len(cells)
        later = {source for other in stages[place:] for source in other.sources}
        values = {source: v.of(parent) for source, v in values.items() if source in later}
        values[place] = stage.value(z.of(parent), code.T, constant[:, parent])
        pattern = np.concatenate([pattern[parent], code], axis=1)
    out = stages[-1].preactivation(values, count)
    _require_finite(out)
    A, radius = out.middle.transpose(1, 0, 2), out.radius.transpose(1, 0, 2)
    rays, start, counts = _flat(cells)
    n = problem.n
    return Cover(
        np.ascontiguousarray(A[:, :, :n]),
        np.ascontiguousarray(radius[:, :, :n]),
        np.ascontiguousarray(A[:, :, 2]),
        np.ascontiguousarray(radius[:, :, 2]),
        pattern,
        np.ascontiguousarray(rays[:, :3]),
        np.ascontiguousarray(rays[:, 3]),
        start,
        counts,
        np.logical_or.reduceat(rays[:, 2] == 0, start),
    )


@dataclass(frozen=True)
class _Values:
    """Linear functions of rays, for each component and cell (n, cells, 3): intervals, and which numbers are not 0."""

    middle: np.ndarray
    radius: np.ndarray
    live: np.ndarray

    def of(self, cells: np.ndarray) -> _Values:
        return _Values(self.middle[:, cells], self.radius[:, cells], self.live[:, cells])


def _require_finite(z: _Values) -> None:
    if not (np.isfinite(z.middle).all() and np.isfinite(z.radius).all()):
        raise Incomplete("values overflow", "scale the weights")


@dataclass(frozen=True)
class _Stage:
    """One layer: weights of all sources side by side with the bias, and the pieces of the activation."""

    sources: tuple[int, ...]
    weight: np.ndarray
    breaks: np.ndarray
    slopes: np.ndarray
    slope_radius: np.ndarray
    offsets: np.ndarray
    curve: Curve | None

    @property
    def sixths(self) -> bool:
        """Whether the slopes are 1/6, which is no floating-point number, and the offsets halves."""
        return self.curve is not None and self.curve.name == "hardsigmoid"

    def preactivation(self, values: dict[int, _Values], count: int) -> _Values:
        one = np.zeros((1, count, 3))
        one[:, :, 2] = 1
        found = [values[source] for source in self.sources] + [_Values(one, np.zeros_like(one), one != 0)]
        middle, radius, live = (
            np.concatenate([getattr(v, name) for v in found]).reshape(-1, 3 * count)
            for name in ("middle", "radius", "live")
        )
        weight = torch.from_numpy(self.weight)
        z, error = product(weight, None, torch.from_numpy(middle), torch.from_numpy(radius))
        live = ((self.weight != 0).astype(np.float32) @ live.astype(np.float32)) > 0
        shape = (len(self.weight), count, 3)
        return _Values(z.numpy().reshape(shape), (error.numpy() * live).reshape(shape), live.reshape(shape))

    def value(self, z: _Values, code: np.ndarray, constant: np.ndarray) -> _Values:
        """Slope z + offset on the pieces ``code`` (n, cells); components that are constant in a cell by their value."""
        at = (np.arange(len(code))[:, None], code)
        slope, spread, offset = (part[at][..., None] for part in (self.slopes, self.slope_radius, self.offsets))
        middle = slope * z.middle
        radius = np.abs(slope) * z.radius + spread * (np.abs(z.middle) + z.radius) + 2 * UNIT * np.abs(middle)
        live = z.live & ((slope != 0) | (spread != 0))
        has = offset[..., 0] != 0
        middle[:, :, 2] += offset[..., 0]
        radius[:, :, 2] += has * 2 * UNIT * np.abs(middle[:, :, 2])
        radius[:, :, 2] += (spread[..., 0] != 0) * ROUNDING * np.abs(offset[..., 0])
        live[:, :, 2] |= has
        if constant.any():
            assert self.curve is not None
            least, most = z.middle[:, :, 2] - z.radius[:, :, 2], z.middle[:, :, 2] + z.radius[:, :, 2]
            slack = 2 * UNIT * np.abs(z.middle[:, :, 2])
            bounds = self.curve.value_over(*(torch.from_numpy(v.T.copy()) for v in (least - slack, most + slack)))
            low, high = (v.numpy().T for v in bounds)
            centre = low / 2 + high / 2
            half = np.maximum(high - centre, centre - low) * UP + TINY
            # s(0) itself is exact
            zero = ~z.live[:, :, 2]
            centre, half = np.where(zero, self.curve.at_zero, centre), np.where(zero, 0.0, half)
            last = np.array([0.0, 0.0, 1.0])
            middle = np.where(constant[..., None], centre[..., None] * last, middle)
            radius = np.where(constant[..., None], half[..., None] * last, radius)
            some = (centre != 0) | (half != 0)
            live = np.where(constant[..., None], some[..., None] & (last > 0), live)
        return _Values(middle, (radius * UP + TINY) * live, live)


def _stages(problem: Problem) -> list[_Stage]:
    network = problem.network
    if problem.n not in (1, 2):
        raise Incomplete(f"regions are cut in one or two dimensions, not in {problem.n}", "another method")
    if problem.m and bool((problem.u_box[0] != problem.u_box[1]).any()):
        raise Incomplete("regions are cut for a constant input only", "another method, or a constant input")
    try:
        flat = layers(network)
    except ArgumentError as error:
        raise Incomplete(f"{error.got}", "another method: regions need piecewise-linear activations") from error
    found = []
    for layer, block in zip(flat, network.blocks, strict=True):
        sources = tuple(sorted(layer.weights))
        weight = np.concatenate([*(layer.weights[source] for source in sources), layer.bias[:, None]], axis=1)
        radius = np.zeros_like(layer.slopes)
        if block.curve is not None:
            low, high = (v.numpy().T for v in block.curve.slope_over(*[torch.from_numpy(_within(layer.breaks).T)] * 2))
            radius = np.maximum(high - layer.slopes, layer.slopes - low)
            radius[(layer.slopes == 0) & (radius <= TINY)] = 0  # a flat piece is flat
        found.append(_Stage(sources, weight, layer.breaks, layer.slopes, radius, layer.offsets, block.curve))
    return found


def _within(breaks: np.ndarray) -> np.ndarray:
    """A place inside each piece (n, p + 1)."""
    if not breaks.shape[1]:
        return np.zeros((len(breaks), 1))
    ends = (breaks[:, :1] - 1 - np.abs(breaks[:, :1]), breaks[:, -1:] + 1 + np.abs(breaks[:, -1:]))
    return np.concatenate([ends[0], breaks[:, 1:] / 2 + breaks[:, :-1] / 2, ends[1]], axis=1)


@dataclass(frozen=True)
class _Cell:
    """A loop of rays; ``edges[k]`` is what leads from ray k to the next one."""

    rays: list[Ray]
    edges: list[Label]


def _start(problem: Problem) -> tuple[list[_Cell], int]:
    """Cells of the domain whose rays have components of one sign, and the least number of rays of a part."""
    if problem.box is None:
        return _all_of_space(problem.n), problem.n + 1
    sides = []
    for a, b in zip(problem.box[0].tolist(), problem.box[1].tolist(), strict=True):
        sides.append([(a, 0.0), (0.0, b)] if a < 0 < b else [(a, b)])
    found = []
    for x in sides[0]:
        for y in sides[1] if problem.n == 2 else [(0.0, 0.0)]:
            corners = list(dict.fromkeys([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]))
            rows = [(0, 1, -y[0]), (-1, 0, x[1]), (0, -1, y[1]), (1, 0, -x[0])]
            if len(corners) < 4:  # a segment, bounded at its two ends, or a point
                rows = ([rows[3], rows[1]] if x[0] < x[1] else [rows[0], rows[2]])[: len(corners)]
            edges: list[Label] = [("domain", tuple(_whole(np.array(row, dtype=float))[0].tolist())) for row in rows]
            found.append(_Cell([_scaled(a, b, 1.0, 0.0) for a, b in corners], edges))
    return found, min(3, len(found[0].rays))


def _all_of_space(n: int) -> list[_Cell]:
    found = []
    for s in (1.0, -1.0):
        for t in (1.0, -1.0) if n == 2 else (0.0,):
            rays: list[Ray] = [(s, 0.0, 0.0, 0.0), (0.0, t, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)]
            rows = [(0, 0, 1), (s, 0, 0), (0, t, 0)]
            if n == 1:
                rays, rows = [rays[0], rays[2]], [(0, 0, 1), (s, 0, 0)]
            found.append(_Cell(rays, [("domain", tuple(map(int, row))) for row in rows]))
    return found


def _scaled(a: float, b: float, tau: float, error: float) -> Ray:
    """A ray with its largest component near 1, by a power of two."""
    largest = max(abs(a), abs(b), tau)
    given = (a, b, tau)
    if largest < 0.25 or largest >= 2:
        factor = 2.0 ** -np.floor(np.log2(largest))
        a, b, tau = float(a * factor), float(b * factor), float(tau * factor)
    # one that was not zero may have underflowed to it
    if any(u and abs(v) < LEAST for u, v in zip(given, (a, b, tau), strict=True)) or not error < 2.0**-32:
        raise Incomplete("regions are too thin for floating point")
    return a, b, tau, error


def _flat(cells: list[_Cell]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = np.array([len(cell.rays) for cell in cells])
    return np.array([ray for cell in cells for ray in cell.rays]), np.cumsum(count) - count, count


def _pieces(z: _Values, breaks: np.ndarray, cells: list[_Cell]) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest piece of each component in each cell (n, cells)."""
    n, p = breaks.shape
    low, high = np.zeros((2, n, len(cells)), dtype=np.uint8)
    chunk = max(1, _CHUNK // (20 * n))
    for begin in range(0, len(cells), chunk):
        part = slice(begin, min(begin + chunk, len(cells)))
        rays, start, count = _flat(cells[part])
        cell = np.repeat(np.arange(begin, part.stop), count)
        size, spread, value = np.zeros((3, n, len(rays)))
        live = np.zeros((n, len(rays)), dtype=bool)
        for k in range(3):
            x = np.abs(rays[:, k])
            value += z.middle[:, cell, k] * rays[:, k]
            size += np.abs(z.middle[:, cell, k]) * x
            spread += z.radius[:, cell, k] * x
            live |= z.live[:, cell, k] & (x > 0)
        own = rays[:, 3]
        error = (size * (8 * UNIT + own) + spread * (1 + own)) * UP + LEAST * live
        for k in range(p):
            at = breaks[:, k, None] * rays[:, 2]
            level = value - at
            slack = np.where(at != 0, error + (np.abs(value) + np.abs(at)) * 4 * UNIT + np.abs(at) * own * UP, error)
            above = np.logical_and.reduceat(level - slack >= 0, start, axis=1)
            low[:, part] += above
            high[:, part] += above | np.logical_or.reduceat(level + slack > 0, start, axis=1)
    return low, high


@dataclass(frozen=True)
class _Cutter:
    """Cuts cells along the kinks of one layer."""

    stage: _Stage
    place: int
    z: _Values
    exact: _Exact
    least: int

    def cut(self, cell: _Cell, parent: int, prefix: bytes, j: int, k: int) -> tuple[_Cell | None, _Cell | None]:
        """Parts of a cell below and above a kink; None where there is nothing."""
        at = float(self.stage.breaks[j, k])
        g, radius = self.z.middle[j, parent].tolist(), self.z.radius[j, parent].tolist()
        live = self.z.live[j, parent].tolist()
        if at:
            g[2] -= at
            radius[2] += 2 * UNIT * abs(g[2])
            live[2] = True
        value, error, thin_above, thin_below = [], [], True, True
        for a, b, tau, own in cell.rays:
            x, y, t = g[0] * a, g[1] * b, g[2] * tau
            level, size = x + y + t, abs(x) + abs(y) + abs(t)
            spread = radius[0] * abs(a) + radius[1] * abs(b) + radius[2] * tau
            slack = (size * (8 * UNIT + own) + spread * (1 + own)) * UP
            if (live[0] and a) or (live[1] and b) or (live[2] and tau):
                slack += LEAST
            value.append(level)
            error.append(slack)
            thin_above &= level <= THIN * size
            thin_below &= level >= -THIN * size
        upper = [v + e for v, e in zip(value, error, strict=True)]
        lower = [e - v for v, e in zip(value, error, strict=True)]
        if max(lower) <= 0:
            return None, cell
        if max(upper) <= 0:
            return cell, None
        label = (self.place, j, k)
        if thin_above and self.exact.empty(cell, prefix, label, 1, value):
            return cell, None
        if thin_below and self.exact.empty(cell, prefix, label, -1, value):
            return None, cell
        return self._part(cell, lower, (*label, -1)), self._part(cell, upper, (*label, 1))

    def _part(self, cell: _Cell, u: list[float], label: Label) -> _Cell | None:
        """What holds the part of a cell where a functional with upper bounds u at its rays is not negative."""
        count = len(u)
        out = [k for k in range(count) if u[k] < 0]
        if not out:
            return cell
        if len(out) == count:
            return None
        first, length = _longest_run(out, count)
        kept = [(first + length + k) % count for k in range(count - length)]
        rays, edges = [cell.rays[k] for k in kept], [cell.edges[k] for k in kept]
        # u may be negative at rays that are kept to leave one run out
        before, after = kept[0] - 1, (kept[-1] + 1) % count
        if u[kept[-1]] > 0:
            rays.append(_between(cell.rays[kept[-1]], cell.rays[after], u[kept[-1]], u[after]))
            edges.append(label)
        else:
            edges[-1] = label
        if u[kept[0]] > 0 and not (count == 2 and len(rays) == 2):
            rays.insert(0, _between(cell.rays[kept[0]], cell.rays[before], u[kept[0]], u[before]))
            edges.insert(0, cell.edges[before])
        return _Cell(rays, edges) if len(rays) >= self.least else None


def _longest_run(out: list[int], count: int) -> tuple[int, int]:
    """Where the longest cyclic run of places begins, and its length."""
    inside = set(out)
    best = (0, 0)
    for begin in out:
        if (begin - 1) % count in inside and len(out) < count:
            continue
        length = 1
        while (begin + length) % count in inside:
            length += 1
        best = max(best, (begin, length), key=lambda run: run[1])
    return best


def _between(r: Ray, s: Ray, u: float, v: float) -> Ray:
    """A ray (1 - l) r + l s with l >= u / (u - v), for u > 0 > v."""
    share = min(1.0, max(u / (u - v) * (1 + 16 * UNIT), 2.0**-60))
    rest = 1 - share
    # three roundings each, no cancellation
    a, b, tau = (rest * p + share * q for p, q in zip(r[:3], s[:3], strict=True))
    for p, q, x in zip(r[:3], s[:3], (a, b, tau), strict=True):
        if (p or q) and abs(x) < LEAST:
            raise Incomplete("regions are too thin for floating point")
    return _scaled(a, b, tau, max(r[3], s[3]) + 4 * UNIT)


def _cut_all(
    cutter: _Cutter,
    cells: list[_Cell],
    pattern: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    limit: int,
    until: float,
) -> tuple[list[_Cell], np.ndarray, np.ndarray]:
    """Cut all cells by a layer; returns the new ones, the cell that each lies in, and its pieces (cells, n)."""
    found: list[_Cell] = []
    parents: list[int] = []
    codes: list[bytes] = []
    open_ = low != high
    for c, cell in enumerate(cells):
        now = [(cell, low[:, c].tobytes())]
        chosen = np.flatnonzero(open_[:, c])
        prefix = pattern[c].tobytes() if len(chosen) else b""
        for j in chosen.tolist():
            following = []
            for part, code in now:
                rest: _Cell | None = part
                for k in range(int(low[j, c]), int(high[j, c])):
                    assert rest is not None
                    below, rest = cutter.cut(rest, c, prefix, j, k)
                    if below is not None:
                        following.append((below, code[:j] + bytes([k]) + code[j + 1 :]))
                    if rest is None:
                        break
                if rest is not None:
                    following.append((rest, code[:j] + bytes([int(high[j, c])]) + code[j + 1 :]))
            now = following
            if perf_counter() > until:
                raise Incomplete("the time ended before all regions were found", "allow more time, or another method")
            if len(now) > limit:
                break
        if len(found) + len(now) > limit:
            raise Incomplete(f"there are more than {limit:,} regions", "allow more, or another method")
        for part, code in now:
            found.append(part)
            parents.append(c)
            codes.append(code)
    n = len(low)
    return found, np.array(parents, dtype=int), np.frombuffer(b"".join(codes), dtype=np.uint8).reshape(len(found), n)


class _Exact:
    """Functionals in rational arithmetic, and what follows from the inequalities of a cell.

    All numbers are whole ones over a common denominator; the sign of a functional does not depend on its own.
    """

    def __init__(self, stages: list[_Stage], problem: Problem) -> None:
        self.stages = stages
        self.ends = np.cumsum([0] + [len(stage.weight) for stage in stages]).tolist()
        u, self.scale = _whole(problem.u_box[0].numpy())
        first = np.full((problem.n + problem.m, 3), 0, dtype=object)
        first[range(problem.n), range(problem.n)] = self.scale
        first[problem.n :, 2] = u
        self.first = first
        self.weights: dict[int, tuple[np.ndarray, int]] = {}
        self.pieces: dict[int, tuple[np.ndarray, np.ndarray, int]] = {}
        self.joined: dict[tuple[int, bytes], tuple[np.ndarray, int]] = {}
        self.known: dict[tuple[int, bytes], tuple[tuple[np.ndarray, int], ...]] = {}

    def empty(self, cell: _Cell, prefix: bytes, label: Label, sign: int, value: list[float]) -> bool:
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
            self.weights[place] = _whole(self.stages[place - 1].weight)
        return self.weights[place]

    def _pieces(self, place: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Slopes and offsets, and their denominator."""
        if place not in self.pieces:
            stage = self.stages[place - 1]
            both = np.stack([stage.slopes, stage.offsets])
            if stage.sixths:
                sixths = (np.where(stage.slopes == 0, 0, 1), (6 * stage.offsets).astype(int))
                self.pieces[place] = (sixths[0].astype(object), sixths[1].astype(object), 6)
            else:
                whole, scale = _whole(both)
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
            slopes, offsets, factor = self._pieces(place - 1)
            at = (np.arange(len(code)), code)
            v = z * slopes[at][:, None]
            v[:, 2] = v[:, 2] + offsets[at] * scale
            self.known[key] = (*earlier, (v, scale * factor))
        return self.known[key]


def _whole(values: np.ndarray) -> tuple[np.ndarray, int]:
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
