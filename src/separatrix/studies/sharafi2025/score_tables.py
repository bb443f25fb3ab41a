"""Scores as measurements and as a table of cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from separatrix.studies.measurement import Accept, Measurement
from separatrix.studies.sharafi2025.claims import LATEST
from separatrix.studies.sharafi2025.scores import Scores
from separatrix.studies.study import Table
from separatrix.studies.wording import number


def share(
    what: str, found: Scores, kind: str, among: Sequence[str], counted: np.ndarray, accept: Accept | None = None
) -> Measurement:
    """Share of the counted cells in which one of the indicators is significant up to the last early step.

    The family of Holm's correction is that of all cells; the interval is Wilson's.
    """
    hits = found.found(kind, among)[counted][:, found.early(LATEST)].any(axis=(1, 2))
    n = len(hits)
    if not n:
        return Measurement(what, math.nan, n=0, of="cells", accept=accept)
    value = float(hits.mean())
    low, high = wilson(int(hits.sum()), n)
    return Measurement(what, value, interval=(min(low, value), max(high, value)), spread_name="95 % interval (Wilson)",
                       n=n, of="cells", accept=accept)  # fmt: skip


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share."""
    middle = (hits + z * z / 2) / (n + z * z)
    reach = z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def cell_table(
    whole: Scores, alone: Scores | None, worst: Scores | None, among: Sequence[str], words: Mapping[str, str]
) -> Table:
    """A row for each cell and every other step up to the last early one."""
    sure, adds = whole.found("z", among), None if alone is None else alone.found("gain_z", among)
    more = whole.found("gain_z", among)
    rows = []
    for i, cell in enumerate(whole.cells):
        for place in whole.early(LATEST)[1::2]:
            which = int(whole.chosen(place, among)[i])
            if which < 0:
                continue
            name = whole.names[which]
            row = [
                cell.name,
                str(whole.times[place]),
                words.get(name, name),
                _with_ends(whole, "auc", "low", "high", i, place, which) + "*" * bool(sure[i, place, which]),
                *(number(float(whole.of("auc", place, base)[i])) for base in BASES),
                number(float(whole.together[i, place])),
            ]
            for one, marks in ((alone, adds), (whole, more)):
                if one is None or marks is None:
                    continue
                at = one.names.index(name) if name in one.names else -1
                row.append(
                    "–"
                    if at < 0
                    else _with_ends(one, "gain", "gain_low", "gain_high", i, place, at)
                    + "*" * bool(marks[i, place, at])
                )
            if worst is not None:
                row.append(number(float(worst.of("auc", place, name)[i])))
            rows.append(tuple(row))
    header = ["cell", "t", "chosen", "area", *BASES.values(), "all baselines"]
    header += ["gain over the loss"] * (alone is not None) + ["gain over all"]
    header += ["area, worst fifth"] * (worst is not None)
    return Table(header, rows, "Areas on held-out runs of the indicator that exploring runs choose, beside baselines; "
                 "* where it is above chance after Holm.", numbers=[1, *range(3, len(header))])  # fmt: skip


BASES = {"loss": "loss", "power_law": "power law", "gradient_norm": "gradient norm", "sharpness": "sharpness",
         "window_sharpness": "mean sharpness"}  # fmt: skip


def _with_ends(found: Scores, what: str, low: str, high: str, i: int, place: int, which: int) -> str:
    value, below, above = (float(getattr(found, part)[i, place, which]) for part in (what, low, high))
    reach = (above - below) / 2
    ends = "" if math.isnan(reach) else f" [{number(below, reach)}, {number(above, reach)}]"
    return number(value, reach) + ends
