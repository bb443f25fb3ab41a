"""Networks one by one at the best k: connected or not, negative or not, and what nulls give; C7 to C9."""

from __future__ import annotations

import math

import numpy as np

from separatrix.geometry.coefficients import ricci_coefficient
from separatrix.studies.baptista2024 import answer, network_figures
from separatrix.studies.baptista2024.cells import PAPERS, Cell, Cells, cells
from separatrix.studies.baptista2024.claims import CLAIMS, EXAMPLES
from separatrix.studies.baptista2024.measure import CONVENTIONS
from separatrix.studies.baptista2024.signs import DRAWS, Excess, clustered, discoveries, joined, paired, signs
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Accept, Baseline, Measurement, between, factor, near, positive
from separatrix.studies.study import Context, Part, Table

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}
UNTRAINED = "_untrained"


def run(context: Context) -> Part:
    """Judge the coefficients of single networks."""
    context.say("networks: nulls of single networks")
    return part(cells(context))


def part(found: Cells) -> Part:
    """Judge the coefficients of the networks of cells."""
    chosen = {cell.key: cell.best() for cell in found if cell.best() >= 0}
    inside = {cell.key: signs(*cell.at(chosen[cell.key])) for cell in found if cell.key in chosen}
    outside = {cell.key: signs(*cell.held_out()[:2]) for cell in found}
    raw = {cell.key: signs(*cell.held_out(kind=UNTRAINED)[:2]) for cell in found}
    return Part(
        findings=[_disconnected(found, chosen), _negative(found, inside, outside, raw), *_examples(found, chosen)],
        figures=[network_figures.examples(found, chosen), network_figures.shares(found, inside, outside, raw)],
        tables=[answer.table(found, outside, raw), _table(found, inside, outside, raw), _layers(found, chosen)],
        settings={
            "permutations": f"all {math.factorial(4)} and {math.factorial(5)} at five layers, {DRAWS} drawn at eleven",
            "k from other networks": "each random half of a cell's networks at the k that the other half chose",
        },
        notes=[*answer.answer(found, outside, raw), *_notes(inside, outside)],
    )


def _disconnected(found: Cells, chosen: dict) -> Finding:
    cut = {cell.key: cut_layers(cell, chosen[cell.key]).any(1) for cell in found if cell.key in chosen}
    raw = {cell.key: cut_layers(cell, chosen[cell.key], UNTRAINED).any(1) for cell in found if cell.key in chosen}
    every, before = (np.concatenate([*values.values(), np.zeros(0, bool)]) for values in (cut, raw))
    target = TARGETS["C7"]["share"]
    rows = [
        Measurement("networks with a layer that is not connected at k*", _percent(every), "%", n=len(every),
                    of="networks", target=target, baseline=Baseline("untrained networks", _percent(before)),
                    accept=None if found.short else factor(target, 2.0))
    ]  # fmt: skip
    for image, words in ((False, "synthetic"), (True, "images")):
        mine = [cut[c.key] for c in found if c.key in cut and c.problem.image == image]
        if mine:
            rows.append(Measurement(f"the same, {words}", _percent(np.concatenate(mine)), "%",
                                    n=sum(one.size for one in mine), of="networks"))  # fmt: skip
    return Finding("C7", rows, not_measured=found.short)


def cut_layers(cell: Cell, place: int, kind: str = "", convention: str = PAPERS) -> np.ndarray:
    """Which layers of the networks used have a graph that is not connected at one k, (member, layer)."""
    return np.asarray(cell.values[f"unreachable{kind}"][cell.used, CONVENTIONS.index(convention), place] > 0)


def _negative(found: Cells, inside: dict, outside: dict, raw: dict) -> Finding:
    every, held, before = (joined(parts.values()) for parts in (inside, outside, raw))
    judged = not found.short
    target = TARGETS["C8"]["share"]
    rows = [
        Measurement("negative at k*", every.percent(), "%", n=len(every.rho), of="networks", lost=every.lost,
                    target=target, baseline=Baseline("layers in random order", 100 * _mean(every.layers)),
                    accept=near(target, 5.0) if judged else None),
        Measurement("negative at a k chosen on other networks", held.percent(), "%", n=len(held.rho), of="networks",
                    lost=held.lost, target=target, baseline=Baseline("untrained networks", before.percent())),
        _excess("the same, less pairs permuted",
                clustered([one.negative - one.pairs for one in outside.values()]), judged),
        _excess("the same, less layers permuted",
                clustered([one.negative - one.layers for one in outside.values()]), judged),
        _excess("the same, less untrained networks", clustered(paired(outside, raw)), judged),
        Measurement.of_samples("coefficient, k chosen on other networks", held.rho, of="networks",
                               baseline=Baseline("layers in random order", _mean(held.shuffled))),
        Measurement.of_samples("−c/√2 of the same layers", held.bias, of="networks"),
        Measurement("p below 0.05, pairs permuted, k chosen on other networks", _percent(held.p_pairs < 0.05), "%",
                    n=len(held.rho), of="networks", baseline=Baseline("by chance, at most", 5.0)),
        Measurement("p below 0.05, layers permuted, k chosen on other networks", _percent(held.p_layers < 0.05), "%",
                    n=len(held.rho), of="networks", baseline=Baseline("by chance, at most", 5.0)),
        Measurement("the same, with a false discovery rate of 5 % among all of these tests",
                    100 * discoveries(held.p_layers) / max(len(held.rho), 1), "%", n=len(held.rho), of="networks"),
    ]  # fmt: skip
    for name in CONVENTIONS[1:]:
        other = np.concatenate([ricci_coefficient(*c.held_out(name)[:2]).rho for c in found])
        known = other[np.isfinite(other)]
        rows.append(Measurement(f"negative at a k chosen on other networks, {name}", _percent(known < 0), "%",
                                n=len(known), of="networks", lost=len(other) - len(known)))  # fmt: skip
    return Finding("C8", rows, not_measured=found.short)


