"""The aggregated coefficient against k: accuracies, best k, spans and clusters of curves; C1 to C6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from separatrix.studies.baptista2024 import coefficient_figures
from separatrix.studies.baptista2024.cells import PAPERS, Cell, Cells, cells
from separatrix.studies.baptista2024.claims import BEST_K, CLAIMS
from separatrix.studies.baptista2024.curves import explained, explained_by_chance, layer_null_curve
from separatrix.studies.baptista2024.measure import CONVENTIONS
from separatrix.studies.baptista2024.networks import DECLARED, RMSPROP
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least, at_most, between, near, positive
from separatrix.studies.study import Context, Part, Table

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}
DRAWS = 500
UNTRAINED = "_untrained"


def run(context: Context) -> Part:
    """Train all cells and read the aggregated coefficient off them."""
    context.say("coefficients: the cells")
    return part(cells(context))


def part(found: Cells) -> Part:
    """Judge the aggregated coefficients of cells."""
    boots = {cell.key: cell.bootstrap(DRAWS) for cell in found}
    return Part(
        findings=[
            _near_perfect(found),
            _negative(found),
            _best_k(found, boots),
            _span(found),
            _clusters(found),
            _shallow_mnist(found),
        ],
        figures=[*coefficient_figures.curves(found), coefficient_figures.best(found)],
        tables=[_accuracies(found), _best_table(found, boots), _conventions(found)],
        settings=_settings(found),
        notes=_notes(found),
    )


def _near_perfect(found: Cells) -> Finding:
    target, judged = TARGETS["C1"], not found.short
    count = sum(len(cell.accuracy) for cell in found)
    below = sum(int((~cell.near_perfect).sum()) for cell in found)
    least = min(int(cell.near_perfect.sum()) for cell in found)
    used = sum(int(cell.used.sum()) for cell in found)
    rows = [
        Measurement("networks trained", count, n=len(found), of="cells", target=target["trained"],
                    accept=near(target["trained"], 0) if judged else None),
        Measurement("networks below the paper's thresholds", below, n=count, of="networks", target=target["below"],
                    accept=at_most(2 * target["below"]) if judged else None),
        Measurement("near-perfect networks in the poorest cell", least, n=len(found), of="cells",
                    target=target["least"], accept=at_least(target["least"]) if judged else None),
        Measurement("networks used below", used, n=count, of="networks", target=1361),
    ]  # fmt: skip
    for name in dict.fromkeys(cell.problem.name for cell in found):
        mine = [cell for cell in found if cell.problem.name == name]
        low = sum(int((~cell.near_perfect).sum()) for cell in mine)
        rows.append(Measurement(f"below the threshold, {name}", low, n=sum(len(c.accuracy) for c in mine),
                                of="networks"))  # fmt: skip
    return Finding("C1", rows, not_measured=found.short)


def _negative(found: Cells) -> Finding:
    best = {cell.key: _least(cell.curve()) for cell in found}
    names = dict.fromkeys(cell.problem.name for cell in found)
    problems = sum(any(best[c.key] < 0 for c in found if c.problem.name == name) for name in names)
    held = _held_out(found)
    judged = not found.short
    count = len(found)
    raw = Baseline("untrained networks", float(sum(_least(cell.curve(kind=UNTRAINED)) < 0 for cell in found)))
    raw_held = _held_out(found, UNTRAINED)
    null = Baseline("layers in random order", float(sum(_least(layer_null_curve(cell)) < 0 for cell in found)))
    rows = [
        Measurement("problems with a negative coefficient at some k", problems, n=len(names), of="problems",
                    target=TARGETS["C2"]["problems"], accept=near(7, 0, decisive=True) if judged else None),
        Measurement("cells with a negative coefficient at k*", sum(v < 0 for v in best.values()), n=count, of="cells",
                    target=TARGETS["C2"]["cells"], baseline=raw, accept=at_least(0.9 * count) if judged else None),
        Measurement("the same, in one random order of the layers of each network", null.value, n=count, of="cells"),
        Measurement("cells with a negative coefficient at a k chosen on the other half of the networks",
                    float(np.sum(np.array(held) < 0)), n=len(held), of="cells", lost=count - len(held),
                    baseline=Baseline("untrained networks", float(np.sum(np.array(raw_held) < 0))),
                    accept=at_least(0.9 * count) if judged else None),
    ]  # fmt: skip
    for name in CONVENTIONS[1:]:
        least = [_least(cell.curve(name)) for cell in found]
        rows.append(Measurement(f"cells with a negative coefficient at k*, {name}",
                                float(np.sum(np.array(least) < 0)),
                                n=int(np.isfinite(least).sum()), of="cells",
                                lost=int(np.isnan(least).sum())))  # fmt: skip
    return Finding("C2", rows, not_measured=found.short)


def _held_out(found: Cells, kind: str = "") -> list[float]:
    """Mean over both halves of the aggregated coefficient at the other one's k, of the cells that have one."""
    means = [np.mean(found_in) for cell in found if (found_in := _finite(cell.held_out(kind=kind).pooled))]
    return [float(mean) for mean in means]


