"""Early prediction of the final loss, beside what simpler numbers foretell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.results.dataset import build
from separatrix.results.errors import ArgumentError
from separatrix.results.provenance import provenance
from separatrix.tangent.early_signs import Signs, early_signs
from separatrix.tangent.orbit_arguments import whole
from separatrix.tangent.roc import areas, interval

if TYPE_CHECKING:
    import xarray as xr

FLAGS = ("ok", "constant", "missing_values", "one_class")
"""Meanings of ``status``: an indicator that is one number for all runs, one with NaN (which counts as least, and in a
baseline as largest, where it is a run that has diverged), and a half of the runs in which all have the same label."""


def predict(
    history: Mapping[str, Any] | xr.Dataset,
    final: Any,
    *,
    at: Sequence[int] | int,
    time: Sequence[int] | None = None,
    until: int | None = None,
    window: int = 100,
    high: float | str = "median",
    explore: float = 0.5,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Early prediction of high or low final loss, from indicators up to a step, beside what the loss itself foretells.

    Runs are split once. On one part, the exploring one, everything is chosen: from which final loss on a run counts as
    high, in which direction each indicator points, and the weights of logistic models. On the other, held-out part,
    areas under ROC curves are measured: the probability that of two runs, one high and one low, the indicator ranks
    them right. An area below 1/2 there says that the direction did not hold.

    Parameters
    ----------
    history : mapping or xarray.Dataset
        Names to arrays (member, time): ``loss``, which must be there; ``gradient_norm`` and ``sharpness``, which are
        baselines if there; all others are indicators, as they stand at each time (such as exponents of the window from
        0 to that time). Of every array only the columns up to the step in question are read.
    final : array (member,)
        Final loss. NaN and infinity count as high: these runs diverged.
    at : int or sequence of int
        Steps at which to predict; each must be in ``time``.
    time : sequence of int, optional
        Steps of the columns; taken from a Dataset's coordinate, 0, 1, 2 ... otherwise.
    until : int, optional
        Step of the final loss, to which the power law is continued; the last one of ``time`` when left out.
    window : int
        Steps of the window over which sharpness is averaged.
    high : "median" or float
        Which runs count as high: those above the median final loss of the exploring part, or the share with the
        largest, 0.2 for the worst fifth.
    explore : float
        Share of runs that explore.
    level : float
        Confidence level of the intervals.
    seed : int
        Of the split.

    Returns
    -------
    xarray.Dataset
        With dimensions (indicator, time): ``auc`` on held-out runs with ``auc_low`` and ``auc_high``, ``auc_explore``
        (on the runs on which the direction was chosen), ``direction`` (+1: high goes with high), ``gain``: what the
        indicator adds to the area of a logistic model of all baselines, with ``gain_low`` and ``gain_high`` (NaN for
        baselines), ``baseline`` (1 or 0), ``status``. With dimension (time,): ``auc_baselines``, that model's area.
        Attributes say how many runs of either kind there were and how many had diverged.

    Raises
    ------
    ArgumentError
        For arrays that do not fit, steps that were not recorded, fewer than 8 runs in a part, final losses that are
        all the same, numbers out of range, and indicators with the name of a baseline that is made here
        (``power_law``, ``window_sharpness``).

    Notes
    -----
    Areas have DeLong's variance; intervals are taken on the logit's scale (:func:`separatrix.tangent.roc.interval`),
    for gains on the plain one. Intervals are for one number each: who looks at many should correct for their number.
    Baselines: loss, gradient norm and sharpness at the step, sharpness averaged over the window, and a power law
    through the loss (:func:`separatrix.tangent.early_signs.early_signs`). Before a logistic model is fitted, each
    number is replaced by the normal quantile of its rank among the exploring runs: losses spread over many decades.

    Examples
    --------
    >>> import numpy as np, separatrix as sx
    >>> rng = np.random.default_rng(0)
    >>> final = rng.lognormal(size=200)
    >>> loss = np.exp(-np.arange(50) / 20) + 0.1 * final[:, None]
    >>> found = sx.predict({"loss": loss, "noise": rng.normal(size=(200, 50))}, final, at=40)
    >>> found.auc.sel(indicator="loss").item(), bool(found.gain_low.sel(indicator="noise") > 0)
    (1.0, False)
    """
    arrays, steps = _read(history, time)
    for name, value, least in (("window", window, 1), ("seed", seed, 0)):
        whole(name, int(value) if isinstance(value, np.integer) else value, least)
    if not isinstance(level, int | float) or not 0 < level < 1:
        raise ArgumentError("level", repr(level), "give a number between 0 and 1, such as 0.95")
    final = np.asarray(final, dtype=np.float64)
    members = len(arrays["loss"])
    if final.shape != (members,):
        raise ArgumentError("final", f"shape {final.shape}", f"one final loss for each of {members} runs")
    chosen = _places(at, steps)
    exploring = _split(members, explore, seed)
    label, threshold = _labels(final, high, exploring)
    last = steps[-1] if until is None else until
    if not isinstance(last, int | np.integer | float) or not last >= steps[max(chosen)]:
        raise ArgumentError("until", repr(until), f"the step of the final loss, from {steps[max(chosen)]} on")
    rows = []
    for place in chosen:
        seen = {name: values[:, : place + 1] for name, values in arrays.items()}
        rows.append(_judge(early_signs(seen, steps[: place + 1], window, float(last)), label, exploring, level))
    names, baselines = rows[0]["names"], rows[0]["baseline"]
    dims = ("indicator", "time")
    data: dict[str, Any] = {
        name: (dims, np.stack([row[name] for row in rows], axis=1), {"long_name": text})
        for name, text in _TEXTS.items()
    }
    data["auc_baselines"] = (("time",), np.array([row["all"] for row in rows]))
    data["baseline"] = (("indicator",), baselines.astype(np.int8))
    flags = {"flag_values": np.arange(len(FLAGS), dtype=np.int8), "flag_meanings": " ".join(FLAGS)}
    data["status"] = (dims, np.stack([row["status"] for row in rows], axis=1).astype(np.int8), flags)
    attrs = {
        "form": "area under the ROC curve on held-out runs",
        "method": "directions, threshold and logistic weights from the exploring runs; DeLong's variance",
        "runs_exploring": int(exploring.sum()),
        "runs_held_out": int((~exploring).sum()),
        "high_held_out": int(label[~exploring].sum()),
        "diverged": int((~np.isfinite(final)).sum()),
        "threshold": threshold,
        "level": level,
        "provenance": provenance("predict", at=[int(steps[p]) for p in chosen], window=window, high=high, seed=seed),
    }
    coords: dict[str, Any] = {
        "indicator": (("indicator",), names),
        "time": (("time",), steps[chosen], {"units": "step"}),
    }
    return build(data, coords, attrs)


