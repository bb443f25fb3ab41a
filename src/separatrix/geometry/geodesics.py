"""Hop distances between all points, and their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from separatrix.geometry.components import roots
from separatrix.geometry.graphs import Graph, read_graph
from separatrix.geometry.searches import searches
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress


@dataclass(frozen=True)
class TotalGeodesic:
    """Sum of hop distances over the ordered pairs of vertices that are connected.

    Attributes
    ----------
    total : int
        Exact from all sources; else n / m times the sum from m sources, an unbiased estimate rounded to an integer.
    standard_error : float
        Of the estimate, 0 where it is exact, NaN from a single source.
    unreachable_pairs : int
        Ordered pairs that are not connected, exact always.
    diameter : int
        Largest distance that was met; from sampled sources the diameter may be larger.
    sources : int
        How many sources were searched from.
    method : str
    """

    total: int
    standard_error: float
    unreachable_pairs: int
    diameter: int
    sources: int
    method: str


def total_geodesic(
    adjacency: Any,
    *,
    sources: int | None = None,
    seed: int = 0,
    memory: int | float | str = "2GB",
    threads: int | None = None,
    progress: Progress = False,
) -> TotalGeodesic:
    """Sum of the shortest-path lengths over all ordered pairs of vertices of an unweighted graph.

    Parameters
    ----------
    adjacency : Graph, scipy sparse, array or tensor (n, n)
        As for :func:`~separatrix.geometry.graphs.read_graph`.
    sources : int, optional
        Search from this many vertices only, drawn without replacement.
    seed : int
        Seed of the draw.
    memory : int, float or str
        Byte budget beside the graph; each thread takes about 260 bytes a vertex.
    threads : int, optional
        As many as torch has by default.
    progress : bool or callable
        Show a bar of the sources, or call with (done, total).

    Returns
    -------
    TotalGeodesic

    Raises
    ------
    ArgumentError
        If the matrix is no adjacency matrix, sources is not positive, or the budget is too small for one thread.

    Notes
    -----
    Total geodesic distance of Baptista et al., Sci. Rep. 14, 23383 (2024), Eq. 7. Breadth-first search, 512 sources at
    once, a bit for each: at most E n / 256 operations on words a level, and far fewer once vertices are reached from
    everywhere.
    """
    graph = read_graph(adjacency)
    n = graph.n
    m = n if sources is None else min(n, whole("sources", sources, 1))
    sampled = m < n
    chosen = np.sort(np.random.default_rng(seed).choice(n, m, replace=False)) if sampled else np.arange(n)
    sums = np.zeros(m, np.int64) if sampled else None
    labels = roots(graph)
    total, diameter = _searched(graph, chosen, labels, sums=sums, memory=memory, threads=threads, progress=progress)
    sizes = np.bincount(labels, minlength=n)
    unreachable = n * n - int((sizes**2).sum())
    if sums is None:
        return TotalGeodesic(total, 0.0, unreachable, diameter, n, "bit-parallel")
    spread = float(sums.std(ddof=1)) if m > 1 else float("nan")
    error = n * spread / np.sqrt(m) * np.sqrt(1 - m / n)
    method = f"bit-parallel, {m} of {n} sources"
    return TotalGeodesic(round(total * n / m), float(error), unreachable, diameter, m, method)


def hops(
    adjacency: Any,
    *,
    sources: Any = None,
    memory: int | float | str = "2GB",
    threads: int | None = None,
    progress: Progress = False,
) -> np.ndarray:
    """Hop distances from all vertices, or some, to all.

    Parameters
    ----------
    adjacency : Graph, scipy sparse, array or tensor (n, n)
        As for :func:`~separatrix.geometry.graphs.read_graph`.
    sources : sequence of int, optional
        Vertices to start from, each at most once.
    memory, threads, progress
        As for :func:`total_geodesic`; the result, 2 bytes a pair, counts in the budget.

    Returns
    -------
    array (m, n), int16
        -1 where no path leads.

    Raises
    ------
    ArgumentError
        If the matrix is no adjacency matrix, a source is not one of its vertices or comes twice, or the result does
        not fit into the budget.
    """
    graph = read_graph(adjacency)
    n = graph.n
    chosen = np.arange(n) if sources is None else np.atleast_1d(np.asarray(sources))
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < n)).all():
        raise ArgumentError("sources", repr(sources), f"give vertices, 0 to {n - 1}")
    if len(np.unique(chosen)) < len(chosen):
        raise ArgumentError("sources", "a vertex that comes twice", "give each vertex once")
    budget = parse_bytes(memory)
    need = 2 * n * len(chosen)
    if need >= budget:
        remedy = f'the distances alone take {need:,} bytes; give fewer sources or memory="{-(-need // 10**6) + 100}MB"'
        raise ArgumentError("memory", f"a budget of {budget:,} bytes", remedy)
    found = np.full((len(chosen), n), -1, np.int16)
    more = {"hops": found, "memory": budget - need, "threads": threads, "progress": progress}
    _, depth = _searched(graph, chosen.astype(np.int64), roots(graph), **more)
    if depth > np.iinfo(np.int16).max:
        raise ArgumentError("adjacency", f"a diameter of {depth}", "distances beyond 32,767 are not held")
    return found


def _searched(graph: Graph, sources: np.ndarray, labels: np.ndarray, **more: Any) -> tuple[int, int]:
    """Sum of distances from the sources, and the largest of them."""
    ends = np.ascontiguousarray(graph.indptr[1:, None])
    found = searches(graph.indptr[:-1], ends, graph.indices, labels[:, None], sources, **more)
    return int(found.totals[0]), int(found.depths[0])
