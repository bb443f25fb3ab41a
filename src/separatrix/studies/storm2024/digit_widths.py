"""Fig. 4(c, d): mean and standard deviation of the exponents over test images, against width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from separatrix.data import load
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, positive
from separatrix.studies.storm2024.digit_looks import QUICK_STEPS, evenly, exponents, trained_runs
from separatrix.studies.storm2024.digit_networks import digit_network, digit_run, untrained
from separatrix.studies.storm2024.networks import unpacked
from separatrix.studies.storm2024.ranking import spearman
from separatrix.studies.study import Context

LETTER_MEAN = {10: 0.415, 16: 0.45, 24: 0.44, 64: 0.47, 90: 0.52, 127: 0.55, 179: 0.59, 250: 0.64}
LETTER_STD = {10: 0.35, 12: 0.27, 16: 0.22, 19: 0.21, 24: 0.16, 32: 0.14, 54: 0.11, 107: 0.10, 250: 0.09}
"""Read off Fig. 4(c) and (d), whose depth is not given."""


@dataclass(frozen=True)
class Width:
    """Networks of one width.

    Attributes
    ----------
    width, images : int
        ``images``: how many test images the exponents were computed for.
    mean, std, before_mean, before_std : ndarray, shape (member,)
        Of the exponent over test images, after and before training.
    error : ndarray, shape (member,)
        On all test images.
    """

    width: int
    images: int
    mean: np.ndarray
    std: np.ndarray
    before_mean: np.ndarray
    before_std: np.ndarray
    error: np.ndarray


def width_runs(context: Context) -> list[dict[str, Any]]:
    """Seven widths of 16 layers, three members each, two of the widest, which are trained alone."""
    images = min(len(context.data("mnist").X_train), 10_000)
    first = context.seed
    if context.quick:
        epochs = round(QUICK_STEPS * 256 / images)
        return [digit_run("mnist", images, (first, first + 1), epochs=epochs // 2, width=width) for width in (10, 32)]
    many = {width: (first, first + 1, first + 2) for width in (10, 16, 24, 32, 64, 128)}
    runs = [digit_run("mnist", images, (seed,), epochs=60, width=250) for seed in (first, first + 1)]
    return runs + [digit_run("mnist", images, many[w], epochs=60, width=w) for w in sorted(many, reverse=True)]


def by_width(context: Context) -> list[Width]:
    """Train the networks, or take them from the store, and compute exponents of some test images, the same for all."""
    runs = width_runs(context)
    results = trained_runs(context, runs)
    X = load("mnist").X_test
    X = X[evenly(len(X), context.pick(quick=300, paper=500))]
    values: dict[int, list[tuple[float, ...]]] = {}
    for run, result in zip(runs, results, strict=True):
        width = run["width"]
        members = unpacked(result, digit_network(run)).members
        for after, before, error in zip(members, untrained(run), result["error"].values, strict=True):
            now, then = (exponents(net, X, run["depth"])[0] for net in (after, before))
            row = (now.mean(), now.std(), then.mean(), then.std(), float(error))
            values.setdefault(width, []).append(tuple(map(float, row)))
    return [Width(w, len(X), *np.array(values[w]).T) for w in sorted(values)]


def trends(found: list[Width]) -> Finding:
    """M3; the levels belong to a depth that the letter does not give, so that only trends are judged."""
    widths = np.array([one.width for one in found], dtype=float)
    mean, std = (np.array([getattr(one, name).mean() for one in found]) for name in ("mean", "std"))
    first, last = found[0], found[-1]
    made = []
    for name, sign, values in (("mean", 1, mean), ("standard deviation", -1, std)):
        short = "mean" if name == "mean" else "std"
        low, high = getattr(first, short), getattr(last, short)
        change = sign * float(high.mean() - low.mean())
        spread = float(np.hypot(_error(low), _error(high)))
        before = sign * float(getattr(last, f"before_{short}").mean() - getattr(first, f"before_{short}").mean())
        word = "rise" if sign > 0 else "fall"
        ends = (change - 2 * spread, change + 2 * spread)
        made += [
            Measurement(
                f"{word} of the {name} from N = {first.width} to {last.width}",
                change,
                "per layer",
                interval=ends,
                spread_name="two standard errors over members",
                n=len(low) + len(high),
                of="members",
                accept=positive(whole=True),
                baseline=Baseline("untrained", before),
            ),
            Measurement(
                f"rank correlation of N and the {name}, sign turned where a fall is claimed",
                sign * spearman(widths, values),
                n=len(found),
                of="widths",
                accept=positive(),
            ),
        ]
    for one in found:
        for name, letter, of in (("mean", LETTER_MEAN, one.mean), ("standard deviation", LETTER_STD, one.std)):
            made.append(
                Measurement.of_samples(
                    f"{name}, N = {one.width}",
                    of.tolist(),
                    unit="per layer",
                    of="members",
                    target=letter.get(one.width),
                )
            )
    return Finding("M3", made)


def _error(values: np.ndarray) -> float:
    """Standard error of the mean."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
