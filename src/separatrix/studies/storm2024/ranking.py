"""How well one number ranks another: area under the ROC curve and rank correlation, with bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

LEVEL = 0.95
INTERVAL = "95 % bootstrap interval"

Scores = Float[ndarray, " n"]
Rows = Int[ndarray, "resample n"]


def resamples(n: int, count: int, seed: int) -> Rows:
    """Rows drawn with replacement, (count, n); one set serves all scores of the same images, which pairs them."""
    return np.random.default_rng(seed).integers(0, n, (count, n), dtype=np.int32)


def auc(score: Scores, positive: Bool[ndarray, " n"]) -> float:
    """Probability that a positive scores above a negative, ties by half; NaN where one of the two is missing."""
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return math.nan
    return float(roc_auc_score(positive, score))


def auc_resampled(score: Scores, positive: Bool[ndarray, " n"], rows: Rows) -> Float[ndarray, " resample"]:
    """The same of every resample, by how often each image occurs in it: one sort for all of them."""
    order = np.argsort(score, kind="stable")
    place = np.empty(len(score), dtype=np.int64)
    place[order] = np.arange(len(score))
    ordered, truth = score[order], positive[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    found = np.empty(len(rows))
    for i, chosen in enumerate(rows):
        counts = np.bincount(place[chosen], minlength=len(score)).astype(float)
        up = np.add.reduceat(np.where(truth, counts, 0.0), begins)
        down = np.add.reduceat(np.where(truth, 0.0, counts), begins)
        pairs = up.sum() * down.sum()
        found[i] = up @ (np.cumsum(down) - down / 2) / pairs if pairs else math.nan
    return found


def spearman(a: Scores, b: Scores) -> float:
    """Rank correlation of the pairs without NaN; NaN where one of the two is constant."""
    return float(_rank_correlations(a[None], b[None])[0])


def spearman_resampled(a: Scores, b: Scores, rows: Rows) -> Float[ndarray, " resample"]:
    """The same of every resample, ranked anew."""
    blocks = np.array_split(rows, max(1, rows.size // 500_000))
    return np.concatenate([_rank_correlations(a[block], b[block]) for block in blocks])


def spearman_shuffled(a: Scores, b: Scores, count: int, seed: int) -> Float[ndarray, " count"]:
    """The same with the first of the two in random order: what there is where there is no relation."""
    from scipy.stats import rankdata

    rng = np.random.default_rng(seed)
    x, y = rankdata(a), rankdata(b)
    x, y = x - x.mean(), y - y.mean()
    return np.array([rng.permutation(x) @ y for _ in range(count)]) / math.sqrt(float(x @ x) * float(y @ y))


def log10_p(rho: float, n: int) -> float:
    """Decimal logarithm of the two-sided p of a rank correlation of n pairs, also where p itself is 0 in float64.

    By Student's t with n - 2 degrees of freedom, as ``scipy.stats.spearmanr`` has it; far out by the power series of
    the incomplete beta function that p is: I_x(a, b) with x = 1 - rho^2, a = n/2 - 1, b = 1/2.
    """
    from scipy.special import betaln
    from scipy.stats import t

    if n < 3 or math.isnan(rho):
        return math.nan
    if abs(rho) >= 1:
        return -math.inf
    x, a, b = 1 - rho * rho, n / 2 - 1, 0.5
    if a * math.log(x) > -600:
        return math.log10(2 * float(t.sf(abs(rho) * math.sqrt((n - 2) / x), n - 2)))
    k = np.arange(math.ceil(-40 / math.log(x)) + 1)
    series = np.cumprod(np.where(k, (a + b + k - 1) / (a + k) * x, 1.0)).sum()
    log = a * math.log(x) + b * math.log(1 - x) - math.log(a) - betaln(a, b) + math.log(series)
    return float(log) / math.log(10)


def interval(samples: Float[ndarray, " resample"], value: float) -> tuple[float, float] | None:
    """Percentiles that enclose 95 % of the resamples, widened to hold the value; None where there is no number."""
    kept = samples[np.isfinite(samples)]
    if not len(kept) or not math.isfinite(value):
        return None
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return min(float(low), value), max(float(high), value)


def _rank_correlations(a: Float[ndarray, "row n"], b: Float[ndarray, "row n"]) -> Float[ndarray, " row"]:
    """Rank correlation of every row; pairs with NaN are left out."""
    from scipy.stats import rankdata

    hole = np.isnan(a) | np.isnan(b)
    x, y = (rankdata(np.where(hole, np.nan, v), axis=1, nan_policy="omit") for v in (a, b))
    count = np.maximum(1, (~hole).sum(1, keepdims=True))
    x, y = (np.where(hole, 0.0, v - np.nansum(v, 1, keepdims=True) / count) for v in (x, y))
    size = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, (x * y).sum(1) / size, np.nan)
