"""Problems in the plane that can be understood completely."""

from __future__ import annotations

import math

import numpy as np
import torch

from separatrix.data.record import Problem
from separatrix.results.errors import ArgumentError


def disc(
    n: int = 40_000,
    *,
    seed: int = 0,
    radius: float = math.sqrt(2 / math.pi),
    standardize: bool = True,
    test: float = 0.1,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """Tell the inside of a disc from its outside: the two-dimensional problem of Storm et al.

    Points are uniform in the square [-1, 1]^2; the target is -1 where they lie within ``radius`` of the origin and
    +1 elsewhere. With the default radius both classes have the same probability.

    Parameters
    ----------
    n : int
        Points in all, at least 2.
    seed : int
        Seed of the points (they are drawn independently, so the split is their order).
    radius : float
        Radius of the disc in raw units, positive.
    standardize : bool
        Give the inputs mean 0 and standard deviation 1, by the training set. The circle then has its centre at
        ``-mean / scale`` and the half-axes ``radius / scale``.
    test : float
        Share of the test set.
    dtype : torch.dtype
        Of inputs and targets.

    Returns
    -------
    Problem
        ``X_*`` of shape (n, 2), ``y_*`` of shape (n,) with -1 and +1, ``mean`` and ``scale`` of shape (2,).

    Raises
    ------
    ArgumentError
        If ``n``, ``radius`` or ``test`` is out of range.

    Notes
    -----
    Storm, Linander, Bec, Gustavsson, Mehlig, Phys. Rev. Lett. 132, 057301 (2024), Figs. 1-3: 4e4 points, 90 % for
    training. The letter gives neither the radius nor the scaling; both are arguments here.
    """
    if n < 2:
        raise ArgumentError("n", str(n), "give at least 2 points")
    if not radius > 0:
        raise ArgumentError("radius", str(radius), "give a positive radius; the square is [-1, 1]^2")
    if not 0 < test < 1:
        raise ArgumentError("test", repr(test), "give the share of the test set, between 0 and 1")
    raw = np.random.default_rng(seed).uniform(-1, 1, size=(n, 2))
    t = np.where(np.hypot(raw[:, 0], raw[:, 1]) < radius, -1.0, 1.0)
    train = min(max(1, n - round(test * n)), n - 1)
    mean, scale = np.zeros(2), np.ones(2)
    if standardize:
        mean, scale = raw[:train].mean(axis=0), raw[:train].std(axis=0)
    X, y = torch.from_numpy((raw - mean) / scale).to(dtype), torch.from_numpy(t).to(dtype)
    return Problem(
        name="disc",
        description=f"{n:,} points uniform in a square; is a point inside the circle of radius {radius:.3f}?",
        X_train=X[:train],
        y_train=y[:train],
        X_test=X[train:],
        y_test=y[train:],
        classes=("inside", "outside"),
        seed=seed,
        mean=torch.from_numpy(mean),
        scale=torch.from_numpy(scale),
    )
