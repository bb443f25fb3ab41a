"""Separation in nats against what two seeds really leave, and against what the vectors should be."""

import math

import numpy as np
import pytest
import torch

from separatrix.systems import Map
from separatrix.tangent.convergence import Separation, convergence
from separatrix.tangent.covariant import covariant
from separatrix.tangent.qr_sweep import random_frames

SKEW = torch.tensor([[0.9, 0.5, -0.3], [0.2, 0.8, 0.4], [-0.4, 0.3, 1.1]], dtype=torch.float64)


def scaled(rates, n):
    """Multipliers that change in time, along directions that are fixed and not orthogonal."""
    basis = SKEW[:n, :n]
    back = torch.linalg.inv(basis)
    return Map(lambda x, t: x @ (basis @ torch.diag(torch.tensor(rates(t), dtype=torch.float64)) @ back).T)


def two_seeds(system, n, **options):
    """Two results, and the sines (time, index) of the angles between their vectors."""
    a, b = (covariant(system, torch.ones(n).double(), vectors=1, seed=seed, **options) for seed in (0, 1))
    return a, b, sine(torch.tensor(a.vector.values[0]), torch.tensor(b.vector.values[0]))


def sine(a, b):
    across = a - (a * b).sum(-1, keepdim=True) * b
    return across.norm(dim=-1)


def test_two_seeds_differ_by_exactly_what_the_nats_say():
    # areas grow alike from any frame: the sine between q_1 and q_1' shrinks by the mean of the two separations
    a, b, off = two_seeds(scaled(lambda t: [1.3, 1.0] if t < 7 else [1.6, 0.9], 2), 2, steps=3, spinup=12, spindown=40)
    first = [random_frames(1, 1, 2, 2, seed)[0, 0, :, 0] for seed in (0, 1)]
    nats = float(a.steps_times_gap[0, 0] + b.steps_times_gap[0, 0]) / 2
    assert float(off[0, 0]) == pytest.approx(float(sine(*first)) * math.exp(-nats), rel=1e-9)
    assert 2 < nats < 6 and not a.converged.values[0, 0]


@pytest.mark.parametrize("after", [6, 12, 20])
def test_the_last_vector_knows_only_the_rates_after_the_window(after):
    system = scaled(lambda t: [2.0, 0.5] if t < 45 else [1.2, 0.9], 2)
    a, _, off = two_seeds(system, 2, steps=5, spinup=40, spindown=after)
    nats = float(a.steps_times_gap[0, 1])
    assert nats == pytest.approx(after * math.log(1.2 / 0.9), rel=1e-6)
    assert abs(math.log(float(off[-1, 1])) + nats + math.log(2.0 / 0.5)) < 2  # its last time is a step earlier


def test_an_order_that_turns_round_within_the_window_takes_separation_away():
    def rates(t):
        return [1.0, 2.0] if 40 <= t < 75 else [2.0, 1.0]

    a, _, off = two_seeds(scaled(rates, 2), 2, spinup=40, steps=35, spindown=40)
    # separated by 40 ln 2 on either side, of which the window takes 35 ln 2
    assert off.amax(0).min() > 1e-3
    assert not a.converged.any() and (a.group == 1).all()
    np.testing.assert_allclose(a.steps_times_gap, 5 * math.log(2), rtol=0, atol=2)


