"""Fig. 3(b): stretch on the boundary and at the centre against width, for four depths; T1 to T5 and T11."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Measurement, at_least, at_most, between, factor, near
from separatrix.studies.storm2024 import width_figures
from separatrix.studies.storm2024.claims import CLAIMS
from separatrix.studies.storm2024.disc_measures import LEARNED, data_note, levels, networks
from separatrix.studies.storm2024.networks import DECLARED
from separatrix.studies.storm2024.runs import (
    DEPTHS,
    OPEN_SETTINGS,
    SMALL_BATCH,
    Runs,
    open_runs,
    variance_runs,
    width_runs,
)
from separatrix.studies.study import Context, Part

Levels = dict[tuple[int, int], dict[str, np.ndarray]]
"""By depth and width: one value per trained network."""

FIT_BELOW = 0.75
"""Widths take part in the fits of the centre while its level is below this share of the way up to the ring's."""

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}


class Fit(NamedTuple):
    """A fitted number with its interval, and how many networks it stands on."""

    value: float
    low: float
    high: float
    networks: int


class Tally:
    """How many networks there were, how many of them learned, and what training took."""

    def __init__(self) -> None:
        self.networks = self.learned = 0
        self.seconds = 0.0

    def __str__(self) -> str:
        return f"{self.learned} of {self.networks} networks, {self.seconds / 60:.0f} minutes of training on one core"


def measured(context: Context, runs: Runs, tally: Tally) -> Levels:
    """Levels of the networks that learned."""
    found: Levels = {}
    for nets in networks(context, runs):
        keep = nets.learned
        tally.networks += len(keep)
        tally.learned += int(keep.sum())
        tally.seconds += nets.seconds
        found[nets.depth, nets.width] = {name: v[keep] for name, v in levels(nets).items()}
    return found


