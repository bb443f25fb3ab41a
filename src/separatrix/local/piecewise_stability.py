"""Stability of a fixed point of a planar piecewise-linear map, inside a region or where several meet."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

STABILITY = ("attracting", "repelling", "saddle", "undecided")
"""Meanings of the codes 0 to 3."""
ATTRACTING, REPELLING, SADDLE, UNDECIDED = range(4)

SLACK = 1e-10
"""How clearly a condition must hold, relative to the numbers that go into it."""


MARGIN = 1e-6
"""What a common norm must be below 1 by."""


def smooth_stability(A: Float[np.ndarray, "2 2"]) -> int:
    """Stability of x+ = A x from trace and determinant.

    With p(s) = s^2 - tr s + det, both eigenvalues are within the unit circle iff p(1) > 0, p(-1) > 0 and det < 1
    (Jury); one is within and one without iff p(1) p(-1) < 0. Undecided where one of these is zero to rounding.
    """
    trace, det = A[0, 0] + A[1, 1], A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]
    slack = SLACK * (1 + np.abs(A).max()) ** 2
    plus, minus = 1 - trace + det, 1 + trace + det
    if min(abs(plus), abs(minus)) <= slack:
        return UNDECIDED
    if plus * minus < 0:
        return SADDLE
    if plus < 0:
        return REPELLING
    if abs(det - 1) <= slack:
        return UNDECIDED
    return ATTRACTING if det < 1 else REPELLING


def joint_stability(maps: Float[np.ndarray, "maps 2 2"]) -> int:
    """Stability of a point at which several regions meet, by a common quadratic function.

    Near such a point c the map takes x - c to A_i (x - c) with some i: if A_i' P A_i < P for all i, the point attracts;
    if A_i' P A_i > P for all i, it repels. Undecided if no such P is found: that every A_i has its eigenvalues within
    the unit circle decides nothing.
    """
    if np.abs(maps - maps[0]).max() <= SLACK * (1 + np.abs(maps).max()):
        return smooth_stability(maps[0])
    if common_norm(maps) < 1:
        return ATTRACTING
    if min(abs(np.linalg.det(maps))) > SLACK * (1 + np.abs(maps).max() ** 2) and common_norm(np.linalg.inv(maps)) < 1:
        return REPELLING
    return UNDECIDED


def common_norm(maps: Float[np.ndarray, "maps 2 2"]) -> float:
    """A value of max_i norm_P(A_i) for some P > 0, and a little more against rounding: below 1 if one was found.

    The maximum is quasi-convex in P, which has two parameters: P = L L' with L = [[1, 0], [s, exp t]].
    """
    from scipy.optimize import minimize

    (a, b), (c, d) = maps.transpose(1, 2, 0)

    def largest(parameters: np.ndarray) -> float:
        s, scale = parameters[0], np.exp(np.clip(parameters[1], -9, 9))
        # L' A inv(L'), and the spectral norm of a matrix of two rows
        p, q = a + s * c, (b + s * d - s * (a + s * c)) / scale
        r, u = c * scale, d - s * c
        total, volume = p * p + q * q + r * r + u * u, p * u - q * r
        return float(np.sqrt((total + np.sqrt(np.maximum(total**2 - 4 * volume**2, 0))) / 2).max())

    radius = float(np.abs(np.linalg.eigvals(maps)).max())
    if radius >= 1:
        return radius
    best = largest(np.zeros(2))
    for start in ((0.0, 0.0), (1.0, 1.0), (-1.0, -1.0)):
        if best + MARGIN < 1:
            break
        options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 400}
        best = min(best, float(minimize(largest, start, method="Nelder-Mead", options=options).fun))
    return best + MARGIN
