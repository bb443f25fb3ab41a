"""Whether a network with kinks is linear between them, by a quick look."""

from __future__ import annotations

import torch
from torch import Tensor

from separatrix.report.context import Context
from separatrix.systems.guest import Guest
from separatrix.systems.listing import prepare
from separatrix.tangent.inputs import Plane

PLACES = 8
"""Nodes looked at; one of them may lie on a kink."""
SHIFT = 1e-8
"""Distance to the second place beside each, in widths of the plane."""
SAME = 1e-12
"""Relative difference that rounding makes: where there is curvature, the shift makes one of about its own size."""


def piecewise_linear(context: Context, where: Plane) -> bool:
    """Whether the derivative of the output is the same at nodes of a plane and right beside them.

    Cost: two passes with gradient for eight points, in float64.
    """
    index = torch.linspace(0, len(where) - 1, PLACES + 2).round().long()[1:-1]
    x = where.at(index)
    step = SHIFT * float(where.x[-1] - where.x[0]) * (where.e1 + where.e2)
    guest = Guest(context.model, output=context.options.output).in_double()
    with guest.visit():
        here, there = (_gradient(guest, point) for point in (x, x + step))
    off, size = (here - there).abs().flatten(1).amax(1), here.abs().flatten(1).amax(1)
    return int((off <= SAME * size).sum()) >= PLACES - 1


def _gradient(guest: Guest, x: Tensor) -> Tensor:
    """Gradient of a sum of all outputs with fixed weights."""
    entry = prepare(guest, x).requires_grad_()
    with torch.enable_grad():
        out = guest(entry.clone()).flatten()
        weights = torch.linspace(1.0, 2.0, len(out), dtype=out.dtype, device=out.device)
        (found,) = torch.autograd.grad((weights * out).sum(), entry)
    return found.cpu()
