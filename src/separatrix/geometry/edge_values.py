"""Numbers on the edges of a graph, as sparse matrices, and what they add up to."""

from __future__ import annotations

from typing import Any

import numpy as np

from separatrix.geometry.graphs import Graph
from separatrix.results.errors import ArgumentError


def on_edges(graph: Graph, values: np.ndarray) -> Any:
    """A symmetric matrix with a number for each edge, scipy CSR; numbers that are zero are stored too.

    Parameters
    ----------
    graph : Graph
    values : array
        Along ``graph.indices``, so each edge comes twice; or along the edges (i, j) with i < j, in that order.
    """
    from scipy.sparse import csr_array

    if len(values) != len(graph.indices):
        rows = np.repeat(np.arange(graph.n), graph.degrees)
        upper = rows < graph.indices
        both = np.empty(len(graph.indices), values.dtype)
        both[upper] = values
        both[~upper] = values[np.lexsort((rows[upper], graph.indices[upper]))]
        values = both
    return csr_array((values, graph.indices, graph.indptr), shape=(graph.n, graph.n))


def node_curvature(curvature: Any, reduce: str = "mean") -> np.ndarray:
    """Mean or sum of the curvature over the edges at each vertex, shape (n,), float64.

    Parameters
    ----------
    curvature : scipy sparse (n, n)
        From :func:`~separatrix.geometry.forman_curvature.forman` or
        :func:`~separatrix.geometry.ollivier_curvature.ollivier`.
    reduce : str
        ``"mean"`` (NaN at a vertex without edges) or ``"sum"`` (0 there).
    """
    if reduce not in ("mean", "sum"):
        raise ArgumentError("reduce", repr(reduce), 'give "mean" or "sum"')
    matrix = curvature.tocsr()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    sums = np.bincount(rows, weights=matrix.data, minlength=matrix.shape[0])
    if reduce == "sum":
        return sums
    number = np.diff(matrix.indptr)
    return np.divide(sums, number, out=np.full(len(sums), np.nan), where=number > 0)


def edge_total(curvature: Any) -> int | float:
    """Sum of a symmetric matrix over the edges, each counted once: an int if its entries are."""
    matrix = curvature.tocsr()
    total = matrix.data.sum()
    return int(total) // 2 if matrix.dtype.kind in "iu" else float(total) / 2