_TEXTS = {
    "auc": "area under the ROC curve, held-out runs",
    "auc_low": "lower end of its confidence interval",
    "auc_high": "upper end of its confidence interval",
    "auc_explore": "area under the ROC curve, exploring runs",
    "direction": "+1 if high values go with high final loss, as found on exploring runs",
    "gain": "area of all baselines and this indicator, less that of all baselines",
    "gain_low": "lower end of its confidence interval",
    "gain_high": "upper end of its confidence interval",
}


def _read(history: Mapping[str, Any] | xr.Dataset, time: Any) -> tuple[dict[str, Any], Any]:
    coords = getattr(history, "coords", {})
    names = list(getattr(history, "data_vars", history))
    if time is None and "time" in coords:
        time = np.asarray(coords["time"])
    arrays = {}
    for name in names:
        dims = getattr(history[name], "dims", None)
        if dims is not None and tuple(dims) != ("member", "time"):
            remedy = "every variable must be (member, time): choose one index, as in lyapunov.history.sel(index=1)"
            raise ArgumentError("history", f"{name} with dimensions {tuple(dims)}", remedy)
        arrays[str(name)] = np.asarray(history[name], dtype=np.float64)
    made = [name for name in ("power_law", "window_sharpness") if name in arrays]
    if made:
        raise ArgumentError("history", made[0], "that is made here, from the loss or the sharpness: give another name")
    if "loss" not in arrays:
        raise ArgumentError("history", f"{', '.join(arrays) or 'nothing'}", 'it must have "loss", the baseline of all')
    shape = arrays["loss"].shape
    wrong = [name for name, values in arrays.items() if values.ndim != 2 or values.shape != shape]
    if wrong or not all(shape):
        sizes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
        raise ArgumentError("history", sizes, "arrays (member, time) of one shape")
    steps = np.arange(shape[1]) if time is None else np.asarray(time)
    if steps.shape != shape[1:] or (np.diff(steps) <= 0).any():
        raise ArgumentError("time", f"{steps.shape} steps", f"{shape[1]} rising steps, one for each column")
    return arrays, steps