def test_all_directions_above_count_where_rates_are_not_in_order():
    # in the 40 steps after, 3 lies above 1 and below 2, and its neighbour alone would say 40 ln(2 / 0.9) nats
    system = scaled(lambda t: [0.7, 2.0, 0.9] if 100 <= t < 140 else [2.0, 1.0, 0.5], 3)
    short, long = (
        covariant(system, torch.ones(3).double(), spinup=80, steps=20, spindown=after, vectors=1) for after in (40, 200)
    )
    wanted = SKEW[:, 2] / SKEW[:, 2].norm()
    assert sine(torch.tensor(short.vector.values[0, -1, 2]), wanted) > 0.1 and not short.converged[0, 2]
    assert sine(torch.tensor(long.vector.values[0, -1, 2]), wanted) < 1e-6 and long.converged[0, 2]
    logs = torch.tensor([[3.0, 9.0, 1.0, 5.0]]).double()
    pairs = logs[:, :, None] - logs[:, None, :]
    for wide, k in ((pairs, 4), (pairs, 3)):
        found = convergence(logs, wide, 7 * wide, k, 4, 1e-6)
        for i in range(k):
            up = min((wide[0, j, m] for j in range(i + 1) for m in range(i + 1, 4)), default=math.inf)
            down = min((7 * wide[0, j, i] for j in range(i)), default=math.inf)
            assert found.nats[0, i] == min(up, down)


def test_a_frame_that_is_lost_to_a_singular_step_begins_anew():
    # at the end of the spin-up the tangent map is 0: no direction can be known from before
    found = covariant(
        scaled(lambda t: [0.0, 0.0] if t == 39 else [2.0, 1.0], 2),
        torch.ones(2).double(), spinup=40, steps=20, spindown=40, vectors=1,
    )  # fmt: skip
    wanted = SKEW[:2, 0] / SKEW[:2, 0].norm()
    vector = torch.tensor(found.vector.values[0, 0])
    assert sine(vector[0], wanted) > 0.1 and found.steps_times_gap[0, 0] <= 0
    assert found.converged.values.tolist() == [[0, 1]]
    # a pivot of its own only separates
    one = covariant(scaled(lambda t: [2.0, 0.0 if t == 39 else 1.0], 2), torch.ones(2).double(), steps=20,
                    spinup=40, spindown=40)  # fmt: skip
    assert one.converged.all() and one.steps_times_gap[0, 0] > 40 * math.log(2)


def test_running_sums_are_those_of_the_steps():
    rng = torch.Generator().manual_seed(3)
    logs = torch.randn(30, 2, 4, generator=rng, dtype=torch.float64)
    found, none = Separation(2, 4, torch.device("cpu")), torch.zeros(2, 4, dtype=torch.bool)
    for t, each in enumerate(logs):
        if 10 <= t <= 22:
            found.mark()
        found.add(each, none)
    for j in range(4):
        for m in range(j + 1, 4):
            apart = logs[:, :, j] - logs[:, :, m]
            ahead = torch.stack([apart[:t].sum(0) for t in range(10, 23)]).amin(0)
            behind = torch.stack([apart[t:].sum(0) for t in range(10, 23)]).amin(0)
            torch.testing.assert_close(found.ahead[:, j, m], ahead, rtol=0, atol=1e-13)
            torch.testing.assert_close(found.behind[:, j, m], behind, rtol=0, atol=1e-13)


def test_gap_times_steps_where_rates_stay_the_same():
    def henon(x):
        return torch.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], dim=1)

    start = torch.tensor([[0.1, 0.05], [0.02, 0.07], [math.nan, 0.0], [9.0, 9.0]], dtype=torch.float64)[[0, 1, 3]]
    found = covariant(Map(henon), start, steps=250, spinup=250, spindown=250)
    gap = float(found.gap[0, 0])
    np.testing.assert_allclose(found.steps_times_gap[:2], 250 * gap, rtol=0.15)
    # a member by itself, one that ends, and one below which nothing lies
    assert np.isnan(found.steps_times_gap[2]).all() and not found.converged[2].any()
    alone = covariant(Map(henon), start[:1], steps=250, spinup=250, spindown=250)
    np.testing.assert_allclose(alone.steps_times_gap[0], found.steps_times_gap[0], rtol=1e-6)
    line = covariant(Map(lambda x: 0.5 * x), torch.ones(1).double(), steps=4, spinup=0, spindown=0)
    assert np.isposinf(line.steps_times_gap).all() and line.converged.all()
