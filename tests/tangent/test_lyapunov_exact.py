"""Exponents of orbits: exact answers, invariants, published values, high precision."""

import math

import numpy as np
import pytest
import torch

from separatrix.systems import Flow, Map
from separatrix.tangent.lyapunov import lyapunov
from separatrix.testing.lyapunov_twin import orbit_jacobians, qr_stretches, singular_stretches

GENERATOR = torch.Generator().manual_seed(0)


def rand(*shape):
    return torch.rand(*shape, generator=GENERATOR, dtype=torch.float64)


def matrix(rows):
    return torch.tensor(rows, dtype=torch.float64)


def henon(x):
    return torch.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], dim=1)


def lorenz(s):
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def linear(*factors):
    return Map(lambda x, t: x @ factors[t % len(factors)].T)


def two_weights(eta, beta=0.0):
    """Heavy ball on (w v - 1)^2 / 2, the state being (w, v, m_w, m_v)."""

    def step(s):
        w, v, mw, mv = s.unbind(-1)
        residual = w * v - 1
        mw, mv = beta * mw + residual * v, beta * mv + residual * w
        return torch.stack([w - eta * mw, v - eta * mv, mw, mv], -1)

    return Map(step)


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_gradient_descent_on_a_quadratic(form):
    a = matrix([0.5, 3.0, 9.0, 12.0, -1.0])  # eta a = 1.2 and -0.1: one mode flips its sign, one grows
    found = lyapunov(Map(lambda x: x - 0.1 * a * x), rand(3, 5), steps=40, transient=300, form=form)
    wanted = np.sort(np.log(np.abs(1 - 0.1 * a.numpy())))[::-1]
    np.testing.assert_allclose(found.exponent, np.tile(wanted, (3, 1)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.stretch, found.exponent * 40)
    assert (found.status == (0 if form == "qr" else 1)).all()


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_cat_map(form):
    A = matrix([[2, 1], [1, 1]])
    found = lyapunov(Map(lambda x: (x @ A.T) % 1), rand(4, 2), steps=50, transient=40, form=form)
    np.testing.assert_allclose(found.exponent, np.tile([0.9624236501192069, -0.9624236501192069], (4, 1)), atol=1e-13)


def baker(x):
    top = x[:, 0] >= 0.5
    return torch.stack([2 * x[:, 0] - top.double(), (x[:, 1] + top.double()) / 2], 1)


def test_baker_and_tent_maps_have_their_slopes():
    found = lyapunov(Map(baker), rand(3, 2), steps=30, transient=40)
    np.testing.assert_allclose(found.exponent, np.tile([math.log(2), -math.log(2)], (3, 1)), rtol=0, atol=1e-14)
    found = lyapunov(Map(lambda x: 0.95 - 1.9 * (x - 0.5).abs()), rand(3, 1), steps=30)
    np.testing.assert_allclose(found.exponent, math.log(1.9), rtol=0, atol=1e-14)
    assert (found.standard_error < 1e-14).all() and (found.status == 0).all()


def test_logistic_map_at_4_has_ln_2_within_its_error():
    found = lyapunov(Map(lambda x: 4 * x * (1 - x)), rand(64, 1), steps=640, transient=20)
    error = float(np.sqrt((found.standard_error**2).mean())) / 8
    assert error < 0.003 and float(found.exponent.mean()) == pytest.approx(math.log(2), abs=4 * error)


def test_errors_are_those_of_independent_slopes():
    # slopes 1/a and 1/(1 - a), met independently with probabilities a and 1 - a
    skew = Map(lambda x: torch.where(x < 0.3, x / 0.3, (1 - x) / 0.7))
    found = lyapunov(skew, rand(128, 1), steps=480, transient=20)
    wanted = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    z = ((found.exponent - wanted) / found.standard_error).values[found.status.values == 0]
    assert len(z) > 120 and abs(z.mean()) < 0.3 and 0.85 < z.std() < 1.35
    spread = math.sqrt(0.3 * 0.7) * math.log(0.7 / 0.3) / math.sqrt(480)
    assert float(found.standard_error.mean()) == pytest.approx(spread, rel=0.05)


def test_period_two_products():
    a, b = period_two()
    found = lyapunov(linear(a, b), torch.zeros(2).double(), steps=50, transient=100)
    np.testing.assert_allclose(found.exponent[0], [-0.30546971, -1.52711175], atol=5e-9)
    np.testing.assert_allclose(found.exponent.sum("index"), math.log(0.16), rtol=0, atol=1e-14)


def period_two():
    """I - 0.2 H with H = diag(1, 4), and with H turned by 30 degrees."""
    turn = matrix([[math.sqrt(3) / 2, -0.5], [0.5, math.sqrt(3) / 2]])
    first = torch.diag(matrix([0.8, 0.2]))
    return first, turn @ first @ turn.T


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_a_minimum_of_the_net_with_two_weights(form):
    w, eta = 2.0, 0.1
    state = matrix([w, 1 / w])
    found = lyapunov(plain_two_weights(eta), state, steps=60, transient=60, form=form)
    np.testing.assert_allclose(found.exponent[0], [0, math.log(1 - eta * (w**2 + w**-2))], rtol=0, atol=1e-13)


def plain_two_weights(eta):
    def step(s):
        w, v = s.unbind(-1)
        return torch.stack([w - eta * (w * v - 1) * v, v - eta * (w * v - 1) * w], -1)

    return Map(step)


def test_heavy_ball_contracts_volume_at_a_fixed_rate_and_pairs_its_exponents():
    beta, system = 0.9, two_weights(0.05, 0.9)
    states = torch.cat([1 + rand(3, 2), 0.1 * rand(3, 2)], 1)
    times = {form: lyapunov(system, states, steps=30, form=form, every=5) for form in ("qr", "svd")}
    for found in times.values():
        np.testing.assert_allclose(found.history.sum("index"), 2 * math.log(beta), rtol=0, atol=1e-13)
    paired = times["svd"].history.values
    np.testing.assert_allclose(paired + paired[..., ::-1], math.log(beta), rtol=0, atol=1e-13)


def test_singular_values_against_high_precision():
    factors = [
        torch.randn(4, 4, generator=GENERATOR, dtype=torch.float64) * matrix([3, 1, 0.3, 0.01]) for _ in range(60)
    ]
    found = lyapunov(linear(*factors), torch.zeros(4).double(), steps=60, form="svd")
    wanted = singular_stretches(factors)
    assert wanted[0] - wanted[-1] > 150  # a plain product in float64 has lost them all but the first
    np.testing.assert_allclose(found.stretch[0], wanted, rtol=0, atol=1e-11)
    assert not (found.standard_error == found.standard_error).any()


def test_partial_sums_of_both_forms_and_the_determinant():
    system, states = Map(lambda x: torch.tanh(x @ MIX.T) + 0.1 * x), rand(4, 5)
    qr = lyapunov(system, states, steps=25, every=5, seeds=3)
    svd = lyapunov(system, states, steps=25, every=5, form="svd")
    apart = (svd.history.cumsum("index") - qr.history.cumsum("index")).values
    assert (apart > -1e-13).all() and apart[..., :-1].max() > 0.01
    for member in range(4):
        _, jacobians = orbit_jacobians(system, states[member], 25)
        volume = np.array([float(torch.linalg.slogdet(j)[1]) for j in jacobians])
        mean = np.cumsum(volume)[4::5] / qr.time.values
        np.testing.assert_allclose(qr.history[member].sum("index"), mean, rtol=0, atol=1e-13)
        np.testing.assert_allclose(svd.history[member].sum("index"), mean, rtol=0, atol=1e-13)
    _, jacobians = orbit_jacobians(system, states[0], 25)
    np.testing.assert_allclose(svd.stretch[0], singular_stretches(jacobians, 60), rtol=0, atol=1e-11)


MIX = torch.randn(5, 5, generator=GENERATOR, dtype=torch.float64)


def test_henon_has_the_published_spectrum():
    # 0.41922 and -1.62319 (Sprott, Chaos and Time-Series Analysis, 2003); |det| = 0.3 at every step
    found = lyapunov(Map(henon), 0.1 * rand(64, 2), steps=800, transient=100, every=100)
    np.testing.assert_allclose(found.history.sum("index"), math.log(0.3), rtol=0, atol=1e-12)
    error = float(np.sqrt((found.standard_error**2).mean())) / 8
    assert error < 0.003
    np.testing.assert_allclose(found.exponent.mean("member"), [0.41922, -1.62319], rtol=0, atol=4 * error)
    z = ((found.exponent[:, 0] - 0.41922) / found.standard_error[:, 0]).values
    assert 0.7 < np.nanstd(z) < 1.6


def settled(count, dt=0.05, steps=500):
    """States of the Lorenz attractor: the first turns of an orbit are slow, and much the same for all."""
    x = (rand(count, 3) - 0.5) * 30 + torch.tensor([0.0, 0, 25]).double()
    for _ in range(steps):
        a = lorenz(x)
        b = lorenz(x + dt / 2 * a)
        c = lorenz(x + dt / 2 * b)
        x = x + dt / 6 * (a + 2 * b + 2 * c + lorenz(x + dt * c))
    return x


def test_lorenz_has_the_published_spectrum():
    # 0.9056, 0, -14.5723 (Sprott, 2003); the error from the spread of independent orbits
    found = lyapunov(Flow(lorenz, 0.02), settled(300), steps=450, transient=300, every=450)
    assert found.exponent.attrs["units"] == "1/time" and found.duration.values.tolist() == [9.0]
    error = found.exponent.std("member").values / math.sqrt(300)
    assert (error < 0.02).all()
    apart = found.exponent.mean("member").values - [0.9056, 0, -14.5723]
    assert (np.abs(apart) < 4 * error + 2e-3).all()


def test_the_sum_of_the_lorenz_exponents_is_its_divergence():
    # -41/3 everywhere; the determinant of a Runge-Kutta step of order 4 has it to dt^4 per time
    states = settled(4)
    error = {}
    for dt in (0.01, 0.005):
        sums = lyapunov(Flow(lorenz, dt), states, steps=20).exponent.sum("index").values
        error[dt] = np.abs(sums + 41 / 3).max()
    assert error[0.005] < 3e-5 and error[0.01] > 8 * error[0.005]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_naive_twin(k):
    from separatrix.tangent.qr_sweep import random_frames

    system, state = Map(lambda x: torch.sin(x @ MIX.T)), rand(5)
    found = lyapunov(system, state, steps=20, k=k, seed=7)
    _, jacobians = orbit_jacobians(system, state, 20)
    logs = qr_stretches(jacobians, random_frames(1, 1, 5, k, 7)[0, 0]).cumsum(0)
    wanted = logs.sort(-1, descending=True).values / torch.arange(1, 21)[:, None]
    np.testing.assert_allclose(found.history[0], wanted, rtol=0, atol=1e-12)
