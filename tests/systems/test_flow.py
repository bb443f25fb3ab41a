"""Flow: exact derivatives of the integrator's step, order of convergence, time-dependent fields."""

import math

import pytest
import torch
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import Flow, System, adjoint
from separatrix.testing import check_system

GENERATOR = torch.Generator().manual_seed(0)
A = torch.randn(3, 3, generator=GENERATOR, dtype=torch.float64)
X = torch.randn(5, 3, generator=GENERATOR, dtype=torch.float64)
V = torch.randn(2, 5, 3, generator=GENERATOR, dtype=torch.float64)
ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


def lorenz(x, sigma=10.0, rho=28.0, beta=8 / 3):
    return torch.stack(
        [sigma * (x[:, 1] - x[:, 0]), x[:, 0] * (rho - x[:, 2]) - x[:, 1], x[:, 0] * x[:, 1] - beta * x[:, 2]], dim=1
    )


@pytest.mark.parametrize(("method", "order"), ORDERS.items())
def test_linear_field_gives_the_taylor_polynomial_of_the_exponential(method, order):
    h = 0.1
    exact = sum(torch.linalg.matrix_power(h * A, p) / math.factorial(p) for p in range(order + 1))
    system = Flow(lambda x: x @ A.T, h, method)
    following, MV = system.tangent(X, V, 0)
    torch.testing.assert_close(following, X @ exact.T, rtol=0, atol=1e-14)
    torch.testing.assert_close(MV, V @ exact.T, rtol=0, atol=1e-14)
    torch.testing.assert_close(adjoint(system, X, V, 0), V @ exact, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("method", "order"), ORDERS.items())
def test_order_of_convergence_on_lorenz_63(method, order):
    start = torch.tensor([1.0, 2.0, 20.0], dtype=torch.float64)
    span = 0.32

    def end(dt, method):
        system, x, v = Flow(lorenz, dt, method), start, torch.eye(3, dtype=torch.float64)
        for t in range(round(span / dt)):
            x, v = system.tangent(x, v, t)
        return torch.cat([x, v.flatten()])

    exact = end(span / 1024, "rk4")
    errors = [(end(span / n, method) - exact).norm() for n in (64, 128)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_lorenz_63_contracts_volume_at_the_divergence():
    # the sum of the Lyapunov exponents is -(sigma + 1 + beta), exactly, on every orbit
    system = Flow(lorenz, 0.0025)
    x = torch.tensor([1.0, 2.0, 20.0], dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    total = 0.0
    for t in range(200):
        x, columns = system.tangent(x, eye, t)
        total += torch.linalg.slogdet(columns).logabsdet.item()
    assert total / (200 * system.dt) == pytest.approx(-41 / 3, abs=1e-6)


def test_lorenz_63_equilibrium_stays():
    x = torch.tensor([72**0.5, 72**0.5, 27.0], dtype=torch.float64)
    torch.testing.assert_close(Flow(lorenz, 0.01).step(x, 0), x, rtol=0, atol=1e-13)


def test_time_reaches_the_stages():
    # on x' = g(t) rk4 is Simpson's rule, exact for cubics
    seen = []

    def field(x, t):
        seen.append(t)
        return torch.full_like(x, 4 * t**3)

    system = Flow(field, 0.25)
    x = torch.zeros(1, dtype=torch.float64)
    for t in range(8):
        x = system.step(x, t)
    assert x.item() == pytest.approx(2.0**4, abs=1e-13)
    assert seen[:4] == [0.0, 0.125, 0.125, 0.25] and all(type(t) is float for t in seen)


def test_time_dependent_field_converges_with_order_4():
    def end(n):
        system, x = Flow(lambda x, t: x * math.cos(t), 1 / n), torch.ones(1, dtype=torch.float64)
        for t in range(n):
            x = system.step(x, t)
        return abs(x.item() - math.exp(math.sin(1)))

    assert math.log2(end(20) / end(40)) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("method", ORDERS)
@pytest.mark.parametrize(
    "field",
    [
        lorenz,
        lambda x, t: lorenz(x) * math.cos(t),
        nn.Sequential(nn.Linear(3, 6), nn.SiLU(), nn.Linear(6, 3)).double(),
    ],
    ids=["lorenz", "time", "module"],
)
def test_conforms(field, method):
    check_system(Flow(field, 0.01, method), X)


def test_errors_name_the_field():
    with pytest.raises(ArgumentError, match=r"^field: got the class Linear; give a function"):
        Flow(nn.Linear, 0.1)
    with pytest.raises(ArgumentError, match=r"^field: got a function that returns shape \(5, 1\)"):
        Flow(lambda x: x[:, :1], 0.1).step(X, 0)
    with pytest.raises(ArgumentError, match=r"^state: got 5 values that are NaN"):
        Flow(lorenz, 0.1).step(X[:, :1] * torch.nan, 0)
    with pytest.raises(ArgumentError, match=r"^dim: got None.*Flow\(\.\.\., dim=n\)"):
        Flow(lorenz, 0.1).dim(0)
    with pytest.raises(ArgumentError, match=r"^method: got 'rk5'; choose one of 'euler', 'midpoint', 'heun', 'rk4'"):
        Flow(lorenz, 0.1, "rk5")
    for bad in (0, -0.1, math.nan, math.inf):
        with pytest.raises(ArgumentError, match=r"^dt: "):
            Flow(lorenz, bad)


def test_is_a_system_in_time():
    system = Flow(lorenz, 0.01, dim=3)
    assert isinstance(system, System)
    assert (system.dt, system.unit, system.method, system.horizon, system.dim(9)) == (0.01, "1/time", "rk4", None, 3)
