"""Correlation over the last axis of arrays, with weights, and a status where there is none."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

_ROUNDING = 8 * np.finfo(float).eps


class CoefficientStatus(IntEnum):
    """Whether a coefficient may be believed, and if not, why. Ordered: where two apply, the larger one is stored."""

    OK = 0
    """The number means what its name says."""
    SHALLOW = 1
    """There are fewer than five layers, so that the adjusted coefficients do not exist."""
    PERFECT = 2
    """The coefficient is 1 or -1, and the adjusted ones are infinite."""
    DUPLICATES = 3
    """Points coincide at some layer, so that their order and not their distance decides on some neighbours."""
    DROPPED = 4
    """Steps next to a layer without a sum were left out."""
    LARGEST_COMPONENT = 5
    """Some layer stands for the largest component of its graph only."""
    CONSTANT_CURVATURE = 6
    """Every layer has the same curvature; the coefficient is NaN."""
    CONSTANT_EXPANSION = 7
    """Every step has the same expansion; the coefficient is NaN."""
    FEW_POINTS = 8
    """There are fewer than three pairs; the coefficient is NaN."""
    UNDEFINED = 9
    """Some layer has no sum, as a graph that is not connected has no geodesic sum; the coefficient is NaN."""
    COLLAPSED = 10
    """All points coincide at some layer, as behind dead units; the coefficient is NaN."""


class Coefficient(NamedTuple):
    """A correlation, how many pairs it stands on, and a :class:`CoefficientStatus`, all of one shape."""

    rho: np.ndarray
    points: np.ndarray
    status: np.ndarray


def size(values: np.ndarray) -> np.ndarray:
    """Largest finite magnitude over the last axis: differences below its rounding are no differences."""
    values = values.astype(np.float64)
    return np.asarray(np.where(np.isfinite(values), np.abs(values), 0.0).max(-1, initial=0.0))


def told_of_dropped(found: Coefficient, there: np.ndarray) -> Coefficient:
    """Mark the coefficients from which some pairs were left out."""
    dropped = ~there.all(-1) & (found.status < CoefficientStatus.DROPPED)
    return found._replace(status=np.asarray(np.where(dropped, CoefficientStatus.DROPPED, found.status), dtype=np.int8))


def ranks(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Ranks over the last axis of what is there, ties at their mean."""
    values = np.where(there, values, np.inf)
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    same = (values[..., None, :] == values[..., :, None]).sum(-1)
    return below + (same + 1) / 2


def correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray, sizes: tuple[Any, Any], defined: Any) -> Coefficient:
    """Weighted Pearson correlation of a and b over the last axis, by two passes."""
    weights = np.broadcast_to(weights, a.shape).astype(np.float64)
    points, pairs = weights.sum(-1), (weights > 0).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (np.where(weights > 0, v, 0.0) for v in (a, b))
        da, db = (v - (weights * v).sum(-1, keepdims=True) / points[..., None] for v in (a, b))
        constant = [_is_constant(v, weights, size) for v, size in zip((a, b), sizes, strict=True)]
        da, db = (d / np.sqrt((weights * d * d).sum(-1, keepdims=True)) for d in (da, db))
        rho = np.clip((weights * da * db).sum(-1), -1.0, 1.0)
    rho = np.where(1 - np.abs(rho) < 64 * _ROUNDING, np.sign(rho), rho)
    status = np.where(np.abs(rho) == 1, CoefficientStatus.PERFECT, CoefficientStatus.OK)
    for mask, flag in (
        (constant[0], CoefficientStatus.CONSTANT_CURVATURE),
        (constant[1], CoefficientStatus.CONSTANT_EXPANSION),
        (pairs < 3, CoefficientStatus.FEW_POINTS),
        (~defined, CoefficientStatus.UNDEFINED),
    ):
        status = np.where(mask, flag, status)
    rho = np.where(status >= CoefficientStatus.CONSTANT_CURVATURE, np.nan, rho)
    return Coefficient(rho, np.asarray(points, dtype=np.int64), np.asarray(status, dtype=np.int8))


def _is_constant(values: np.ndarray, weights: np.ndarray, size: Any) -> np.ndarray:
    low = np.where(weights > 0, values, np.inf).min(-1, initial=np.inf)
    high = np.where(weights > 0, values, -np.inf).max(-1, initial=-np.inf)
    return np.asarray(high - low <= _ROUNDING * size)
