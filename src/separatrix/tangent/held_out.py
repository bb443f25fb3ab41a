"""What indicators foretell on held-out runs, with everything chosen on the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from separatrix.results.errors import ArgumentError
from separatrix.tangent.early_signs import Signs
from separatrix.tangent.roc import areas, interval


def split(members: int, explore: Any, seed: int) -> Any:
    """Which runs explore, (member,), at random.

    Raises
    ------
    ArgumentError
        For what is no number, and for fewer than 8 runs in a part.
    """
    if not isinstance(explore, int | float | np.floating):
        raise ArgumentError("explore", repr(explore), "give the share of runs that explore, such as 0.5")
    count = round(members * explore) if 0 < explore < 1 else 0
    if min(count, members - count) < 8:
        got = f"{members} runs, {count} of them to explore"
        raise ArgumentError("explore", got, "at least 8 runs must explore and 8 be held out")
    exploring = np.zeros(members, dtype=bool)
    exploring[np.random.default_rng(seed).permutation(members)[:count]] = True
    return exploring


def labels(final: Any, high: float | str, exploring: Any) -> tuple[Any, float]:
    """Which runs end high, (member,), and the threshold, from the exploring ones; what is not finite is high.

    Raises
    ------
    ArgumentError
        If ``high`` is neither "median" nor a share, or all exploring runs would have one label.
    """
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


def judge(signs: Signs, label: Any, exploring: Any, level: float, folds: bool) -> dict[str, Any]:
    """Areas on held-out runs and gains over a model of the baselines, at one step.

    Parameters
    ----------
    signs : Signs
    label : array (member,)
        Which runs end high.
    exploring : array (member,)
        Which runs choose directions and weights.
    level : float
        Of intervals.
    folds : bool
        Whether the model holds a :func:`fold` of every baseline, too.

    Returns
    -------
    dict
        Arrays (name,), and under ``all`` the area of the model of the baselines.
    """
    held = ~exploring
    # a baseline is NaN where a run has diverged, which is the most that a loss can say
    values = np.where(np.isnan(signs.values), np.where(signs.baseline, np.inf, -np.inf)[:, None], signs.values)
    explored = areas(values[:, exploring], label[exploring]).auc
    direction = np.where(explored < 0.5, -1.0, 1.0)
    found = areas(direction[:, None] * values[:, held], label[held])
    low, high = np.array([interval(a, v, level) for a, v in zip(found.auc, np.diag(found.covariance), strict=True)]).T
    base = np.flatnonzero(signs.baseline)
    beside = np.array([[*base, j] for j in np.flatnonzero(~signs.baseline)], dtype=int)
    folded = [fold(row, exploring) for row in values[base]] if folds else []
    models = np.stack([_logistic([*values[rows], *folded], label, exploring) for rows in (base, *beside)])
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


def fold(values: Any, exploring: Any) -> Any:
    """Distance of each run's rank among the exploring runs from the middle one, (member,)."""
    return np.abs(_ranks(values, exploring) - exploring.sum() / 2)


def _ranks(values: Any, exploring: Any) -> Any:
    """Rank of each run among the exploring ones, from 0 to their number; ties share theirs."""
    ordered = np.sort(values[exploring])
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def _logistic(values: Any, label: Any, exploring: Any) -> Any:
    """Scores of held-out runs by a logistic model of exploring ones."""
    from scipy.stats import norm
    from sklearn.linear_model import LogisticRegression

    ranks = np.stack([_ranks(row, exploring) for row in values], axis=1)
    features = norm.ppf((ranks + 0.5) / (exploring.sum() + 1))
    model = LogisticRegression(max_iter=1000).fit(features[exploring], label[exploring])
    return model.decision_function(features[~exploring])


def _quantile(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + level / 2))
