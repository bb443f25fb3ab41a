"""Ridge points linked into lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

_NEAR = 2.0
"""Cells between successive points of a line: every ridge passes some node of every cell, so it is about 1.5 at most."""
_SLACK = 0.05
"""Cells by which points may lie beside the line where two nodes see almost the same point of it."""
_STRIDE = 16
"""Cells that are looked at together on the way across a ridge."""


class Lines(NamedTuple):
    """Points in the order in which lines pass through them, line after line, the longest first.

    Attributes
    ----------
    order : ndarray of int, shape (kept,)
        Which point comes when.
    sizes : ndarray of int, shape (lines,)
        Points of each line.
    closed : ndarray of bool, shape (lines,)
        Whether the last point is followed by the first one.
    """

    order: Int[np.ndarray, " kept"]
    sizes: Int[np.ndarray, " lines"]
    closed: Bool[np.ndarray, " lines"]


def link(
    points: Float[np.ndarray, "points 2"], tangents: Float[np.ndarray, "points 2"], join: float, shortest: int
) -> tuple[Lines, int]:
    """Link points by distance and angle, join ends, and drop lines of few points.

    Parameters
    ----------
    points : ndarray, shape (points, 2)
        In units of a cell.
    tangents : ndarray, shape (points, 2)
        Unit vectors along the line, of either sign.
    join : float
        Largest distance, in cells, over which an end is joined to another that it points to.
    shortest : int
        Lines with fewer points are dropped.

    Returns
    -------
    lines : Lines
    dropped : int
        How many lines were dropped.

    Notes
    -----
    Each point has two sides, and each side takes one neighbour: the pairs are taken in the order of distance plus angle
    between the tangents (Steger's cost), so that no line branches. Cost: a search tree and a sort of the pairs.
    """
    neighbours = np.full((len(points), 2), -1)
    _match(points, tangents, neighbours, _NEAR, 0.5)
    if join > 0:
        _match(points, tangents, neighbours, join, 0.7)
    lines, closed = _follow(points, neighbours)
    kept = sorted((k for k in range(len(lines)) if len(lines[k]) >= shortest), key=lambda k: -len(lines[k]))
    order = np.array([p for k in kept for p in lines[k]], dtype=int)
    count = np.array([len(lines[k]) for k in kept], dtype=int)
    return Lines(order, count, np.array([closed[k] for k in kept], dtype=bool)), len(lines) - len(kept)


def _match(points: np.ndarray, tangents: np.ndarray, neighbours: np.ndarray, near: float, cosine: float) -> None:
    """Give the free sides of points neighbours, the closest pairs first."""
    from scipy.spatial import cKDTree

    free = np.nonzero((neighbours < 0).any(1))[0]
    if len(free) < 2:
        return
    pairs = free[cKDTree(points[free]).query_pairs(near, output_type="ndarray")]
    i, j = pairs[:, 0], pairs[:, 1]
    turn = (tangents[i] * tangents[j]).sum(1)
    sign = np.where(turn < 0, -1.0, 1.0)
    mean = tangents[i] + sign[:, None] * tangents[j]
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    apart = points[j] - points[i]
    distance = np.linalg.norm(apart, axis=1)
    along = (apart * mean).sum(1)
    beside = np.abs(apart[:, 0] * mean[:, 1] - apart[:, 1] * mean[:, 0])
    straight = beside <= np.maximum(_SLACK, np.sqrt(1 / cosine**2 - 1) * np.abs(along))
    good = straight & (np.abs(turn) >= cosine)
    cost = distance + np.arccos(np.clip(np.abs(turn), 0, 1))
    side_i = (along > 0).astype(int)
    side_j = np.where(sign > 0, 1 - side_i, side_i)
    taken = neighbours.tolist()
    order = np.nonzero(good)[0][np.argsort(cost[good], kind="stable")]
    for a, b, side, other in zip(*(v[order].tolist() for v in (i, j, side_i, side_j)), strict=True):
        if taken[a][side] < 0 and taken[b][other] < 0 and a not in taken[b]:
            taken[a][side], taken[b][other] = b, a
    neighbours[:] = taken


def _follow(points: np.ndarray, neighbours: np.ndarray) -> tuple[list[list[int]], list[bool]]:
    """Walk along every line from an end, and around every closed one; nothing depends on the tangents' signs."""
    seen = np.zeros(len(points), dtype=bool)
    by_place = np.lexsort((points[:, 1], points[:, 0]))
    degree = (neighbours >= 0).sum(1)
    lines: list[list[int]] = []
    closed: list[bool] = []
    for ends_only in (True, False):
        for first in by_place.tolist():
            if seen[first] or (ends_only and degree[first] == 2):
                continue
            line, here = [], first
            while here >= 0:
                seen[here] = True
                line.append(here)
                onward = [n for n in neighbours[here].tolist() if n >= 0 and not seen[n]]
                here = min(onward, key=lambda n: tuple(points[n])) if onward else -1
            lines.append(line)
            closed.append(not ends_only and len(line) > 2)
    return lines, closed


def prominence(
    f: Float[np.ndarray, "x y"],
    points: Float[np.ndarray, "points 2"],
    directions: Float[np.ndarray, "points 2"],
    top: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " points"]:
    """How far the field falls on both sides of a ridge before it rises above the ridge again.

    Parameters
    ----------
    f : ndarray, shape (x, y)
    points, directions : ndarray, shape (points, 2)
        Where the ridge is, and the straight line across it that is followed; in cells.
    top : ndarray, shape (points,)
        The field on the ridge.

    Returns
    -------
    ndarray, shape (points,)
        ``top`` less the background, which is the higher one of the two lowest values on either side. A side ends where
        the field is higher than the ridge, at the border, or at a node that is not finite.
    """
    from scipy.ndimage import map_coordinates

    lowest = np.repeat(top[:, None], 2, axis=1)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    for side, sign in enumerate((-1.0, 1.0)):
        active = np.arange(len(points))
        for begin in range(1, sum(f.shape), _STRIDE):
            ahead = sign * np.arange(begin, begin + _STRIDE)[:, None]
            at = points[active, None] + ahead * directions[active, None]
            values = map_coordinates(f, np.moveaxis(at, -1, 0), order=1, mode="constant", cval=np.nan)
            onward = np.logical_and.accumulate(values <= top[active, None], axis=1)
            reached = np.where(onward, values, np.inf).min(1)
            lowest[active, side] = np.minimum(lowest[active, side], reached)
            active = active[onward[:, -1]]
            if not len(active):
                break
    return top - lowest.max(1)
