"""Stretches checked against central differences in float64."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from separatrix.systems.listing import prepare
from separatrix.tangent.field import Field
from separatrix.tangent.inputs import Plane, Points
from separatrix.tangent.plan import Plan, Problem, plan
from separatrix.tangent.routes import Task
from separatrix.tangent.spectrum import Wanted

_STEP = float(torch.finfo(torch.float64).eps) ** (1 / 3)


def verified(
    problem: Problem, used: Plan, where: Plane | Points, field: Field, verify: int
) -> tuple[int, float] | None:
    """Check random points: how many, and the worst deviation in nats; None when none were asked for."""
    if not verify:
        return None
    candidates = field.smooth()
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(0))[:verify]
    chosen = candidates[order]
    if not len(chosen):
        return 0, float("nan")
    x = where.at(chosen)
    double = replace(problem, wanted=Wanted(1)).in_double(prepare(problem.guest, x))
    x = prepare(double.guest, x)
    route = plan(double, used.method)
    found = {layer.place: layer.spectrum.right for layer in route.run(x)}
    right = torch.stack([r[:, 0].double() for _, r in sorted(found.items()) if r is not None])
    return len(chosen), worst_deviation(double, x, right, field.leading(chosen))


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
