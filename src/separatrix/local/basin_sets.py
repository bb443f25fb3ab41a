"""Sets that orbits fill without repeating themselves, told apart by the coarse cells they visit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

_CELLS = {1: 256, 2: 48, 3: 24}
"""Cells along each axis of a set's box."""
_KEPT = 2**14
"""States kept of a set."""
SHARED = 0.5
"""Share of its time that an orbit spends in the cells of another one of the same set."""


@dataclass(eq=False)
class CellSet:
    """States of orbits that do not repeat, the cells they lie in, and the orbits' exponents per step.

    ``shadow`` (d, n) takes a state to the one, two or three coordinates that the cells divide; ``least`` is the width
    that the box of cells has at least.
    """

    kind: str
    shadow: Float[Tensor, "d n"]
    states: Float[Tensor, "n S"]
    exponents: list[tuple[float, float]]
    least: float
    merged: CellSet | None = None
    _low: Tensor = field(init=False)
    _width: Tensor = field(init=False)
    _filled: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._fill()

    def _fill(self) -> None:
        if self.states.shape[1] > _KEPT:
            self.states = self.states[:, :: math.ceil(self.states.shape[1] / _KEPT)].contiguous()
        shadow = self.shadow @ self.states
        low, high = shadow.amin(1, keepdim=True), shadow.amax(1, keepdim=True)
        self._width = (1.2 * (high - low).amax()).clamp(min=self.least)
        self._low = (low + high - self._width) / 2
        d, m = len(shadow), _CELLS[len(shadow)]
        filled = torch.zeros(m**d, dtype=torch.bool)
        filled[self._cell(shadow)[0]] = True
        # one cell around: a finite orbit does not fill every cell, and the set does not end at a cell's edge
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[d - 1]
        self._filled = pool(filled.float().view(1, 1, *[m] * d), 3, 1, 1).flatten() > 0

    def _cell(self, shadow: Float[Tensor, "d K"]) -> tuple[Int[Tensor, " K"], Bool[Tensor, " K"]]:
        m = _CELLS[len(shadow)]
        place = ((shadow - self._low) / self._width * m).nan_to_num(nan=-1.0).floor().clamp(-1, m).long()
        inside = ((place >= 0) & (place < m)).all(0)
        number = torch.zeros_like(place[0])
        for axis in place.clamp(0, m - 1):
            number = number * m + axis
        return number, inside

    def contains(self, x: Float[Tensor, "n K"]) -> Bool[Tensor, " K"]:
        """Which states lie in its cells, or in a cell beside them."""
        number, inside = self._cell(self.shadow @ x)
        return self._filled[number] & inside

    def shared(self, states: Float[Tensor, "n K"]) -> float:
        """Share of states that lie in it."""
        return float(self.contains(states).double().mean())

    def share(self, trail: list[Tensor]) -> Float[Tensor, " K"]:
        """Share of their time that orbits, given as a list of states (n, K), spend in it."""
        return torch.stack([self.contains(x).double() for x in trail]).mean(0)

    def absorb(self, other: CellSet) -> None:
        """Take in another set."""
        self.states = torch.cat([self.states, other.states], dim=1)
        self.exponents += other.exponents
        other.merged = self
        self._fill()

    def resolved(self) -> CellSet:
        """The set that this one has become a part of, or itself."""
        found = self
        while found.merged is not None:
            found = found.merged
        return found

    def exponent(self) -> tuple[float, float]:
        """Mean over the orbits, with its standard error."""
        values = torch.tensor([value for value, _ in self.exponents], dtype=torch.float64)
        errors = torch.tensor([error for _, error in self.exponents], dtype=torch.float64)
        within = float(errors.square().mean().sqrt()) / math.sqrt(len(values))
        among = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        return float(values.mean()), max(within, among)


def shadow_of(n: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "d n"]:
    """The coordinates themselves up to three of them; two random orthonormal ones of more."""
    if n <= 3:
        return torch.eye(n, dtype=dtype)
    return torch.linalg.qr(torch.randn(n, 2, generator=generator, dtype=torch.float64))[0].T.to(dtype).contiguous()


def grouped(sets: list[CellSet], new: list[CellSet]) -> None:
    """Join new sets, one for each orbit, with each other and with known ones of the same kind.

    Two belong together where one spends at least half of its time in the cells of the other.
    """
    for one in new:
        for other in list(sets):
            if other is one or other.kind != one.kind:
                continue
            if max(one.shared(other.states), other.shared(one.states)) >= SHARED:
                # the larger one takes in the smaller one
                one, other = (one, other) if one.states.shape[1] > other.states.shape[1] else (other, one)
                one.absorb(other)
                sets[:] = [known for known in sets if known is not other]
        if one not in sets:
            sets.append(one)
