"""Curvature and geodesic sums of one layer's neighbour graphs, for all k and all conventions at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from separatrix.geometry.graphs import CONVENTIONS, known
from separatrix.geometry.nearest import neighbour_counts, neighbours
from separatrix.geometry.nested import Nested, family
from separatrix.geometry.searches import searches
from separatrix.geometry.sharing import worker_count
from separatrix.results.errors import ArgumentError


@dataclass(frozen=True)
class LayerSums:
    """Sums over the neighbour graphs of one set of points; arrays are indexed (convention, k) unless noted.

    Attributes
    ----------
    conventions : tuple of str
    ks : array (K,), int64
        Numbers of neighbours, in the order asked for.
    geodesic : array, float64
        Sum of hop distances over all ordered pairs of points; NaN where the graph is not connected.
    geodesic_connected : array, int64
        The same over the pairs that are connected.
    unreachable : array, int64
        Ordered pairs that are not.
    curvature : array, int64
        Total Forman curvature.
    components, largest : arrays, int32
        Number of components, and points in the largest.
    diameter : array, int32
        Largest hop distance between points that are connected.
    edges : array, int64
        Edges that curvature is summed over: arcs in ``authors-r``.
    reciprocity : array (K,), float64
        Share of arcs whose reverse is one too.
    least_connecting_k : int
        Least k whose union graph is connected; -1 if none of those found is.
    unique_rows : int
        How many of the points are distinct.
    """

    conventions: tuple[str, ...]
    ks: np.ndarray
    geodesic: np.ndarray
    geodesic_connected: np.ndarray
    unreachable: np.ndarray
    curvature: np.ndarray
    components: np.ndarray
    largest: np.ndarray
    diameter: np.ndarray
    edges: np.ndarray
    reciprocity: np.ndarray
    least_connecting_k: int
    unique_rows: int


def layer_sums(
    X: Any,
    ks: Any,
    *,
    conventions: Sequence[str] = CONVENTIONS,
    ties: str = "break",
    memory: int | float | str = "2GB",
    threads: int | None = None,
) -> LayerSums:
    """Curvature and geodesic sums of the k-nearest-neighbour graphs of a set of points.

    Parameters
    ----------
    X : tensor or array (n, ...)
        Points.
    ks : sequence of int or float
        Numbers of neighbours, or shares of n (:func:`~separatrix.geometry.nearest.neighbour_counts`).
    conventions : sequence of str
        Of ``"authors-r"``, ``"union"``, ``"mutual"`` (:func:`~separatrix.geometry.graphs.graph`).
    ties : str
        ``"break"`` or ``"include"`` (:func:`~separatrix.geometry.nearest.neighbours`).
    memory : int, float or str
        Byte budget of the work.
    threads : int, optional
        As many as torch has by default.

    Returns
    -------
    LayerSums

    Raises
    ------
    ArgumentError
        If X is not n >= 2 finite points, a k is not within 1..n - 1, or a convention is unknown.

    Notes
    -----
    The neighbours of all k come from one sorted pass. The union graphs of ascending k contain each other, and so do
    the mutual ones: each is held once, and what lies within two hops at one k need not be searched at the next.
    Curvature and geodesics follow Baptista et al., Sci. Rep. 14, 23383 (2024), Eqs. 4, 6, 7.
    """
    conventions = tuple(known(name) for name in ((conventions,) if isinstance(conventions, str) else conventions))
    if not conventions:
        raise ArgumentError("conventions", "none", f"give some of {', '.join(CONVENTIONS)}")
    n = len(X) if hasattr(X, "__len__") else 0
    wanted = np.atleast_1d(neighbour_counts(ks, n))
    distinct, back = np.unique(wanted, return_inverse=True)
    workers = worker_count(threads)
    near = neighbours(X, int(distinct[-1]), ties=ties, memory=memory, threads=workers)
    from separatrix.geometry.nested_kernel import connecting_rank

    graphs = family(near, distinct)
    both = {"union": graphs.union, "mutual": graphs.mutual}
    arcs = graphs.leaving.sum(0)
    needed = {"mutual" if name == "mutual" else "union" for name in conventions}
    found = {name: _hops(both[name], memory, workers) for name in sorted(needed)}
    columns: dict[str, list[np.ndarray]] = {}
    for name in conventions:
        searched = "mutual" if name == "mutual" else "union"
        degree = graphs.leaving + graphs.arriving if name == "authors-r" else both[searched].degrees
        edges = arcs if name == "authors-r" else degree.sum(0) // 2
        row = dict(found[searched])
        row |= {"edges": edges, "curvature": 4 * edges - (degree**2).sum(0)}
        for key, values in row.items():
            columns.setdefault(key, []).append(values[back])
    table = {key: np.stack(values) for key, values in columns.items()}
    for key in ("components", "largest", "diameter"):
        table[key] = table[key].astype(np.int32)
    return LayerSums(
        conventions=conventions,
        ks=wanted,
        geodesic=np.where(table["components"] == 1, table["geodesic_connected"], np.nan),
        reciprocity=(graphs.mutual.degrees.sum(0) / arcs)[back],
        least_connecting_k=int(connecting_rank(near.order, near.rank, near.k_max)),
        unique_rows=near.unique_rows,
        **table,
    )


def _hops(graphs: Nested, memory: int | float | str, threads: int) -> dict[str, np.ndarray]:
    """Geodesic sums, components and diameter of nested graphs."""
    from separatrix.geometry.nested_kernel import components

    n = len(graphs.starts)
    counts, largest, labels = components(graphs.starts, graphs.ends, graphs.indices)
    met = searches(graphs.starts, graphs.ends, graphs.indices, labels, _along(graphs), memory=memory, threads=threads)
    return {
        "geodesic_connected": met.totals,
        "unreachable": n * n - met.reached,
        "components": counts,
        "largest": largest,
        "diameter": met.depths,
    }


def _along(graphs: Nested) -> np.ndarray:
    """Vertices in an order in which neighbours are near: a block of sources then searches only where it is."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    n, degree = len(graphs.starts), graphs.degrees[:, 0]
    first = np.concatenate([[0], np.cumsum(degree)])
    places = np.arange(first[-1]) + np.repeat(graphs.starts - first[:-1], degree)
    thinnest = csr_matrix((np.ones(first[-1], np.int8), graphs.indices[places], first), (n, n))
    return reverse_cuthill_mckee(thinnest, symmetric_mode=True).astype(np.int64)