def _excess(what: str, excess: Excess, judged: bool) -> Measurement:
    """Mean difference in per cent with two standard errors on both sides; all of them must be above zero."""
    mean, error = 100 * excess.mean, 200 * excess.error
    bounds = (mean - error, mean + error) if math.isfinite(error) else None
    accept: Accept | None = positive(whole=True, decisive=True) if judged and bounds else None
    return Measurement(what, mean, "points", interval=bounds,
                       spread_name="two standard errors over cells" if bounds else "",
                       n=excess.networks, of="networks", accept=accept)  # fmt: skip


def _examples(found: Cells, chosen: dict) -> list[Finding]:
    findings = []
    there = {cell.key: cell for cell in found}
    for claim, examples in EXAMPLES.items():
        rows = []
        for key, target in examples.items():
            cell = there.get(key)
            rho = cell.rho(chosen[key]) if cell is not None and key in chosen else np.zeros(0)
            rho = rho[np.isfinite(rho)]
            if not len(rho) or cell is None:
                continue
            raw = cell.rho(chosen[key], kind=UNTRAINED)
            low, middle, high = np.quantile(rho, [0.025, 0.5, 0.975])
            rows.append(Measurement(f"{cell.name}: median coefficient at k*", float(middle),
                                    interval=(float(low), float(high)), spread_name="middle 95 % of networks",
                                    n=len(rho), of="networks", target=target,
                                    baseline=Baseline("untrained networks", float(np.nanmedian(raw)))
                                    if np.isfinite(raw).any() else None))  # fmt: skip
            rows.append(Measurement(f"{cell.name}: share of networks below the paper's {target:.2f}".replace("-", "−"),
                                    100 * float((rho < target).mean()), "%", n=len(rho), of="networks",
                                    accept=None if found.short else between(2.5, 97.5)))  # fmt: skip
        missing = found.short or ("" if rows else "none of these cells has a coefficient")
        findings.append(Finding(claim, rows, not_measured=missing))
    return findings


def _table(found: Cells, inside: dict, outside: dict, raw: dict) -> Table:
    rows = []
    for cell in found:
        held, before = outside[cell.key], raw[cell.key]
        rows.append(
            (
                cell.name,
                str(len(held.rho)),
                _whole(inside[cell.key].percent() if cell.key in inside else math.nan),
                _whole(held.percent()),
                _whole(100 * _mean(held.pairs)),
                _whole(100 * _mean(held.layers)),
                _whole(before.percent()),
                _two(_mean(held.rho)),
                _two(_mean(held.shuffled)),
                _two(_mean(held.bias)),
                _two(_mean(before.rho)),
                _whole(_percent(held.p_pairs < 0.05)),
                _whole(_percent(held.p_layers < 0.05)),
            )
        )
    header = ("cell", "networks", "negative at k*, %", "k from others, %", "pairs permuted, %", "layers permuted, %",
              "untrained, %", "mean coefficient", "layers permuted", "−c/√2", "untrained", "p < 0.05, pairs, %",
              "p < 0.05, layers, %")  # fmt: skip
    return Table(header, rows, "Networks one by one; all but the third column with k from other networks of the cell.",
                 numbers=range(1, 13))  # fmt: skip


def _layers(found: Cells, chosen: dict) -> Table:
    rows = []
    for cell in found:
        if cell.key not in chosen or not cell.used.any():
            continue
        cut = cut_layers(cell, chosen[cell.key]).sum(0)
        unique = cell.values["unique_rows"][cell.used]
        rows.append((cell.name, str(int(cell.used.sum())), str(int(cut_layers(cell, chosen[cell.key]).any(1).sum())),
                     " ".join(map(str, cut)), str(int((unique < cell.points).any(1).sum()))))  # fmt: skip
    header = ("cell", "networks", "not connected at some layer", "layer by layer", "with points that coincide")
    return Table(header, rows, "Networks whose graphs are not connected at k*, and those with equal rows at some "
                 "layer, whose neighbours are decided by their order.", numbers=(1, 2, 4))  # fmt: skip


def _notes(inside: dict, outside: dict) -> list[str]:
    every, held = (joined(parts.values()) for parts in (inside, outside))
    if not len(held.rho):
        return ["No network has a coefficient."]
    tests = 2 * len(held.rho)
    return [
        f"At the k* that the same networks chose, {every.percent():.0f} % are negative. Networks without a "
        f"coefficient, since the graph of some layer is not connected or all points coincide there, are left out: "
        f"{every.lost:,} at k*, {held.lost:,} at a k chosen on other networks.",
        f"The order of the layers, which is what a flow is about, is told from a random one (p < 0.05) in "
        f"{_percent(held.p_layers < 0.05):.0f} % of the networks; {tests:,} tests were made here, and one in twenty is "
        f"below 0.05 by chance. Held to a false discovery rate of 5 %, {discoveries(held.p_layers):,} of the "
        f"{len(held.rho):,} networks are left. With five layers no p is below 1/24 (pairs) or 1/120 (layers).",
    ]


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _percent(mask: np.ndarray) -> float:
    return 100 * float(mask.mean()) if len(mask) else math.nan


def _whole(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}"


def _two(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")
