"""In which order rows are taken, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_EVERY = 32
"""Epochs between two stored states of the generator."""


class RowOrders:
    """Successive ``torch.randperm(count)`` of one generator: drawn on and on, or found again for any epoch.

    Parameters
    ----------
    count : int
        Rows.
    seed : int
        Of the generator.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._generator = torch.Generator().manual_seed(seed)
        self._states = [self._generator.get_state()]
        self._epoch = -1
        self._order = torch.arange(count)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the order of epoch 0, 1, 2 and so on without end; nothing is stored."""
        generator = torch.Generator().manual_seed(self._seed)
        while True:
            yield self._draw(generator)

    def at(self, epoch: int) -> Tensor:
        """Order of an epoch, found from the nearest stored state before it."""
        if not self._epoch <= epoch < self._epoch + _EVERY:
            known = min(epoch // _EVERY, len(self._states) - 1)
            self._generator.set_state(self._states[known])
            self._epoch = known * _EVERY - 1
        while self._epoch < epoch:
            self._epoch += 1
            if self._epoch == len(self._states) * _EVERY:
                self._states.append(self._generator.get_state())
            self._order = self._draw(self._generator)
        return self._order

    def _draw(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(self._count, generator=generator)
