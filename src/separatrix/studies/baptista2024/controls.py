"""The second stage: shuffled labels, linear networks, halves of the test points, and local coefficients."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import numpy as np

from separatrix.geometry.coefficients import regression_to_the_mean, ricci_coefficient
from separatrix.results.progress import weighed
from separatrix.studies.baptista2024.cells import PAPERS, Cell, Cells, cell_of, cells
from separatrix.studies.baptista2024.closer import look_closer
from separatrix.studies.baptista2024.measure import measure
from separatrix.studies.baptista2024.runs import Run, cost, run_of
from separatrix.studies.measurement import Baseline, Measurement
from separatrix.studies.study import Context, Part, Table
from separatrix.sweeps import sweep

TWINS: dict[str, Run] = {
    "shuffled labels": {"labels": "shuffled", "untrained": False},
    "linear": {"activation": "linear"},
}
"""What is changed of a cell's settings."""


def run(context: Context) -> Part:
    """Train a few networks of each cell under other conditions."""
    found = cells(context)
    if context.quick:  # a few cells show that everything runs
        found = Cells(tuple(found.where(lambda cell: cell.widths == "narrow" and cell.depth == 5)), found.short)
    began = time.perf_counter()
    context.say("controls: shuffled labels and linear networks")
    twins = {name: _twins(context, found, change) for name, change in TWINS.items()}
    context.say("controls: halves of the test points, local coefficients")
    wanted = _wanted(context, found, _closer(context))
    results = _swept(context, look_closer, wanted, "closer")
    halves, local = _halves(found, results), dict(zip((cell.key for cell in found), results, strict=True))
    seconds = time.perf_counter() - began
    seeds, closer = _seeds(context), _closer(context)
    return Part(
        measurements=[*_kinds(found, twins), *_differences(found, twins), *_stability(halves), *_local(local)],
        tables=[_table(found, twins), _halves_table(halves), _local_table(found, local)],
        settings={
            "networks": f"{len(seeds)} of each cell, seeds {seeds[0]} to {seeds[-1]}, whatever their accuracy",
            "shuffled labels": "the labels of the training points in random order, the same for all networks",
            "linear": "the same networks without activations; their hidden layers are linear images of the inputs",
            "k": f"the k* that the cell's networks chose in the first stage ({PAPERS})",
            "halves": f"{closer['halves']} random halves of the test points without replacement, with half of the k",
            "local coefficients": f"of Hehl, von Renesse and Weber (2025): {closer['local_k']} neighbours, augmented "
            "Forman curvature, union graph, over input, hidden layers and logit",
            "wall time": f"{seconds / 60:.0f} minutes, or what was left to be done of it",
        },
        notes=_notes(found, twins),
    )


def _seeds(context: Context) -> tuple[int, ...]:
    return tuple(context.seed + i for i in range(context.pick(quick=2, paper=4)))


def _wanted(context: Context, found: Cells, change: Run) -> list[Run]:
    seeds = _seeds(context)
    return [{**run_of(context, *cell.key), "seeds": seeds, **change} for cell in found]


def _swept(context: Context, task: Any, wanted: list[Run], name: str) -> list[Any]:
    """Results of all runs, in their order; those of long training are begun first."""
    order = sorted(wanted, key=lambda run: (run["problem"] in ("sandal/boot", "shirt/coat"), run["depth"]))[::-1]
    workers = 1 if context.quick else min(os.cpu_count() or 1, len(wanted))
    with weighed(context.progress, [cost(run) for run in order], "cells") as progress:
        done = sweep(task, order, store=context.store / name, workers=workers, progress=progress)
    if done.failed:
        raise RuntimeError(f"{len(done.failed)} of {len(wanted)} runs failed, the first with {done.failed[0].error}")
    return [done.load(run) for run in wanted]


def _twins(context: Context, found: Cells, change: Run) -> dict[tuple[str, str, int], Cell]:
    wanted = _wanted(context, found, change)
    results = _swept(context, measure, wanted, "twins")
    # no threshold: there is nothing to be learned
    return {cell.key: cell_of(run, data, -1.0) for cell, run, data in zip(found, wanted, results, strict=True)}


