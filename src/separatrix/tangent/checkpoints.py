"""The triangular factors of an orbit from last to first, held or computed again from checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.tangent.orbits import Orbits
from separatrix.tangent.qr_sweep import Factor, Frames, advance


class Sizes(NamedTuple):
    """Bytes, of which a run with segments of L steps holds steps / L checkpoints and L steps.

    Attributes
    ----------
    checkpoint, step : int
        Of one checkpoint, and of the factor of one step.
    work, most : int
        What is taken beside each step of a segment while it is looked at, and at most in all.
    other : int
        Everything else.
    steps : int
        How many steps there are.
    """

    checkpoint: int
    step: int
    work: int
    most: int
    other: int
    steps: int

    def held(self, length: int) -> int:
        """Bytes of a run with segments of this many steps."""
        checkpoints = -(-self.steps // length) * self.checkpoint
        return self.other + length * self.step + min(length * self.work, self.most) + checkpoints


class Segment(NamedTuple):
    """Consecutive steps, first to last: R_hist[i] = R_{n+1} of the step n = start + i -> n + 1, and Q_n where asked."""

    start: int
    r: list[Tensor]
    q: dict[int, Tensor]


def segment_length(sizes: Sizes, budget: int) -> int:
    """Steps between checkpoints: all of them if their factors fit into the budget, otherwise about sqrt(steps).

    With segments of L steps the run holds steps / L checkpoints and L factors; the sum is least at
    L = sqrt(steps * checkpoint / step), where it grows with the square root of the number of steps.

    Raises
    ------
    ArgumentError
        If even that does not fit.
    """
    if sizes.held(sizes.steps) <= budget:
        return sizes.steps
    best = math.sqrt(sizes.steps * sizes.checkpoint / (sizes.step + sizes.work))
    length = max(1, min(sizes.steps, round(best)))
    need = sizes.held(length)
    if need > budget:
        remedy = f'this run holds about {need:,} bytes: give memory="{-(-need // 10**6)}MB", a smaller k, fewer members'
        raise ArgumentError("memory", f"a budget of {budget:,} bytes", f"{remedy}, or a larger every or vectors")
    return length


class Factors:
    """Runs an orbit forward once, and then gives its factors from last to first.

    The segments between two checkpoints are computed again, which doubles the cost; the last one, and so all of them if
    there is only one, is held from the first pass. The second time gives the same bits: the same operations on the same
    shapes.
    """

    def __init__(self, orbits: Orbits, length: int, keep_q: Callable[[int], bool], k: int) -> None:
        self._orbits, self._length, self._keep_q, self._k = orbits, length, keep_q, k
        self._checkpoints: list[Frames] = []
        self._last: Segment | None = None

    @property
    def replayed(self) -> bool:
        """Whether anything has to be computed twice."""
        return len(self._checkpoints) > 1

    def forward(self, frames: Frames, steps: int) -> Iterator[tuple[Frames, Factor]]:
        """Take the steps, and tell the frame and the factor after each."""
        segment = Segment(frames.t, [], {})
        for done in range(steps):
            if done % self._length == 0:
                self._checkpoints.append(frames)
                segment = self._last = Segment(frames.t, [], {})
            frames, factor = self._step(frames, segment)
            yield frames, factor

    def backward(self) -> Iterator[Segment]:
        """Give the segments from last to first, each once."""
        last, self._last = self._last, None
        while self._checkpoints:
            frames = self._checkpoints.pop()
            if last is not None:
                segment, last = last, None
            else:
                segment = Segment(frames.t, [], {})
                for _ in range(self._length):
                    frames, _ = self._step(frames, segment)
            yield segment

    def _step(self, frames: Frames, segment: Segment) -> tuple[Frames, Factor]:
        if self._keep_q(frames.t):
            segment.q[frames.t] = frames.q[0, ..., : self._k]
        frames, factor = advance(self._orbits, frames)
        # a leading block has the leading vectors
        segment.r.append(factor.r[0, :, : self._k, : self._k].contiguous())
        return frames, factor
