"""The attractors known so far: whether an orbit repeats itself, and on which of them it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from separatrix.local.basin_cycles import REACH, Cycle, Ruler, make_cycle, multipliers, refine
from separatrix.local.basin_sets import SHARED, CellSet
from separatrix.tangent.columns import Columns

UNDECIDED, ESCAPE, NONFINITE = -1, -2, -3
"""Labels of points that belong to no attractor; the last one becomes the first in results."""
STUCK = -10
"""Label -10 - j: the point is on the j-th fixed point or cycle that does not attract."""
BLOCK = 8
"""Steps between two looks at where the orbits are."""
_PLACES = 64
"""Points of cycles, and new cycles at a time, that are kept track of."""

States = Float[Tensor, "n K"]
Labels = Int[Tensor, " K"]


@dataclass(eq=False)
class Continuum:
    """Fixed points or cycles of one period that have a multiplier 1; ``states`` are some of them."""

    period: int
    states: States

    def add(self, x: States) -> None:
        """Keep some more of them."""
        both = torch.cat([self.states, x], dim=1)
        self.states = both[:, :: math.ceil(both.shape[1] / 4096)].contiguous()

    def near(self, x: States, distance: float) -> Tensor:
        """Which states are within a distance of one of them."""
        return torch.cdist(x.T.double(), self.states.T.double(), p=math.inf).amin(1) <= distance


Attractor = Cycle | Continuum | CellSet


@dataclass(eq=False)
class Atlas:
    """Attractors, numbered in the order in which they are found, and the cycles that do not attract."""

    system: Columns
    ruler: Ruler
    max_period: int
    generator: torch.Generator
    attractors: list[Attractor] = field(default_factory=list)
    unstable: list[Cycle] = field(default_factory=list)

    def catching(self) -> list[tuple[int, Cycle]]:
        """Cycles that draw in what comes near, with their numbers."""
        found, places = [], 0
        for number, one in enumerate(self.attractors):
            if isinstance(one, Cycle) and one.radius > 0 and places + one.period <= _PLACES:
                found.append((number, one))
                places += one.period
        return found

    def periods(self, x: States) -> tuple[list[Tensor], Labels, Bool[Tensor, " K"]]:
        """Stretch of each orbit, labels of those that repeat themselves, and which do not."""
        trail, period = [x], torch.zeros(x.shape[1], dtype=torch.long)
        near = self.ruler.tolerance * self.ruler.scale(x)
        for p in range(1, self.max_period + 1):
            trail.append(self.system.step(trail[-1], p - 1))
            back = (trail[-1] - x).abs().amax(0) <= near
            period = torch.where((period == 0) & back, p, period)
            if p % BLOCK == 0 and bool((period > 0).all()):
                break
        found = torch.full_like(period, UNDECIDED)
        for p in sorted({int(p) for p in period[period > 0]}):
            found[period == p] = self.cycles(x[:, period == p], p)
        return trail, found, (period == 0) & torch.isfinite(trail[-1]).all(0)

    def cycles(self, x: States, period: int, reach: float = REACH) -> Labels:
        """Labels of states that return after a period: their cycle, if the refined equation confirms it."""
        label = torch.full((x.shape[1],), UNDECIDED)
        exact, good, M = refine(self.system, x, period, self.ruler, reach)
        if not good.any():
            return label
        place = good.nonzero()[:, 0]
        exact, M = exact[:, place], M[:, :, place]
        rounded = (exact / self.ruler.same(exact)).round()
        _, group = torch.unique(rounded, dim=1, return_inverse=True)
        first = torch.full((int(group.max()) + 1,), len(group)).scatter_reduce(
            0, group, torch.arange(len(group)), "amin"
        )
        found = self._named(exact[:, first], M[:, :, first], period)
        label[place] = found[group]
        return label

    def _named(self, exact: States, M: Tensor, period: int) -> Labels:
        """Labels of refined points."""
        values = multipliers(M)
        neutral = ((values - 1).abs().amin(1) <= self.ruler.neutral) & (values.abs().amax(1) <= 1 + self.ruler.neutral)
        label = torch.full((exact.shape[1],), UNDECIDED)
        if neutral.any():
            label[neutral] = self._continuum(exact[:, neutral], period)
        rest = (~neutral).nonzero()[:, 0]
        for _ in range(_PLACES):
            for offset, known in ((0, self.attractors), (STUCK, self.unstable)):
                for number, one in enumerate(known):
                    if isinstance(one, Cycle) and len(rest):
                        at = one.near(exact[:, rest], self.ruler.same(exact))
                        label[rest[at]] = number if offset == 0 else offset - number
                        rest = rest[~at]
            if not len(rest):
                break
            cycle = make_cycle(self.system, exact[:, rest[:1]], period, self.ruler, self.generator)
            (self.attractors if cycle.attracting else self.unstable).append(cycle)
        return label

    def _continuum(self, x: States, period: int) -> int:
        """Number of the continuum of this period; or of a single cycle that attracts more slowly than any power."""
        for number, one in enumerate(self.attractors):
            if isinstance(one, Cycle) and one.period == period and bool(one.near(x, one.radius).all()):
                return number
            if isinstance(one, Continuum) and one.period == period:
                one.add(x)
                return number
        cycle = make_cycle(self.system, x[:, :1], period, self.ruler, self.generator)
        alone = cycle.radius > 0 and bool(cycle.near(x, cycle.radius).all())
        self.attractors.append(cycle if alone else Continuum(period, x[:, :4096]))
        return len(self.attractors) - 1

    def match(self, trail: list[Tensor], label: Labels, wandering: Bool[Tensor, " K"]) -> None:
        """Label the orbits that stay in the cells of a known set."""
        place = (wandering & (label == UNDECIDED)).nonzero()[:, 0]
        sets = [(i, a) for i, a in enumerate(self.attractors) if isinstance(a, CellSet) and a.merged is None]
        if not sets or not len(place):
            return
        some = [x[:, place] for x in trail[::2]]
        shares = torch.stack([one.share(some) for _, one in sets])
        most, which = shares.max(0)
        label[place] = torch.where(most >= 0.8, torch.tensor([i for i, _ in sets])[which], UNDECIDED)
        for (_, one), of_one in zip(sets, shares, strict=True):
            for (_, other), of_other in zip(sets, shares, strict=True):
                # an orbit that is at home in both shows that they are one
                both = one.kind == other.kind and bool(((of_one >= SHARED) & (of_other >= SHARED)).any())
                if both and one.resolved() is not other.resolved():
                    one.resolved().absorb(other.resolved())
