"""Fixed points of a map that is affine on each cell of a subdivision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from separatrix.local.region_split import TOLERANCE, Split

ROUNDING = 1e-13
"""Relative error that the maps of cells are given."""
FLAT = 1e-11
"""I - A counts as singular where its least singular value is below this, relative to 1 + the norm of A."""
UNSURE = 1e-6
"""Where a solution is uncertain by more than this share of the size, being near a border is not being on it."""


@dataclass(frozen=True)
class Fixed:
    """Fixed points found cell by cell.

    Attributes
    ----------
    position : array (points, 2)
    cell : array (points,)
        Cell whose map it was computed with.
    slack : array (points,)
        How far it may be off, and how close to a border it counts as on it.
    border : array (points,)
        Whether it is on the border of its cell.
    segments : array (segments, 2, 2)
        Ends of segments that consist of fixed points; one for each cell that has one.
    segment_cell : array (segments,)
    filled : array (filled,)
        Cells that consist of fixed points.
    unsure : array (unsure,)
        Cells of which rounding does not let it be said whether they have a fixed point.
    """

    position: Float[np.ndarray, "points 2"]
    cell: Int[np.ndarray, " points"]
    slack: Float[np.ndarray, " points"]
    border: Bool[np.ndarray, " points"]
    segments: Float[np.ndarray, "segments 2 2"]
    segment_cell: Int[np.ndarray, " segments"]
    filled: Int[np.ndarray, " filled"]
    unsure: Int[np.ndarray, " unsure"]


def fixed_points(
    split: Split, A: Float[np.ndarray, "cells 2 2"], b: Float[np.ndarray, "cells 2"], size: float
) -> Fixed:
    """All solutions of A x + b = x in the closed cells.

    Parameters
    ----------
    split : Split
    A, b : arrays (cells, 2, 2) and (cells, 2)
        Maps of the cells.
    size : float
        Largest coordinate that occurs; errors are relative to it.

    Notes
    -----
    A cell with a regular I - A has one solution, which counts if it lies in the cell within its own error. One with a
    singular I - A has a line of them, cut to a segment, or is filled with them, or has none.
    """
    eye = np.eye(2)
    U, S, Vt = np.linalg.svd(eye - A)
    norm = np.linalg.norm(A, axis=(1, 2))
    turned = np.einsum("cji,cj->ci", U, b)
    flat = S[:, 1] <= FLAT * (1 + norm)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = np.einsum("cji,cj->ci", Vt, turned / S)
        slack = 4 * TOLERANCE * size + ROUNDING * (norm * size + np.abs(b).max(1)) / S[:, 1]
    x[flat] = np.inf
    inner = margins(split, x)
    near = np.flatnonzero(~flat & (inner >= -slack))
    vague = slack[near] > UNSURE * size
    unsure = near[vague & (inner[near] <= slack[near])]
    points = np.setdiff1d(near, unsure)
    positions, cells, slacks = [x[points]], [points], [slack[points]]
    border = [inner[points] <= slack[points]]
    segments, lines, filled = [], [], []
    close = FLAT * (1 + norm) * size
    for c in np.flatnonzero(flat & (np.abs(turned[:, 1]) <= close + FLAT * np.abs(b).max(1))):
        polygon = split.polygon(c)
        if S[c, 0] <= FLAT * (1 + norm[c]):
            if np.abs(b[c]).max() <= close[c]:
                filled.append(c)
            continue
        ends = _chord(polygon, turned[c, 0] / S[c, 0] * Vt[c, 0], Vt[c, 1], 4 * TOLERANCE * size)
        if ends is None:
            continue
        if np.hypot(*(ends[1] - ends[0])) > 16 * TOLERANCE * size:
            segments.append(ends)
            lines.append(c)
        else:
            positions.append(ends.mean(0)[None])
            cells.append(np.array([c]))
            slacks.append(np.array([16 * TOLERANCE * size]))
            border.append(np.array([True]))
    return Fixed(
        np.concatenate(positions),
        np.concatenate(cells),
        np.concatenate(slacks),
        np.concatenate(border),
        np.array(segments).reshape(-1, 2, 2),
        np.array(lines, dtype=int),
        np.array(filled, dtype=int),
        unsure,
    )


def margins(split: Split, x: Float[np.ndarray, "cells 2"]) -> Float[np.ndarray, " cells"]:
    """Least signed distance of one point for each cell from the lines of its sides; positive inside."""
    after, at = split.following, split.corners[split.loop]
    side = at[after] - at
    length = np.hypot(*side.T)
    offset = np.repeat(x, split.count, axis=0) - at
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = (side[:, 0] * offset[:, 1] - side[:, 1] * offset[:, 0]) / length
    inner[length == 0] = np.inf
    found = np.minimum.reduceat(inner, split.start)
    return np.where(np.isfinite(x).all(1), found, -np.inf)


def around(split: Split, x: Float[np.ndarray, " 2"], slack: float) -> Int[np.ndarray, " cells"]:
    """Cells that a point lies in or on the border of."""
    return np.flatnonzero(margins(split, np.broadcast_to(x, (len(split.count), 2))) >= -slack)


def _chord(polygon: np.ndarray, point: np.ndarray, along: np.ndarray, slack: float) -> np.ndarray | None:
    """Ends of the part of a line that lies in a convex polygon within a distance."""
    side = np.roll(polygon, -1, axis=0) - polygon
    length = np.hypot(*side.T)
    normal = np.stack([-side[:, 1], side[:, 0]], 1)[length > 0] / length[length > 0, None]
    height = ((point - polygon[length > 0]) * normal).sum(1) + slack
    rate = normal @ along
    level = np.abs(rate) <= TOLERANCE
    if (height[level] < 0).any():
        return None
    rising, falling = ~level & (rate > 0), ~level & (rate < 0)
    low = (-height[rising] / rate[rising]).max()
    high = (-height[falling] / rate[falling]).min()
    return np.stack([point + low * along, point + high * along]) if low <= high else None
