"""Cells as loops of rays: those that a domain begins with, and the pieces that components take on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from separatrix.certificates.planar.exact_functionals import whole_numbers
from separatrix.certificates.planar.stages import Incomplete, Values
from separatrix.certificates.problem import Problem
from separatrix.certificates.verified import UNIT, UP

LEAST = 1e-290
"""Added to the error of what is not exactly zero: covers what underflows."""
_CHUNK = 2**20

Ray = tuple[float, float, float, float]
"""y, tau and the relative error of each."""
Label = tuple[Any, ...]
"""What an edge is: ("domain", row), or (layer, component, kink, sign)."""


@dataclass(frozen=True)
class Cell:
    """A loop of rays; ``edges[k]`` is what leads from ray k to the next one."""

    rays: list[Ray]
    edges: list[Label]


def first_cells(problem: Problem) -> tuple[list[Cell], int]:
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
            edges: list[Label] = [
                ("domain", tuple(whole_numbers(np.array(row, dtype=float))[0].tolist())) for row in rows
            ]
            found.append(Cell([scaled(a, b, 1.0, 0.0) for a, b in corners], edges))
    return found, min(3, len(found[0].rays))


def _all_of_space(n: int) -> list[Cell]:
    found = []
    for s in (1.0, -1.0):
        for t in (1.0, -1.0) if n == 2 else (0.0,):
            rays: list[Ray] = [(s, 0.0, 0.0, 0.0), (0.0, t, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)]
            rows = [(0, 0, 1), (s, 0, 0), (0, t, 0)]
            if n == 1:
                rays, rows = [rays[0], rays[2]], [(0, 0, 1), (s, 0, 0)]
            found.append(Cell(rays, [("domain", tuple(map(int, row))) for row in rows]))
    return found


def scaled(a: float, b: float, tau: float, error: float) -> Ray:
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


def flat(cells: list[Cell]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All rays one after the other, where each cell begins, and how many it has."""
    count = np.array([len(cell.rays) for cell in cells])
    return np.array([ray for cell in cells for ray in cell.rays]), np.cumsum(count) - count, count


def pieces(z: Values, breaks: np.ndarray, cells: list[Cell]) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest piece of each component in each cell (n, cells)."""
    n, p = breaks.shape
    low, high = np.zeros((2, n, len(cells)), dtype=np.uint8)
    chunk = max(1, _CHUNK // (20 * n))
    for begin in range(0, len(cells), chunk):
        part = slice(begin, min(begin + chunk, len(cells)))
        rays, start, count = flat(cells[part])
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
