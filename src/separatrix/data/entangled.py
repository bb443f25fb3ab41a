"""Two classes in space, rolled together, linked, or crossing: three problems of Baptista et al. (2024)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from separatrix.data.record import Problem
from separatrix.results.errors import ArgumentError

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
"""Points (count, axis) of one class: generator, count, class number."""

ROLL_TURNS = (0.5, 1.5)
"""Where each sheet of :func:`rolled_sheets` begins and ends, in turns."""
ROLL_THICKNESS = 0.12
"""Half thickness of a sheet; neighbouring turns of the two sheets are 0.5 apart."""

TUBE_RADIUS, HOLE_RADIUS = 0.4, 0.6
HOLE_PLACES = (-1.0, 1.0)
"""Heights of the two holes of :func:`pierced_box`."""

SLAB_THICKNESS, WAVE_HEIGHT, WAVES = 0.12, 1.0, 1.5
"""Half thickness of slab and sheet of :func:`crossing_sheets`, height of the sheet's wave, and number of waves."""


def rolled_sheets(n_train: int = 1000, n_test: int = 1000, *, seed: int = 0) -> Problem:
    """Problem A, entangled and not linked: two sheets rolled up together.

    Class c (0 or 1) is a thick Archimedean spiral times an interval: with turns t uniform in arc length,
    phi = 2 pi t and u uniform in [-0.12, 0.12],

        x = (t + u) cos(phi + pi c),  z = (t + u) sin(phi + pi c),  y uniform in [-1, 1],  t in [0.5, 1.5].

    Parameters
    ----------
    n_train, n_test : int
        Points of the training and of the test set, half of them in each class.
    seed : int
        Seed of all draws; the training set is drawn first.

    Returns
    -------
    Problem
        ``X_*`` of shape (n, 3), ``y_*`` class numbers 0 and 1 of shape (n,), in random order.

    Raises
    ------
    ArgumentError
        If a set would have less than one point in each class.

    Notes
    -----
    Baptista et al., Sci. Rep. 14, 23383 (2024), Fig. 2A, which shows the problem and gives no formula: this is a
    generator of that kind and not theirs. After the double spiral of Brahma, Wu, She (2016).
    """
    return _problem(
        "rolled sheets", "two sheets rolled up together (entangled, not linked)", _roll, n_train, n_test, seed
    )


def pierced_box(n_train: int = 1000, n_test: int = 1000, *, seed: int = 0) -> Problem:
    """Problem B, linked: a solid box with two holes, and a solid tube through each of them.

    Class 0 is uniform in [-1, 1] x [-1, 1] x [-2, 2] without the points nearer than 0.6 to the lines x = 0, z = -1 and
    x = 0, z = 1, which run along y. Class 1 is uniform in the two tubes of radius 0.4 about these lines, |y| <= 1.5.

    Parameters, return value, errors and source as in :func:`rolled_sheets`; similar to data set D-I of Naitzat,
    Zhitnikov, Lim (2020).
    """
    return _problem(
        "pierced box", "a box with two holes and a tube through each (linked)", _pierced, n_train, n_test, seed
    )


def crossing_sheets(n_train: int = 1000, n_test: int = 1000, *, seed: int = 0) -> Problem:
    """Problem C, intersecting and not separable: a wavy sheet that crosses a flat slab.

    Class 0 is uniform in the slab |z| <= 0.12 over [-1, 1] x [-1, 1]. Class 1 has z = sin(1.5 pi x) + u with u uniform
    in [-0.12, 0.12], over the same square. Where the sheet passes through the slab the classes cannot be told apart;
    :func:`crossing_accuracy` is the best accuracy that is possible.

    Parameters, return value, errors and source as in :func:`rolled_sheets`.
    """
    return _problem(
        "crossing sheets", "a wavy sheet that crosses a flat slab (not separable)", _crossing, n_train, n_test, seed
    )


