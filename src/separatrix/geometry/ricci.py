"""The Ricci coefficient of a network: does the shape of the data expand where it is negatively curved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from separatrix.ensembles.stack import Stack
from separatrix.geometry.graphs import CONVENTIONS
from separatrix.geometry.layer_features import Computed, Given, layer_features
from separatrix.geometry.nearest import neighbour_counts
from separatrix.geometry.profiles import Asked, Profiles
from separatrix.geometry.ricci_result import Runs, dataset
from separatrix.geometry.untrained import resettable, untrained_twin
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.progress import Progress, track

if TYPE_CHECKING:
    import xarray as xr

DISCONNECTED = ("nan", "raise", "largest", "drop-pairs")
SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
"""Shares of the points that are neighbours, where none are named."""


def ricci(
    model_or_layers: Any,
    X: Tensor | None = None,
    k: Any = SHARES,
    *,
    convention: str | Sequence[str] = "union",
    layers: str | Sequence[str] = "hidden",
    reduce: str = "flatten",
    output: Any = None,
    start: str | None = None,
    ties: str = "break",
    disconnected: str = "nan",
    nulls: int = 0,
    untrained: int = 0,
    factory: Callable[[], nn.Module] | None = None,
    subsamples: int = 0,
    share: float = 0.5,
    memory: int | float | str = "2GB",
    threads: int | None = None,
    progress: Progress = False,
    seed: int = 0,
) -> xr.Dataset:
    """Follow the neighbour graphs of points through the layers of a network, and correlate curvature with expansion.

    At every layer l each point is joined to its k nearest neighbours. With g_l the sum of all hop distances and Ric_l
    that of the edges' Forman curvatures 4 - deg i - deg j, the *Ricci coefficient* is the Pearson correlation of the
    expansion g_(l+1) - g_l with Ric_l over the layers (Baptista et al., Sci. Rep. 14, 23383 (2024), eqs. 4 to 8).
    It is negative if layers expand where curvature is negative, as under a Ricci flow.

    **It is also negative without any flow**: g and Ric come from one graph, and regression to the mean makes
    -corr(g, Ric)/sqrt(2) of that (``bias``). The sign may change with k and with the convention too. So look at the
    whole curve over k, beside ``nulls`` and ``untrained`` networks.

    Parameters
    ----------
    model_or_layers : nn.Module, callable, ensembles.Stack, or list or dict of features
        A network; a stack, whose members are the ``member`` dimension; or what :func:`separatrix.activations` gives.
    X : Tensor (points, *input shape), optional
        Points, for a network: data that the question is about, usually a test set.
    k : int, float, or sequence of them
        Numbers of neighbours, or shares of the points below 1; the result has them once each, in rising order.
    convention : {"union", "authors-r", "mutual"} or a sequence of them
        ``"union"``: points are joined if one is among the nearest of the other, the reading of the paper's text.
        ``"authors-r"``: curvature of the directed graph, distances in the union, as in the authors' code. ``"mutual"``:
        joined if each is among the nearest of the other.
    layers : str or list of str
        As in :func:`separatrix.activations`. ``"hidden"`` is the paper's choice; ``"all"`` with input and output
        that of Hehl, von Renesse and Weber, arXiv 2509.22362, for their global coefficient.
    reduce, output, start
        As in :func:`separatrix.activations`.
    ties : {"break", "include"}
        Exactly k neighbours, or also those as near as the last of them.
    disconnected : {"nan", "raise", "largest", "drop-pairs"}
        What a layer does whose graph is not connected: its sum and the coefficient are NaN; an error; it counts with
        its largest component, a smaller sum already for that; or the steps from and to it are left out.
    nulls : int
        Permutations for each of two nulls (all of them where there are at most 5,040); 0 for none.
    untrained : int
        Untrained twins of each network (:func:`separatrix.geometry.untrained_twin`).
    factory : callable, optional
        Builds a network with fresh weights, for untrained twins with an initialisation of one's own.
    subsamples : int
        Random subsets of the points, without replacement (a bootstrap's copies would be ties), at k scaled to them.
    share : float
        Share of the points in each subset.
    memory : int or str
        Budget in bytes for everything but the result.
    threads : int, optional
        As many as torch has by default.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).
    seed : int
        Of permutations, twins and subsets.

    Returns
    -------
    xarray.Dataset
        Over (member, convention, k): ``rho``, the coefficient; ``pairs``, the steps it stands on; ``spearman``;
        ``adjusted_paper`` and ``adjusted_standard``, arctanh(rho) over and times sqrt(layers - 4); ``correlation`` of
        g and Ric, and ``bias``, what it makes of the coefficient without a flow; ``status``. Over (member, convention,
        k, layer): ``geodesic`` (over ordered pairs), ``curvature``, ``expansion`` to the next layer, ``edges``,
        ``components``, ``largest`` (points in the largest one), ``unreachable`` (pairs), ``diameter``. Besides:
        ``reciprocity`` (member, k, layer), ``unique_rows`` and ``least_connecting_k`` (member, layer; -1: more than the
        largest k). Over (convention, k): ``pooled``, one correlation over all members, and ``pooled_centred``, after
        each member's means are taken off.

        With ``nulls``: ``p_pairs``, ``null_pairs``, ``null_pairs_negative`` (curvatures paired at random with
        expansions: one-sided p, mean, share below zero) and the same with ``layers`` (layers in random order). With
        ``untrained`` and ``subsamples``: mean, lowest, highest and share of negative coefficients, such as
        ``untrained``, ``untrained_lowest``, ``untrained_highest``, ``untrained_negative``.

    Raises
    ------
    ArgumentError
        For input that cannot be used; the message names the argument, what it got, and what to do.

    Notes
    -----
    Cost per layer and network: n^2 d multiplications for the neighbours, and a breadth-first search that takes 64
    sources in a word. Coefficients do not change when a layer is scaled, rotated or shifted.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> model = torch.nn.Sequential(*(m for i in range(6) for m in (torch.nn.Linear(20, 20), torch.nn.ReLU())))
    >>> flow = sx.ricci(torch.nn.Sequential(model, torch.nn.Linear(20, 1)), torch.randn(200, 20), k=[10, 40], nulls=99)
    >>> flow.rho.dims
    ('member', 'convention', 'k')
    """
    source = layer_features(model_or_layers, X, layers, reduce=reduce, output=output, start=start, memory=memory)
    names = (convention,) if isinstance(convention, str) else tuple(dict.fromkeys(convention))
    _check(names, disconnected, {"nulls": nulls, "untrained": untrained, "subsamples": subsamples}, share)
    n = source.points
    ks = np.unique(neighbour_counts(k, n))
    asked = Asked(ks, names, ties, disconnected, memory, threads)
    rows, of_subset = _subsets(n, asked, subsamples, share, seed)
    made = _factory(source, untrained, factory)
    tables = [Profiles.empty(source.members, a, len(source.labels)) for a in (asked, *[of_subset] * subsamples)]
    twins = [Profiles.empty(source.members, asked, len(source.labels)) for _ in range(untrained)]
    total = source.members * len(source.labels) * (1 + subsamples + untrained)
    with track(progress, total, "ricci") as advance:
        for member in range(source.members):
            for place, (label, features) in enumerate(source.of_member(member)):
                tables[0].fill(member, place, label, features, asked)
                advance(1)
                for table, chosen in zip(tables[1:], rows, strict=True):
                    table.fill(member, place, label, features[chosen], of_subset)
                    advance(1)
            for number, table in enumerate(twins):
                other = _twin(source, member, seed + number * source.members + member, factory)
                for place, (label, features) in enumerate(other.of_member(0)):
                    table.fill(member, place, label, features, asked)
                    advance(1)
    settings = {
        "k": ks.tolist(),
        "layers": layers if isinstance(layers, str) else list(layers),
        "reduce": reduce,
        "output": None if output is None else str(output),
        "start": start,
        "share": share,
        "memory": memory,
        "seed": seed,
    }
    model = None if isinstance(source, Given) else model_or_layers
    return dataset(Runs(tables[0], tables[1:], twins), source.labels, n, asked, nulls, seed, made, model, settings)


def _check(names: tuple[str, ...], disconnected: str, counts: dict[str, Any], share: float) -> None:
    for name in names or ("",):
        if name not in CONVENTIONS:
            raise ArgumentError("convention", repr(name), f"choose from {', '.join(CONVENTIONS)}")
    if disconnected not in DISCONNECTED:
        raise ArgumentError("disconnected", repr(disconnected), f"choose from {', '.join(DISCONNECTED)}")
    for name, count in counts.items():
        whole(name, count, 0)
    if not 0 < share < 1:
        raise ArgumentError("share", repr(share), "give a share of the points between 0 and 1")


def _subsets(n: int, asked: Asked, count: int, share: float, seed: int) -> tuple[list[np.ndarray], Asked]:
    """Points of each subset, and what is asked of them: as many neighbours for their number."""
    if not count:
        return [], asked
    size = round(share * n)
    if size < 3:
        raise ArgumentError("share", f"{share} of {n} points", "a subset needs at least 3 points")
    ks = np.clip(np.round(asked.ks * size / n).astype(np.int64), 1, size - 1)
    rng = np.random.default_rng(seed)
    # a subset that falls apart is told of by its NaN, whatever the whole set was to do
    manner = "nan" if asked.disconnected == "raise" else asked.disconnected
    rows = [np.sort(rng.permutation(n)[:size]) for _ in range(count)]
    return rows, Asked(ks, asked.conventions, asked.ties, manner, asked.memory, asked.threads)


def _factory(source: Given | Computed, untrained: int, factory: Any) -> str:
    """How untrained twins are made, in words; an error where they cannot be."""
    if not untrained:
        return ""
    if isinstance(source, Given):
        raise ArgumentError("untrained", f"{untrained} twins of features", "give the network that they come from")
    _twin(source, 0, 0, factory)
    if factory is not None:
        return "factory"
    return f"reset_parameters of {', '.join(resettable(source.network(0)))}"


def _twin(source: Given | Computed, member: int, seed: int, factory: Any) -> Computed:
    assert isinstance(source, Computed)
    twin = untrained_twin(source.network(member), seed, factory)
    assert not isinstance(twin, Stack)
    other = layer_features(twin, source.X, source.labels, memory=source.budget, **_plain(source.options))
    if other.labels != source.labels:
        raise ArgumentError("factory", "a network with other layers", "build the architecture of the trained one")
    assert isinstance(other, Computed)
    return other


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("reduce", "output", "start")}
