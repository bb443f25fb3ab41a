"""Distances between curves against closed forms and a dense twin."""

import math
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

import separatrix as sx
from separatrix.results.dataset import build
from separatrix.tangent.boundary import decision_boundary
from separatrix.tangent.curve_distance import DistanceStatus, curve_distance


def lines(*paths, closed=None, **more):
    count = np.array([len(p) for p in paths], dtype=np.int64)
    data = {
        "position": (("point", "axis"), np.concatenate([*map(np.asarray, paths), np.zeros((0, 2))]).astype(float)),
        "start": (("line",), np.cumsum(count) - count),
        "count": (("line",), count),
    }
    if closed is not None:
        data["closed"] = (("line",), np.array(closed, dtype=np.int8))
    return build(data | more, {}, {})


def ring(radius, n=1000, closed=True):
    a = np.linspace(0, 2 * math.pi, n, endpoint=False)
    return lines(radius * np.stack([np.cos(a), np.sin(a)], 1), closed=[closed])


def numbers(ds):
    return [float(ds[f"{name}_{way}"]) for way in ("ab", "ba") for name in ("median", "q95", "max")]


def test_concentric_circles_are_their_difference_apart():
    found = curve_distance(ring(1.0), ring(1.1))
    np.testing.assert_allclose(numbers(found), 0.1, atol=1e-5)
    assert float(found.length_a) == pytest.approx(2 * math.pi, rel=1e-5)
    assert float(found.length_b) == pytest.approx(2.2 * math.pi, rel=1e-5)
    assert int(found.status) == DistanceStatus.OK


def test_a_closed_line_returns_to_its_first_point():
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    dot = lines([[0.0, 0.5], [-1e-9, 0.5]])
    assert float(curve_distance(dot, lines(square, closed=[1])).max_ab) < 1e-8
    assert float(curve_distance(dot, lines(square, closed=[0])).max_ab) == pytest.approx(0.5)
    again = lines([*square, square[0]], closed=[1])
    assert float(curve_distance(dot, again).length_b) == pytest.approx(4)


def test_a_line_that_reaches_further():
    short, long = lines([[0, 0], [1, 0]]), lines([[0, 0.1], [2, 0.1]])
    found = curve_distance(short, long, spacing=1e-4)
    np.testing.assert_allclose(numbers(found)[:3], 0.1, atol=1e-12)
    # from the long one: 0.1 over its first half, then the way to the other's end
    exact = [0.1, math.hypot(0.9, 0.1), math.hypot(1, 0.1)]
    np.testing.assert_allclose(numbers(found)[3:], exact, atol=1e-4)
    assert float(found.hausdorff) == pytest.approx(math.hypot(1, 0.1), abs=1e-12)
    turned = curve_distance(long, short, spacing=1e-4)
    assert numbers(turned) == numbers(found)[3:] + numbers(found)[:3]


def test_it_does_not_matter_how_densely_points_lie():
    rng = np.random.default_rng(0)
    a, b = np.array([[0, 0], [3.0, 1.0], [1.0, 2.0]]), np.array([[0, 1], [3.0, 0.0]])
    steps = np.sort(np.r_[0, rng.uniform(0, 0.05, 300), rng.uniform(0, 2, 20), 1, 2])  # crowded at one end
    dense = np.stack([np.interp(steps, [0, 1, 2], a[:, i]) for i in (0, 1)], 1)
    one, other = curve_distance(lines(a), lines(b)), curve_distance(lines(dense), lines(b))
    np.testing.assert_allclose(numbers(one), numbers(other), atol=2e-3)


def test_against_a_dense_twin():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 2)), [rng.normal(size=(4, 2)), rng.normal(size=(3, 2))]

    def dense(paths, step=4e-3):
        parts = []
        for p in paths:
            for u, v in pairwise(p):
                n = max(2, int(np.hypot(*(v - u)) / step))
                parts.append(u + ((np.arange(n) + 0.5) / n)[:, None] * (v - u))
        return np.concatenate(parts)

    A, B = dense([a]), dense(b)
    nearest = np.concatenate([np.sqrt(((p[:, None] - B) ** 2).sum(-1)).min(1) for p in np.array_split(A, 20)])
    found = curve_distance(lines(a), lines(*b), spacing=4e-3)
    np.testing.assert_allclose(numbers(found)[:3], [*np.quantile(nearest, [0.5, 0.95]), nearest.max()], atol=4e-3)


