"""What becomes of orbits from many starts: a fixed point, a cycle, an escape, or none of these yet."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from separatrix.studies.drgona2022.networks import Networks, States
from separatrix.studies.drgona2022.returns import first_return, returns

ESCAPED = 1e6
"""An orbit beyond this has escaped."""

BOX = 6.0


@dataclass
class Settled:
    """Ends of orbits of all networks.

    Attributes
    ----------
    period : Tensor (net, start), int
        0 while nothing was found, -1 for an escape.
    point : Tensor (net, 2, start)
    rate : Tensor (net, start)
    marginal, kinked : Tensor (net, start), bool
        As in :class:`~separatrix.studies.drgona2022.returns.Returns`.
    state : Tensor (net, 2, start)
        Where each orbit was last.
    steps : Tensor (net,), int
        Steps after which a network was left alone.
    """

    period: Int64[Tensor, "net start"]
    point: States
    rate: Float64[Tensor, "net start"]
    marginal: Bool[Tensor, "net start"]
    kinked: Bool[Tensor, "net start"]
    state: States
    steps: Int64[Tensor, " net"]


def spread_starts(count: int, reach: float = BOX) -> Float64[Tensor, "2 start"]:
    """Points that fill the square evenly, by the additive recurrence with the plastic number."""
    g = 1.324717957244746
    n = np.arange(1, count + 1)
    return torch.from_numpy(reach * (2 * np.stack([(0.5 + n / g) % 1, (0.5 + n / g**2) % 1]) - 1))


CHUNK = 8192
"""Orbits at a time: their states stay in the cache."""


def settle(nets: Networks, starts: Float64[Tensor, "2 start"], steps: int, longest: int) -> Settled:
    """Iterate until every orbit of a network has settled or escaped, or ``steps`` are used up.

    Parameters
    ----------
    nets : Networks
    starts : Tensor (2, start)
        The same for all networks.
    steps : int
        Networks are looked at after 32, 64, 128, .. steps.
    longest : int
        Longest period looked for.
    """
    parts = [
        _settle(nets.take(part), starts, steps, longest)
        for part in torch.arange(len(nets)).split(max(1, CHUNK // starts.shape[1]))
    ]
    return Settled(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Settled)})


def _settle(nets: Networks, starts: Tensor, steps: int, longest: int) -> Settled:
    count, width = len(nets), starts.shape[1]
    x = starts.expand(count, -1, -1).clone()
    found = Settled(
        torch.zeros(count, width, dtype=torch.int64),
        torch.full_like(x, torch.nan),
        torch.full((count, width), torch.nan, dtype=x.dtype),
        torch.zeros(count, width, dtype=torch.bool),
        torch.zeros(count, width, dtype=torch.bool),
        x.clone(),
        torch.full((count,), steps),
    )
    active, running, done, block = torch.arange(count), nets, 0, 32
    while len(active) and done < steps:
        block = min(block, steps - done)
        for _ in range(block):
            x = running.step(x)
        done += block
        block = done
        _look(running, x, active, found, longest)
        still = (found.period[active] == 0).any(1)
        found.steps[active[~still]] = done
        active, x = active[still], x[still]
        running = running.take(still.nonzero()[:, 0])
    return found


def _look(nets: Networks, x: Tensor, active: Tensor, found: Settled, longest: int) -> None:
    """Note what became of the orbits of active networks."""
    found.state[active] = x
    period = found.period[active]
    period[~(x.abs().amax(1) <= ESCAPED)] = -1
    near = torch.where(period == 0, first_return(nets, x, longest), 0)
    net, start = near.nonzero().unbind(1)
    if len(net):
        limit = returns(nets.take(net), x[net, :, start], near[net, start])
        there = limit.period > 0
        net, start = net[there], start[there]
        period[net, start] = limit.period[there]
        rows = active[net]
        found.point[rows, :, start] = limit.point[there]
        for name in ("rate", "marginal", "kinked"):
            getattr(found, name)[rows, start] = getattr(limit, name)[there]
    found.period[active] = period