def _closer(context: Context) -> Run:
    return {"halves": context.pick(quick=2, paper=5), "local_k": context.pick(quick=10, paper=50)}


def _halves(found: Cells, results: list[Any]) -> list[tuple[Cell, np.ndarray]]:
    """Coefficients (member, index) at each cell's k*: of all points, then of the halves."""
    rows = []
    for cell, data in zip(found, results, strict=True):
        place = cell.best()
        if place >= 0:
            g, ric = (np.moveaxis(data[name].values[:, place], -1, 1) for name in ("geodesic", "curvature"))
            # of the same seeds in the first stage: one place, as behind dead units, holds no geometry
            collapsed = (cell.values["unique_rows"][: len(g)] == 1).any(1)
            rows.append((cell, np.where(collapsed[:, None], np.nan, ricci_coefficient(g, ric).rho)))
    return rows


def _sums(found: Cells, others: dict[tuple[str, str, int], Cell] | None, kind: str = "") -> list[Any]:
    """Sums of every cell at the k* of its networks, (network, layer)."""
    pairs = [(cell, cell if others is None else others[cell.key]) for cell in found if cell.best() >= 0]
    return [(other, *other.at(cell.best(), kind=kind)) for cell, other in pairs]


def _kinds(found: Cells, twins: dict[str, Any]) -> list[Measurement]:
    groups = {"as in the first stage": _sums(found, None), "untrained": _sums(found, None, "_untrained")}
    groups |= {name: _sums(found, others) for name, others in twins.items()}
    groups["linear, untrained"] = _sums(found, twins["linear"], "_untrained")
    rows = []
    for name, parts in groups.items():
        rho = np.concatenate([*(ricci_coefficient(g, ric).rho for _, g, ric in parts), np.zeros(0)])
        bias = np.concatenate([*(regression_to_the_mean(g, ric).bias for _, g, ric in parts), np.zeros(0)])
        known = np.isfinite(rho)
        base = Baseline("mean of −c/√2", float(np.nanmean(bias[known]))) if np.isfinite(bias[known]).any() else None
        rows.append(Measurement.of_samples(f"coefficient at k*, {name}", rho, of="networks", baseline=base))
        if known.any():
            rows.append(Measurement(f"negative at k*, {name}", 100 * float((rho[known] < 0).mean()), "%",
                                    n=int(known.sum()), of="networks", lost=int((~known).sum())))  # fmt: skip
    return rows


def _differences(found: Cells, twins: dict[str, Any]) -> list[Measurement]:
    """Mean coefficients of a cell's networks, less those of the same cell under the other condition."""
    ours, rows = _cell_means(_sums(found, None)), []
    for name, others in twins.items():
        apart = ours - _cell_means(_sums(found, others))
        images = np.array([cell.problem.image for cell in found if cell.best() >= 0], dtype=bool)
        for which, chosen in (("", np.ones(len(apart), dtype=bool)), (", synthetic", ~images), (", images", images)):
            known = apart[chosen & np.isfinite(apart)]
            if len(known) > 1:
                mean, reach = float(known.mean()), 2 * float(known.std(ddof=1)) / math.sqrt(len(known))
                rows.append(Measurement(f"coefficient at k*, as in the first stage less {name}{which}", mean,
                                        interval=(mean - reach, mean + reach), n=len(known), of="cells",
                                        spread_name="two standard errors over cells"))  # fmt: skip
    return rows


def _cell_means(parts: list[Any]) -> np.ndarray:
    means = [rho[np.isfinite(rho)] for rho in (ricci_coefficient(g, ric).rho for _, g, ric in parts)]
    return np.array([rho.mean() if len(rho) else math.nan for rho in means])


def _stability(halves: list[tuple[Cell, np.ndarray]]) -> list[Measurement]:
    """How much a coefficient depends on which points are looked at, beside how much networks differ."""
    between = [float(np.nanstd(rho[:, 0], ddof=1)) for _, rho in halves if np.isfinite(rho[:, 0]).sum() > 1]
    within = [_spread(row[1:]) for _, rho in halves for row in rho]
    known = [(row[0], row[1:][np.isfinite(row[1:])]) for _, rho in halves for row in rho if np.isfinite(row[0])]
    pairs = [np.sign(parts) == np.sign(whole) for whole, parts in known]
    same = np.concatenate([*pairs, np.zeros(0, bool)])
    beside = Baseline("over networks of a cell", float(np.mean(between))) if between else None
    what = "standard deviation of the coefficient over halves of the points"
    rows = [Measurement.of_samples(what, within, of="networks", baseline=beside)]
    if len(same):
        rows.append(Measurement("halves with the sign of all points", 100 * float(same.mean()), "%", n=len(same),
                                of="halves"))  # fmt: skip
    return rows


