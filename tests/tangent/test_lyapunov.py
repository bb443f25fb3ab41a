"""What lyapunov returns, refuses and leaves alone."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from separatrix.results.dataset import DIMENSIONS
from separatrix.results.errors import ArgumentError
from separatrix.systems import Depth, Flow, Loop, Map
from separatrix.systems.protocol import System
from separatrix.tangent.batch_means import batch_means, pieces
from separatrix.tangent.ginelli import random_end
from separatrix.tangent.lyapunov import lyapunov
from separatrix.tangent.orbit_status import OrbitStatus
from separatrix.tangent.qr_sweep import orthonormalise, random_frames
from separatrix.testing.lyapunov_twin import orbit_jacobians, qr_stretches, singular_stretches

GENERATOR = torch.Generator().manual_seed(0)


def rand(*shape):
    return torch.rand(*shape, generator=GENERATOR, dtype=torch.float64)


def henon(x):
    return torch.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], dim=1)


def network(*widths, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*parts[:-1]).to(dtype)


HENON, START = Map(henon), 0.1 * rand(6, 2)


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_the_result_follows_the_schema_and_survives_its_file(form, tmp_path):
    found = lyapunov(HENON, START, steps=40, every=10, window=20, form=form)
    assert found.exponent.dims == ("member", "index") and found.history.dims == ("member", "time", "index")
    assert found.sizes == {"member": 6, "index": 2, "time": 4} and found.time.values.tolist() == [10, 20, 30, 40]
    for variable in found.variables.values():
        order = [DIMENSIONS.index(d) for d in variable.dims]
        assert order == sorted(order)
    assert found.attrs["form"] == {"qr": "QR", "svd": "singular-value"}[form]
    meanings = dict(
        zip(found.status.attrs["flag_values"].tolist(), found.status.attrs["flag_meanings"].split(), strict=True)
    )
    assert meanings == {s.value: s.name.lower() for s in OrbitStatus}
    assert json.loads(found.attrs["provenance"])["settings"]["steps"] == 40
    assert (np.diff(found.history, axis=-1) <= 0).all()
    np.testing.assert_array_equal(found.history[:, -1], found.exponent)
    np.testing.assert_allclose(found.exponent * 40, found.stretch)
    found.to_netcdf(tmp_path / "exponents.nc")
    with xr.open_dataset(tmp_path / "exponents.nc") as back:
        xr.testing.assert_identical(back.load().drop_attrs(deep=False), found.drop_attrs(deep=False))


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_histories_and_windows_are_runs_of_their_own(form):
    found = lyapunov(HENON, START, steps=50, every=10, window=20, form=form, transient=30)
    assert np.isnan(found.window_exponent[:, 0]).all() and not np.isnan(found.window_exponent[:, 1:]).any()
    short = lyapunov(HENON, START, steps=30, every=10, form=form, transient=30)
    np.testing.assert_array_equal(short.history, found.history[:, :3])  # nothing knows what comes after it
    later = lyapunov(HENON, START, steps=20, transient=60, form=form)
    # in QR form the frame of both has passed 60 steps
    np.testing.assert_allclose(later.exponent, found.window_exponent[:, 4], rtol=0, atol=1e-12)
    odd = lyapunov(HENON, START, steps=47, every=10, window=20, form=form, transient=30)
    assert odd.time.values.tolist() == [10, 20, 30, 40, 47] and np.isnan(odd.window_exponent[:, 4]).all()
    np.testing.assert_array_equal(odd.window_exponent[:, :4], found.window_exponent[:, :4])


def test_members_are_independent_and_k_does_not_matter():
    together = lyapunov(HENON, START.reshape(2, 3, 2), steps=30, transient=40)
    for member in range(6):
        alone = lyapunov(HENON, START[member], steps=30, transient=40, k=1)
        np.testing.assert_allclose(alone.exponent[0, 0], together.exponent[member, 0], rtol=0, atol=1e-9)
    by_values = lyapunov(HENON, START, steps=12, form="svd", k=1)
    full = lyapunov(HENON, START, steps=12, form="svd")
    np.testing.assert_array_equal(by_values.exponent, full.exponent[:, :1])


def test_first_frames_and_their_spread():
    near = lyapunov(HENON, START, steps=10, seeds=8)
    assert (near.spread[:, 0] > 1e-3).all()
    single = [lyapunov(HENON, START, steps=10, seed=s).exponent for s in (0, 0, 1)]
    assert single[0].equals(single[1]) and not single[0].equals(single[2])
    assert np.isnan(lyapunov(HENON, START, steps=10).spread).all()
    forgotten = lyapunov(HENON, START, steps=10, seeds=8, transient=60)
    assert (forgotten.spread < 1e-13).all()
    alone = lyapunov(HENON, START, steps=10, transient=60, seed=3)
    np.testing.assert_allclose(forgotten.exponent, alone.exponent, rtol=0, atol=1e-13)


def test_a_transient_has_no_standard_error():
    system = Map(lambda x, t: x * (2.0 if t < 120 else 0.5))
    found = lyapunov(system, torch.zeros(2, 1).double(), steps=200, transient=20)
    assert np.isnan(found.standard_error).all() and (found.status == OrbitStatus.TRANSIENT).all()
    np.testing.assert_allclose(found.exponent, 0, atol=1e-12)
    short = lyapunov(HENON, START, steps=7)
    assert np.isnan(short.standard_error).all() and (short.status == OrbitStatus.SHORT).all()


def test_batch_means_by_hand():
    assert [pieces(n) for n in (7, 8, 11, 12, 31, 32, 1000)] == [0, 4, 4, 6, 14, 16, 16]
    sums = torch.tensor([2.0, 4.0, 3.0, 7.0]).double()[:, None, None]
    error, settled = batch_means(sums, torch.tensor([2.0, 2, 2, 2]).double())
    assert error.item() == pytest.approx(np.std([1, 2, 1.5, 3.5], ddof=1) / 2) and settled.all()
    drift = torch.tensor([1.0, 1.01, 2.0, 2.01]).double()[:, None, None]
    error, settled = batch_means(drift, torch.ones(4).double())
    assert torch.isnan(error).all() and not settled.any()


def test_a_singular_step_is_counted_and_leaves_no_silent_zero():
    # eta a = 1 removes one direction, at every step; rounding leaves about 1e-17 of it
    turn = torch.linalg.qr(torch.randn(3, 3, generator=GENERATOR, dtype=torch.float64))[0]
    hessian = turn @ torch.diag(torch.tensor([1.0, 5.0, 10.0]).double()) @ turn.T
    system = Map(lambda x: x - 0.1 * (x @ hessian))
    found = lyapunov(system, rand(2, 3), steps=30, transient=60)
    np.testing.assert_allclose(found.exponent[:, :2], np.log([[0.9, 0.5]] * 2), rtol=0, atol=1e-12)
    assert found.status.values.tolist() == [[0, 0, OrbitStatus.SINGULAR]] * 2
    assert (found.singular_steps == [0, 0, 30]).all()
    floor = math.log(64 * np.finfo(float).eps * 0.9)
    np.testing.assert_allclose(found.exponent[:, 2], floor, rtol=0, atol=0.2)
    values = lyapunov(system, rand(2, 3), steps=30, form="svd")
    assert np.isneginf(values.exponent[:, 2]).all() and (values.status[:, 2] == OrbitStatus.SINGULAR).all()
    once = lyapunov(Map(lambda x, t: x * (0.0 if t == 9 else 0.5)), torch.ones(1).double(), steps=20, every=5)
    assert once.singular_steps.item() == 1 and once.status.item() == OrbitStatus.SINGULAR
    np.testing.assert_allclose(once.history[0, 0], math.log(0.5), rtol=1e-14)
    np.testing.assert_allclose(once.stretch.item(), 19 * math.log(0.5) + math.log(64 * np.finfo(float).eps), rtol=1e-14)


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_orbits_that_leave_the_numbers_end_and_disturb_no_other(form):
    states = torch.tensor([[0.3], [3.0], [0.1]]).double()
    system = Map(lambda x: 3.9 * x * (1 - x))
    found = lyapunov(system, states, steps=40, every=2, form=form)
    assert found.status[:, 0].values.tolist()[1] == OrbitStatus.NONFINITE and found.attrs["ended"] == 1
    assert np.isnan(found.exponent[1]).all() and np.isnan(found.standard_error[1]).all()
    last = int(found.last_step[1])
    assert 5 < last < 15 and (np.isnan(found.history[1, :, 0]) == (found.time > last)).all()
    others = lyapunov(system, states[[0, 2]], steps=40, every=2, form=form)
    np.testing.assert_array_equal(found.exponent[[0, 2]], others.exponent)
    assert (found.last_step[[0, 2]] == 40).all()
    all_gone = lyapunov(system, states[1], steps=40, every=2, form=form)
    assert np.isnan(all_gone.exponent).all() and np.isfinite(all_gone.history[0, 0]).all()
    before = lyapunov(system, states[1], steps=40, transient=30, form=form)
    assert int(before.last_step[0]) == last - 30 and np.isnan(before.history).all()


def test_a_derivative_that_is_not_finite_ends_an_orbit():
    found = lyapunov(Map(lambda x: x.clamp(min=0).sqrt()), torch.tensor([[0.0], [0.5]]).double(), steps=10)
    assert found.status[0, 0] == OrbitStatus.NONFINITE and found.last_step.values.tolist() == [0, 10]


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_depth_and_its_bottlenecks(form):
    model = network(4, 6, 2, 5)
    system, states = Depth(model), rand(3, 4)
    found = lyapunov(system, states, steps=system.horizon, form=form)
    for member in range(3):
        _, jacobians = orbit_jacobians(system, states[member], system.horizon)
        if form == "svd":
            wanted = singular_stretches(jacobians, 50)[:2]
        else:
            wanted = (
                qr_stretches(jacobians, random_frames(1, 3, 4, 4, 0)[0, member][:, :2]).sum(0).sort(descending=True)[0]
            )
        np.testing.assert_allclose(found.stretch[member, :2], wanted, rtol=0, atol=1e-12)
    assert np.isneginf(found.exponent[:, 2:]).all() and (found.status[:, 2:] == OrbitStatus.MISSING).all()
    assert np.isfinite(found.history[:, 0]).all()
    with pytest.raises(ArgumentError, match=r"^steps: got 4 in all; this system ends after 3"):
        lyapunov(system, states, steps=3, transient=1)
    with pytest.raises(ArgumentError, match=r"^state: got 3 components; .* begin with 4"):
        lyapunov(system, rand(2, 3), steps=3)


def test_networks_in_a_loop_by_their_blocks_and_in_their_own_precision():
    wide, narrow = Loop(network(3, 8, 3)), Loop(network(3, 8, 3, dtype=torch.float32))
    state = rand(2, 3)
    found = lyapunov(wide, state, steps=30, k=2)
    assert found.attrs["method"] == "lure-householder"
    own = lyapunov(Map(lambda x, t: wide.network(x)), state, steps=30, k=2)
    assert own.attrs["method"] == "step-householder"
    np.testing.assert_allclose(found.exponent, own.exponent, rtol=0, atol=1e-12)
    rough = lyapunov(Map(lambda x, t: narrow.network(x)), state.float(), steps=30, k=2)
    assert rough.attrs["precision"] == "float32" and rough.exponent.dtype == np.float64
    np.testing.assert_allclose(rough.exponent, own.exponent, rtol=0, atol=1e-5)


def test_driven_and_timed_systems():
    driven = Loop(lambda x, u: 0.5 * x + u, 0.1 * rand(30, 1))
    found = lyapunov(driven, rand(2, 1), steps=20, transient=10)
    np.testing.assert_allclose(found.exponent, math.log(0.5), rtol=0, atol=1e-14)
    flow = lyapunov(Flow(lambda x: -x, 0.1), rand(2, 1), steps=20)
    # the Runge-Kutta step of x' = -x
    factor = 1 - 0.1 + 0.1**2 / 2 - 0.1**3 / 6 + 0.1**4 / 24
    np.testing.assert_allclose(flow.exponent, math.log(factor) / 0.1, rtol=1e-13)
    assert flow.exponent.attrs["units"] == "1/time" and flow.duration.values[-1] == pytest.approx(2.0)


class Optimizer:
    """Knows what its exponents pair to."""

    def pair_sum(self):
        return -0.2


class Offered(System):
    """A system of one's own: tangents by its own hand, and a state to start from."""

    def __init__(self, n=3, pairing=None):
        self.n = n
        if pairing is not None:
            self.pairing = pairing

    def dim(self, t=0):
        return self.n

    def step(self, state, t):
        return state * self.rates().to(state)

    def tangent(self, state, V, t):
        return self.step(state, t), V * self.rates().to(V)

    def rates(self):
        top = torch.linspace(0.0, 1.0, self.n // 2).double()
        return torch.exp(torch.cat([top, -0.2 - top])) if self.n % 2 == 0 else torch.linspace(0.5, 1.5, self.n)

    def initial_state(self, seed, members):
        return torch.full((members, self.n), float(seed + 1), dtype=torch.float64)


def test_a_system_may_offer_its_initial_state():
    found = lyapunov(Offered(), steps=20, transient=80)
    np.testing.assert_allclose(found.exponent[0], np.log([1.5, 1.0, 0.5]), rtol=0, atol=1e-12)
    with pytest.raises(ArgumentError, match=r"^state: got None; this system offers no initial state: give state="):
        lyapunov(HENON, steps=3)


@pytest.mark.parametrize("form", ["qr", "svd"])
def test_the_smallest_exponents(form):
    few = lyapunov(Offered(6), steps=40, transient=400, k=2, which="smallest", form=form)
    assert few.index.values.tolist() == [5, 6] and "pairing" not in few.attrs["method"]
    np.testing.assert_allclose(few.exponent[0], [-0.7, -1.2], rtol=0, atol=1e-12)
    large = {"steps": 12, "k": 2, "which": "smallest"}
    if form == "qr":
        paired = lyapunov(Offered(5000, pairing=-0.2), transient=100, **large)
        dense = lyapunov(Offered(5000, pairing=-0.2), transient=100, steps=12, k=2)
        assert paired.index.values.tolist() == [4999, 5000] and paired.attrs["method"].endswith("-pairing")
        np.testing.assert_allclose(paired.stretch, -0.2 * 12 - dense.stretch[:, ::-1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(paired.exponent[0, 1], -0.2 - dense.exponent[0, 0], rtol=0, atol=1e-12)
        heavy = Offered(5000)
        heavy.optimizer = Optimizer()
        np.testing.assert_array_equal(lyapunov(heavy, transient=100, **large).exponent, paired.exponent)
        with pytest.raises(ArgumentError, match=r"^k: got 3000; pairing gives the smallest 2500"):
            lyapunov(Offered(5000, pairing=-0.2), steps=12, k=3000, which="smallest")
        with pytest.raises(ArgumentError, match=r"^which: got 'smallest' for 5,000 components.*sharpness.*surrogate"):
            lyapunov(Offered(5000), **large)
    with pytest.raises(ArgumentError, match=r"^which: got 'smallest' for 600 components"):
        lyapunov(Offered(600), **large, form=form, memory="1MB")


def test_memory_and_progress():
    told = []
    lyapunov(HENON, START, steps=10, transient=5, progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 15) for i in range(15)]
    with pytest.raises(ArgumentError, match=r'^memory: got a budget of 10,000 bytes; this run holds .* give memory="'):
        lyapunov(HENON, START, steps=1000, memory=10_000)
    lyapunov(HENON, START, steps=1000, every=500, memory=10_000, transient=0, k=1)


def test_the_guest_is_left_as_it_was():
    model = network(2, 4, 2)
    before, state = torch.get_rng_state(), START.clone().requires_grad_()
    lyapunov(Map(model), state, steps=5)
    assert torch.is_grad_enabled() and torch.equal(torch.get_rng_state(), before)
    assert state.grad is None and all(p.grad is None and p.requires_grad for p in model.parameters())
    torch.testing.assert_close(state.detach(), START)

    def fails(x, t):
        if t == 3:
            raise RuntimeError("no")
        return x

    with pytest.raises(RuntimeError, match="no"):
        lyapunov(Map(fails), START, steps=5)
    assert torch.is_grad_enabled()


def test_frames_are_orthonormal_however_singular_the_columns():
    columns = torch.randn(50, 6, 4, generator=GENERATOR, dtype=torch.float64)
    columns[:20, :, 1] = columns[:20, :, 0] * (1 + 1e-15)
    columns[20:25] = 0
    columns[25:30] *= 1e-200
    columns[30:35, :, 2] *= 1e9
    eps = torch.finfo(torch.float64).eps
    q, r, floored = orthonormalise(columns, eps)
    torch.testing.assert_close(q.mT @ q, torch.eye(4).double().expand(50, 4, 4), rtol=0, atol=4e-15)
    assert (r.diagonal(dim1=-2, dim2=-1) > 0).all() and not r.tril(-1).any()
    size = torch.linalg.vector_norm(columns, dim=(1, 2))[:, None, None]
    assert ((q @ r - columns).abs() <= 100 * eps * torch.where(size == 0, 1.0, size)).all()
    assert floored[:20, 1].all() and floored[20:25].all() and not floored[25:30].any() and not floored[35:].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"^steps: got 0"),
        ({"steps": 2.5}, r"^steps: got 2.5"),
        ({"transient": -1}, r"^transient: got -1"),
        ({"every": 0}, r"^every: got 0"),
        ({"seeds": 0}, r"^seeds: got 0"),
        ({"seed": "one"}, r"^seed: got 'one'"),
        ({"k": 0}, r"^k: got 0; the state has 2 components"),
        ({"k": 3}, r"^k: got 3"),
        ({"k": "most"}, r"^k: got 'most'"),
        ({"form": "QR"}, r"^form: got 'QR'; choose one of 'qr', 'svd'"),
        ({"which": "middle"}, r"^which: got 'middle'"),
        ({"window": 3, "every": 2}, r"^window: got 3; give a multiple of every = 2"),
        ({"window": 20}, r"^window: got 20; .* at most steps = 10"),
        ({"form": "svd", "seeds": 2}, r"^seeds: got 2; the singular-value form has no first frame"),
        ({"memory": "much"}, r"^memory: got 'much'"),
    ],
)
def test_what_cannot_be(options, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        lyapunov(HENON, START, **{"steps": 10, **options})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (torch.tensor(1.0), r"^state: got shape \(\)"),
        (torch.zeros(0, 2), r"^state: got shape \(0, 2\)"),
        (torch.zeros(2, 2, dtype=torch.int64), r"^state: got .*int64"),
        (torch.full((2, 2), torch.nan), r"^state: got values that are NaN"),
        ([0.0, 1.0], r"^state: got list"),
    ],
)
def test_states_that_cannot_be(state, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        lyapunov(HENON, state, steps=10)


def test_what_is_no_system():
    for wrong in (henon, network(2, 2), None):
        with pytest.raises(ArgumentError, match=r"^system: got .*sx\.Loop\(model\)"):
            lyapunov(wrong, START, steps=10)


def test_a_member_does_not_depend_on_those_who_follow():
    for n, k in ((2, 2), (3, 1), (5, 3)):
        few, many = random_frames(2, 3, n, k, 4), random_frames(2, 8, n, k, 4)
        assert torch.equal(few, many[:, :3])
        assert not torch.equal(many[0], many[1])
        assert torch.equal(random_end(3, k, 4), random_end(8, k, 4)[:3])
    start = torch.rand(6, 2, dtype=torch.float64) * 0.1
    henon = Map(lambda x: torch.stack([1 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], -1), dim=2)
    whole, part = (lyapunov(henon, x, steps=30, seeds=2) for x in (start, start[:2]))
    np.testing.assert_allclose(whole.exponent[:2], part.exponent, rtol=1e-12)
