"""The smallest rate against a conic solver, exact answers and invariances."""

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.certificates.gains.barrier import smallest_rate
from separatrix.certificates.gains.sectors import slope_sectors
from separatrix.certificates.gains.small_gain import gains


def system(problem, f, n):
    p = problem(f, n)
    seen = gains(p.network, slope_sectors(p.network), n)
    return seen.C.numpy(), seen.N.numpy(), seen.block.numpy()


def best_plain(C, N, n):
    """LipSDP as a conic program: the least r^2 with P = I."""
    import cvxpy as cp

    t, r = cp.Variable(len(N), nonneg=True), cp.Variable(nonneg=True)
    top = cp.bmat([[r * np.eye(n), np.zeros((n, len(N)))], [np.zeros((len(N), n)), cp.diag(t)]])
    cp.Problem(cp.Minimize(r), [top - C.T @ C - N.T @ cp.diag(t) @ N >> 0]).solve(solver="CLARABEL")
    return float(r.value) ** 0.5


def room(C, N, n, rate):
    """How far a free metric is from infeasible at a rate: positive if there is one."""
    import cvxpy as cp

    t, P, s = cp.Variable(len(N), nonneg=True), cp.Variable((n, n), symmetric=True), cp.Variable()
    top = cp.bmat([[rate**2 * P, np.zeros((n, len(N)))], [np.zeros((len(N), n)), cp.diag(t)]])
    slack = top - C.T @ P @ C - N.T @ cp.diag(t) @ N
    wide = n + len(N)
    bounds = [slack >> s * np.eye(wide), P >> s * np.eye(n), cp.trace(P) + cp.sum(t) == wide]
    cp.Problem(cp.Maximize(s), bounds).solve(solver="CLARABEL")
    return float(s.value)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_agrees_with_a_conic_solver(problem, net, activation, seed):
    C, N, block = system(problem, net([2, 8, 8, 2], activation, seed=seed), 2)
    plain = smallest_rate(C, N, block, 2, metrics=(np.eye(2), np.eye(2)), tolerance=1e-5)
    assert plain.rate == pytest.approx(best_plain(C, N, 2), rel=1e-4)
    free = smallest_rate(C, N, block, 2, tolerance=1e-5)
    assert room(C, N, 2, 1.0005 * free.rate) > 0 > room(C, N, 2, 0.9995 * free.rate)
    assert free.rate <= plain.rate * (1 + 1e-5)


def test_residual_form_agrees_with_a_conic_solver(problem, net):
    inner = net([2, 12, 2], nn.Tanh, seed=4)
    C, N, block = system(problem, lambda x: 0.9 * x + 0.2 * inner(x), 2)
    free = smallest_rate(C, N, block, 2, tolerance=1e-5)
    assert room(C, N, 2, 1.0005 * free.rate) > 0 > room(C, N, 2, 0.9995 * free.rate)


def test_linear_maps_reach_their_spectral_radius():
    A = np.array([[0.5, 4.0], [0.0, 0.5]])
    none = np.zeros((0, 2))
    found = smallest_rate(A, none, np.zeros(0, dtype=int), 2, tolerance=1e-4)
    assert 0.5 <= found.rate < 0.51
    plain = smallest_rate(A, none, np.zeros(0, dtype=int), 2, metrics=(np.eye(2), np.eye(2)))
    assert plain.rate == pytest.approx(np.linalg.norm(A, 2), rel=1e-6)


def test_rate_does_not_depend_on_coordinates(problem, net):
    f = net([3, 10, 3], seed=2)
    T = torch.tensor([[2.0, 1, 0], [0, 1, -1], [0.5, 0, 1]], dtype=torch.float64)
    other = lambda x: f(x @ torch.linalg.inv(T).T) @ T.T  # noqa: E731
    first, second = (smallest_rate(*system(problem, g, 3), 3, tolerance=1e-5).rate for g in (f, other))
    assert first == pytest.approx(second, rel=1e-3)


def test_multipliers_are_the_weights_of_scaled_networks(problem, net):
    """ReLU networks are unchanged when a unit is scaled in and out; so is the rate."""
    f = net([2, 6, 2], seed=1)
    g = net([2, 6, 2], seed=1)
    s = torch.tensor([1e-3, 0.1, 1, 3, 20, 500], dtype=torch.float64)
    g[0].weight.mul_(s[:, None])
    g[0].bias.mul_(s)
    g[2].weight.div_(s)
    first, second = (smallest_rate(*system(problem, h, 2), 2, tolerance=1e-5).rate for h in (f, g))
    assert first == pytest.approx(second, rel=1e-3)


def test_ends_at_a_target_and_at_a_time(problem, net):
    args = system(problem, net([2, 16, 16, 2], gain=0.7), 2)
    assert smallest_rate(*args, 2, target=5.0).ended == "target"
    assert smallest_rate(*args, 2, seconds=0.0).ended == "seconds"
    assert np.isfinite(smallest_rate(*args, 2, seconds=0.0).rate)


def test_dead_units_and_zero_maps(problem, net):
    f = net([2, 5, 2])
    f[2].weight.zero_()
    assert smallest_rate(*system(problem, f, 2), 2).rate < 1e-6
    f = net([2, 5, 2])
    f[2].weight[:, 2] = 0
    f[0].weight[1] = 0
    g = net([2, 5, 2])
    keep = [0, 3, 4]
    g[0].weight, g[0].bias, g[2].weight = (nn.Parameter(v, requires_grad=False) for v in
                                           (f[0].weight[keep], f[0].bias[keep], f[2].weight[:, keep]))  # fmt: skip
    both = (smallest_rate(*system(problem, h, 2), 2, tolerance=1e-5).rate for h in (f, g))
    assert next(both) == pytest.approx(next(both), rel=1e-3)
