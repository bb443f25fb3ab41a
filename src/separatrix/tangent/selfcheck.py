"""Stretches checked against central differences in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from separatrix.tangent.plan import Problem
from separatrix.tangent.routes import Task
from separatrix.tangent.spectrum import Wanted

_STEP = float(torch.finfo(torch.float64).eps) ** (1 / 3)


def worst_deviation(problem: Problem, x: Tensor, right: Tensor, stretch: Tensor) -> float:
    """Largest deviation, in nats, between stored stretches and ln |f(x + h v_1) - f(x - h v_1)| / 2h.

    Parameters
    ----------
    problem : Problem
        The problem in float64.
    x : Tensor, shape (points, *input shape)
    right : Tensor, shape (layers, points, inputs)
        Leading right directions, in units of the scale.
    stretch : Tensor, shape (layers, points)
        What is checked.
    """
    task = Task(problem.guest, problem.labels, problem.scale, Wanted())
    entry = task.guest.entry(x)
    size = entry.flatten(1).abs().amax(1).clamp(min=1.0)
    worst = 0.0
    with torch.no_grad():
        for place in range(len(problem.labels)):
            push = right[place] * problem.scale
            h = _STEP * size / push.norm(dim=1)
            step = (h[:, None] * push).reshape(entry.shape)
            ahead, behind = task.values(x, entry + step)[place], task.values(x, entry - step)[place]
            measured = torch.log((ahead - behind).norm(dim=1) / (2 * h))
            worst = max(worst, float((measured - stretch[place]).abs().max()))
    return worst
