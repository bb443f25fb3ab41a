"""A subdivision of a convex polygon into convex cells that share their corners, and the step that cuts it once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


class Cells:
    """Convex cells whose loops of corners run counter-clockwise, with numbers at the corners.

    The numbers are affine on every cell, so that a corner made on an edge gets them by interpolation between the edge's
    ends. A corner is stored once for all cells around it: neighbours cannot disagree on which side of a cut it lies,
    and no cell has a corner in the middle of a neighbour's edge.

    Attributes
    ----------
    values : array (rows, room)
        Row by row the numbers at the corners, of which the first ``corners`` columns count.
    loop : array (room,)
        Corners of the cells, one cell after the other, with gaps where cells have been cut.
    start, count : array (room,)
        Where each of the ``cells`` cells begins in the loop, and how many corners it has.
    parent : array (room,)
        Cell of the subdivision before the last :meth:`settle` in which a cell lies.
    """

    def __init__(self, corners: Float[np.ndarray, "rows corners"]) -> None:
        """One cell, with its corners in counter-clockwise order."""
        n = corners.shape[1]
        self.values, self.corners = corners.copy(), n
        self.loop, self.used = np.arange(n), n
        self.start, self.count, self.parent = np.zeros(1, dtype=int), np.full(1, n), np.zeros(1, dtype=int)
        self.cells = 1

    def settle(self, values: Float[np.ndarray, "rows corners"]) -> None:
        """Close the gaps in the loop, let every cell be its own parent, and put other numbers at the corners."""
        start, count = self.start[: self.cells], self.count[: self.cells]
        self.loop = self.loop[flat(start, count)]
        self.used = len(self.loop)
        self.start, self.count = np.cumsum(count) - count, count.copy()
        self.parent = np.arange(self.cells)
        self.values = values

    def keep(self, chosen: Int[np.ndarray, " chosen"]) -> None:
        """Drop all cells but the chosen ones, and the corners that no cell is left with."""
        self.loop = self.loop[flat(self.start[chosen], self.count[chosen])]
        self.count = self.count[chosen]
        self.start, self.parent = np.cumsum(self.count) - self.count, self.parent[chosen]
        self.cells, self.used = len(chosen), len(self.loop)
        left, self.loop = np.unique(self.loop, return_inverse=True)
        self.values, self.corners = self.values[:, left], len(left)

    def cut(
        self, candidates: Int[np.ndarray, " candidates"], row: int, at: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut the cells in which the number of one row passes through a value.

        Parameters
        ----------
        candidates : array
            Cells to look at: all cells that can be cut.
        row : int
            The number. Corners where it equals the value lie on the cut.
        at : float
            The value.

        Returns
        -------
        whole, above : array
            Candidates that are not cut, and whether the number is at least the value there.
        divided : array
            Cells that were cut. Each keeps its part below the value; its part above is appended, in the same order.
        """
        z = self.values[row]
        count = self.count[candidates]
        corner = self.loop[flat(self.start[candidates], count)]
        side = _sides(z[corner], at)
        first = np.cumsum(count) - count
        above, below = np.maximum.reduceat(side, first), np.minimum.reduceat(side, first)
        crossed = (above > 0) & (below < 0)
        whole = candidates[~crossed], below[~crossed] >= 0
        divided = candidates[crossed]
        if len(divided):
            inside = np.repeat(crossed, count)
            self._divide(divided, corner[inside], side[inside], count[crossed], row, at)
        return *whole, divided

    def _divide(
        self, divided: np.ndarray, corner: np.ndarray, side: np.ndarray, count: np.ndarray, row: int, at: float
    ) -> None:
        corner, side, count = self._with_crossings(corner, side, count, row, at)
        first = np.cumsum(count) - count
        for cell in np.flatnonzero(np.add.reduceat((side == 0).astype(np.intp), first) > 2):
            part = slice(first[cell], first[cell] + count[cell])
            side[part] = two_sided(self.values[row, corner[part]] - at, side[part])
        above, below = side >= 0, side <= 0
        counts = [np.add.reduceat(part.astype(np.intp), first) for part in (below, above)]
        added = np.concatenate([corner[below], corner[above]])
        start = self.used + np.cumsum(np.concatenate(counts)) - np.concatenate(counts)
        cells, used = self.cells + len(divided), self.used + len(added)
        self.loop = roomy(self.loop, used)
        self.loop[self.used : used] = added
        self.start, self.count, self.parent = (roomy(a, cells) for a in (self.start, self.count, self.parent))
        new = slice(self.cells, cells)
        self.start[divided], self.start[new] = np.split(start, 2)
        self.count[divided], self.count[new] = counts
        self.parent[new] = self.parent[divided]
        self.cells, self.used = cells, used

    def _with_crossings(
        self, corner: np.ndarray, side: np.ndarray, count: np.ndarray, row: int, at: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loops with a corner on every edge that crosses the cut; the same one in both cells at the edge."""
        first = np.cumsum(count) - count
        following = np.arange(1, len(corner) + 1)
        following[first + count - 1] = first
        crosses = side * side[following] < 0
        here, there = corner[crosses], corner[following[crosses]]
        low, high = np.minimum(here, there), np.maximum(here, there)
        edges, which = np.unique(low * self.corners + high, return_inverse=True)
        made = self._interpolate(edges // self.corners, edges % self.corners, row, at)
        place = np.arange(len(corner)) + np.cumsum(crosses) - crosses
        total = len(corner) + len(here)
        corners, sides = np.empty(total, dtype=corner.dtype), np.zeros(total, dtype=side.dtype)
        corners[place], sides[place] = corner, side
        corners[place[crosses] + 1] = made + which
        return corners, sides, count + np.add.reduceat(crosses.astype(np.intp), first)

    def _interpolate(self, low: np.ndarray, high: np.ndarray, row: int, at: float) -> int:
        """Put corners where edges cross the cut; returns the number of the first."""
        begin = self.values[:, low]
        change = self.values[:, high] - begin
        begin += (at - begin[row]) / change[row] * change
        begin[row] = at
        made, self.corners = self.corners, self.corners + len(low)
        self.values = roomy(self.values, self.corners)
        self.values[:, made : self.corners] = begin
        return made


def flat(start: np.ndarray, count: np.ndarray) -> Int[np.ndarray, " total"]:
    """Places of ragged rows: start, ..., start + count - 1 for each row, one row after the other."""
    first = np.cumsum(count) - count
    return np.arange(int(count.sum())) + np.repeat(start - first, count)


def two_sided(z: Float[np.ndarray, " corners"], side: np.ndarray) -> np.ndarray:
    """Sides of the corners of one cell such that the cut meets its loop in two corners only.

    Rounding may put more corners than two on a cut that nearly runs along an edge. The part above is then the run
    around the largest number up to the next corner on the cut, to either side, and all else is below.
    """
    order = np.roll(np.arange(len(z)), -int(np.argmax(z)))
    on = np.flatnonzero(side[order] == 0)
    found = np.full(len(z), -1, dtype=side.dtype)
    found[order[: on[0]]] = found[order[on[-1] + 1 :]] = 1
    found[order[[on[0], on[-1]]]] = 0
    return found


def _sides(z: np.ndarray, at: float) -> np.ndarray:
    return (z > at).astype(np.int8) - (z < at).astype(np.int8)


def roomy(array: np.ndarray, needed: int) -> np.ndarray:
    """The array with room for so many columns; where it has to grow, for twice as many, with zeros in them."""
    if array.shape[-1] >= needed:
        return array
    larger = np.zeros((*array.shape[:-1], 2 * needed), dtype=array.dtype)
    larger[..., : array.shape[-1]] = array
    return larger
