"""Curves of the aggregated coefficient against k, compared with one another and with layers in random order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from separatrix.geometry.coefficients import aggregate
from separatrix.studies.baptista2024.cells import PAPERS, Cell


def explained(cells: Sequence[Cell], kind: str = "") -> dict[str, float]:
    """Share of the variance between curves that goes with the problem, the depth and the width pattern.

    Curves are those k at which all of the cells have a coefficient; the share is that of the sum of squares between
    the groups' mean curves in the total sum of squares about the mean curve. NaN without such k, or with one curve.
    """
    curves = np.stack([cell.curve(kind=kind) for cell in cells])
    curves = curves[:, np.isfinite(curves).all(0)]
    total = float(((curves - curves.mean(0)) ** 2).sum()) if curves.size else 0.0
    groups = _groups(cells)
    return {name: _between(curves, np.array(of)) / total if total else float("nan") for name, of in groups.items()}


def explained_by_chance(cells: Sequence[Cell]) -> dict[str, float]:
    """The same share, on average, if the curves were dealt to the cells at random: (groups - 1) / (curves - 1).

    More groups explain more by chance, so that shares of groupings are not to be compared without it.
    """
    count = len(cells)
    return {
        name: (len(set(of)) - 1) / (count - 1) if count > 1 else float("nan") for name, of in _groups(cells).items()
    }


def _groups(cells: Sequence[Cell]) -> dict[str, list[object]]:
    return {
        "problem": [cell.problem.name for cell in cells],
        "depth": [cell.depth for cell in cells],
        "widths": [cell.widths for cell in cells],
    }


def _between(curves: np.ndarray, labels: np.ndarray) -> float:
    mean = curves.mean(0)
    groups = [curves[labels == label] for label in np.unique(labels)]
    return float(sum(len(group) * ((group.mean(0) - mean) ** 2).sum() for group in groups))


def layer_null_curve(cell: Cell, seed: int = 0) -> np.ndarray:
    """Aggregated coefficient against k with the layers of every network in a random order of its own, (k,).

    The same orders serve all k, so that a k* can be chosen as it is from the real curve.
    """
    g, ric = cell.sums(PAPERS)
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(g.shape[2]), (g.shape[1], 1)), axis=1)
    shuffled = (np.take_along_axis(v, np.broadcast_to(orders, v.shape), -1) for v in (g, ric))
    curve = aggregate(*shuffled, weights=cell.used).rho
    return np.where(cell.range, curve, np.nan)
