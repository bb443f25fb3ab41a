"""Naive twin of the linear regions: plain polygon splitting, one polygon and one component at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

TOLERANCE = 1e-12
HIDDEN = ((2, 2, 2, 2), (16, 16), (32, 32), (32, 32, 32), (64, 64))
"""Hidden widths of the five networks whose regions are known."""

Region = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Polygon (corners, 2), counter-clockwise; matrix A and vector b of the network there."""


def five_networks() -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Weights and biases of networks 2-...-2 with the widths :data:`HIDDEN`, from one stream of random numbers.

    In [-6, 6]^2 they have 4, 385, 2,164, 4,032 and 7,917 linear regions.
    """
    rng = np.random.default_rng(3)
    found = []
    for hidden in HIDDEN:
        sizes = list(zip((2, *hidden), (*hidden, 2), strict=True))
        weights = [1.4 * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in sizes]
        found.append((weights, [0.5 * rng.standard_normal(m) for _, m in sizes]))
    return found


def chain(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], between: type[nn.Module] = nn.ReLU) -> nn.Module:
    """The float64 module with these weights and an activation between them."""
    parts: list[nn.Module] = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        parts += [layer, between()]
    return nn.Sequential(*parts[:-1])


def naive_regions(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], polygon: np.ndarray) -> list[Region]:
    """Linear regions of W_L relu(... relu(W_1 x + b_1) ...) + b_L in a convex polygon.

    Parameters
    ----------
    weights, biases : sequences of arrays
    polygon : array (n, 2)
        Counter-clockwise.

    Returns
    -------
    list of (polygon, A, b)
        Cost: regions times components.
    """
    found: list[Region] = [(polygon, np.eye(2), np.zeros(2))]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        following: list[Region] = []
        for corners, A, b in found:
            G, g = weight @ A, weight @ b + bias
            parts = [(corners, np.ones(len(g)))]
            for j in range(len(g)):
                halves = []
                for part, on in parts:
                    above, below = cut(part, G[j], g[j])
                    if above is not None:
                        halves.append((above, on))
                    if below is not None:
                        off = on.copy()
                        off[j] = 0
                        halves.append((below, off))
                parts = halves
            following += [(part, on[:, None] * G, on * g) for part, on in parts]
        found = following
    return [(part, weights[-1] @ A, weights[-1] @ b + biases[-1]) for part, A, b in found]


def cut(polygon: np.ndarray, normal: np.ndarray, offset: float) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Cut a convex polygon into its parts above and below normal x + offset = 0; None for a part without area."""
    z = polygon @ normal + offset
    slack = TOLERANCE * (np.abs(polygon).max(0) @ np.abs(normal) + abs(offset))
    if z.min() >= -slack:
        return polygon, None
    if z.max() <= slack:
        return None, polygon
    above, below = [], []
    for k in range(len(polygon)):
        here, a, b = polygon[k - 1], z[k - 1], z[k]
        if a >= -slack:
            above.append(here)
        if a <= slack:
            below.append(here)
        if min(a, b) < -slack and max(a, b) > slack:
            crossing = here + a / (a - b) * (polygon[k] - here)
            above.append(crossing)
            below.append(crossing)
    return np.array(above), np.array(below)
