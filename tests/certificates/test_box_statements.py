"""Statements on boxes, and the sets that orbits do not leave."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.certificates import box_statements as boxes
from separatrix.certificates.boxes import cells, over
from separatrix.certificates.problem import Failure, Proof


def contraction(p, norm="best"):
    return boxes.prove_contraction_on_box(p, norm=norm, seconds=20.0)


def test_a_kink_outside_the_box_does_not_count(problem):
    f = lambda x: 0.5 * x + 3 * F.relu(x - 2)  # noqa: E731
    found = contraction(problem(f, 1, (-1, 1)))
    assert found.rate == pytest.approx(0.5, rel=1e-6)
    assert isinstance(contraction(problem(f, 1, (-1, 3))), Failure)


def test_gelu_contracts_near_its_stable_equilibrium_only(problem):
    f = lambda x: F.gelu(x) + 0.12  # noqa: E731
    found = contraction(problem(f, 1, (0.1, 0.6)))
    assert isinstance(found, Proof)
    assert found.rate < 0.96
    assert isinstance(contraction(problem(f, 1, (0.1, 1.4))), Failure)


def test_a_rate_on_a_box_that_orbits_leave_is_no_contraction(problem):
    f = lambda x: 0.5 * x + 10  # noqa: E731
    found = contraction(problem(f, 1, (-1, 1)))
    assert isinstance(found, Failure)
    assert "local Lipschitz bound of 0.5" in found.reason


def test_a_ball_in_the_box_is_enough(problem):
    """A shear that leaves the box and keeps an ellipse in it."""
    A = torch.tensor([[0.5, 4.0], [0.0, 0.5]], dtype=torch.float64)
    f = lambda x: torch.tanh(x @ A.T)  # noqa: E731
    p = problem(lambda x: f(x) + 0 * x, 2, (-0.5, 0.5))
    assert isinstance(boxes.prove_invariance(p), Failure)
    found = contraction(p, "P")
    assert isinstance(found, Proof)
    P, R = found.data["P"], found.bound
    x = torch.randn(3000, 2, dtype=torch.float64)
    x = x / (x @ P * x).sum(1, keepdim=True).sqrt() * R
    assert bool((x.abs() <= 0.5).all())
    y = f(x)
    assert bool(((y @ P * y).sum(1).sqrt() <= found.rate * R * (1 + 1e-9)).all())
    assert isinstance(
        boxes.verify_contraction_on_box(p, {**found.data, "centre": torch.full((2,), 0.3).double()}), Failure
    )


def test_invariance_is_that_of_the_image(problem):
    f = lambda x: 2 * torch.tanh(3 * x)  # noqa: E731
    assert isinstance(boxes.prove_invariance(problem(f, 1, (-2, 2))), Proof)
    assert isinstance(boxes.prove_invariance(problem(f, 1, (-1.99998, 1.99998))), Proof)
    assert isinstance(boxes.prove_invariance(problem(f, 1, (-1.9999, 1.9999))), Failure)


def test_bounds_over_a_box_hold_all_that_is_sampled(problem, net):
    p = problem(net([2, 16, 16, 2], nn.GELU), 2, (-1, 2))
    found = over(p, *p.box)
    x = -1 + 3 * torch.rand(20_000, 2, dtype=torch.float64)
    *inner, last = p.network.preactivations(x)
    for z, (lo, hi) in zip(inner, found.ranges, strict=True):
        assert bool(((z >= lo) & (z <= hi)).all())
        wide = z.amax(0) - z.amin(0)
        assert bool((hi - lo <= 1.2 * wide + 0.1).all())
    assert bool(((last >= found.lo) & (last <= found.hi)).all())


def test_cells_cover_the_box_and_share_their_borders():
    lo, hi = torch.tensor([0.1, -3.0], dtype=torch.float64), torch.tensor([0.7, 1e3], dtype=torch.float64)
    low, high = cells(lo, hi, 49)
    assert low.shape == (2, 49)
    assert torch.equal(low.amin(1), lo)
    assert torch.equal(high.amax(1), hi)
    assert set(low[0].tolist()) - {0.1} == set(high[0].tolist()) - {0.7}


def test_local_bounds_are_smaller_than_global_ones(problem, net):
    f = net([2, 8, 2], nn.Tanh, gain=2.0)
    far = problem(lambda x: f(x) + 0 * x, 2, (3, 4))
    found = boxes.prove_lipschitz_on_box(far, norm="2", seconds=20.0)
    x = 3 + torch.rand(2000, 2, dtype=torch.float64)
    steepest = torch.linalg.matrix_norm(torch.func.vmap(torch.func.jacrev(lambda v: f(v[None])[0]))(x), 2).max()
    assert float(steepest) <= found.bound
    whole = boxes.prove_lipschitz_on_box(problem(f, 2, (-10, 10)), norm="2", seconds=20.0)
    assert found.bound < 0.8 * whole.bound


def test_regions_prove_more_on_a_box_than_sectors(problem, net):
    """The slopes of different components do not change independently of each other."""
    f = net([2, 16, 16, 2], nn.ReLU, gain=1.0, seed=0)
    p = problem(lambda x: 0.5 * f(x) + 0 * x, 2, (-1, 1))
    assert isinstance(boxes.prove_invariance(p), Proof)
    by_sectors = contraction(p)
    found = boxes.prove_contraction_on_box_by_regions(p, norm="best", seconds=20.0)
    assert isinstance(found, Proof)
    assert isinstance(by_sectors, Failure) or found.rate < 0.8 * by_sectors.rate
    x, y = 2 * torch.rand(2, 5000, 2, dtype=torch.float64) - 1
    P = found.data["P"]
    size = lambda v: (v @ P * v).sum(1).sqrt()  # noqa: E731
    assert float((size(p.network(x) - p.network(y)) / size(x - y)).max()) <= found.rate
    assert isinstance(boxes.verify_contraction_on_box_by_regions(p, {**found.data, "rate": 0.9 * found.rate}), Failure)


def test_boxes_of_states_and_of_inputs(net):
    """x+ = f(x, u) on a box, for every sequence of inputs in another: invariance and contraction."""
    f = net([3, 12, 2], nn.Tanh, gain=0.5, seed=2)
    loop = sx.Loop(lambda x, u: f(torch.cat([x, u], -1)), 0.0, dim=2)
    found = sx.certify(loop, "contraction", box=(-2, 2), u_box=(-1, 1))
    assert found.verdict == "certified"
    assert found.check(loop)
    kept = sx.certify(loop, "boundedness", box=(-2, 2), u_box=(-1, 1))
    assert kept.verdict == "certified"
    x = 4 * torch.rand(3000, 2, dtype=torch.float64) - 2
    u = 2 * torch.rand(3000, 1, dtype=torch.float64) - 1
    assert bool((f(torch.cat([x, u], 1)).abs() <= 2).all())
    assert sx.certify(loop, "boundedness", box=(-0.01, 0.01), u_box=(-1, 1)).verdict != "certified"
