"""Final losses of all cells: how they are distributed, and whether training has ended."""

from __future__ import annotations

from typing import Any

import numpy as np

from separatrix.studies.measurement import Measurement
from separatrix.studies.sharafi2025 import history_figures
from separatrix.studies.sharafi2025.cells import Cell, Cells, measured
from separatrix.studies.sharafi2025.settings import DECLARED
from separatrix.studies.study import Context, Part, Table
from separatrix.studies.wording import number

UNIFORM = 5 / 9
"""Sarle's coefficient of a uniform distribution; above it, one with several peaks or a heavy skew is suspected."""


def run(context: Context) -> Part:
    """Read the cells of gradient descent."""
    return part(measured(context))


def part(found: Cells) -> Part:
    """Quantiles, Sarle's coefficient and agreement with the loss earlier on, for each cell."""
    coefficients = [sarle(logs(cell)) for cell in found]
    diverged = [int((~np.isfinite(cell.final)).sum()) for cell in found]
    rows = [row(cell, coefficient) for cell, coefficient in zip(found, coefficients, strict=True)]
    header = ("cell", "group", "diverged", "10 %", "median", "80 %", "90 %", "Sarle", "loss at half time, rank corr.",
              "fell since, median")  # fmt: skip
    table = Table(header, rows, "Final losses. Sarle's coefficient is that of ln c_f, and above 5/9 = 0.56 where it "
                  "may be bimodal (or very skew).", numbers=range(2, 10))  # fmt: skip
    many = sum(c > UNIFORM for c in coefficients)
    rows_of = [
        Measurement("cells whose ln c_f may be bimodal by Sarle's coefficient", many, n=len(found), of="cells"),
        Measurement("runs that diverged", sum(diverged), n=sum(len(c.final) for c in found), of="runs"),
        Measurement("core-minutes of the sweep", sum(c.seconds for c in found) / 60, n=len(found), of="cells"),
    ]
    note = (
        "Where c_f is unimodal and still falling, high and low depend on the step at which training is stopped: the "
        "last two columns tell how far. Runs that diverged count as high."
    )
    return Part(figures=[history_figures.losses(found)], tables=[table], measurements=rows_of, notes=[note],
                settings=settings(found))  # fmt: skip


def settings(found: Cells) -> dict[str, Any]:
    """Each setting, where it is the same in all cells."""
    values = {name: {cell.run[name] for cell in found} for name in DECLARED}
    return {name: _text(next(iter(seen))) if len(seen) == 1 else "by cell" for name, seen in values.items()}


def _text(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def logs(cell: Cell) -> np.ndarray:
    """Natural logarithms of the final losses that are finite and above 0."""
    found: np.ndarray = np.log(cell.final[np.isfinite(cell.final) & (cell.final > 0)])
    return found


def sarle(values: np.ndarray) -> float:
    """Sarle's bimodality coefficient (skewness^2 + 1) / kurtosis, with the sample's corrections."""
    from scipy.stats import kurtosis, skew

    n = len(values)
    if n < 4 or np.ptp(values) == 0:
        return np.nan
    tail = kurtosis(values, bias=False) + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    return float((skew(values, bias=False) ** 2 + 1) / tail)


def row(cell: Cell, coefficient: float) -> tuple[str, ...]:
    """A row of the table."""
    from scipy.stats import spearmanr

    final = cell.final
    half = cell.data["late_loss"][:, -2]
    fine = np.isfinite(final) & np.isfinite(half) & (half > 0)
    rank = float(spearmanr(final[fine], half[fine]).statistic) if fine.sum() > 2 else np.nan
    fell = float(np.median(1 - final[fine] / half[fine])) if fine.any() else np.nan
    ends = np.sort(np.where(np.isfinite(final), final, np.inf))
    shares = [number(float(ends[min(len(ends) - 1, int(share * len(ends)))])) for share in (0.1, 0.5, 0.8, 0.9)]
    lost = str(int((~np.isfinite(final)).sum()))
    return (cell.name, cell.group, lost, *shares, number(coefficient), number(rank), f"{number(100 * fell)} %")
