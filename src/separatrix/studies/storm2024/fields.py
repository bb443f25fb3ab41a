"""Fig. 2: fields of small networks, their ridges and their decision boundaries; T7 to T10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least, at_most
from separatrix.studies.storm2024.claims import CLAIMS
from separatrix.studies.storm2024.disc_measures import Networks, crossing, levels, networks, rays, square
from separatrix.studies.storm2024.field_figures import contrast_table, distance_table, panels
from separatrix.studies.storm2024.runs import DEPTHS, field_runs
from separatrix.studies.study import Context, Part
from separatrix.tangent.boundary import decision_boundary
from separatrix.tangent.boundary_scores import boundary_scores
from separatrix.tangent.curve_distance import curve_distance
from separatrix.tangent.ftle import ftle
from separatrix.tangent.inputs import grid
from separatrix.tangent.ridges import ridges

if TYPE_CHECKING:
    import xarray as xr

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}


@dataclass(frozen=True)
class Panel:
    """One network's field with what was found in it."""

    width: int
    depth: int
    field: xr.Dataset
    ridge: xr.Dataset
    boundary: xr.Dataset
    distance: xr.Dataset
    cell: float
    """Spacing of the grid."""


@dataclass(frozen=True)
class Measured:
    """Numbers of all networks of one architecture, one per member."""

    nets: Networks
    contrast: np.ndarray
    """E_d - E_c, in nats."""
    offset: np.ndarray
    """Median distance along radial rays between the largest stretch and the zero level, in cells."""
    turned: np.ndarray
    """Median |cos| between the direction of largest stretch and the boundary's normal."""
    ridged: np.ndarray
    """Share of the boundary that is a maximum of the stretch along its normal."""


def draw(nets: Networks, nodes: int) -> Panel:
    """Field, ridges and boundary of the first member."""
    where = grid(*square(nets, nodes)[:2], shape=nodes)
    model = nets.stack[0]
    field = ftle(model, where, layers=[nets.last])
    ridge = ridges(field, model=model, layer=nets.last)
    boundary = decision_boundary(model, where)
    distance = curve_distance(ridge, boundary)
    return Panel(nets.width, nets.depth, field, ridge, boundary, distance, float(where.x[1] - where.x[0]))


def measure(nets: Networks, nodes: int) -> Measured:
    """Contrast, radial offset and directions of all members."""
    found = levels(nets)
    along = rays()
    count, steps = along.shape[:2]
    stretch = nets.stretch(along.reshape(-1, 2)).reshape(len(nets.stack), count, steps)
    outputs = nets.output(along.reshape(-1, 2)).reshape(len(nets.stack), count, steps).double().numpy()
    zero, top = crossing(outputs), stretch.argmax(-1)
    # a step along a ray is 1 / (steps - 1) of the half-width, a cell of the grid 2 / (nodes - 1)
    apart = np.abs(top - zero) / (steps - 1) * (nodes - 1) / 2
    turned, ridged = [], []
    where = grid(*square(nets, nodes)[:2], shape=101)
    for i in range(len(nets.stack)):
        model = nets.stack[i]
        line = decision_boundary(model, where)
        scores = boundary_scores(model, line, layer=nets.last) if line.sizes["point"] else None
        turned.append(float(np.nanmedian(scores["directional"])) if scores is not None else np.nan)
        ridged.append(float(np.mean(scores["curvature"].values < 0)) if scores is not None else np.nan)
    return Measured(nets, found["circle"] - found["centre"], _median(apart), np.array(turned), np.array(ridged))


def _median(values: np.ndarray) -> np.ndarray:
    """Median over rays that cross the zero level, per member."""
    return np.array([np.median(v[np.isfinite(v)]) if np.isfinite(v).any() else np.nan for v in values])


