"""Networks seen through sectors: the relation itself, and what is accepted as proof."""

import pytest
import torch
from torch import nn

from separatrix.certificates.gains.barrier import smallest_rate
from separatrix.certificates.gains.sectors import Sectors, slope_sectors
from separatrix.certificates.gains.small_gain import gains


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.SELU, nn.Tanh, nn.Identity, lambda: nn.LeakyReLU(0.1)])
def test_differences_follow_from_slopes(problem, net, activation):
    """dy and z from C and N, with d computed from the actual values of a pair of points."""
    f = net([3, 7, 5, 3], activation, seed=3)
    p = problem(lambda x: 0.5 * x + f(x), 3)
    sectors = slope_sectors(p.network)
    seen = gains(p.network, sectors, 3)
    x, y = torch.randn(2, 1, 3, dtype=torch.float64)
    zx, zy = (p.network.preactivations(v) for v in (x, y))
    d = []
    for k, block in enumerate(p.network.blocks[:-1]):
        dz, dv = zx[k] - zy[k], block.curve.value(zx[k]) - block.curve.value(zy[k])
        middle, half = (sectors.lo[k] + sectors.hi[k]) / 2, (sectors.hi[k] - sectors.lo[k]) / 2
        on = half > 0
        d.append(((dv - middle * dz)[0] / half)[on])
        assert bool((d[-1].abs() <= dz[0][on].abs() * (1 + 1e-9) + 1e-12).all())
    w = torch.cat([(x - y)[0], *d])
    assert torch.allclose(seen.C @ w, (p.network(x) - p.network(y))[0], atol=1e-12)
    z = [(zx[k] - zy[k])[0][sectors.lo[k] < sectors.hi[k]] for k in range(len(zx) - 1)]
    z = torch.cat([torch.zeros(0).double(), *z])
    assert torch.allclose(seen.N @ w, z, atol=1e-12)


def solved(problem, net):
    p = problem(net([2, 8, 8, 2], seed=5), 2)
    seen = gains(p.network, slope_sectors(p.network), 2)
    found = smallest_rate(seen.C.numpy(), seen.N.numpy(), seen.block.numpy(), 2)
    return seen, torch.from_numpy(found.P_in), torch.from_numpy(found.t), found.rate


def test_only_what_holds_is_accepted(problem, net):
    seen, P, t, rate = solved(problem, net)
    assert seen.proves(P, P, t, rate * (1 + 1e-6))
    assert not seen.proves(P, P, t, rate * (1 - 1e-6))
    assert not seen.proves(P, P, -t, rate)
    assert not seen.proves(-P, -P, t, rate)
    assert not seen.proves(torch.diag(torch.tensor([1.0, 0.0]).double()), P, t, rate)
    assert not seen.proves(P, P, t * torch.nan, rate)
    assert not seen.proves(P * torch.tensor([[1.0, -1], [-1, 1]]).double(), P, t, rate)


def test_a_loosened_solution_is_rejected(problem, net):
    """Multipliers that are off by a thousandth prove the rate or not, as the eigenvalues of the inequality say."""
    seen, P, t, rate = solved(problem, net)
    rejected = 0
    for seed in range(20):
        noise = torch.randn(len(t), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        loose = t * (1 + 1e-3 * noise)
        S, _ = seen.slack(P, P, loose, rate)
        least = float(torch.linalg.eigvalsh(S)[0])
        assert abs(least) > 1e-11
        assert seen.proves(P, P, loose, rate) == (least > 0)
        rejected += least < 0
    assert 5 <= rejected < 20


def test_bound_holds_for_random_slopes(problem, net):
    """Slopes need not come from the activation: any in the sectors obey."""
    seen, P, t, rate = solved(problem, net)
    n, K = seen.n, len(t)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(300):
        slopes = 2 * torch.rand(K, generator=generator, dtype=torch.float64) - 1
        slopes = slopes.sign() if _ % 2 else slopes
        # d = K N (x, d), N strictly lower triangular
        d = torch.linalg.solve(torch.eye(K).double() - slopes[:, None] * seen.N[:, n:], slopes[:, None] * seen.N[:, :n])
        A = seen.C[:, :n] + seen.C[:, n:] @ d
        L = torch.linalg.cholesky(P)
        worst = max(worst, float(torch.linalg.matrix_norm(L.T @ A @ torch.linalg.inv(L.T), 2)))
    assert worst <= rate * (1 + 1e-6)
    assert worst > 0.3 * rate


def test_sectors_of_one_slope_are_linear(problem, net):
    p = problem(net([2, 6, 2], seed=1), 2)
    lo = [torch.tensor([0.0, 1, 0, 1, 0, 1]).double()]
    hi = [torch.tensor([0.0, 1, 1, 1, 1, 1]).double()]
    assert len(gains(p.network, Sectors(lo, hi), 2).N) == 2
    A = gains(p.network, Sectors(hi, hi), 2).C
    first, last = p.network.blocks[0].weights[0], p.network.blocks[1].weights[1]
    assert torch.allclose(A, last @ torch.diag(hi[0]) @ first)
