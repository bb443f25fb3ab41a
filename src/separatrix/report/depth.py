"""The depth section: how differences of the input grow and shrink on their way through the layers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from separatrix.data.record import class_numbers
from separatrix.report import pictures, wording
from separatrix.report.answers import wrong
from separatrix.report.context import Context
from separatrix.report.document import Section, Table
from separatrix.report.places import Pace, field_place, sample
from separatrix.report.registry import attempt, instrument
from separatrix.results.errors import ArgumentError
from separatrix.systems.listing import layers
from separatrix.tangent.ftle import ftle

if TYPE_CHECKING:
    import xarray as xr


@instrument("depth", order=10)
def depth(context: Context) -> Section:
    """Make the section; each part of it may fail without the others."""
    results: dict[str, xr.Dataset] = {}
    pace = Pace(context)
    parts = [
        attempt("Where it is sensitive", partial(_fields, context, pace, results)),
        attempt("How exponents are spread", partial(_points, context, pace, results)),
        attempt("Layers", partial(_layers, context)),
        attempt("Self-check", partial(_self_check, results)),
        Section("What is proved, and what is only measured", prose=[*wording.PROVED, *wording.MEASURED]),
        attempt("Settings and statuses", partial(_settings, context, results)),
    ]
    children = [part for part in parts if part is not None]
    facts = [fact for child in children for fact in child.facts]
    for child in children:
        child.facts = []
    return Section("Along depth", prose=wording.LEAD, facts=facts, children=children)


def _fields(context: Context, pace: Pace, results: dict[str, xr.Dataset]) -> Section:
    title = "Where it is sensitive"
    place = None if context.options.start else field_place(context, pace.most())
    if place is None:
        reason = (
            f"perturbations enter at {context.options.start}" if context.options.start else "inputs are not continuous"
        )
        return Section(title, prose=[f"No field is drawn: {reason}, so there is no plane of inputs to draw it on."])
    where, three = place
    context.say(f"field, {where.shape[0]} x {where.shape[1]} points")
    ds = ftle(context.model, where, progress=context.progress, **context.options.ftle())
    results["field"] = ds
    context.save(ds, "field")
    context.say("figures")
    nx, ny = where.shape
    if where.kind == "grid":
        prose = [
            f"The field covers the data and a tenth more on each side, on {nx} × {ny} points, in the model's own units."
        ]
    else:
        names = _class_names(context, three)
        prose = [
            f"The field lies on the plane through three test inputs{names}, on {nx} × {ny} points; a and b are lengths "
            "in input space. Most of the plane is between and around the data, not on it."
        ]
    if pace.most() is not None and context.options.resolution is None:
        prose[0] += f" The model is slow, so the field is coarse: it was given {context.options.seconds:.0f} s."
    margins = pictures.margins_on(context, where)
    prose += wording.along_boundary(ds, pictures.endpoint(ds), margins)
    children = []
    panels = pictures.panel_figures(context, ds, where)
    if panels:
        hidden = ds.sizes["layer"] - int("output" in ds["layer"].values)
        shown = len(panels) - 1
        left_out = f" {shown} of {hidden} layers are shown; the file holds all of them." if shown < hidden else ""
        children.append(Section("Layer by layer", prose=[left_out.strip()] if left_out else [], figures=panels))
    return Section(
        title, prose=prose, figures=pictures.field_figures(context, ds, where, three, margins), children=children
    )


def _points(context: Context, pace: Pace, results: dict[str, xr.Dataset]) -> Section:
    X, y = sample(context, pace.most())
    context.say(f"exponents at {len(X):,} test points")
    ds = _as_many_as_there_are(context, X)
    results["points"] = ds
    context.save(ds, "points")
    context.say("figures")
    facts, prose = wording.findings(ds, pictures.endpoint(ds), wrong(context, X, y))
    return Section("How exponents are spread", facts=facts, prose=prose, figures=pictures.point_figures(context, ds))


def _as_many_as_there_are(context: Context, X: Tensor) -> xr.Dataset:
    """Exponents at points, k of them, or all where a model has fewer."""
    for k in range(context.options.k, 0, -1):
        try:
            return ftle(context.model, X, k=k, progress=context.progress, **context.options.ftle())
        except ArgumentError as error:
            if error.argument != "k" or k == 1:
                raise
    raise ArgumentError("k", str(context.options.k), "give at least 1")


def _layers(context: Context) -> Section:
    X, _ = sample(context)
    listing = layers(context.model, X[:2], output=context.options.output, start=context.options.start)
    rows = [[r.label, r.kind, wording.shape_text(r.shape), str(r.depth), "yes" if r.cut else "no"] for r in listing]
    return Section(
        "Layers",
        prose=[
            f"The model makes {len(rows)} calls, in this order. Depth counts weight layers from the input. A cut is a "
            "place through which everything passes on its way from input to output."
        ],
        tables=[Table(["label", "kind", "shape", "depth", "cut"], rows, numbers=(3,))],
        folded=len(rows) > 12,
    )


def _self_check(results: dict[str, xr.Dataset]) -> Section | None:
    if not results:
        return None
    return Section("Self-check", prose=wording.self_check({name.capitalize(): ds for name, ds in results.items()}))


def _settings(context: Context, results: dict[str, xr.Dataset]) -> Section:
    rows = [[name, value] for name, value in context.options.rows()]
    for name, ds in results.items():
        rows += [[f"{name}: {key}", str(ds.attrs[key])] for key in ("method", "precision", "recomputed_points")]
    tables = [Table(["setting", "value"], rows)]
    if results:
        tables.insert(0, wording.statuses(results))
    files = [f"Numbers: {', '.join(context.files)} (netCDF; read with xarray.open_dataset)."] if context.files else []
    return Section("Settings and statuses", prose=files, tables=tables, folded=True)


def _class_names(context: Context, three: list[int]) -> str:
    problem = context.problem
    if not problem.classes or problem.y_test is None:
        return ""
    numbers = class_numbers(problem.y_test[three]).tolist()
    return f" of the classes {', '.join(problem.classes[n] for n in numbers)}"
