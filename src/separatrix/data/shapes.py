"""Two classes on circles, cylinders and tori: the shapes of Hehl, von Renesse, Weber (2025)."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from separatrix.data.entangled import Draw, two_classes
from separatrix.data.record import Problem
from separatrix.results.errors import ArgumentError

INNER = 0.5
"""Radius of the inner circle and cylinder; the outer one's is 1."""


def circles(n_train: int = 1000, n_test: int = 1000, *, seed: int = 0, noise: float = 0.03) -> Problem:
    """Two circles about the origin, of radius 1 (class 0) and 0.5 (class 1), each coordinate with normal noise.

    Parameters
    ----------
    n_train, n_test : int
        Points of the training and of the test set, half of them in each class.
    seed : int
        Seed of all draws; the training set is drawn first.
    noise : float
        Standard deviation of what is added to each coordinate.

    Returns
    -------
    Problem
        ``X_*`` of shape (n, 2), ``y_*`` class numbers 0 and 1 of shape (n,), in random order.

    Raises
    ------
    ArgumentError
        If a set would have less than one point in each class, or the noise is negative.

    Notes
    -----
    Hehl, von Renesse, Weber, arXiv 2509.22362 (2025), names the shapes, their noise and, of the four circles, the
    radius; the rest of the geometry is chosen here.
    """
    return _problem("circles", "two circles, one in the other", partial(_circles, noise), n_train, n_test, seed, noise)


def four_circles(
    n_train: int = 1000, n_test: int = 1000, *, seed: int = 0, radius: float = 0.2, noise: float = 0.0
) -> Problem:
    """Four circles about (±0.5, ±0.5); those with coordinates of one sign are class 0, the two others class 1.

    ``radius`` is that of the circles; all else as in :func:`circles`.
    """
    draw = partial(_four_circles, radius, noise)
    return _problem("four circles", "four circles in a square", draw, n_train, n_test, seed, noise)


def cylinders(n_train: int = 1000, n_test: int = 1000, *, seed: int = 0, noise: float = 0.0) -> Problem:
    """Two cylinders about the z axis, of radius 1 (class 0) and 0.5 (class 1), z uniform in [-1, 1].

    All else as in :func:`circles`, with ``X_*`` of shape (n, 3).
    """
    draw = partial(_cylinders, noise)
    return _problem("cylinders", "two cylinders, one in the other", draw, n_train, n_test, seed, noise)


def tori(n_train: int = 1000, n_test: int = 1000, *, seed: int = 0, noise: float = 0.0) -> Problem:
    """Two linked tori of radii 1 and 0.25, about the z axis (class 0), and about y through (1, 0, 0) (class 1).

    Points are uniform by area. All else as in :func:`circles`, with ``X_*`` of shape (n, 3).
    """
    return _problem("tori", "two linked tori", partial(_tori, noise), n_train, n_test, seed, noise)


def _problem(name: str, words: str, draw: Draw, n_train: int, n_test: int, seed: int, noise: float) -> Problem:
    if not noise >= 0:
        raise ArgumentError("noise", repr(noise), "give a standard deviation, 0 or more")
    return two_classes(name, f"{n_train + n_test:,} points of {words}", draw, n_train, n_test, seed)


def _ring(rng: np.random.Generator, count: int, radius: float) -> np.ndarray:
    angle = rng.uniform(0, 2 * math.pi, count)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def _circles(noise: float, rng: np.random.Generator, count: int, label: int) -> np.ndarray:
    points = _ring(rng, count, INNER if label else 1.0)
    return points + noise * rng.standard_normal(points.shape)


def _four_circles(radius: float, noise: float, rng: np.random.Generator, count: int, label: int) -> np.ndarray:
    side = rng.choice((-0.5, 0.5), count)
    centres = np.stack([side, -side if label else side], 1)
    return centres + _ring(rng, count, radius) + noise * rng.standard_normal((count, 2))


def _cylinders(noise: float, rng: np.random.Generator, count: int, label: int) -> np.ndarray:
    points = np.column_stack([_ring(rng, count, INNER if label else 1.0), rng.uniform(-1, 1, count)])
    return points + noise * rng.standard_normal(points.shape)


def _tori(noise: float, rng: np.random.Generator, count: int, label: int) -> np.ndarray:
    major, minor = 1.0, 0.25
    kept = np.empty(0)
    while len(kept) < count:  # area at angle v is in proportion to the distance from the axis
        v = rng.uniform(0, 2 * math.pi, 2 * count)
        kept = np.concatenate([kept, v[rng.uniform(0, major + minor, 2 * count) < major + minor * np.cos(v)]])
    v = kept[:count]
    ring = _ring(rng, count, 1.0) * (major + minor * np.cos(v))[:, None]
    height = minor * np.sin(v)
    points = np.column_stack([ring, height])
    if label:  # turned about the x axis, and its centre on the other's circle
        points = np.column_stack([points[:, 0] + major, -height, points[:, 1]])
    return points + noise * rng.standard_normal(points.shape)
