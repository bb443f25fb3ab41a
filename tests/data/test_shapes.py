"""Circles, cylinders and tori: points lie on the surfaces they are named after."""

import numpy as np
import pytest
import torch

from separatrix.data.shapes import circles, cylinders, four_circles, tori
from separatrix.results.errors import ArgumentError


def both(problem):
    return torch.cat([problem.X_train, problem.X_test]).double().numpy(), torch.cat(
        [problem.y_train, problem.y_test]
    ).numpy()


def test_circles_and_their_noise():
    X, y = both(circles(noise=0.0))
    np.testing.assert_allclose(np.hypot(*X.T), np.where(y == 1, 0.5, 1.0), atol=1e-6)
    noisy, _ = both(circles(20_000, 2))
    radius = np.hypot(*noisy.T)
    # across the circle the noise is one normal number of standard deviation 0.03
    outer = radius[radius > 0.75] - 1
    assert abs(outer.std() / 0.03 - 1) < 0.05


def test_four_circles():
    X, y = both(four_circles())
    centres = 0.5 * np.sign(X)
    np.testing.assert_allclose(np.linalg.norm(X - centres, axis=1), 0.2, atol=1e-6)
    assert np.array_equal(np.sign(X).prod(1) < 0, y == 1)
    assert len({tuple(c) for c in np.sign(X).astype(int)}) == 4


def test_cylinders():
    X, y = both(cylinders())
    np.testing.assert_allclose(np.hypot(X[:, 0], X[:, 1]), np.where(y == 1, 0.5, 1.0), atol=1e-6)
    assert X[:, 2].min() < -0.95 and X[:, 2].max() > 0.95 and np.abs(X[:, 2]).max() <= 1


def test_tori_are_linked_and_uniform_by_area():
    X, y = both(tori(20_000, 2))
    first, second = X[y == 0], X[y == 1]
    tube = (np.hypot(first[:, 0], first[:, 1]) - 1) ** 2 + first[:, 2] ** 2
    np.testing.assert_allclose(tube, 0.25**2, atol=1e-5)
    x, z = second[:, 0] - 1, second[:, 2]
    np.testing.assert_allclose((np.hypot(x, z) - 1) ** 2 + second[:, 1] ** 2, 0.25**2, atol=1e-5)
    # the second passes the plane of the first once through its hole and once outside of it
    passing = np.hypot(second[:, 0], second[:, 1])[np.abs(second[:, 2]) < 0.1]
    assert passing.min() < 0.3 and passing[passing < 0.75].max() < 0.3
    assert passing.max() > 2 and not ((passing > 0.3) & (passing < 1.7)).any()
    # share of the area outside of the middle circle: 1/2 + r / (pi R)
    outside = (np.hypot(first[:, 0], first[:, 1]) > 1).mean()
    assert abs(outside - (0.5 + 0.25 / np.pi)) < 4 * 0.5 / np.sqrt(len(first))


@pytest.mark.parametrize("make", [circles, four_circles, cylinders, tori])
def test_seeds_and_bad_arguments(make):
    assert torch.equal(make(10, 10, seed=1).X_test, make(10, 10, seed=1).X_test)
    for arguments, name in (({"n_train": 1}, "n_train"), ({"noise": -1.0}, "noise")):
        with pytest.raises(ArgumentError) as caught:
            make(**arguments)
        assert caught.value.argument == name