def _spread(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan


def _table(found: Cells, twins: dict[str, Any]) -> Table:
    rows = []
    for cell in found:
        place = cell.best()
        if place < 0:
            continue
        others = [cells_of[cell.key] for cells_of in twins.values()]
        row = [cell.name, str(cell.ks[place])]
        for one, kind in [(cell, ""), (cell, "_untrained"), *((other, "") for other in others)]:
            row.append(_mean(one.rho(place, kind=kind)))
        row += [f"{100 * other.accuracy.mean():.1f}" for other in others]
        rows.append(row)
    header = ("cell", "k*", "first stage", "untrained", *twins, *(f"accuracy, {name}, %" for name in twins))
    return Table(header, rows, "Mean coefficient at the k* of the first stage.", numbers=range(1, 8))


def _halves_table(halves: list[tuple[Cell, np.ndarray]]) -> Table:
    rows = []
    for cell, rho in halves:
        spreads = np.array([_spread(row[1:]) for row in rho])
        rows.append((cell.name, _mean(rho[:, 0]), _mean(rho[:, 1:].ravel()), _mean(spreads),
                     _mean(np.array([_spread(rho[:, 0])]))))  # fmt: skip
    header = ("cell", "all points", "halves", "deviation over halves", "deviation over networks")
    return Table(header, rows, "Coefficients of a few networks of each cell at k*, on all test points and on halves.",
                 numbers=range(1, 5))  # fmt: skip


def _local(local: dict[tuple[str, str, int], Any]) -> list[Measurement]:
    """The follow-up's coefficients of all networks, trained and not."""
    rows = []
    for what, name, unit, by in (
        ("local coefficient, mean over points", "local_mean", "", 1.0),
        ("points with a negative local coefficient", "local_negative", "%", 100.0),
    ):
        trained, raw = (
            by * np.concatenate([*(data[f"{name}{kind}"].values for data in local.values()), np.zeros(0)])
            for kind in ("", "_untrained")
        )
        known = raw[np.isfinite(raw)]
        base = Baseline("untrained networks", float(known.mean()), _number_or_none(known)) if len(known) else None
        rows.append(Measurement.of_samples(what, trained, unit=unit, of="networks", baseline=base))
    return rows


def _number_or_none(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _local_table(found: Cells, local: dict[tuple[str, str, int], Any]) -> Table:
    rows = []
    for cell in found:
        data = local[cell.key]
        row = [cell.name]
        for name, by in (("local_mean", 1.0), ("local_negative", 100.0)):
            row += [_mean(by * data[f"{name}{kind}"].values) for kind in ("", "_untrained")]
        row += [_mean(data[f"modularity{kind}"].values[:, -2]) for kind in ("", "_untrained")]
        rows.append(row)
    header = ("cell", "mean local coefficient", "untrained", "negative, %", "untrained", "modularity of the classes, "
              "last hidden layer", "untrained")  # fmt: skip
    return Table(header, rows, "The follow-up's local coefficients, mean over a few networks.", numbers=range(1, 7))


def _mean(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.2f}".replace("-", "−") if len(known) else "–"


def _notes(found: Cells, twins: dict[str, Any]) -> list[str]:
    share = {}
    for name, others in {"trained": None, **twins}.items():
        rho = np.concatenate([*(ricci_coefficient(g, ric).rho for _, g, ric in _sums(found, others)), np.zeros(0)])
        known = rho[np.isfinite(rho)]
        share[name] = f"{100 * (known < 0).mean():.0f} % {name}" if len(known) else f"none {name}"
    return [
        f"Negative at the k* of the first stage: {', '.join(share.values())}. For all but the trained networks this k "
        "was chosen by others."
    ]
