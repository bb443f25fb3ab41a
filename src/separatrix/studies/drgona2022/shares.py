"""Shares of networks as measurements."""

from __future__ import annotations

import math

import numpy as np

from separatrix.local.basin_result import clopper_pearson
from separatrix.studies.measurement import Accept, Baseline, Measurement


def share(
    what: str,
    holds: np.ndarray,
    *,
    of: str = "networks",
    target: float | None = None,
    baseline: Baseline | None = None,
    accept: Accept | None = None,
) -> Measurement:
    """Share of a sample with its Clopper-Pearson interval."""
    count = int(holds.size)
    low, high = clopper_pearson(holds.sum(keepdims=True).ravel(), count) if count else (np.zeros(1), np.ones(1))
    return Measurement(
        what,
        float(holds.mean()) if count else math.nan,
        interval=(float(low[0]), float(high[0])) if count else None,
        spread_name="95 % Clopper–Pearson interval" if count else "",
        n=count,
        of=of,
        target=target,
        baseline=baseline,
        accept=accept,
    )


def counted(
    what: str,
    holds: np.ndarray,
    *,
    of: str = "networks",
    lost: int = 0,
    target: float | None = 1.0,
    baseline: Baseline | None = None,
    accept: Accept | None = None,
) -> Measurement:
    """Share of all members of a finite set: a count, without an interval, for statements about every one of them."""
    count = int(holds.size)
    value = float(holds.mean()) if count else math.nan
    return Measurement(what, value, n=count, of=of, lost=lost, target=target, baseline=baseline, accept=accept)
