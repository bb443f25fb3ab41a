"""Weight dynamics: networks, tangents and covariant angles of a cell, its settings, and the store."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.results.errors import ArgumentError
from separatrix.studies.sharafi2025.cells import cell_of
from separatrix.studies.sharafi2025.covariant_angles import KINDS, angles_before, nulls
from separatrix.studies.sharafi2025.formulas import errors
from separatrix.studies.sharafi2025.measure import measure
from separatrix.studies.sharafi2025.networks import initial_states, optimizer, target, training
from separatrix.studies.sharafi2025.settings import (
    ALIKE,
    BEYOND,
    CONTROL,
    DECLARED,
    GRID,
    OPEN,
    OWN,
    SMOOTH,
    base,
    cells,
    check,
    cost,
    name_of,
)
from separatrix.studies.sharafi2025.tangents import early, onward
from separatrix.studies.study import Context
from separatrix.sweeps.config import Config
from separatrix.tangent.ginelli import random_end
from separatrix.tangent.qr_sweep import random_frames

STEPS, EVERY, RECORD = 40, 1, 10
SMALL = {"members": 5, "steps": 60, "tangent_steps": STEPS, "record": RECORD, "at": (20, 40), "null_members": 3}


def setup(hidden=3, activation="tanh", **changed):
    run = base(hidden, activation, "sin(2πx)", **{**SMALL, **changed})
    system = training(run)
    return run, system, initial_states(run, system)


def frames_of(states, seed=0):
    return random_frames(1, len(states), states.shape[1], states.shape[1], seed)


def go(system, states, frames, steps=STEPS, **changed):
    return early(system, states, frames, steps, **{"every": EVERY, "record": RECORD, "keep": True, **changed})


def dense_maps(run, state, steps):
    """M of every step of one run, from autograd on a network written out here, and the weights along the way."""
    h, x = run["hidden"], torch.linspace(-1, 1, run["points"], dtype=torch.float64)
    y = torch.sin(2 * math.pi * x)
    act = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": nn.functional.softplus}[run["activation"]]

    def loss(w):
        hidden = act(x[:, None] * w[:h] + w[h : 2 * h])
        return ((hidden @ w[2 * h : 3 * h] + w[-1] - y) ** 2).mean() / 2

    maps, path, w = [], [state], state
    for _ in range(steps):
        maps.append((torch.eye(len(w)) - run["rate"] * torch.autograd.functional.hessian(loss, w)).numpy())
        w = w - run["rate"] * torch.autograd.functional.jacobian(loss, w)
        path.append(w)
    return maps, torch.stack(path), [float(loss(p)) for p in path]


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_early_tangents_agree_with_a_dense_loop(activation):
    run, system, states = setup(activation=activation)
    frames = frames_of(states)
    found = go(system, states, frames)
    maps, path, losses = dense_maps(run, states[1], STEPS)
    q, total = frames[0, 1].numpy(), 0.0
    for m in maps:
        q, r = np.linalg.qr(m @ q)
        total = total + np.log(np.abs(np.diag(r)))
    assert found.stretch[0, 1, -1].numpy() == pytest.approx(total, abs=1e-9)
    assert float(found.stretch[0, 1, -1].sum()) == pytest.approx(sum(np.linalg.slogdet(m)[1] for m in maps), abs=1e-9)
    assert torch.allclose(found.states[1], path[-1], atol=1e-12)
    assert found.loss[1].numpy() == pytest.approx(losses[::RECORD], abs=1e-12)
    sharpness = [(1 - np.linalg.eigvalsh(m)[0]) / run["rate"] for m in maps[::RECORD]]
    assert found.sharpness[1, :-1].numpy() == pytest.approx(sharpness, abs=1e-9)
    gradients = [float((path[t + 1] - path[t]).norm()) / run["rate"] for t in range(0, STEPS, RECORD)]
    assert found.gradient_norm[1, :-1].numpy() == pytest.approx(gradients, abs=1e-9)


def test_early_tangents_agree_with_lyapunov():
    _, system, states = setup()
    frames = torch.cat([frames_of(states), frames_of(states, 9)])
    found = go(system, states, frames)
    expected = sx.lyapunov(system, states, steps=STEPS, seed=0, every=RECORD)["history"].values * np.arange(
        RECORD, STEPS + 1, RECORD
    ).reshape(1, -1, 1)
    assert found.stretch[0, :, 1:].sort(-1, descending=True)[0].numpy() == pytest.approx(expected, abs=1e-9)
    # the second first frame changes single exponents and not their sum
    assert torch.allclose(found.stretch[0].sum(-1), found.stretch[1].sum(-1), atol=1e-9)
    assert (found.stretch[0] - found.stretch[1]).abs().max() > 0.1


def test_factorising_less_often_changes_no_sum():
    _, system, states = setup(2)
    frames = frames_of(states)
    often, rarely = (go(system, states, frames, every=every) for every in (1, 5))
    assert torch.allclose(often.stretch, rarely.stretch, atol=1e-8)
    assert len(often.factors) == 5 * len(rarely.factors)


def test_angles_agree_with_a_naive_backward_pass():
    run, system, states = setup()
    frames = frames_of(states)
    factors = go(system, states, frames).factors
    found = angles_before(factors, 32, 0)
    maps, _, _ = dense_maps(run, states[2], 32)
    qs, rs = [frames[0, 2].numpy()], []
    for m in maps:
        q, r = np.linalg.qr(m @ qs[-1])
        sign = np.sign(np.diag(r))
        qs.append(q * sign)
        rs.append(r * sign[:, None])
    c, seen = random_end(len(states), states.shape[1], 0)[2].numpy(), []
    for n in range(31, 7, -1):
        c = np.linalg.solve(rs[n], c)
        c /= np.linalg.norm(c, axis=0)
        if n in (8, 12, 16, 20, 24):
            v = qs[n] @ c
            # covariance, on the way: M V is V one step later up to lengths
            cosines = np.abs(v.T @ v)
            between = np.arccos(np.clip(cosines[np.triu_indices(len(v), 1)], 0, 1))
            rest = np.linalg.lstsq(v[:, :-1], v[:, -1], rcond=None)[0]
            seen.append((np.arccos(cosines[0, -1]), np.arcsin(np.linalg.norm(v[:, -1] - v[:, :-1] @ rest)),
                         between.min()))  # fmt: skip
    assert len(seen) == 5
    assert found.mean[2, :3].numpy() == pytest.approx(np.mean(seen, axis=0), abs=1e-5)
    assert float(found.counts.sum()) == len(states) * 5 * 45


def test_the_first_look_at_covariance():
    run, system, states = setup(2)
    frames = frames_of(states)
    factors = go(system, states, frames).factors
    maps, _, _ = dense_maps(run, states[0], STEPS)
    q = [frames[0, 0].numpy()]
    for m, r in zip(maps, factors, strict=True):
        q.append(np.linalg.solve(r[0].numpy().T, (m @ q[-1]).T).T)
    from separatrix.tangent.ginelli import step_back

    c = {STEPS: random_end(5, 7, 0)}
    for n in range(STEPS - 1, -1, -1):
        c[n] = step_back(factors[n], c[n + 1])[0]
    for n in (3, 10, 20):
        ahead, there = maps[n] @ (q[n] @ c[n][0].numpy()), q[n + 1] @ c[n + 1][0].numpy()
        cosines = np.abs((ahead / np.linalg.norm(ahead, axis=0) * there).sum(0))
        assert cosines == pytest.approx(np.ones(7), abs=1e-8)


def test_the_future_changes_no_angle():
    _, system, states = setup()
    factors = go(system, states, frames_of(states)).factors
    changed = [*factors[:24], *(torch.eye(10).double().expand(5, -1, -1) * 7 for _ in factors[24:])]
    assert torch.equal(angles_before(factors, 24, 0).mean, angles_before(changed, 24, 0).mean)
    assert not torch.equal(angles_before(factors, 30, 0).mean, angles_before(changed, 30, 0).mean)


def test_the_future_changes_no_indicator():
    short = {"tangent_steps": 20, "at": (20,)}
    runs = [base(2, "tanh", "sin(2πx)", **{**SMALL, **change}) for change in (short, {"steps": 90})]
    one, other = (cell_of(GRID, run, measure(Config(run))) for run in runs)
    assert not np.array_equal(one.final, other.final)
    for what in ("indicators", "baselines", "angles"):
        mine, its = getattr(one, what)(20), getattr(other, what)(20)
        assert list(mine) == list(its)
        for name in mine:
            assert np.array_equal(mine[name], its[name]), (what, name)


def test_nulls():
    _, system, states = setup(2, rate=0.35)
    states, frames = states[:3], frames_of(states[:3])[0]
    found = nulls(system, states, frames, 60, 1, 0)
    own = angles_before(go(system, states, frames[None], 60).factors, 60, 0)
    assert torch.allclose(found.mean[0], own.mean, atol=1e-6) and torch.equal(found.counts[0], own.counts)
    # the eigenvectors of one symmetric map are orthogonal; the most contracted one has converged
    last = KINDS.index("last_rest")
    assert found.mean[1, :, last].numpy() == pytest.approx(np.full(3, np.pi / 2), abs=1e-5)
    assert (found.mean[2, :, last] < np.pi / 2 - 1e-3).all()
    # members that leave the numbers are left out, and the others do not notice
    wild = states.clone()
    wild[1] = 1e200
    fewer = nulls(system, wild, frames, 60, 1, 0)
    assert fewer.mean.shape[1] == 2 and torch.allclose(fewer.mean[:, 0], found.mean[:, 0], atol=1e-6)
    assert torch.allclose(fewer.mean[0, 1, last], found.mean[0, 2, last], atol=1e-6)


def test_runs_that_diverge_are_high_and_disturb_nobody():
    run, system, states = setup(2, "tanh", rate=0.2)
    wild = states.clone()
    wild[1] = 1e160
    frames = frames_of(states)
    calm, found = go(system, states, frames), go(system, wild, frames)
    others = [0, 2, 3, 4]
    assert torch.equal(calm.stretch[:, others], found.stretch[:, others])
    assert torch.isinf(found.stretch[0, 1, -1]).all() and torch.isinf(found.loss[1, -1])
    assert torch.isinf(onward(system, wild, 0, (0, 1, 3))[1]).all(), "also while the state itself is still finite"
    assert torch.isinf(onward(system, found.states, STEPS, (STEPS + 1,))[1]).all()
    cell = cell_of(GRID, run, measure(Config({**run, "rate": 40.0, "steps": 120})))
    assert np.isinf(cell.final).any() and not np.isnan(cell.final).any()
    for t in (20, 40):
        assert not any(np.isnan(v).any() for v in [*cell.indicators(t).values(), *cell.angles(t).values()])


@pytest.mark.parametrize(("name", "rate"), [("gradient descent", 0.2), ("heavy ball", 0.05), ("Adam", 0.01)])
def test_training_is_that_of_torch(name, rate):
    _, system, states = setup(2, optimizer=name, rate=rate)
    network = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    nn.utils.vector_to_parameters(states[3, : system.count].clone(), network.parameters())
    made = {
        "gradient descent": lambda p: torch.optim.SGD(p, lr=rate),
        "heavy ball": lambda p: torch.optim.SGD(p, lr=rate, momentum=0.9),
        "Adam": lambda p: torch.optim.Adam(p, lr=rate),
    }[name](network.parameters())
    x = torch.linspace(-1, 1, 30, dtype=torch.float64)[:, None]

    def loss():
        return ((network(x) - torch.sin(2 * math.pi * x)) ** 2).mean() / 2

    seen = []
    for _ in range(50):
        made.zero_grad()
        loss().backward()
        made.step()
        seen.append(loss().item())
    found = onward(system, states, 0, (1, 20, 50))[3]
    assert found.numpy() == pytest.approx([seen[0], seen[19], seen[49]], rel=1e-11)


def test_initial_weights():
    run, system, states = setup(4, members=400)
    assert torch.equal(states[:5], setup(4)[2]) and abs(float(states.std()) - 1) < 0.05
    assert torch.allclose(setup(4, scale=0.5)[2] * 2, states[:5])
    assert torch.equal(states[:5], setup(4, activation="relu", rate=0.3)[2]), "the same for all activations and rates"
    uniform = setup(4, distribution="uniform", scale=2.0, members=400)[2]
    assert float(uniform.abs().max()) <= 2 and abs(float(uniform.std()) - 2 / math.sqrt(3)) < 0.05
    glorot = setup(4, distribution="glorot", members=400)[2]
    assert (glorot[:, system.parameters["0.bias"]] == 0).all() and (glorot[:, -1] == 0).all()
    assert abs(float(glorot[:, system.parameters["0.weight"]].std()) - math.sqrt(2 / 5)) < 0.03
    for wrong in ({"distribution": "cauchy"}, {"activation": "sine"}, {"optimizer": "sgd"}, {"target": "cosine"}):
        bad = {**run, **wrong}
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            initial_states(bad, system), training(bad), optimizer(bad), target(bad["target"], states)


def test_closed_forms_are_exact_and_the_check_is_not_blind():
    exact, moved = errors((2, 4, 3), nn.Softplus, nn.Sigmoid, 3)
    assert exact < 1e-14 and moved < 1e-8


def test_the_declared_grid(tmp_path):
    groups = cells(Context("paper", tmp_path))
    runs = [run for some in groups.values() for run in some]
    smooth = [run for run in groups[GRID] if run["activation"] != CONTROL]
    assert len(smooth) >= 24 and len({name_of(run) for run in runs}) == len(runs)
    for run in runs:
        check(run)
        assert set(run) == set(DECLARED) and cost(run) > 0
        assert run["members"] >= 1000 and run["tangent_steps"] == 1000 and run["steps"] >= 10_000
        assert run["at"][-1] == 1000
    assert {run["hidden"] for run in smooth} == {2, 3, 5, 10} and len({run["target"] for run in smooth}) == 4
    assert {run["scale"] for run in groups[OPEN]} >= {0.5, 2.0} and len({run["rate"] for run in groups[OPEN]}) > 2
    assert {run["optimizer"] for run in groups[BEYOND]} == {"heavy ball", "Adam"}
    # each of the cells for the comparison of activations has its partners
    for run in groups[ALIKE]:
        partners = [r for r in runs if {**r, "activation": "", "frames": 0} == {**run, "activation": "", "frames": 0}]
        assert {r["activation"] for r in partners} >= set(SMOOTH)
    # seeds of the command reach every run
    assert all(run["seed"] == 7 for some in cells(Context("paper", tmp_path, seed=7)).values() for run in some)


def test_settings_of_ones_own(tmp_path):
    context = Context("quick", tmp_path)
    (tmp_path / OWN).write_text("[[cell]]\nhidden = 4\nrate = 1\nat = [100, 200]\nmembers = 20\n", "utf-8")
    (own,) = cells(context)["the reader's own"]
    assert own == {**DECLARED, "hidden": 4, "rate": 1, "at": (100, 200), "members": 20}
    assert name_of(own) == "tanh 4, sin(2πx), η 1"
    for text, match in {
        "[[cell]]\nnodes = 4": "nodes",
        "[[cell]]\nhidden = 'four'": "hidden",
        "[[cell]]\nat = [110]": "at",
        "[[cell]]\nat = []": "at",
        "[[cell]]\nat = [2000]": "at",
        "[[cell]]\nrecord = 30": "record",
        "[[cell]]\nsteps = 10": "steps",
        "[[cell]]\nsteps = 1500": "half time",
        "[[cell]]\nmembers = 4": "members",
        "[[cell]]\nsingular_until = 75": "singular_until",
        "cell = 3": "cell",
        "[[cell]": "cell",
    }.items():
        (tmp_path / OWN).write_text(text, "utf-8")
        with pytest.raises(ArgumentError, match=match):
            cells(context)
