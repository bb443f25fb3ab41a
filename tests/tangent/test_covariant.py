"""Covariant vectors: exact answers, covariance on maps, an independent construction, and what is not converged."""

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from separatrix.results.dataset import DIMENSIONS
from separatrix.results.errors import ArgumentError
from separatrix.systems import Depth, Flow, Map, Training, half_squared_error
from separatrix.systems.optim import GradientDescent
from separatrix.tangent.angles import between_groups, pairs, pairwise, subspace_angle, vector_angle
from separatrix.tangent.convergence import convergence
from separatrix.tangent.covariant import covariant
from separatrix.tangent.ginelli import random_end, step_back
from separatrix.tangent.lyapunov import lyapunov
from separatrix.tangent.orbit_status import OrbitStatus
from separatrix.tangent.orbits import Orbits
from separatrix.tangent.qr_sweep import advance, begin, random_frames
from separatrix.testing.lyapunov_twin import covariant_by_intersection, orbit_jacobians

GENERATOR = torch.Generator().manual_seed(0)
LONG = {"spinup": 60, "spindown": 60}


def rand(*shape):
    return torch.rand(*shape, generator=GENERATOR, dtype=torch.float64)


def matrix(rows):
    return torch.tensor(rows, dtype=torch.float64)


def henon(x):
    return torch.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], dim=1)


def three(x):
    """The Henon map with a third coordinate that it drives, and that acts back on it."""
    a, b, c = x.unbind(-1)
    return torch.stack([1 - 1.4 * a**2 + b + 0.02 * c, 0.3 * a, 0.5 * c + 0.3 * a], -1)


HENON, START = Map(henon), 0.1 * rand(4, 2)


def carried(system, states, found, spinup):
    """M_n v(n) and v(n+1), normalised, at all pairs of neighbouring times: (member, time, index, state) each."""
    now = torch.tensor(found.vector.values)
    x, after = states, []
    for t in range(spinup + now.shape[1] - 1):
        if t >= spinup:
            x, MV = system.tangent(x, now[:, t - spinup].transpose(0, 1).contiguous(), t)
            after.append(MV.transpose(0, 1))
        else:
            x = system.step(x, t)
    after = torch.stack(after, 1)
    return after, now[:, 1:]


def defect(a, b):
    """1 - |cos| of vectors along the last dimension."""
    return 1 - (a * b).sum(-1).abs() / a.norm(dim=-1) / b.norm(dim=-1)


@pytest.mark.parametrize(("system", "states"), [(HENON, START), (Map(three), 0.1 * rand(3, 3))])
def test_vectors_are_covariant_on_maps_and_grow_as_told(system, states):
    found = covariant(system, states, steps=120, vectors=1, spinup=100, spindown=100)
    after, following = carried(system, states, found, 100)
    assert defect(after, following).max() < 1e-13
    growth = after.norm(dim=-1).log()
    np.testing.assert_allclose(found.local_growth[:, :-1], growth, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.local_growth.mean("time"), found.covariant_exponent, rtol=0, atol=1e-13)
    np.testing.assert_allclose(torch.tensor(found.vector.values).norm(dim=-1), 1, rtol=0, atol=1e-14)
    # a sum over a step of ln of the sine of an angle separates the two means, so they differ by O(1 / steps)
    np.testing.assert_allclose(found.covariant_exponent, found.exponent, rtol=0, atol=10 / 120)
    np.testing.assert_allclose(found.covariant_exponent[:, 0], found.exponent[:, 0], rtol=0, atol=1e-12)


def test_a_factor_one_step_off_is_not_covariant():
    orbits = Orbits(HENON, START, 80)
    frames, frame, factors, jacobians = begin(orbits, START, 2, 0), [], [], []
    for _ in range(80):
        eye = torch.eye(2).double()[:, None].expand(2, 4, 2).contiguous()
        jacobians.append(HENON.tangent(frames.x, eye, 0)[1].permute(1, 2, 0))
        frame.append(frames.q[0])
        frames, factor = advance(orbits, frames)
        factors.append(factor.r[0])
    worst = {}
    for shift in (0, 1):
        c, vectors = random_end(4, 2, 0), {}
        for n in range(79, 0, -1):
            c, _ = step_back(factors[n - shift], c)
            vectors[n] = frame[n] @ c
        worst[shift] = max(
            float(defect((jacobians[n] @ vectors[n]).mT, vectors[n + 1].mT)[:, 1].max()) for n in range(20, 60)
        )
    assert worst[0] < 1e-13 and worst[1] > 0.5


