"""Exponents with a known answer, and invariants."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.testing import dense_jacobian, dense_stretches

METHODS = ["chain-forward", "chain-reverse", "chain-graded", "forward", "reverse", "loop"]


def linear(*matrices):
    layers = []
    for matrix in matrices:
        layer = nn.Linear(matrix.shape[1], matrix.shape[0], dtype=torch.float64)
        layer.weight.data = matrix.clone()
        layers.append(layer)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_network_has_the_singular_values_of_its_product(method):
    gen = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(*s, generator=gen, dtype=torch.float64) for s in ((5, 4), (5, 5), (3, 5)))
    x = torch.randn(6, 4, generator=gen, dtype=torch.float64)
    field = sx.ftle(linear(a, b, c), x, layers="all", k="all", method=method, directions=True)
    assert field.method == method
    for place, product in enumerate([a, b @ a, c @ b @ a]):
        exact = torch.linalg.svdvals(product).log()
        have = len(exact)
        np.testing.assert_allclose(field.stretch[0, place, :, :have], exact.expand(6, have), atol=1e-12)
        assert (field.stretch[0, place, :, have:] == -math.inf).all()
        right = torch.from_numpy(field.right[0, place, :, :have].values)
        left = torch.from_numpy(field.left[0, place, :, :have, : len(product)].values)
        pushed = torch.einsum("nd,pkd->pkn", product, right)
        torch.testing.assert_close(pushed, left * exact.exp()[:, None], atol=1e-10, rtol=0)
    assert field.duration.values.tolist() == [1, 2, 3]
    np.testing.assert_allclose(field.exponent[0, 2, :, 0], exact[0] / 3, atol=1e-12)


def test_one_tanh_neuron_has_its_closed_form():
    w, threshold = torch.tensor([[1.5, -2.0]], dtype=torch.float64), 0.3
    model = nn.Sequential(nn.Linear(2, 1, dtype=torch.float64), nn.Tanh())
    model[0].weight.data, model[0].bias.data = w, torch.tensor([-threshold], dtype=torch.float64)
    grid = sx.grid((-1, 1), (-1, 1), shape=(21, 31))
    field = sx.ftle(model, grid)
    u = (grid.points() @ w[0] - threshold).reshape(21, 31)
    exact = math.log(2.5) - 2 * torch.log(torch.cosh(u))
    np.testing.assert_allclose(field.stretch[0, 0, :, :, 0], exact, atol=1e-12)
    cosine = field.direction[0, 0].values @ (w[0] / 2.5).numpy()
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-12)
    assert np.isinf(field.gap).all()


@pytest.mark.parametrize(
    ("activation", "loss"), [(nn.Sigmoid(), "probability"), (None, "logit")], ids=["probability", "logit"]
)
def test_gaussian_classes(activation, loss):
    # two classes N(mu_k, s^2 I): the optimal logit is alpha r, with r the distance to the mid plane
    mu, s = torch.tensor([[0.4, -0.2], [-0.5, 0.7]], dtype=torch.float64), 0.6
    normal = (mu[1] - mu[0]) / s**2
    alpha = float(normal.norm())
    model = nn.Sequential(nn.Linear(2, 1, dtype=torch.float64), *([activation] if activation else []))
    model[0].weight.data = normal[None]
    model[0].bias.data = -(normal @ mu.mean(0))[None]
    grid = sx.grid((-2, 2), (-2, 2), shape=(15, 15))
    r = (grid.points() - mu.mean(0)) @ normal / alpha
    exact = (
        math.log(alpha / 4) - 2 * torch.log(torch.cosh(alpha * r / 2))
        if activation
        else torch.full_like(r, math.log(alpha))
    )
    np.testing.assert_allclose(sx.ftle(model, grid).stretch.values.ravel(), exact, atol=1e-12)


def test_rotating_the_input_turns_v1_only():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    c, s = math.cos(0.4), math.sin(0.4)
    rotation = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    turned = nn.Sequential(nn.Linear(2, 2, bias=False), model).double()
    turned[0].weight.data = rotation.T
    x = torch.randn(9, 2, dtype=torch.float64)
    before = sx.ftle(model, x, k=2, directions=True)
    after = sx.ftle(turned, x @ rotation.T, k=2, directions=True)
    np.testing.assert_allclose(before.stretch, after.stretch, atol=1e-12)
    overlap = np.einsum("pkd,pkd->pk", before.right[0, 0].values @ rotation.T.numpy(), after.right[0, 0].values)
    np.testing.assert_allclose(np.abs(overlap), 1, atol=1e-12)


def test_scale_is_the_unit_of_the_input():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.randn(50, 3, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.1])
    units = torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64)
    inside = nn.Sequential(nn.Linear(3, 3, bias=False), model).double()
    inside[0].weight.data = torch.diag(units)
    for method in METHODS:
        field = sx.ftle(model, x[:5], scale=units, k="all", method=method)
        np.testing.assert_allclose(field.stretch, sx.ftle(inside, x[:5] / units, k="all").stretch, atol=1e-11)
    same = sx.ftle(model, x, scale="std")
    np.testing.assert_allclose(same.stretch, sx.ftle(model, x, scale=x.std(0, correction=0)).stretch, atol=1e-12)
    np.testing.assert_allclose(
        sx.ftle(model, x, scale=10.0).stretch - sx.ftle(model, x).stretch, math.log(10), atol=1e-12
    )


def test_a_coordinate_with_scale_zero_is_not_perturbed():
    a = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    field = sx.ftle(linear(a), torch.zeros(1, 2, dtype=torch.float64), scale=[0.0, 1.0], k=2)
    np.testing.assert_allclose(field.stretch[0, 0, 0, 0], math.log(2), atol=1e-14)
    assert field.stretch[0, 0, 0, 1] == -math.inf


def test_the_wide_first_layer_is_reduced_exactly():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(60, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    x = torch.randn(8, 60, dtype=torch.float64)
    for method in ("chain-forward", "chain-reverse", "chain-graded"):
        fast = sx.ftle(model, x, layers="all", k="all", directions=True, method=method)
        slow = sx.ftle(model, x, layers="all", k="all", directions=True, method="reverse")
        good = np.isfinite(slow.stretch.values)
        np.testing.assert_allclose(fast.stretch.values[good], slow.stretch.values[good], atol=1e-11)
        overlap = np.abs(np.einsum("mlpkd,mlpkd->mlpk", fast.right.values, slow.right.values))
        np.testing.assert_allclose(overlap[good], 1, atol=1e-8)


def test_a_plane_shows_full_exponents_and_the_part_of_v1_in_it():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    plane = sx.plane.through(*torch.randn(3, 5, dtype=torch.float64), shape=(6, 7))
    field = sx.ftle(model, plane, layers="all", directions=True)
    points = sx.ftle(model, plane.points(), layers="all", directions=True)
    np.testing.assert_allclose(field.stretch.values.reshape(2, 42), points.stretch.values.reshape(2, 42), atol=1e-12)
    projected = points.right[0, ..., 0, :].values @ field.basis.values.T
    shown = field.direction.values.reshape(2, 42, 2)
    np.testing.assert_allclose(np.abs((projected * shown).sum(-1)), (projected**2).sum(-1), atol=1e-10)


def test_deep_float32_stacks_neither_overflow_nor_lose_the_second_exponent():
    gen = torch.Generator().manual_seed(0)
    q = [torch.linalg.qr(torch.randn(4, 4, generator=gen, dtype=torch.float64))[0] for _ in range(101)]
    # a product with known singular values: each factor is Q[i+1] diag Q[i]'
    stretchy = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5], dtype=torch.float64))
    layers = [m.float() for m in (q[i + 1] @ stretchy @ q[i].T for i in range(100))]
    model = linear(*layers).float()
    for layer in model:
        layer.weight.data = layer.weight.data.float()
    field = sx.ftle(model, torch.zeros(2, 4), layers=["49", "output"], k=4)
    per_layer = np.log([4.0, 2.0, 1.0, 0.5])
    # the float32 rounding of the matrices themselves moves ln sigma by about 1e-7 a layer
    np.testing.assert_allclose(field.stretch[0, 0], np.tile(50 * per_layer, (2, 1)), atol=2e-4)
    np.testing.assert_allclose(field.stretch[0, 1], np.tile(100 * per_layer, (2, 1)), atol=2e-4)
    assert field.recomputed_points == 2 and (field.status == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_chain_may_begin_with_an_activation(method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    field = sx.ftle(model, x, layers=["0", "2", "output"], k=2, method=method)
    for place, part in enumerate((model[:1], model[:3], model)):
        jacobians = torch.stack([torch.autograd.functional.jacobian(part, p) for p in x])
        np.testing.assert_allclose(field.stretch[0, place], torch.linalg.svdvals(jacobians)[:, :2].log(), atol=1e-12)


def test_infinite_and_extreme_states_stay_apart():
    # -inf before a ReLU is a state like any other, and its unit is off
    model = nn.Sequential(nn.Linear(2, 2, dtype=torch.float64), nn.ReLU(), nn.Linear(2, 1, dtype=torch.float64))
    model[0].weight.data = torch.tensor([[1e200, 0.0], [0.0, 1.0]], dtype=torch.float64)
    model[2].weight.data = torch.ones(1, 2, dtype=torch.float64)
    x = torch.tensor([[-1e200, 1.0], [1.0, 1.0]], dtype=torch.float64)
    for method in ("chain-forward", "chain-reverse", "forward", "reverse"):
        stretch = sx.ftle(model, x, method=method).stretch.values.ravel()
        np.testing.assert_allclose(stretch, [0.0, 200 * math.log(10)], atol=1e-12)


def test_duration_can_be_given():
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    field = sx.ftle(model, torch.zeros(1, 2), layers="all", duration=[1.0, 0.5])
    assert field.duration.values.tolist() == [1.0, 0.5]
    np.testing.assert_allclose(field.exponent[0, 1], field.stretch[0, 1] * 2)


@pytest.mark.parametrize("method", ["chain-forward", "chain-reverse", "forward"])
def test_a_first_layer_of_two_units_on_a_plane_of_a_wider_space(method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 2), nn.Tanh(), nn.Linear(2, 3)).double()
    where = sx.plane(*torch.randn(3, 5).double(), x=(-1, 1), y=(-1, 1), shape=4)
    field = sx.ftle(model, where, k=2, method=method)
    exact = dense_stretches(model, where.points())
    np.testing.assert_allclose(field.stretch.values.reshape(-1, 2), exact[:, :2], atol=1e-10)
    basis = torch.stack([where.e1, where.e2], 1)
    right = torch.linalg.svd(dense_jacobian(model, where.points()))[2][:, 0]
    shown = right @ torch.linalg.pinv(basis).mT
    got = torch.from_numpy(field.direction.values.reshape(-1, 2))
    np.testing.assert_allclose((got * shown).sum(1).abs(), shown.norm(dim=1) * got.norm(dim=1), atol=1e-10)