def _finite(values: list[float]) -> list[float]:
    return [value for value in values if np.isfinite(value)]


def _best_k(found: Cells, boots: dict[tuple[str, str, int], np.ndarray]) -> Finding:
    judged = not found.short
    rows = []
    for image, words, low, high in ((False, "A, B, C", 0.6, 10.0), (True, "images", 12.5, 25.0)):
        shares = [c.share(c.best()) for c in found if c.problem.image == image and c.best() >= 0]
        raw = [c.share(p) for c in found if c.problem.image == image and (p := c.best(kind=UNTRAINED)) >= 0]
        if shares:
            rows.append(Measurement(f"k*, median over cells, {words}", float(np.median(shares)), "% of the points",
                                    interval=(min(shares), max(shares)), spread_name="least and largest",
                                    n=len(shares), of="cells",
                                    baseline=Baseline("untrained networks", float(np.median(raw))) if raw else None,
                                    accept=between(low, high) if judged else None))  # fmt: skip
    ratios = [
        abs(np.log2(cell.ks[cell.best()] / BEST_K[cell.problem.name][cell.widths, cell.depth]))
        for cell in found
        if cell.best() >= 0
    ]
    spreads = [_spread(cell, boots[cell.key]) for cell in found]
    rows += [
        Measurement("cells with k* within a factor of 2 of the paper's", float(np.sum(np.array(ratios) <= 1)),
                    n=len(ratios), of="cells", target=TARGETS["C3"]["cells"],
                    accept=at_least(len(found) / 2) if judged else None),
        Measurement("ratio of the 97.5 to the 2.5 % point of k* over bootstrap samples of networks, median over cells",
                    float(np.nanmedian(spreads)), n=int(np.isfinite(spreads).sum()), of="cells"),
        Measurement("cells with k* at an end of the range of k", sum(_at_end(cell) for cell in found), n=len(found),
                    of="cells", target=17),
    ]  # fmt: skip
    return Finding("C3", rows, not_measured=found.short)


def _span(found: Cells) -> Finding:
    rows = []
    for image, words in ((False, "synthetic"), (True, "images")):
        mine = [cell for cell in found if cell.problem.image == image]
        for end, pick in (("low", np.nanmin), ("high", np.nanmax)):
            values = {}
            for name in CONVENTIONS:
                values[name] = _end(pick, [cell.curve(name) for cell in mine])
            base = Baseline("untrained networks", _end(pick, [cell.curve(kind=UNTRAINED) for cell in mine]))
            target = TARGETS["C4"][f"{words}, {end}"]
            rows.append(Measurement(f"{end}est aggregated coefficient, {words}", values[PAPERS], target=target,
                                    n=len(mine), of="cells", baseline=base,
                                    accept=near(target, 0.2) if not found.short else None))  # fmt: skip
            rows += [Measurement(f"{end}est aggregated coefficient, {words}, {name}", values[name], target=target,
                                 n=len(mine), of="cells")
                     for name in CONVENTIONS[1:]]  # fmt: skip
    return Finding("C4", rows, not_measured=found.short)


