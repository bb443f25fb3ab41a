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
from separatrix.report.lines import Lines, find_lines
from separatrix.report.pace import Pace, Share
from separatrix.report.places import field_place, sample
from separatrix.report.registry import attempt, instrument
from separatrix.results.errors import ArgumentError
from separatrix.systems.listing import layers
from separatrix.tangent.ftle import ftle
from separatrix.tangent.inputs import Plane

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
        attempt("Self-check", partial(_self_check, pace, results)),
        Section("What is proved, and what is only measured", prose=[*wording.PROVED, *wording.MEASURED]),
        attempt("Settings and statuses", partial(_settings, context, results)),
    ]
    children = [part for part in parts if part is not None]
    facts = [fact for child in children for fact in child.facts]
    for child in children:
        child.facts = []
    return Section("Along depth", prose=wording.LEAD, facts=facts, children=children)


def _fields(context: Context, pace: Pace, results: dict[str, xr.Dataset]) -> Section:
    title, options = "Where it is sensitive", context.options
    share = None if options.start or field_place(context, None) is None else pace.large()
    place = None if share is None else field_place(context, share.most)
    if share is None or place is None:
        reason = f"perturbations enter at {options.start}" if options.start else "inputs are not continuous"
        return Section(title, prose=[f"No field is drawn: {reason}, so there is no plane of inputs to draw it on."])
    where, three = place
    ds = _field(context, where, share)
    results["field"] = ds
    context.save(ds, "field")
    prose = [_about_the_plane(context, where, three)]
    if share.most is not None and options.resolution is None:
        prose[0] += f" The model is slow, so the field is coarse: it was given {options.seconds:.0f} s."
    margins, level = pictures.margins_on(context, where)
    prose += wording.along_boundary(ds, pictures.endpoint(ds), margins)
    lines = Lines()
    children = [attempt("Ridges and the boundary", partial(_lines, context, pace, ds, where, level, lines))]
    context.say("figures")
    figures = pictures.field_figures(context, ds, where, three, margins, lines)
    children.append(attempt("Layer by layer", partial(_panels, context, pace, results, share)))
    return Section(title, prose=prose, figures=figures, children=[child for child in children if child is not None])


def _lines(
    context: Context, pace: Pace, ds: xr.Dataset, where: Plane, level: float | None, lines: Lines
) -> Section | None:
    find_lines(lines, context, pace, ds, where, pictures.ends(ds), level)
    return Section("Ridges and the boundary", prose=lines.prose, tables=lines.tables) if lines.prose else None


def _field(context: Context, where: Plane, share: Share) -> xr.Dataset:
    context.say(f"field, {where.shape[0]} x {where.shape[1]} points")
    settings = context.options.ftle() | {"layers": share.layers}
    return ftle(context.model, where, progress=context.progress, **settings)


def _about_the_plane(context: Context, where: Plane, three: list[int]) -> str:
    nx, ny = where.shape
    if where.kind == "grid":
        return (
            f"The field covers the data and a tenth more on each side, on {nx} × {ny} points, in the model's own units."
        )
    return (
        f"The field lies on the plane through three test inputs{_class_names(context, three)}, on {nx} × {ny} points; "
        "a and b are lengths in input space. Most of the plane is between and around the data, not on it."
    )


def _panels(context: Context, pace: Pace, results: dict[str, xr.Dataset], large: Share) -> Section | None:
    """Small pictures of all layers; where the field has not got them, from a coarser one."""
    prose, ds = [], results["field"]
    if large.layers in pace.selections()[1:]:
        small = pace.small()
        place = None if small is None else field_place(context, small.most)
        if small is None or place is None:
            text = "There was no time for more layers: allow more seconds, or name the layers to look at."
            return Section("Layer by layer", prose=[text])
        ds = _field(context, place[0], small)
        results["layers"] = ds
        context.save(ds, "layers")
        prose = [f"On {ds.sizes['x']} × {ds.sizes['y']} points only, for the sake of time."]
    hidden = [str(label) for label in ds["layer"].values if label != "output"]
    panels = pictures.panel_figures(context, ds)
    if len(hidden) > len(panels) - 1 > 0:
        prose.append(f"{len(panels) - 1} of {len(hidden)} layers are shown; the file holds all of them.")
    elif ds is not results["field"]:
        prose.append(f"{len(hidden)} of {len(pace.anatomy.select('all')) - 1} layers were looked at.")
    return Section("Layer by layer", prose=prose, figures=panels) if panels else None


def _points(context: Context, pace: Pace, results: dict[str, xr.Dataset]) -> Section:
    share = pace.sample()
    X, y = sample(context, share.most)
    context.say(f"exponents at {len(X):,} test points")
    ds = _as_many_as_there_are(context, X, share)
    results["points"] = ds
    context.save(ds, "points")
    context.say("figures")
    facts, prose = wording.findings(ds, pictures.endpoint(ds), wrong(context, X, y))
    if share.layers != context.options.layers:
        few = "only the output was" if ds.sizes["layer"] == 1 else f"{ds.sizes['layer']} layers were"
        prose.append(f"For the sake of time, {few} looked at here.")
    return Section("How exponents are spread", facts=facts, prose=prose, figures=pictures.point_figures(context, ds))


def _as_many_as_there_are(context: Context, X: Tensor, share: Share) -> xr.Dataset:
    """Exponents at points, k of them, or all where a model has fewer."""
    settings = context.options.ftle() | {"layers": share.layers}
    for k in range(context.options.k, 0, -1):
        try:
            return ftle(context.model, X, k=k, progress=context.progress, **settings)
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


def _self_check(pace: Pace, results: dict[str, xr.Dataset]) -> Section | None:
    if not results:
        return None
    named = {name.capitalize(): ds for name, ds in results.items()}
    return Section("Self-check", prose=wording.self_check(named, kinked=pace.anatomy.trace.kinked))


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
