"""Neighbour graphs under the three conventions, and what their degrees tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from separatrix.geometry.nearest import Neighbours
from separatrix.results.errors import ArgumentError

CONVENTIONS = ("authors-r", "union", "mutual")


@dataclass(frozen=True)
class Graph:
    """An undirected graph without loops, multiple edges or weights, by rows of neighbours.

    Attributes
    ----------
    indptr : array (n + 1,), int64
    indices : array (2 edges,), int32
        Neighbours of v, ascending: ``indices[indptr[v]:indptr[v + 1]]``.
    """

    indptr: np.ndarray
    indices: np.ndarray

    @property
    def n(self) -> int:
        """Number of vertices."""
        return len(self.indptr) - 1

    @property
    def edges(self) -> int:
        """Number of edges, each counted once."""
        return len(self.indices) // 2

    @property
    def degrees(self) -> np.ndarray:
        """Number of neighbours of each vertex, shape (n,), int64."""
        return np.diff(self.indptr)

    def to_scipy(self) -> Any:
        """The adjacency matrix, scipy CSR of int64 ones."""
        from scipy.sparse import csr_array

        ones = np.ones(len(self.indices), np.int64)
        return csr_array((ones, self.indices, self.indptr.astype(np.int64)), shape=(self.n, self.n))


def known(convention: str) -> str:
    """The convention, if there is one of that name."""
    if convention not in CONVENTIONS:
        raise ArgumentError("convention", repr(convention), f"give one of {', '.join(CONVENTIONS)}")
    return convention


def graph(neighbours: Neighbours, k: int, convention: str = "union") -> Graph:
    """The graph whose shortest paths are the geodesics at one k.

    Parameters
    ----------
    neighbours : Neighbours
    k : int
        At most ``neighbours.k_max``.
    convention : str
        ``"union"`` joins two points if one is among the other's k nearest, ``"mutual"`` if both are. ``"authors-r"``,
        the convention of the code of Baptista et al. (2024), measures geodesics in the union graph too; only its
        degrees and its curvature belong to the directed graph (:func:`degrees`, :func:`total_curvature`).

    Raises
    ------
    ArgumentError
        If k is beyond what was found, or the convention is unknown.
    """
    from scipy.sparse import csr_array

    known(convention)
    k = neighbours.checked(k)
    present = (neighbours.rank <= k) & (neighbours.order >= 0)
    indptr = np.concatenate([[0], np.cumsum(present.sum(1))]).astype(np.int64)
    n = neighbours.n
    listed = csr_array((np.ones(indptr[-1], np.int8), neighbours.order[present].astype(np.int64), indptr), shape=(n, n))
    # transposed twice: sums and products are fast where the columns of each row ascend
    back = listed.T.tocsr()
    arcs = back.T.tocsr()
    joined = arcs.multiply(back) if convention == "mutual" else arcs + back
    return _of(joined)


def read_graph(adjacency: Any) -> Graph:
    """A graph from its adjacency matrix; a :class:`Graph` is returned as it is.

    Parameters
    ----------
    adjacency : Graph, scipy sparse, array or tensor (n, n)
        Symmetric, of zeros and ones, zero on the diagonal: weights would not be used, so they are refused.

    Raises
    ------
    ArgumentError
        If the matrix is not square, not symmetric, has entries other than 0 and 1, or loops.
    """
    if isinstance(adjacency, Graph):
        return adjacency
    from scipy.sparse import csr_array, issparse

    remedy = "give a symmetric adjacency matrix (n, n) of zeros and ones, dense or scipy sparse"
    if hasattr(adjacency, "detach"):
        adjacency = adjacency.detach().cpu().numpy()
    try:
        matrix = csr_array(adjacency) if issparse(adjacency) else csr_array(np.atleast_2d(np.asarray(adjacency)))
    except (TypeError, ValueError) as error:
        raise ArgumentError("adjacency", type(adjacency).__name__, remedy) from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 1:
        raise ArgumentError("adjacency", f"shape {matrix.shape}", remedy)
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not ((matrix.data == 0) | (matrix.data == 1)).all():
        raise ArgumentError("adjacency", "entries other than 0 and 1", remedy + "; weights are not used")
    if matrix.diagonal().any():
        raise ArgumentError("adjacency", "entries on the diagonal", remedy + "; no point is its own neighbour")
    matrix = matrix.astype(np.int8)
    if (matrix != matrix.T).nnz:
        raise ArgumentError("adjacency", "a matrix that is not symmetric", remedy)
    return _of(matrix)


def degrees(neighbours: Neighbours, k: int, convention: str = "union") -> np.ndarray:
    """The degree that curvature counts, shape (n,), int64.

    In ``union`` and ``mutual`` the number of neighbours in the graph; in ``authors-r`` the number of arcs that leave a
    point and that arrive there.
    """
    if known(convention) != "authors-r":
        return graph(neighbours, k, convention).degrees
    leaving, arriving = _arcs(neighbours, k)
    return leaving + arriving


def total_curvature(neighbours: Neighbours, k: int, convention: str = "union") -> int:
    """Sum of the Forman curvature 4 - d_i - d_j over the edges (over the arcs in ``authors-r``).

    Notes
    -----
    An edge (i, j) is counted in both degrees, so that the sum is 4 E - sum_i d_i^2 for a graph with E edges, and for
    the directed graph with D_i arcs at i and as many arcs, 4 times their number - sum_i D_i^2. No loop over edges.
    Baptista et al., Sci. Rep. 14, 23383 (2024), Eqs. 4 and 6.
    """
    degree = degrees(neighbours, k, convention)
    ends = 1 if convention == "authors-r" else 2
    edges = int(neighbours.counts(k).sum()) if ends == 1 else int(degree.sum()) // 2
    return 4 * edges - int((degree**2).sum())


def reciprocity(neighbours: Neighbours, k: int) -> float:
    """Share of the arcs i -> j, j among the k nearest of i, of which j -> i is one too."""
    arcs = int(neighbours.counts(k).sum())
    return 2 * graph(neighbours, k, "mutual").edges / arcs


def _arcs(neighbours: Neighbours, k: int) -> tuple[np.ndarray, np.ndarray]:
    leaving = neighbours.counts(k)
    present = (neighbours.rank <= k) & (neighbours.order >= 0)
    return leaving, np.bincount(neighbours.order[present], minlength=neighbours.n)


def _of(matrix: Any) -> Graph:
    matrix = matrix.tocsr()
    matrix.sort_indices()
    return Graph(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))
