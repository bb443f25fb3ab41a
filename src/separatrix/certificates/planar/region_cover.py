"""Affine pieces that cover a piecewise-linear map everywhere: unbounded regions too, and in spite of rounding.

A point x is the ray (x, 1), and the plane the rays (y, tau) with tau > 0, so that unbounded regions are cones like all
others. What is claimed of the result: *almost every point of the domain lies in a cell whose A x + b is f near that
point.* :mod:`separatrix.certificates.planar.cutting` says why it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from separatrix.certificates.planar.cells import first_cells, flat, pieces
from separatrix.certificates.planar.cutting import Cutter, cut_all
from separatrix.certificates.planar.exact_functionals import ExactFunctionals
from separatrix.certificates.planar.stages import Incomplete, Values, require_finite, stages_of
from separatrix.certificates.problem import Failure, Problem

__all__ = ["Cover", "Incomplete", "covered", "limit_of", "region_cover"]

CHECK_SECONDS = 3600.0
"""Time for the regions when something is shown again."""


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
    stages = stages_of(problem)
    cells, least = first_cells(problem)
    exact = ExactFunctionals(stages, problem)
    first = np.zeros((problem.n + problem.m, 3))
    first[range(problem.n), range(problem.n)] = 1
    first[problem.n :, 2] = problem.u_box[0].numpy()
    count = len(cells)
    middle = np.repeat(first[:, None], count, axis=1)
    values = {0: Values(middle, np.zeros_like(middle), middle != 0)}
    pattern = np.zeros((count, 0), dtype=np.uint8)
    for place, stage in enumerate(stages[:-1], 1):
        z = stage.preactivation(values, count)
        require_finite(z)
        low, high = pieces(z, stage.breaks, cells)
        constant = np.logical_not(z.live[:, :, :2].any(-1))
        high = np.where(constant, low, high)
        cutter = Cutter(stage, place, z, exact, least)
        cells, parent, code = cut_all(cutter, cells, pattern, low, high, limit, until)
        count = len(cells)
        later = {source for other in stages[place:] for source in other.sources}
        values = {source: v.of(parent) for source, v in values.items() if source in later}
        values[place] = stage.value(z.of(parent), code.T, constant[:, parent])
        pattern = np.concatenate([pattern[parent], code], axis=1)
    out = stages[-1].preactivation(values, count)
    require_finite(out)
    A, radius = out.middle.transpose(1, 0, 2), out.radius.transpose(1, 0, 2)
    rays, start, counts = flat(cells)
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


def covered(problem: Problem, method: str, limit: int, seconds: float) -> Cover | Failure:
    """Cover a map's regions, or say in a method's name why that is not possible."""
    if problem.network.outputs != problem.n:
        return Failure(method, "the map does not stay in its space")
    try:
        return region_cover(problem, limit=limit, seconds=seconds)
    except Incomplete as incomplete:
        return Failure(method, incomplete.reason, incomplete.advice)


def limit_of(data: dict[str, Any]) -> int:
    """Most regions when a proof is shown again."""
    # on another machine rounding may keep a few more cells
    regions = data.get("regions")
    return (2 * regions if isinstance(regions, int) else 0) + 1000