def of_depth(found: Levels, depth: int, what: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Widths at which there are trained networks, and their values."""
    widths = sorted(w for d, w in found if d == depth and len(found[d, w][what]))
    return np.array(widths), [found[depth, w][what] for w in widths]


def unsaturated(found: Levels, depth: int) -> list[int]:
    """Widths at which the centre has not come near the ring yet: N much smaller than N_c."""
    widths, centre = of_depth(found, depth, "centre")
    if not len(widths):
        return []
    ring = np.mean([v.mean() for v in of_depth(found, depth, "circle")[1]])
    low = min(v.mean() for v in centre)
    return [
        int(w) for w, v in zip(widths, centre, strict=True) if ring - v.mean() > (1 - FIT_BELOW) * max(ring - low, 1.0)
    ]


def centre_fits(found: Levels, depth: int, draws: int = 1000) -> dict[str, Fit]:
    """Slope of E_c in ln N, C_c at slope 1, and ln N_c = E_d + C_c L, with 95 % bootstrap intervals over seeds."""
    widths = unsaturated(found, depth)
    if len(widths) < 2:
        return {}
    rng = np.random.default_rng(0)
    x = np.log(widths)
    centre = [found[depth, w]["centre"] for w in widths]
    ring = [v for v in of_depth(found, depth, "circle")[1]]

    def fit(pick: bool) -> tuple[float, float, float]:
        def mean(v: np.ndarray) -> float:
            return float((rng.choice(v, len(v)) if pick else v).mean())

        y = np.array([mean(v) for v in centre])
        slope = float(np.polyfit(x, y, 1)[0])
        c = float(np.mean(x - y)) / depth
        return slope, c, float(np.mean([mean(v) for v in ring])) + c * depth

    value = fit(False)
    spread = np.quantile([fit(True) for _ in range(draws)], [0.025, 0.975], axis=0)
    names = ("slope", "C_c", "ln N_c")
    # a mean may lie outside its bootstrap interval by rounding where there is a single seed
    count = sum(map(len, centre))
    return {
        n: Fit(v, min(float(lo), v), max(float(hi), v), count)
        for n, v, lo, hi in zip(names, value, *spread, strict=True)
    }


def run(context: Context) -> Part:
    """Measure Fig. 3(b), fit it, and sweep the settings that the letter leaves open."""
    context.say("widths: training at the declared setting")
    declared, others = Tally(), Tally()
    found = measured(context, width_runs(context.scale), declared)
    depths = [d for d in DEPTHS if any(depth == d for depth, _ in found)]
    fits = {depth: centre_fits(found, depth) for depth in depths}
    settings: dict[str, Levels] = {}
    for name, runs in open_runs(context.scale).items():
        context.say(f"widths: {name}")
        settings[name] = measured(context, runs, others)
    variances: dict[float, Levels] = {}
    for gain, runs in variance_runs(context.scale).items():
        context.say(f"widths: initial variance times {gain}")
        variances[gain] = measured(context, runs, others)
    short = "the quick scale trains too few widths and depths" if context.quick else ""
    figures = [width_figures.levels(found, fits)]
    if variances:
        figures.append(width_figures.variances(variances))
    return Part(
        findings=[
            _ring_levels(found, short),
            _ring_flatness(found, depths, short),
            _slopes(fits, short),
            _falls(fits, short),
            _crossovers(fits, short),
            _forgotten(variances, short),
        ],
        figures=figures,
        tables=[width_figures.table(found, fits, "declared setting"), *width_figures.open_tables(settings)],
        settings={
            "data": data_note(),
            **{name: str(value) for name, value in DECLARED.items()},
            "unit": "stretch of the last hidden layer, for inputs in units of their standard deviation",
            "ring": "360 points of the true circle; the learned zero level beside it in the table",
            "centre": "200 points N(0, 0.05²), where the square is [-1, 1]²",
            "counted as trained": f"test error up to {LEARNED:.0%}: {declared} as declared, {others} in other settings",
            "widths in the fits of the centre": "; ".join(f"L = {d}: {unsaturated(found, d)}" for d in depths),
            "open settings": "; ".join([*OPEN_SETTINGS, *SMALL_BATCH]) if not context.quick else "not swept",
        },
        notes=[
            "All seeds of an architecture see the same batches; they differ by their initial weights. The spread is "
            "the standard deviation over these seeds, and says nothing about other data or settings: the tables of "
            "the open settings do."
        ],
    )


def _ring_levels(found: Levels, short: str) -> Finding:
    target = TARGETS["T1"]
    top = {d: max((w for depth, w in found if depth == d), default=0) for d in DEPTHS}
    means = {}
    rows = []
    for d in DEPTHS:
        values = found.get((d, top[d]), {}).get("circle", np.empty(0))
        if len(values):
            means[d] = float(values.mean())
            rows.append(
                Measurement.of_samples(
                    f"E_d, L = {d}, N = {top[d]}", values, unit="nat", target=target[f"L={d}"],
                    accept=None if short else near(target[f"L={d}"], 0.5),
                )
            )  # fmt: skip
    if short or len(means) < len(DEPTHS):
        return Finding("T1", rows, not_measured=short or "some depth has no trained network at the largest width")
    steps = np.diff([means[d] for d in DEPTHS]) / np.diff(DEPTHS)
    rows.append(Measurement("smallest rise of E_d per layer", float(steps.min()), "nat", n=3, of="steps in L",
                            accept=at_least(0.0, strict=True)))  # fmt: skip
    rows.append(Measurement("largest change of the rise per layer", float(np.diff(steps).max()), "nat", n=2,
                            of="steps in L", accept=at_most(0.0)))  # fmt: skip
    return Finding("T1", rows)


def _ring_flatness(found: Levels, depths: list[int], short: str) -> Finding:
    rows = []
    for depth in depths:
        widths, values = of_depth(found, depth, "circle")
        if len(widths) < 2:
            continue
        means = [float(v.mean()) for v in values]
        rows.append(
            Measurement(
                f"largest less smallest E_d, L = {depth}, N = {widths[0]} to {widths[-1]}",
                max(means) - min(means),
                "nat",
                n=len(widths),
                of="widths",
                target=TARGETS["T2"][f"L={depth}"],
                accept=None if short else at_most(0.6),
            )
        )
    return Finding("T2", rows, not_measured=short or ("" if rows else "no depth has two widths with trained networks"))


def _interval(what: str, fit: Fit, unit: str, **more: object) -> Measurement:
    return Measurement(
        what,
        fit.value,
        unit,
        n=fit.networks,
        of="networks",
        interval=(fit.low, fit.high),
        spread_name="95 % bootstrap interval over seeds",
        **more,  # type: ignore[arg-type]
    )


def _slopes(fits: dict[int, dict[str, Fit]], short: str) -> Finding:
    rows = [
        _interval(f"slope of E_c in ln N, L = {d}", fits[d]["slope"], "nat", target=1.0,
                  accept=between(0.75, 1.25) if d in (8, 12) and not short else None)
        for d in fits if fits[d]
    ]  # fmt: skip
    missing = short or ("" if any(fits.get(d) for d in (8, 12)) else "no depth of 8 or 12 has two widths to fit")
    return Finding("T3", rows, not_measured=missing)


def _falls(fits: dict[int, dict[str, Fit]], short: str) -> Finding:
    rows = [
        _interval(f"C_c, L = {d}", fits[d]["C_c"], "nat", target=TARGETS["T4"][f"L={d}"],
                  accept=None if short or d == 2 else between(0.2, 0.4))
        for d in fits if fits[d]
    ]  # fmt: skip
    missing = short or ("" if any(fits.get(d) for d in (4, 8, 12)) else "no depth has two widths to fit")
    return Finding("T4", rows, not_measured=missing)


def _crossovers(fits: dict[int, dict[str, Fit]], short: str) -> Finding:
    rows = []
    for d in fits:
        if fits[d]:
            found = fits[d]["ln N_c"]
            value, low, high = (float(np.exp(v)) for v in found[:3])
            grown = Fit(value, low, high, found.networks)
            target = TARGETS["T5"][f"L={d}"]
            rows.append(_interval(f"N_c, L = {d}", grown, "units", target=target,
                                  accept=None if short else factor(target, 2.0)))  # fmt: skip
    return Finding("T5", rows, not_measured=short or ("" if rows else "nothing could be fitted"))


def _forgotten(variances: dict[float, Levels], short: str) -> Finding:
    if short or not variances:
        return Finding("T11", not_measured=short or "nothing was trained")
    rows = []
    for key in sorted(variances[1.0]):
        depth, width = key
        if any(len(found[key]["error"]) < 2 for found in variances.values()):
            continue
        for place in ("circle", "centre"):
            groups = {gain: found[key][place] for gain, found in variances.items() if len(found[key][place])}
            means = [float(v.mean()) for v in groups.values()]
            within = float(np.sqrt(np.mean([v.var(ddof=1) for v in groups.values() if len(v) > 1])))
            name = "ring" if place == "circle" else "centre"
            rows.append(
                Measurement(
                    f"largest less smallest mean, {name}, N = {width}, L = {depth}, σ² N = {list(groups)}",
                    max(means) - min(means),
                    "nat",
                    n=sum(map(len, groups.values())),
                    of="networks",
                    target=0.0,
                    accept=at_most(within),
                )
            )
    return Finding(
        "T11", rows, reason="Accepted where the means differ by less than the standard deviation over seeds."
    )
