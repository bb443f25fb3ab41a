"""Coefficients against numpy and scipy one network at a time, closed forms, and what is known of their bias."""

import math

import numpy as np
import pytest
from scipy import stats

from separatrix.geometry.coefficients import (
    CoefficientStatus,
    adjusted,
    aggregate,
    expansion,
    halves,
    regression_to_the_mean,
    ricci_coefficient,
    select_k,
)
from separatrix.results.errors import ArgumentError


@pytest.fixture
def sums():
    rng = np.random.default_rng(0)
    return rng.integers(10**6, 10**8, (4, 3, 11)), -rng.integers(10**8, 10**9, (4, 3, 11))


def correlated(c, shape, seed=0):
    """Independent layers whose two sums have correlation c."""
    g, own = np.random.default_rng(seed).standard_normal((2, *shape))
    return g, c * g + math.sqrt(1 - c * c) * own


def test_expansion_is_exact_in_integers_and_undefined_beside_a_cut_layer():
    big = 2**60
    assert expansion(np.array([big, big + 1, big])).tolist() == [1, -1]
    assert np.isnan(expansion([np.inf, np.inf, 1.0, np.nan, 3.0])).all()
    for bad in (3.0, [1.0]):
        with pytest.raises(ArgumentError, match="two layers"):
            expansion(bad)


