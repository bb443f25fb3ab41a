"""Exact nearest neighbours, for all k at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from separatrix.geometry.sharing import share_out, worker_count
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import integer, whole
from separatrix.results.memory import parse_bytes, points_per_chunk

BLOCK = 128
"""Rows whose inner products are taken at once: they stay in a core's cache."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of n points, sorted by distance, then by index.

    Attributes
    ----------
    order : array (n, width), int32
        Column m holds each point's neighbour number m + 1; -1 where a row is shorter than the widest.
    rank : array (n, width), int32
        The least k at which it is a neighbour, ascending along a row. Tied ones share it with ``ties="include"``.
    k_max : int
        Largest k that can be asked for.
    ties : str
        ``"break"`` or ``"include"``.
    unique_rows : int
        How many of the points are distinct.
    """

    order: np.ndarray
    rank: np.ndarray
    k_max: int
    ties: str
    unique_rows: int

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.order)

    def counts(self, k: int) -> np.ndarray:
        """How many neighbours each point has at k, shape (n,), int64: k, or more where ties are included.

        Raises
        ------
        ArgumentError
            If k is not an integer between 1 and ``k_max``.
        """
        k = self.checked(k)
        return ((self.rank <= k) & (self.order >= 0)).sum(1)

    def checked(self, k: Any) -> int:
        """The number k, if these neighbours go that far."""
        number = integer(k)
        if number is None or not 1 <= number <= self.k_max:
            raise ArgumentError("k", repr(k), f"these neighbours were found for k between 1 and {self.k_max}")
        return number


def neighbour_counts(k: Any, n: int) -> np.ndarray:
    """Numbers of neighbours, from numbers or from shares of the n points.

    Parameters
    ----------
    k : int, float, or sequence of them
        Integers of at least 1 are numbers of neighbours; floats between 0 and 1 are shares of n, rounded to the
        nearest number (and at least 1). 2.0 counts as 2.
    n : int
        Number of points.

    Returns
    -------
    array of int64
        In the order given, shape () for a single k.

    Raises
    ------
    ArgumentError
        If n < 2, or a k is neither, or leaves fewer than k other points.
    """
    if n < 2:
        raise ArgumentError("X", f"{n} points", "give at least 2 points")
    remedy = f"give numbers of neighbours from 1 to {n - 1}, or shares of the {n} points between 0 and 1"
    try:
        given = np.asarray(k)
        valid = given.dtype.kind in "iuf" and given.size > 0 and bool(np.isfinite(given).all())
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ArgumentError("k", repr(k), remedy)
    share = (given > 0) & (given < 1)
    counts = np.where(share, np.maximum(np.round(given * n), 1), given)
    if (counts != np.round(counts)).any() or (counts < 1).any() or (counts > n - 1).any():
        raise ArgumentError("k", repr(k), remedy)
    return counts.astype(np.int64)


def neighbours(
    X: Any, k_max: int, *, ties: str = "break", memory: int | float | str = "2GB", threads: int | None = None
) -> Neighbours:
    """Exact nearest neighbours in the Euclidean metric, the point itself left out.

    Squared distances come from inner products of the centred points in float64. Wherever their rounding could decide
    the order, distances are measured again by direct differences of the points as given.

    Parameters
    ----------
    X : tensor or array (n, ...)
        Points; what follows the first dimension is flattened.
    k_max : int
        Largest number of neighbours that will be wanted, 1 to n - 1.
    ties : str
        ``"break"``: exactly k neighbours, those with the lowest index among equally far ones. ``"include"``: all that
        are as near as the neighbour number k, as in the code of Baptista et al. (2024).
    memory : str or int
        Byte budget of the work, beside the result.
    threads : int, optional
        As many as torch has by default.

    Returns
    -------
    Neighbours

    Raises
    ------
    ArgumentError
        If X has fewer than 2 points, no or non-finite components; if k_max is not between 1 and n - 1; if ties is
        neither word.

    Notes
    -----
    Cost: n^2 d multiplications and O(n^2) more. Two distances are equal if they differ by less than the rounding of
    the coordinates can make them: |a^2 - b^2| <= u (8 |x| a + (d + 8) a^2) at the point x, u = 2^-53.
    """
    points = _points(X)
    n = len(points)
    k_max = whole("k_max", k_max, 1)
    if k_max >= n:
        raise ArgumentError("k_max", str(k_max), f"of {n} points each has 1 to {n - 1} neighbours")
    if ties not in ("break", "include"):
        raise ArgumentError("ties", repr(ties), 'give "break" or "include"')
    from separatrix.geometry.nearest_kernel import rank_rows

    centred = points - points.mean(0)
    squares = np.einsum("ij,ij->i", centred, centred)
    norms = np.sqrt((points**2).sum(1))
    here, squared = torch.from_numpy(centred), torch.from_numpy(squares)
    width = n - 1 if ties == "include" else k_max
    workers = worker_count(threads)
    block = min(BLOCK, points_per_chunk(workers * (8 * n + 16 * width), parse_bytes(memory), "one row of distances"))
    order = np.full((n, k_max), -1, np.int32)
    rank = np.full((n, k_max), k_max + 1, np.int32)
    repeated = np.zeros(n, bool)

    def work(first: int) -> tuple[int, np.ndarray, np.ndarray]:
        rows = slice(first, min(first + block, n))
        size = rows.stop - first
        near = torch.addmm(squared, here[rows], here.T, alpha=-2)
        own_place = torch.arange(size)
        near[own_place, first + own_place] = torch.inf
        lowest = near.amin(1).numpy()
        counts = np.empty(size, np.int64)
        if ties == "break":
            own, ranks = order[rows], rank[rows]
        else:
            own, ranks = np.full((size, width), -1, np.int32), np.full((size, width), k_max + 1, np.int32)
        rank_rows(
            near.numpy(),
            lowest,
            first,
            squares,
            points,
            norms,
            k_max,
            ties == "include",
            own,
            ranks,
            counts,
            repeated[rows],
        )
        if ties == "include":
            kept = int(counts.max())
            own, ranks = own[:, :kept].copy(), ranks[:, :kept].copy()
        return first, own, ranks

    parts = list(share_out(work, range(0, n, block), workers))
    if ties == "include":
        width = max(part.shape[1] for _, part, _ in parts)
        order = np.full((n, width), -1, np.int32)
        rank = np.full((n, width), k_max + 1, np.int32)
        for first, part, ranks in parts:
            order[first : first + len(part), : part.shape[1]] = part
            rank[first : first + len(part), : part.shape[1]] = ranks
    return Neighbours(order, rank, k_max, ties, n - int(repeated.sum()))


def _points(X: Any) -> np.ndarray:
    """The points as float64 (n, d), scaled by a power of two so that no square over- or underflows."""
    if isinstance(X, torch.Tensor):
        X = X.detach().to("cpu", torch.float64).numpy()
    try:
        points = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError("X", type(X).__name__, "give a tensor or an array of numbers, one row per point") from error
    if points.ndim < 2 or len(points) < 2 or points[0].size == 0:
        raise ArgumentError("X", f"shape {points.shape}", "give at least 2 points, shape (n, d), with d at least 1")
    points = np.ascontiguousarray(points.reshape(len(points), -1))
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points)).any(1).sum())
        raise ArgumentError("X", f"NaN or infinity in {bad} of {len(points)} points", "give finite features")
    largest = float(np.abs(points).max())
    if largest == 0:
        return points
    return np.ldexp(points, -np.frexp(largest)[1])
