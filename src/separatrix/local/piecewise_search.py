"""Points of one period of a piecewise-linear map of the plane: the fixed points of the iterated map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from separatrix.local.piecewise_cells import Fixed, around, fixed_points
from separatrix.local.piecewise_continua import clipped, covered, distance
from separatrix.local.piecewise_stability import joint_stability, smooth_stability
from separatrix.local.region_affine import plane_maps
from separatrix.local.region_box import rectangle
from separatrix.local.region_layers import Layer, composed, evaluate
from separatrix.local.region_split import TOLERANCE, split

ROOM = 1e-7
"""Share of the size by which the search reaches beyond the box, so that nothing on its border is lost."""

CLOSE = 1e-9
"""Share of the size below which points that were reached along different ways are taken for the same."""

Box = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Level:
    """Solutions of f^period(x) = x in a box, less those of a smaller period that were known already."""

    period: int
    position: Float[np.ndarray, "points 2"]
    slack: Float[np.ndarray, " points"]
    derivative: Float[np.ndarray, "points 2 2"]
    stability: Int[np.ndarray, " points"]
    boundary: Bool[np.ndarray, " points"]
    segments: Float[np.ndarray, "segments 2 2"]
    across: Float[np.ndarray, " segments"]
    polygons: tuple[np.ndarray, ...]
    unsure: Float[np.ndarray, "boxes 2 2"]

    def holds(self, x: Float[np.ndarray, "points 2"], slack: Float[np.ndarray, " points"]) -> np.ndarray:
        """Which points are among its points, segments and polygons, within what they may be off."""
        apart = np.linalg.norm(x[:, None] - self.position, axis=2)
        found = (apart <= slack[:, None] + self.slack).any(1) | (distance(x, self.segments) <= slack)
        for polygon in self.polygons:
            found |= covered(x, polygon, slack)
        return found


def level(once: list[Layer], period: int, box: Box, search: Box, room: int, older: list[Level]) -> Level:
    """Find all points of a period.

    Parameters
    ----------
    once : list of Layer
        The map.
    period : int
    box : (lo, hi)
        Closed box in which the points are wanted.
    search : (lo, hi)
        Box that holds all cycles of ``box``, with room around those on its border.
    room : int
        Most regions of the iterated map.
    older : list of Level
        Of the periods that divide this one.

    Raises
    ------
    TooMany
        If the iterated map has more regions.
    """
    lo, hi = box
    size = float(np.abs(box).max())
    chain = composed(once, period, *search)
    cells = split(chain, rectangle(*search), room)
    if not len(cells.count):
        return nothing(period)
    A, b = plane_maps(chain, cells.pattern)
    fixed = fixed_points(cells, A, b, size)
    chosen = _chosen(fixed, lo, hi)
    for turn in range(1, period):
        x = _iterated(once, turn, fixed.position[chosen].T).T
        chosen = chosen[((x >= lo - CLOSE * size) & (x <= hi + CLOSE * size)).all(1)]
    for other in older:
        chosen = chosen[~other.holds(fixed.position[chosen], fixed.slack[chosen])]
    chosen = chosen[np.lexsort(fixed.position[chosen].T[::-1])]
    stability, boundary = np.zeros(len(chosen), dtype=int), np.zeros(len(chosen), dtype=bool)
    for place, one in enumerate(chosen):
        maps = A[fixed.cell[one]][None]
        if fixed.border[one]:
            maps = local_maps(once, period, fixed.position[one], fixed.slack[one], size)
            boundary[place] = np.abs(maps - maps[0]).max() > 1e-10 * (1 + np.abs(maps).max())
        stability[place] = joint_stability(maps) if boundary[place] else smooth_stability(maps[0])
    segments, across = [], []
    for ends, cell in zip(fixed.segments, fixed.segment_cell, strict=True):
        part = _staying(once, period, ends, lo, hi)
        if len(part) == 2 and not _periodic(once, part, older, size):
            segments.append(part)
            across.append(np.trace(A[cell]) - 1)
    polygons = []
    for cell in fixed.filled:
        part = _staying(once, period, cells.polygon(cell), lo, hi)
        if len(part) > 2 and not _periodic(once, part, older, size):
            polygons.append(part)
    unsure = [np.stack([polygon.min(0), polygon.max(0)]) for polygon in map(cells.polygon, fixed.unsure)]
    return Level(
        period,
        np.clip(fixed.position[chosen], lo, hi),
        fixed.slack[chosen],
        A[fixed.cell[chosen]],
        stability,
        boundary,
        np.array(segments).reshape(-1, 2, 2),
        np.array(across, dtype=float),
        tuple(polygons),
        np.array(unsure).reshape(-1, 2, 2),
    )


def shrunk(once: list[Layer], search: Box, room: int) -> Box | None:
    """A smaller box that holds every cycle of a box; None if there is none.

    A cycle in B lies in B and in f(B), and the image of a region is the hull of its corners' images.
    """
    lo, hi = search
    pad = ROOM * float(np.abs(search).max())
    while True:
        corners = split(composed(once, 1, lo, hi), rectangle(lo, hi), room).corners
        image = evaluate(once, corners.T)
        before = np.prod(hi - lo)
        lo, hi = np.maximum(lo, image.min(1) - pad), np.minimum(hi, image.max(1) + pad)
        if (lo >= hi).any():
            return None
        if np.prod(hi - lo) > 0.8 * before:
            return lo, hi


def local_maps(
    once: list[Layer], period: int, x: Float[np.ndarray, " 2"], slack: float, size: float
) -> Float[np.ndarray, "maps 2 2"]:
    """Derivatives of the iterated map in all regions that meet at a point, within its slack."""
    half = max(1e-9 * size, 64 * slack)
    chain = composed(once, period, np.full(2, -np.inf), np.full(2, np.inf))
    cells = split(chain, rectangle(x - half, x + half), 10_000)
    A, _ = plane_maps(chain, cells.pattern)
    return A[around(cells, x, 4 * max(slack, TOLERANCE * size))]


def _chosen(fixed: Fixed, lo: np.ndarray, hi: np.ndarray) -> Int[np.ndarray, " chosen"]:
    """Fixed points in the closed box, each once: a point on a border is found in all cells around it."""
    x, slack = fixed.position, fixed.slack
    near = ((x >= lo - slack[:, None]) & (x <= hi + slack[:, None])).all(1)
    chosen = list(np.flatnonzero(near & ~fixed.border))
    for one in np.flatnonzero(near & fixed.border):
        apart = np.linalg.norm(x[chosen] - x[one], axis=1)
        on_segment = distance(x[one][None], fixed.segments)[0] <= slack[one]
        if not (apart <= slack[chosen] + slack[one]).any() and not on_segment:
            chosen.append(one)
    return np.array(chosen, dtype=int)


def _staying(once: list[Layer], period: int, corners: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """The part of a segment or polygon, on which the iterates are affine, whose orbits stay in the closed box."""
    for turn in range(period):
        for axis, sign, bound in ((0, 1, lo[0]), (0, -1, hi[0]), (1, 1, lo[1]), (1, -1, hi[1])):
            corners = clipped(corners, sign * (_iterated(once, turn, corners.T)[axis] - bound))
            if not len(corners):
                return corners
    return corners


def _iterated(once: list[Layer], times: int, x: Float[np.ndarray, "2 points"]) -> Float[np.ndarray, "2 points"]:
    for _ in range(times):
        x = evaluate(once, x)
    return x


def _periodic(once: list[Layer], corners: np.ndarray, older: list[Level], size: float) -> bool:
    """Whether a segment or polygon consists of points of a smaller period."""
    # the middle alone could be one point of it
    weights = np.stack([np.arange(1, len(corners) + 1) ** power for power in (0.0, 1.0, 2.0)])
    x = (weights / weights.sum(1, keepdims=True) @ corners).T
    return any(np.abs(_iterated(once, other.period, x) - x).max() <= CLOSE * size for other in older)


def nothing(period: int) -> Level:
    """A period without points."""
    none, pair = np.zeros(0), np.zeros((0, 2))
    whole, truth, square = np.zeros(0, dtype=int), np.zeros(0, dtype=bool), np.zeros((0, 2, 2))
    return Level(period, pair, none, square, whole, truth, square, none, (), square)
