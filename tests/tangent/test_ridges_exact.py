"""Derivatives of the leading stretch off the grid, against differences of autograd's Jacobians."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.results.errors import ArgumentError
from separatrix.tangent.ridge_exact import ExactField
from separatrix.tangent.ridges import ridges
from separatrix.testing.twins import dense_jacobian


class Normed(nn.Module):
    """Residual, normalised, and no chain."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(4, 4), nn.Linear(4, 5), nn.LayerNorm(4)

    def forward(self, x):
        return self.b(self.norm(x + torch.tanh(self.a(x))))


def chain(*widths, act=nn.Tanh, end=()):
    parts = []
    for n, m in pairwise(widths):
        parts += [nn.Linear(n, m), act()]
    return nn.Sequential(*parts, *end)


CASES = {
    "chain": (lambda: chain(4, 6, 3), "output", None),
    "scaled": (lambda: chain(4, 6, 3, end=[nn.Linear(3, 3)]), "output", [1.0, 2.0, 0.5, 0.3]),
    "hidden layer": (lambda: chain(4, 7, 6, 2), "3#1", None),
    "scalar": (lambda: chain(4, 6, 1), "output", None),
    "rank one, five outputs": (lambda: chain(2, 1, 5), "output", None),
    "bottleneck": (lambda: chain(5, 4, 2, 6, act=nn.Softplus), "output", None),
    "softmax": (lambda: chain(3, 9, 8, act=nn.GELU, end=[nn.Softmax(dim=1)]), "output", None),
    "residual": (Normed, "output", None),
    "group norm": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(2, 6), nn.Tanh(), nn.Linear(6, 3)),
        "output",
        None,
    ),
    "instance norm": (
        lambda: nn.Sequential(
            nn.Linear(4, 8), nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, affine=True), nn.Tanh(), nn.Flatten()
        ),
        "output",
        None,
    ),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3), nn.Sigmoid()),
        "output",
        None,
    ),
}


def naive(model, x, label, scale, basis, reference):
    """ln sigma_1 and the direction in the plane, by a dense decomposition."""
    jacobian = dense_jacobian(model, x, None if label == "output" else label) * scale
    _, sigma, vh = torch.linalg.svd(jacobian)
    moved = (vh[:, 0] * scale) @ torch.linalg.pinv(basis)
    moved = moved / (moved @ basis).norm(dim=1, keepdim=True)
    return sigma[:, 0].log(), moved * torch.sign((moved * reference).sum(1, keepdim=True))


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_a_dense_twin(name):
    make, label, scale = CASES[name]
    torch.manual_seed(3)
    model = make()
    shape = (1, 3, 3) if name == "convolution" else (model.a if name == "residual" else model[0]).weight.shape[1:]
    n = int(np.prod(shape))
    basis = torch.randn(2, n, dtype=torch.float64) if n > 2 else torch.eye(2, dtype=torch.float64)
    origin = torch.randn(shape, dtype=torch.float64)
    unit = torch.ones(n, dtype=torch.float64) if scale is None else torch.tensor(scale, dtype=torch.float64)
    exact = ExactField(model, None, label, None if scale is None else unit, origin, basis, False, 10**8)
    at = torch.randn(3, 2, dtype=torch.float64)
    local = exact.at(at)
    f, direction = naive(model, exact.points(at), label, unit, basis, local.direction)
    torch.testing.assert_close(local.f, f, atol=1e-12, rtol=0)
    torch.testing.assert_close(local.direction, direction, atol=1e-11, rtol=0)
    torch.testing.assert_close(exact.stretch(at), f, atol=1e-12, rtol=0)
    h = 1e-4
    for k in range(2):
        values = []
        for times in (-2, -1, 1, 2):
            moved = at.clone()
            moved[:, k] += times * h
            values.append(naive(model, exact.points(moved), label, unit, basis, local.direction))
        first, turn = ((8 * (c - b) - (d - a)) / (12 * h) for a, b, c, d in zip(*values, strict=True))
        torch.testing.assert_close(local.gradient[:, k], first, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(local.turning[:, k], turn, atol=1e-9, rtol=1e-8)
        moved = torch.zeros(2, dtype=torch.float64)
        moved[k] = h
        ahead, behind = (exact.at(at + s * moved).gradient for s in (1, -1))
        torch.testing.assert_close(local.hessian[:, k], (ahead - behind) / (2 * h), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(local.hessian, local.hessian.mT, atol=1e-12, rtol=1e-10)


def test_chunks_do_not_matter_and_the_model_stays_as_it_was():
    torch.manual_seed(0)
    model = chain(4, 6, 3)
    before = [p.clone() for p in model.parameters()]
    at = torch.randn(12, 2, dtype=torch.float64)
    fields = [
        ExactField(model, None, "output", None, torch.zeros(4), torch.randn(2, 4, generator=torch.manual_seed(1)), c, b)
        for c, b in ((False, 10**8), (False, 120_000), (True, 10**8))
    ]
    assert 1 < fields[1].chunk < 12 and fields[2].chunk == 1
    first = fields[0].at(at)
    for other in fields[1:]:
        for a, b in zip(first[3:5], other.at(at)[3:5], strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)
    assert all(torch.equal(a, b) and a.dtype == torch.float32 for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


class OneWay(torch.autograd.Function):
    """A function whose derivative cannot be differentiated again."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, w):
        (y,) = ctx.saved_tensors
        return w * (1 - y**2)


def test_what_has_no_second_derivative_is_refused():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 3)

        def forward(self, x):
            return OneWay.apply(self.a(x))

    exact = ExactField(Model(), None, "output", None, torch.zeros(2), torch.eye(2), False, 10**8)
    with pytest.raises(ArgumentError, match=r"model: .*three times"):
        exact.at(torch.zeros(3, 2, dtype=torch.float64))


class WrongAgain(torch.autograd.Function):
    """tanh with its own derivative, but a wrong second one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return torch.tanh(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output.detach())
        ctx.save_for_forward(output.detach())

    @staticmethod
    def backward(ctx, w):
        return w * (1 - ctx.saved_tensors[0] ** 2)

    @staticmethod
    def jvp(ctx, w):
        return w * (1 - ctx.saved_tensors[0] ** 2)


def test_wrong_second_derivatives_are_noticed():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.b(WrongAgain.apply(self.a(x)))

    torch.manual_seed(0)
    model = Model()
    field = sx.ftle(model, sx.grid((-1, 1), (-1, 1), shape=21))
    assert ridges(field).attrs["status"] == "ok"
    with pytest.raises(ArgumentError, match=r"model: .*derivatives of higher order are wrong"):
        ridges(field, model=model)
