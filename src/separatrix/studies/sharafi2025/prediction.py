"""What early exponents foretell of the final loss, and what they add to what the loss itself foretells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least
from separatrix.studies.sharafi2025 import prediction_figures
from separatrix.studies.sharafi2025.cells import EXPONENTS, Cell, Cells, indicators_of, measured
from separatrix.studies.sharafi2025.claims import AREA, LATEST, SHARE
from separatrix.studies.sharafi2025.score_tables import cell_table, share
from separatrix.studies.sharafi2025.scores import ALPHA, NORMAL, Scores, median_interval, scores
from separatrix.studies.sharafi2025.settings import OPEN
from separatrix.studies.study import Context, Part, Table
from separatrix.studies.wording import number

AMONG = tuple(EXPONENTS)
APART = 2.0
"""Where the losses of nine tenths and of one tenth of the runs differ by less, high and low mean little."""

WORST = 0.2
"""Share of runs that count as high in the second label."""


def run(context: Context) -> Part:
    """Read the cells of gradient descent, and predict."""
    return part(measured(context))


def beside_all(cell: Cell, t: int) -> Mapping[str, np.ndarray]:
    """Exponents, with all baselines."""
    return cell.baselines(t) | cell.indicators(t)


def beside_loss(cell: Cell, t: int) -> Mapping[str, np.ndarray]:
    """Exponents, with the loss as the only baseline; gradient norm and sharpness then are indicators."""
    found = cell.baselines(t)
    others = {"norm_now": found["gradient_norm"][:, -1], "sharpness_now": found["sharpness"][:, -1],
              "sharpness_mean": found["sharpness"][:, 1:].mean(1)}  # fmt: skip
    return {"loss": found["loss"]} | cell.indicators(t) | others


def part(found: Cells) -> Part:
    """Areas, gains and verdicts."""
    whole, worst = scores(found, beside_all), scores(found, beside_all, high=WORST)
    alone = scores(found, beside_loss)
    findings = [separation(whole, worst, found.short), addition(alone, whole, found.short)]
    figures = [
        prediction_figures.against_time(whole, AMONG, LATEST),
        prediction_figures.heat(whole, AMONG),
        prediction_figures.gains(alone, whole, AMONG),
    ]
    tables = [cell_table(whole, alone, worst, AMONG, EXPONENTS), forms(found)]
    return Part(findings, figures, tables=tables, notes=notes(whole, alone),
                settings={"label": f"above the median; second label: the worst {100 * WORST:.0f} %",
                          "halves": "drawn by the cell's seed: directions, thresholds and models from one half, areas "
                          "from the other", "level": ALPHA})  # fmt: skip


def separation(whole: Scores, worst: Scores, short: str) -> Finding:
    """Claim C3."""
    counted = np.array([cell.counts for cell in whole.cells])
    judged = not short
    rows = [
        share("smooth cells of the grid with an exponent above chance", whole, "z", AMONG, counted,
              at_least(SHARE, decisive=True) if judged else None),
        share(f"among those whose final losses differ by a factor {APART:g} (10 % and 90 % quantiles)", whole, "z",
              AMONG, counted & np.array([apart(cell) >= APART for cell in whole.cells])),
    ]  # fmt: skip
    for place, t in enumerate(whole.times):
        areas = whole.of_chosen("auc", place, AMONG)[counted]
        middle, low, high = median_interval(areas)
        base = Baseline("loss at that step", float(np.nanmedian(whole.of("auc", place, "loss")[counted])))
        rows.append(Measurement(f"area of the chosen exponent at t = {t}, median", middle, interval=(low, high),
                                spread_name="95 % bootstrap interval over cells", n=int(np.isfinite(areas).sum()),
                                of="cells", baseline=base,
                                accept=at_least(AREA) if judged and t == last(whole) else None))  # fmt: skip
    rows += [
        share("smooth cells of the grid with one above chance for the worst fifth", worst, "z", AMONG, counted),
        share("cells with ReLU with one above chance", whole, "z", AMONG,
              np.array([c.run["activation"] == "relu" for c in whole.cells])),
        share("cells with one setting changed with one above chance", whole, "z", AMONG,
              np.array([c.group == OPEN for c in whole.cells])),
    ]  # fmt: skip
    return Finding("C3", rows, not_measured=short)


def addition(alone: Scores, whole: Scores, short: str) -> Finding:
    """Claim C3b."""
    counted = np.array([cell.counts for cell in whole.cells])
    judged = not short
    rows = [
        share("smooth cells of the grid with a gain over the loss", alone, "gain_z", AMONG, counted,
              at_least(SHARE, decisive=True) if judged else None),
        share("with a gain over all baselines", whole, "gain_z", AMONG, counted,
              at_least(SHARE) if judged else None),
        share("with a gain over the loss of sharpness or gradient norm instead", alone, "gain_z",
              ("norm_now", "sharpness_now", "sharpness_mean"), counted),
        share("with a gain over the loss, models monotone in it", alone, "stiff_z", AMONG, counted),
        share("with a gain over all baselines, models monotone in them", whole, "stiff_z", AMONG, counted),
    ]  # fmt: skip
    for place, t in enumerate(whole.times):
        for one, words in ((alone, "the loss"), (whole, "all baselines")):
            gains = one.of_chosen("gain", place, AMONG)[counted]
            middle, low, high = median_interval(gains)
            base = Baseline("area of these alone", float(np.nanmedian(one.together[counted, place])))
            rows.append(Measurement(f"gain of the chosen exponent over {words} at t = {t}, median", middle,
                                    interval=(low, high), spread_name="95 % bootstrap interval over cells",
                                    n=int(np.isfinite(gains).sum()), of="cells", baseline=base))  # fmt: skip
    for one, words in ((alone, "the loss"), (whole, "all baselines")):
        least = smallest(one)[counted]
        middle, low, high = median_interval(least)
        rows.append(Measurement(f"least gain over {words} that would be found at t = {last(one)}, median", middle,
                                interval=(low, high), spread_name="95 % bootstrap interval over cells",
                                n=int(np.isfinite(least).sum()), of="cells"))  # fmt: skip
    return Finding("C3b", rows, not_measured=short)


def smallest(found: Scores) -> np.ndarray:
    """Gain of the chosen exponent at the last early step at which the first of Holm's tests would find it, (cell,)."""
    from scipy.stats import norm

    place = found.early(LATEST)[-1]
    width = (found.of_chosen("gain_high", place, AMONG) - found.of_chosen("gain_low", place, AMONG)) / (2 * NORMAL)
    found_at: np.ndarray = width * norm.isf(ALPHA / max(found.tests(AMONG), 1))
    return found_at


