"""Enclosures of networks over boxes, and Krawczyk's operator: nothing true lies outside."""

import mpmath
import pytest
import torch
from torch import nn

from separatrix.local.interval_forms import Enclosed
from separatrix.local.interval_newton import prove, step
from separatrix.systems.lure import lure

mpf = mpmath.mpf


class Residual(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.first, self.second, self.activation = nn.Linear(2, 6), nn.Linear(6, 2), activation

    def forward(self, x):
        return 0.5 * x + self.second(self.activation(self.first(x)))


ACTIVATIONS = [nn.Tanh(), nn.GELU(), nn.SiLU(), nn.Mish(), nn.SELU(), nn.Hardswish(), nn.ReLU(), nn.Softplus()]
ACTIVATIONS += [nn.ELU(2.0), nn.Softsign(), nn.Hardtanh(), nn.PReLU(6), nn.LogSigmoid(), nn.Tanhshrink(), nn.Sigmoid()]


def network(activation, scale=2.0, seed=0):
    torch.manual_seed(seed)
    net = Residual(activation).double()
    with torch.no_grad():
        for p in (*net.first.parameters(), *net.second.parameters()):
            p.mul_(scale)
    return net


def boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    c = torch.randn(2, count, generator=generator, dtype=torch.float64) * 2
    r = 10.0 ** (torch.rand(2, count, generator=generator, dtype=torch.float64) * 9 - 8)
    r[:, :3] = 0
    return c, r


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("times", [1, 3])
def test_values_and_chords_stay_inside(activation, times):
    net = network(activation)
    enclosed = Enclosed(lure(net, (2,)), times)
    c, r = boxes(60, times)
    found, slopes = enclosed(c, r), enclosed(c, r, "slopes")
    generator = torch.Generator().manual_seed(9)

    for p in net.parameters():
        p.requires_grad_(False)

    def f(x):
        for _ in range(times):
            x = net(x.T).T
        return x

    at_c = f(c)
    assert ((at_c - found.value).abs() <= found.error + 1e-13 * (1 + at_c.abs())).all()
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2)
    inner = torch.rand(60, 2, generator=generator, dtype=torch.float64) * 2 - 1
    for u in torch.cat([corners, inner]):
        x = c + u[:, None] * r
        y = f(x)
        slack = 1e-13 * (1 + y.abs())
        assert (y >= found.lo - slack).all() and (y <= found.hi + slack).all()
        for one in (found, slopes):
            predicted = one.value + torch.einsum("ijb,jb->ib", one.slope, x - c)
            room = one.error + torch.einsum("ijb,jb->ib", one.slope_radius, (x - c).abs())
            assert ((y - predicted).abs() <= room + slack).all()
    # slopes hold the derivative anywhere in the box
    x = c + torch.rand(2, 60, generator=generator, dtype=torch.float64) * r
    J = torch.stack([torch.func.jacrev(lambda a: f(a[:, None])[:, 0])(a) for a in x.T], -1)
    assert ((J - slopes.slope).abs() <= slopes.slope_radius + 1e-12 * (1 + J.abs())).all()


def test_rounding_is_inside_by_the_digits():
    """The value at a point, with 40 digits, for a network whose terms cancel."""
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 1)).double()
    with torch.no_grad():
        net[2].weight.mul_(1e6)
    found = Enclosed(lure(net, (1,)))(torch.linspace(-2, 2, 25, dtype=torch.float64)[None], torch.zeros(1, 25).double())
    with mpmath.workdps(40):
        w, b = net[0].weight[:, 0].tolist(), net[0].bias.tolist()
        v, d = net[2].weight[0].tolist(), net[2].bias.tolist()[0]
        for k, x in enumerate(torch.linspace(-2, 2, 25, dtype=torch.float64).tolist()):
            exact = mpf(d) + sum(
                mpf(p) * mpmath.tanh(mpf(q) * mpf(x) + mpf(s)) for p, q, s in zip(v, w, b, strict=True)
            )
            middle, error = mpf(float(found.value[0, k])), mpf(float(found.error[0, k]))
            assert abs(exact - middle) <= error
            assert mpf(float(found.lo[0, k])) <= exact <= mpf(float(found.hi[0, k]))
            assert error < 1e-6  # 1e-13 of the terms


