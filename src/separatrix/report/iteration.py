"""The iteration section: where a model whose output has its input's shape goes when it is fed its own output."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from separatrix.certificates.certificate import Certificate
from separatrix.certificates.certify import certify
from separatrix.figures.svg import draw
from separatrix.local.basins import basins
from separatrix.local.equilibria import equilibria
from separatrix.local.spectrum import spectrum
from separatrix.report.answers import outputs
from separatrix.report.context import Context
from separatrix.report.document import Figure, Section, Table
from separatrix.report.places import field_place, sample
from separatrix.report.registry import attempt, instrument
from separatrix.results.errors import ArgumentError
from separatrix.systems.loop import Loop
from separatrix.systems.lure import Lure, lure
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

LEAD = [
    "The output has the shape of the input, so the model is also a map, x+ = f(x), and is fed its own output here. "
    "Attractors and their shares are found by iterating points and are estimates; equilibria are listed with what was "
    "proved of them."
]
QUANTITIES = {"radius": "spectral radius", "norm_2": "2-norm", "norm_1": "1-norm", "norm_inf": "∞-norm"}
BUDGET = 5.0
"""Seconds for each statement at most."""
CELLED = 3
"""Components up to which regions of attraction of single equilibria are asked for."""
LOCAL = 3
"""Equilibria for which one is."""
SHOWN = 12
"""Equilibria and attractors listed at most."""


@instrument("iteration", order=20)
def iteration(context: Context) -> Section | None:
    """Make the section, for models that can be iterated."""
    X = context.problem.X_test
    if not X.is_floating_point() or context.options.start is not None or context.options.output is not None:
        return None
    value = outputs(context.model, X[:2], context.options)
    if value.shape != X[:2].shape:
        return None
    shape = tuple(X.shape[1:])
    loop = Loop(context.model, shape=shape if len(shape) > 1 else None, dim=X[0].numel())
    where = field_place(context, None) if X[0].numel() == 2 else None
    plane = where[0] if where else None
    network: Lure | None = None
    reason = ""
    try:
        network = lure(loop, X[0].numel())
    except ArgumentError as error:
        reason = str(error)
    results: dict[str, xr.Dataset] = {}
    parts = [
        attempt("Where it settles", partial(_settles, context, loop, plane, results)),
        attempt("Equilibria", partial(_equilibria, context, loop, results)),
        attempt("How it moves", partial(_portrait, context, loop, plane, results)) if plane is not None else None,
        attempt("What is proved", partial(_proved, context, loop, results)),
        attempt("Local spectra", partial(_spectra, context, network, reason)),
    ]
    children = [part for part in parts if part is not None]
    facts = [fact for child in children for fact in child.facts]
    for child in children:
        child.facts = []
    return Section("Along iteration", prose=LEAD, facts=facts, children=children)


def _settles(context: Context, loop: Loop, plane: Plane | None, results: dict[str, xr.Dataset]) -> Section:
    context.say("basins")
    starts = plane if plane is not None else sample(context)[0].double().flatten(1)
    ds = basins(loop, starts, progress=context.progress, memory=context.options.memory)
    results["basins"] = ds
    context.save(ds, "basins")
    kinds = ds["kind"].attrs["flag_meanings"].split()
    rows = []
    for i in range(min(SHOWN, ds.sizes["line"])):
        one = ds.isel(line=i)
        share, least, most = (100 * float(one[name]) for name in ("share", "share_lo", "share_hi"))
        period = str(int(one.period)) if int(one.period) > 0 else "–"
        shares = f"{share:.1f} % ({least:.1f} to {most:.1f})"
        kind = kinds[int(one.kind)].replace("fixed-point", "fixed point")
        rows.append([str(i + 1), kind, period, f"{float(one.exponent) + 0.0:.4f}", shares])
    escaped, undecided = (100 * float((ds["label"] == label).mean()) for label in (-2, -1))
    found = Counter(kinds[int(kind)].replace("fixed-point", "fixed point") for kind in ds["kind"].values)
    settled = ", ".join(f"{number} × {kind}" for kind, number in found.items()) or "no attractor"
    prose = [f"{ds['label'].size:,} starts found: {settled}. {escaped:.1f} % escaped, {undecided:.1f} % are undecided."]
    if "unresolved" in found:
        prose.append("Unresolved: neither settled nor shown to be chaotic in the steps taken, such as a slow drift.")
    if plane is None:
        prose.append("The starts are test inputs, so shares are those of the data.")
    if len(rows) < ds.sizes["line"]:
        prose.append(f"The table has the {len(rows)} with the largest shares; the file has all {ds.sizes['line']}.")
    table = Table(["attractor", "kind", "period", "largest exponent (1/step)", "share of starts"], rows, numbers=(3, 4))
    return Section("Where it settles", facts=[("attractors found", settled)], prose=prose, tables=[table])


def _equilibria(context: Context, loop: Loop, results: dict[str, xr.Dataset]) -> Section:
    context.say("equilibria")
    X = torch.cat([context.problem.X_train, context.problem.X_test]).double().flatten(1)
    lo, hi = X.min(0).values, X.max(0).values
    room = 0.1 * (hi - lo).clamp(min=1e-6)
    ds = equilibria(loop, (lo - room, hi + room), seed=context.options.seed, progress=context.progress)
    results["equilibria"] = ds
    context.save(ds, "equilibria")
    kinds = ds["stability"].attrs["flag_meanings"].split()
    rows = []
    for i in range(min(SHOWN, ds.sizes["point"])):
        one = ds.isel(point=i)
        place = ", ".join(f"{v:.4g}" for v in one.position.values[:4]) + (", …" if one.sizes["axis"] > 4 else "")
        modulus = np.hypot(one.eigenvalue_real.values, one.eigenvalue_imag.values)
        listed = ", ".join(f"{v:.4g}" for v in modulus[:3]) + (", …" if len(modulus) > 3 else "")
        rows.append([f"({place})", kinds[int(one.stability)], listed, "yes" if int(one.proved) else "no"])
    told = {
        "proved": "The list is proved to be complete in the box of the data and a tenth more on each side.",
        "not proved": "The list may not be complete: it is what searches from many starts found.",
    }
    prose = [told[ds.attrs["complete"]] + f" Method: {ds.attrs['method']}."]
    if not rows:
        prose.append("There is none in the list.")
    if len(rows) < ds.sizes["point"]:
        counts = Counter(kinds[int(kind)] for kind in ds["stability"].values)
        settled = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        prose.append(f"The table has the first {len(rows)} of {ds.sizes['point']} ({settled}); the file has all.")
    table = Table(["x = f(x)", "stability", "moduli of eigenvalues", "proved"], rows)
    whole = "all, as is proved" if ds.attrs["complete"] == "proved" else "there may be more"
    facts = [(f"equilibria in the box ({whole})", str(ds.sizes["point"]))]
    return Section("Equilibria", facts=facts, prose=prose, tables=[table] if rows else [])


def _proved(context: Context, loop: Loop, results: dict[str, xr.Dataset]) -> Section:
    """Global statements, and regions of attraction of the equilibria that attract."""
    context.say("certificates")
    seconds = min(BUDGET, context.options.seconds / 2)
    asked = [(name, certify(loop, name, budget=seconds)) for name in ("contraction", "stability", "boundedness")]
    rows = [[name, proof.verdict.value, _sentence(proof)] for name, proof in asked]
    found = results.get("equilibria")
    if asked[1][1].verdict != "certified" and found is not None and loop.dim(0) <= CELLED:
        kinds = found["stability"].attrs["flag_meanings"].split()
        attracting = [i for i in range(found.sizes["point"]) if kinds[int(found["stability"][i])] == "attracting"]
        for i in attracting[:LOCAL]:
            at = found["position"].values[i]
            proof = certify(loop, "stability", at=at, budget=seconds)
            place = ", ".join(f"{v:.4g}" for v in at)
            area = f" Volume of the region: {proof.region.volume:.4g}." if proof.region is not None else ""
            rows.append([f"stability of ({place})", proof.verdict.value, _sentence(proof) + area])
    prose = [
        "Certified and refuted are proofs about the map in exact arithmetic with the stored weights: certified in the "
        "norm that is named, refuted in every norm. Unknown says that no method decided, and what was tried."
    ]
    facts = [(f"{name}", proof.verdict.value) for name, proof in asked]
    return Section(
        "What is proved", facts=facts, prose=prose, tables=[Table(["statement", "verdict", "in words"], rows)]
    )


def _sentence(proof: Certificate) -> str:
    words = proof.statement[0].upper() + proof.statement[1:] + "."
    if proof.verdict == "unknown":
        return f"Not decided: {proof.statement}. Tried: {'; '.join(proof.evidence[:4])}."
    return f"{words} By {proof.method}."


def _portrait(context: Context, loop: Loop, plane: Plane, results: dict[str, xr.Dataset]) -> Section:
    from separatrix.figures import phase_portrait

    box = ((float(plane.x[0]), float(plane.y[0])), (float(plane.x[-1]), float(plane.y[-1])))

    def paint(ax: Axes) -> None:
        phase_portrait(loop, box, basins=results.get("basins"), equilibria=results.get("equilibria"), ax=ax)

    caption = (
        "Arrows: f(x) − x; colours: the attractor that a start ends at; marks: equilibria, filled where they attract"
    )
    svg = draw(paint, size=(5.2, 4.6), alt=caption, name=f"{context.name}-portrait")
    return Section("How it moves", figures=[Figure(svg, caption + ".", "half")])


def _spectra(context: Context, network: Lure | None, reason: str) -> Section:
    if network is None:
        return Section(
            "Local spectra", prose=["The model cannot be seen through as affine maps and activations.", reason]
        )
    X = sample(context)[0].double().flatten(1)
    rows = []
    for of, name in (("chord", "chord A(x)"), ("jacobian", "Jacobian Df(x)")):
        ds = spectrum(network, X, of=of, memory=context.options.memory)
        context.save(ds, f"spectrum-{of}")
        for key, words in QUANTITIES.items():
            values = ds[key].values.ravel()
            rows.append([name, words, *(f"{v:#.4g}" for v in (np.median(values), values.min(), values.max()))])
    prose = [
        f"At {len(X):,} test inputs. The largest values are estimates from below; a radius below 1 everywhere does not "
        "make a map stable, and a norm above 1 somewhere does not make it unstable."
    ]
    table = Table(["matrix", "quantity", "median", "smallest", "largest"], rows, numbers=(2, 3, 4))
    return Section("Local spectra", prose=prose, tables=[table])