def _end(pick: Callable[[np.ndarray], Any], curves: list[np.ndarray]) -> float:
    values = np.concatenate([*curves, np.full(1, np.nan)])
    return float(pick(values)) if np.isfinite(values).any() else np.nan


def _clusters(found: Cells) -> Finding:
    rows = []
    for image, words, more, less in ((False, "synthetic", "problem", "depth"), (True, "images", "depth", "problem")):
        mine = [cell for cell in found if cell.problem.image == image]
        if not mine:
            continue
        shares, raw = (explained(mine, kind) for kind in ("", UNTRAINED))
        chance = explained_by_chance(mine)
        rows.append(Measurement(f"variance of the curves explained by {more} less by {less}, {words}",
                                100 * (shares[more] - shares[less]), "points", n=len(mine), of="cells",
                                baseline=Baseline("untrained networks", 100 * (raw[more] - raw[less])),
                                accept=positive() if not found.short else None))  # fmt: skip
        rows.append(Measurement(f"the same, if curves were dealt at random, {words}",
                                100 * (chance[more] - chance[less]), "points", n=len(mine), of="cells"))  # fmt: skip
        rows += [Measurement(f"variance of the curves explained by {what}, {words}", 100 * shares[what], "%",
                             n=len(mine), of="cells", baseline=Baseline("untrained networks", 100 * raw[what]))
                 for what in ("problem", "depth", "widths")]  # fmt: skip
    return Finding("C5", rows, not_measured=found.short)


def _shallow_mnist(found: Cells) -> Finding:
    mine = found.where(lambda cell: cell.problem.data == "mnist" and cell.depth == 5)
    if not mine:
        return Finding("C6", not_measured=found.short or "no MNIST network of five layers was trained")

    def low(cell: Cell, kind: str = "") -> float:
        values = cell.curve(kind=kind)[cell.ks <= 150]
        return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan

    means, raw = ([low(cell, kind) for cell in mine] for kind in ("", UNTRAINED))
    judged = not found.short
    rows = [
        Measurement.of_samples("aggregated coefficient up to k = 150, mean over k", means, of="cells",
                               baseline=Baseline("untrained networks", float(np.mean(_finite(raw) or [np.nan]))),
                               accept=at_least(0.5, contrary=(-np.inf, 0.0)) if judged else None),
        Measurement("cells in which it is positive", float(np.sum(np.array(means) > 0)), n=len(means), of="cells",
                    target=TARGETS["C6"]["cells"], accept=near(6, 0) if judged else None),
    ]  # fmt: skip
    return Finding("C6", rows, not_measured=found.short)


def _least(curve: np.ndarray) -> float:
    return float(np.nanmin(curve)) if np.isfinite(curve).any() else np.nan


def _spread(cell: Cell, places: np.ndarray) -> float:
    ks = cell.ks[places[places >= 0]]
    return float(np.quantile(ks, 0.975) / np.quantile(ks, 0.025)) if len(ks) else np.nan


def _at_end(cell: Cell) -> bool:
    inside = np.flatnonzero(cell.range)
    return bool(len(inside)) and cell.best() in (inside[0], inside[-1])


def _accuracies(found: Cells) -> Table:
    rows = [
        (
            cell.name,
            f"{100 * cell.problem.threshold:.0f} %",
            f"{100 * cell.accuracy.mean():.2f}",
            f"{100 * cell.accuracy.min():.2f} to {100 * cell.accuracy.max():.2f}",
            f"{int(cell.near_perfect.sum())} of {len(cell.accuracy)}",
            str(int(cell.used.sum())),
            f"{cell.training_seconds:.0f} + {cell.geometry_seconds:.0f}",
        )
        for cell in found
    ]
    header = ("cell", "threshold", "mean accuracy, %", "range", "near-perfect", "used", "seconds, training + geometry")
    return Table(header, rows, "Accuracy on the test set, and what each cell took on one core.", numbers=range(1, 7))