def test_coefficient_is_numpys_on_every_network(sums):
    g, ric = sums
    found = ricci_coefficient(g, ric)
    assert found.rho.shape == (4, 3) and (found.points == 10).all() and (found.status == 0).all()
    for at in np.ndindex(4, 3):
        assert found.rho[at] == pytest.approx(np.corrcoef(np.diff(g[at]), ric[at][:-1])[0, 1], abs=1e-13)
    ranks = ricci_coefficient(g // 10**6, ric // 10**7, kind="spearman").rho
    for at in np.ndindex(4, 3):
        twin = stats.spearmanr(np.diff(g[at] // 10**6), ric[at][:-1] // 10**7).statistic
        assert ranks[at] == pytest.approx(twin, abs=1e-13)


def test_the_last_curvature_does_not_matter_and_units_do_not(sums):
    g, ric = sums
    rho = ricci_coefficient(g, ric).rho
    other = ric.copy()
    other[..., -1] = 7
    assert np.array_equal(ricci_coefficient(g, other).rho, rho)
    assert np.allclose(ricci_coefficient(2 * g + 5, -3.5 * ric).rho, -rho, atol=1e-12)


def test_flow_and_its_reverse_are_perfect():
    ric = np.array([-5.0, -9.0, -2.0, -7.0, 0.0])
    g = np.concatenate([[100.0], 100 + np.cumsum(-2 * ric[:-1])])
    found = ricci_coefficient([g, -g], [ric, ric])
    assert found.rho.tolist() == [-1, 1] and (found.status == CoefficientStatus.PERFECT).all()


def test_what_has_no_coefficient_has_a_status():
    up, ric = np.arange(5) ** 2, np.array([3, 1, 4, 1, 5])
    cases = {
        CoefficientStatus.CONSTANT_EXPANSION: (np.arange(5), ric),
        CoefficientStatus.CONSTANT_CURVATURE: (up, np.array([2, 2, 2, 2, 9])),
        CoefficientStatus.FEW_POINTS: (up[:3], ric[:3]),
        CoefficientStatus.UNDEFINED: (np.array([1, 2, np.nan, 3, 5]), ric),
    }
    for flag, (g, r) in cases.items():
        found = ricci_coefficient(g, r)
        assert np.isnan(found.rho) and found.status == flag
    # steps that are equal but for rounding
    wobbly = np.array([0.1, 0.1 + 0.2, 0.5, 0.7, 0.9])
    assert ricci_coefficient(wobbly, ric).status == CoefficientStatus.CONSTANT_EXPANSION
    # and steps that differ by one in a hundred million are not
    assert ricci_coefficient(10**8 * np.arange(5) + [0, 0, 0, 1, 0], ric).status == 0


def test_dropping_steps_equals_the_correlation_of_the_rest(sums):
    g, ric = (v[0, 0].astype(float) for v in sums)
    g[4] = np.inf
    found = ricci_coefficient(g, ric, missing="drop")
    keep = [0, 1, 2, 5, 6, 7, 8, 9]
    assert found.rho == pytest.approx(np.corrcoef(np.diff(sums[0][0, 0])[keep], ric[keep])[0, 1], abs=1e-13)
    assert found.points == 8 and found.status == CoefficientStatus.DROPPED
    assert ricci_coefficient(g * np.nan, ric, missing="drop").status == CoefficientStatus.UNDEFINED


def test_both_adjusted_forms():
    rho = np.array([-0.9, 0.3])
    assert np.array_equal(adjusted(rho, 5, "paper"), adjusted(rho, 5, "standard"))
    assert np.allclose(adjusted(rho, 11, "standard"), 7 * adjusted(rho, 11, "paper"))
    assert adjusted(0.5, 8, "standard") == pytest.approx(2 * 0.5 * math.log(3))
    assert adjusted([-1.0, 1.0], 11).tolist() == [-math.inf, math.inf]
    assert np.allclose(adjusted(rho, [5, 11]), [adjusted(-0.9, 5), adjusted(0.3, 11)])
    for arguments, name in (((0.5, 4), "layers"), ((0.5, 5, "fisher"), "form")):
        with pytest.raises(ArgumentError) as caught:
            adjusted(*arguments)
        assert caught.value.argument == name


def test_regression_to_the_mean_is_exact_over_all_pairs_of_layers():
    g, ric = np.array([1.0, 5.0, 2.0, 8.0, 4.0]), np.array([-3.0, -1.0, -6.0, -2.0, -5.0])
    found = regression_to_the_mean(g, ric)
    assert found.correlation == pytest.approx(np.corrcoef(g, ric)[0, 1], abs=1e-14)
    # every ordered pair of layers, each with itself too, is independence of this layer and the next
    now, then = np.meshgrid(range(5), range(5))
    exact = np.corrcoef((g[then] - g[now]).ravel(), ric[now].ravel())[0, 1]
    assert found.bias == pytest.approx(exact, abs=1e-14)


def test_layers_without_any_flow_have_negative_coefficients():
    g, ric = correlated(0.9, (20_000, 11))
    rho = ricci_coefficient(g, ric).rho
    # measured beside the theory: -0.9/sqrt(2) = -0.636 for the population, -0.65 for 10 pairs, 99.7 % negative
    assert rho.mean() == pytest.approx(-0.65, abs=0.01) and (rho < 0).mean() == pytest.approx(0.997, abs=0.002)
    assert regression_to_the_mean(g.ravel(), ric.ravel()).bias == pytest.approx(-0.9 / math.sqrt(2), abs=0.005)
    # with few layers the mean of -c/sqrt(2) is nearer to zero than that of the coefficient
    g, ric = g[:, :5], ric[:, :5]
    assert ricci_coefficient(g, ric).rho.mean() == pytest.approx(-0.65, abs=0.01)
    assert regression_to_the_mean(g, ric).bias.mean() == pytest.approx(-0.62, abs=0.01)


def test_aggregate_pools_whole_networks(sums):
    g, ric = sums[0].astype(float), sums[1]
    g[1, 2, 3] = np.nan
    found = aggregate(g, ric)
    eta = np.diff(g)
    for i, members in enumerate(([0, 1, 2], [0, 1], [0, 1, 2], [0, 1, 2])):
        twin = np.corrcoef(eta[i, members].ravel(), ric[i, members, :-1].ravel())[0, 1]
        assert found.rho[i] == pytest.approx(twin, abs=1e-13)
        assert found.members[i] == len(members) and found.points[i] == 10 * len(members)
    lost = aggregate(np.full((3, 5), np.nan), np.ones((3, 5)))
    assert np.isnan(lost.rho) and lost.members == 0 and lost.status == CoefficientStatus.UNDEFINED


def test_centring_takes_away_what_differs_between_networks():
    g, ric = correlated(0.0, (30, 11), seed=3)
    drift = np.linspace(0, 50, 30)[:, None]
    g, ric = g - drift * np.arange(11), ric + drift
    assert aggregate(g, ric).rho < -0.99
    eta = np.diff(g) - np.diff(g).mean(1, keepdims=True)
    within = ric[:, :-1] - ric[:, :-1].mean(1, keepdims=True)
    twin = np.corrcoef(eta.ravel(), within.ravel())[0, 1]
    assert aggregate(g, ric, centred=True).rho == pytest.approx(twin, abs=1e-12) and abs(twin) < 0.2


def test_weights_are_repetitions(sums):
    g, ric = (v.reshape(12, 11) for v in sums)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=5)
    for centred in (False, True):
        found = aggregate(g, ric, weights=counts, centred=centred)
        for row, rho, members in zip(counts, found.rho, found.members, strict=True):
            again = np.repeat(np.arange(12), row)
            assert rho == pytest.approx(float(aggregate(g[again], ric[again], centred=centred).rho), abs=1e-12)
            assert members == 12
    for bad in ([1.0, -1.0, *[0] * 10], [1, 2], 1.0):
        with pytest.raises(ArgumentError, match="weights"):
            aggregate(g, ric, weights=bad)


def test_the_chosen_k_is_judged_on_other_networks():
    rng = np.random.default_rng(5)
    g, ric = rng.standard_normal((2, 200, 12, 20, 11))
    on = halves(20, seed=1)
    found = select_k(g, ric, on=on)
    assert on.sum() == 10 and found.place.shape == (200,) and found.curve.shape == (200, 12)
    assert np.array_equal(found.rho, found.curve.min(-1))
    one = found.place[7]
    assert found.held_out[7] == pytest.approx(float(aggregate(g[7, one][~on], ric[7, one][~on]).rho), abs=1e-13)
    # noise has a k that it likes, and other noise does not share the liking
    assert found.rho.mean() < -0.12 and abs(found.held_out.mean()) < 0.02
    everyone = select_k(g, ric)
    assert np.isnan(everyone.held_out).all() and (everyone.rho < 0).all()
    nowhere = select_k(np.full((2, 3, 5), np.nan), np.ones((2, 3, 5)))
    assert nowhere.place == -1 and np.isnan(nowhere.rho)
    # the others do have coefficients, but there is no choice to judge
    g, ric = rng.standard_normal((2, 3, 6, 5))
    g[:, :3] = np.nan
    undecided = select_k(g, ric, on=np.arange(6) < 3)
    assert undecided.place == -1 and np.isnan(undecided.held_out)


def test_bad_arguments(sums):
    g, ric = sums
    cases = [
        (lambda: ricci_coefficient(g, ric[..., 1:]), "ric"),
        (lambda: ricci_coefficient(g, ric, missing="zero"), "missing"),
        (lambda: ricci_coefficient(g, ric, kind="kendall"), "kind"),
        (lambda: aggregate(g[0, 0], ric[0, 0]), "g"),
        (lambda: select_k(g[0, :2], ric[0, :2]), "g"),
        (lambda: select_k(g, ric, on=[0, 1, 1]), "on"),
        (lambda: halves(1), "members"),
    ]
    for call, name in cases:
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.argument == name
