"""Gains in several norms against pairs of points, and against what is known of them."""

import pytest
import torch
from torch import nn

from separatrix.certificates.gains.gain import ellipsoid_reach, find_gain, verified_gain
from separatrix.certificates.gains.layer_norms import comparison, euclidean, perron
from separatrix.certificates.gains.sectors import slope_sectors
from separatrix.certificates.gains.small_gain import gains

ACTIVATIONS = [nn.ReLU, nn.GELU, nn.SELU, nn.Tanh, nn.Sigmoid, nn.Softplus]


def pairs(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = 10 ** (4 * torch.rand(2000, 1, generator=generator, dtype=torch.float64) - 2)
    x = size * torch.randn(2000, n, generator=generator, dtype=torch.float64)
    far = 10 ** (6 * torch.rand(2000, 1, generator=generator, dtype=torch.float64) - 5)
    return x, x + far * torch.randn(2000, n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["best", "1", "2", "inf", "P"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_pair_is_stretched_more(problem, net, activation, norm):
    f = net([3, 9, 6, 3], activation, gain=0.8, seed=7)
    p = problem(f, 3)
    sectors = slope_sectors(p.network)
    gain, _ = find_gain(p.network, sectors, 3, norm=norm, seconds=20.0)
    x, y = pairs(3)
    ratio = gain.of(f(x) - f(y)) / gain.of(x - y)
    assert float(ratio.max()) <= gain.rate * (1 + 1e-9)
    again = verified_gain(p.network, sectors, 3, gain.data())
    assert again is not None
    assert again.norm == gain.norm
    assert verified_gain(p.network, sectors, 3, {**gain.data(), "rate": 0.99 * gain.rate}) is None
    # as torch computes the plain norms
    plain = {"1": 1, "2": 2, "inf": torch.inf}.get(norm)
    if plain:
        assert torch.allclose(gain.of(x), torch.linalg.vector_norm(x, plain, dim=-1))


def test_layer_norms_are_the_product_for_chains(problem, net):
    f = net([3, 8, 5, 3], nn.SELU, seed=1)
    p = problem(f, 3)
    weights = [layer.weight for layer in f if isinstance(layer, nn.Linear)]
    product = 1.7580993408473766**2
    for weight in weights:
        product *= float(torch.linalg.matrix_norm(weight, 2))
    assert euclidean(p.network, slope_sectors(p.network), 3) == pytest.approx(product, rel=1e-6)


def test_comparison_is_the_product_of_sizes_for_chains(problem, net):
    f = net([3, 8, 3], nn.ReLU, seed=1)
    p = problem(f, 3)
    sectors = slope_sectors(p.network)
    M = comparison(p.network, sectors, gains(p.network, sectors, 3))
    whole = f[2].weight.abs() @ f[0].weight.abs()
    assert bool((whole * (1 + 1e-8) >= M).all())
    # through the middles: the linear half keeps its signs
    other = 0.5 * (f[2].weight @ f[0].weight).abs() + 0.5 * whole
    assert torch.allclose(M, torch.minimum(whole, other), rtol=1e-7)


def test_damping_is_seen_in_residual_maps(problem):
    """x - 0.1 tanh(x): the sizes of slopes add up to more than 1, and through the middle to 1."""
    p = problem(lambda x: x - 0.1 * torch.tanh(x) - 0.01 * x, 1)
    sectors = slope_sectors(p.network)
    M = comparison(p.network, sectors, gains(p.network, sectors, 1))
    assert float(M) == pytest.approx(0.99, abs=1e-6)
    assert euclidean(p.network, sectors, 1) == pytest.approx(1.09, abs=1e-6)


def test_perron_weights_reach_the_spectral_radius():
    M = torch.tensor([[0.1, 0.9, 0.0], [0.2, 0.1, 0.3], [0.4, 0.0, 0.2]], dtype=torch.float64)
    w, rate = perron(M)
    assert rate == pytest.approx(float(torch.linalg.eigvals(M).abs().max()), rel=1e-6)
    assert bool((w > 0).all())
    w, rate = perron(torch.tensor([[0.5, 4.0], [0.0, 0.5]], dtype=torch.float64))
    assert 0.5 <= rate < 0.51
    assert perron(torch.zeros(2, 2, dtype=torch.float64))[1] < 1e-6


def test_reach_of_an_ellipsoid():
    P = torch.tensor([[2.0, 0.7], [0.7, 1.0]], dtype=torch.float64)
    exact = torch.linalg.inv(P).diagonal().sqrt()
    found = ellipsoid_reach(P)
    assert bool((found >= exact).all())
    assert torch.allclose(found, exact, rtol=1e-6)


@pytest.mark.parametrize("change", ["metric", "weights", "way", "shape"])
def test_changed_data_are_rejected(problem, net, change):
    p = problem(net([2, 8, 2], gain=0.8, seed=3), 2)
    sectors = slope_sectors(p.network)
    data = find_gain(p.network, sectors, 2, norm="P", seconds=20.0)[0].data()
    good = dict(data)
    if change == "metric":
        data["P"] = data["P"] * torch.tensor([[1.0, -0.5], [-0.5, 0.2]], dtype=torch.float64)
    elif change == "weights":
        data["t"] = data["t"].flip(0)
    elif change == "way":
        data["way"] = "guess"
    else:
        data["t"] = data["t"][:-1]
    assert verified_gain(p.network, sectors, 2, good) is not None
    assert verified_gain(p.network, sectors, 2, data) is None
