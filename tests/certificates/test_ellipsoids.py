"""Bounds of quadratic forms over boxes and along maps: never below what is sampled, and close to it."""

import pytest
import torch
from torch import nn

from separatrix.certificates.attraction.cell_walk import Walk
from separatrix.certificates.attraction.ellipsoids import metric
from separatrix.certificates.problem import Problem
from separatrix.systems.lure import lure

NONE = torch.zeros(0, dtype=torch.float64)


def random_metric(n, seed, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(n, n, generator=generator, dtype=torch.float64)
    A = A @ torch.diag(10.0 ** (spread * torch.arange(n) / n)).double()
    P = A @ A.T + 1e-3 * torch.eye(n)
    return metric((P + P.T) / 2)


def boxes(n, count, seed):
    generator = torch.Generator().manual_seed(seed)
    c = torch.randn(n, count, generator=generator, dtype=torch.float64)
    r = torch.rand(n, count, generator=generator, dtype=torch.float64)
    return c, r


def inside(c, r, count, seed=1):
    """Corners and points in between (count, n, B)."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, *c.shape, generator=generator, dtype=torch.float64) * 2 - 1
    share[: count // 4] = share[: count // 4].sign()
    share[: 2**6] = (torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0]).double()] * len(c)).view(-1, len(c)))[
        torch.arange(2**6) % 3 ** len(c)
    ][:, :, None]
    return c + r * share


def net(n, seed, dt=None):
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Linear(n, 12), nn.Tanh(), nn.Linear(12, n)).double().requires_grad_(False)
    return inner if dt is None else (lambda x: x + dt * inner(x))


def problem(f, n):
    return Problem(lure(f, (n,)), n, 0, None, (NONE, NONE))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_most_and_least_over_boxes(n):
    shape = random_metric(n, n)
    c, r = boxes(n, 200, 3)
    most, least = shape.most(c - r, c + r), shape.least(c - r, c + r)
    x = inside(c, r, 4000)
    V = torch.einsum("sib,ij,sjb->sb", x, shape.P, x)
    assert (V - most).max() <= 0 and (V - least).min() >= 0
    assert torch.allclose(V.amax(0), most, rtol=1e-9)  # a corner has it
    # the smallest value is approached by samples; where the box holds 0 it is 0
    assert (V.amin(0) - least <= 0.25 * most + 1e-9).all()
    zero = ((c.abs() <= r).all(0)).nonzero()[:, 0]
    assert len(zero) and (least[zero] <= 1e-12).all() and (least[zero] >= -1e-9 * most[zero]).all()


def test_the_least_value_is_sharp_where_it_is_known():
    """For P = I it is the squared distance of the box from 0."""
    c, r = boxes(3, 300, 5)
    least = metric(torch.eye(3).double()).least(c - r, c + r)
    assert torch.allclose(least, ((c.abs() - r).clamp(min=0) ** 2).sum(0), atol=1e-10)


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_norms_of_interval_matrices(n, spread):
    shape = random_metric(n, n + 1, spread)
    generator = torch.Generator().manual_seed(2)
    A = torch.randn(50, n, n, generator=generator, dtype=torch.float64)
    radius = 1e-3 * torch.rand(50, n, n, generator=generator, dtype=torch.float64)
    L = torch.linalg.cholesky(shape.P)
    T = torch.linalg.inv(L).T

    def size(matrices):
        return torch.linalg.matrix_norm(L.T @ matrices @ T, 2)

    sharp = shape.norm(A, torch.zeros_like(A))
    slack = 1e-8 + 1e-12 * torch.linalg.cond(shape.P)
    assert (sharp >= size(A) * (1 - 1e-12)).all() and (sharp <= size(A) * (1 + slack)).all()
    wide = shape.norm(A, radius)
    for _ in range(20):
        some = A + radius * torch.randn(50, n, n, generator=generator, dtype=torch.float64).sign()
        assert (size(some) <= wide).all()
    assert (wide >= sharp).all()


def test_the_box_around_an_ellipsoid_touches_it():
    shape = random_metric(3, 9)
    reach = shape.reach(2.0)
    exact = (2.0 * torch.linalg.inv(shape.P).diagonal()).sqrt()
    assert (reach >= exact * (1 - 1e-14)).all() and (reach <= exact * (1 + 1e-6)).all()


@pytest.mark.parametrize("P", [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.4, 1.0]], [[0.0]], [[float("nan")]]])
def test_what_is_no_metric(P):
    assert metric(torch.tensor(P).double()) is None


@pytest.mark.parametrize("dt", [None, 0.05])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_rise_and_image_hold_for_samples(n, dt):
    f = net(n, n, dt)
    walk, shape = Walk(problem(f, n)), random_metric(n, 4 * n)
    centre = torch.linspace(-0.1, 0.2, n).double()
    c, r = boxes(n, 150, 7)
    r = r * 10.0 ** torch.linspace(-4, 0, 150).double()
    cells = walk.step(walk.around(c, r))
    rough = shape.rise(cells, centre, torch.full((150,), torch.inf).double())
    sharp = shape.rise(cells, centre, torch.full((150,), -torch.inf).double())
    after = shape.after(cells, centre)
    x = inside(c, r, 1000)
    y = f(x.permute(0, 2, 1).reshape(-1, n)).view(1000, -1, n).permute(0, 2, 1)
    before, behind = (torch.einsum("sib,ij,sjb->sb", e, shape.P, e) for e in (x - centre[:, None], y - centre[:, None]))
    assert ((behind - before).amax(0) <= sharp).all() and (behind.amax(0) <= after).all()
    assert (sharp <= rough).all()
    # second order: on small cells hardly more than the samples have
    small = r.amax(0) < 1e-3
    size = before.amax(0) + behind.amax(0)
    assert small.any() and ((sharp - (behind - before).amax(0))[small] <= 1e-3 * size[small]).all()
    assert ((after - behind.amax(0))[small] <= 1e-3 * size[small]).all()


def test_linear_maps_fall_on_any_box_without_the_equilibrium():
    """The tangent bound is exact enough for boxes of any size when M is negative definite."""
    A = torch.tensor([[0.9, 0.3], [-0.3, 0.9]], dtype=torch.float64) * 0.99
    walk, shape = Walk(problem(lambda x: x @ A.T, 2)), metric(torch.eye(2).double())
    c = torch.tensor([[1.0, 3.0, -2.0], [1.0, 0.1, 5.0]], dtype=torch.float64)
    r = torch.tensor([[0.9, 2.0, 1.9], [5.0, 4.0, 4.9]], dtype=torch.float64)
    cells = walk.step(walk.around(c, r))
    rise = shape.rise(cells, torch.zeros(2).double(), torch.full((3,), -torch.inf).double())
    factor = 1 - 0.99**2 * 0.9
    exact = -factor * ((c.abs() - r).clamp(min=0) ** 2).sum(0)
    assert torch.allclose(rise, exact, rtol=1e-6) and (rise >= exact - 1e-12).all()