def test_squares_commute():
    orbits = Orbits(HENON, START, 30)
    frames, c = begin(orbits, START, 2, 0), random_end(4, 2, 0)
    factors = []
    for _ in range(30):
        before = frames
        frames, factor = advance(orbits, before)
        eye = torch.eye(2).double()[:, None].expand(2, 4, 2).contiguous()
        M = HENON.tangent(before.x, eye, before.t)[1].permute(1, 2, 0)
        torch.testing.assert_close(frames.q[0] @ factor.r[0], M @ before.q[0], rtol=0, atol=1e-14)
        assert (factor.r[0].diagonal(dim1=-2, dim2=-1) > 0).all()
        factors.append(factor.r[0])
    for r in reversed(factors):
        following = c
        c, growth = step_back(r, following)
        torch.testing.assert_close(r @ c, following * growth.exp()[:, None], rtol=1e-12, atol=1e-13)
        assert not c.tril(-1).any()


def test_period_two_products_have_the_eigenvectors_of_the_product():
    turn = matrix([[math.sqrt(3) / 2, -0.5], [0.5, math.sqrt(3) / 2]])
    first = torch.diag(matrix([0.8, 0.2]))
    second = turn @ first @ turn.T
    system = Map(lambda x, t: x @ (first, second)[t % 2].T)
    found = covariant(system, torch.zeros(2).double(), steps=40, vectors=2, **LONG)
    np.testing.assert_allclose(found.exponent[0], [-0.30546971, -1.52711175], atol=5e-9)
    np.testing.assert_allclose(found.covariant_exponent[0], found.exponent[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.degrees(found.angle[0]), 72.5424, atol=5e-5)
    values, wanted = torch.linalg.eig(second @ first)
    wanted = wanted.real[:, values.real.argsort(descending=True)].T
    assert defect(torch.tensor(found.vector.values[0]), wanted).max() < 1e-14
    np.testing.assert_allclose(found.exponent[0] * 2, values.real.log().sort(descending=True).values, atol=1e-13)


def test_cat_map_has_the_eigenvectors_of_its_matrix():
    A = matrix([[2, 1], [1, 1]])
    found = covariant(Map(lambda x: (x @ A.T) % 1), rand(3, 2), steps=20, vectors=1, **LONG)
    wanted = torch.linalg.eigh(A)[1].flip(-1).T
    assert defect(torch.tensor(found.vector.values), wanted).max() < 1e-14
    np.testing.assert_allclose(found.angle, math.pi / 2, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.local_growth[..., 1], -0.9624236501192069, rtol=0, atol=1e-13)
    assert (found.status == 0).all() and found.converged.all() and (found.group == [1, 2]).all()
    wanted = LONG["spinup"] * 2 * 0.9624236501192069
    np.testing.assert_allclose(found.steps_times_gap[:, 1], wanted, rtol=1e-12)
    # forward, a random frame has first to turn: det M = 1, so that ln R_11 = -ln R_22 = ln |M^60 q|
    q = random_frames(1, 3, 2, 2, 0)[0, :, :, 0]
    grown = (torch.linalg.matrix_power(A, LONG["spinup"]) @ q[..., None]).norm(dim=(1, 2)).log()
    np.testing.assert_allclose(found.steps_times_gap[:, 0], 2 * grown, rtol=1e-12)


def test_quadratic_descent_has_the_orthogonal_eigenvectors():
    turn = torch.linalg.qr(torch.randn(4, 4, generator=GENERATOR, dtype=torch.float64))[0]
    H = turn @ torch.diag(matrix([1.0, 3.0, 6.0, -1.0])) @ turn.T
    system = Map(lambda x: x - 0.1 * x @ H)
    found = covariant(system, rand(4), steps=10, k=3, spinup=400, spindown=400, vectors=5)
    assert defect(torch.tensor(found.vector.values[0]), turn[:, [3, 0, 1]].T).max() < 1e-13
    np.testing.assert_allclose(found.angle, math.pi / 2, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.exponent[0], np.log([1.1, 0.9, 0.7]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        found.gap[0], np.log([1.1 / 0.9, 0.9 / 0.7, 0.7 / 0.4]), rtol=1e-10
    )  # the 4th is carried


@pytest.mark.parametrize(("system", "n", "reach"), [(HENON, 2, 11), (Map(three), 3, 13)])
def test_an_independent_construction_by_intersection(system, n, reach):
    state = 0.1 * rand(n)
    for _ in range(200):
        state = system.step(state, 0)
    found = covariant(system, state, steps=3, spinup=150, spindown=150, vectors=1)
    _, jacobians = orbit_jacobians(system, state, 150 + reach)
    wanted = covariant_by_intersection(jacobians[150 - reach : 150], jacobians[150 : 150 + reach])
    off = defect(torch.tensor(found.vector.values[0, 0]), wanted.mT)
    assert off.max() < 1e-6, off
    # the last vector is orthogonal to the leading forward vectors
    right = torch.linalg.svd(torch.linalg.multi_dot(jacobians[150 : 150 + reach][::-1]))[2]
    last = torch.tensor(found.vector.values[0, 0, -1])
    assert (right[:-1] @ last).abs().max() < 1e-3


def test_first_frames_are_forgotten_inside_the_window():
    a = covariant(HENON, START, steps=30, vectors=1, **LONG)
    b = covariant(HENON, START, steps=30, vectors=1, seed=9, **LONG)
    assert defect(torch.tensor(a.vector.values), torch.tensor(b.vector.values)).max() < 1e-14
    assert a.converged.all() and (a.status == 0).all()
    c = covariant(HENON, START, steps=30, vectors=1, spinup=0, spindown=0)
    d = covariant(HENON, START, steps=30, vectors=1, spinup=0, spindown=0, seed=9)
    far = defect(torch.tensor(c.vector.values), torch.tensor(d.vector.values))
    assert far[:, 0, 0].max() > 0.01 and far[:, -1, 1].max() > 0.01  # not at the two ends
    assert not c.converged.any() and (c.status == OrbitStatus.UNCONVERGED).all() and (c.group == 1).all()
    assert np.isnan(c.subspace_angle).all()


def test_the_neutral_vector_of_a_flow_is_its_velocity():
    def lorenz(s):
        x, y, z = s.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    flow, x = Flow(lorenz, 0.03), matrix([[3.0, 4.0, 20.0]])
    found = covariant(flow, x, steps=40, spinup=350, spindown=350, vectors=20)
    assert found.local_growth.attrs["units"] == "1/time"
    off = []
    for t in range(350 + 21):
        if t in (350, 370):
            off.append(float(defect(torch.tensor(found.vector.values[0, (t - 350) // 20, 1]), lorenz(x)[0])))
        x = flow.step(x, t)
    # the step of the integrator has a neutral direction of its own, the flow's to its error
    assert max(off) < 1e-6, off


@pytest.mark.parametrize(
    ("rate", "forgotten"),
    [
        (lambda t: 0.2, [True, True]),
        (lambda t: 0.0 if t < 40 else 0.2, [False, True]),  # a warm-up in the spin-up: forward nothing separates
        (lambda t: 0.0 if t >= 140 else 0.2, [True, False]),  # training that is over in the spin-down
        (lambda t: 0.1 * (1 + math.cos(math.pi * t / 180)), [True, False]),
    ],
)
def test_gaps_of_the_window_do_not_stand_for_those_before_and_after(rate, forgotten):
    """Two batches, whose Hessians diag(1, 4) and the same turned by 30 degrees do not commute."""
    X = torch.diag(matrix([2.0, 8.0]).sqrt())
    turn = matrix([[math.cos(math.pi / 6), -math.sin(math.pi / 6)], [math.sin(math.pi / 6), math.cos(math.pi / 6)]])
    batches = [(X, torch.ones(2, 1)), (X @ turn.T, torch.ones(2, 1))]
    net = torch.nn.Linear(2, 1, bias=False)
    run = Training(net, half_squared_error, batches, GradientDescent(rate))
    a, b = (
        covariant(run, run.state_of(), steps=100, spinup=40, spindown=40, vectors=1, tolerance=1e-3, seed=q)
        for q in (0, 1)
    )
    off = defect(torch.tensor(a.vector.values), torch.tensor(b.vector.values))[0]
    # vector 1 is decided before the window, the last one after it; each is worst at that end
    worst = [float(off[0, 0]), float(off[-1, 1])]
    assert [w < 1e-5 for w in worst] == forgotten
    assert a.converged.values[0].tolist() == b.converged.values[0].tolist() == forgotten


def test_near_degenerate_exponents_are_shown_as_a_group():
    turn = torch.linalg.qr(torch.randn(4, 4, generator=GENERATOR, dtype=torch.float64))[0]
    skew = torch.eye(4).double() + 0.4 * torch.randn(4, 4, generator=GENERATOR, dtype=torch.float64).triu(1)
    basis = turn @ skew / (turn @ skew).norm(dim=0)
    A = basis @ torch.diag(matrix([2.0, 1.0, 1.0 - 1e-5, 0.4])) @ torch.linalg.inv(basis)
    found = covariant(Map(lambda x: x @ A.T), rand(4), steps=10, vectors=1, spinup=80, spindown=80)
    assert found.group.values.tolist() == [[1, 2, 2, 3]] and found.converged.values.tolist() == [[1, 0, 0, 1]]
    assert found.status.values.tolist() == [[0, 3, 3, 0]]
    wanted = {
        (0, 1): subspace_angle(basis[:, :1], basis[:, 1:3]),
        (0, 3): vector_angle(basis[:, 0], basis[:, 3]),
        (1, 3): subspace_angle(basis[:, 1:3], basis[:, 3:]),
    }
    wanted |= {(0, 2): wanted[0, 1], (2, 3): wanted[1, 3]}
    for p, pair in enumerate(pairs(4)):
        got = found.subspace_angle[0, :, p].values
        if pair == (1, 2):
            assert np.isnan(got).all()
        else:
            np.testing.assert_allclose(got, float(wanted[pair]), rtol=0, atol=1e-9)
    named = list(zip(found["first"].values - 1, found["second"].values - 1, strict=True))
    assert named == pairs(4)


def test_replay_from_checkpoints_gives_the_same_bits():
    states = torch.cat([0.1 * rand(3, 3), matrix([[5.0, 5.0, 5.0]])])  # the last one leaves the numbers
    options = {"steps": 150, "spinup": 30, "spindown": 30, "vectors": 10, "k": 2}
    held = covariant(Map(three), states, **options)
    again = covariant(Map(three), states, **options, memory=60_000)
    assert held.attrs["method"].endswith("held") and again.attrs["method"].endswith("replayed")
    assert 5 < again.attrs["segment"] < 40
    # angles are taken in blocks, whose sizes differ: the ends of torch's vector loops round in another way
    angles = ["angle", "smallest_angle"]
    xr.testing.assert_identical(
        held.drop_vars(angles).drop_attrs(deep=False), again.drop_vars(angles).drop_attrs(deep=False)
    )
    xr.testing.assert_allclose(held[angles], again[angles], rtol=1e-14, atol=0)
    assert held.status[:, 0].values.tolist() == [0, 0, 0, OrbitStatus.NONFINITE] and held.attrs["ended"] == 1
    for name in ("exponent", "angle", "smallest_angle", "local_growth", "vector", "covariant_exponent"):
        assert np.isnan(held[name][3]).all() and np.isfinite(held[name][:3]).all()


def test_times_that_are_not_kept():
    full = covariant(HENON, START, steps=45, every=1, **LONG)
    part = covariant(HENON, START, steps=45, every=10, **LONG)
    assert part.time.values.tolist() == [0, 10, 20, 30, 40]
    np.testing.assert_array_equal(part.angle, full.angle[:, ::10])
    np.testing.assert_array_equal(part.smallest_angle, full.angle.min("time"))
    np.testing.assert_array_equal(part.smallest_angle, full.smallest_angle)
    growth = full.local_growth.values
    wanted = [growth[:, t : t + 10].mean(1) for t in part.time.values]
    np.testing.assert_allclose(part.local_growth, np.stack(wanted, 1), rtol=0, atol=1e-13)
    with pytest.raises(ArgumentError, match=r"^every: got 5 with vectors=10"):
        covariant(HENON, START, steps=45, every=5, vectors=10)


def test_exponents_are_those_of_lyapunov_and_nothing_after_the_run_matters():
    found = covariant(HENON, START, steps=40, spinup=30, spindown=0, k=1)
    wanted = lyapunov(HENON, START, steps=40, transient=30)
    np.testing.assert_allclose(found.exponent, wanted.exponent[:, :1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.standard_error, wanted.standard_error[:, :1], rtol=0, atol=1e-12)
    seen = []
    system = Map(lambda x, t: (seen.append(t), henon(x))[1])
    covariant(system, START, steps=40, spinup=30, spindown=0)
    assert max(seen) == 69


def test_singular_steps_are_counted_and_do_not_blow_up():
    turn = torch.linalg.qr(torch.randn(3, 3, generator=GENERATOR, dtype=torch.float64))[0]
    H = turn @ torch.diag(matrix([1.0, 5.0, 10.0])) @ turn.T
    found = covariant(Map(lambda x: x - 0.1 * x @ H), rand(2, 3), steps=20, vectors=1, **LONG)
    assert (found.singular_steps == [0, 0, 20]).all() and (found.status == [0, 0, OrbitStatus.SINGULAR]).all()
    assert np.isfinite(found.vector).all() and np.isfinite(found.local_growth).all()
    assert defect(torch.tensor(found.vector.values), turn.T).max() < 1e-12
    zero = covariant(Map(lambda x, t: x * (0.0 if t == 65 else 0.5)), torch.ones(2).double(), steps=20, **LONG)
    assert (zero.singular_steps == 1).all() and (zero.status == OrbitStatus.SINGULAR).all()
    assert np.isfinite(zero.local_growth).all() and float(zero.local_growth[0, 5, 0]) < -30


def test_pivots_at_the_floor_one_after_another_do_not_overflow():
    # 1 / floor to the power of 40
    r = torch.diag(torch.ones(39).double(), 1) + 1e-14 * torch.eye(40).double()
    end = random_end(2, 40, 0)
    c, growth = step_back(torch.stack([r, torch.eye(40).double()]), end)
    assert torch.isfinite(c).all() and not c.tril(-1).any()
    torch.testing.assert_close(r @ c[0], end[0] * growth[0].exp(), rtol=0, atol=1e-15)
    assert growth[0, -1] < -39 * 14 * math.log(10) * 0.9
    torch.testing.assert_close(c[1], end[1], rtol=0, atol=1e-15)


def test_an_orbit_that_ends_after_the_window_ends_all_the_same():
    found = covariant(Map(lambda x: 3.9 * x * (1 - x)), matrix([[0.3], [3.0]]), steps=4, spinup=0, spindown=30)
    assert found.status[:, 0].values.tolist()[1] == OrbitStatus.NONFINITE and np.isnan(found.exponent[1]).all()
    assert np.isfinite(found.exponent[0]).all() and "angle" not in found


def test_depth_as_long_as_it_is_wide_enough():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 5)).double()
    system, states = Depth(model), rand(2, 4)
    found = covariant(system, states, steps=3, spinup=0, spindown=0, k=3, vectors=1)
    assert found.sizes["state"] == 6 and np.isnan(found.vector[:, 0, :, 4:]).all()
    assert not np.isnan(found.vector[:, 1]).any() and np.isnan(found.vector[:, 2, :, 3:]).all()
    now = torch.tensor(found.vector.values)
    x = states
    for t, (a, b) in enumerate([(4, 6), (6, 3)]):
        x, MV = system.tangent(x, now[:, t, :, :a].transpose(0, 1).contiguous(), t)
        assert defect(MV.transpose(0, 1), now[:, t + 1, :, :b]).max() < 1e-13
    with pytest.raises(ArgumentError, match=r"^k: got 4; the state has 3 components"):
        covariant(system, states, steps=3, spinup=0, spindown=0, k=4)
    with pytest.raises(ArgumentError, match=r"^steps: got 4 in all; this system ends after 3"):
        covariant(system, states, steps=3, spinup=1, spindown=0, k=1)


def test_angles_are_precise_near_tangency():
    for angle in (1e-12, 1e-8, 0.3, math.pi / 2):
        u, v = matrix([1.0, 0.0]), -matrix([math.cos(angle), math.sin(angle)])
        assert float(vector_angle(u, v)) == pytest.approx(angle, rel=1e-14)
        assert float(pairwise(torch.stack([u, v], 1))) == pytest.approx(angle, rel=1e-14)
        line, plane = torch.eye(3).double()[:, :1], torch.zeros(3, 2).double()
        plane[:, 0] = matrix([math.cos(angle), math.sin(angle), 0])
        plane[2, 1] = 1
        for a, b in ((line, plane), (plane, line), (plane * 7, -line)):
            assert float(subspace_angle(a, b)) == pytest.approx(angle, rel=1e-9)
    eye = torch.eye(3).double()
    assert float(subspace_angle(eye[:, :2], eye[:, 1:])) < 1e-15
    assert between_groups(eye, (1, 2, 2)).nan_to_num(nan=-1).tolist() == pytest.approx([math.pi / 2, math.pi / 2, -1])


def test_convergence_by_hand():
    exponents = matrix([[1.0, 0.9, 0.2]])
    pairs = exponents[:, :, None] - exponents[:, None, :]
    found = convergence(exponents, 30 * pairs, 200 * pairs, 2, 5, 1e-6)  # the third of five only shows a gap
    np.testing.assert_allclose(found.gap, [[0.1, 0.7]])
    np.testing.assert_allclose(found.nats, [[3.0, 20.0]])
    assert found.converged.tolist() == [[False, True]] and found.group.tolist() == [[1, 1]]
    whole = convergence(exponents, 200 * pairs, 200 * pairs, 3, 3, 1e-6)
    np.testing.assert_allclose(whole.nats, [[20.0, 20.0, 140.0]])
    assert torch.isnan(whole.gap[0, 2]) and whole.converged.all() and whole.group.tolist() == [[1, 2, 3]]
    # sums that do not fall: the second direction has not left the third behind, nor the first as far as it seems
    sums = matrix([[40.0, 2.0, 30.0]]), matrix([[90.0, 60.0, 10.0]])
    before, after = (each[:, :, None] - each[:, None, :] for each in sums)
    found = convergence(exponents, before, after, 3, 3, 1e-6)
    np.testing.assert_allclose(found.nats, [[10.0, -28.0, 50.0]])
    assert found.converged.tolist() == [[False, False, True]] and found.group.tolist() == [[1, 1, 1]]


def test_the_result_follows_the_schema_and_survives_its_file(tmp_path):
    told = []
    found = covariant(
        Map(three), 0.1 * rand(2, 3), steps=30, spinup=10, spindown=10, vectors=3, progress=lambda *n: told.append(n)
    )
    assert told == [(i + 1, 90) for i in range(90)]
    assert found.vector.dims == ("member", "time", "index", "state")
    assert found.angle.dims == ("member", "time", "pair")
    for variable in found.variables.values():
        order = [DIMENSIONS.index(d) for d in variable.dims]
        assert order == sorted(order)
    meanings = zip(found.status.attrs["flag_values"].tolist(), found.status.attrs["flag_meanings"].split(), strict=True)
    assert dict(meanings) == {s.value: s.name.lower() for s in OrbitStatus}
    assert json.loads(found.attrs["provenance"])["function"] == "covariant"
    found.to_netcdf(tmp_path / "vectors.nc")
    with xr.open_dataset(tmp_path / "vectors.nc") as back:
        xr.testing.assert_identical(back.load().drop_attrs(deep=False), found.drop_attrs(deep=False))
    assert covariant(HENON, START, steps=10).attrs["spinup"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"^steps: got 0"),
        ({"spinup": -1}, r"^spinup: got -1"),
        ({"spindown": 1.5}, r"^spindown: got 1.5"),
        ({"vectors": 0}, r"^vectors: got 0"),
        ({"every": "all"}, r"^every: got 'all'"),
        ({"k": 3}, r"^k: got 3; the state has 2 components"),
        ({"seed": 1.5}, r"^seed: got 1.5"),
        ({"tolerance": 0}, r"^tolerance: got 0"),
        ({"tolerance": 1.0}, r"^tolerance: got 1.0"),
        ({"memory": 1000}, r'^memory: got a budget of 1,000 bytes; this run holds .* give memory="'),
    ],
)
def test_what_cannot_be(options, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        covariant(HENON, START, **{"steps": 10, **options})
    with pytest.raises(ArgumentError, match=r"^state: got None"):
        covariant(HENON, steps=10)
