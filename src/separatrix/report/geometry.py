"""The geometry section: what the layers make of the shape of the data, beside what untrained layers make of it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from separatrix.figures.ricci_curves import LEVEL, ricci_curve
from separatrix.figures.ricci_layers import curvature_expansion
from separatrix.figures.svg import draw
from separatrix.geometry.ricci import SHARES, ricci
from separatrix.report.context import Context
from separatrix.report.document import Figure, Section, Table
from separatrix.report.places import sample
from separatrix.report.registry import instrument
from separatrix.results.errors import ArgumentError
from separatrix.results.status import flag_names
from separatrix.systems.listing import layers

if TYPE_CHECKING:
    import xarray as xr

LEAD = (
    "At every hidden layer each test point is joined to its k nearest neighbours. The Ricci coefficient is the "
    "correlation, over the layers, of a layer's total curvature with how much distances in this graph grow to the next "
    "layer; it is negative under a Ricci flow (Baptista et al., Sci. Rep. 14, 23383, 2024)."
)
CAUTION = (
    "It is negative without a flow as well: curvature and distances come from one graph, and regression to the mean "
    "alone makes −c/√2 of their correlation c. So it says something only beside its nulls: layers in random order, and "
    "untrained twins of the network. The rows below are one network at several k, and not independent of one another."
)
LEAST_LAYERS = 5
"""Hidden layers from which on there is a section: fewer make a correlation of fewer than four pairs."""
LEAST_POINTS = 20
TWINS = 5
PERMUTATIONS = 999
PART = 0.5
"""Share of the time for a field that this section may take."""
_TRIAL = 60
_MIDDLE = 0.1


@instrument("geometry", order=30)
def geometry(context: Context) -> Section | None:
    """Make the section, for models of at least five hidden layers."""
    options = context.options
    X, _ = sample(context)
    if len(X) < LEAST_POINTS or (not X.is_floating_point() and options.start is None):
        return None
    given: dict[str, Any] = {"output": options.output, "start": options.start, "memory": options.memory}
    if not _is_deep(context, X, given):
        return None
    twins = TWINS if isinstance(context.model, nn.Module) else 0
    most = _most_points(context, X, given, 1 + twins)
    X, whole = X[:most], len(X)
    context.say(f"geometry of {len(X):,} points")
    ds, untold = _ricci(context, X, given, twins)
    context.save(ds, "ricci")
    prose = [LEAD, CAUTION, *_findings(ds)]
    if untold:
        prose.append(untold)
    if len(X) < whole:
        prose.append(f"The time allowed for {len(X):,} of the {whole:,} points.")
    facts, rows = _rows(ds)
    header = [
        "k",
        "share of points",
        "ρ",
        "−c/√2",
        "untrained: lowest, mean, highest",
        "p, order",
        "p, pairs",
        "layers cut",
    ]
    return Section(
        "Geometry",
        facts=facts,
        prose=prose,
        figures=_figures(context, ds),
        tables=[Table(header, rows, numbers=(0, 1, 2))],
    )


def _is_deep(context: Context, X: Tensor, given: dict[str, Any]) -> bool:
    """Whether there are enough hidden layers, by the listing alone."""
    listing = layers(context.model, X[:2], output=given["output"], start=given["start"])
    depths = {row.depth for row in listing if row.cut and row.depth}
    return len(depths) > LEAST_LAYERS


def _most_points(context: Context, X: Tensor, given: dict[str, Any], runs: int) -> int:
    """Points that fit into the time, by a trial on a few; the work grows with their square."""
    allowed = PART * context.options.seconds
    if allowed == math.inf or len(X) <= _TRIAL:
        return len(X)
    best = math.inf
    for _ in range(2):  # the first run also compiles
        began = time.perf_counter()
        ricci(context.model, X[:_TRIAL], _MIDDLE, **given)
        best = min(best, time.perf_counter() - began)
    return int(min(len(X), max(_TRIAL, _TRIAL * math.sqrt(allowed / (best * runs)))))


def _ricci(context: Context, X: Tensor, given: dict[str, Any], twins: int) -> tuple[xr.Dataset, str]:
    """The result, and why it has no untrained twins, if it has none."""
    asked: dict[str, Any] = {"nulls": PERMUTATIONS, "seed": context.options.seed, "progress": context.progress, **given}
    if not twins:
        return ricci(context.model, X, SHARES, **asked), "A function has no untrained twins."
    try:
        return ricci(context.model, X, SHARES, untrained=twins, **asked), ""
    except ArgumentError as error:
        if error.argument != "untrained":
            raise
        return ricci(context.model, X, SHARES, **asked), f"There are no untrained twins: {error.got}."


def _findings(ds: xr.Dataset) -> list[str]:
    """What the numbers say, in plain words."""
    one = ds.isel(member=0, convention=0)
    rho = one["rho"].values
    there = ~np.isnan(rho)
    total = int(there.sum())
    if not total:
        return ["There is no coefficient at any k: " + _why(one) + "."]
    found = [f"The coefficient is negative at {int((rho < 0).sum())} of {total} values of k."]
    rare = int((one["p_layers"].values[there] <= LEVEL).sum())
    words = f"Random orders of the layers are as negative in at most 5 % of cases at {rare} of {total}"
    if "untrained" in one:
        lowest, highest = one["untrained_lowest"].values, one["untrained_highest"].values
        beyond = int((rho[there] < lowest[there]).sum())
        words += f"; it is below all {int(one['untrained_count'].max())} untrained twins at {beyond}"
        if beyond == 0 and bool(np.nanmin(highest - rho, initial=math.inf) >= 0):
            words += ", so it does not tell this network from an untrained one"
    found.append(words + ".")
    if total < len(rho):
        found.append(f"{len(rho) - total} values of k have no coefficient: {_why(one)}.")
    if int(one["status"].max()) and "duplicates" in _meanings(one):
        found.append("Some points coincide at some layer, so that their order decides on some neighbours.")
    return found


def _meanings(one: xr.Dataset) -> set[str]:
    names = flag_names(one["status"].attrs)
    return {names[int(code)] for code in np.unique(one["status"].values)}


def _why(one: xr.Dataset) -> str:
    reasons = {
        "undefined": "the graph of some layer is not connected",
        "collapsed": "all points coincide at some layer",
        "constant_curvature": "the curvature does not change from layer to layer",
        "constant_expansion": "the expansion does not change from layer to layer",
    }
    return ", or ".join(text for name, text in reasons.items() if name in _meanings(one)) or "too few layers"


def _rows(ds: xr.Dataset) -> tuple[list[tuple[str, str]], list[list[str]]]:
    one = ds.isel(member=0, convention=0)
    rows = []
    for i in range(one.sizes["k"]):
        cell = one.isel(k=i)
        twins = "–"
        if "untrained" in one:
            names = ("untrained_lowest", "untrained", "untrained_highest")
            twins = ", ".join(_number(cell[name]) for name in names)
        cut = int((cell["components"].values > 1).sum())
        own = [str(int(cell["k"])), f"{100 * float(cell['share']):.1f} %", _number(cell["rho"]), _number(cell["bias"])]
        rest = [twins, _number(cell["p_layers"], 3), _number(cell["p_pairs"], 3), f"{cut} of {one.sizes['layer']}"]
        rows.append(own + rest)
    place = _middle(ds)
    row = rows[place]
    beside = f", untrained {_number(one['untrained'][place])}" if "untrained" in one else ""
    return [(f"Ricci coefficient at k = {row[0]}; without a flow {row[3]}{beside}", row[2])], rows


def _figures(context: Context, ds: xr.Dataset) -> list[Figure]:
    k = int(ds["k"][_middle(ds)])
    curve = draw(
        lambda ax: ricci_curve(ds, ax),
        size=(4.6, 4.0),
        alt="Ricci coefficient against k, with its nulls",
        name=f"{context.name}-ricci",
    )
    pairs = draw(
        lambda ax: curvature_expansion(ds, ax, k=k),
        size=(4.6, 3.6),
        alt="expansion against curvature, by layer",
        name=f"{context.name}-ricci-layers",
    )
    band = " Grey: from the lowest to the highest untrained twin." if "untrained" in ds else ""
    return [
        Figure(
            curve,
            "The coefficient against k. Filled marks: at most 5 % of random orders of the layers are as negative."
            + band,
            "half",
        ),
        Figure(pairs, f"The pairs behind it at k = {k}: one mark a layer, light to dark along depth.", "half"),
    ]


def _middle(ds: xr.Dataset) -> int:
    """The k nearest a tenth of the points: not the most negative one, which would be a choice by its outcome."""
    return int(np.abs(ds["share"].values - _MIDDLE).argmin())


def _number(value: Any, digits: int = 2) -> str:
    number = float(value)
    return "–" if math.isnan(number) else f"{number:.{digits}f}".replace("-", "−")
