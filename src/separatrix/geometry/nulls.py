"""What Ricci coefficients are without a flow: permutations of curvatures, and of layers.

Batched like :mod:`separatrix.geometry.coefficients`: the last axis holds the layers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from separatrix.geometry.coefficients import expansion, ricci_coefficient
from separatrix.results.errors import ArgumentError

EXACT = 5040
"""Arrangements up to which all are counted, rather than some drawn: 7! of them."""
_TIE = 1e-12
"""Coefficients that differ by less are equal: they are sums of the same products in another order."""
_CELLS = 1 << 15
"""Numbers worked on at once, so that they stay in a core's cache."""


class Null(NamedTuple):
    """Where a coefficient stands among those of its permutations."""

    p: np.ndarray
    """One-sided: share of permutations whose coefficient is as negative or more. NaN without a coefficient."""
    mean: np.ndarray
    """Mean coefficient of the permutations."""
    negative: np.ndarray
    """Share of permutations with a coefficient below zero."""
    permutations: int
    """How many there were."""
    exact: bool
    """Whether they were all of them, each once."""


def permute_pairs(g: Any, ric: Any, *, draws: int = 999, seed: int = 0) -> Null:
    """Pair the curvatures of layers 1..L-1 with the expansions at random, to see whether there is an association.

    What regression to the mean makes of two sums of one graph counts as association here: see :func:`permute_layers`.
    Over all permutations the mean coefficient is exactly zero.

    Parameters
    ----------
    g, ric : array, shape (..., layers)
        As in :func:`separatrix.geometry.coefficients.ricci_coefficient`; a layer without a sum makes the answer NaN.
    draws : int
        Permutations that are drawn where there are more than 5,040 of them; otherwise all are counted.
    seed : int
        Of the draws, which are the same for all networks of a call.

    Returns
    -------
    Null
        ``p`` counts the pairing as it was; for drawn permutations it is (1 + count) / (1 + draws), which is valid for
        any number of draws (Phipson and Smyth, 2010). With L layers, p cannot fall below 1 / (L - 1)!.

    Raises
    ------
    ArgumentError
        If the shapes differ, or ``draws`` is below 1.
    """
    rho = ricci_coefficient(g, ric).rho
    eta, curvature = (_standard(v) for v in (expansion(g), np.asarray(ric, dtype=np.float64)[..., :-1]))
    orders, exact = arrangements(eta.shape[-1], draws, seed)

    def coefficients(eta: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        return np.asarray(sum(curvature[orders[:, i]] * eta[i] for i in range(len(eta))))

    return _null(rho, eta, curvature, coefficients, orders, exact)


def permute_layers(g: Any, ric: Any, *, draws: int = 999, seed: int = 0) -> Null:
    """Put the layers, each with its two sums, in a random order, to see whether their order matters.

    Expansions are those of the new order, so that what regression to the mean makes of the correlation between the two
    sums is in every permutation, as it is in the coefficient.

    Parameters
    ----------
    g, ric, draws, seed
        As in :func:`permute_pairs`; there are L! orders of L layers.

    Returns
    -------
    Null
        Orders in which all expansions or all curvatures are equal have no coefficient and are left out.

    Raises
    ------
    ArgumentError
        As in :func:`permute_pairs`.
    """
    rho = ricci_coefficient(g, ric).rho
    sums, curvature = (_standard(np.asarray(v, dtype=np.float64)) for v in (g, ric))
    orders, exact = arrangements(sums.shape[-1], draws, seed)

    def coefficients(sums: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        steps = len(sums) - 1
        first, last = orders[:, 0], orders[:, -1]
        mean_step = (sums[last] - sums[first]) / steps
        mean_curvature = (curvature.sum(0) - curvature[last]) / steps
        both, own_step, own_curvature = (np.zeros_like(mean_step) for _ in range(3))
        here = sums[first]
        for i in range(steps):
            there = sums[orders[:, i + 1]]
            step, bend = there - here - mean_step, curvature[orders[:, i]] - mean_curvature
            both += step * bend
            own_step += step * step
            own_curvature += bend * bend
            here = there
        # sums are of order one here: smaller spreads than this are rounding
        flat = (own_step < 1e-24) | (own_curvature < 1e-24)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(flat, np.nan, both / np.sqrt(own_step * own_curvature))

    return _null(rho, sums, curvature, coefficients, orders, exact)


def arrangements(count: int, draws: int, seed: int) -> tuple[np.ndarray, bool]:
    """Permutations of ``count`` things, shape (permutations, count): all of them up to 5,040, else ``draws`` of them.

    The first is the identity; it stands before those that are drawn, which are then one more.

    Raises
    ------
    ArgumentError
        If ``draws`` is below 1.
    """
    if isinstance(draws, bool) or int(draws) != draws or draws < 1:
        raise ArgumentError("draws", repr(draws), "give the number of permutations to draw, at least 1")
    if math.factorial(count) <= EXACT:
        return np.array(list(itertools.permutations(range(count))), dtype=np.int64).reshape(-1, count), True
    rows = np.tile(np.arange(count), (int(draws) + 1, 1))
    rows[1:] = np.random.default_rng(seed).permuted(rows[1:], axis=1)
    return rows, False


def _null(
    rho: np.ndarray, first: np.ndarray, second: np.ndarray, coefficients: Any, orders: np.ndarray, exact: bool
) -> Null:
    """Compare each coefficient with those of its permutations, some networks at a time."""
    known = ~np.isnan(rho.reshape(-1))
    rows = [v.reshape(known.size, v.shape[-1]) for v in (first, second)]
    p, mean, negative = (np.full(known.size, np.nan) for _ in range(3))
    for part in _parts(np.flatnonzero(known), max(1, _CELLS // len(orders))):
        # layers first, so that a permutation picks whole rows
        null = coefficients(*(np.ascontiguousarray(v[part].T) for v in rows))
        # the identity, by the same arithmetic as the others, so that equal ones are found equal
        own = null[0]
        p[part] = np.where(np.isnan(own), np.nan, _share(null <= own + _TIE, ~np.isnan(null)))
        drawn = null if exact else null[1:]
        defined = ~np.isnan(drawn)
        mean[part] = _share(np.where(defined, drawn, 0.0), defined)
        negative[part] = _share(drawn < -_TIE, defined)
    p, mean, negative = (np.asarray(np.where(np.isnan(rho), np.nan, v.reshape(rho.shape))) for v in (p, mean, negative))
    return Null(p, mean, negative, len(orders) - (not exact), exact)


def _share(values: np.ndarray, defined: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values.sum(0) / defined.sum(0))


def _parts(places: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (places[i : i + size] for i in range(0, len(places), size))


def _standard(values: np.ndarray) -> np.ndarray:
    """Centred rows of length one; correlations do not feel it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = values - values.mean(-1, keepdims=True)
        return np.asarray(values / np.sqrt((values * values).sum(-1, keepdims=True)))
