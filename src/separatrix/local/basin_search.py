"""Many starting points followed until each is known to escape, to be drawn to a cycle, or never to repeat itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.local.basin_atlas import BLOCK, ESCAPE, NONFINITE, STUCK, UNDECIDED, Atlas
from separatrix.local.basin_wander import explore

States = Float[Tensor, "n K"]
Labels = Int[Tensor, " K"]
All = Int[Tensor, " N"]
Rest = tuple[Float[Tensor, "n L"], Int[Tensor, " L"]]
"""States that are still followed, and their numbers."""


@dataclass(eq=False)
class Search:
    """Follows points with the attractors of an atlas, which grows with what is found on the way.

    ``steps`` and ``transient`` as in :func:`separatrix.basins`.
    """

    atlas: Atlas
    steps: int
    transient: int

    def run(self, starts: States) -> Labels:
        """Label starting points: number of an attractor, or one of the negative labels."""
        label = torch.full((starts.shape[1],), UNDECIDED)
        live, x, t, length = torch.arange(starts.shape[1]), starts, 0, 4 * BLOCK
        while len(live) and t < self.transient + self.steps:
            x, live = self._advance(x, live, label, length)
            t += length + self.atlas.max_period
            length = min(2 * length, 512)
            # a few stragglers are given more time; many that wander are looked at as soon as they may be
            last, many = t >= self.transient + self.steps, t >= self.transient and 10 * len(live) > len(label)
            x, live = self._settle(x, live, label, due=last or many)
        return label

    def _advance(self, x: States, live: Labels, label: All, length: int) -> Rest:
        """Take steps, and retire points that escape or come close to an attracting cycle."""
        for t in range(0, length, BLOCK):
            if not len(live):
                break
            before = x
            for step in range(BLOCK):
                x = self.atlas.system.step(x, t + step)
            found = self._escaped(before, x)
            for number, cycle in self.atlas.catching():
                found[(found == UNDECIDED) & cycle.near(x, cycle.radius)] = number
            x, live = _retire(x, live, label, found)
        return x, live

    def _escaped(self, before: States, x: States) -> Labels:
        """Labels of states that have left, told from those that a step has turned into NaN within bounds."""
        label = torch.full((x.shape[1],), UNDECIDED)
        gone = ~(x.abs().amax(0) <= self.atlas.ruler.escape)
        if gone.any():
            label[gone] = ESCAPE
            lost = gone & torch.isnan(x).any(0)
            y, left = before[:, lost], torch.zeros(int(lost.sum()), dtype=torch.bool)
            for t in range(BLOCK if lost.any() else 0):
                y = self.atlas.system.step(y, t)
                left |= y.abs().amax(0) > self.atlas.ruler.escape
            label[lost] = torch.where(left, ESCAPE, NONFINITE)
        return label

    def _settle(self, x: States, live: Labels, label: All, *, due: bool) -> Rest:
        """Look for periods over a stretch of the orbits, and for sets that they fill."""
        if not len(live):
            return x, live
        trail, found, wandering = self.atlas.periods(x)
        self.atlas.match(trail, found, wandering)
        if due:
            explore(self.atlas, trail, found, wandering, self.steps)
        stuck = found <= STUCK
        label[live[stuck]] = found[stuck]
        found[stuck] = UNDECIDED  # they are followed on: what only passes a saddle leaves it
        label[live[~stuck]] = UNDECIDED
        return _retire(trail[-1], live, label, found)


def _retire(x: States, live: Labels, label: All, found: Labels) -> Rest:
    """Write down what was found, and keep the rest."""
    known = found != UNDECIDED
    if not known.any():
        return x, live
    label[live[known]] = found[known]
    keep = ~known
    return x[:, keep].contiguous(), live[keep]
