"""What hangs together in a graph, and from which k on everything does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from separatrix.geometry.graphs import Graph, read_graph
from separatrix.geometry.nearest import Neighbours


@dataclass(frozen=True)
class Components:
    """Connected components of a graph.

    Attributes
    ----------
    count : int
    labels : array (n,), int32
        Number of each vertex's component, from 0; the largest component is 0.
    sizes : array (count,), int64
        Descending.
    """

    count: int
    labels: np.ndarray
    sizes: np.ndarray


def connectivity(adjacency: Any) -> Components:
    """Connected components.

    Parameters
    ----------
    adjacency : Graph, scipy sparse, array or tensor (n, n)
        As for :func:`~separatrix.geometry.graphs.read_graph`.
    """
    labels = roots(read_graph(adjacency))
    _, number, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_size = np.argsort(-sizes, kind="stable")
    place = np.empty(len(sizes), np.int32)
    place[by_size] = np.arange(len(sizes))
    return Components(len(sizes), place[number], sizes[by_size].astype(np.int64))


def least_connecting_k(neighbours: Neighbours) -> int:
    """The least k whose union graph is connected; -1 if it is not at ``neighbours.k_max``.

    Notes
    -----
    Points are united arc by arc, nearest neighbours first: O(n k) steps.
    """
    from separatrix.geometry.nested_kernel import connecting_rank

    return int(connecting_rank(neighbours.order, neighbours.rank, neighbours.k_max))


def roots(graph: Graph) -> np.ndarray:
    """One vertex of each vertex's component, shape (n,), int32."""
    from separatrix.geometry.nested_kernel import components

    starts, ends = graph.indptr[:-1], np.ascontiguousarray(graph.indptr[1:, None])
    return np.ascontiguousarray(components(starts, ends, graph.indices)[-1][:, 0])
