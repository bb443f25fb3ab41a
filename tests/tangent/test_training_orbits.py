"""Training in lyapunov and covariant: exact losses, invariants of optimizers, and runs that go wrong."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.systems import half_squared_error
from separatrix.tangent.orbit_status import OrbitStatus
from separatrix.tangent.orbits import Orbits
from separatrix.tangent.qr_sweep import advance, begin, orthonormalise

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def regression(optimizer, *batches, **options):
    """Linear regression on rows X with targets 1: the Hessian is X^T X / rows."""
    data = [(X, torch.ones(len(X), 1, dtype=torch.float64)) for X in batches]
    return sx.Training(nn.Linear(batches[0].shape[1], 1, bias=False), half_squared_error, data, optimizer, **options)


def rows(*curvatures):
    """Inputs with a diagonal Hessian."""
    return torch.diag(torch.tensor([math.sqrt(len(curvatures) * c) for c in curvatures], dtype=torch.float64))


X = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]


def small(optimizer, activation=nn.Tanh, **options):
    net = nn.Sequential(nn.Linear(1, 3), activation(), nn.Linear(3, 1))
    return sx.Training(net, half_squared_error, (X, torch.sin(3 * X)), optimizer, **options)


def defect(a, b):
    return 1 - (a * b).sum(-1).abs() / a.norm(dim=-1) / b.norm(dim=-1)


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_a_rate_of_one_over_the_curvature_removes_a_direction(form):
    system = regression(sx.optim.GradientDescent(0.25), rows(1.0, 2.0, 4.0))
    found = sx.lyapunov(system, system.initial_state(0, 2), steps=12, transient=80, form=form)
    np.testing.assert_allclose(found.exponent[:, :2], np.log([[0.75, 0.5]] * 2), rtol=0, atol=1e-12)
    assert (found.status[:, 2] == OrbitStatus.SINGULAR).all() and (found.status[:, :2] < OrbitStatus.TRANSIENT).all()
    last = found.exponent[:, 2].values
    assert np.isneginf(last).all() if form == "svd" else (last < math.log(1e-13)).all()


def test_a_singular_step_in_a_covariant_run():
    system = regression(sx.optim.GradientDescent(0.25), rows(1.0, 2.0, 4.0))
    found = sx.covariant(system, system.initial_state(0, 2), steps=20, spinup=80, spindown=80, vectors=5)
    assert (
        found.status.values.tolist() == [[0, 0, OrbitStatus.SINGULAR]] * 2 and (found.singular_steps[:, 2] == 20).all()
    )
    assert defect(torch.tensor(found.vector.values), torch.eye(3).double()).max() < 1e-12
    assert np.isfinite(found.local_growth).all()


def test_heavy_ball_has_its_multipliers_and_pairs():
    beta, eta, curvatures = 0.25, 0.1, np.array([0.5, 2.0])  # where no multipliers are complex
    system = regression(sx.optim.HeavyBall(eta, beta), rows(*curvatures))
    state = system.initial_state(0, 2)
    roots = [np.roots([1, -(1 + beta - eta * a), beta]) for a in curvatures]
    wanted = np.sort(np.log(np.abs(np.concatenate(roots))))[::-1]
    options = {"steps": 20, "transient": 80, "every": 20}
    found = sx.lyapunov(system, state, **options)
    np.testing.assert_allclose(found.exponent, [wanted] * 2, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.exponent.sum("index"), 2 * math.log(beta), rtol=0, atol=1e-12)
    few = {"k": 2, "which": "smallest", **options}
    dense, paired = (sx.lyapunov(system, state, memory=m, **few) for m in ("1MB", 2000))
    assert paired.attrs["method"].endswith("-pairing") and not dense.attrs["method"].endswith("-pairing")
    for one in (dense, paired):
        assert one.index.values.tolist() == [3, 4] and one.attrs["which"] == "smallest"
        np.testing.assert_allclose(one.exponent, [wanted[-2:]] * 2, rtol=0, atol=1e-9)


def test_heavy_ball_of_a_network_pairs_at_every_time():
    system = small(sx.optim.HeavyBall([0.3, 0.1] * 10, 0.9, dampening=0.2, weight_decay=0.01))
    found = sx.lyapunov(system, system.initial_state(0, 2), steps=20, every=5, form="svd").history.values
    np.testing.assert_allclose(found + found[..., ::-1], math.log(0.9), rtol=0, atol=1e-11)
    small_end = sx.lyapunov(system, system.initial_state(0, 2), steps=20, k=3, form="svd", which="smallest")
    np.testing.assert_array_equal(small_end.exponent, found[:, -1, -3:])


def test_adam_contracts_volume_at_a_fixed_rate():
    # the new weights are a function of the old ones less one of the new memory: det M = (beta1 beta2)^P
    system = small(sx.optim.Adam(0.01, betas=(0.8, 0.95)))
    found = sx.lyapunov(system, system.initial_state(1, 3), steps=60, every=20, transient=10)
    assert not found.singular_steps.any()
    np.testing.assert_allclose(found.history.sum("index"), 10 * math.log(0.8 * 0.95), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "optimizer", [sx.optim.Adam(0.01, (0.5, 0.8)), sx.optim.RMSprop(0.01, 0.8)], ids=["adam", "rms"]
)
def test_dead_units_keep_their_weights_and_forget_their_memory(optimizer):
    system = small(optimizer, nn.ReLU)
    state = system.initial_state(0, 2)
    state[:, system.parameters["0.bias"]] = -50.0
    # all but the last bias are dead
    found = sx.lyapunov(system, state, steps=20, transient=300).exponent.values
    rates = [0.0, math.log(0.8)] + [math.log(0.5)] * (len(system.parts) == 3)
    for rate in rates:
        assert ((np.abs(found - rate) < 1e-9).sum(1) >= 9).all()
    vectors = sx.covariant(system, state, steps=20, k=6, vectors=10)
    assert np.isfinite(vectors.vector).all() and (vectors.status < OrbitStatus.NONFINITE).all()


@pytest.mark.parametrize("rule", [sx.optim.GradientDescent(0.1), sx.optim.Adam(0.1)], ids=["descent", "adam"])
@pytest.mark.parametrize("form", ["qr", "svd"])
def test_an_exploding_run_has_a_status_and_disturbs_no_other(rule, form):
    system = small(rule, nn.Identity)
    state = system.initial_state(0, 3)
    state[2, : system.count] = 1e60 if rule.parts == ("weights",) else 1e100
    found = sx.lyapunov(system, state, steps=12, k=3, form=form)
    assert found.status[:, 0].values.tolist().index(OrbitStatus.NONFINITE) == 2 and found.attrs["ended"] == 1
    assert (
        np.isnan(found.exponent[2]).all()
        and found.last_step.values[2] < 12
        and np.isfinite(found.exponent[:2, 0]).all()
    )
    others = sx.lyapunov(system, state[[0, 1, 0]], steps=12, k=3, form=form)  # first frames are drawn for all members
    np.testing.assert_array_equal(found.exponent[:2], others.exponent[:2])
    vectors = sx.covariant(system, state, steps=8, k=2, vectors=2)
    assert np.isnan(vectors.vector[2]).all() and (vectors.status[2] == OrbitStatus.NONFINITE).all()
    assert np.isfinite(vectors.vector[:2]).all() and np.isfinite(vectors.angle[:2]).all()


def test_two_batches_that_do_not_commute():
    turn = torch.tensor([[math.sqrt(3) / 2, -0.5], [0.5, math.sqrt(3) / 2]], dtype=torch.float64)
    system = regression(sx.optim.GradientDescent(0.2), rows(1.0, 4.0), rows(1.0, 4.0) @ turn.T)
    found = sx.covariant(system, system.initial_state(0), steps=40, spinup=60, spindown=60, vectors=2)
    np.testing.assert_allclose(found.exponent[0], [-0.30546971, -1.52711175], rtol=0, atol=5e-9)
    np.testing.assert_allclose(np.degrees(found.angle[0]), 72.5424, rtol=0, atol=5e-5)


def test_first_and_last_vectors_are_those_of_the_two_frames():
    root = rows(0.3, 1.5, 3.0, 4.5)
    batches = [root @ torch.linalg.matrix_exp(0.4 * (g - g.T)) for g in (draw(4, 4), draw(4, 4), draw(4, 4))]
    system = regression(sx.optim.GradientDescent(0.2), *batches)
    state, spin = system.initial_state(0), 150
    found = sx.covariant(system, state, steps=6, spinup=spin, spindown=spin, vectors=3)
    assert found.converged.all()
    orbits = Orbits(system, state, 3 * spin)
    frames, along = begin(orbits, state, 4, 5), [state]
    for _ in range(spin):
        frames, _ = advance(orbits, frames)
        along.append(frames.x)
    vector = torch.tensor(found.vector.values[0, 0])
    assert defect(vector[0], frames.q[0, 0, :, 0]) < 1e-13
    # forward vectors, from transposes of the steps that follow
    for t in range(spin, 2 * spin):
        along.append(system.step(along[-1], t))
    forward = draw(4, 4)
    for t in reversed(range(spin, 2 * spin)):
        pulled = system.adjoint(along[t], forward.T[:, None].contiguous(), t)[:, 0].T
        forward = orthonormalise(pulled, 1e-16)[0]
    assert (forward[:, :3].T @ vector[3]).abs().max() < 1e-12
    assert (vector @ vector.T - torch.eye(4)).abs().max() > 0.05  # no eigenvectors of one symmetric matrix


@pytest.mark.parametrize("rule", [sx.optim.Nesterov(0.1, 0.9), sx.optim.Adam(0.01)], ids=["nesterov", "adam"])
def test_vectors_of_a_training_are_covariant(rule):
    system = small(rule)
    state = system.initial_state(2, 2)
    found = sx.covariant(system, state, steps=12, k=5, spinup=20, spindown=20, vectors=1)
    v, x = torch.tensor(found.vector.values), state
    for t in range(20 + 11):
        if t >= 20:
            _, moved = system.tangent(x, v[:, t - 20].transpose(0, 1).contiguous(), t)
            assert defect(moved.transpose(0, 1), v[:, t - 19]).max() < 1e-10
            np.testing.assert_allclose(found.local_growth[:, t - 20], moved.norm(dim=-1).log().T, rtol=0, atol=1e-8)
        x = system.step(x, t)


def test_single_precision_one_direction_and_no_members():
    rough, fine = (small(sx.optim.HeavyBall(0.1, 0.9), dtype=dtype) for dtype in (torch.float32, torch.float64))
    state = fine.initial_state(0, 1)[0]
    a, b = (sx.lyapunov(s, state.to(d), steps=30, k=1) for s, d in ((rough, torch.float32), (fine, torch.float64)))
    assert a.sizes["member"] == a.sizes["index"] == 1 and a.attrs["precision"] == "float32"
    np.testing.assert_allclose(a.exponent, b.exponent, rtol=0, atol=1e-5)
    alone = sx.covariant(fine, state, steps=10, k=1)
    assert "angle" not in alone and np.isfinite(alone.exponent).all()
    with pytest.raises(sx.ArgumentError, match=r"^steps: got 16 in all; this system ends after 10"):
        sx.covariant(small(sx.optim.GradientDescent([0.1] * 10)), steps=10)


def test_a_training_under_way_goes_on_at_its_step():
    system = small(sx.optim.Adam(0.05), batch_size=5, shuffle_seed=3)
    state = system.initial_state(0, 2)
    whole = sx.lyapunov(system, state, steps=9, transient=7, form="svd", k=4)
    for t in range(7):
        state = system.step(state, t)
    later = small(sx.optim.Adam(0.05), batch_size=5, shuffle_seed=3, first_step=7)
    np.testing.assert_array_equal(sx.lyapunov(later, state, steps=9, form="svd", k=4).exponent, whole.exponent)
