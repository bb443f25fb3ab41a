"""Largest Lyapunov exponents: exact answers, published values, naive twin, and orbits that have none."""

import math

import pytest
import torch
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.results.status import Status
from separatrix.systems import Depth, Euler, Loop, Map
from separatrix.tangent.columns import LureColumns, StepColumns, columns
from separatrix.tangent.largest_exponent import follow, largest_exponent

GENERATOR = torch.Generator().manual_seed(0)


def full(value, count):
    return torch.full((count,), value, dtype=torch.float64)


def rand(*shape):
    return torch.rand(*shape, generator=GENERATOR, dtype=torch.float64)


def logistic(r):
    return Map(lambda x: r * x * (1 - x))


def henon(x):
    return torch.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], dim=1)


def network(width=12, gain=1.0, activation=nn.Tanh, n=2):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        parts = [nn.Linear(n, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, n)]
    model = nn.Sequential(*parts).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(gain)
    return model


def naive(system, state, steps, transient, seed=0):
    """One orbit, with the product of dense Jacobians applied to a vector."""
    v = torch.randn(len(state), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    total = 0.0
    for t in range(transient + steps):
        jacobian = torch.autograd.functional.jacobian(lambda x, t=t: system.step(x, t), state)
        v = jacobian @ (v / v.norm())
        state = system.step(state, t).detach()
        total += math.log(v.norm()) if t >= transient else 0.0
    return total / steps, state


def test_linear_maps_have_the_modulus_of_their_largest_eigenvalue():
    for matrix, radius in [
        (torch.tensor([[2.0, 1.0], [0.0, 0.5]]), 2.0),
        (torch.tensor([[0.5, 4.0], [0.0, 0.4]]), 0.5),
        (0.9 * torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64), 0.9),
    ]:
        matrix = matrix.double()
        found = largest_exponent(Map(lambda x, A=matrix: x @ A.T), torch.zeros(3, 2).double(), transient=300)
        torch.testing.assert_close(found.exponent, full(math.log(radius), 3), rtol=0, atol=1e-12)
        assert (found.standard_error <= 1e-12).all() and (found.status == Status.OK).all()
        assert not found.state.any()


def skew_tent(x, a=0.3):
    return torch.where(x < a, x / a, (1 - x) / (1 - a))


def test_skew_tent_map_has_its_entropy_and_the_error_is_one():
    # slopes 1/a and 1/(1 - a), met independently with probabilities a and 1 - a
    wanted = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    found = largest_exponent(Map(skew_tent), rand(128, 1), steps=480, transient=20)
    z = ((found.exponent - wanted) / found.standard_error).nan_to_num(nan=4.0)
    spread = math.sqrt(0.3 * 0.7) * math.log(0.7 / 0.3)
    assert found.standard_error.nanmean() == pytest.approx(spread / math.sqrt(480), rel=0.05)
    assert abs(z.mean()) < 0.25 and 0.85 < z.std() < 1.35


def test_logistic_map_at_4_has_ln_2():
    found = largest_exponent(logistic(4.0), rand(64, 1), steps=640)
    assert found.exponent.mean() == pytest.approx(math.log(2), abs=0.003)


def test_tent_map_is_exact_on_every_orbit():
    found = largest_exponent(Map(lambda x: 0.95 - 1.9 * (x - 0.5).abs()), rand(5, 1), steps=100)
    torch.testing.assert_close(found.exponent, full(math.log(1.9), 5), rtol=0, atol=1e-12)


def test_henon_has_the_published_exponent():
    # 0.41922 (Sprott, Chaos and Time-Series Analysis, 2003)
    found = largest_exponent(Map(henon), 0.1 * rand(64, 2), steps=640)
    error = found.standard_error.square().nanmean().sqrt().item() / 8
    assert error < 0.003 and found.exponent.mean() == pytest.approx(0.41922, abs=3 * error)
    assert ((found.exponent - 0.41922).abs() <= 6 * found.standard_error.nan_to_num(nan=1.0)).all()


def test_rotation_has_zero():
    c, s = math.cos(1.0), math.sin(1.0)
    found = largest_exponent(Map(lambda x: x @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)), rand(4, 2))
    torch.testing.assert_close(found.exponent, torch.zeros(4).double(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU, nn.Softplus])
def test_a_network_by_its_blocks_by_its_steps_and_by_dense_jacobians(activation):
    system = Loop(network(activation=activation))
    states = 2 * rand(5, 2) - 1
    assert isinstance(columns(system, states), LureColumns)
    fast = largest_exponent(system, states, steps=60, transient=7)
    v = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = StepColumns(system, torch.float64, torch.device("cpu"), 2)
    slow = follow(own, states.T, v, steps=60, transient=7)
    torch.testing.assert_close(fast.exponent, slow.exponent, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fast.state, slow.state, rtol=1e-9, atol=1e-9)
    alone = largest_exponent(system, states[:1], steps=60, transient=7)
    by_hand, end = naive(system, states[0], 60, 7)
    assert alone.exponent.item() == pytest.approx(by_hand, rel=1e-9)
    torch.testing.assert_close(alone.state[0], end)


def test_a_contracting_network_has_the_exponent_of_its_equilibrium():
    system = Loop(network(gain=0.6))
    x = torch.zeros(1, 2).double()
    for t in range(300):
        x = system.step(x, t)
    x = x.detach()
    radius = torch.linalg.eigvals(torch.autograd.functional.jacobian(system.step, x[0])).abs().max()
    found = largest_exponent(system, 2 * rand(6, 2) - 1, steps=1000, transient=300)
    torch.testing.assert_close(found.exponent, radius.log().expand(6), rtol=0, atol=2e-3)
    assert (found.exponent < 0).all()


