"""Permutation nulls against plain loops, and against what is known of layers without a flow."""

import itertools
import math

import numpy as np
import pytest

from separatrix.geometry.coefficients import ricci_coefficient
from separatrix.geometry.nulls import arrangements, permute_layers, permute_pairs
from separatrix.results.errors import ArgumentError


def corr(a, b):
    return np.corrcoef(a, b)[0, 1] if np.ptp(a) and np.ptp(b) else math.nan


def loop(g, ric, orders):
    """Coefficients of one network with its pairs, and with its layers, in other orders."""
    pairs = [corr(ric[:-1][list(p)], np.diff(g)) for p in orders(len(g) - 1)]
    layers = [corr(ric[list(p)][:-1], np.diff(g[list(p)])) for p in orders(len(g))]
    return np.array(pairs), np.array(layers)


@pytest.mark.parametrize("layers", [4, 5, 6])
def test_all_permutations_are_counted(layers):
    rng = np.random.default_rng(layers)
    g, ric = rng.integers(0, 50, (2, 3, 2, layers))
    nulls = permute_pairs(g, ric), permute_layers(g, ric)
    assert [n.permutations for n in nulls] == [math.factorial(layers - 1), math.factorial(layers)]
    rho = ricci_coefficient(g, ric).rho
    for at in np.ndindex(3, 2):
        twins = loop(g[at].astype(float), ric[at].astype(float), lambda n: itertools.permutations(range(n)))
        for null, values in zip(nulls, twins, strict=True):
            values = values[~np.isnan(values)]
            assert null.exact and null.p[at] == pytest.approx((values <= rho[at] + 1e-9).mean(), abs=1e-12)
            assert null.mean[at] == pytest.approx(values.mean(), abs=1e-12)
            assert null.negative[at] == pytest.approx((values < -1e-9).mean(), abs=1e-12)


def test_drawn_permutations_are_those_of_the_seed():
    rng = np.random.default_rng(2)
    g, ric = rng.standard_normal((2, 40, 11))
    for null, count in ((permute_pairs, 10), (permute_layers, 11)):
        found = null(g, ric, draws=99, seed=4)
        orders, exact = arrangements(count, 99, 4)
        assert not exact and not found.exact and found.permutations == 99 and len(orders) == 100
        assert np.array_equal(orders[0], np.arange(count))
        place = 0 if null is permute_pairs else 1
        for i in (0, 39):
            values = loop(g[i], ric[i], lambda n, o=orders: o if n == o.shape[1] else [range(n)])[place]
            rho = ricci_coefficient(g[i], ric[i]).rho
            assert found.p[i] == pytest.approx((values <= rho + 1e-9).sum() / 100, abs=1e-12)
            assert found.mean[i] == pytest.approx(values[1:].mean(), abs=1e-12)
        again = null(g, ric, draws=99, seed=5)
        assert np.array_equal(null(g, ric, draws=99, seed=4).p, found.p) and not np.array_equal(again.p, found.p)


def test_pairs_have_mean_zero_and_a_least_p():
    ric = np.array([-5.0, -9.0, -2.0, -7.0, 0.0])
    g = np.concatenate([[0.0], np.cumsum(-ric[:-1])])
    null = permute_pairs(g, ric)
    assert null.p == pytest.approx(1 / 24) and null.mean == pytest.approx(0, abs=1e-15)
    assert permute_pairs(g[::-1].copy(), np.array([-7.0, -2.0, -9.0, -5.0, 0.0])).p == pytest.approx(1.0)


def test_sums_in_which_identity_is_nearly_constant_still_find_themselves():
    g, ric = 10**8 * np.arange(5) + [0, 0, 0, 1, 0], np.array([-3, -1, -4, -1, -5])
    rho = ricci_coefficient(g, ric).rho
    values = loop(g.astype(float), ric.astype(float), lambda n: itertools.permutations(range(n)))[1]
    assert permute_layers(g, ric).p == pytest.approx((values <= rho + 1e-6).mean(), abs=1e-12)


def test_only_the_order_null_carries_regression_to_the_mean():
    g, own = np.random.default_rng(7).standard_normal((2, 1500, 11))
    ric = 0.9 * g + math.sqrt(1 - 0.81) * own
    pairs, layers = permute_pairs(g, ric, draws=199), permute_layers(g, ric, draws=199)
    # without a flow: an association all the same, but nothing in the order, whose p is uniform
    assert (pairs.p < 0.05).mean() > 0.5 and pairs.mean.mean() == pytest.approx(0, abs=0.02)
    assert layers.mean.mean() == pytest.approx(-0.65, abs=0.02) and layers.negative.mean() > 0.97
    for level in (0.05, 0.25, 0.5, 0.75):
        assert (layers.p <= level).mean() == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 1500))
    independent = permute_pairs(g, own, draws=199)
    assert (independent.p <= 0.1).mean() == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / 1500))


def test_networks_without_a_coefficient_have_no_p():
    g, ric = np.tile(np.arange(5.0) ** 2, (4, 1)), np.tile([3.0, 1.0, 4.0, 1.0, 5.0], (4, 1))
    g[1, 2], ric[2], g[3] = np.nan, 7.0, np.arange(5)
    for null in (permute_pairs, permute_layers):
        found = null(g, ric)
        for values in (found.p, found.mean, found.negative):
            assert np.isnan(values).tolist() == [False, True, True, True]


def test_bad_draws(as_user):
    for draws in (0, 1.5, True):
        with pytest.raises(ArgumentError, match="draws"):
            permute_pairs(np.arange(5.0) ** 2, np.arange(5.0), draws=draws)
