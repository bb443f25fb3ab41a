"""Signs of the coefficients of many networks, with what permutations make of each, and means that know their cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from separatrix.geometry.coefficients import regression_to_the_mean, ricci_coefficient
from separatrix.geometry.nulls import permute_layers, permute_pairs

DRAWS = 999


@dataclass(frozen=True)
class Signs:
    """Coefficients of many networks, each with what its permutations give; arrays (network,), without NaN."""

    rho: np.ndarray
    pairs: np.ndarray
    """Share of negative coefficients among permutations of the pairs."""
    layers: np.ndarray
    """The same among permutations of the layers."""
    shuffled: np.ndarray
    """Mean coefficient of the permutations of the layers: what regression to the mean makes of this network's sums."""
    p_pairs: np.ndarray
    p_layers: np.ndarray
    bias: np.ndarray
    """-c / sqrt 2 with the network's own correlation c of the two sums."""
    lost: int
    """Networks without a coefficient."""

    @property
    def negative(self) -> np.ndarray:
        """Which are below zero."""
        return self.rho < 0

    def percent(self) -> float:
        """Share of negative coefficients."""
        return 100 * float(self.negative.mean()) if len(self.rho) else math.nan


def signs(g: np.ndarray, ric: np.ndarray) -> Signs:
    """Coefficients and nulls of networks from their sums (network, layer)."""
    rho = ricci_coefficient(g, ric).rho
    known = np.isfinite(rho)
    g, ric = g[known], ric[known]
    pairs, layers = permute_pairs(g, ric, draws=DRAWS), permute_layers(g, ric, draws=DRAWS)
    bias = regression_to_the_mean(g, ric).bias
    lost = int((~known).sum())
    return Signs(rho[known], pairs.negative, layers.negative, layers.mean, pairs.p, layers.p, bias, lost)


def joined(parts: Iterable[Signs]) -> Signs:
    """All networks of several cells."""
    parts = list(parts)
    names = [f.name for f in fields(Signs) if f.name != "lost"]
    arrays = {name: np.concatenate([np.zeros(0), *(getattr(part, name) for part in parts)]) for name in names}
    return Signs(**arrays, lost=sum(part.lost for part in parts))


class Excess(NamedTuple):
    """A mean over networks, and its standard error over cells (NaN for fewer than two of them)."""

    mean: float
    error: float
    networks: int
    cells: int

    @property
    def side(self) -> int | None:
        """1 or -1 where the mean is more than two standard errors from zero, 0 where it is not, None if unknown."""
        if not (math.isfinite(self.mean) and math.isfinite(self.error)):
            return None
        return 0 if abs(self.mean) <= 2 * self.error else int(math.copysign(1, self.mean))


def clustered(parts: Sequence[np.ndarray]) -> Excess:
    """Mean of numbers that come in cells, an array for each, with a standard error that lets those of a cell agree.

    The networks of a cell share their data, the order of their batches and k, so that they are no independent draws:
    the error is that of the sums over cells (Liang and Zeger, Biometrika 73, 13 (1986)), with the divisor cells - 1.
    """
    parts = [part[np.isfinite(part)] for part in map(np.asarray, parts)]
    parts = [part for part in parts if len(part)]
    count, cells = sum(map(len, parts)), len(parts)
    if not count:
        return Excess(math.nan, math.nan, 0, 0)
    mean = float(np.concatenate(parts).mean())
    sums = np.array([float((part - mean).sum()) for part in parts])
    error = math.sqrt(cells / (cells - 1) * float(sums @ sums)) / count if cells > 1 else math.nan
    return Excess(mean, error, count, cells)


def paired(outside: dict, raw: dict) -> list[np.ndarray]:
    """Signs of the trained networks of each cell, less the share of negative untrained ones in it."""
    return [
        outside[key].negative - raw[key].negative.mean()
        for key in outside
        if len(outside[key].rho) and len(raw[key].rho)
    ]


def discoveries(p: np.ndarray, rate: float = 0.05) -> int:
    """How many of many p are small after all: those that Benjamini and Hochberg (1995) keep at a false discovery rate.

    Their rule holds for independent tests and for some dependent ones.
    """
    from scipy.stats import false_discovery_control

    return int((false_discovery_control(p) <= rate).sum()) if len(p) else 0
