"""The standard error of an average along an orbit, by batch means, and whether there is one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PIECES = 16
"""Pieces of an orbit whose means give the standard error."""
DISAGREE = 5.0
"""Difference of the means of both halves, in its standard error, from which an orbit is not stationary."""


class BatchMeans(NamedTuple):
    """Standard errors, NaN where there is none, and whether the two halves agree."""

    error: Float[Tensor, "B k"]
    settled: Bool[Tensor, "B k"]


def pieces(steps: int) -> int:
    """How many pieces a number of steps is cut into: even, so that halves are made of whole pieces; 0 if too few."""
    return min(PIECES, 2 * (steps // 4)) if steps >= 8 else 0


def batch_means(sums: Float[Tensor, "pieces B k"], lengths: Float[Tensor, " pieces"]) -> BatchMeans:
    """Standard error of the mean of a stationary sequence from the sums of consecutive pieces of it.

    Parameters
    ----------
    sums : (pieces, B, k) tensor, float64
        An even number of pieces.
    lengths : (pieces,) tensor
        Terms in each.

    Notes
    -----
    Right once a piece is longer than the memory of the sequence. If the halves differ by more than five standard errors
    of their difference, estimated within the halves so that a drift does not excuse itself, the sequence is not
    stationary (a transient), and there is no standard error.
    """
    count = len(sums)
    means = sums / lengths[:, None, None]
    half = count // 2
    first, second = means[:half], means[half:]
    doubt = torch.sqrt((first.var(0) + second.var(0)) / half)
    difference = (first.mean(0) - second.mean(0)).abs()
    # rounding of terms that are constant along the orbit is no disagreement
    settled = difference <= DISAGREE * doubt + 1e-12 * (1 + means.abs().amax(0))
    error = means.std(0) / math.sqrt(count)
    return BatchMeans(torch.where(settled, error, torch.nan), settled)
