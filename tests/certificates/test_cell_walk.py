"""Cells that are carried many steps: orbits stay in their images."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from separatrix.certificates.attraction.cell_walk import Walk
from separatrix.certificates.problem import Problem
from separatrix.local.interval_forms import Enclosed
from separatrix.systems.lure import lure

NONE = torch.zeros(0, dtype=torch.float64)


def map_of(n, activation, seed=0):
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Linear(n, 10), activation, nn.Linear(10, n)).double().requires_grad_(False)
    return lambda x: 0.6 * x + 0.4 * inner(x)


def cells_of(n, count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    c = torch.randn(n, count, generator=generator, dtype=torch.float64)
    return c, 10.0 ** (torch.rand(n, count, generator=generator, dtype=torch.float64) * 6 - 6)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.ReLU(), nn.Softplus()], ids=lambda a: type(a).__name__)
def test_orbits_stay_in_their_images(activation):
    f = map_of(2, activation)
    walk = Walk(Problem(lure(f, (2,)), 2, 0, None, (NONE, NONE)))
    c, r = cells_of(2, 80)
    cells = walk.around(c, r)
    generator = torch.Generator().manual_seed(3)
    share = torch.rand(200, 2, 80, generator=generator, dtype=torch.float64) * 2 - 1
    share[:50] = share[:50].sign()
    x = c + share * r
    y, gone = x, 0
    for steps in (1, 2, 5, 12):
        while gone < steps:
            cells, gone = walk.step(cells), gone + 1
            y = f(y.permute(0, 2, 1).reshape(-1, 2)).view(200, 80, 2).permute(0, 2, 1)
        slack = 1e-12 * (1 + y.abs())
        assert (y >= cells.lo - slack).all() and (y <= cells.hi + slack).all()
        d = x - c
        centred = cells.value + torch.einsum("ijb,sjb->sib", cells.slope, d)
        room = cells.error + torch.einsum("ijb,sjb->sib", cells.slope_radius, d.abs())
        assert ((y - centred).abs() <= room + slack).all()
        # images of small cells stay small: a step does not forget the linear part
        small = r.amax(0) < 1e-4
        assert ((cells.hi - cells.lo)[:, small].amax(0) < 20 * r[:, small].amax(0) + 1e-10).all()


def test_agrees_with_the_map_iterated_at_once():
    network = lure(map_of(2, nn.Tanh()), (2,))
    c, r = cells_of(2, 50)
    walk = Walk(Problem(network, 2, 0, None, (NONE, NONE)))
    cells = walk.around(c, r)
    for _ in range(3):
        cells = walk.step(cells)
    found = Enclosed(network, 3)(c, r)
    assert torch.allclose(cells.value, found.value, rtol=1e-12, atol=1e-12)
    assert torch.allclose(cells.slope, found.slope, rtol=1e-6, atol=1e-8)
    assert torch.allclose(cells.lo, found.lo, rtol=1e-6, atol=1e-8)
    assert torch.allclose(cells.hi, found.hi, rtol=1e-6, atol=1e-8)


def test_a_constant_input_passes_through():
    torch.manual_seed(2)
    inner = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double().requires_grad_(False)
    u = torch.tensor([0.7]).double()

    def f(xu):
        return 0.5 * xu[:, :2] + inner(xu)

    with_input = Problem(lure(f, (3,)), 2, 1, None, (u, u))
    closed = Problem(lure(lambda x: f(torch.cat([x, u.expand(x.shape[0], 1)], 1)), (2,)), 2, 0, None, (NONE, NONE))
    c, r = cells_of(2, 40)
    ends = []
    for one in (with_input, closed):
        walk = Walk(one)
        cells = walk.around(c, r)
        for _ in range(4):
            cells = walk.step(cells)
        ends.append(cells)
    assert torch.allclose(ends[0].value, ends[1].value, atol=1e-13)
    assert torch.allclose(ends[0].slope, ends[1].slope, atol=1e-10)
    assert torch.allclose(ends[0].lo, ends[1].lo, atol=1e-10)
    other = Walk(replace(with_input, u_box=(-u, -u)))
    assert not torch.allclose(other.step(other.around(c, r)).value, ends[0].value, atol=1e-3)


def test_slopes_hold_the_jacobians_of_the_cell():
    f = map_of(2, nn.GELU())
    walk = Walk(Problem(lure(f, (2,)), 2, 0, None, (NONE, NONE)))
    c, r = cells_of(2, 30)
    cells = walk.step(walk.around(c, r), "slopes")
    generator = torch.Generator().manual_seed(5)
    for _ in range(5):
        x = c + r * (torch.rand(2, 30, generator=generator, dtype=torch.float64) * 2 - 1)
        J = torch.stack([torch.func.jacrev(lambda a: f(a[None])[0])(a) for a in x.T], -1)
        assert ((J - cells.slope).abs() <= cells.slope_radius + 1e-12).all()
