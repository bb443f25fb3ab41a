"""Predictions of all cells at all steps: areas on held-out runs, gains over baselines, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from separatrix.results.errors import ArgumentError
from separatrix.studies.sharafi2025.cells import Cell, Cells
from separatrix.tangent.predict import predict

Features = Callable[[Cell, int], Mapping[str, np.ndarray]]
"""Of a cell and a step: arrays (member, time) with "loss" among them, or (member,) for what is known at the step."""

ALPHA = 0.05
"""Level of all tests, after correction."""


@dataclass(frozen=True)
class Scores:
    """What each indicator foretells.

    Attributes
    ----------
    cells : Cells
    times : tuple of int
    names : tuple of str
        Baselines first.
    baseline : array (name,)
    auc, low, high, explore, z : array (cell, time, name)
        Areas on held-out runs with 95 % intervals, areas on exploring runs, and the distance of the logit of the first
        from 0 in its standard errors; for an area of 0 or 1 the normal quantile of its exact probability.
    gain, gain_low, gain_high, gain_z : array (cell, time, name)
        What it adds to a logistic model of all baselines and their folds (see :func:`separatrix.predict`); NaN for
        these.
    stiff_z : array (cell, time, name)
        As ``gain_z``, for models without folds.
    together : array (cell, time)
        Area of that model.
    left_out : dict
        Why a cell has no numbers at a step, by (cell, step).
    """

    cells: Cells
    times: tuple[int, ...]
    names: tuple[str, ...]
    baseline: np.ndarray
    auc: np.ndarray
    low: np.ndarray
    high: np.ndarray
    explore: np.ndarray
    z: np.ndarray
    gain: np.ndarray
    gain_low: np.ndarray
    gain_high: np.ndarray
    gain_z: np.ndarray
    stiff_z: np.ndarray
    together: np.ndarray
    left_out: dict[tuple[str, int], str] = field(default_factory=dict)

    def of(self, what: str, place: int, name: str) -> np.ndarray:
        """A number of one indicator at one step, (cell,); NaN where it is not there."""
        if name not in self.names:
            return np.full(len(self.cells), np.nan)
        found: np.ndarray = getattr(self, what)[:, place, self.names.index(name)]
        return found

    def early(self, latest: int) -> list[int]:
        """Places of the steps up to one."""
        return [place for place, t in enumerate(self.times) if t <= latest]

    def found(self, what: str, among: Sequence[str]) -> np.ndarray:
        """Where an area ("z") or a gain ("gain_z", "stiff_z") is above chance, after Holm: (cell, time, name).

        The family: all cells and steps, and the indicators that are named.
        """
        mine = [self.names.index(name) for name in among if name in self.names]
        adjusted = np.full(self.auc.shape, np.nan)
        adjusted[..., mine] = holm(one_sided(getattr(self, what)[..., mine]))
        return adjusted < ALPHA

    def tests(self, among: Sequence[str]) -> int:
        """Size of that family."""
        return int((~np.isnan(self.z[..., [self.names.index(n) for n in among if n in self.names]])).sum())

    def chosen(self, place: int, among: Sequence[str]) -> np.ndarray:
        """For each cell, which of the named indicators has the largest area on exploring runs at a step; -1 if none."""
        mine = np.array([self.names.index(name) for name in among if name in self.names], dtype=int)
        if not len(mine):
            return np.full(len(self.cells), -1)
        values = np.where(np.isnan(self.explore[:, place][:, mine]), -1.0, self.explore[:, place][:, mine])
        return np.where(values.max(1) >= 0, mine[values.argmax(1)], -1)

    def of_chosen(self, what: str, place: int, among: Sequence[str]) -> np.ndarray:
        """A number of the chosen indicator at one step, (cell,)."""
        which = self.chosen(place, among)
        if not self.names:
            return np.full(len(which), np.nan)
        values = getattr(self, what)[np.arange(len(which)), place, which]
        return np.where(which >= 0, values, np.nan)


def scores(cells: Cells, features: Features, *, high: float | str = "median", times: Sequence[int] = ()) -> Scores:
    """Predict the final loss of all cells at all steps, with ``separatrix.predict``.

    Parameters
    ----------
    cells : Cells
    features : callable
    high : "median" or float
        Which runs count as high.
    times : sequence of int
        Steps; those of the first cell if not given.

    Notes
    -----
    The baseline "window-mean sharpness" is the mean over all recorded steps after the first, up to t. Runs are split by
    the cell's seed, the same way at all steps.
    """
    times = tuple(times) or cells.cells[0].at
    from scipy.stats import norm

    rows: dict[tuple[int, int], dict[str, Any]] = {}
    left_out: dict[tuple[str, int], str] = {}
    names: tuple[str, ...] = ()
    baseline = np.zeros(0, dtype=bool)
    for i, cell in enumerate(cells):
        for j, t in enumerate(times):
            if t not in cell.at:
                left_out[cell.name, t] = "not asked for"
                continue
            upto = cell.data["time"][: cell.place(t) + 1].tolist()
            history = {
                name: v if v.ndim == 2 else np.repeat(v[:, None], len(upto), 1) for name, v in features(cell, t).items()
            }
            alike: dict[str, Any] = {
                "until": cell.run["steps"], "window": t, "high": high, "seed": cell.run["seed"]}  # fmt: skip
            try:
                found = predict(history, cell.final, at=t, time=upto, **alike).isel(time=0)
                stiff = predict(history, cell.final, at=t, time=upto, folds=False, **alike).isel(time=0)
            except ArgumentError as error:
                left_out[cell.name, t] = str(error)
                continue
            held, above = found.attrs["runs_held_out"], found.attrs["high_held_out"]
            if above in (0, held):
                left_out[cell.name, t] = "all held-out runs have one label"
                continue
            names, baseline = tuple(str(n) for n in found["indicator"].values), found["baseline"].values.astype(bool)
            row: dict[str, Any] = {str(k): v.values for k, v in found.data_vars.items()}
            row["stiff_z"] = in_errors(*(stiff[name].values for name in ("gain", "gain_low", "gain_high")))
            row["utmost"] = norm.isf(1 / math.comb(held, above))
            rows[i, j] = row
    shape = (len(cells), len(times), len(names))

    def table(what: str) -> np.ndarray:
        values = np.full(shape[:2] if what in ("auc_baselines", "utmost") else shape, np.nan)
        for place, row in rows.items():
            values[place] = row[what]
        return values

    auc, low, up = table("auc"), table("auc_low"), table("auc_high")
    gain, gain_low, gain_high = table("gain"), table("gain_low"), table("gain_high")
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = (_logit(up) - _logit(low)) / (2 * NORMAL)
        # an area of 1 has no standard error, and is no certainty: with few runs chance gives it, too
        utmost = table("utmost")[..., None]
        z = np.where(auc == 1, utmost, np.where(auc == 0, -utmost, _logit(auc) / reach))
    return Scores(cells, times, names, baseline, auc, low, up, table("auc_explore"), z, gain, gain_low, gain_high,
                  in_errors(gain, gain_low, gain_high), table("stiff_z"), table("auc_baselines"), left_out)  # fmt: skip


NORMAL = 1.959963984540054
"""Half-width of a 95 % interval in standard errors."""


def in_errors(gain: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Gains in their standard errors, from the ends of their intervals; 0 where there is no gain and no error."""
    width = (high - low) / (2 * NORMAL)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: np.ndarray = np.where(width > 0, gain / width, np.where(np.isnan(gain), np.nan, 0.0))
    return found


def one_sided(z: np.ndarray) -> np.ndarray:
    """Probability of more than z standard errors."""
    from scipy.stats import norm

    found: np.ndarray = norm.sf(z)
    return found


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p, in the shape of p; NaN stays and is not counted."""
    flat = p.ravel()
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    adjusted = np.full(flat.shape, math.nan)
    count = len(order)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(flat[order] * (count - np.arange(count))))
    return adjusted.reshape(p.shape)


def median_interval(values: np.ndarray, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Median with a 95 % bootstrap interval over cells; NaN left out."""
    kept = values[np.isfinite(values)]
    if not len(kept):
        return math.nan, math.nan, math.nan
    rng = np.random.default_rng(seed)
    medians = np.median(kept[rng.integers(0, len(kept), (draws, len(kept)))], axis=1)
    middle = float(np.median(kept))
    return middle, min(float(np.quantile(medians, 0.025)), middle), max(float(np.quantile(medians, 0.975)), middle)


def _logit(x: np.ndarray) -> np.ndarray:
    return np.log(x / (1 - x))
