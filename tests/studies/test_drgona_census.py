"""Attractors counted and typed: maps whose attractors are known, and the library's instruments for single maps."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.local.basins import basins
from separatrix.studies.drgona2022.cases import BY_NAME, known
from separatrix.studies.drgona2022.census import Plan, census
from separatrix.studies.drgona2022.networks import Networks, stacked
from separatrix.studies.drgona2022.returns import first_return, returns
from separatrix.studies.drgona2022.settling import settle, spread_starts
from separatrix.systems.maps import Map
from separatrix.tangent.largest_exponent import largest_exponent

PLAN = Plan(512, 32, 4, 2048)
STARTS = spread_starts(64)


def of_layers(activation, *layers):
    """One network of given matrices, or (matrix, bias) pairs."""
    pairs = [one if isinstance(one, tuple) else (one, [0.0, 0.0]) for one in layers]
    return Networks(
        tuple(torch.tensor([A], dtype=torch.float64) for A, _ in pairs),
        tuple(torch.tensor([b], dtype=torch.float64)[..., None] for _, b in pairs),
        known(activation),
    )


def found_of(*arguments, plan=PLAN):
    return census(of_layers(*arguments), STARTS, plan)[0]


def turn(angle, size):
    c, s = size * math.cos(angle), size * math.sin(angle)
    return [[c, -s], [s, c]]


def kinds(found):
    return sorted((a.kind, a.period) for a in found.attractors)


def root(gain):
    """The positive fixed point of tanh(gain x)."""
    x = 1.0
    for _ in range(2000):
        x = math.tanh(gain * x)
    return x


def test_starts_fill_the_square():
    starts = spread_starts(400)
    counts, _, _ = np.histogram2d(*starts.numpy(), bins=5, range=[[-6, 6], [-6, 6]])
    assert counts.min() >= 12 and counts.max() <= 20 and float(starts.abs().max()) <= 6


def test_fixed_points_and_their_exponents():
    found = found_of("tanh", [[1.5, 0.0], [0.0, 0.5]])
    assert kinds(found) == [("fixed point", 1)] * 2 and found.shares["attracted"] == 1
    for one in found.attractors:
        x = root(1.5)
        assert abs(float(one.points[0, 0])) == pytest.approx(x, abs=1e-11) and abs(float(one.points[0, 1])) < 1e-9
        assert one.exponent == pytest.approx(math.log(max(1.5 * (1 - x * x), 0.5)), abs=1e-9) and one.error == 0


def test_cycles_are_told_from_fixed_points_and_from_each_other():
    found = found_of("tanh", [[-1.5, 0.0], [0.0, -1.5]])
    # both components of the same sign, or of different signs
    assert kinds(found) == [("cycle", 2)] * 2
    assert {round(float(one.farthest() / root(1.5)), 6) for one in found.attractors} == {round(2**0.5, 6)}
    fourth = found_of("tanh", turn(math.pi / 2, 1.5))
    assert kinds(fourth) == [("cycle", 4)] and fourth.attractors[0].share == pytest.approx(1)


def test_a_slow_spiral_is_a_fixed_point():
    """Near itself after eight steps long before it is after one."""
    found = found_of("tanh", turn(2 * math.pi / 8, 0.999), plan=Plan(1024, 32, 2, 2048))
    assert kinds(found) == [("fixed point", 1)]
    assert found.attractors[0].exponent == pytest.approx(math.log(0.999), abs=1e-6)
    assert found.attractors[0].farthest() < 1e-9


def test_quasi_periodic_orbits_have_no_exponent():
    found = found_of("tanh", turn(1.0, 1.1))
    assert kinds(found) == [("quasi-periodic", 0)]
    assert abs(found.attractors[0].exponent) <= 3 * found.attractors[0].error < 0.01


def test_a_tent_map_is_chaotic_with_its_exponent():
    """ReLU(1.9 ReLU(x) - 3.8 ReLU(x - 1/2)): slopes of ±1.9 almost everywhere on its attractor."""
    layers = (([[1.0, 0.0], [1.0, 0.0]], [0.0, -0.5]), ([[1.9, -3.8], [0.3, 0.0]], [0.0, 0.0]))
    nets = of_layers("relu", *layers)
    starts = torch.rand(2, 64, dtype=torch.float64)
    found = census(nets, starts, PLAN)[0]
    assert kinds(found) == [("chaotic", 0)]
    assert found.attractors[0].exponent == pytest.approx(math.log(1.9), rel=1e-9)
    assert math.isclose(sum(found.shares.values()), 1) and found.shares["attracted"] == 1


def test_a_ray_of_equilibria_counts_once():
    found = found_of("relu", [[0.7, 0.4], [0.3, 0.6]])
    assert kinds(found) == [("continuum", 1)] and found.attractors[0].share == pytest.approx(1)
    assert len(found.attractors[0].points) > 10


def test_escape_growth_and_what_stays():
    away = found_of("relu", [[1.1, 0.0], [0.0, 0.5]])
    assert away.shares["escape"] == pytest.approx(float((STARTS[0] > 0).double().mean()))
    assert kinds(away) == [("fixed point", 1)]
    drift = found_of("relu", ([[1.0, 0.0], [0.0, 0.5]], [0.01, 0.0]))
    assert drift.shares["growing"] == 1 and not drift.attractors
    log = found_of("softplus", [[0.6, 0.4], [0.4, 0.6]])
    assert log.shares["growing"] == 1


def test_an_algebraic_approach_is_one_to_the_origin():
    found = found_of("tanh", [[0.6, 0.4], [0.4, 0.6]])
    assert kinds(found) == [("fixed point", 1)] and found.attractors[0].exponent == 0


@pytest.mark.parametrize(("matrix", "expected"), [
    ([[0.5, 0.0], [0.0, 0.25]], math.log(0.5)),
    ([[-0.5, 0.0], [0.0, -0.25]], -math.inf),
    (turn(2.0, 0.9), -math.inf),
])  # fmt: skip
def test_exponents_at_a_kink_are_those_of_rays(matrix, expected):
    """ReLU: a diagonal map keeps its rays, and a turn by more than a right angle ends in the origin."""
    found = found_of("relu", matrix)
    assert kinds(found) == [("fixed point", 1)] and found.attractors[0].farthest() == 0
    assert found.attractors[0].exponent == pytest.approx(expected, abs=1e-9)


def test_selu_at_its_kink():
    """Slopes of 1.0507 and 1.7581: the larger one leads on the negative axis."""
    found = found_of("selu", [[0.5, 0.0], [0.0, 0.3]])
    assert kinds(found) == [("fixed point", 1)]
    assert found.attractors[0].exponent == pytest.approx(math.log(0.5 * 1.7580993408473766), abs=1e-5)


def test_newton_finds_a_limit_before_the_orbit_does():
    nets = of_layers("tanh", [[1.002, 0.0], [0.0, 0.2]])
    x = torch.tensor([[[0.0774], [0.0]]], dtype=torch.float64)
    limit = returns(nets, x[..., 0], first_return(nets, x, 8)[:, 0])
    assert limit.period.tolist() == [1]
    assert float(limit.point[0, 0]) == pytest.approx(_bisected(1.002), abs=1e-9)
    # the origin is a fixed point too, but it repels
    zero = torch.full((1, 2, 1), 1e-5, dtype=torch.float64)
    assert returns(nets, zero[..., 0], first_return(nets, zero, 8)[:, 0]).period.tolist() == [0]


def _bisected(gain):
    lo, hi = 1e-3, 1.0
    for _ in range(200):
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if math.tanh(gain * middle) > middle else (lo, middle)
    return lo


def test_chunks_change_nothing(monkeypatch):
    nets = stacked(BY_NAME["softSVD (0.99, 1.1)"], "selu", 1, range(3), (False, True))
    whole = settle(nets, STARTS, 256, 16)
    monkeypatch.setattr("separatrix.studies.drgona2022.settling.CHUNK", 100)
    parts = settle(nets, STARTS, 256, 16)
    assert torch.equal(whole.period, parts.period) and torch.equal(whole.steps, parts.steps)
    assert torch.allclose(whole.point, parts.point, rtol=0, atol=1e-9, equal_nan=True)


CASES = [
    ("softSVD (1.1, 1.5)", "tanh", 1, False),
    ("softSVD (0, 1)", "gelu", 4, True),
    ("softSVD (0.99, 1)", "selu", 1, False),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_basins_of_single_networks_agree(case):
    """The same attractors, kinds, periods and exponents as the library's instrument for one map."""
    setting, activation, depth, bias = case
    nets = stacked(BY_NAME[setting], activation, depth, (0,), (bias,))
    mine = census(nets, STARTS, PLAN)[0]
    other = basins(Map(nets.module(0)), STARTS.T.contiguous(), steps=512, transient=128)
    names = [str(other.kind.attrs["flag_meanings"]).split()[int(k)] for k in other.kind.values]
    assert sorted(a.kind.replace(" ", "-") for a in mine.attractors) == sorted(names)
    assert sorted(a.period for a in mine.attractors) == sorted(other.period.values.tolist())
    assert sorted(a.share for a in mine.attractors) == pytest.approx(sorted(other.share.values.tolist()), abs=0.02)
    np.testing.assert_allclose(
        sorted(a.exponent for a in mine.attractors), sorted(other.exponent.values.tolist()), atol=0.01
    )
    escape = float((other.label.values == -2).mean())
    assert mine.shares["escape"] == pytest.approx(escape, abs=0.02)


def test_exponents_of_single_networks_agree():
    nets = of_layers("tanh", turn(1.0, 1.1))
    x = torch.tensor([[0.3, 0.2], [-0.1, 0.4]], dtype=torch.float64)
    found = largest_exponent(Map(nets.module(0)), x, steps=2048, transient=500)
    mine = census(nets, x.T.contiguous(), PLAN)[0].attractors[0]
    assert abs(mine.exponent - float(found.exponent.mean())) < 4 * mine.error


def test_modules_are_plain_networks():
    assert isinstance(stacked(BY_NAME["linear"], "gelu", 1, (0,), (True,)).module(0)[1], nn.GELU)
