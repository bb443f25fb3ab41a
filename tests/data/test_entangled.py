"""Problems A, B, C: points are where the formulas put them."""

import math

import numpy as np
import pytest
import torch

from separatrix.data import entangled
from separatrix.data.entangled import crossing_accuracy, crossing_sheets, pierced_box, rolled_sheets
from separatrix.results.errors import ArgumentError

ALL = (rolled_sheets, pierced_box, crossing_sheets)


def both(problem):
    X = torch.cat([problem.X_train, problem.X_test]).double().numpy()
    return X, torch.cat([problem.y_train, problem.y_test]).numpy()


@pytest.mark.parametrize("make", ALL)
def test_sizes_balance_seeds_and_the_generator(make):
    before = torch.get_rng_state()
    p, q, other = make(101, 50, seed=3), make(101, 50, seed=3), make(101, 50, seed=4)
    assert p.X_train.shape == (101, 3) and p.X_test.shape == (50, 3) and p.X_train.dtype == torch.float32
    assert p.y_train.sum() == 50 and p.y_test.sum() == 25 and p.seed == 3
    assert torch.equal(p.X_train, q.X_train) and not torch.equal(p.X_train, other.X_train)
    assert torch.equal(before, torch.get_rng_state())
    # in random order, and no test point among the training points
    assert 5 < p.y_train[:50].sum() < 45
    assert not (p.X_train[:, None] == p.X_test).all(2).any()


def test_sheets_are_spirals_half_a_turn_apart():
    X, y = both(rolled_sheets(4000, 2))
    turn = (np.arctan2(X[:, 2], X[:, 0]) - math.pi * y) / (2 * math.pi)
    # the point lies within the thickness of one winding of its own sheet
    off = np.hypot(X[:, 0], X[:, 2]) - turn
    off -= np.round(off)
    assert np.abs(off).max() <= entangled.ROLL_THICKNESS + 1e-6 and np.abs(off).max() > 0.99 * entangled.ROLL_THICKNESS
    # the other sheet is half a turn, and so half a unit, away: the gap between them is 0.5 - 2 * 0.12
    away = np.abs(np.hypot(X[:, 0], X[:, 2]) - turn - 0.5)
    assert np.abs(away - np.round(away)).min() >= 0.5 - entangled.ROLL_THICKNESS - 1e-6
    assert np.abs(X[:, 1]).max() <= 1


def test_sheets_are_uniform_in_arc_length():
    X, y = both(rolled_sheets(20_000, 2))
    X = X[y == 0]
    # the radius of the middle line is what the angle says, up to whole turns
    radius, angle = np.hypot(X[:, 0], X[:, 2]), np.arctan2(X[:, 2], X[:, 0]) / (2 * math.pi)
    t = angle + np.round(radius - angle)
    grid = np.linspace(*entangled.ROLL_TURNS, 100_001)
    speed = np.hypot(1, 2 * math.pi * grid)
    length = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2)])
    share = np.interp(np.sort(t), grid, length / length[-1])
    gap = np.abs(share - (np.arange(len(share)) + 0.5) / len(share)).max()
    assert gap < 1.63 / math.sqrt(len(share))  # Kolmogorov, 1 %


def test_tubes_run_through_the_holes():
    X, y = both(pierced_box(4000, 2))
    distance = np.minimum(np.hypot(X[:, 0], X[:, 2] - 1), np.hypot(X[:, 0], X[:, 2] + 1))
    np.testing.assert_allclose(entangled.distance_to_holes(X), distance)
    box, tube = X[y == 0], X[y == 1]
    assert distance[y == 0].min() >= 0.6 - 1e-6 and distance[y == 1].max() <= 0.4 + 1e-6
    assert (np.abs(box) <= np.array([1, 1, 2]) + 1e-6).all()
    # linked: the tubes come out on both sides of the box, and both are there
    assert tube[:, 1].min() < -1.4 and tube[:, 1].max() > 1.4
    assert 0.45 < (tube[:, 2] > 0).mean() < 0.55
    # uniform in the tube: a quarter of the points within half the radius
    assert abs((distance[y == 1] < 0.2).mean() - 0.25) < 0.04


def test_sheets_cross_and_the_best_accuracy_is_that_of_the_densities():
    X, y = both(crossing_sheets(100_000, 2))
    d, wave = entangled.SLAB_THICKNESS, np.sin(1.5 * math.pi * X[:, 0])
    off = X[:, 2] - y * wave
    assert np.abs(off).max() <= d + 1e-6
    in_slab, in_sheet = np.abs(X[:, 2]) <= d, np.abs(X[:, 2] - wave) <= d
    # where both densities are there they are equal: any guess is right half of the time
    best = np.where(in_slab & in_sheet, 0.5, 1.0).mean()
    assert abs(best - crossing_accuracy()) < 0.002
    # by quadrature over x
    x = (np.arange(200_000) + 0.5) / 100_000 - 1
    share = np.clip(1 - np.abs(np.sin(1.5 * math.pi * x)) / (2 * d), 0, None).mean()
    assert crossing_accuracy() == pytest.approx(1 - share / 2, abs=1e-6)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("name", ["n_train", "n_test"])
def test_sets_need_a_point_of_each_class(make, name):
    with pytest.raises(ArgumentError) as caught:
        make(**{name: 1})
    assert caught.value.argument == name