@pytest.mark.parametrize("activation", ACTIVATIONS[:6], ids=lambda a: type(a).__name__)
def test_bounds_narrow_with_the_box(activation):
    enclosed = Enclosed(lure(network(activation), (2,)))
    c, _ = boxes(40, 5)
    widths = []
    for size in (1e-2, 1e-4):
        found = enclosed(c, torch.full_like(c, size))
        reach = torch.einsum("ijb,jb->ib", found.slope.abs(), torch.full_like(c, size))
        widths.append(((found.hi - found.lo) / 2 - reach).max())  # beyond the linear part
    assert widths[1] < 2e-4 * widths[0] + 1e-12  # second order


def test_a_step_says_empty_or_holds_and_never_wrongly():
    net = network(nn.Tanh(), 3.0)
    enclosed = Enclosed(lure(net, (2,)))
    generator = torch.Generator().manual_seed(7)
    x = torch.zeros(2, 1, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(200):
            J = torch.func.jacrev(lambda a: net(a[None])[0])(x[:, 0]) - torch.eye(2)
            x = x - torch.linalg.solve(J, net(x.T).T - x) * 0.5
    assert float((net(x.T).T - x).abs().max().detach()) < 1e-14
    c = x + torch.randn(2, 4000, generator=generator, dtype=torch.float64) * 0.05
    r = torch.rand(2, 4000, generator=generator, dtype=torch.float64) * 0.1
    verdict = step(enclosed(c, r), c, r)
    inside = ((x - c).abs() < r - 1e-12).all(0)
    assert not (verdict.empty & inside).any() and inside.sum() > 500
    assert ((verdict.lo <= x) & (x <= verdict.hi))[:, inside].all()
    found = step(enclosed(c, r, "slopes"), c, r)
    assert (found.holds & inside).sum() > 50
    assert not (found.holds & ((x - c).abs() > r).any(0)).any()  # this one is alone in a wide neighbourhood
    proof = prove(enclosed, x, 1.0)
    assert bool(proof.proved) and float(proof.slack) < 1e-12 and float((proof.hi - proof.lo).min()) > 1e-2
    assert not prove(enclosed, x + 0.3, 0.1).proved.any()


def test_a_singular_point_and_broken_numbers_prove_nothing():
    identity = Enclosed(lure(lambda x: x, (2,)))
    zero = torch.zeros(2, 3, dtype=torch.float64)
    assert not prove(identity, zero, 1.0).proved.any()
    verdict = step(identity(zero, zero + 1), zero, zero + 1)
    assert not verdict.empty.any() and not verdict.holds.any()
    steep = Enclosed(lure(lambda x: torch.nn.functional.gelu(1e10 * x), (1,)))
    c, r = torch.tensor([[0.0, 1e300]], dtype=torch.float64), torch.tensor([[1e308, 1e307]], dtype=torch.float64)
    verdict = step(steep(c, r), c, r)  # infinite numbers on the way; 0 is a fixed point
    assert not verdict.empty.any() and not verdict.holds.any()


def test_the_box_of_a_proof_is_no_larger_than_the_box_that_was_proved():
    far = Enclosed(lure(lambda x: 0.5 * x + 512.0, (1,)))
    proof = prove(far, torch.tensor([[1024.0]], dtype=torch.float64), 1.00015e-9)
    assert bool(proof.proved)
    reach = mpf(float(proof.hi)) - mpf(float(proof.point))
    steps = [mpf(1.00015e-9) * mpf(2) ** -k for k in range(44)]
    nearest = min(steps, key=lambda s: abs(s - reach))
    assert reach <= nearest
