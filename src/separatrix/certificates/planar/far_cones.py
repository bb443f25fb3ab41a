"""The directions in which the linear regions of a piecewise-linear map extend, and what the map does far out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from separatrix.certificates.planar.gauge import Gauge
from separatrix.certificates.planar.region_cover import Cover
from separatrix.certificates.verified import TINY, UNIT, UP

FAR = 2.0**-36
"""Rays with a smaller tau, relative to y, count as directions: two parallel lines meet there but for rounding."""
_PARTS = 64
"""Parts that a cone of directions is cut into."""


@dataclass(frozen=True)
class Cones:
    """Directions in which the cells extend.

    Attributes
    ----------
    far : array (total,)
        Which rays count as directions.
    cell, first, second : array (pairs,)
        Rays whose cones together cover the directions of each cell.
    """

    far: np.ndarray
    cell: np.ndarray
    first: np.ndarray
    second: np.ndarray


def cones_of(cover: Cover) -> Cones:
    """All neighbours among a cell's directions, by angle: in whatever order, a path that visits all spans all."""
    far = cover.rays[:, 2] <= FAR * np.abs(cover.rays[:, :2]).max(1)
    rays, cell = np.flatnonzero(far), cover.cell[far]
    # a cell lies in one quadrant, where this grows, or falls, with the angle
    size = np.abs(cover.rays[rays, :2])
    angle = size[:, 1] / size.sum(1)
    order = np.lexsort((angle, cell))
    rays, cell = rays[order], cell[order]
    same = cell[1:] == cell[:-1]
    alone = np.concatenate([[True], ~same]) & np.concatenate([~same, [True]])
    first = np.concatenate([rays[:-1][same], rays[alone]])
    second = np.concatenate([rays[1:][same], rays[alone]])
    return Cones(far, np.concatenate([cell[1:][same], cell[alone]]), first, second)


