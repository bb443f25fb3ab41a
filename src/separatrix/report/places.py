"""Where a report looks: the part of input space that the data fill, and a sample of the test points."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from separatrix.data.record import class_numbers
from separatrix.report.context import Context
from separatrix.report.pace import COARSE, PLANE, SQUARE
from separatrix.tangent.inputs import Plane, grid, plane

MARGIN = 0.1


def field_place(context: Context, most: int | None) -> tuple[Plane, list[int]] | None:
    """Grid over the data in the plane, or the plane through three test inputs, with their numbers.

    At most ``most`` points, but 12 x 12 in any case. None where neither exists: inputs that are not continuous, or have
    fewer than two components.
    """
    X = torch.cat([context.problem.X_train, context.problem.X_test])
    allowed = 10**6 if most is None else max(COARSE, math.isqrt(most))
    if not X.is_floating_point() or X[0].numel() < 2:
        return None
    if context.problem.input_shape == (2,):
        low, high = X.double().min(0).values, X.double().max(0).values
        room = MARGIN * (high - low).clamp(min=1e-6)
        ranges = list(zip((low - room).tolist(), (high + room).tolist(), strict=True))
        return grid(ranges[0], ranges[1], shape=context.options.resolution or min(SQUARE, allowed)), []
    three = three_inputs(context)
    p, q, r = (context.problem.X_test[i].double() for i in three)
    return plane.through(p, q, r, shape=context.options.resolution or min(PLANE, allowed), margin=0.35), three


def three_inputs(context: Context) -> list[int]:
    """Numbers of three test inputs, of different classes as far as there are so many."""
    problem = context.problem
    order = torch.from_numpy(np.random.default_rng(context.options.seed).permutation(len(problem.X_test)))
    if not problem.classes or problem.y_test is None:
        return order[:3].tolist()
    chosen: dict[int, int] = {}
    for i, number in zip(order.tolist(), class_numbers(problem.y_test)[order].tolist(), strict=True):
        chosen.setdefault(number, i)
    picks = list(chosen.values())[:3]
    return picks + [i for i in order.tolist() if i not in picks][: 3 - len(picks)]


def sample(context: Context, most: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Test inputs and targets, at most as many as the options and ``most`` say, chosen at random."""
    problem = context.problem
    rng = np.random.default_rng(context.options.seed)
    rows = torch.from_numpy(rng.permutation(len(problem.X_test))[: min(context.options.points, most or 10**9)])
    return problem.X_test[rows], None if problem.y_test is None else problem.y_test[rows]
