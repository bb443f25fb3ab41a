"""Segments and polygons that consist of fixed points: cut to a box, and the distance of points from them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def clipped(corners: Float[np.ndarray, "n 2"], height: Float[np.ndarray, " n"]) -> Float[np.ndarray, "m 2"]:
    """The part of a convex polygon, or of a segment (two corners), where an affine function is not negative.

    It is given by its values at the corners. No corners are left if there is no such part.
    """
    kept = []
    closing = len(corners) > 2
    for k in range(len(corners)):
        if (k or closing) and height[k - 1] * height[k] < 0:
            share = height[k - 1] / (height[k - 1] - height[k])
            kept.append(corners[k - 1] + share * (corners[k] - corners[k - 1]))
        if height[k] >= 0:
            kept.append(corners[k])
    return np.array(kept).reshape(-1, 2)


def distance(
    x: Float[np.ndarray, "points 2"], segments: Float[np.ndarray, "segments 2 2"]
) -> Float[np.ndarray, " points"]:
    """Distance of each point from the nearest segment; infinite without segments."""
    start, change = segments[:, 0], segments[:, 1] - segments[:, 0]
    offset = x[:, None] - start
    squared = (change**2).sum(1)
    share = np.clip((offset * change).sum(2) / np.where(squared == 0, 1, squared), 0, 1)
    return np.linalg.norm(offset - share[..., None] * change, axis=2).min(1, initial=np.inf)


def covered(x: Float[np.ndarray, "points 2"], polygon: Float[np.ndarray, "n 2"], slack: np.ndarray) -> np.ndarray:
    """Which points lie in a convex counter-clockwise polygon, or that close to it."""
    side = np.roll(polygon, -1, axis=0) - polygon
    offset = x[:, None] - polygon
    cross = side[:, 0] * offset[..., 1] - side[:, 1] * offset[..., 0]
    inside = (cross >= 0).all(1)
    return inside | (distance(x, np.stack([polygon, polygon + side], 1)) <= slack)