def run(context: Context) -> Part:
    """Measure Fig. 2."""
    nodes = context.pick(quick=101, paper=201)
    context.say("fields: training")
    drawn, found = [], {}
    for nets in networks(context, field_runs(context.scale)):
        context.say(f"fields: N = {nets.width}, L = {nets.depth}")
        drawn.append(draw(nets, nodes))
        found[nets.width, nets.depth] = measure(nets, nodes)
    short = "the quick scale trains neither all widths nor all depths" if context.quick else ""
    return Part(
        findings=[
            _errors(found, short),
            _contrasts(found, short),
            _offsets(found, short),
            _directions(found, short),
        ],
        figures=[panels(drawn)],
        tables=[contrast_table(found), distance_table(drawn)],
        settings={
            "grid": f"{nodes} × {nodes} nodes over the square; colours from −4 to 4 nat",
            "rays": "180 from the centre, 401 steps to the half-width of the square",
            "epochs": "200, and 120 at N = 250" if not context.quick else "40, of fewer points",
            "ridges": "C-ridges of ln σ₁, refined off the grid with exact derivatives",
        },
        notes=[
            "Ridges and boundaries are found by the same rule for every panel; nothing is thresholded by its level, so "
            "that ridges away from the boundary are shown too. The distances are those of all of them.",
            *_splits(found),
        ],
    )


def _splits(found: dict[tuple[int, int], Measured]) -> list[str]:
    """A sentence for architectures whose boundary is mostly no ridge, though the ridges are near."""
    split = []
    for (width, depth), one in sorted(found.items()):
        ridged = one.ridged[one.nets.learned]
        if len(ridged) and np.mean(ridged) < 0.6:
            split.append(f"N = {width}, L = {depth} ({np.mean(ridged):.0%} of its points are a maximum)")
    if not split:
        return []
    return [
        "Near the boundary is not on it: for "
        + ", ".join(split)
        + " the ring has split into two ridges, one on either "
        "side, with the boundary in the valley between them, a cell or two of the grid away (second table). The eye, "
        "and the largest stretch along a ray, do not tell this from a ridge on the boundary."
    ]


def _errors(found: dict[tuple[int, int], Measured], short: str) -> Finding:
    rows = [
        Measurement.of_samples(
            f"test error, N = {width}, L = {depth}", 100 * one.nets.error, unit="%", target=2.0, accept=at_most(2.0)
        )
        for (width, depth), one in found.items()
    ]
    return Finding("T7", rows, not_measured=short)


def _contrasts(found: dict[tuple[int, int], Measured], short: str) -> Finding:
    means = {
        key: float(np.nanmean(one.contrast[one.nets.learned])) for key, one in found.items() if one.nets.learned.any()
    }
    rows = []
    for depth in (2, 12):
        if (10, depth) in found:
            one = found[10, depth]
            rows.append(
                Measurement.of_samples(
                    f"E_d − E_c, N = 10, L = {depth}",
                    one.contrast[one.nets.learned],
                    unit="nat",
                    target=TARGETS["T8"][f"N=10, L={depth}"],
                )
            )
    grows = np.diff([means[10, d] for d in DEPTHS if (10, d) in means])
    if len(grows) and not short:
        rows.append(Measurement("smallest growth of the contrast with depth, N = 10", float(grows.min()),
                                "nat", n=len(grows), of="steps in L", accept=at_least(0.0, strict=True)))  # fmt: skip
        for depth in DEPTHS:
            falls = np.diff([means[w, depth] for w in (10, 50, 250) if (w, depth) in means])
            rows.append(Measurement(f"largest change of the contrast with width, L = {depth}",
                                    float(falls.max()), "nat", n=len(falls), of="steps in N",
                                    accept=at_most(0.0, strict=True)))  # fmt: skip
    return Finding("T8", rows, not_measured=short)


def _offsets(found: dict[tuple[int, int], Measured], short: str) -> Finding:
    rows = []
    for depth in (8, 12):
        if (10, depth) in found:
            one = found[10, depth]
            rows.append(
                Measurement.of_samples(
                    f"radial distance of largest stretch and zero level, N = 10, L = {depth} (median over rays)",
                    one.offset[one.nets.learned],
                    unit="cells",
                    target=0.0,
                    accept=None if short else at_most(2.0),
                )
            )
    return Finding("T9", rows, not_measured=short)


def _directions(found: dict[tuple[int, int], Measured], short: str) -> Finding:
    rows = []
    for (width, depth), one in found.items():
        rows.append(
            Measurement.of_samples(
                f"|cos| of v₁ and the boundary's normal, N = {width}, L = {depth} (median along it)",
                one.turned[one.nets.learned],
                target=1.0 if width == 10 else None,
                # the mean of |cos| over directions drawn evenly in the plane
                baseline=Baseline("random directions", 2 / np.pi),
                accept=at_least(0.95) if width == 10 and depth >= 8 and not short else None,
            )
        )
    return Finding("T10", rows, not_measured=short)
