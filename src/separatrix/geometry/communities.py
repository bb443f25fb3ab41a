"""How well the classes of the points are communities of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from separatrix.geometry.graphs import read_graph
from separatrix.results.errors import ArgumentError


def curvature_gap(curvature: Any, y: Any) -> float:
    """Difference of the mean edge curvature within and between classes, in units of their spread.

    (mean within - mean between) / sqrt((s_w^2 + s_b^2) / 2), with the standard deviations s of the two kinds of edges
    (divided by their number). Positive where edges between classes are the more negatively curved, as bridges between
    communities are. Source: Hehl, von Renesse, Weber, arXiv 2509.22362 (2025).

    Parameters
    ----------
    curvature : scipy sparse matrix (n, n)
        Stored entries are edges, also those of curvature zero.
    y : sequence (n,)
        Class of each point.

    Returns
    -------
    float
        NaN if there are no edges within, or none between, or if no spread divides them.
    """
    table = curvature.tocoo()
    classes = labels(y, table.shape[0])
    same = classes[table.row] == classes[table.col]
    within, between = (np.asarray(table.data, dtype=np.float64)[mask] for mask in (same, ~same))
    if not len(within) or not len(between):
        return float("nan")
    spread = np.sqrt((within.var() + between.var()) / 2)
    difference = float(within.mean() - between.mean())
    return difference / float(spread) if spread > 0 else float("nan")


def modularity(adjacency: Any, y: Any) -> float:
    """Modularity of the classes: the share of edges inside them, less what random edges of the same degrees have.

    sum over classes c of e_c / E - (d_c / 2E)^2, with e_c edges inside and degrees d_c in all (Newman and Girvan, Phys.
    Rev. E 69, 026113 (2004)). Between -1/2 and 1.

    Parameters
    ----------
    adjacency : graph or adjacency matrix
        As for :func:`separatrix.geometry.read_graph`.
    y : sequence (n,)
        Class of each point.

    Returns
    -------
    float
        NaN for a graph without edges.
    """
    inside, volume = _counts(adjacency, y)
    total = volume.sum()
    return float((inside / total - (volume / total) ** 2).sum()) if total else float("nan")


def normalised_cut(adjacency: Any, y: Any) -> float:
    """Half the sum over classes of the share of their edges' ends that lead out of them.

    1/2 sum over c of cut(c, rest) / volume(c), the volume being the sum of degrees (von Luxburg, Stat. Comput. 17, 395
    (2007)); for two classes between 0 and 1, and small where the classes are well separated.

    Parameters
    ----------
    adjacency, y
        As in :func:`modularity`.

    Returns
    -------
    float
        NaN if a class has no edges at all.
    """
    inside, volume = _counts(adjacency, y)
    if not np.all(volume > 0):
        return float("nan")
    return float(0.5 * ((volume - inside) / volume).sum())


def labels(y: Any, points: int) -> np.ndarray:
    """Classes of the points, numbered from 0.

    Raises
    ------
    ArgumentError
        If there is not one for each point.
    """
    found = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    found = found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found
    if found.shape != (points,):
        raise ArgumentError("y", f"shape {found.shape}", f"give one class for each of the {points} points")
    return np.unique(found, return_inverse=True)[1].reshape(-1)


def _counts(adjacency: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ends of edges that stay inside each class, and ends in all."""
    graph = read_graph(adjacency)
    classes = labels(y, graph.n)
    rows = np.repeat(np.arange(graph.n), graph.degrees)
    inside = classes[rows] == classes[graph.indices]
    count = int(classes.max()) + 1
    volume = np.bincount(classes[rows], minlength=count)
    return np.bincount(classes[rows][inside], minlength=count), volume
