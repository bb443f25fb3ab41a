"""Ridge points moved onto the ridge of the model itself, off the grid."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from separatrix.tangent.ridge_exact import ExactField

_CLOSE = 1e-8
"""Step, as a share of the box's diagonal, after which one more evaluation ends the iteration."""
_MOST = 12
_FAR = 2.0
"""Cells from the sub-pixel point: a point that goes further has left the ridge that the grid saw."""


class RidgeStatus(IntEnum):
    """Why a ridge point is where it is.

    Stored as an integer variable with the CF attributes ``flag_values`` and ``flag_meanings``.
    """

    CONVERGED = 0
    """Newton's iteration on the model's own derivatives converged."""
    SUB_PIXEL = 1
    """The point comes from differences on the grid; no model was given."""
    NOT_CONVERGED = 2
    """The iteration did not converge; the sub-pixel point is shown."""
    WANDERED = 3
    """The iteration left the neighbourhood; the sub-pixel point is shown."""
    NO_MAXIMUM = 4
    """The model has no maximum along v_1 here; the sub-pixel point is shown, and the grid is too coarse for it."""
    DEGENERATE = 5
    """The two largest singular values meet on the way; the sub-pixel point is shown."""
    NONFINITE = 6
    """The model's derivatives are not finite on the way; the sub-pixel point is shown."""


class Refined(NamedTuple):
    """Ridge points after the iteration; where ``status`` is not CONVERGED the other numbers are NaN.

    Attributes
    ----------
    residual : ndarray, shape (points,)
        Length, in the input space, of the Newton step from the last position that was evaluated, whatever the status.
    """

    position: Float[np.ndarray, "points 2"]
    direction: Float[np.ndarray, "points 2"]
    normal: Float[np.ndarray, "points 2"]
    stretch: Float[np.ndarray, " points"]
    strength: Float[np.ndarray, " points"]
    residual: Float[np.ndarray, " points"]
    status: Int[np.ndarray, " points"]


def refine(
    exact: ExactField, start: Float[np.ndarray, "points 2"], steps: tuple[float, float], box: float, gap: float
) -> Refined:
    """Repeat the sub-pixel step t = -g/Q with the model's exact derivatives, until |t| < 1e-8 of the box and once more.

    Parameters
    ----------
    exact : ExactField
    start : ndarray, shape (points, 2)
    steps : (float, float)
        Size of a cell. A step is cut to one cell, and a point may move two cells away.
    box : float
        Length of the box's diagonal.
    gap : float
        Least ln sigma_1/sigma_2.

    Notes
    -----
    With Q in place of q the step is Newton's own for g = 0 along v_1, and converges quadratically.
    """
    count = len(start)
    cell = torch.tensor(steps, dtype=torch.float64)
    begin = torch.from_numpy(start)
    position = begin.clone()
    nan = torch.full((count, 2), torch.nan, dtype=torch.float64)
    direction, normal, stretch, strength = nan.clone(), nan.clone(), nan[:, 0].clone(), nan[:, 0].clone()
    residual = nan[:, 0].clone()
    status = torch.full((count,), int(RidgeStatus.NOT_CONVERGED))
    last = torch.zeros(count, dtype=torch.bool)
    active = torch.arange(count)
    for _ in range(_MOST):
        if not len(active):
            break
        local = exact.at(position[active])
        covector = local.normal
        Q = (covector * local.direction).sum(1)
        t = -local.slope / Q
        residual[active] = t.abs()
        move = t[:, None] * local.direction
        move = move / (move / cell).abs().amax(1, keepdim=True).clamp(min=1.0)
        there = position[active] + move
        verdict = torch.full((len(active),), -1)
        verdict[((there - begin[active]) / cell).norm(dim=1) > _FAR] = RidgeStatus.WANDERED
        verdict[~((Q < 0) & (local.curvature < 0))] = RidgeStatus.NO_MAXIMUM
        verdict[~(local.gap >= gap)] = RidgeStatus.DEGENERATE
        verdict[~torch.isfinite(there).all(1) | ~torch.isfinite(Q)] = RidgeStatus.NONFINITE
        done = (verdict < 0) & last[active] & (t.abs() < _CLOSE * box)
        verdict[done] = RidgeStatus.CONVERGED
        where = active[done]
        direction[where], normal[where] = local.direction[done], covector[done]
        stretch[where], strength[where] = local.f[done], -local.curvature[done]
        status[active[verdict >= 0]] = verdict[verdict >= 0]
        last[active] = t.abs() < _CLOSE * box
        onward = verdict < 0
        position[active[onward]] = there[onward]
        active = active[onward]
    position[status != RidgeStatus.CONVERGED] = begin[status != RidgeStatus.CONVERGED]
    return Refined(*(a.numpy() for a in (position, direction, normal, stretch, strength, residual, status)))