def apart(cell: Cell) -> float:
    """The 90 % quantile of the final losses over their 10 % quantile; infinite where a tenth of the runs diverged."""
    ends = np.sort(np.where(np.isfinite(cell.final), cell.final, np.inf))
    low, high = (ends[min(len(ends) - 1, int(part * len(ends)))] for part in (0.1, 0.9))
    return float(high / low) if low > 0 and np.isfinite(low) else np.inf if high > low else 1.0


def last(found: Scores) -> int:
    """The last early step."""
    return found.times[found.early(LATEST)[-1]]


def forms(found: Cells) -> Table:
    """Areas of both forms of exponents, and of other first frames."""
    rows = []
    for cell in found.where(lambda cell: "singular_stretch" in cell.data):
        for place, t in enumerate(cell.at):
            if not np.isfinite(cell.data["singular_stretch"][:, place]).any():
                continue
            one = scores(Cells((cell,), found.short), _both_forms, times=(t,))
            if not one.names:
                continue
            names = [n for n in one.names if n.startswith("frame")]
            ends = [[float(one.of("auc", 0, n)[0]) for n in names if n.endswith(kind)] for kind in ("l1", "lmin")]
            spread = [f"{number(min(e))} to {number(max(e))}" if e else "–" for e in ends]
            values = [number(float(one.of("auc", 0, n)[0])) for n in ("l1", "sv_l1", "lmin", "sv_lmin")]
            rows.append((cell.name, str(t), *values[:2], spread[0], *values[2:], spread[1]))
    header = ("cell", "t", "λ₁", "λ₁, singular values", "λ₁, other frames", "λ_min", "λ_min, singular values",
              "λ_min, other frames")  # fmt: skip
    return Table(header, rows, "Areas on held-out runs by form of the exponents.", numbers=range(1, 8))


def _both_forms(cell: Cell, t: int) -> Mapping[str, np.ndarray]:
    place = cell.at.index(t)
    exact = np.nan_to_num(cell.data["singular_stretch"][:, place] / t, nan=np.inf)
    made = {f"sv_{k}": v for k, v in indicators_of(-np.sort(-exact, axis=1)).items() if k in ("l1", "lmin")}
    for i in range(cell.data["frame_stretch"].shape[1] if "frame_stretch" in cell.data else 0):
        other = indicators_of(-np.sort(-cell.data["frame_stretch"][:, i, place] / t, axis=1))
        made |= {f"frame{i}_{k}": other[k] for k in ("l1", "lmin")}
    own = {k: v for k, v in cell.indicators(t).items() if k in ("l1", "lmin")}
    return {"loss": cell.baselines(t)["loss"]} | own | made


def notes(whole: Scores, alone: Scores) -> list[str]:
    """What was tested, and where the effect is."""
    found, gained = whole.found("z", AMONG), alone.found("gain_z", AMONG)
    early = whole.early(LATEST)
    where = [c.name for c, row in zip(whole.cells, found[:, early], strict=True) if row.any()]
    adds = [c.name for c, row in zip(alone.cells, gained[:, early], strict=True) if row.any()]
    made = [
        f"Tests of areas: {whole.tests(AMONG):,} ({len(whole.cells)} cells, {len(whole.times)} steps, "
        f"{len(AMONG)} exponents), Holm at {ALPHA:g} over all of them, and the same for gains.",
        f"Up to t = {last(whole)} exponents are above chance in: {'; '.join(where) or 'no cell'}.",
        f"They add to the loss in: {'; '.join(adds) or 'no cell'}.",
    ]
    made.append(
        "Gains are those over logistic models that hold each baseline and its fold, the distance of its rank from the "
        "middle: an indicator that is a function of the loss or of the sharpness alone, as ln |1 − ηh| is one of the "
        "sharpness h, then adds little. A gain that is not found may be below the least one that would be."
    )
    if whole.left_out:
        made.append("Left out: " + "; ".join(f"{n} at t = {t} ({why})" for (n, t), why in whole.left_out.items()))
    return made
