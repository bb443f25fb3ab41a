"""Weights so large or small that products underflow or overflow: bounds hold there as well."""

from fractions import Fraction
from math import prod

import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.certificates.gains.gain import Gain, verified_gain
from separatrix.certificates.gains.layer_norms import euclidean, weighted_rate
from separatrix.certificates.gains.sectors import Sectors, slope_sectors
from separatrix.certificates.gains.small_gain import Gains, gains
from separatrix.certificates.planar.region_cover import Incomplete, region_cover
from separatrix.certificates.problem import Problem
from separatrix.certificates.verified import spectral_norm
from separatrix.systems.lure import lure


def chain(*weights):
    """A network of one component, w_k relu(... w_1 x)."""
    parts = []
    for weight in weights:
        layer = nn.Linear(1, 1, bias=False).double().requires_grad_(False)
        layer.weight.fill_(weight)
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


UNDERFLOWING = [(1e-165, 1e153, 1e13), (1e-165, 1e-165, 1e150, 1e150, 1e31), (1e-200, 1e-200, 1e200, 1e201)]


def test_norms_of_small_matrices_are_bounds():
    for size in (1e-150, 1e-165, 1e-200, 1e-290):
        A = size * torch.tensor([[3.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
        assert float(spectral_norm(A)) >= 5 * size
        assert float(spectral_norm(torch.zeros_like(A), A.abs())) >= 5 * size
    assert 5e200 <= float(spectral_norm(1e200 * A / size)) <= 6e200


@pytest.mark.parametrize("weights", UNDERFLOWING)
def test_products_of_norms_do_not_underflow(weights):
    f = chain(*weights)
    assert prod(map(Fraction, weights)) == pytest.approx(10)
    network = lure(f, (1,))
    assert euclidean(network, slope_sectors(network), 1) >= 10 * (1 - 1e-12)
    assert verified_gain(network, slope_sectors(network), 1, {"way": "layer norms", "rate": 0.5}) is None


@pytest.mark.parametrize("weights", UNDERFLOWING)
@pytest.mark.parametrize("statement", ["contraction", "stability", "boundedness"])
def test_slopes_of_ten_are_never_certified_to_shrink(weights, statement):
    f = chain(*weights)
    assert sx.certify(f, statement, budget=3).verdict != "certified"
    assert sx.certify(f, "lipschitz", budget=3).bound >= 10 * (1 - 1e-12)


def test_rates_with_weights_below_the_least_normal_number():
    # rows whose parts all round to nothing: (M w)_0 is 1.8 w_0
    M = torch.full((11, 11), 0.12, dtype=torch.float64)
    M[0, 0] = 0.6
    w = torch.full((11,), 1e-323, dtype=torch.float64)
    assert weighted_rate(M, w) >= 1.8
    # where nothing is lost it costs nothing
    assert weighted_rate(M, torch.ones_like(w)) == pytest.approx(1.8)


def test_sizes_in_a_metric_do_not_underflow():
    P = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    bound = torch.tensor([1e-170, 1e-170], dtype=torch.float64)
    assert 3**0.5 * 1e-170 <= Gain("metric", "P", 0.5, P=P).size(bound) <= 1.74e-170
    assert Gain("metric", "P", 0.5, P=P).size(torch.zeros_like(bound)) <= 1e-299


def test_linear_parts_that_underflow_stay_within_their_radius():
    network = lure(chain(1e-150, 1e150, 1e202), (1,))
    tiny = torch.full((1,), 1e-200, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    seen = gains(network, Sectors([tiny, one], [tiny, one]), 1)
    exact = Fraction(1)
    for part in (1e-150, 1e-200, 1e150, 1e202):
        exact *= Fraction(part)
    assert abs(exact - Fraction(float(seen.C))) <= Fraction(float(seen.C_radius))


def test_multipliers_that_underflow_stay_within_the_radius():
    zeros, eye = torch.zeros(2, 3, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    # t times the small one is lost, and times the large one again it is not
    N = torch.tensor([[1e-160, 1e150, 0.0]], dtype=torch.float64)
    t = torch.full((1,), 1e-170, dtype=torch.float64)
    S, radius = Gains(2, zeros, zeros, N, 0 * N, torch.zeros(1, dtype=torch.long)).slack(eye, eye, t, 0.0)
    exact = -Fraction(1e-170) * Fraction(1e-160) * Fraction(1e150)
    for value, room in ((S[0, 1], radius[0, 1]), (S[1, 0], radius[1, 0])):
        assert abs(exact - Fraction(float(value))) <= Fraction(float(room))


def test_rates_that_overflow_are_no_errors():
    f = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False)).double()
    with torch.no_grad():
        f[0].weight.copy_(1e280 * torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, -1.0]]).double())
        f[2].weight.copy_(0.3 * torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0], [2.0, 0.0, 1.0]]).double())
    for statement in ("contraction", "stability", "boundedness"):
        assert sx.certify(f, statement, budget=3).verdict != "certified"
    network = lure(f, (3,))
    eye = torch.eye(3).double()
    seen = gains(network, slope_sectors(network), 3)
    assert not seen.proves(eye, eye, torch.ones(3).double(), 1e200)


def test_corners_that_underflow_are_not_moved():
    network = lure(lambda x: torch.relu(x), (2,))
    none = torch.zeros(0, dtype=torch.float64)
    box = tuple(torch.tensor(side, dtype=torch.float64) for side in ([-1.0, -1.0], [1e-200, 1e250]))
    with pytest.raises(Incomplete, match="too thin"):
        region_cover(Problem(network, 2, 0, box, (none, none)))
