"""Ranking numbers against scikit-learn and scipy, resample by resample."""

import math

import mpmath
import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from separatrix.studies.storm2024.ranking import (
    auc,
    auc_resampled,
    interval,
    log10_p,
    resamples,
    spearman,
    spearman_resampled,
    spearman_shuffled,
)


@pytest.mark.parametrize("levels", [3, 10_000])
def test_resampled_area_is_that_of_every_resample_alone(levels):
    rng = np.random.default_rng(0)
    score = rng.integers(0, levels, 200).astype(float)
    positive = rng.random(200) < 1 / (1 + np.exp(1 - 2 * score / levels))
    rows = resamples(200, 20, 1)
    naive = [roc_auc_score(positive[r], score[r]) for r in rows]
    np.testing.assert_allclose(auc_resampled(score, positive, rows), naive, rtol=0, atol=1e-12)
    same = np.arange(200, dtype=np.int32)[None]
    np.testing.assert_allclose(auc_resampled(score, positive, same)[0], auc(score, positive), rtol=0, atol=1e-12)


def test_area_without_one_of_the_two_kinds_is_no_number():
    score, none = np.arange(5.0), np.zeros(5, dtype=bool)
    assert math.isnan(auc(score, none))
    assert math.isnan(auc(score, ~none))
    assert np.isnan(auc_resampled(score, none, resamples(5, 3, 0))).all()


def test_rank_correlation_is_scipys_and_leaves_out_pairs_without_a_number():
    rng = np.random.default_rng(2)
    a = rng.normal(size=300)
    b = np.round(a + rng.normal(size=300), 1)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    rows = resamples(300, 10, 3)
    naive = [spearmanr(a[r], b[r]).statistic for r in rows]
    np.testing.assert_allclose(spearman_resampled(a, b, rows), naive, rtol=0, atol=1e-12)
    holes = b.copy()
    holes[::7] = np.nan
    kept = ~np.isnan(holes)
    assert spearman(a, holes) == pytest.approx(spearmanr(a[kept], b[kept]).statistic, abs=1e-12)
    naive = [spearmanr(a[r][kept[r]], b[r][kept[r]]).statistic for r in rows]
    np.testing.assert_allclose(spearman_resampled(a, holes, rows), naive, rtol=0, atol=1e-12)
    far = np.where(a > 1.5, np.inf, a)
    assert spearman(far, b) == pytest.approx(spearmanr(np.where(a > 1.5, 99.0, a), b).statistic, abs=1e-12)
    assert math.isnan(spearman(a, np.ones(300)))


def test_shuffled_pairs_have_the_variance_of_unrelated_ones():
    """It is 1 / (n - 1) without ties."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 101))
    null = spearman_shuffled(a, b, 4000, 0)
    assert abs(null.mean()) < 4 * 0.1 / math.sqrt(4000)
    assert null.std() == pytest.approx(0.1, rel=0.06)


def test_p_is_scipys_and_goes_on_where_that_is_zero():
    rng = np.random.default_rng(4)
    a = rng.normal(size=60)
    b = a + 2 * rng.normal(size=60)
    known = spearmanr(a, b)
    assert log10_p(known.statistic, 60) == pytest.approx(math.log10(known.pvalue), abs=1e-9)
    assert log10_p(-known.statistic, 60) == log10_p(known.statistic, 60)
    with mpmath.workdps(40):
        for rho, n in ((0.57, 10_000), (0.8, 10_000), (0.999, 500)):
            exact = mpmath.log10(mpmath.betainc(n / 2 - 1, 0.5, 0, 1 - mpmath.mpf(rho) ** 2, regularized=True))
            assert log10_p(rho, n) == pytest.approx(float(exact), rel=1e-10)
    assert log10_p(0.0, 100) == pytest.approx(0.0, abs=1e-12)
    assert log10_p(1.0, 100) == -math.inf


def test_intervals_cover_what_they_should():
    """Of 300 samples of correlated pairs, about 95 % of the intervals hold the correlation of the whole."""
    rng = np.random.default_rng(5)
    rho = 6 / math.pi * math.asin(0.5 / 2)
    hits = 0
    for i in range(300):
        a = rng.normal(size=100)
        b = 0.5 * a + math.sqrt(0.75) * rng.normal(size=100)
        low, high = interval(spearman_resampled(a, b, resamples(100, 100, i)), spearman(a, b))
        hits += low <= rho <= high
    assert 0.90 <= hits / 300 <= 0.99


def test_interval_holds_its_value_or_is_none():
    assert interval(np.linspace(0, 1, 101), 5.0) == (pytest.approx(0.025), 5.0)
    assert interval(np.array([np.nan]), 0.5) is None
    assert interval(np.linspace(0, 1, 101), math.nan) is None
