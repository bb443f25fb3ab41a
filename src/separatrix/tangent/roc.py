"""Areas under ROC curves, with their covariance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


class Areas(NamedTuple):
    """What :func:`areas` returns."""

    auc: Float[ndarray, " score"]
    covariance: Float[ndarray, "score score"]


def areas(scores: Float[ndarray, "score n"], positive: Bool[ndarray, " n"]) -> Areas:
    """Areas under the ROC curves of several scores of the same cases, and the covariance of these estimates.

    The area is the probability that a positive scores above a negative, ties by half (Mann and Whitney). The covariance
    is that of DeLong, DeLong and Clarke-Pearson, Biometrics 44, 837 (1988), from midranks as Sun and Xu compute them,
    IEEE Signal Process. Lett. 21, 1389 (2014).

    Parameters
    ----------
    scores : array (score, n)
        Infinities are ranked like all others.
    positive : array (n,)

    Returns
    -------
    Areas
        NaN throughout where there is no positive or no negative case; covariances need two of each.

    Notes
    -----
    Cost: three sorts for each score.
    """
    from scipy.stats import rankdata

    up, down = scores[:, positive], scores[:, ~positive]
    m, n = up.shape[1], down.shape[1]
    count = len(scores)
    if not m or not n:
        return Areas(np.full(count, math.nan), np.full((count, count), math.nan))
    both = rankdata(np.concatenate([up, down], axis=1), axis=1)
    # for each positive the share of negatives below it, and for each negative that of positives above
    below = (both[:, :m] - rankdata(up, axis=1)) / n
    above = 1 - (both[:, m:] - rankdata(down, axis=1)) / m
    auc = below.mean(1)
    if m < 2 or n < 2:
        return Areas(auc, np.full((count, count), math.nan))
    return Areas(auc, np.atleast_2d(np.cov(below)) / m + np.atleast_2d(np.cov(above)) / n)


def interval(auc: float, variance: float, level: float) -> tuple[float, float]:
    """Confidence interval of an area on the scale of its logit, so that it stays between 0 and 1.

    At 0, at 1, and where the estimated variance is 0 there is no such scale: then NaN.
    """
    from scipy.special import expit
    from scipy.stats import norm

    if not (0 < auc < 1 and variance > 0):
        return math.nan, math.nan
    reach = float(norm.ppf(0.5 + level / 2)) * math.sqrt(variance) / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    return float(expit(logit - reach)), float(expit(logit + reach))
