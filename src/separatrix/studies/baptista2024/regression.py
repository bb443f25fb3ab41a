"""Least squares with classes as dummy variables, and what one predictor adds to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Slope:
    """One predictor beside classes, in ordinary least squares.

    Attributes
    ----------
    slope, error : float
        Coefficient of the predictor, and its standard error.
    t, p : float
        Their ratio, and its two-sided p.
    r2, r2_gained : float
        Share of the variance explained by all, and by how much it falls without the predictor.
    n, freedom : int
        Rows, and degrees of freedom that are left.
    """

    slope: float
    error: float
    t: float
    p: float
    r2: float
    r2_gained: float
    n: int
    freedom: int


def dummies(classes: Mapping[str, Sequence[object]], n: int) -> np.ndarray:
    """Constant column and one column for every value of every class but its first, (n, columns)."""
    columns = [np.ones(n)]
    for values in classes.values():
        array = np.array(values, dtype=object)
        columns += [(array == value).astype(float) for value in list(dict.fromkeys(array.tolist()))[1:]]
    return np.stack(columns, 1)


def slope(y: np.ndarray, x: np.ndarray, classes: Mapping[str, Sequence[object]]) -> Slope:
    """Slope of y in x with classes held fixed, y ~ x + classes.

    Rows with x or y not finite are left out. By Frisch, Waugh and Lovell the slope is that of the residuals of y and x
    on the classes, so the rest need not be inverted and may have columns that depend on one another. All of it is NaN
    where x is constant within classes, or no degree of freedom is left.
    """
    from scipy.stats import t as student

    known = np.isfinite(x) & np.isfinite(y)
    y, x = np.asarray(y, float)[known], np.asarray(x, float)[known]
    n = len(y)
    nothing = Slope(*(math.nan,) * 6, n, 0)
    if n == 0:
        return nothing
    D = dummies({name: np.array(values, dtype=object)[known].tolist() for name, values in classes.items()}, n)
    basis, singular, _ = np.linalg.svd(D, full_matrices=False)
    basis = basis[:, singular > 1e-10 * singular[0]]
    # the second projection takes off what rounding left of the first
    ry, rx = y, x
    for _ in range(2):
        ry, rx = ry - basis @ (basis.T @ ry), rx - basis @ (basis.T @ rx)
    freedom = n - basis.shape[1] - 1
    size, total = float(rx @ rx), float(((y - y.mean()) ** 2).sum())
    if freedom < 1 or size <= 1e-20 * float(x @ x) or total == 0:
        return nothing
    b = float(rx @ ry) / size
    left = float(((ry - b * rx) ** 2).sum())
    error = math.sqrt(left / freedom / size)
    t = b / error if error else math.copysign(math.inf, b)
    gained = (float(ry @ ry) - left) / total
    return Slope(b, error, t, float(2 * student.sf(abs(t), freedom)), 1 - left / total, gained, n, freedom)


def shuffled_t(
    y: np.ndarray,
    x: np.ndarray,
    classes: Mapping[str, Sequence[object]],
    groups: Sequence[object],
    draws: int,
    seed: int,
) -> np.ndarray:
    """The t of the same regression with x permuted within groups, (draws,)."""
    known = np.isfinite(x) & np.isfinite(y)
    y, x = np.asarray(y, float)[known], np.asarray(x, float)[known]
    kept = {name: np.array(values, dtype=object)[known].tolist() for name, values in classes.items()}
    labels = np.array(groups, dtype=object)[known]
    rows = [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]
    rng = np.random.default_rng(seed)
    found = np.empty(draws)
    for i in range(draws):
        order = np.arange(len(x))
        for mine in rows:
            order[mine] = rng.permutation(mine)
        found[i] = slope(y, x[order], kept).t
    return found
