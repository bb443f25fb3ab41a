"""The 828 cases: which of them are proved stable, which have how many attractors, and what changes that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from separatrix.studies.drgona2022 import behaviour_figures, chaos, proofs
from separatrix.studies.drgona2022.table import BEHAVIOURS, FILE, Cases, cases, runs
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least
from separatrix.studies.study import Context, Part

FACTORS = {"weight setting": 1, "activation": 2, "depth": 3, "bias": 4}
"""Axes of an array (seed, setting, activation, depth, bias)."""


def run(context: Context) -> Part:
    """Measure the 828 cases and judge what the table can judge."""
    context.say("cases: the sweep")
    found = cases(context)
    chosen = runs(context)[0]
    return Part(
        findings=[
            factors(found),
            proofs.one_attractor(found),
            proofs.depth_power(found),
            chaos.near_one(found),
            chaos.line(found),
            proofs.ball(found),
            proofs.certificates(found),
            proofs.necessary(found),
            proofs.unit_disc(found),
            proofs.layer_radii(found),
        ],
        figures=[behaviour_figures.overview(found), behaviour_figures.shares(found)],
        tables=[chaos.table(found), behaviour_figures.certificates(found)],
        settings={
            "networks": f"{found.seeds * 828:,}: 23 weight settings × 6 activations × 3 depths × bias off and on, "
            f"{found.seeds} seeds; 2 inputs, hidden layers of 2 units, activation on the output too; untrained",
            "weights": "distributions of the released code; one draw for each factorisation, depth and seed serves all "
            "ranges, activations and both biases; biases uniform within 1/√2 of 0, as torch's",
            "starts": f"{chosen['starts']} points that fill [−6, 6]² evenly; {chosen['certified_starts']} where "
            "contraction is proved",
            "steps": f"{chosen['plan']['steps']:,}; then {chosen['plan']['followed']} of the orbits that go on for "
            f"{chosen['plan']['further']:,} more",
            "settled": "back within 10⁻⁴ after at most 32 steps, and a fixed point or cycle found there by Newton's "
            "method on the return map that is attracting, or met to 10⁻¹³",
            "chaotic": "exponent above 0 by three standard errors (of 16 pieces of the orbit, at least 5/steps)",
            "grid": "maxima of ‖A*‖₂ and ρ(A*) over 25 × 25 points are estimates from below",
            "table": f"{FILE} in the store: every number of every case and seed",
        },
        notes=notes(found),
    )


def factors(found: Cases) -> Finding:
    """C1: pairs of networks that differ in one factor alone, against pairs that differ in the seed alone."""
    kinds = found.behaviour * 2 + found.leaving
    radius = np.log(np.maximum(found["radius"], 1e-12))
    rows = []
    for what, values, size in (
        ("pairs that behave differently", kinds, lambda d: (d != 0).mean()),
        ("median change of ln max ρ(A*)", radius, lambda d: np.median(np.abs(d))),
    ):
        null = _pairs(np.moveaxis(values, 0, -1), -1, size)
        base = Baseline("another seed", float(np.mean(null)), float(np.std(null, ddof=1)) if len(null) > 1 else None)
        for name, axis in FACTORS.items():
            changes = [size(_differences(one, axis - 1)) for one in values]
            rows.append(
                Measurement.of_samples(
                    f"{what}, another {name}",
                    changes,
                    baseline=base,
                    accept=at_least(base.value, strict=True),
                )
            )
    return Finding("C1", rows)


def _differences(values: np.ndarray, axis: int) -> np.ndarray:
    """Differences of all pairs along an axis."""
    first, second = np.triu_indices(values.shape[axis], 1)
    return np.asarray(np.take(values, first, axis) - np.take(values, second, axis))


def _pairs(values: np.ndarray, axis: int, size: Callable[[np.ndarray], float]) -> list[float]:
    """Size of the change from each seed to the next."""
    count = values.shape[axis]
    return [float(size(np.take(values, i, axis) - np.take(values, (i + 1) % count, axis))) for i in range(count)]


def notes(found: Cases) -> list[str]:
    """What the reader would not expect."""
    kinds = [BEHAVIOURS[i] for i in found.behaviour.ravel()]
    rates = {name: kinds.count(name) / len(kinds) for name in BEHAVIOURS}
    agree = _agreement(found.behaviour)
    listed = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items() if rate)
    return [
        f"Of all networks: {listed}. A name is that of the most complicated attractor found; an attractor with a small "
        "basin may have been missed.",
        f"The authors show one seed. Over seeds a case keeps its most frequent behaviour in {agree:.0%} of the draws, "
        "on average, and whatever is said of a case in one picture has to be read with that.",
        "Weights are paired: whatever differs between activations, ranges and biases within one seed is their effect "
        "alone. Depths and factorisations have draws of their own.",
    ]


def _agreement(kinds: np.ndarray) -> float:
    """Mean share of seeds with the most frequent behaviour of their case."""
    counts = np.stack([(kinds == k).sum(0) for k in range(len(BEHAVIOURS))])
    return float((counts.max(0) / len(kinds)).mean())
