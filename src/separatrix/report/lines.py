"""Ridges of the fields, the decision boundary in the same plane, and how far they are apart."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from separatrix.figures import reading
from separatrix.report import line_words
from separatrix.report.context import Context
from separatrix.report.document import Table
from separatrix.report.linearity import piecewise_linear
from separatrix.report.pace import PLANE, SQUARE, Pace
from separatrix.results.errors import ArgumentError
from separatrix.tangent.boundary import decision_boundary
from separatrix.tangent.inputs import Plane
from separatrix.tangent.ridge_verdict import PIECEWISE_LINEAR
from separatrix.tangent.ridges import ridges

if TYPE_CHECKING:
    import xarray as xr

SMALLEST = 7
"""Points to a side below which ridges cannot be looked for."""
STEPS = 5
"""Evaluations that Newton's iteration takes at a point, about."""
CHECKS = 100
"""Evaluations that it takes to see whether there can be ridges."""
POINTS, PASSES = 8, 36
"""Points of a boundary, in sides of the grid, and forward passes that it takes to move one onto the exact tie."""
DERIVATIVES, EVALUATION = 10.0, 5e-3
"""Cost of an evaluation with second derivatives: in exponents of one point, and in seconds at least."""


@dataclass
class Lines:
    """What was found in a plane.

    Attributes
    ----------
    boundary : xarray.Dataset or None
    ridges : dict
        By the layer's label, where they could be looked for.
    prose : list of str
    tables : list of Table
    """

    boundary: xr.Dataset | None = None
    ridges: dict[str, xr.Dataset] = field(default_factory=dict)
    prose: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def find_lines(
    found: Lines,
    context: Context,
    pace: Pace,
    ds: xr.Dataset,
    where: Plane,
    layers: list[str],
    level: float | None,
) -> None:
    """Look for the boundary and for ridges of some layers, within the time that the options allow.

    Parameters
    ----------
    found : Lines
        Filled in, so that a failure loses nothing that was found before.
    ds : xarray.Dataset
        The field.
    where : Plane
        The field's plane.
    layers : list of str
        Labels.
    level : float or None
        Where a single output tells two classes apart; None where the outputs stand for no classes.
    """
    if level is not None:
        context.say("decision boundary")
        try:
            found.boundary, told = _boundary(context, pace, where, level)
            found.prose += told
        except ArgumentError as error:
            found.prose.append(f"The decision boundary is drawn as the field's nodes show it: {error}.")
    silent: dict[str, list[str]] = {}
    every = [str(v) for v in ds["layer"].values]
    spent = 0.0
    for layer in layers:
        context.say(f"ridges at {layer}")
        name, began = reading.short(layer, every), time.perf_counter()
        lines, why = _ridges(context, pace, ds, where, layer, context.options.seconds - spent)
        spent += time.perf_counter() - began
        if lines is not None and lines.sizes["line"]:
            found.ridges[layer] = lines
            found.prose.append(line_words.ridge_words(name, lines, why))
        else:
            if lines is not None and lines.attrs["status"].startswith("ok"):
                found.ridges[layer] = lines
            silent.setdefault(why, []).append(name)
    found.prose += [f"No ridge at {' and '.join(names)} ({why})." for why, names in silent.items()]
    if found.boundary is not None:
        prose, tables = line_words.distances(found.ridges, found.boundary, where, every)
        found.prose += prose
        found.tables += tables
    _save(context, found)


def _boundary(context: Context, pace: Pace, where: Plane, level: float) -> tuple[xr.Dataset, list[str]]:
    """On a finer grid than the field's, where that is coarse for the sake of time; exact, if there is time for it."""
    options = context.options
    quarter = options.seconds / 4
    if options.resolution is None and quarter < math.inf:
        most = math.isqrt(int(quarter / pace.forward))
        side = min(SQUARE if where.kind == "grid" else PLANE, most)
        if side > max(where.shape):
            x, y = (torch.linspace(float(v[0]), float(v[-1]), side, dtype=torch.float64) for v in (where.x, where.y))
            where = replace(where, x=x, y=y)
    guess = POINTS * max(where.shape) * PASSES * pace.forward if quarter < math.inf else 0.0
    exact = guess <= 2 * quarter
    found = decision_boundary(
        context.model,
        where,
        level=level,
        output=options.output,
        refine=exact,
        memory=options.memory,
        progress=context.progress,
    )
    told = f"The boundary is interpolated between nodes: to move it onto exact ties would take about {guess:.0f} s."
    return found, [] if exact else [told]


def _ridges(
    context: Context, pace: Pace, ds: xr.Dataset, where: Plane, layer: str, seconds: float
) -> tuple[xr.Dataset | None, str]:
    """Ridges, with the model's own derivatives if there is time for that, and why there are none or no better ones."""
    if min(ds.sizes["x"], ds.sizes["y"]) < SMALLEST:
        return None, f"the field has fewer than {SMALLEST} points to a side"
    try:
        on_grid = ridges(ds, layer=layer, memory=context.options.memory)
    except ArgumentError as error:
        return None, f"{error}"
    kinked = pace.anatomy.trace.kinked
    if kinked and piecewise_linear(context, where):
        return None, PIECEWISE_LINEAR
    cost = EVALUATION if seconds == math.inf else max(DERIVATIVES / max(pace.rate([layer]), 1e-9), EVALUATION)
    guess = (CHECKS + STEPS * on_grid.sizes["point"]) * cost
    why = f"exact derivatives would take about {guess:.0f} s, more than the time that was allowed"
    if guess <= seconds:
        options, shape = context.options, context.problem.input_shape
        try:
            exact = ridges(
                ds, model=context.model, layer=layer, output=options.output, input_shape=shape, memory=options.memory
            )
        except ArgumentError as error:
            why = str(error)
        else:
            none = "none was found on this grid" if exact.attrs["status"].startswith("ok") else exact.attrs["status"]
            return exact, "" if exact.sizes["line"] else none
    if kinked:
        return None, f"the network has kinks, where only exact derivatives tell a ridge from a step, and {why}"
    if not on_grid.sizes["line"]:
        status = on_grid.attrs["status"]
        return on_grid, "none was found on this grid" if status.startswith("ok") else status
    return on_grid, why


def _save(context: Context, found: Lines) -> None:
    if found.boundary is not None:
        context.save(found.boundary, "boundary")
    for layer, lines in found.ridges.items():
        context.save(lines, "ridges-" + re.sub(r"[^A-Za-z0-9]+", "-", layer.removesuffix("#1")).strip("-"))