def test_moving_turning_and_scaling():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(5, 2)), rng.normal(size=(7, 2))
    c, s = math.cos(0.7), math.sin(0.7)
    turn = 3 * np.array([[c, s], [-s, c]])
    plain, moved = (
        curve_distance(lines(a), lines(b), spacing=0.01),
        curve_distance(lines(a @ turn + 5), lines(b @ turn + 5), spacing=0.03),
    )
    np.testing.assert_allclose(numbers(moved), 3 * np.array(numbers(plain)), rtol=1e-9)
    assert max(numbers(curve_distance(lines(a), lines(a)))) < 1e-12


@pytest.mark.parametrize(
    ("a", "b", "status"),
    [
        (lines(), lines([[0, 0], [1, 1]]), DistanceStatus.NOTHING_IN_A),
        (lines([[0, 0], [1, 1]]), lines(), DistanceStatus.NOTHING_IN_B),
        (lines(), lines(), DistanceStatus.NOTHING),
        (lines([[np.nan, 0], [1, 1]]), lines([[0, 0], [1, 1]]), DistanceStatus.NOTHING_IN_A),
    ],
)
def test_without_lines_there_is_no_distance(a, b, status, tmp_path):
    found = curve_distance(a, b)
    assert int(found.status) == status and all(math.isnan(v) for v in [*numbers(found), float(found.hausdorff)])
    assert "nothing" in found.status.attrs["flag_meanings"]
    found.to_netcdf(tmp_path / "d.nc")
    with xr.open_dataset(tmp_path / "d.nc") as again:
        assert int(again.status) == status


def test_a_single_point_counts_as_a_line():
    found = curve_distance(lines([[0.0, 3.0]]), lines([[-1, 0], [1, 0]]))
    assert numbers(found)[:3] == [3, 3, 3] and float(found.length_a) == 0


def test_lengths_are_those_of_the_input_space():
    basis = np.array([[2.0, 0, 0], [1.0, 3.0, 0]])
    more = {"basis": (("axis", "input"), basis), "origin": (("input",), np.zeros(3))}
    a, b = lines([[0, 0], [1, 0]], **more), lines([[0, 1], [1, 1]], **more)
    found = curve_distance(a, b, spacing=1e-3)
    assert float(found.length_a) == pytest.approx(2)
    exact = np.array([[0, 0, 0], [2.0, 0, 0]]), np.array([[1.0, 3, 0], [3.0, 3, 0]])
    flat = curve_distance(*(lines(p[:, :2]) for p in exact), spacing=1e-3)
    np.testing.assert_allclose(numbers(found), numbers(flat), rtol=1e-12)


def test_two_boundaries_of_one_model():
    grid = sx.grid((-2, 2), (-2, 2), shape=60)
    a, b = (decision_boundary(lambda x: x.norm(dim=1) - 1, grid, level=v) for v in (0.0, 0.25))
    assert curve_distance(a, b).median_ab == pytest.approx(0.25, abs=2e-3)


@pytest.mark.parametrize(
    ("arguments", "argument", "words"),
    [
        ((ring(1), 3), "b", "int without position"),
        ((ring(1).drop_vars("start"), ring(1)), "a", "start"),
        ((ring(1), ring(1), 0.0), "spacing", "positive"),
    ],
)
def test_what_cannot_be_compared(arguments, argument, words, as_user):
    with pytest.raises(sx.ArgumentError, match=words) as caught:
        curve_distance(*arguments[:2], **({"spacing": arguments[2]} if len(arguments) > 2 else {}))
    assert caught.value.argument == argument


def test_different_planes_are_refused():
    one = {"basis": (("axis", "input"), np.eye(2, 3)), "origin": (("input",), np.zeros(3))}
    other = one | {"origin": (("input",), np.ones(3))}
    with pytest.raises(sx.ArgumentError, match="another plane"):
        curve_distance(lines([[0, 0], [1, 0]], **one), lines([[0, 0], [1, 0]], **other))
