"""Local Ricci coefficients: whether each point's own surroundings expand where they are negatively curved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from separatrix.geometry.communities import curvature_gap, labels, modularity, normalised_cut
from separatrix.geometry.correlation import CoefficientStatus, correlation, size
from separatrix.geometry.edge_values import node_curvature
from separatrix.geometry.forman_curvature import forman
from separatrix.geometry.geodesics import hops
from separatrix.geometry.graphs import Graph, graph
from separatrix.geometry.layer_features import Given, layer_features
from separatrix.geometry.nearest import neighbour_counts, neighbours
from separatrix.geometry.ollivier_curvature import ollivier
from separatrix.results.dataset import Entry, build
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs

if TYPE_CHECKING:
    import xarray as xr

CURVATURES = ("forman", "augmented", "ollivier", "ollivier-bounds")
POINTS = ("member", "k", "point")
LAYERS = ("member", "k", "layer")
BOTH = ("member", "k", "layer", "point")


@dataclass(frozen=True)
class _Layer:
    """One layer at one k: its graph, the mean curvature at each point, and whether all points coincide."""

    graph: Graph
    curvature: np.ndarray
    collapsed: bool


def local_ricci(
    model_or_layers: Any,
    X: Tensor | None = None,
    k: Any = 50,
    *,
    y: Any = None,
    curvature: str = "augmented",
    convention: str = "union",
    layers: str | Sequence[str] = "all",
    reduce: str = "flatten",
    output: Any = None,
    start: str | None = None,
    ties: str = "break",
    memory: int | float | str = "2GB",
    threads: int | None = None,
    progress: Progress = False,
) -> xr.Dataset:
    """Correlate curvature and expansion point by point, and layer by layer.

    With O_l(x) the mean curvature of the edges at x in the neighbour graph of layer l, and eta_l(x) the mean over the
    l-neighbours y of x of their distance at the next layer less one, d_(l+1)(x, y) - 1, the *local coefficient* of x
    is the Pearson correlation of the two over the layers, and the *layer coefficient* of l that over the points (Hehl,
    von Renesse and Weber, arXiv 2509.22362). Negative means like a Ricci flow. Points are not independent of one
    another.

    Parameters
    ----------
    model_or_layers, X, k
        As in :func:`separatrix.ricci`.
    y : sequence (points,), optional
        Classes, for how well they are communities of each layer's graph.
    curvature : {"augmented", "forman", "ollivier", "ollivier-bounds"}
        Forman's with or without triangles; Ollivier's exactly (slow, needs the extra ``ollivier``) or the middle of the
        bounds of Jost and Liu.
    convention : {"union", "mutual"}
        Which points are joined: if one is among the nearest of the other, or both.
    layers, reduce, output, start
        As in :func:`separatrix.activations`; by default input, hidden layers and output.
    ties, memory, threads, progress
        As in :func:`separatrix.ricci`.

    Returns
    -------
    xarray.Dataset
        ``rho`` and ``status`` (member, k, point); ``layer_coefficient`` and ``layer_status`` (member, k, layer; the
        last has none); ``mean_rho``, ``negative`` (share of the coefficients that is below zero) and ``defined`` (how
        many points have one) (member, k); ``node_curvature`` and ``node_expansion`` (member, k, layer, point), NaN
        where a neighbour cannot be reached at the next layer. With ``y``: ``curvature_gap``, ``modularity`` and
        ``normalised_cut`` (member, k, layer).

    Raises
    ------
    ArgumentError
        For input that cannot be used.

    Notes
    -----
    Cost per layer: the neighbours, the edges' curvature, and the hop distances at the next layer from all points, block
    by block within the budget.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> model = torch.nn.Sequential(*(m for _ in range(4) for m in (torch.nn.Linear(3, 3), torch.nn.Tanh())))
    >>> sx.local_ricci(model, torch.randn(100, 3), k=10).rho.dims
    ('member', 'k', 'point')
    """
    if curvature not in CURVATURES:
        raise ArgumentError("curvature", repr(curvature), f"choose from {', '.join(CURVATURES)}")
    if convention not in ("union", "mutual"):
        raise ArgumentError("convention", repr(convention), "choose from union, mutual")
    source = layer_features(model_or_layers, X, layers, reduce=reduce, output=output, start=start, memory=memory)
    n, ks, names = source.points, np.unique(neighbour_counts(k, source.points)), source.labels
    classes = None if y is None else labels(y, n)
    budget = parse_bytes(memory)
    shape = (source.members, len(ks), len(names))
    bend, eta = (np.full((*shape, n), np.nan) for _ in range(2))
    collapsed = np.zeros(shape, dtype=bool)
    groups = {name: np.full(shape, np.nan) for name in ("curvature_gap", "modularity", "normalised_cut")}
    with track(progress, source.members * len(names), "local ricci") as advance:
        for member in range(source.members):
            before: list[_Layer] = []
            for place, (label, features) in enumerate(source.of_member(member)):
                try:
                    near = neighbours(features, int(ks[-1]), ties=ties, memory=budget, threads=threads)
                except ArgumentError as error:
                    if error.argument != "X":
                        raise
                    raise ArgumentError("X", f"{error.got} at layer {label!r}", error.remedy) from error
                here: list[_Layer] = []
                for at, count in enumerate(ks):
                    joined = graph(near, int(count), convention)
                    edges = edge_curvature(joined, curvature, memory=budget)
                    here.append(_Layer(joined, node_curvature(edges), near.unique_rows == 1))
                    where = (member, at, place)
                    bend[where], collapsed[where] = here[-1].curvature, here[-1].collapsed
                    if classes is not None:
                        groups["curvature_gap"][where] = curvature_gap(edges, classes)
                        groups["modularity"][where] = modularity(joined, classes)
                        groups["normalised_cut"][where] = normalised_cut(joined, classes)
                    if before:
                        eta[member, at, place - 1] = expansion_at(before[at].graph, joined, budget, threads)
                before = here
                advance(1)
    # one place holds no geometry: its graph follows from the numbering of the points
    bend[collapsed] = np.nan
    eta[collapsed] = np.nan
    eta[..., :-1, :][collapsed[..., 1:]] = np.nan
    data = _coefficients(bend, eta, collapsed)
    if classes is not None:
        words = {
            "curvature_gap": "mean curvature of edges within classes less that between, in units of their spread",
            "modularity": "modularity of the classes",
            "normalised_cut": "half the sum of the shares of edge ends that lead out of each class",
        }
        data |= {name: (LAYERS, groups[name], {"long_name": words[name], "units": "1"}) for name in words}
    coords: dict[str, Entry] = {
        "member": (("member",), np.arange(source.members)),
        "k": (("k",), ks, {"long_name": "nearest neighbours of each point"}),
        "layer": (("layer",), np.array(names, dtype=str)),
        "point": (("point",), np.arange(n)),
    }
    settings = {"k": ks.tolist(), "layers": layers if isinstance(layers, str) else list(layers), "reduce": reduce}
    settings |= {"output": None if output is None else str(output), "start": start, "memory": memory}
    attrs = {
        "method": f"exact neighbours, {curvature} curvature, bit-parallel breadth-first search",
        "form": "Pearson correlation over layers, and over points",
        "source": "Hehl, von Renesse, Weber, arXiv 2509.22362 (2025)",
        "curvature": curvature,
        "convention": convention,
        "ties": ties,
        "provenance": provenance(
            "local_ricci", model=None if isinstance(source, Given) else model_or_layers, **settings
        ),
    }
    return build(data, coords, attrs)


def edge_curvature(adjacency: Any, curvature: str, *, memory: int | float | str = "2GB") -> Any:
    """Curvature of each edge by name, as a sparse matrix that stores zeros too."""
    if curvature.startswith("ollivier"):
        return ollivier(adjacency, method="exact" if curvature == "ollivier" else "bounds", memory=memory)
    return forman(adjacency, augmented=curvature == "augmented")


def expansion_at(before: Graph, after: Graph, budget: int, threads: int | None = None) -> np.ndarray:
    """Mean distance in one graph of the neighbours in another, less one, shape (n,).

    NaN at a point without neighbours, or with one that it cannot reach.
    """
    n, starts = before.n, before.indptr
    found = np.full(n, np.nan)
    block = int(min(n, max(64, budget // (8 * n))))
    for first in range(0, n, block):
        sources = np.arange(first, min(first + block, n))
        table = hops(after, sources=sources, memory=budget, threads=threads)
        degree = before.degrees[sources]
        rows = np.repeat(np.arange(len(sources)), degree)
        steps = table[rows, before.indices[starts[first] : starts[sources[-1] + 1]]].astype(np.int64)
        sums = np.bincount(rows, weights=steps, minlength=len(sources))
        lost = np.bincount(rows, weights=steps < 0, minlength=len(sources)) > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            found[sources] = np.where(lost, np.nan, sums / degree - 1)
    return found


def _coefficients(bend: np.ndarray, eta: np.ndarray, collapsed: np.ndarray) -> dict[str, Entry]:
    """Correlations over layers and over points, their statuses and means."""
    a, b = bend[..., :-1, :].swapaxes(-1, -2), eta[..., :-1, :].swapaxes(-1, -2)
    there = np.isfinite(a) & np.isfinite(b)
    over_layers = correlation(a, b, there, (size(a), 1 + size(b)), there.all(-1) & (a.shape[-1] > 0))
    status = np.where(
        np.asarray(collapsed.any(-1))[..., None] & np.isnan(over_layers.rho),
        CoefficientStatus.COLLAPSED,
        over_layers.status,
    )
    there = np.isfinite(bend) & np.isfinite(eta)
    over_points = correlation(bend, eta, there, (size(bend), 1 + size(eta)), there.any(-1))
    rho = over_layers.rho
    known = ~np.isnan(rho)
    count = known.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, negative = np.where(known, rho, 0.0).sum(-1) / count, (rho < 0).sum(-1) / count
    lost = (over_points.points < bend.shape[-1]) & (over_points.status < CoefficientStatus.DROPPED)
    layer_status = np.where(lost, CoefficientStatus.DROPPED, over_points.status)

    def about(words: str) -> dict[str, str]:
        return {"long_name": words, "units": "1"}

    return {
        "rho": (POINTS, rho, about("local coefficient: correlation of curvature and expansion over the layers")),
        "status": (POINTS, status.astype(np.int8), flag_attrs(CoefficientStatus)),
        "layer_coefficient": (LAYERS, over_points.rho, about("correlation of curvature and expansion over the points")),
        "layer_status": (LAYERS, layer_status.astype(np.int8), flag_attrs(CoefficientStatus)),
        "mean_rho": (("member", "k"), mean, about("mean of the local coefficients")),
        "negative": (("member", "k"), negative, about("share of local coefficients below zero")),
        "defined": (("member", "k"), count, about("points that have a local coefficient")),
        "node_curvature": (BOTH, bend, about("mean curvature of the edges at a point")),
        "node_expansion": (BOTH, eta, about("mean distance of its neighbours at the next layer, less one")),
    }