def _places(at: Sequence[int] | int, steps: Any) -> list[int]:
    wanted = np.atleast_1d(np.asarray(at))
    places = np.searchsorted(steps, wanted).clip(0, len(steps) - 1)
    missing = wanted[steps[places] != wanted]
    if len(missing) or not len(wanted):
        got = f"step {missing[0]}" if len(missing) else "no step"
        raise ArgumentError("at", got, f"steps that were recorded, from {steps[0]} to {steps[-1]}")
    return [int(place) for place in places]


def _split(members: int, explore: float, seed: int) -> Any:
    count = round(members * explore) if 0 < explore < 1 else 0
    if min(count, members - count) < 8:
        got = f"{members} runs, {count} of them to explore"
        raise ArgumentError("explore", got, "at least 8 runs must explore and 8 be held out")
    exploring = np.zeros(members, dtype=bool)
    exploring[np.random.default_rng(seed).permutation(members)[:count]] = True
    return exploring


def _labels(final: Any, high: float | str, exploring: Any) -> tuple[Any, float]:
    filled = np.where(np.isfinite(final), final, np.inf)
    if high == "median":
        share = 0.5
    elif isinstance(high, float) and 0 < high < 1:
        share = high
    else:
        raise ArgumentError("high", repr(high), '"median", or the share of runs that count as high, between 0 and 1')
    ordered = np.sort(filled[exploring])
    # rounded, as 100 * (1 - 0.7) is above 30
    threshold = float(ordered[max(math.ceil(round(len(ordered) * (1 - share), 9)) - 1, 0)])
    label = (filled > threshold) | np.isinf(filled)
    if not label[exploring].any() or label[exploring].all():
        got = f"{len(np.unique(filled))} different values, {int(np.isinf(filled).sum())} of them not finite"
        raise ArgumentError("final", got, "final losses that differ, or another share as high")
    return label, threshold


def _judge(signs: Signs, label: Any, exploring: Any, level: float) -> dict[str, Any]:
    """Everything at one step."""
    held = ~exploring
    # a baseline is NaN where a run has diverged, which is the most that a loss can say
    values = np.where(np.isnan(signs.values), np.where(signs.baseline, np.inf, -np.inf)[:, None], signs.values)
    explored = areas(values[:, exploring], label[exploring]).auc
    direction = np.where(explored < 0.5, -1.0, 1.0)
    found = areas(direction[:, None] * values[:, held], label[held])
    low, high = np.array([interval(a, v, level) for a, v in zip(found.auc, np.diag(found.covariance), strict=True)]).T
    base = np.flatnonzero(signs.baseline)
    beside = np.array([[*base, j] for j in np.flatnonzero(~signs.baseline)], dtype=int)
    models = np.stack([_logistic(values[rows], label, exploring) for rows in (base, *beside)])
    both = areas(models, label[held])
    gain, gain_low, gain_high = np.full((3, len(values)), math.nan)
    reach = _quantile(level) * np.sqrt(
        np.maximum(both.covariance[0, 0] + np.diag(both.covariance) - 2 * both.covariance[0], 0.0)
    )
    new = ~signs.baseline
    gain[new] = both.auc[1:] - both.auc[0]
    gain_low[new], gain_high[new] = gain[new] - reach[1:], gain[new] + reach[1:]
    status = np.where(np.isnan(signs.values).any(1), 2, 0)
    status = np.where((values == values[:, :1]).all(1), 1, status)
    status = np.where(np.isnan(found.auc), 3, status)
    return {
        "names": list(signs.names),
        "baseline": signs.baseline,
        "auc": found.auc,
        "auc_low": low,
        "auc_high": high,
        "auc_explore": np.maximum(explored, 1 - explored),
        "direction": direction,
        "gain": gain,
        "gain_low": gain_low,
        "gain_high": gain_high,
        "all": both.auc[0],
        "status": status,
    }


def _logistic(values: Any, label: Any, exploring: Any) -> Any:
    """Scores of held-out runs by a logistic model of exploring ones."""
    from scipy.stats import norm
    from sklearn.linear_model import LogisticRegression

    ordered = np.sort(values[:, exploring], axis=1)
    count = ordered.shape[1]
    ranks = [
        (np.searchsorted(row, x, "left") + np.searchsorted(row, x, "right")) / 2
        for row, x in zip(ordered, values, strict=True)
    ]
    features = norm.ppf((np.stack(ranks).T + 0.5) / (count + 1))
    model = LogisticRegression(max_iter=1000).fit(features[exploring], label[exploring])
    return model.decision_function(features[~exploring])


def _quantile(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + level / 2))
