"""Breadth-first searches from many sources, within a byte budget and on several threads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from separatrix.geometry.sharing import share_out, worker_count
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track


class Searched(NamedTuple):
    """What was met from all sources together, for each of the nested graphs, shape (K,), int64."""

    totals: np.ndarray
    """Sum of hops over the pairs of a source and a vertex that are connected."""
    reached: np.ndarray
    """Number of these pairs; a vertex reaches itself."""
    depths: np.ndarray
    """The largest number of hops."""


def searches(
    starts: np.ndarray,
    ends: np.ndarray,
    indices: np.ndarray,
    labels: np.ndarray,
    sources: np.ndarray,
    *,
    hops: np.ndarray | None = None,
    sums: np.ndarray | None = None,
    memory: int | float | str = "2GB",
    threads: int | None = None,
    progress: Progress = False,
) -> Searched:
    """Search nested graphs from each of the sources.

    Parameters
    ----------
    starts, ends, indices
        Graphs as in :class:`~separatrix.geometry.nested.Nested`.
    labels : array (n, K), int32
        A vertex of the component of each vertex.
    sources : array (m,), int64
        Different vertices.
    hops : array (m, n), int16, optional
        Filled with the distances in the last graph.
    sums : array (m,), int64, optional
        Filled with each source's sum of them.
    memory, threads, progress
        As for :func:`~separatrix.geometry.geodesics.total_geodesic`.

    Raises
    ------
    ArgumentError
        If the budget does not hold the workspace of one thread.
    """
    from separatrix.geometry.bit_search import SOURCES, search, workspace

    budget, each = parse_bytes(memory), workspace(len(starts))
    if budget < each:
        remedy = f'one thread needs about {each:,} bytes; give at least memory="{-(-each // 10**6)}MB"'
        raise ArgumentError("memory", f"a budget of {budget:,} bytes", remedy)
    workers = min(worker_count(threads), budget // each)
    neighbours = indices.view(np.uint32)
    nowhere, nothing = np.empty((0, 0), np.int16), np.empty(0, np.int64)

    def work(first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        block = slice(first, first + SOURCES)
        into = nowhere if hops is None else hops[block]
        each_sum = nothing if sums is None else sums[block]
        return search(starts, ends, neighbours, labels, sources[block], into, each_sum)

    parts = []
    with track(progress, len(sources), "geodesics") as advance:
        for part in share_out(work, range(0, len(sources), SOURCES), workers):
            parts.append(part)
            advance(min(SOURCES, len(sources) - SOURCES * (len(parts) - 1)))
    totals, reached, depths = (np.stack(column) for column in zip(*parts, strict=True))
    return Searched(totals.sum(0), reached.sum(0), depths.max(0))
