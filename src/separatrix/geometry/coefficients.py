"""Ricci coefficients: how the curvature of a layer goes with the expansion that follows it.

Everything is batched: the last axis holds the layers, in their order, and any axes may stand before it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from separatrix.geometry.correlation import (
    Coefficient,
    CoefficientStatus,
    correlation,
    ranks,
    size,
    told_of_dropped,
)
from separatrix.results.errors import ArgumentError

__all__ = [
    "Aggregate",
    "Coefficient",
    "CoefficientStatus",
    "Regression",
    "Selection",
    "adjusted",
    "aggregate",
    "expansion",
    "halves",
    "regression_to_the_mean",
    "ricci_coefficient",
    "select_k",
]

FORMS = ("paper", "standard")


class Regression(NamedTuple):
    """Correlation of geodesic sum and curvature, and the coefficient that it makes without any flow."""

    correlation: np.ndarray
    bias: np.ndarray
    status: np.ndarray


class Aggregate(NamedTuple):
    """A coefficient pooled over networks, how many networks and pairs went in, and a status."""

    rho: np.ndarray
    members: np.ndarray
    points: np.ndarray
    status: np.ndarray


class Selection(NamedTuple):
    """The k with the least pooled coefficient, and what that coefficient is on the networks it was not chosen on."""

    place: np.ndarray
    """Position of the chosen k; -1 where no k has a coefficient."""
    rho: np.ndarray
    """Pooled coefficient at the chosen k, on the networks that it was chosen on."""
    held_out: np.ndarray
    """The same on all other networks; NaN where there is none, or no k was chosen."""
    curve: np.ndarray
    """Pooled coefficient at every k, on the networks that the choice was made on."""


def expansion(g: Any) -> np.ndarray:
    """Expansions eta_l = g_(l+1) - g_l, shape (..., layers - 1), of geodesic sums (..., layers).

    Source: Baptista et al., Sci. Rep. 14, 23383 (2024), section 2.3. Steps from or to a layer that is not finite are
    NaN.

    Raises
    ------
    ArgumentError
        If there are fewer than two layers.
    """
    g = np.asarray(g)
    if g.ndim == 0 or g.shape[-1] < 2:
        raise ArgumentError("g", f"shape {g.shape}", "give geodesic sums (..., layers) of at least two layers")
    exact = g.dtype.kind in "iu"
    with np.errstate(invalid="ignore"):
        step = np.diff(g.astype(np.int64) if exact else g.astype(np.float64), axis=-1)
    step = step.astype(np.float64)
    return np.where(np.isfinite(step), step, np.nan)


def ricci_coefficient(g: Any, ric: Any, *, missing: str = "nan", kind: str = "pearson") -> Coefficient:
    """Correlation of the curvature of each layer with the expansion to the next one.

    Parameters
    ----------
    g : array, shape (..., layers)
        Total geodesic distance of each layer; NaN or infinite where there is none.
    ric : array, shape (..., layers)
        Total curvature of each layer; that of the last layer is not used.
    missing : {"nan", "drop"}
        What a layer without a sum does: ``"nan"`` makes the coefficient NaN, ``"drop"`` leaves out the steps from and
        to that layer.
    kind : {"pearson", "spearman"}
        Correlation of values, or of ranks (ties get their mean rank).

    Returns
    -------
    Coefficient
        rho in [-1, 1], the number of pairs, and the status. Values within rounding of 1 and -1 are set to them.

    Raises
    ------
    ArgumentError
        If the shapes differ, or an option is unknown.

    Notes
    -----
    Equation 8 of Baptista et al., Sci. Rep. 14, 23383 (2024): layers - 1 pairs. Without any flow the coefficient is
    not zero on average: see :func:`regression_to_the_mean`.
    """
    g, ric = _sums(g, ric)
    if missing not in ("nan", "drop"):
        raise ArgumentError("missing", repr(missing), "choose from nan, drop")
    if kind not in ("pearson", "spearman"):
        raise ArgumentError("kind", repr(kind), "choose from pearson, spearman")
    eta, curvature = expansion(g), ric[..., :-1].astype(np.float64)
    there = np.isfinite(eta) & np.isfinite(curvature)
    sizes: tuple[Any, Any] = (size(curvature), size(g))
    if kind == "spearman":
        eta, curvature, sizes = ranks(eta, there), ranks(curvature, there), (1.0, 1.0)
    if missing == "nan":
        return correlation(curvature, eta, there, sizes, there.all(-1))
    return told_of_dropped(correlation(curvature, eta, there, sizes, there.any(-1)), there)


def adjusted(rho: Any, layers: Any, form: str = "paper") -> np.ndarray:
    """Coefficients of networks of different depth, put on one scale by Fisher's z.

    Parameters
    ----------
    rho : array
        Coefficients; 1 and -1 give infinite values.
    layers : int or array
        How many layers each stands on, at least 5 (broadcast with ``rho``).
    form : {"paper", "standard"}
        ``"paper"``: arctanh(rho) / sqrt(layers - 4), as printed in equation 11 of Baptista et al. (2024).
        ``"standard"``: arctanh(rho) * sqrt(layers - 4), Fisher's z over its standard error 1/sqrt(points - 3), with
        points = layers - 1. The two agree at five layers and are a factor layers - 4 apart.

    Raises
    ------
    ArgumentError
        If some number of layers is below 5, or the form is unknown.
    """
    if form not in FORMS:
        raise ArgumentError("form", repr(form), f"choose from {', '.join(FORMS)}")
    rho, layers = np.asarray(rho, dtype=np.float64), np.asarray(layers)
    if np.any(layers < 5):
        raise ArgumentError("layers", str(np.min(layers)), "the adjusted coefficient exists from 5 layers on")
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.arctanh(rho)
    root = np.sqrt(layers - 4.0)
    return np.asarray(z / root if form == "paper" else z * root)


def regression_to_the_mean(g: Any, ric: Any) -> Regression:
    """Correlation c of geodesic sum and curvature over the layers, and the coefficient -c/sqrt(2) that follows.

    For independent, identically distributed layers with corr(g_l, Ric_l) = c,

        corr(g_(l+1) - g_l, Ric_l) = -c / sqrt(2),

    as the next layer's sum is independent of this layer's curvature. So a negative coefficient needs no flow where both
    sums come from nearly the same graph. With few layers c is itself a rough estimate, and the bias is somewhat larger
    than this: for c = 0.9 the mean coefficient is -0.65 over 5 layers, that of -c/sqrt(2) -0.62. The permutations of
    :func:`separatrix.geometry.nulls.permute_layers` have no such error.

    Parameters
    ----------
    g, ric : array, shape (..., layers)
        As in :func:`ricci_coefficient`; layers without a sum are left out, and told of in the status.

    Raises
    ------
    ArgumentError
        If the shapes differ.
    """
    g, ric = _sums(g, ric)
    g, ric = g.astype(np.float64), ric.astype(np.float64)
    there = np.isfinite(g) & np.isfinite(ric)
    found = told_of_dropped(correlation(ric, g, there, (size(ric), size(g)), there.any(-1)), there)
    return Regression(found.rho, np.asarray(-found.rho / math.sqrt(2)), found.status)


def aggregate(g: Any, ric: Any, *, centred: bool = False, weights: Any = None) -> Aggregate:
    """One correlation of the pairs (Ric_l, eta_l) of many networks.

    Pooled pairs mix what differs between networks with what happens inside each; ``centred=True`` subtracts each
    network's own means first and keeps the second only.

    Parameters
    ----------
    g, ric : array, shape (..., members, layers)
        A network with a layer that has no sum is left out whole, as in the paper.
    centred : bool
        Subtract each network's means of expansion and of curvature.
    weights : array, shape (..., members), optional
        How often each network counts: a mask of networks, or the counts of a bootstrap. Broadcast with the rest.

    Returns
    -------
    Aggregate
        Shapes (...); ``members`` and ``points`` count with their weights.

    Raises
    ------
    ArgumentError
        If the shapes do not fit, or a weight is negative or not finite.
    """
    g, ric = _sums(g, ric)
    if g.ndim < 2:
        raise ArgumentError("g", f"shape {g.shape}", "give (..., members, layers)")
    eta, curvature = expansion(g), ric[..., :-1].astype(np.float64)
    whole = (np.isfinite(eta) & np.isfinite(curvature)).all(-1)
    counts = whole.astype(np.float64) * _weights(weights, whole.shape)
    used = counts > 0
    sizes = tuple(np.where(used, size(values), 0.0).max(-1, initial=0.0) for values in (curvature, g))
    eta, curvature = (np.where(whole[..., None], values, 0.0) for values in (eta, curvature))
    if centred:
        eta, curvature = (values - values.mean(-1, keepdims=True) for values in (eta, curvature))
    shape = np.broadcast_shapes(counts.shape, whole.shape)
    flat = [np.broadcast_to(v, (*shape, v.shape[-1])).reshape(*shape[:-1], -1) for v in (curvature, eta)]
    each = np.repeat(counts, eta.shape[-1], axis=-1)
    found = correlation(flat[0], flat[1], each, (sizes[0], sizes[1]), used.any(-1))
    return Aggregate(found.rho, np.asarray(counts.sum(-1)), found.points, found.status)


def select_k(g: Any, ric: Any, *, on: Any = None, centred: bool = False) -> Selection:
    """Choose the k with the most negative pooled coefficient, and judge it on networks that had no say.

    A k that is the best of many on some networks makes their coefficient look more negative than it is: judged on the
    same networks, even noise has a k that it likes.

    Parameters
    ----------
    g, ric : array, shape (..., k, members, layers)
        As in :func:`aggregate`.
    on : array of bool, shape (..., members), optional
        Networks that the choice is made on, such as :func:`halves`; by default all, and nothing is held out. Axes
        before ``members`` are those before ``k``.
    centred : bool
        As in :func:`aggregate`.

    Returns
    -------
    Selection
        Of equal coefficients the smallest k is chosen.

    Raises
    ------
    ArgumentError
        If the shapes do not fit.
    """
    g, ric = _sums(g, ric)
    if g.ndim < 3:
        raise ArgumentError("g", f"shape {g.shape}", "give (..., k, members, layers)")
    chosen = np.ones(g.shape[-2], dtype=bool) if on is None else np.asarray(on)
    if chosen.dtype != bool or chosen.ndim == 0 or chosen.shape[-1] != g.shape[-2]:
        raise ArgumentError("on", f"{chosen.dtype} of shape {chosen.shape}", f"give a mask of {g.shape[-2]} members")
    chosen = chosen[..., None, :]
    curve = aggregate(g, ric, centred=centred, weights=chosen).rho
    others = aggregate(g, ric, centred=centred, weights=~chosen).rho
    place = np.asarray(np.where(np.isnan(curve), np.inf, curve).argmin(-1))
    at = place[..., None]
    nowhere = np.isnan(curve).all(-1)
    rho, held_out = (
        np.asarray(np.where(nowhere, np.nan, np.take_along_axis(values, at, -1)[..., 0])) for values in (curve, others)
    )
    return Selection(np.asarray(np.where(nowhere, -1, place)), rho, held_out, curve)


def halves(members: int, seed: int = 0) -> np.ndarray:
    """Mask of a random half of the members, the smaller one where their number is odd."""
    if members < 2:
        raise ArgumentError("members", str(members), "give at least two")
    mask = np.zeros(members, dtype=bool)
    mask[np.random.default_rng(seed).permutation(members)[: members // 2]] = True
    return mask


def _sums(g: Any, ric: Any) -> tuple[np.ndarray, np.ndarray]:
    g, ric = np.asarray(g), np.asarray(ric)
    if g.shape != ric.shape or g.ndim == 0 or g.shape[-1] < 2:
        shapes = f"shape {ric.shape} beside g of shape {g.shape}"
        raise ArgumentError("ric", shapes, "give g and ric of one shape (..., layers), with at least two layers")
    return g, ric


def _weights(weights: Any, shape: tuple[int, ...]) -> np.ndarray:
    if weights is None:
        return np.ones(shape[-1])
    found = np.asarray(weights, dtype=np.float64)
    if found.ndim == 0 or found.shape[-1] != shape[-1] or not np.all(np.isfinite(found) & (found >= 0)):
        raise ArgumentError("weights", f"shape {found.shape}", f"give a count of 0 or more for {shape[-1]} members")
    return found