def test_time_and_transient():
    flow = Loop(Euler(lambda x: x - x**3, 0.05), dt=0.05)
    found = largest_exponent(flow, torch.tensor([[0.5], [-0.5]]).double(), transient=400, steps=50)
    # at x = 1 the slope is 1 - 2 dt
    expected = math.log(1 - 0.1) / 0.05
    torch.testing.assert_close(found.exponent, full(expected, 2), rtol=0, atol=1e-10)


def test_escape_and_superstable_and_others_beside_them():
    system = logistic(2.0)
    states = torch.tensor([[0.5], [3.0], [0.1], [0.0]]).double()
    found = largest_exponent(system, states, steps=40, transient=5)
    assert found.status.tolist() == [Status.SINGULAR, Status.NONFINITE, Status.OK, Status.OK]
    assert (
        torch.isneginf(found.exponent[0]) and torch.isnan(found.exponent[1]) and torch.isnan(found.halves[:, 1]).all()
    )
    assert found.exponent[3].item() == pytest.approx(math.log(2)) and torch.isfinite(found.state).all()
    # the third comes close to the superstable point, whose slope it meets to rounding
    assert torch.isnan(found.standard_error[:2]).all() and found.exponent[2] < -20
    bounded = largest_exponent(Map(lambda x: 2 * x), torch.ones(1, 1).double(), steps=40, escape=100.0)
    assert bounded.status.item() == Status.NONFINITE and 50 < bounded.state.item() <= 100


def test_a_step_that_gives_nan_is_no_exponent():
    found = largest_exponent(Map(lambda x: x.sqrt() - 0.4), torch.tensor([[1.0], [0.16]]).double(), steps=50)
    assert (found.status == Status.NONFINITE).all() and torch.isnan(found.exponent).all()


def test_halves_that_disagree_have_no_error():
    found = largest_exponent(
        Map(lambda x, t: x * (2.0 if t < 120 else 0.5)), torch.zeros(2, 1).double(), steps=200, transient=20
    )
    assert torch.isnan(found.standard_error).all() and (found.status == Status.OK).all()
    torch.testing.assert_close(
        found.halves, torch.tensor([[1.0, 1], [-1, -1]]).double() * math.log(2), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(found.exponent, torch.zeros(2).double(), atol=1e-12, rtol=0)


def test_few_steps_have_no_error_and_the_seed_decides():
    system, x = Map(henon), 0.1 * rand(3, 2)
    assert torch.isnan(largest_exponent(system, x, steps=3).standard_error).all()
    a, b, c = (largest_exponent(system, x, steps=5, transient=0, seed=s).exponent for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_precision_of_the_model():
    model = network().float()
    found = largest_exponent(Loop(model), rand(3, 2).float(), steps=50)
    wide = largest_exponent(Loop(model.double()), rand(3, 2), steps=50)
    assert found.state.dtype == torch.float32 and found.exponent.dtype == torch.float64
    assert wide.exponent.dtype == torch.float64
    cubic = Map(lambda x: x * torch.tensor(0.5, dtype=torch.float32) + torch.zeros(1, dtype=torch.float32))
    assert largest_exponent(cubic, rand(3, 1), steps=5).exponent == pytest.approx(math.log(0.5))


def test_driven_systems_end_at_their_horizon():
    driven = Loop(lambda x, u: 0.5 * x + u, 0.1 * rand(30, 1))
    found = largest_exponent(driven, rand(2, 1), steps=20, transient=10)
    torch.testing.assert_close(found.exponent, full(math.log(0.5), 2))
    with pytest.raises(ArgumentError, match=r"^steps: got 10 \+ 21 steps.*horizon of 30"):
        largest_exponent(driven, rand(2, 1), steps=21, transient=10)


def test_which_systems_are_seen_through():
    x = rand(4, 2)
    assert isinstance(columns(Map(network()), x), LureColumns)
    assert isinstance(columns(Loop(lambda x, u: torch.tanh(x) + u, lambda x: -0.1 * x), x), LureColumns)
    for system in (
        Map(henon),
        Map(lambda x, t: torch.tanh(x) * t),
        Loop(lambda x, u: torch.tanh(x) + u, rand(5, 2)),
        Map(lambda x: torch.tanh(x) * torch.tanh(x)),
    ):
        assert isinstance(columns(system, x), StepColumns)
    assert isinstance(columns(Loop(network(n=70, width=70)), rand(2, 70)), StepColumns)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"^steps: got 0"),
        ({"steps": 2.5}, r"^steps: got 2.5"),
        ({"transient": -1}, r"^transient: got -1"),
        ({"escape": 0.0}, r"^escape: got 0.0"),
        ({"escape": math.nan}, r"^escape: got nan"),
    ],
)
def test_numbers_that_cannot_be(options, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        largest_exponent(Map(henon), rand(2, 2), **options)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (torch.zeros(2), r"^states: got shape \(2,\)"),
        (torch.zeros(0, 2), r"^states: got shape \(0, 2\)"),
        (torch.zeros(2, 2, dtype=torch.int64), r"^states: got .*int64"),
        (torch.full((2, 2), torch.nan), r"^states: got values that are NaN"),
    ],
)
def test_states_that_cannot_be(states, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        largest_exponent(Map(henon), states)


def test_what_is_no_system():
    for wrong in (henon, network(), None):
        with pytest.raises(ArgumentError, match=r"^system: got .*sx\.Loop\(model\)"):
            largest_exponent(wrong, rand(2, 2))
    with pytest.raises(ArgumentError, match=r"^system: got a system that rejects states of 3 components"):
        largest_exponent(Loop(network()), rand(2, 3))
    with pytest.raises(ArgumentError, match=r"^system: got a step from 2 to 12 components"):
        largest_exponent(Depth(network()), rand(2, 2), steps=1, transient=0)
