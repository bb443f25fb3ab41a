"""Orbits that neither settle nor escape: followed longer, with a tangent, and told apart by their exponents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from separatrix.studies.drgona2022.networks import Networks
from separatrix.studies.drgona2022.returns import NEAR, first_return, returns
from separatrix.studies.drgona2022.settling import BOX, ESCAPED

BLOCKS = 16
SAMPLES = 512
"""States kept of each orbit, to tell whether two orbits draw the same set."""

SIGMAS = 3.0
"""An exponent counts as different from 0 beyond this many standard errors."""

FLOOR = 5.0
"""Least standard error, times the number of steps: a tangent on an invariant circle changes its length by a factor."""

SHRINKS = 0.6
"""Largest |x| at the end over |x| at the start that counts as a slow approach to the origin, if |x| falls."""

OUTSIDE = 2**0.5 * BOX
"""An orbit that still grows out here, beyond all starts, is said to grow."""

QUASI, CHAOTIC, CYCLE, ORIGIN, GROWING, ESCAPE, UNDECIDED = range(7)


@dataclass(frozen=True)
class Wanderers:
    """Long orbits, one a network.

    Attributes
    ----------
    kind : Tensor (net,), int
        One of the constants of this module.
    period : Tensor (net,), int
        Of a cycle (1: a fixed point after all), else 0.
    exponent, error : Tensor (net,)
        Largest Lyapunov exponent per step: growth of one tangent along the orbit, and its standard error from blocks.
    point : Tensor (net, 2)
        Of a cycle, as in :class:`~separatrix.studies.drgona2022.returns.Returns`.
    samples : Tensor (net, sample, 2)
    """

    kind: Int64[Tensor, " net"]
    period: Int64[Tensor, " net"]
    exponent: Float64[Tensor, " net"]
    error: Float64[Tensor, " net"]
    point: Float64[Tensor, "net 2"]
    samples: Float64[Tensor, "net sample 2"]


def follow(nets: Networks, x: Float64[Tensor, "net 2"], steps: int, longest: int) -> Wanderers:
    """Follow one orbit of each network for ``steps`` (a multiple of 16)."""
    count, per = len(nets), steps // BLOCKS
    y = x[..., None]
    V = torch.ones(1, count, 2, 1, dtype=x.dtype) / 2**0.5
    logs: list[Tensor] = []
    samples: list[Tensor] = []
    middle = last = torch.zeros(2, count, dtype=x.dtype)
    for block in range(BLOCKS + 1):  # the first one turns the tangent
        total = torch.zeros(count, dtype=x.dtype)
        sizes = []
        for k in range(per):
            y, V = nets.push(y, V)
            length = V.norm(dim=2, keepdim=True)
            total += length[0, :, 0, 0].log()
            V = V / length
            if block > BLOCKS // 2 and len(samples) < SAMPLES and k % max(1, steps // (2 * SAMPLES)) == 0:
                samples.append(y[..., 0])
            if block in (BLOCKS // 2, BLOCKS):
                sizes.append(y.norm(dim=1)[:, 0])
        y = torch.where((y.abs() <= ESCAPED).all(1, keepdim=True), y, torch.nan)
        if block:
            logs.append(total / per)
        if sizes:
            middle, last = last, torch.stack(torch.stack(sizes).aminmax(dim=0))
    means = torch.stack(logs)
    exponent = means.mean(0)
    error = torch.maximum(means.std(0) / BLOCKS**0.5, torch.full_like(exponent, FLOOR / steps))
    end, points = y[..., 0], torch.stack(samples, 1)
    limit = returns(nets, end, first_return(nets, y, longest)[:, 0])
    kind = torch.full((count,), UNDECIDED)
    kind[exponent.abs() <= SIGMAS * error] = QUASI
    kind[exponent > SIGMAS * error] = CHAOTIC
    # near itself after one step, yet there is no fixed point near: it creeps
    kind[(nets.step(y)[..., 0] - end).abs().amax(1) <= NEAR * (1 + end.abs().amax(1))] = UNDECIDED
    # one that is still on its way tells nothing by its exponent
    grows, falls = last[0] > middle[1], last[1] < middle[0]
    kind[grows | falls] = UNDECIDED
    kind[grows & (last[0] > OUTSIDE)] = GROWING
    equilibrium = nets.step(torch.zeros_like(y))[..., 0].abs().amax(1) == 0
    kind[equilibrium & falls & (last[1] < SHRINKS * x.norm(dim=1))] = ORIGIN
    kind[limit.period > 0] = CYCLE
    kind[~torch.isfinite(end).all(1)] = ESCAPE
    exponent = torch.where(limit.period > 0, limit.rate, exponent)
    error = torch.where(limit.period > 0, 0.0, error)
    return Wanderers(kind, limit.period, exponent, error, limit.point, points)
