"""Basins: known partitions, kinds and periods of known attractors, a naive twin, and what cannot be used."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import separatrix as sx
from separatrix.local.basin_result import KINDS, clopper_pearson
from separatrix.local.basins import basins
from separatrix.results.dataset import DIMENSIONS
from separatrix.results.errors import ArgumentError
from separatrix.systems import Euler, Loop, Map
from separatrix.testing.untouched import untouched

ROTATION = torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=torch.float64)


def uniform(count, n=1, low=0.0, high=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(count, n, generator=generator, dtype=torch.float64)


def square(side, count):
    return sx.grid((-side, side), (-side, side), shape=count)


def linear(matrix):
    A = torch.as_tensor(matrix, dtype=torch.float64)
    return Map(lambda x: x @ A.T)


def logistic(r):
    return Map(lambda x: r * x * (1 - x))


def found_kinds(found):
    return [KINDS[k] for k in found["kind"].values]


def states(found, line):
    begin, size = int(found["start"][line]), int(found["count"][line])
    return found["position"].values[begin : begin + size]


def same_partition(a, b):
    """Whether two labellings are one up to names."""
    pairs = {tuple(p) for p in np.column_stack([np.ravel(a), np.ravel(b)]).tolist()}
    return len(pairs) == len({p[0] for p in pairs}) == len({p[1] for p in pairs})


def network(seed=2, gain=2.5, sizes=(2, 16, 16, 2), activation=nn.Tanh):
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for a, b in pairwise(sizes):
        layer = nn.Linear(a, b, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(gain * torch.randn(b, a, generator=generator, dtype=torch.float64) / a**0.5)
            layer.bias.copy_(0.3 * torch.randn(b, generator=generator, dtype=torch.float64))
        parts += [layer, activation()]
    return nn.Sequential(*parts[:-1])


# --- partitions that are known -------------------------------------------------------------------------------------


def test_a_product_of_bistable_maps_has_its_quadrants():
    found = basins(Map(lambda x: torch.tanh(2 * x)), square(2, 40))
    assert found_kinds(found) == ["fixed-point"] * 4 and found["share"].values.tolist() == [0.25] * 4
    x, y = np.meshgrid(found["x"], found["y"], indexing="ij")
    assert same_partition(found["label"].values, 2 * (x > 0) + (y > 0))
    # the fixed point of tanh(2 x), and the slope 2 (1 - x^2) there
    star = 0.957504024079
    for line in range(4):
        place = states(found, line)[0]
        assert np.allclose(np.abs(place), star, atol=1e-11)
        at = np.argmin(np.hypot(x - place[0], y - place[1]))
        assert found["label"].values.flat[at] == line
    assert np.allclose(found["exponent"], math.log(2 * (1 - star**2))) and not found["standard_error"].values.any()
    assert (found["radius"] > 0.1).all() and (found["period"] == 1).all()


def test_points_on_the_separatrix_are_undecided():
    grid = sx.grid((-2, 2), (-2, 2), shape=(65, 65))  # with nodes at exactly 0
    assert 0.0 in grid.x
    found = basins(Map(lambda x: torch.tanh(2 * x)), grid)
    x, y = np.meshgrid(found["x"], found["y"], indexing="ij")
    assert np.array_equal(found["label"].values == -1, (x == 0) | (y == 0))
    assert found.sizes["line"] == 4 and found.attrs["undecided_share"] == pytest.approx(129 / 65**2)


def newton(x):
    a, b = x[:, 0], x[:, 1]
    r = (a * a + b * b) ** 2
    return torch.stack([2 * a / 3 + (a * a - b * b) / (3 * r), 2 * b / 3 - 2 * a * b / (3 * r)], dim=1)


def test_newtons_method_on_the_cube_roots_of_one():
    radius, angle = 2 * uniform(1500, seed=1).sqrt(), 2 * math.pi * uniform(1500, seed=2)
    points = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    found = basins(Map(newton), points, escape=1e9)
    z = points[:, 0].numpy() + 1j * points[:, 1].numpy()
    for _ in range(100):
        z = (2 * z + 1 / z**2) / 3
    roots = np.exp(2j * np.pi * np.arange(3) / 3)
    expected = np.abs(z[:, None] - roots).argmin(1)
    assert found_kinds(found) == ["fixed-point"] * 3 and same_partition(found["label"].values, expected)
    # the disc is symmetric, so each basin has a third of it; roots are superstable
    assert (found["share_lo"] < 1 / 3).all() and (found["share_hi"] > 1 / 3).all()
    assert np.isneginf(found["exponent"]).all()


@pytest.mark.parametrize(("seed", "gain"), [(0, 1.6), (2, 2.5), (7, 2.5)])
def test_each_label_is_where_a_plain_loop_ends(seed, gain):
    model = network(seed, gain)
    found = basins(Loop(model), square(6, 25))
    assert found.sizes["line"] >= 2 and set(found_kinds(found)) <= {"fixed-point", "cycle"}
    ends = square(6, 25).points()
    with torch.no_grad():
        for _ in range(600):
            ends = model(ends)
    distance = np.stack(
        [np.linalg.norm(ends.numpy()[:, None] - states(found, line), axis=-1).min(1) for line in found["line"].values]
    )
    assert distance.min(0).max() < 1e-8 and np.array_equal(found["label"].values.ravel(), distance.argmin(0))
    for line in found["line"].values:
        product = torch.eye(2, dtype=torch.float64)
        for place in torch.as_tensor(states(found, line)):
            product = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], place) @ product
        largest = torch.linalg.eigvals(product).abs().max().log() / int(found["period"][line])
        assert float(found["exponent"][line]) == pytest.approx(float(largest), abs=1e-6)


def test_a_tanh_map_of_negative_slope_has_one_cycle():
    found = basins(Map(lambda x: -2 * torch.tanh(x)), uniform(300, low=-4, high=4))
    assert found_kinds(found) == ["cycle"] and found["period"].values.tolist() == [2] and float(found["share"][0]) == 1
    star = float(found["position"][0, 0])
    assert abs(star) == pytest.approx(2 * math.tanh(abs(star)), abs=1e-12)
    assert np.allclose(np.sort(states(found, 0)[:, 0]), [-abs(star), abs(star)])
    slope = 2 / math.cosh(star) ** 2
    assert float(found["exponent"][0]) == pytest.approx(math.log(slope), abs=1e-9)


@pytest.mark.parametrize(("r", "period"), [(2.9, 1), (3.2, 2), (3.5, 4), (3.55, 8), (3.83, 3)])
def test_periods_of_the_logistic_map(r, period):
    found = basins(logistic(r), uniform(200))
    assert found["period"].values.tolist() == [period] and float(found["share"][0]) == 1
    points = states(found, 0)[:, 0]
    assert len(points) == period and np.allclose(r * points * (1 - points), np.roll(points, -1), atol=1e-12)
    exponent = np.log(np.abs(r * (1 - 2 * points))).mean()
    assert float(found["exponent"][0]) == pytest.approx(exponent, abs=1e-9)


def test_the_logistic_map_is_chaotic_and_escapes():
    found = basins(logistic(3.9), uniform(300))
    assert found_kinds(found) == ["chaotic"] and float(found["share"][0]) == 1 and found["period"].values == [0]
    x, total = 0.3, 0.0
    for step in range(101_000):
        x = 3.9 * x * (1 - x)
        total += math.log(abs(3.9 * (1 - 2 * x))) if step >= 1000 else 0.0
    error = float(found["standard_error"][0])
    assert 0 < error < 0.01 and float(found["exponent"][0]) == pytest.approx(total / 100_000, abs=4 * error)
    gone = basins(logistic(4.5), uniform(300))
    assert (gone["label"] == -2).all() and gone.sizes["line"] == 0 and gone.attrs["escape_share"] == 1.0


def test_two_chaotic_attractors_are_two():
    found = basins(Map(lambda x: 3.9 * x * (1 - x.abs())), uniform(400, low=-1, high=1), steps=500)
    assert found_kinds(found) == ["chaotic"] * 2
    signs = np.sign(uniform(400, low=-1, high=1)[:, 0].numpy())
    assert same_partition(found["label"].values, signs)
    assert np.allclose(found["exponent"][0], found["exponent"][1], atol=0.02)


# --- kinds that must not be taken for others -----------------------------------------------------------------------


def test_a_rotation_fills_circles_which_are_one_set():
    found = basins(linear(ROTATION), square(1, 40), steps=300)
    assert found_kinds(found) == ["quasi-periodic"] and float(found["share"][0]) > 0.99
    assert abs(float(found["exponent"][0])) < 1e-12


def test_an_attracting_circle_is_quasi_periodic():
    def step(x):
        return (x * (1.2 - 0.2 * x.square().sum(1, keepdim=True))) @ ROTATION.T

    found = basins(Map(step), square(1.5, 20), steps=600)
    assert found_kinds(found) == ["quasi-periodic"] and float(found["share"][0]) == 1
    assert np.allclose(np.linalg.norm(states(found, 0), axis=1), 1, atol=1e-6)
    assert abs(float(found["exponent"][0])) < 0.01


@pytest.mark.parametrize(
    ("system", "period"),
    [
        (Map(lambda x: x.clone()), 1),
        (Map(lambda x: -x), 2),
        (linear(np.array([[0.3090169943749474, -0.9510565162951535], [0.9510565162951535, 0.3090169943749474]])), 5),
    ],
    ids=["identity", "reflection", "a fifth of a turn"],
)
def test_continua_do_not_explode(system, period):
    found = basins(system, square(1, 21))
    assert found_kinds(found) == ["continuum"] and found["period"].values.tolist() == [period]
    assert (found["label"] == 0).all() and abs(float(found["exponent"][0])) < 1e-9


def test_a_ray_of_equilibria_is_one_attractor():
    A = torch.tensor([[0.7, 0.4], [0.3, 0.6]], dtype=torch.float64)  # columns sum to 1, so that x1 + x2 is conserved
    found = basins(Map(lambda x: torch.relu(x @ A.T)), square(3, 41))
    assert found_kinds(found) == ["continuum"] and (found["label"] == 0).all()
    on_ray = states(found, 0)
    assert np.allclose(on_ray[:, 0] * 0.3, on_ray[:, 1] * 0.4, atol=1e-6) and on_ray.max() > 1


def test_a_region_mapped_onto_a_saddle_is_drawn_to_it():
    A = torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64))
    found = basins(Map(lambda x: torch.relu(x) @ A.T), square(1, 40))
    x, _ = np.meshgrid(found["x"], found["y"], indexing="ij")
    assert np.array_equal(found["label"].values, np.where(x > 0, -2, 0))
    assert found_kinds(found) == ["fixed-point"] and float(found["radius"][0]) == 0


def test_an_equilibrium_with_slope_1_is_a_fixed_point():
    found = basins(Map(lambda x: x - x**3), uniform(200, low=-0.8, high=0.8))
    assert found_kinds(found) == ["fixed-point"] and float(found["share"][0]) == 1
    assert abs(float(found["position"][0, 0])) < 1e-3 and abs(float(found["exponent"][0])) < 1e-5


def test_a_slow_spiral_is_a_fixed_point():
    found = basins(linear(0.998 * ROTATION), square(1, 15))
    assert found_kinds(found) == ["fixed-point"] and float(found["share"][0]) > 0.9
    assert float(found["exponent"][0]) == pytest.approx(math.log(0.998), abs=1e-9)


def test_a_drift_is_no_torus():
    found = basins(Map(lambda x: x + 0.12), uniform(100, high=4))
    assert found_kinds(found) == ["unresolved"] and found.attrs["escape_share"] == 0


def test_a_stable_map_that_first_stretches():
    found = basins(linear([[0.5, 4.0], [0.0, 0.5]]), square(1, 20))
    assert found_kinds(found) == ["fixed-point"] and float(found["radius"][0]) > 0
    assert float(found["exponent"][0]) == pytest.approx(math.log(0.5), abs=1e-6)


def test_a_kink_has_the_exponent_of_orbits_on_their_way_in():
    found = basins(Map(lambda x: torch.where(x > 0, 0.5 * x, 0.8 * x)), uniform(200, low=-1, high=1))
    assert found_kinds(found) == ["fixed-point"] and float(found["exponent"][0]) == pytest.approx(math.log(0.8))


def test_gelu_maps_with_several_equilibria():
    gelu = nn.functional.gelu
    found = basins(Map(lambda x: gelu(x) + 0.12), torch.tensor([[1.3459], [1.3461], [0.0]]).double(), escape=20.0)
    assert found["label"].values.tolist() == [0, -2, 0]
    assert states(found, 0)[0, 0] == pytest.approx(0.3207, abs=1e-4)
    assert float(found["exponent"][0]) == pytest.approx(math.log(0.7473), abs=1e-4)
    found = basins(Map(lambda x: 0.95 * gelu(x) + 0.17), uniform(200, low=-4, high=8))
    places = sorted(states(found, line)[0, 0] for line in range(found.sizes["line"]))
    assert places == pytest.approx([0.4913, 3.3764], abs=1e-4)


# --- the result ----------------------------------------------------------------------------------------------------


def test_a_slice_of_a_larger_space():
    where = sx.plane([0.0, 0.0, 0.5], [1.0, 0, 0], [0, 1.0, 0], x=(-2, 2), y=(-2, 2), shape=20)
    found = basins(Map(lambda x: torch.tanh(2 * x)), where)
    x, y = np.meshgrid(found["x"], found["y"], indexing="ij")
    assert same_partition(found["label"].values, 2 * (x > 0) + (y > 0))
    assert found["position"].dims == ("point", "input") and (found["position"].values[:, 2] > 0.9).all()
    assert found["basis"].shape == (2, 3)


@pytest.mark.parametrize("kind", ["grid", "points", "plane", "all escape"])
def test_results_follow_the_schema_and_survive_a_file(kind, tmp_path):
    system = linear(2 * np.eye(2)) if kind == "all escape" else Map(lambda x: torch.tanh(2 * x))
    where = {
        "points": uniform(30, 2, low=-1),
        "plane": sx.plane([0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], shape=6),
    }.get(kind, square(1, 6))
    found = basins(system, where)
    found.to_netcdf(tmp_path / "basins.nc")
    with xr.open_dataset(tmp_path / "basins.nc") as back:
        xr.testing.assert_identical(back.load().drop_attrs(deep=False), found.drop_attrs(deep=False))
        assert json.loads(back.attrs["provenance"])["function"] == "basins"
    assert found["label"].dims == (("point",) if kind == "points" else ("x", "y"))
    for variable in found.variables.values():
        order = [DIMENSIONS.index(d) for d in variable.dims]
        assert order == sorted(order)
    assert "estimate" in found.attrs["estimate"] and found.attrs["form"] and found.attrs["method"].startswith("iter")
    total = float(found["share"].sum()) + found.attrs["escape_share"] + found.attrs["undecided_share"]
    assert total == pytest.approx(1)


def test_chunks_and_seeds(as_user):
    model = network()
    with untouched():
        whole = basins(Loop(model), square(6, 25))
    parts = basins(Loop(model), square(6, 25), memory="300kB")
    other = basins(Loop(model), square(6, 25), seed=5)
    again = basins(Loop(model), square(6, 25))
    xr.testing.assert_identical(whole.drop_attrs(), again.drop_attrs())
    assert np.array_equal(whole["label"], parts["label"]) and np.array_equal(whole["label"], other["label"])


def test_progress_is_told():
    told = []
    basins(logistic(2.9), uniform(300), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (300, 300) and told == sorted(told)


def test_float32_models_and_models_that_cannot_be_seen_through():
    model = network()
    found = basins(Loop(model), square(6, 15))
    assert found.attrs["method"] == "iteration by lure"
    plain = basins(Map(lambda x, t=0: model(x)), square(6, 15))
    assert plain.attrs["method"] == "iteration by step" and np.array_equal(found["label"], plain["label"])
    model.float()
    for system in (Loop(model), Map(lambda x, t=0: model(x))):
        single = basins(system, square(6, 15))
        assert np.array_equal(found["label"], single["label"])
        assert np.allclose(found["exponent"], single["exponent"], atol=1e-4)


def test_exponents_are_per_time_where_the_system_has_one():
    found = basins(Loop(Euler(lambda x: x - x**3, 0.1), dt=0.1), uniform(50, low=-2, high=2))
    assert np.allclose(found["exponent"], math.log(1 - 0.2) / 0.1) and found["exponent"].attrs["units"] == "1/time"


def test_intervals_are_clopper_and_pearsons():
    from scipy.stats import binomtest

    counts = np.array([0, 1, 17, 99, 100])
    low, high = clopper_pearson(counts, 100)
    exact = [binomtest(int(k), 100).proportion_ci(0.95, method="exact") for k in counts]
    assert np.allclose(low, [e.low for e in exact]) and np.allclose(high, [e.high for e in exact])


# --- what cannot be used -------------------------------------------------------------------------------------------


def test_nan_within_bounds_is_undecided_and_not_escape():
    found = basins(Map(lambda x: torch.where(x > 1, x * math.nan, 0.5 * x)), uniform(100, high=2))
    points = uniform(100, high=2)[:, 0].numpy()
    assert np.array_equal(found["label"].values, np.where(points > 1, -1, 0))


class Noisy:
    horizon = None

    def dim(self, t=0):
        return 2

    def step(self, x, t=0):
        return x + torch.rand_like(x)

    def tangent(self, x, V, t=0):
        return self.step(x), V


@pytest.mark.parametrize(
    ("system", "grid", "message"),
    [
        (5, square(1, 5), r"^system: got int; give a system, such as sx\.Loop\(model\)"),
        (nn.Tanh, square(1, 5), r"^system: got the class Tanh; give a system"),
        (lambda x, u: x + u, square(1, 5), r"^system: got a function of two arguments; .* sx\.Loop\(f, u\)"),
        (Loop(nn.Linear(3, 2).double(), nn.Linear(2, 1)), square(1, 5), r"^u: got a policy in torch.float32 for f in "),
        # what is wrong with the step is said, not that the other precision is refused
        (Loop(nn.Linear(2, 3)), square(1, 5), r"^f: got a function that returns shape \(2, 3\)"),
        (
            Loop(lambda x, u: x + u, uniform(4, 2)),
            square(1, 5),
            r"^system: got a system of 4 steps that differ; a driven",
        ),
        (Map(lambda x, t: x * (0.5 + t)), square(1, 5), r"^system: got a step that depends on time, or on chance"),
        (Noisy(), square(1, 5), r"^system: got a step that depends on time, or on chance"),
        (Map(lambda x: x * math.nan), square(1, 5), r"^system: got a step that gives NaN or infinity everywhere"),
        (Map(torch.tanh, dim=3), square(1, 5), r"^grid: got points of 2 components; the system's states have 3"),
        (Loop(nn.Linear(3, 3)), square(1, 5), r"^system: got a system that rejects states of 2 components"),
        (Map(torch.tanh), torch.full((4, 2), torch.nan), r"^grid: got NaN or infinity in 4 of 4 points"),
        (Map(torch.tanh), torch.zeros(0, 2), r"^grid: got shape \(0, 2\)"),
        (Map(torch.tanh), torch.zeros(4), r"^grid: got shape \(4,\)"),
        (Map(torch.tanh), torch.zeros(4, 2, dtype=torch.int64), r"^grid: got torch.int64; .*grid\.double\(\)"),
        (Map(torch.tanh), np.zeros((4, 2), dtype=np.int32), r"^grid: got int32"),
        (Map(torch.tanh), [[0.0, 1.0]], r"^grid: got list"),
    ],
)
def test_systems_and_points_that_cannot_be_used(system, grid, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        basins(system, grid)


def test_models_and_functions_are_maps_too(as_user):
    model = nn.Linear(2, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-0.8, 0.0], [0.0, -1.0]], dtype=torch.float64))
        model.bias.zero_()
    step = Euler(model, 0.5)
    for plain in (step, lambda x: step(x)):
        found = basins(plain, square(2, 5))
        # the slowest factor is 1 - 0.8 / 2; exponents are per step, whatever attributes of its own a module has
        assert found.sizes["line"] == 1 and found.exponent.attrs["units"] == "1/step"
        assert float(found.exponent[0]) == pytest.approx(math.log(0.6), abs=1e-9)
    described = json.loads(basins(step, square(2, 5)).attrs["provenance"])["model"]
    assert described["class"] == "Euler" and described["parameters"] == 6


def test_a_system_is_left_as_it_was_and_numpy_numbers_are_numbers(as_user):
    loop = Loop(lambda x: torch.tanh(x / 2))
    found = basins(loop, uniform(20, 3), seed=np.int64(3), steps=np.int32(100), tolerance=np.float32(1e-5))
    assert found.sizes["axis"] == 3 and json.loads(found.attrs["provenance"])["settings"]["seed"] == 3
    assert basins(loop, square(1, 5)).sizes["axis"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": "tight"}, r"^tolerance: got 'tight'"),
        ({"escape": True}, r"^escape: got True"),
        ({"steps": 0}, r"^steps: got 0"),
        ({"transient": -1}, r"^transient: got -1"),
        ({"max_period": 0}, r"^max_period: got 0"),
        ({"max_period": 2.0}, r"^max_period: got 2.0"),
        ({"tolerance": 0.0}, r"^tolerance: got 0.0"),
        ({"escape": math.inf}, r"^escape: got inf"),
        ({"memory": "10B"}, r"^memory: got a budget of 10 bytes"),
        ({"memory": "much"}, r"^memory: got 'much'"),
        ({"seed": -1}, r"^seed: got -1"),
    ],
)
def test_numbers_that_cannot_be_used(options, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        basins(Map(torch.tanh), square(1, 5), **options)
