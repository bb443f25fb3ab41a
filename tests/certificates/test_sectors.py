"""Sectors against sampled slopes and values."""

import pytest
import torch
from torch import nn

from separatrix.certificates.gains.sectors import chord_sectors, recession_sectors, slope_sectors, slope_sectors_over

CURVES = [
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Tanh, nn.Softsign, nn.ELU, nn.CELU,
    nn.SELU, nn.GELU, lambda: nn.GELU("tanh"), nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanhshrink, nn.Softshrink,
    nn.Sigmoid, nn.Softplus, nn.LogSigmoid, lambda: nn.Softshrink(3.0), lambda: nn.ELU(4.0), lambda: nn.CELU(7.0),
]  # fmt: skip


def scalar(problem, activation):
    layer = activation().double().requires_grad_(False)
    return problem(lambda x: layer(x), 1).network, layer


@pytest.mark.parametrize("activation", CURVES)
def test_rests_bound_the_distance_from_lines(problem, activation):
    network, s = scalar(problem, activation)
    found = recession_sectors(network)
    lo, hi, rest = float(found.lo[0]), float(found.hi[0]), float(found.rest[0])
    z = torch.cat([torch.linspace(-200, 200, 400_001), torch.logspace(2, 8, 601), -torch.logspace(2, 8, 601)]).double()
    v = s(z)
    # the closest line within the sector
    k = (v / torch.where(z == 0, 1.0, z)).clamp(lo, hi)
    off = (v - k * z).abs()
    assert bool((off <= rest + 1e-9 * z.abs()).all())
    # what is far out is told apart from what is near the origin
    ends = torch.tensor([-1e9, 1e9], dtype=torch.float64)
    sides = s(ends) / ends
    lines = torch.where(z < 0, sides[0], sides[1]) * z
    assert rest <= float((v - lines)[z.abs() < 300].abs().max()) + 0.05
    far = sides.sort().values
    assert lo == pytest.approx(float(far[0]), abs=1e-6)
    assert hi == pytest.approx(float(far[1]), abs=1e-6)


@pytest.mark.parametrize("activation", CURVES)
@pytest.mark.parametrize("at", [-2.0, 0.0, 0.7, 5.0])
def test_chords_from_a_point_lie_in_their_sector(problem, activation, at):
    network, s = scalar(problem, activation)
    c = torch.tensor([at], dtype=torch.float64)
    found = chord_sectors(network, [c], [c * 0 + 1e-6])
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    z = z[(z - at).abs() > 1e-3]
    chord = (s(z) - s(c)) / (z - at)
    assert bool((chord >= found.lo[0] - 1e-12).all())
    assert bool((chord <= found.hi[0] + 1e-12).all())
    slopes = slope_sectors(network)
    assert bool((found.lo[0] >= slopes.lo[0]).all())
    assert bool((found.hi[0] <= slopes.hi[0]).all())


def test_slopes_over_ranges_are_no_wider_than_needed(problem):
    network, _ = scalar(problem, nn.Tanh)
    lo, hi = torch.tensor([-0.5]).double(), torch.tensor([1.0]).double()
    found = slope_sectors_over(network, [(lo, hi)])
    assert float(found.lo[0]) == pytest.approx(1 - float(torch.tanh(hi)) ** 2, abs=1e-12)
    assert float(found.hi[0]) == pytest.approx(1.0, abs=1e-12)
