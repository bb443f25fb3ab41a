"""Fixed points and cycles near the end of an orbit, refined by Newton's method on the return map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from separatrix.local.spectrum import eigenvalues
from separatrix.studies.drgona2022.networks import Networks, States

NEAR = 1e-4
"""A return this close, relative to 1 + |x|, is looked at."""

MOVED = 1e-2
"""The refined point lies this close to the orbit, relative to 1 + |x|."""

EXACT = 1e-13
"""A return this close counts whatever the multipliers are: at a kink they are those of one side."""

RESIDUAL = 1e-11
"""What the refined point may miss itself by, relative to 1 + |x|."""

ITERATIONS = 6
SEPARATE = 1e-8
MARGINAL = 1e-7
"""A multiplier this close to 1 makes a fixed point one of a continuum."""


@dataclass(frozen=True)
class Returns:
    """Limits of single orbits, one a network.

    Attributes
    ----------
    period : Tensor (net,), int
        Smallest period; 0 where none was found.
    point : Tensor (net, 2)
        The point of the cycle that lies farthest in a fixed direction, so that it is the same for all its orbits.
    rate : Tensor (net,)
        Logarithm of the largest multiplier, per step.
    marginal, kinked : Tensor (net,), bool
        A multiplier is 1; a pre-activation on the cycle is 0 and the slope of the activation jumps there.
    """

    period: Int64[Tensor, " net"]
    point: Float64[Tensor, "net 2"]
    rate: Float64[Tensor, " net"]
    marginal: Bool[Tensor, " net"]
    kinked: Bool[Tensor, " net"]


def first_return(nets: Networks, x: States, longest: int) -> Int64[Tensor, "net start"]:
    """Smallest number of steps, up to ``longest``, after which each state is near itself; 0 where there is none."""
    scale = NEAR * (1 + x.abs().amax(1))
    found = torch.zeros(scale.shape, dtype=torch.int64)
    y = x
    for p in range(1, longest + 1):
        y = nets.step(y)
        near = ((y - x).abs().amax(1) <= scale) & (found == 0)
        found[near] = p
        if p == 1 and bool(near.all()):
            break
    return found


def returns(nets: Networks, x: Float64[Tensor, "net 2"], period: Int64[Tensor, " net"]) -> Returns:
    """Refine single states, one a network, that are near themselves after ``period`` steps (0: not at all)."""
    count = len(x)
    found = Returns(
        torch.zeros(count, dtype=torch.int64),
        torch.full_like(x, torch.nan),
        torch.full((count,), torch.nan, dtype=x.dtype),
        torch.zeros(count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.bool),
    )
    for p in period.unique().tolist():
        if p:
            which = (period == p).nonzero()[:, 0]
            part = _refined(nets.take(which), x[which], p)
            for name in ("period", "point", "rate", "marginal", "kinked"):
                getattr(found, name)[which] = getattr(part, name)
    return found


def _refined(nets: Networks, x: Tensor, p: int) -> Returns:
    scale = 1 + x.abs().amax(1)
    z = x
    for iteration in range(ITERATIONS + 1):
        end, M, _ = around(nets, z, p)
        off = end - z
        if iteration == 0:
            exact = off.abs().amax(1) <= EXACT * scale
            before = M
        small = off.abs().amax(1) <= EXACT * scale
        if iteration == ITERATIONS or bool(small.all()):
            break
        move = solve(torch.eye(2, dtype=x.dtype) - M, off)
        z = torch.where(small[:, None], z, z + move)
    end, M, path = around(nets, z, p)
    radius = eigenvalues(M)[:, 0].abs()
    held = torch.minimum(radius, eigenvalues(before)[:, 0].abs()) <= 1 + SEPARATE
    misses = (end - z).abs().amax(1) <= RESIDUAL * scale
    good = (misses & held & ((z - x).abs().amax(1) <= MOVED * scale)) | exact
    good &= torch.isfinite(z).all(1)
    # a slow spiral is near itself after several steps before it is after one
    back = (path[1:] - path[:1]).abs().amax(2) <= SEPARATE * scale
    smallest = torch.where(back.any(0), back.to(torch.int8).argmax(0) + 1, p)
    place = (path[:-1] @ torch.tensor([1.0, 0.6180339887], dtype=x.dtype)).argmax(0)
    point = path[place, torch.arange(len(x))]
    kinked = torch.zeros(len(x), dtype=torch.bool)
    if nets.curve.name in ("relu", "selu"):
        kinked = nets.nearest_kink(path[:-1].permute(1, 2, 0)).amin(1) <= 1e-9
    one = (eigenvalues(M) - 1).abs().amin(1) <= MARGINAL
    return Returns(torch.where(good, smallest, 0), point, radius.log() / p, one & (smallest == 1), kinked)


def around(nets: Networks, x: Float64[Tensor, "net 2"], p: int) -> tuple[Tensor, Tensor, Tensor]:
    """State after p steps, the derivative (net, 2, 2) of that, and the path (p + 1, net, 2)."""
    y, path = x[..., None], [x]
    V = torch.eye(2, dtype=x.dtype)[:, None, :, None].expand(-1, len(x), -1, -1)
    for _ in range(p):
        y, V = nets.push(y, V)
        path.append(y[..., 0])
    return y[..., 0], V[..., 0].permute(1, 2, 0), torch.stack(path)


def solve(M: Float64[Tensor, "net 2 2"], r: Float64[Tensor, "net 2"]) -> Float64[Tensor, "net 2"]:
    """Solutions of 2 x 2 systems; infinite or NaN where there is none."""
    (a, b), (c, d) = M[:, 0].unbind(1), M[:, 1].unbind(1)
    det = a * d - b * c
    return torch.stack([d * r[:, 0] - b * r[:, 1], a * r[:, 1] - c * r[:, 0]], 1) / det[:, None]
