"""Memory that is taken once and used for every chunk: fresh pages cost more than the arithmetic on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Named buffers of one precision and device. A buffer is overwritten when its name is taken again."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """An uninitialised tensor of this shape, the same memory for the same name."""
        size = math.prod(shape)
        held = self._buffers.get(name)
        if held is None or held.numel() < size:
            held = self._buffers[name] = torch.empty(size, dtype=self._like.dtype, device=self._like.device)
        return held[:size].view(shape)

    def other(self, name: str, held: Tensor, *shape: int) -> Tensor:
        """A tensor of this shape that shares no memory with ``held``, out of a pair of buffers."""
        first = self.take(f"{name} 0", *shape)
        return self.take(f"{name} 1", *shape) if first.data_ptr() == held.data_ptr() else first
