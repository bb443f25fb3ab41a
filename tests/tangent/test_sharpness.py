"""The largest Hessian eigenvalues against closed forms, dense Hessians and finite differences."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import separatrix as sx


def training(*widths, points=40, optimizer=None, **options):
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(points, widths[0], generator=gen, dtype=torch.float64)
    y = torch.randn(points, widths[-1], generator=gen, dtype=torch.float64)
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.Tanh()]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(*layers[:-1])
    return sx.Training(net, F.mse_loss, (x, y), optimizer or sx.optim.GradientDescent(0.1), **options), x


def test_linear_regression_has_the_eigenvalues_of_its_inputs():
    run, x = training(5, 1)
    extended = torch.cat([x, torch.ones(40, 1, dtype=torch.float64)], 1)
    exact = torch.linalg.eigvalsh(2 * extended.T @ extended / 40).flip(0)
    found = sx.sharpness(run, run.initial_state(members=3), k="all")
    np.testing.assert_allclose(found.sharpness, exact.expand(3, -1), rtol=1e-12)
    assert (found.residual < 1e-12).all() and (found.status == 0).all()


def test_iteration_gives_the_eigenvalues_of_the_dense_hessian():
    run, _ = training(3, 20, 20, 1, optimizer=sx.optim.HeavyBall(0.1, 0.9))
    assert run.count > 300
    state = run.initial_state(seed=1, members=2)
    found = sx.sharpness(run, state, k=3, tol=1e-8)
    exact = torch.linalg.eigvalsh(run.hessian(state)).flip(-1)[:, :3]
    np.testing.assert_allclose(found.sharpness, exact, rtol=1e-7)
    # a residual bounds the distance from an eigenvalue
    assert (np.abs(found.sharpness.values - exact.numpy()) <= found.residual.values + 1e-12).all()
    assert "ARPACK" in found.method
    assert np.array_equal(found.sharpness, sx.sharpness(run, state, k=3, tol=1e-8).sharpness)


def test_it_is_the_curvature_of_the_batch_of_the_step():
    run, _ = training(2, 4, 1, points=16, batch_size=8)
    state = run.state_of()
    for t in (0, 1):
        exact = torch.linalg.eigvalsh(run.hessian(state, t)[0])[-1]
        assert float(sx.sharpness(run, state, t=t).sharpness[0, 0]) == pytest.approx(float(exact), rel=1e-12)
    assert sx.sharpness(run, t=0).sharpness != sx.sharpness(run, t=1).sharpness


def test_gradient_descent_on_a_quadratic_turns_unstable_at_two_over_the_rate():
    run, x = training(5, 1)
    top = float(sx.sharpness(run).sharpness[0, 0])
    y = torch.zeros(40, 1, dtype=torch.float64)
    for rate in (1.99 / top, 2.01 / top):
        there = sx.Training(nn.Linear(5, 1), F.mse_loss, (x, y), sx.optim.GradientDescent(rate))
        moved = sx.lyapunov(there, there.initial_state(seed=2), steps=50, k="all", form="svd")
        values = np.log(np.abs(1 - rate * sx.sharpness(there, k="all").sharpness.values[0]))
        np.testing.assert_allclose(np.sort(moved.exponent.values[0]), np.sort(values), rtol=1e-9)
        assert (values[0] > 0) == (rate * top > 2)


@pytest.mark.parametrize("widths", [(2, 4, 1), (3, 20, 20, 1)])
def test_members_that_left_the_numbers_have_a_status(widths):
    run, _ = training(*widths)
    state = run.initial_state(members=3)
    state[1] = torch.nan
    found = sx.sharpness(run, state)
    assert found.status.values.tolist() == [0, 1, 0]
    assert np.isnan(found.sharpness[1]).all() and np.isfinite(found.sharpness[[0, 2]]).all()
    assert float(found.sharpness[2, 0]) == float(sx.sharpness(run, state[2:]).sharpness[0, 0])


def test_what_cannot_be_asked():
    run, _ = training(2, 4, 1)
    wide, _ = training(3, 20, 20, 1)
    for given, argument in (
        ({"system": sx.Map(lambda x: x)}, "system"),
        ({"k": 0}, "k"),
        ({"k": 1000}, "k"),
        ({"t": -1}, "t"),
        ({"tol": 2.0}, "tol"),
        ({"state": torch.zeros(1, 3, dtype=torch.float64)}, "state"),
        ({"system": wide, "k": "all"}, "k"),
    ):
        with pytest.raises(sx.ArgumentError) as error:
            sx.sharpness(**({"system": run} | given))
        assert error.value.argument == argument


def test_it_is_saved(tmp_path):
    import xarray as xr

    run, _ = training(2, 4, 1)
    found = sx.sharpness(run, k=2)
    found.to_netcdf(tmp_path / "s.nc")
    with xr.open_dataset(tmp_path / "s.nc") as again:
        assert again.identical(found)


def test_a_hessian_of_zeros_has_sharpness_zero():
    wide = torch.nn.Linear(40, 10)
    X = torch.ones(2, 40)
    run = sx.Training(wide, lambda out, y: 0 * out.sum(), (X, X[:, :10]), sx.optim.GradientDescent(0.1))
    found = sx.sharpness(run, k=2)
    assert found.attrs["method"].startswith("ARPACK")
    assert found.sharpness.values.tolist() == [[0.0, 0.0]] and found.status.values.tolist() == [0]


@pytest.mark.parametrize(("count", "method"), [(50, "dense"), (400, "ARPACK")])
def test_a_negative_curvature_of_greater_size_is_not_the_largest(count, method):
    """The loss is w.T diag(spectrum) w / 2 of the weights of a linear layer, with eigenvalues from -5 to 2."""
    line = nn.Linear(count, 1, bias=False).double()
    spectrum = torch.linspace(-5, 1, count, dtype=torch.float64)
    spectrum[count // 2] = 2.0
    # the outputs at the unit vectors are the weights
    X, target = torch.eye(count, dtype=torch.float64), spectrum[:, None]
    run = sx.Training(line, lambda out, s: (s * out**2).sum() / 2, (X, target), sx.optim.GradientDescent(0.1))
    found = sx.sharpness(run, tol=1e-8)
    assert found.attrs["method"].startswith(method)
    assert float(found.sharpness[0, 0]) == pytest.approx(2.0, rel=1e-7) and found.status.item() == 0
