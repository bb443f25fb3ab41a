"""The Dataset that sums over layers become: coefficients, their nulls, and what they stand on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.geometry.coefficients import (
    adjusted,
    aggregate,
    expansion,
    regression_to_the_mean,
    ricci_coefficient,
)
from separatrix.geometry.correlation import CoefficientStatus
from separatrix.geometry.nulls import Null, permute_layers, permute_pairs
from separatrix.geometry.profiles import Asked, Profiles
from separatrix.results.dataset import Entry, build
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs

if TYPE_CHECKING:
    import xarray as xr

CELLS = ("member", "convention", "k")
LAYERS = (*CELLS, "layer")
NOTE = (
    "negative coefficients also come without a flow, by regression to the mean: compare with bias, both permutation "
    "nulls, untrained networks, and other k"
)


@dataclass(frozen=True)
class Runs:
    """Sums over all points, over subsets of them, and of untrained twins."""

    whole: Profiles
    subsets: list[Profiles]
    twins: list[Profiles]


def dataset(
    runs: Runs,
    labels: list[str],
    points: int,
    asked: Asked,
    nulls: int,
    seed: int,
    made: str,
    model: Any,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Compute the coefficients, name everything, and check it against the schema."""
    found, missing = runs.whole, "drop" if asked.disconnected == "drop-pairs" else "nan"
    g, ric = found.geodesic, found.curvature
    rho, pairs, status = _coefficient(found, points, asked.disconnected)
    if g.shape[-1] > 1:
        correlation, bias, _ = regression_to_the_mean(g, ric)
        without = status >= CoefficientStatus.UNDEFINED
        correlation, bias = (np.where(without, np.nan, v) for v in (correlation, bias))
    else:
        correlation = bias = np.full(g.shape[:-1], np.nan)
    forms = {form: _adjusted(rho, pairs, form) for form in ("paper", "standard")}
    eta = np.concatenate([expansion(g), np.full((*g.shape[:-1], 1), np.nan)], -1) if g.shape[-1] > 1 else g * np.nan
    data: dict[str, Entry] = {
        "rho": (CELLS, rho, _about("Ricci coefficient: correlation of expansion and curvature", note=NOTE)),
        "pairs": (CELLS, pairs, _about("steps between layers that the coefficient stands on")),
        "spearman": (CELLS, _plain(g, ric, missing, "spearman"), _about("rank correlation of the same")),
        "adjusted_paper": (CELLS, forms["paper"], _about("arctanh(rho) / sqrt(layers - 4), as printed")),
        "adjusted_standard": (CELLS, forms["standard"], _about("arctanh(rho) * sqrt(layers - 4), Fisher's z")),
        "correlation": (CELLS, correlation, _about("correlation of geodesic and curvature over the layers")),
        "bias": (CELLS, bias, _about("-correlation / sqrt(2): the coefficient that needs no flow")),
        "status": (CELLS, status, flag_attrs(CoefficientStatus)),
        "geodesic": (LAYERS, g, _about("sum of hop distances over ordered pairs of points")),
        "curvature": (LAYERS, ric, _about("sum of Forman curvatures over edges")),
        "expansion": (LAYERS, eta, _about("geodesic of the next layer less that of this one")),
        "edges": (LAYERS, found.edges, _about("edges that curvature is summed over; arcs in authors-r")),
        "components": (LAYERS, found.components, _about("connected components of the graph")),
        "largest": (LAYERS, found.largest, _about("points in the largest component")),
        "unreachable": (LAYERS, found.unreachable, _about("ordered pairs of points without a path")),
        "diameter": (LAYERS, found.diameter, _about("largest hop distance of connected points")),
        "reciprocity": (("member", "k", "layer"), found.reciprocity, _about("share of arcs whose reverse is one")),
        "unique_rows": (("member", "layer"), found.unique_rows, _about("distinct points")),
        "least_connecting_k": (
            ("member", "layer"),
            found.least_connecting_k,
            _about("least k whose union graph is connected; -1: beyond the largest k"),
        ),
    }
    whole = g if asked.disconnected != "drop-pairs" else np.where(np.isnan(rho)[..., None], np.nan, g)
    for name, centred in (("pooled", False), ("pooled_centred", True)):
        words = "coefficient of all members' steps together" + (", each member's means taken off" if centred else "")
        pool = _pooled(whole, ric, centred)
        data[name] = (("convention", "k"), pool, _about(words))
    attrs: dict[str, Any] = {
        "method": "exact neighbours, bit-parallel breadth-first search, curvature by degree identities",
        "form": "Pearson correlation over layers",
        "source": "Baptista et al., Sci. Rep. 14, 23383 (2024), eqs. 4 to 8 and 11",
        "points": points,
        "ties": asked.ties,
        "disconnected": asked.disconnected,
        "provenance": provenance("ricci", model=model, **settings),
    }
    if nulls:
        data |= _nulls(g, ric, nulls, seed, attrs)
    if runs.twins:
        attrs["untrained"] = f"{len(runs.twins)} twins a network; {made}"
        data |= _summary("untrained", runs.twins, points, asked, "untrained twins")
    if runs.subsets:
        attrs["subsamples"] = f"{len(runs.subsets)} subsets of {settings['share']:g} of the points, k scaled to them"
        size = round(settings["share"] * points)
        data |= _summary("subsample", runs.subsets, size, asked, "random subsets of the points")
    coords: dict[str, Entry] = {
        "member": (("member",), np.arange(len(g))),
        "convention": (("convention",), np.array(asked.conventions, dtype=str)),
        "k": (("k",), asked.ks, {"long_name": "nearest neighbours of each point"}),
        "share": (("k",), asked.ks / points, {"long_name": "nearest neighbours over points"}),
        "layer": (("layer",), np.array(labels, dtype=str)),
    }
    return build(data, coords, attrs)