def _between(cover: Cover, cones: Cones, gauge: Gauge, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions y (pairs, parts + 1, n) in each cone, from end to end, with their errors."""
    n = cover.A.shape[-1]
    a, b = cover.rays[cones.first, :n], cover.rays[cones.second, :n]
    T = np.eye(n) if gauge.P is None else np.linalg.cholesky(gauge.P).T
    # steps of one angle each, as the norm sees it
    long = [np.linalg.norm(x @ T.T, axis=1)[:, None] for x in (a, b)]
    cosine = ((a @ T.T) * (b @ T.T)).sum(1, keepdims=True) / (long[0] * long[1])
    angle = np.arccos(np.clip(cosine, -1, 1))
    share = np.linspace(0, 1, parts + 1)
    narrow = angle < 1e-6
    safe = np.where(narrow, 1.0, angle)
    alpha = np.where(narrow, 1 - share, np.abs(np.sin((1 - share) * safe))) / long[0]
    beta = np.where(narrow, share, np.abs(np.sin(share * safe))) / long[1]
    alpha[:, -1], beta[:, 0] = 0, 0
    middle = alpha[..., None] * a[:, None] + beta[..., None] * b[:, None]
    error = np.maximum(cover.error[cones.first], cover.error[cones.second])[:, None, None] + 4 * UNIT
    return middle, error * np.abs(middle) * UP


def directions(cover: Cover, cones: Cones, gauge: Gauge) -> tuple[np.ndarray, np.ndarray]:
    """Images (K, n, 1) of directions, and these, from which a norm is looked for."""
    y = _between(cover, cones, gauge, 8)[0]
    images = np.einsum("kij,kpj->kpi", cover.A[cones.cell], y)
    n = y.shape[-1]
    return images.reshape(-1, n, 1), y.reshape(-1, n, 1)


def cone_rates(cover: Cover, cones: Cones, gauge: Gauge) -> Float[np.ndarray, " cells"]:
    """Bounds of |A y + b tau| / |y| over the directions of each cell; -1 for a cell that has none.

    |A y| is convex, and |y| at least a linear function, in each of the parts that a cone is cut into; tau is at most
    the largest share that it has in a ray of the cell, of the 1-norm of y, which is additive in a quadrant.
    """
    y, dy = _between(cover, cones, gauge, _PARTS)
    image, error = _apply(cover.A[cones.cell], cover.A_radius[cones.cell], y, dy)
    rays, own = cover.rays[cones.far], cover.error[cones.far]
    share = np.zeros(len(cover.A))
    np.maximum.at(share, cover.cell[cones.far], rays[:, 2] / np.abs(rays[:, :2]).sum(1) * (1 + 4 * own) * UP)
    offset = (share * gauge.upper(cover.b, cover.b_radius))[cones.cell, None]
    size = (gauge.upper(image, error) + (np.abs(y) + dy).sum(-1) * offset) * UP
    middle = y[:, 1:] + y[:, :-1]
    found = np.full(len(cover.A), -1.0)
    for end in (slice(1, None), slice(None, -1)):
        least = gauge.along(middle, y[:, end], dy[:, end])
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(least > 0, size[:, end] / least * UP, np.inf)
        np.maximum.at(found, cones.cell, rate.max(1))
    return found


def _apply(A: np.ndarray, radius: np.ndarray, x: np.ndarray, dx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A x (maps, points, n) for matrices and vectors that are known to within radii, and how far it may be off."""
    middle = x @ A.swapaxes(1, 2)
    size = np.abs(x) @ np.abs(A).swapaxes(1, 2)
    error = (np.abs(x) + dx) @ radius.swapaxes(1, 2) + dx @ np.abs(A).swapaxes(1, 2)
    return middle, (error + 4 * (x.shape[-1] + 2) * UNIT * size) * UP + TINY


def offset(cover: Cover, cones: Cones, inside: np.ndarray, gauge: Gauge, rate: float) -> float:
    """The least beta that is found with |f(x)| <= rate |x| + beta for all x; infinite if there is none.

    Three ways for each cell: by its vertices and directions apart, by its map as a whole, and by vertices and
    directions together with one linear function w(x) <= |x| in place of the norm.
    """
    n, cell, far = cover.A.shape[-1], cover.cell, cones.far
    # points, and directions as they are
    scale = np.where(far, 1.0, cover.rays[:, 2])[:, None]
    x, tau, own = cover.rays[:, :n] / scale, cover.rays[:, 2:] / scale, cover.error[:, None]
    dx = np.abs(x) * (2 * own + 4 * UNIT) * UP + TINY
    image, error = _apply(cover.A[cell], cover.A_radius[cell], x[:, None], dx[:, None])
    shift = tau * cover.b[cell]
    value = image[:, 0] + shift
    error = error[:, 0] + tau * cover.b_radius[cell] * (1 + 2 * own)
    error = (error + np.abs(shift) * (2 * own + 8 * UNIT) + 2 * UNIT * np.abs(value)) * UP
    images, sizes = gauge.upper(value, error), gauge.upper(x, dx)
    largest, longest, together = np.zeros((3, len(cover.A)))
    np.maximum.at(largest, cell[~far], images[~far])
    np.maximum.at(longest, cell[~far], sizes[~far])
    shrinks = gauge.shrinks(cover.A, cover.A_radius, rate)
    straight = np.ones(len(cover.A), dtype=bool)
    np.logical_and.at(straight, cell[far], cover.rays[far, 2] == 0)
    apart = np.where((inside <= rate) | (shrinks & straight), (largest + rate * longest) * UP, np.inf)
    apart = np.where(inside < 0, largest, apart)
    whole = np.where(shrinks, gauge.upper(cover.b, cover.b_radius), np.inf)
    middle = np.zeros((len(cover.A), n))
    np.add.at(middle, cell, np.where((inside[cell] < 0) == far, 0.0, 1 / sizes)[:, None] * x)
    least = rate * gauge.along(middle[cell], x, dx)
    excess = images - least + 2.0**-40 * (images + np.abs(least))
    # directions have no end, and may not exceed at all
    np.maximum.at(together, cell, np.where(far & (excess > 0), np.inf, excess))
    return max(float(np.minimum(np.minimum(apart, whole), together).max()), 0.0) * UP
