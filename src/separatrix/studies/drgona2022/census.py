"""Attractors of many networks, counted and typed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from separatrix.local.basin_sets import CellSet, grouped
from separatrix.studies.drgona2022 import wandering
from separatrix.studies.drgona2022.networks import Networks
from separatrix.studies.drgona2022.settling import Settled, settle
from separatrix.studies.drgona2022.wandering import Wanderers, follow

KINDS = ("fixed point", "continuum", "cycle", "quasi-periodic", "chaotic")
"""Kinds of attractors. A continuum of fixed points counts once."""

SHARES = ("attracted", "undecided", "growing", "escape")
"""What orbits do: come to an attractor, move too slowly to tell, still grow when they are left, go to infinity."""

SAME = 1e-6
"""Limit points this close, relative to 1 + |x|, are one."""

RAY = 1e-6
"""Where the exponent of a fixed point at a kink is measured, at this distance from it."""


@dataclass(frozen=True)
class Plan:
    """How far orbits are followed.

    Attributes
    ----------
    steps : int
        For all starts of a network, unless they have settled or escaped before.
    longest : int
        Longest period looked for.
    followed : int
        How many of the orbits that go on are followed longer.
    further : int
        How many steps longer.
    """

    steps: int = 2048
    longest: int = 32
    followed: int = 8
    further: int = 16_384


@dataclass
class Attractor:
    """One attractor of a network.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    period : int
        0 where it is no fixed point or cycle.
    exponent, error : float
        Largest Lyapunov exponent per step and its standard error, 0 where it was computed from multipliers.
    points : Tensor (point, 2)
        One point of a fixed point or cycle, some of others.
    share : float
        Of the starts.
    """

    kind: str
    period: int
    exponent: float
    error: float
    points: Float64[Tensor, "point 2"]
    share: float

    def farthest(self, p: float = 2) -> float:
        """Largest p-norm of its points that are known."""
        return float(torch.linalg.vector_norm(self.points, ord=p, dim=1).amax())


@dataclass
class Found:
    """Attractors of one network, and the shares of its starts."""

    attractors: list[Attractor] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SHARES, 0.0))


def census(nets: Networks, starts: Float64[Tensor, "2 start"], plan: Plan) -> list[Found]:
    """Find the attractors of each network from many starts.

    An attractor with a small basin may be missed: all counts are counts of what was found.
    """
    settled = settle(nets, starts, plan.steps, plan.longest)
    found = [Found() for _ in range(len(nets))]
    width = starts.shape[1]
    for net, one in enumerate(found):
        one.shares["escape"] = float((settled.period[net] == -1).sum()) / width
        one.shares["attracted"] = float((settled.period[net] > 0).sum()) / width
        one.attractors += _limits(settled, net, width)
    _at_kinks(nets, settled, found)
    _wanderers(nets, settled, found, plan)
    return found


def _limits(settled: Settled, net: int, width: int) -> list[Attractor]:
    """Fixed points and cycles of a network: limit points that differ."""
    left = (settled.period[net] > 0).nonzero()[:, 0]
    made: list[Attractor] = []
    whole: Attractor | None = None
    while len(left):
        first = left[0]
        period = int(settled.period[net, first])
        near = _close(settled.point[net][:, left].T, settled.point[net, :, first])
        near &= settled.period[net, left] == period
        mine, left = left[near], left[~near]
        rate = float(settled.rate[net, first])
        points = settled.point[net, :, first][None]
        if not settled.marginal[net, first]:
            kind = "fixed point" if period == 1 else "cycle"
            made.append(Attractor(kind, period, rate, 0.0, points, len(mine) / width))
        elif whole is None:
            whole = Attractor("continuum", 1, 0.0, 0.0, points, len(mine) / width)
        else:
            whole.share += len(mine) / width
            whole.points = torch.cat([whole.points, points])
    return made + ([whole] if whole else [])


def _close(points: Float64[Tensor, "point 2"], point: Float64[Tensor, " 2"]) -> Bool[Tensor, " point"]:
    return (points - point).abs().amax(1) <= SAME * (1 + point.abs().amax())


def _at_kinks(nets: Networks, settled: Settled, found: list[Found]) -> None:
    """Exponents of fixed points at the origin where slopes jump: growth along rays, on which the map is linear."""
    at = settled.kinked & (settled.period == 1) & (settled.point.abs().amax(1) <= SAME) & ~settled.marginal
    rows = at.any(1).nonzero()[:, 0]
    if not len(rows):
        return
    few = nets.take(rows)
    angles = torch.arange(16, dtype=torch.float64) * (2 * torch.pi / 16) + 0.1
    x = RAY * torch.stack([angles.cos(), angles.sin()]).expand(len(rows), -1, -1)
    V = torch.stack([-x[:, 1], x[:, 0]], 1)[None] / RAY
    total = torch.zeros(len(rows), 16, dtype=torch.float64)
    for k in range(200):
        x, V = few.push(x, V)
        size, length = x.norm(dim=1, keepdim=True), V.norm(dim=2, keepdim=True)
        x, V = torch.where(size > 0, RAY * x / size, x), torch.where(length > 0, V / length, V)
        if k >= 100:
            total += torch.maximum(size[:, 0] / RAY, length[0, :, 0]).log() / 100
    rate = total.amax(1)
    for row, value in zip(rows.tolist(), rate.tolist(), strict=True):
        for one in found[row].attractors:
            if one.kind == "fixed point" and one.farthest() <= 2 * SAME:
                one.exponent = value


def _wanderers(nets: Networks, settled: Settled, found: list[Found], plan: Plan) -> None:
    """Follow some of the orbits that go on, and sort them into attractors."""
    rows, columns = [], []
    for net in (settled.period == 0).any(1).nonzero()[:, 0].tolist():
        going = (settled.period[net] == 0).nonzero()[:, 0]
        picked = going[torch.linspace(0, len(going) - 1, min(plan.followed, len(going))).long()]
        rows += [net] * len(picked)
        columns += picked.tolist()
    if not rows:
        return
    longest = 16 * plan.longest
    long = follow(nets.take(torch.tensor(rows)), settled.state[rows, :, columns], plan.further, longest)
    width = settled.period.shape[1]
    for net in sorted(set(rows)):
        mine = [k for k, row in enumerate(rows) if row == net]
        weight = float((settled.period[net] == 0).sum()) / width / len(mine)
        _sort(long, mine, weight, found[net])


_LEAVES = {wandering.ESCAPE: "escape", wandering.GROWING: "growing", wandering.UNDECIDED: "undecided"}


def _sort(long: Wanderers, mine: list[int], weight: float, found: Found) -> None:
    """Give each followed orbit of a network to an attractor, a new one or one that is known."""
    sets: list[CellSet] = []
    for k in mine:
        kind = int(long.kind[k])
        found.shares[_LEAVES.get(kind, "attracted")] += weight
        if kind in (wandering.CYCLE, wandering.ORIGIN):
            _limit(long, k, found).share += weight
        elif kind not in _LEAVES:
            name = "chaotic" if kind == wandering.CHAOTIC else "quasi-periodic"
            own = (float(long.exponent[k]), float(long.error[k]))
            grouped(sets, [CellSet(name, torch.eye(2, dtype=torch.float64), long.samples[k].T, [own], SAME)])
    for one in sets:
        share = weight * len(one.exponents)
        found.attractors.append(Attractor(one.kind, 0, *one.exponent(), one.states.T, share))


def _limit(long: Wanderers, k: int, found: Found) -> Attractor:
    """The fixed point or cycle that an orbit came to late."""
    at_origin = int(long.kind[k]) == wandering.ORIGIN
    period = 1 if at_origin else int(long.period[k])
    point = torch.zeros(2, dtype=torch.float64) if at_origin else long.point[k]
    for one in found.attractors:
        if one.period == period and bool(_close(one.points, point).any()):
            return one
    kind = "fixed point" if period == 1 else "cycle"
    made = Attractor(kind, period, 0.0 if at_origin else float(long.exponent[k]), 0.0, point[None], 0.0)
    found.attractors.append(made)
    return made