def crossing_accuracy(thickness: float = SLAB_THICKNESS) -> float:
    """Accuracy of the best classifier of :func:`crossing_sheets`, in closed form.

    At x the two uniform densities overlap on the share (1 - |s| / (2 d))_+ of their width, s = sin(1.5 pi x), and half
    of the points there are lost. Over whole quarters of waves x gives |s| the arcsine law, so the mean share is
    (2 / pi) (asin w - (1 - sqrt(1 - w^2)) / w) with w = 2 d <= 1.
    """
    w = 2 * thickness
    share = 2 / math.pi * (math.asin(w) - (1 - math.sqrt(1 - w * w)) / w)
    return 1 - share / 2


def _roll(rng: np.random.Generator, count: int, label: int) -> np.ndarray:
    # arc length of r = t over angle 2 pi t, inverted on a fine grid
    grid = np.linspace(*ROLL_TURNS, 2001)
    angle = 2 * math.pi * grid
    length = angle * np.sqrt(1 + angle**2) + np.arcsinh(angle)
    turns = np.interp(rng.uniform(length[0], length[-1], count), length, grid)
    radius = turns + rng.uniform(-ROLL_THICKNESS, ROLL_THICKNESS, count)
    phi = 2 * math.pi * turns + math.pi * label
    return np.stack([radius * np.cos(phi), rng.uniform(-1, 1, count), radius * np.sin(phi)], 1)


def _pierced(rng: np.random.Generator, count: int, label: int) -> np.ndarray:
    if label == 1:
        radius, angle = TUBE_RADIUS * np.sqrt(rng.uniform(size=count)), rng.uniform(0, 2 * math.pi, count)
        place = rng.choice(HOLE_PLACES, count)
        return np.stack([radius * np.cos(angle), rng.uniform(-1.5, 1.5, count), place + radius * np.sin(angle)], 1)
    kept = np.empty((0, 3))
    while len(kept) < count:
        drawn = rng.uniform((-1, -1, -2), (1, 1, 2), (2 * count, 3))
        kept = np.concatenate([kept, drawn[distance_to_holes(drawn) >= HOLE_RADIUS]])
    return kept[:count]


def distance_to_holes(points: np.ndarray) -> np.ndarray:
    """Distance of points (n, 3) to the nearer one of the two lines through the holes of :func:`pierced_box`."""
    return np.minimum(*(np.hypot(points[:, 0], points[:, 2] - place) for place in HOLE_PLACES))


def _crossing(rng: np.random.Generator, count: int, label: int) -> np.ndarray:
    x, y = rng.uniform(-1, 1, (2, count))
    wave = WAVE_HEIGHT * np.sin(WAVES * math.pi * x) if label else 0.0
    return np.stack([x, y, wave + rng.uniform(-SLAB_THICKNESS, SLAB_THICKNESS, count)], 1)


def _problem(name: str, words: str, draw: Draw, n_train: int, n_test: int, seed: int) -> Problem:
    return two_classes(name, f"{n_train + n_test:,} points of {words}", draw, n_train, n_test, seed)


def two_classes(name: str, description: str, draw: Draw, n_train: int, n_test: int, seed: int) -> Problem:
    """Problem of two classes of equal size, training and test set drawn independently and put in random order.

    Raises
    ------
    ArgumentError
        If a set would have less than one point in each class.
    """
    for argument, count in (("n_train", n_train), ("n_test", n_test)):
        if count < 2:
            raise ArgumentError(argument, str(count), "give at least 2 points, one for each class")
    rng = np.random.default_rng(seed)
    sets = []
    for count in (n_train, n_test):
        sizes = (count - count // 2, count // 2)
        X = np.concatenate([draw(rng, size, label) for label, size in enumerate(sizes)])
        order = rng.permutation(count)
        y = np.repeat((0, 1), sizes)[order]
        sets += [torch.from_numpy(X[order]).float(), torch.from_numpy(y)]
    X_train, y_train, X_test, y_test = sets
    return Problem(name, description, X_train, y_train, X_test, y_test, classes=("0", "1"), seed=seed)
