"""Early prediction of the final loss, beside what simpler numbers foretell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.results.dataset import build
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.tangent.early_signs import BASELINES, early_signs
from separatrix.tangent.held_out import judge, labels, split
from separatrix.tangent.predict_arguments import numbers, places, read

if TYPE_CHECKING:
    import xarray as xr

FLAGS = ("ok", "constant", "missing_values", "one_class")
"""Meanings of ``status``: an indicator that is one number for all runs, one with NaN (which counts as least, and in a
baseline as largest, where it is a run that has diverged), and a half of the runs in which all have the same label."""


def predict(
    history: Any,
    final: Any,
    *,
    at: Any,
    time: Any = None,
    until: Any = None,
    window: int = 100,
    high: float | str = "median",
    explore: Any = 0.5,
    folds: bool = True,
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
        Names to arrays or tensors (member, time), the latter detached: ``loss``, which must be there;
        ``gradient_norm`` and ``sharpness``, which are baselines if there; all others are indicators, as they stand at
        each time (such as exponents of the window from 0 to that time). Of every array only the columns up to the step
        in question are read.
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
    folds : bool
        Whether the logistic models hold, beside each baseline, its fold: the distance of a run's rank from the middle
        of the exploring runs' ranks. Without folds they are monotone in each baseline, and an indicator that is a
        function of the loss or of the sharpness alone, but no monotone one, adds to them: ln |1 - eta h| is one of the
        sharpness h.
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
        Attributes say how many runs of either kind there were and how many had diverged; ``baselines`` names those that
        ``gain`` and ``auc_baselines`` are of, ``baselines_missing`` those whose arrays were not given.

    Raises
    ------
    ArgumentError
        For what is no mapping of arrays of numbers, arrays that do not fit, steps that were not recorded, fewer than 8
        runs in a part, final losses that are all the same, numbers out of range, and indicators with the name of a
        baseline that is made here (``power_law``, ``window_sharpness``).

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
    arrays, steps = read(history, time)
    window, seed = whole("window", window, 1), whole("seed", seed, 0)
    if not isinstance(level, int | float) or not 0 < level < 1:
        raise ArgumentError("level", repr(level), "give a number between 0 and 1, such as 0.95")
    members = len(arrays["loss"])
    remedy = f"one final loss for each of {members} runs"
    final = numbers("final", final, "values", remedy).astype(np.float64)
    if final.shape != (members,):
        raise ArgumentError("final", f"shape {final.shape}", remedy)
    chosen = places(at, steps)
    exploring = split(members, explore, seed)
    label, threshold = labels(final, high, exploring)
    last = steps[-1] if until is None else until
    real = isinstance(last, int | float | np.integer | np.floating) and not isinstance(last, bool)
    if not real or not steps[max(chosen)] <= last < np.inf:
        raise ArgumentError("until", repr(until), f"the step of the final loss, from {steps[max(chosen)]} on")
    rows = []
    for place in chosen:
        seen = {name: values[:, : place + 1] for name, values in arrays.items()}
        signs = early_signs(seen, steps[: place + 1], window, float(last))
        rows.append(judge(signs, label, exploring, level, bool(folds)))
    names, baselines = rows[0]["names"], rows[0]["baseline"]
    dims = ("indicator", "time")
    data: dict[str, Any] = {
        name: (dims, np.stack([row[name] for row in rows], axis=1), {"long_name": text})
        for name, text in _TEXTS.items()
    }
    data["auc_baselines"] = (("time",), np.array([row["all"] for row in rows]))
    data["baseline"] = (("indicator",), baselines.astype(np.int8))
    data["status"] = (dims, np.stack([row["status"] for row in rows], axis=1).astype(np.int8), flag_attrs(FLAGS))
    attrs = {
        "form": "area under the ROC curve on held-out runs",
        "method": "directions, threshold and logistic weights from the exploring runs; DeLong's variance",
        "runs_exploring": int(exploring.sum()),
        "runs_held_out": int((~exploring).sum()),
        "high_held_out": int(label[~exploring].sum()),
        "diverged": int((~np.isfinite(final)).sum()),
        "threshold": threshold,
        "baselines": ", ".join(names[: baselines.sum()]),
        "baselines_missing": ", ".join(name for name in BASELINES if name not in names) or "none",
        "level": level,
        "provenance": provenance(
            "predict", at=[int(steps[p]) for p in chosen], window=window, high=high, folds=bool(folds), seed=seed
        ),
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