def _coefficient(found: Profiles, points: int, disconnected: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, pairs and statuses (member, convention, k)."""
    shape = found.geodesic.shape
    if shape[-1] < 2:
        status = np.full(shape[:-1], CoefficientStatus.FEW_POINTS, dtype=np.int8)
        return np.full(shape[:-1], np.nan), np.zeros(shape[:-1], dtype=np.int64), status
    missing = "drop" if disconnected == "drop-pairs" else "nan"
    rho, pairs, status = ricci_coefficient(found.geodesic, found.curvature, missing=missing)
    cut = (found.components > 1).any(-1)
    duplicates = np.asarray((found.unique_rows < points).any(-1))[:, None, None]
    collapsed = np.asarray((found.unique_rows == 1).any(-1))[:, None, None]
    for mask, flag in (
        (~np.isnan(rho) & (pairs < 4), CoefficientStatus.SHALLOW),
        (~np.isnan(rho) & duplicates, CoefficientStatus.DUPLICATES),
        (cut & (disconnected == "largest"), CoefficientStatus.LARGEST_COMPONENT),
        (np.isnan(rho) & collapsed, CoefficientStatus.COLLAPSED),
    ):
        status = np.where(mask, np.maximum(status, flag), status)
    return rho, pairs, status.astype(np.int8)


def _adjusted(rho: np.ndarray, pairs: np.ndarray, form: str) -> np.ndarray:
    deep = pairs >= 4
    return np.where(deep, adjusted(rho, np.where(deep, pairs + 1, 5), form), np.nan)


def _plain(g: np.ndarray, ric: np.ndarray, missing: str, kind: str) -> np.ndarray:
    return (
        ricci_coefficient(g, ric, missing=missing, kind=kind).rho if g.shape[-1] > 1 else np.full(g.shape[:-1], np.nan)
    )


def _pooled(g: np.ndarray, ric: np.ndarray, centred: bool) -> np.ndarray:
    if g.shape[-1] < 2:
        return np.full(g.shape[1:-1], np.nan)
    return aggregate(np.moveaxis(g, 0, -2), np.moveaxis(ric, 0, -2), centred=centred).rho


def _nulls(g: np.ndarray, ric: np.ndarray, draws: int, seed: int, attrs: dict[str, Any]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    if g.shape[-1] < 2:
        return found
    nulls: dict[str, tuple[Null, str]] = {
        "pairs": (permute_pairs(g, ric, draws=draws, seed=seed), "curvatures paired with expansions at random"),
        "layers": (permute_layers(g, ric, draws=draws, seed=seed), "layers in random order"),
    }
    for name, (null, words) in nulls.items():
        found[f"p_{name}"] = (CELLS, null.p, _about(f"share of permutations as negative or more: {words}"))
        found[f"null_{name}"] = (CELLS, null.mean, _about(f"mean coefficient: {words}"))
        found[f"null_{name}_negative"] = (CELLS, null.negative, _about(f"share of coefficients below zero: {words}"))
        attrs[f"null_{name}"] = f"{words}; {null.permutations} permutations, {'all' if null.exact else 'drawn'}"
    return found


def _summary(name: str, runs: list[Profiles], points: int, asked: Asked, words: str) -> dict[str, Entry]:
    rho = np.stack([_coefficient(run, points, asked.disconnected)[0] for run in runs])
    with warnings.catch_warnings():
        # cells without any coefficient are NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        there = ~np.isnan(rho)
        numbers = {
            name: np.nanmean(rho, 0),
            f"{name}_lowest": np.nanmin(rho, 0),
            f"{name}_highest": np.nanmax(rho, 0),
            f"{name}_negative": (rho < 0).sum(0) / there.sum(0),
        }
    kinds = ("mean coefficient", "lowest coefficient", "highest coefficient", "share of coefficients below zero")
    found: dict[str, Entry] = {
        key: (CELLS, values, _about(f"{kind} of {words}"))
        for (key, values), kind in zip(numbers.items(), kinds, strict=True)
    }
    found[f"{name}_count"] = (CELLS, there.sum(0), _about(f"how many {words} have a coefficient"))
    return found


def _about(words: str, **more: str) -> dict[str, Any]:
    return {"long_name": words, "units": "1", **more}
