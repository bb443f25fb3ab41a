"""Weights with bounded norms: the bound that each one claims, before, during and after training."""

import copy
import io
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from separatrix.results.errors import ArgumentError
from separatrix.systems import parametrizations as px

SHAPES = [(2, 2), (8, 8), (3, 7), (7, 3), (1, 4), (4, 1), (1, 1)]
DTYPES = [torch.float32, torch.float64]


def layer(shape, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(shape[1], shape[0], dtype=dtype)


def matrix(module):
    return module.weight.detach().double().numpy()


def singular(module):
    return np.linalg.svd(matrix(module), compute_uv=False)


def holds_spectral(module, slack):
    s = singular(module)
    assert 0.3 - slack <= s.min() and s.max() <= 0.9 + slack


def holds_orthogonal(module, slack):
    assert np.abs(singular(module) - 1).max() <= slack


def holds_pf(module, slack):
    A = matrix(module)
    assert A.min() >= 0
    assert 0.3 - slack <= A.sum(0).min() and np.linalg.norm(A, 1) <= 0.9 + slack
    if A.shape[0] == A.shape[1]:
        assert 0.3 - slack <= np.abs(np.linalg.eigvals(A)).max() <= 0.9 + slack


def holds_gershgorin(lo, hi):
    def check(module, slack):
        A = matrix(module)
        mean, r, most = (lo + hi) / 2, (hi - lo) / 2, max(abs(lo), abs(hi))
        assert np.abs(np.linalg.eigvals(A) - mean).max() <= r + slack
        assert max(np.linalg.norm(A, p) for p in (1, 2, np.inf)) <= most + slack
        if lo * hi > 0:
            assert singular(module).min() >= min(abs(lo), abs(hi)) - slack

    return check


MAPS = {
    "spectral": (lambda m: px.spectral(m, lo=0.3, hi=0.9), holds_spectral, SHAPES),
    "orthogonal": (px.orthogonal, holds_orthogonal, SHAPES),
    "perron_frobenius": (lambda m: px.perron_frobenius(m, lo=0.3, hi=0.9), holds_pf, SHAPES),
    **{
        f"gershgorin {lo} {hi} {kind}": (
            lambda m, lo=lo, hi=hi, kind=kind: px.gershgorin(m, lo=lo, hi=hi, complex=kind == "complex"),
            holds_gershgorin(lo, hi),
            [s for s in SHAPES if s[0] == s[1]],
        )
        for (lo, hi), kind in itertools.product([(0.0, 1.0), (-1.5, -1.1), (-0.5, 0.7)], ["real", "complex"])
    },
}
CASES = [(name, shape) for name, (_, _, shapes) in MAPS.items() for shape in shapes]


def train(module, steps, rate, scale=1.0):
    """Steps that push every entry of the weight away, far beyond any bound."""
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    torch.manual_seed(1)
    goal = scale * torch.randn(module.weight.shape, dtype=module.weight.dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        (module.weight - goal).square().sum().backward()
        optimizer.step()
    return module


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_bound_holds_before_and_after_training(name, shape, dtype):
    make, holds, _ = MAPS[name]
    slack = 40 * torch.finfo(dtype).eps * max(shape)
    module = make(layer(shape, dtype))
    assert module.weight.shape == shape and module.weight.dtype == dtype
    holds(module, slack)
    before = matrix(module)
    train(module, 20, 0.3, scale=50.0)
    after = matrix(module)
    assert np.isfinite(after).all()
    holds(module, slack)
    if max(shape) > 1:  # 1 x 1: nothing to turn, and the range may be used up
        assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_random_parameters_stay_within_the_bound(name, shape):
    make, holds, _ = MAPS[name]
    module = make(layer(shape))
    torch.manual_seed(2)
    for spread in (0.0, 1.0, 30.0):
        with torch.no_grad():
            for p in module.parametrizations.parameters():
                p.copy_(spread * torch.randn_like(p))
        holds(module, 1e-12 * max(1.0, spread) * max(shape))


@pytest.mark.parametrize("name", [name for name in MAPS if name != "orthogonal"])
def test_gradients_are_those_of_differences(name):
    module = MAPS[name][0](layer((2, 2) if "gershgorin" in name else (3, 2)))
    free = [p.detach().clone().requires_grad_() for p in module.parametrizations.weight.parameters()]
    inner = module.parametrizations.weight[0]
    assert torch.autograd.gradcheck(lambda *p: inner(*p), free)


@pytest.mark.parametrize("name", MAPS)
def test_state_copies_and_moves(name):
    make, holds, shapes = MAPS[name]
    module = train(make(layer(shapes[1])), 3, 0.1)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = make(layer(shapes[1], seed=7))
    assert not np.allclose(matrix(other), matrix(module))
    other.load_state_dict(torch.load(file, weights_only=True))
    np.testing.assert_array_equal(matrix(other), matrix(module))
    twin = copy.deepcopy(module)
    train(twin, 5, 0.1)
    np.testing.assert_array_equal(matrix(other), matrix(module))
    assert not np.allclose(matrix(twin), matrix(module))
    single = copy.deepcopy(module).to(torch.float32)
    assert single.weight.dtype == torch.float32
    holds(single, 1e-4)
    np.testing.assert_allclose(matrix(single), matrix(module), atol=1e-5)
    assert other.to("meta").weight.device.type == "meta"


@pytest.mark.parametrize("name", [name for name in MAPS if name != "orthogonal"])
def test_a_weight_within_the_range_is_kept(name):
    """Registration and assignment change nothing that the map can reach."""
    make, _, shapes = MAPS[name]
    for shape in shapes[:4]:
        source = train(make(layer(shape)), 2, 0.02)
        with torch.no_grad():  # off the ends of the range
            for p in source.parametrizations.weight.parameters():
                p.mul_(0.3)
        wanted = source.weight.detach().clone()
        plain = nn.Linear(shape[1], shape[0], dtype=torch.float64)
        plain.weight = nn.Parameter(wanted.clone())
        registered = make(plain)
        np.testing.assert_allclose(matrix(registered), wanted, atol=1e-13)
        assigned = make(layer(shape, seed=3))
        assigned.weight = wanted
        np.testing.assert_allclose(matrix(assigned), wanted, atol=1e-13)


@pytest.mark.parametrize("name", ["orthogonal", "spectral"])
def test_weight_decay_leaves_the_bound(name):
    """Torch's default map for rectangular weights fails here: its columns become zero."""
    make, holds, _ = MAPS[name]
    module = make(layer((5, 3)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=1.0)
    for _ in range(30):
        optimizer.zero_grad()
        module.weight.sum().backward()
        optimizer.step()
    holds(module, 1e-13)


def test_both_orientations_are_reached():
    """Reflections alone would give every square weight a positive determinant."""
    for seed in range(6):
        plain = layer((3, 3), seed=seed)
        sign = np.sign(np.linalg.det(matrix(plain)))
        assert np.sign(np.linalg.det(matrix(px.spectral(plain, lo=0.3, hi=0.9)))) == sign


def test_a_removed_parametrisation_leaves_its_weight():
    module = px.perron_frobenius(layer((3, 5)))
    expected = matrix(module)
    parametrize.remove_parametrizations(module, "weight")
    np.testing.assert_array_equal(matrix(module), expected)
    assert type(module) is nn.Linear


def test_singular_vectors_are_kept_at_registration():
    plain = layer((5, 3))
    U, s, Vh = np.linalg.svd(matrix(plain), full_matrices=False)
    found = matrix(px.spectral(plain, lo=0.0, hi=2.0))
    np.testing.assert_allclose(U.T @ found @ Vh.T, np.diag(np.clip(s, 0.02, 1.98)), atol=1e-13)


def test_perron_frobenius_does_not_bound_the_two_norm():
    """A column-stochastic matrix that sends two inputs to one output: 1-norm 1, 2-norm sqrt(2)."""
    module = px.perron_frobenius(layer((2, 2)), lo=1.0, hi=1.0)
    module.weight = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert np.linalg.norm(matrix(module), 1) == pytest.approx(1, abs=1e-15)
    assert math.sqrt(2) - 0.02 < np.linalg.norm(matrix(module), 2) < math.sqrt(2)
    mixed = px.perron_frobenius(layer((2, 8)), lo=1.0, hi=1.0)
    assert np.linalg.norm(matrix(mixed), 1) == pytest.approx(1, abs=1e-14) and singular(mixed).max() > 1


def test_column_stochastic_relu_conserves_the_sum_on_a_ray_of_equilibria():
    torch.manual_seed(4)
    parts = []
    for _ in range(3):
        parts += [px.perron_frobenius(nn.Linear(2, 2, bias=False, dtype=torch.float64), lo=1.0, hi=1.0), nn.ReLU()]
    net, x = nn.Sequential(*parts), torch.rand(50, 2, dtype=torch.float64) * 6
    with torch.no_grad(), parametrize.cached():
        total = x.sum(1)
        for _ in range(60):
            x = net(x)
        np.testing.assert_allclose(x.sum(1), total, rtol=1e-12)
        np.testing.assert_allclose(net(x), x, atol=1e-12)
        direction = x / total[:, None]
        np.testing.assert_allclose(direction, direction[:1].expand_as(x), atol=1e-12)
        np.testing.assert_allclose(net(17 * x), 17 * x, rtol=1e-12)


def test_gershgorin_can_be_complex_in_two_dimensions():
    module = px.gershgorin(layer((2, 2)), lo=0.0, hi=1.0, complex=True)
    with torch.no_grad():
        module.parametrizations.weight.original.copy_(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(np.linalg.eigvals(matrix(module)), [0.5 + 0.25j, 0.5 - 0.25j], atol=1e-15)
    real = px.gershgorin(layer((4, 4)), lo=-1.0, hi=1.0)
    np.testing.assert_array_equal(matrix(real), matrix(real).T)


@pytest.mark.parametrize("make", [px.spectral, px.perron_frobenius, px.gershgorin])
def test_a_range_of_one_point(make):
    module = make(layer((3, 3)), lo=0.7, hi=0.7)
    train(module, 3, 0.1)
    A = matrix(module)
    if make is px.gershgorin:
        np.testing.assert_array_equal(A, 0.7 * np.eye(3))
    else:
        np.testing.assert_allclose(np.linalg.norm(A, 1 if make is px.perron_frobenius else 2), 0.7, rtol=1e-13)


@pytest.mark.parametrize("make", [px.spectral, px.orthogonal, px.perron_frobenius, px.gershgorin])
def test_hostile_arguments(make, as_user):
    def refused(argument, module, *more, **named):
        with pytest.raises(ArgumentError) as caught:
            make(module, *more, **named)
        assert caught.value.argument == argument, caught.value

    refused("module", "net")
    refused("name", layer((2, 2)), "wieght")
    refused("name", layer((2, 2)), 3)
    refused("name", layer((2, 2)), "bias")
    refused("name", nn.Conv2d(2, 2, 3))
    refused("name", layer((2, 2), torch.bfloat16))
    refused("name", layer((2, 2), torch.complex64))
    refused("name", nn.ReLU())
    refused("name", make(layer((2, 2))))
    broken = layer((2, 2))
    broken.weight.data[0, 0] = math.nan
    refused("name", broken)
    if make is px.orthogonal:
        return
    refused("lo", layer((2, 2)), lo=1.0, hi=0.5)
    refused("lo", layer((2, 2)), lo=math.nan, hi=0.5)
    refused("lo", layer((2, 2)), lo=0.5, hi=math.inf)
    refused("lo", layer((2, 2)), lo="low", hi=1.0)
    if make is px.gershgorin:
        refused("name", layer((2, 3)))
    else:
        refused("lo", layer((2, 2)), lo=-0.5, hi=1.0)
        refused("lo", layer((2, 2)), lo=0.0, hi=0.0)
    fresh = layer((2, 2))
    assert not parametrize.is_parametrized(fresh)
