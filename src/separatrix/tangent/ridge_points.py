"""Where a field on a grid has ridge points: central differences, masks, and the sub-pixel step of every node."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from separatrix.tangent.ridge_noise import noise_level

_BORDER = 2
_NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
_CERTAIN = 6.0
"""Standard deviations of noise that a curvature must exceed: less than one node in 10^8 does so by chance."""
_BEND = 0.25
"""Least Q / q: below it the curvature along v is that of the lines of v, and no ridge crosses them."""


class RidgePoints(NamedTuple):
    """Nodes next to a ridge, each with the point of the ridge that it sees.

    Attributes
    ----------
    node : ndarray of int, shape (points, 2)
    position : ndarray, shape (points, 2)
        Coordinates in the grid.
    direction : ndarray, shape (points, 2)
        Unit vector across which the field is largest, at the node, of either sign.
    normal : ndarray, shape (points, 2)
        Covector that vanishes along the ridge: the gradient of grad f . v, in the units of the grid's axes.
    stretch, strength : ndarray, shape (points,)
        The field on the ridge, and -q, the curvature across it.
    counts : dict of str to int
        How many nodes were left out for which reason, and how many were accepted.
    """

    node: Int[np.ndarray, "points 2"]
    position: Float[np.ndarray, "points 2"]
    direction: Float[np.ndarray, "points 2"]
    normal: Float[np.ndarray, "points 2"]
    stretch: Float[np.ndarray, " points"]
    strength: Float[np.ndarray, " points"]
    counts: dict[str, int]


def find_points(
    f: Float[np.ndarray, "x y"],
    v: Float[np.ndarray, "x y 2"],
    close: Bool[np.ndarray, "x y"],
    steps: tuple[float, float],
    corner: tuple[float, float],
    metric: Float[np.ndarray, "2 2"],
    eps: float,
) -> RidgePoints:
    """Find the nodes within half a cell of a ridge of ``f`` across ``v``, and the ridge's points nearest to them.

    With g = grad f . v, q = v'Hv and Q = q + grad f . (v.grad)v, a node is accepted if q < 0, Q/q > 1/4, and its step
    t = -g/Q along v stays within its cell (Steger's step with the term that he leaves out because his v is fixed).
    Everything is even in v. With frozen v (q in place of Q) points are wrong by O(h) where the lines of v bend, and a
    sheet of nodes is accepted where v is tangent to circular level sets.

    Parameters
    ----------
    f : ndarray, shape (x, y)
        NaN where the field may not be used.
    v : ndarray, shape (x, y, 2)
        Direction at each node in the coordinates of the grid, of unit length in the metric; its sign is free.
    close : ndarray of bool, shape (x, y)
        Nodes at which the two largest singular values meet, so that v is not defined.
    steps, corner : (float, float)
        Spacing along the two axes, and the first node.
    metric : ndarray, shape (2, 2)
        Scalar products of the two axes in the input space.
    eps : float
        Relative precision of the numbers that f is the logarithm of.

    Notes
    -----
    Differences are central and of second order; nodes are left out within 2 of the border, next to a node that is not
    finite, where the two largest singular values meet, and where v turns by more than 45 degrees to one of the 8
    neighbours. A curvature below six standard deviations of the noise in f counts as none. Cost: about 100 passes over
    the grid.
    """
    hx, hy = steps

    def at(a: np.ndarray, i: int = 0, j: int = 0) -> np.ndarray:
        return a[_BORDER + i : len(a) - _BORDER + i, _BORDER + j : a.shape[1] - _BORDER + j]

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        first, second = (np.ascontiguousarray(v[..., k]) for k in (0, 1))
        vx, vy = at(first), at(second)
        wx, wy = metric[0, 0] * vx + metric[0, 1] * vy, metric[1, 0] * vx + metric[1, 1] * vy
        overlap = {n: at(first, *n) * wx + at(second, *n) * wy for n in _NEIGHBOURS}
        centre = at(f)
        fx, fy = (at(f, 1, 0) - at(f, -1, 0)) / (2 * hx), (at(f, 0, 1) - at(f, 0, -1)) / (2 * hy)
        fxx = (at(f, 1, 0) - 2 * centre + at(f, -1, 0)) / hx**2
        fyy = (at(f, 0, 1) - 2 * centre + at(f, 0, -1)) / hy**2
        fxy = (at(f, 1, 1) - at(f, 1, -1) - at(f, -1, 1) + at(f, -1, -1)) / (4 * hx * hy)

        def bend(i: int, j: int, h: float) -> np.ndarray:
            # grad f . (dP v), with P = v v' of the neighbours: v turned to either side of the node
            ahead = overlap[i, j] * (fx * at(first, i, j) + fy * at(second, i, j))
            behind = overlap[-i, -j] * (fx * at(first, -i, -j) + fy * at(second, -i, -j))
            return (ahead - behind) / (2 * h)

        nx = fxx * vx + fxy * vy + bend(1, 0, hx)
        ny = fxy * vx + fyy * vy + bend(0, 1, hy)
        g = fx * vx + fy * vy
        q = fxx * vx**2 + 2 * fxy * vx * vy + fyy * vy**2
        Q = nx * vx + ny * vy
        t = -g / Q

        finite = np.isfinite(f) & np.isfinite(first) & np.isfinite(second)
        whole = at(finite).copy()
        turning = np.zeros_like(whole)
        for n in _NEIGHBOURS:
            whole &= at(finite, *n)
            turning |= overlap[n] ** 2 < 0.5
        turning &= whole & ~at(close)
        usable = whole & ~at(close) & ~turning
        inside = usable & (q < 0) & (np.abs(t * vx) <= hx / 2) & (np.abs(t * vy) <= hy / 2)
        noise = np.maximum(eps * np.maximum(1.0, np.abs(centre)), at(noise_level(f)))
        flat = -q <= _CERTAIN * math.sqrt(6) * noise * ((vx / hx) ** 2 + (vy / hy) ** 2)
        sheet = ~(Q / q > _BEND)
    accepted = inside & ~flat & ~sheet
    i, j = np.nonzero(accepted)
    node = np.stack([i, j], axis=1) + _BORDER
    t, g, q, direction = t[i, j], g[i, j], q[i, j], at(v)[i, j]
    counts = {
        "nodes": f.size,
        "masked_border": f.size - centre.size,
        "masked_nonfinite": int((~whole).sum()),
        "masked_gap": int((whole & at(close)).sum()),
        "masked_turning": int(turning.sum()),
        "rejected_noise": int((inside & flat).sum()),
        "rejected_sheet": int((inside & ~flat & sheet).sum()),
        "accepted": len(node),
    }
    return RidgePoints(
        node,
        np.array(corner) + node * np.array(steps) + t[:, None] * direction,
        direction,
        np.stack([nx[i, j], ny[i, j]], axis=1),
        centre[i, j] + t * g + t**2 * q / 2,
        -q,
        counts,
    )


def height_direction(
    f: Float[np.ndarray, "x y"], steps: tuple[float, float], metric: Float[np.ndarray, "2 2"]
) -> Float[np.ndarray, "x y 2"]:
    """Direction of the most negative curvature of ``f``, of unit length in the metric; NaN on the border."""
    hx, hy = steps
    e = np.full((*f.shape, 2), np.nan)
    inner = np.s_[1:-1, 1:-1]
    with np.errstate(invalid="ignore"):
        fxx = (f[2:, 1:-1] - 2 * f[inner] + f[:-2, 1:-1]) / hx**2
        fyy = (f[1:-1, 2:] - 2 * f[inner] + f[1:-1, :-2]) / hy**2
        fxy = (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / (4 * hx * hy)
        hessian = np.stack([np.stack([fxx, fxy], -1), np.stack([fxy, fyy], -1)], -1)
    good = np.isfinite(hessian).all((-1, -2))
    # in coordinates in which the metric is the unit matrix
    back = np.linalg.inv(np.linalg.cholesky(metric))
    _, vectors = np.linalg.eigh(back @ hessian[good] @ back.T)
    e[inner][good] = vectors[..., 0] @ back
    return e
