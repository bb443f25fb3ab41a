"""Angles of covariant vectors: what they foretell without a future, and what they are beside their nulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_least
from separatrix.studies.sharafi2025 import angle_figures, prediction_figures
from separatrix.studies.sharafi2025.cells import Cell, Cells, measured
from separatrix.studies.sharafi2025.claims import AREA, LATEST, SHARE
from separatrix.studies.sharafi2025.covariant_angles import KINDS, ORDERS
from separatrix.studies.sharafi2025.prediction import last
from separatrix.studies.sharafi2025.score_tables import cell_table, share
from separatrix.studies.sharafi2025.scores import Scores, median_interval, scores
from separatrix.studies.study import Context, Part, Table
from separatrix.studies.wording import number

TOLERANCE = 1e-3
"""What may be left of the random beginnings for a vector to count as converged: 6.9 steps times gap."""


def run(context: Context) -> Part:
    """Read the cells of gradient descent, and predict by angles."""
    return part(measured(context))


def features(cell: Cell, t: int) -> Mapping[str, np.ndarray]:
    """Angles, with all baselines."""
    return cell.baselines(t) | cell.angles(t)


def part(found: Cells) -> Part:
    """Areas, gains, nulls and the verdict."""
    mine = found.where(lambda cell: "angle" in cell.data)
    whole = scores(mine, features)
    finding = verdict(whole, found.short)
    figures = [angle_figures.densities(mine), prediction_figures.heat(whole, KINDS, "sharafi-angle-heat")]
    tables = [cell_table(whole, None, None, KINDS, prediction_figures.ANGLES), nulls(mine)]
    return Part([finding], figures, tables=tables, notes=notes(), settings={
        "window": "angles in the middle half of the steps from 0 to t, the backward pass begins at t",
        "tolerance of convergence": TOLERANCE,
    })  # fmt: skip


def verdict(whole: Scores, short: str) -> Finding:
    """Claim C4."""
    counted = np.array([cell.counts for cell in whole.cells])
    judged = not short
    rows = [share("smooth cells of the grid with an angle above chance", whole, "z", KINDS, counted,
                  at_least(SHARE, decisive=True) if judged else None),
            share("with a gain over all baselines", whole, "gain_z", KINDS, counted)]  # fmt: skip
    for place, t in enumerate(whole.times):
        areas = whole.of_chosen("auc", place, KINDS)[counted]
        middle, low, high = median_interval(areas)
        base = Baseline("loss at that step", float(np.nanmedian(whole.of("auc", place, "loss")[counted])))
        rows.append(Measurement(f"area of the chosen angle at t = {t}, median", middle, interval=(low, high),
                                spread_name="95 % bootstrap interval over cells", n=int(np.isfinite(areas).sum()),
                                of="cells", baseline=base,
                                accept=at_least(AREA) if judged and t == last(whole) else None))  # fmt: skip
    for kind in ("last_rest", "smallest"):
        middle, frozen, shuffled = (
            np.nanmedian([cell_median(cell, order, kind) for cell in whole.cells if cell.counts]) for order in ORDERS
        )
        for name, value in (("one frozen map", frozen), ("maps in random order", shuffled)):
            what, base = (
                f"angle, {prediction_figures.ANGLES[kind]}, median, beside {name}",
                Baseline(name, float(value)),
            )
            rows.append(Measurement(what, float(middle), "°", n=int(counted.sum()), of="cells", baseline=base))
    return Finding("C4", rows, not_measured=short)


def cell_median(cell: Cell, order: str, kind: str) -> float:
    """Median over the first members of a mean angle in degrees, in one order of the maps."""
    values = cell.data["null_angle"][ORDERS.index(order), KINDS.index(kind)]
    return float(np.degrees(np.median(values))) if values.size else np.nan


def converged(cell: Cell) -> tuple[float, float]:
    """Shares of runs whose first and last vector have converged in the middle of the longest window."""
    t = cell.at[-1]
    exponents = cell.exponents(t)
    fine = exponents[np.isfinite(exponents).all(1)]
    nats = -np.diff(fine, axis=1) * t / 2
    reached = nats > -np.log(TOLERANCE)
    return float(reached[:, 0].mean()), float(reached[:, -1].mean())


def nulls(found: Cells) -> Table:
    """Angles in the three orders, and convergence."""
    rows = []
    for cell in found:
        cells = [number(cell_median(cell, order, kind)) for kind in ("last_rest", "smallest", "first_last")
                 for order in ORDERS]  # fmt: skip
        first, end = converged(cell)
        rows.append((cell.name, *cells, f"{100 * first:.0f} %", f"{100 * end:.0f} %"))
    kinds = [prediction_figures.ANGLES[kind] for kind in ("last_rest", "smallest", "first_last")]
    header = ("cell", *(f"{kind}, {order}" for kind in kinds for order in ORDERS), "first converged", "last converged")
    return Table(header, rows, "Median angles in degrees over the longest window, as trained, with one frozen map and "
                 "with the maps in random order; and shares of runs in which the gap to the neighbour, times the "
                 f"steps on either side, leaves less than {TOLERANCE:g} of the random beginnings.",
                 numbers=range(1, 12))  # fmt: skip


def notes() -> list[str]:
    """What has to be known to read angles of a transient."""
    return [
        "With one frozen map all covariant vectors are orthogonal eigenvectors: angles off 90° in that column are of "
        "vectors that have not converged. Many exponents lie close to 0, and single vectors among them mean little; "
        "the last vector, that of the fastest contraction, is the one that converges.",
        f"Predictions up to t = {LATEST} count; no step after t enters them.",
    ]
