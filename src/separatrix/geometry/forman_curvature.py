"""Forman's curvature of the edges of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from separatrix.geometry.edge_values import on_edges
from separatrix.geometry.graphs import Graph, read_graph


def forman(adjacency: Any, augmented: bool = False) -> Any:
    """Forman curvature of each edge of an unweighted graph.

    Parameters
    ----------
    adjacency : Graph, scipy sparse, array or tensor (n, n)
        As for :func:`~separatrix.geometry.graphs.read_graph`.
    augmented : bool
        Count triangles as faces.

    Returns
    -------
    scipy.sparse.csr_array (n, n), int64
        4 - d_i - d_j on the edge (i, j), d the degrees; with ``augmented``, 3 more for each neighbour that i and j have
        in common. An edge of curvature 0 is stored like the others.

    Notes
    -----
    Baptista et al., Sci. Rep. 14, 23383 (2024), Eq. 4; augmented: Samal et al., Sci. Rep. 8, 8650 (2018). Cost: O(1) an
    edge; augmented, the sum over edges of a degree.
    """
    graph = read_graph(adjacency)
    degree = graph.degrees
    values = 4 - np.repeat(degree, degree) - degree[graph.indices]
    if augmented:
        values = values + 3 * triangles(graph)
    return on_edges(graph, values)


def triangles(graph: Graph) -> np.ndarray:
    """Common neighbours of the ends of each edge, along ``graph.indices``, int64; they add up to 6 per triangle."""
    from separatrix.geometry.triangle_kernel import common_neighbours

    found: np.ndarray = common_neighbours(graph.indptr, graph.indices)
    return found
