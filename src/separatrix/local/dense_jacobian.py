"""Jacobians as affine maps, of anything that can be differentiated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from separatrix.local.chord_maps import Affine
from separatrix.results.memory import points_per_chunk
from separatrix.systems.derivatives import default_tangent
from separatrix.systems.guest import Guest


def dense_jacobian(model: Any, x: Tensor, dtype: torch.dtype, budget: int) -> Affine:
    """A = Df(x) and b = f(x) - A x at points (batch, *shape), by forward or reverse mode.

    A module is computed in ``dtype``; functions and systems in the precision of x, as they may hold weights of it.
    Cost: (1 + n) passes for n components of a point.
    """
    shape, system = tuple(x.shape[1:]), hasattr(model, "step") and not isinstance(model, nn.Module)
    guest = Guest((lambda s: model.step(s, 0)) if system else model, dtype=dtype)
    if isinstance(model, nn.Module):
        x = x.to(dtype)
    n = x[0].numel()
    size = points_per_chunk(4 * n * n * 8, budget, "its Jacobians")
    parts = []
    with guest.visit():
        for part in x.flatten(1).split(size):
            V = torch.eye(n, dtype=x.dtype, device=x.device)[:, None, :].expand(n, len(part), n)
            value, columns = default_tangent(lambda s: guest(s.reshape(-1, *shape)).flatten(1), part, V)
            A = columns.permute(1, 2, 0).to(dtype)
            parts.append(Affine(A, value.to(dtype) - torch.einsum("bij,bj->bi", A, part.to(dtype))))
    return Affine(torch.cat([p.A for p in parts]), torch.cat([p.b for p in parts]))
