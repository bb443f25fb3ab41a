"""Covariant vectors of orbits, as tensors: forward over frames, backward over triangular factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from separatrix.tangent.angles import between_groups, pairwise
from separatrix.tangent.batch_means import BatchMeans, batch_means, pieces
from separatrix.tangent.checkpoints import Factors
from separatrix.tangent.convergence import Convergence, Separation, convergence
from separatrix.tangent.ginelli import random_end, step_back
from separatrix.tangent.orbits import Orbits
from separatrix.tangent.qr_sweep import advance, begin, logarithms

BLOCK = 2**19
"""Numbers in the triangular factors whose angles are computed together."""


class Phases(NamedTuple):
    """Steps until the frames have forgotten where they began, of the window, and after it for the backward pass."""

    spinup: int
    steps: int
    spindown: int
    every: int

    @property
    def records(self) -> int:
        """How many times are recorded: step 0 of the window, and each ``every`` steps from there."""
        return -(-self.steps // self.every)

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.spinup + self.steps + self.spindown


class CovariantRun(NamedTuple):
    """Everything per step and in nats; T recorded times, k vectors."""

    exponent: Float[Tensor, "B k"]
    means: BatchMeans | None
    convergence: Convergence
    covariant_exponent: Float[Tensor, "B k"]
    growth: Float[Tensor, "B T k"]
    angle: Float[Tensor, "B T pairs"]
    grouped: Float[Tensor, "B T pairs"] | None
    smallest: Float[Tensor, "B pairs"]
    vector: Float[Tensor, "B T k n"] | None
    singular: Int[Tensor, "B k"]
    alive: Bool[Tensor, " B"]
    replayed: bool


def run_covariant(
    orbits: Orbits,
    states: Float[Tensor, "B n"],
    k: int,
    phases: Phases,
    length: int,
    vectors: bool,
    seed: int,
    tolerance: float,
    tell: Callable[[int], None],
) -> CovariantRun:
    """Carry k directions, and one more where there is one: its exponent shows the gap below the last vector."""
    members, n = states.shape
    narrow = min(orbits.widths)
    carried = min(k + 1, narrow)
    first, stop = phases.spinup, phases.spinup + phases.steps
    frames = begin(orbits, states, carried, seed)
    separation = Separation(members, carried, frames.x.device)
    for _ in range(phases.spinup):
        frames, factor = advance(orbits, frames)
        separation.add(logarithms(factor, frames.alive, carried)[0], factor.floored[0])
        tell(1)
    separation.mark()
    recorded = {first + i * phases.every for i in range(phases.records)} if vectors else set()
    factors = Factors(orbits, length, recorded.__contains__, k)
    count = pieces(phases.steps)
    sums = torch.zeros(max(1, count), members, carried, dtype=torch.float64, device=frames.x.device)
    lengths = sums.new_zeros(len(sums))
    singular = torch.zeros(members, k, dtype=torch.int64, device=frames.x.device)
    alive = frames.alive
    for after, factor in factors.forward(frames, phases.steps + phases.spindown):
        alive = after.alive
        logs = logarithms(factor, alive, carried)[0]
        separation.add(logs, factor.floored[0])
        if after.t <= stop:
            separation.mark()
            piece = (after.t - 1 - first) * len(sums) // phases.steps
            sums[piece] += logs
            lengths[piece] += 1
            singular += factor.floored[0, :, :k]
        tell(1)
    sums = sums.masked_fill(~alive[:, None], torch.nan)
    exponents = sums.sum(0) / phases.steps
    means = batch_means(sums[..., :k], lengths) if count else None
    ahead, behind = (
        pair.masked_fill(~alive[:, None, None], torch.nan) for pair in (separation.ahead, separation.behind)
    )
    judged = convergence(exponents, ahead, behind, k, narrow if orbits.fixed else 0, tolerance)
    del separation, ahead, behind
    replayed = factors.replayed
    keep = _Records(members, n if orbits.fixed else max(orbits.widths), k, phases, judged, alive, vectors)
    c = random_end(members, k, seed).to(frames.x.device)
    for segment in factors.backward():
        for here in range(segment.start + len(segment.r) - 1, segment.start - 1, -1):
            # the factor stored at this place was made by the step n -> n + 1
            c, growth = step_back(segment.r[here - segment.start], c)
            if here < stop:
                keep.add(here - first, c, growth, segment.q.get(here))
            tell(1)
        keep.flush()
    dead = ~alive
    return CovariantRun(
        exponents[:, :k],
        means,
        judged,
        (keep.growth.sum(1) / phases.steps).masked_fill(dead[:, None], torch.nan),
        keep.mean_growth().masked_fill(dead[:, None, None], torch.nan),
        keep.angle.masked_fill(dead[:, None, None], torch.nan),
        None if keep.grouped is None else keep.grouped.masked_fill(dead[:, None, None], torch.nan),
        keep.smallest.masked_fill(dead[:, None], torch.nan),
        None if keep.vector is None else keep.vector.masked_fill(dead[:, None, None, None], torch.nan),
        singular,
        alive,
        replayed,
    )


class _Records:
    """Collects what is kept of each step, in blocks of steps."""

    def __init__(
        self, members: int, n: int, k: int, phases: Phases, judged: Convergence, alive: Tensor, vectors: bool
    ) -> None:
        self._phases, self._judged, self._alive = phases, judged, alive
        shape = (members, phases.records)
        new = judged.nats.new_full
        count = k * (k - 1) // 2
        self.growth = new((*shape, k), 0.0)
        self.angle = new((*shape, count), torch.nan)
        self.smallest = new((members, count), torch.inf)
        self.vector = new((*shape, k, n), torch.nan) if vectors else None
        # groups of one are what the angles between vectors already show
        several = bool((judged.group[alive].amax(-1) < k).any()) if bool(alive.any()) else False
        self.grouped = new((*shape, count), torch.nan) if several and count else None
        self._block = max(1, BLOCK // (members * k * k))
        self._waiting: list[tuple[int, Tensor]] = []

    def add(self, step: int, c: Tensor, growth: Tensor, q: Tensor | None) -> None:
        """Keep what belongs to a step of the window."""
        place, off = divmod(step, self._phases.every)
        self.growth[:, place] += growth
        if off == 0 and q is not None and self.vector is not None:
            v = (q[..., : c.shape[-1]] @ c).mT
            self.vector[:, place, :, : v.shape[-1]] = v
        self._waiting.append((step, c))
        if len(self._waiting) >= self._block:
            self.flush()

    def flush(self) -> None:
        """Compute the angles of the steps that wait."""
        if not self._waiting or not self.angle.shape[-1]:
            self._waiting = []
            return
        steps = [step for step, _ in self._waiting]
        c = torch.stack([c for _, c in self._waiting], 1)
        self._waiting = []
        angles = pairwise(c)
        self.smallest = torch.minimum(self.smallest, angles.amin(1))
        rows = [row for row, step in enumerate(steps) if step % self._phases.every == 0]
        if not rows:
            return
        places = [steps[row] // self._phases.every for row in rows]
        self.angle[:, places] = angles[:, rows]
        if self.grouped is not None:
            kinds, which = self._judged.group.unique(dim=0, return_inverse=True)
            for number, kind in enumerate(kinds):
                chosen = (which == number).nonzero()[:, 0]
                found = between_groups(c[chosen][:, rows], tuple(kind.tolist()))
                self.grouped[chosen[:, None], torch.tensor(places, device=chosen.device)] = found

    def mean_growth(self) -> Tensor:
        """Growth per step over the ``every`` steps, or what is left of them, from each recorded time."""
        every, steps = self._phases.every, self._phases.steps
        taken = [min(every, steps - i * every) for i in range(self._phases.records)]
        return self.growth / torch.tensor(taken, dtype=self.growth.dtype, device=self.growth.device)[:, None]