def _best_table(found: Cells, boots: dict[tuple[str, str, int], np.ndarray]) -> Table:
    rows = []
    for cell in found:
        place, places = cell.best(), boots[cell.key]
        ks = cell.ks[places[places >= 0]]
        spread = f"{np.quantile(ks, 0.025):.0f} to {np.quantile(ks, 0.975):.0f}" if len(ks) else "–"
        pooled = _finite(cell.held_out().pooled)
        rows.append(
            (
                cell.name,
                str(int(cell.values["input_least_connecting_k"])),
                str(BEST_K[cell.problem.name][cell.widths, cell.depth]),
                "–" if place < 0 else str(cell.ks[place]),
                spread,
                *(_number(_least(cell.curve(PAPERS, kind, centred=centred)))
                  for kind, centred in (("", False), ("", True), (UNTRAINED, False))),
                _number(float(np.mean(pooled)) if pooled else np.nan),
            )
        )  # fmt: skip
    header = ("cell", "least k that connects the inputs", "k* of the paper", "k*", "95 % of bootstrap samples",
              "coefficient at k*", "networks centred, at its own k*", "untrained, at its own k*",
              "k from the other half")  # fmt: skip
    return Table(header, rows, f"The best k, {PAPERS}.", numbers=range(1, 9))


def _conventions(found: Cells) -> Table:
    rows = []
    for cell in found:
        row = [cell.name]
        for name in CONVENTIONS:
            place = cell.best(name)
            row += ["–", "–"] if place < 0 else [str(cell.ks[place]), _number(cell.curve(name)[place])]
        at = cell.best()
        row += [_number(cell.curve(name)[at]) if at >= 0 else "–" for name in CONVENTIONS[1:]]
        rows.append(row)
    header = ("cell", *(f"{what}, {name}" for name in CONVENTIONS for what in ("k*", "coefficient")),
              *(f"{name} at the k* of {PAPERS}" for name in CONVENTIONS[1:]))  # fmt: skip
    return Table(header, rows, "What the convention changes.", numbers=range(1, 9))


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")


def _settings(found: Cells) -> dict[str, str]:
    training, geometry = (sum(getattr(c, name) for c in found) for name in ("training_seconds", "geometry_seconds"))
    return {
        "networks": f"{sum(len(c.accuracy) for c in found):,} in {len(found)} cells, ReLU, one logit; Glorot's "
        "initialisation, biases 0; all networks of a cell see the same batches",
        "training": f"RMSprop {RMSPROP}, {DECLARED}",
        "images": "grey values 0 to 1; with 0 to 255, as in the released script, fewer networks become near-perfect "
        "(at 50 epochs none of 4 networks of shirt/coat, narrow 5, is above 90 % with 0 to 255, and one of 4 with 0 "
        "to 1)",
        "test sets": "; ".join(
            f"{c.problem.name} {c.points:,} points ({c.training_points:,} for training)"
            for c in found
            if c.widths == found.cells[0].widths and c.depth == 5
        ),
        "range of k": "the paper's values from the least k on that connects the input graph",
        "wall time": f"{training / 60:.0f} minutes of training and {geometry / 60:.0f} of geometry on one core",
    }


def _notes(found: Cells) -> list[str]:
    flips = [
        np.sign(cell.curve()[cell.best()]) != np.sign(cell.curve("union")[cell.best()])
        for cell in found
        if cell.best() >= 0
    ]
    mutual = [np.isnan(cell.curve("mutual")).all() for cell in found]
    return [
        f"At the k* found here the sign of the aggregated coefficient differs between {PAPERS} and union in "
        f"{int(np.sum(flips))} of {len(flips)} cells; with mutual neighbours {int(np.sum(mutual))} of {len(mutual)} "
        "cells have no k at which any network is connected at every layer.",
        "A pooled coefficient mixes what differs between networks with what happens inside each of them: the column "
        "with centred networks keeps the second only.",
    ]
