"""Beyond the paper: the same predictions for heavy ball and Adam."""

from __future__ import annotations

import math

import numpy as np

from separatrix.studies.measurement import Measurement
from separatrix.studies.sharafi2025 import prediction_figures
from separatrix.studies.sharafi2025.cells import EXPONENTS, Cells, measured
from separatrix.studies.sharafi2025.prediction import AMONG, WORST, beside_all, beside_loss
from separatrix.studies.sharafi2025.score_tables import cell_table
from separatrix.studies.sharafi2025.scores import scores
from separatrix.studies.study import Context, Part


def run(context: Context) -> Part:
    """Read the cells of other optimizers."""
    return part(measured(context, beyond=True))


def part(found: Cells) -> Part:
    """Areas and gains, and the sums of exponents that heavy ball must have."""
    whole, worst = scores(found, beside_all), scores(found, beside_all, high=WORST)
    alone = scores(found, beside_loss)
    rows = []
    for cell in found.where(lambda cell: cell.run["optimizer"] == "heavy ball"):
        exponents = cell.exponents(cell.at[-1])
        exponents = exponents[np.isfinite(exponents).all(1)]
        expected = (exponents.shape[1] // 2) * math.log(cell.run["momentum"])
        off = float(np.abs(exponents.sum(1) - expected).max())
        what = f"{cell.name}: sum of all exponents less P ln β, largest"
        rows.append(Measurement(what, off, n=len(exponents), of="networks"))
    return Part(
        figures=[prediction_figures.heat(whole, AMONG, "sharafi-optimizer-heat")],
        tables=[cell_table(whole, alone, worst, AMONG, EXPONENTS)],
        measurements=rows,
        notes=[
            "The state of these optimizers is weights and memory together, and so are the tangents. For heavy ball the "
            "sum of all exponents is P ln β at every step, whatever the loss: as an indicator it is a constant."
        ],
    )
