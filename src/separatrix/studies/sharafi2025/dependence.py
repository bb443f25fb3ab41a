"""How exponents and angles depend on the initial condition, on the activation, and on what is arbitrary in them."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least
from separatrix.studies.sharafi2025 import history_figures
from separatrix.studies.sharafi2025.cells import Cell, Cells, indicators_of, measured
from separatrix.studies.sharafi2025.scores import median_interval
from separatrix.studies.sharafi2025.settings import ALIKE, GRID, OPEN, SMOOTH
from separatrix.studies.study import Context, Figure, Part, Table
from separatrix.studies.wording import number

TIMES_FRAMES = 3.0
"""How much more exponents shall vary over initial conditions than over first frames."""

EXPLAINED = 0.1
"""Share of the variance that activations shall explain."""

QUANTITIES = ("l1", "lmin", "last_rest")
WORDS = {"l1": "λ₁", "lmin": "λ_min", "last_rest": "angle of the last covariant vector to all others"}


def run(context: Context) -> Part:
    """Read the cells of gradient descent."""
    return part(measured(context))


def part(found: Cells) -> Part:
    """Spread over initial conditions and first frames, shares of variance, and the two forms of the exponents."""
    judged = not found.short
    rows = []
    for name in QUANTITIES[:2]:
        ratios = [frames(cell, name) for cell in found if "frame_stretch" in cell.data]
        rows.append(Measurement(f"spread of {WORDS[name]} over initial conditions, over that over first frames, median",
                                float(np.median(ratios)) if ratios else np.nan,
                                interval=(min(ratios), max(ratios)) if ratios else None,
                                spread_name="least and largest" if ratios else "", n=len(ratios), of="cells",
                                accept=at_least(TIMES_FRAMES) if judged else None))  # fmt: skip
    for name in QUANTITIES:
        shares = explained(found, name)
        if not len(shares):
            continue
        middle, low, high = median_interval(shares[:, 0])
        rows.append(Measurement(f"variance of {WORDS[name]} explained by the activation, median of groups", middle,
                                interval=(low, high), spread_name="95 % bootstrap interval over groups",
                                n=len(shares), of="groups of cells alike but for it",
                                baseline=Baseline("activations shuffled", float(np.median(shares[:, 1]))),
                                accept=at_least(EXPLAINED) if judged else None))  # fmt: skip
    finding = Finding("C2", rows, not_measured=found.short)
    figures: list[Figure] = [history_figures.histories(cell) for cell in found.cells[:1]]
    return Part([finding], figures, tables=[_spread_table(found), _forms(found)], notes=_notes())


def frames(cell: Cell, name: str) -> float:
    """Standard deviation over members to that over first frames, at the last step of predictions.

    The variance between members is that of their means over frames, less what frames leave in these.
    """
    t = cell.at[-1]
    stretch = cell.data["frame_stretch"][:, :, -1]
    every = -np.sort(-np.concatenate([cell.exponents(t)[:, None] * t, stretch], axis=1), axis=2)
    column = every[np.isfinite(every).all((1, 2)), :, {"l1": 0, "lmin": -1}[name]]
    within = column.var(1, ddof=1).mean()
    return float(np.sqrt(max(column.mean(1).var(ddof=1) - within / column.shape[1], 0.0) / within))


def explained(found: Cells, name: str, seed: int = 0) -> np.ndarray:
    """Share of the variance between activations in each group, and the same with activations shuffled, (group, 2)."""
    rng = np.random.default_rng(seed)
    made = []
    cells = sorted(found.where(_plain), key=_alike)
    for _, group in groupby(cells, key=_alike):
        mine = list(group)
        if len(mine) < 2:
            continue
        values = [quantity(cell, name) for cell in mine]
        values = [v[np.isfinite(v)] for v in values]
        joined, sizes = np.concatenate(values), [len(v) for v in values]
        shuffled = np.split(rng.permutation(joined), np.cumsum(sizes)[:-1])
        made.append((between(values), between(shuffled)))
    return np.array(made).reshape(-1, 2)


def quantity(cell: Cell, name: str) -> np.ndarray:
    """A number of each run at the last step of predictions."""
    t = cell.at[-1]
    return cell.angles(t)[name] if name == "last_rest" else indicators_of(cell.exponents(t))[name]


def between(groups: list[np.ndarray]) -> float:
    """Variance between the means of groups over all variance (the correlation ratio)."""
    joined = np.concatenate(groups)
    total = ((joined - joined.mean()) ** 2).sum()
    return float(sum(len(g) * (g.mean() - joined.mean()) ** 2 for g in groups) / total) if total else np.nan


def _plain(cell: Cell) -> bool:
    return cell.group in (GRID, OPEN, ALIKE) and cell.run["activation"] in SMOOTH


def _alike(cell: Cell) -> tuple[Any, ...]:
    return cell.alike


def _spread_table(found: Cells) -> Table:
    rows = []
    for cell in found:
        t = cell.at[-1]
        exponents = cell.exponents(t)
        fine = np.isfinite(exponents).all(1)
        cells = [number(float(np.median(cell.data["sharpness"][fine, 0])))]
        for column in (exponents[fine, 0], exponents[fine, -1], exponents[fine].sum(1)):
            low, middle, high = np.quantile(column, (0.1, 0.5, 0.9)) * 1000
            cells.append(f"{number(middle)} ({number(low)} to {number(high)})")
        rows.append((cell.name, number(cell.run["rate"]), *cells, str(int((cell.data["singular"] > 0).sum()))))
    header = ("cell", "η", "first sharpness", "1000 λ₁", "1000 λ_min", "1000 Σλ", "runs with a singular step")
    return Table(header, rows, "Exponents per step over the first steps: median and middle 80 % of runs. A step is "
                 "singular where a pivot is rounding, as at ηh = 1; it then counts as the floor.",
                 numbers=range(1, 7))  # fmt: skip


def _forms(found: Cells) -> Table:
    """Singular-value form beside QR form: rank correlations and differences in nats."""
    from scipy.stats import spearmanr

    rows = []
    for cell in found.where(lambda cell: "singular_stretch" in cell.data):
        for place, t in enumerate(cell.at):
            exact = cell.data["singular_stretch"][:, place]
            own = cell.exponents(t) * t
            fine = np.isfinite(exact).all(1) & np.isfinite(own).all(1)
            if fine.sum() < 3:
                continue
            cells = []
            for i in (0, 1, -1):
                rank = float(spearmanr(exact[fine, i], own[fine, i]).statistic)
                gap = float(np.median(np.abs(exact[fine, i] - own[fine, i])))
                cells.append(f"{number(rank)} ({number(gap)} nat)")
            rows.append((cell.name, str(t), *cells))
    return Table(("cell", "t", "λ₁", "λ₂", "λ_min"), rows, "The two forms of finite-time exponents: Spearman's rank "
                 "correlation between runs, and the median difference of the logarithm of growth.",
                 numbers=range(1, 5))  # fmt: skip


def _notes() -> list[str]:
    return [
        "Training is a transient, and exponents in QR form remember the first frame, which is random for each run. The "
        "sum of all exponents is the mean of ln |det M| and does not depend on the frame at all. Activations are "
        "compared in cells that have everything else alike, rate and initial weights among it.",
    ]
