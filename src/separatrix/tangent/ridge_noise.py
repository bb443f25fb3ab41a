"""How noisy a field is, and whether it is smooth enough to be differentiated at all."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

_BLOCK = 16
_ORDER = 6
_TO_DEVIATION = 1 / (0.6744898 * math.sqrt(math.comb(2 * _ORDER, _ORDER)))
"""From the median size of a sixth difference of white noise to its standard deviation."""


def noise_level(f: Float[np.ndarray, "x y"]) -> Float[np.ndarray, "x y"]:
    """Estimate the standard deviation of uncorrelated noise near each node.

    The median of sixth differences over blocks of 16 x 16 nodes, the smaller of those along x and along y: what is
    smooth over a few cells cancels, a ridge that is not is too small a part of its block to count, and noise remains.
    """
    levels = [_block_median(np.abs(np.diff(f, n=_ORDER, axis=axis))) for axis in (0, 1)]
    smaller = np.fmin(*(_spread(level, f.shape) for level in levels))
    return _TO_DEVIATION * np.nan_to_num(smaller, nan=0.0)


def roughness(f: Float[np.ndarray, "x y"]) -> float:
    """Sum of second over sum of first differences: near 0 for smooth fields, 2 for steps, 1.7 for white noise."""
    first = second = 0.0
    for axis in (0, 1):
        first += float(np.nansum(np.abs(np.diff(f, axis=axis))))
        second += float(np.nansum(np.abs(np.diff(f, n=2, axis=axis))))
    return second / first if first > 0 else 0.0


def _block_median(a: np.ndarray) -> np.ndarray:
    """Medians of blocks, over the values that are finite; NaN where a block has none."""
    rows, columns = (-(-n // _BLOCK) for n in a.shape)
    padded = np.full((rows * _BLOCK, columns * _BLOCK), np.nan)
    padded[: a.shape[0], : a.shape[1]] = np.where(np.isfinite(a), a, np.nan)
    blocks = padded.reshape(rows, _BLOCK, columns, _BLOCK).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    blocks = np.sort(blocks, axis=-1)
    have = np.isfinite(blocks).sum(-1, keepdims=True)
    return np.take_along_axis(blocks, np.maximum(have - 1, 0) // 2, axis=-1)[..., 0]


def _spread(blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = (np.minimum(np.arange(n) // _BLOCK, m - 1) for n, m in zip(shape, blocks.shape, strict=True))
    return blocks[np.ix_(rows, columns)]
