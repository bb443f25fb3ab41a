"""Ollivier's curvature of the edges of a graph, exact or between bounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from separatrix.geometry.edge_values import on_edges
from separatrix.geometry.forman_curvature import triangles
from separatrix.geometry.geodesics import hops
from separatrix.geometry.graphs import Graph, read_graph
from separatrix.results.errors import ArgumentError
from separatrix.results.progress import Progress, track


class OllivierBounds(NamedTuple):
    """Two matrices on the edges between which the Ollivier curvature lies."""

    lower: Any
    upper: Any


def ollivier(
    adjacency: Any, *, method: str = "exact", memory: int | float | str = "2GB", progress: Progress = False
) -> Any:
    """Ollivier curvature of each edge: 1 - W1(mu_i, mu_j), mu uniform on the neighbours, in the hop metric.

    Parameters
    ----------
    adjacency : Graph, scipy sparse, array or tensor (n, n)
        As for :func:`~separatrix.geometry.graphs.read_graph`.
    method : str
        ``"exact"`` solves a transport problem for each edge with the package POT (the extra ``ollivier``); ``"bounds"``
        takes the middle between the bounds of :func:`ollivier_bounds`.
    memory : int, float or str
        Byte budget; ``"exact"`` holds the hop matrix, 2 bytes a pair.
    progress : bool or callable
        Show a bar of the edges, or call with (done, total).

    Returns
    -------
    scipy.sparse.csr_array (n, n), float64

    Raises
    ------
    ArgumentError
        If the method is unknown, or is ``"exact"`` and POT is not installed.

    Notes
    -----
    Ollivier, J. Funct. Anal. 256, 810 (2009), with idleness 0. The mass that both measures share stays where it is,
    which is optimal in a metric; the rest is one linear program an edge.
    """
    graph = read_graph(adjacency)
    if method == "bounds":
        bounds = ollivier_bounds(graph)
        return on_edges(graph, (bounds.lower.data + bounds.upper.data) / 2)
    if method != "exact":
        raise ArgumentError("method", repr(method), 'give "exact" or "bounds"')
    try:
        from ot import emd2  # type: ignore[import-untyped]
    except ImportError as error:
        remedy = 'install the extra "separatrix[ollivier]", or give method="bounds"'
        raise ArgumentError("method", '"exact", but the package POT is missing', remedy) from error
    distance = hops(graph, memory=memory)
    rows = np.repeat(np.arange(graph.n), graph.degrees)
    upper = rows < graph.indices
    values = np.empty(graph.edges)
    with track(progress, graph.edges, "transport") as advance:
        for number, (i, j) in enumerate(zip(rows[upper], graph.indices[upper], strict=True)):
            values[number] = 1 - _transport(graph, int(i), int(j), distance, emd2)
            advance(1)
    return on_edges(graph, values)


def ollivier_bounds(adjacency: Any) -> OllivierBounds:
    """The bounds of Jost and Liu on the Ollivier curvature of each edge.

    Parameters
    ----------
    adjacency : Graph, scipy sparse, array or tensor (n, n)
        As for :func:`~separatrix.geometry.graphs.read_graph`.

    Returns
    -------
    OllivierBounds
        With t common neighbours, a = min(d_i, d_j), b = max(d_i, d_j) and s = 1 - 1/a - 1/b, at most t / b and at least
        t / b - [s - t/a]_+ - [s - t/b]_+.

    Notes
    -----
    Jost, Liu, Discrete Comput. Geom. 51, 300 (2014), Theorem 3; measures with idleness 0.
    """
    graph = read_graph(adjacency)
    degree = graph.degrees
    one, other = np.repeat(degree, degree), degree[graph.indices]
    least, most = np.minimum(one, other), np.maximum(one, other)
    t = triangles(graph)
    slack = 1 - 1 / least - 1 / most
    lower = t / most - np.maximum(slack - t / least, 0) - np.maximum(slack - t / most, 0)
    return OllivierBounds(on_edges(graph, lower), on_edges(graph, t / most))


def _transport(graph: Graph, i: int, j: int, distance: np.ndarray, emd2: Any) -> float:
    """Wasserstein distance between the uniform measures on the neighbours of two vertices."""
    near = graph.indices[graph.indptr[i] : graph.indptr[i + 1]]
    far = graph.indices[graph.indptr[j] : graph.indptr[j + 1]]
    _, at, also = np.intersect1d(near, far, assume_unique=True, return_indices=True)
    mine, theirs = np.full(len(near), 1 / len(near)), np.full(len(far), 1 / len(far))
    shared = min(1 / len(near), 1 / len(far))
    mine[at] -= shared
    theirs[also] -= shared
    mass = 1 - shared * len(at)
    keep, take = mine > 0, theirs > 0
    if not keep.any() or not take.any():
        return 0.0
    a, b = mine[keep] / mine[keep].sum(), theirs[take] / theirs[take].sum()
    cost = distance[np.ix_(near[keep], far[take])].astype(np.float64)
    return mass * float(emd2(a, b, cost))
