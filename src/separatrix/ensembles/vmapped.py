"""Gradients of any stacked network, by vectorising its forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from separatrix.ensembles.losses import Loss


class Vmapped:
    """Loss, outputs and gradients of stacked networks of any kind; a context like :class:`Products`."""

    method = "vmap"

    def __init__(self, network: nn.Module, loss: Loss, rows: int) -> None:
        self.network, self.loss, self.rows = network, loss, rows

    def __enter__(self) -> Vmapped:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _forward(self, state: dict[str, Tensor], x: Tensor, private: bool) -> Tensor:
        def one(state: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self.network, state, (x,))

        over = torch.vmap(one, in_dims=(0, 0 if private else None), randomness="different")
        return over(state, x)

    def outputs(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        """Outputs (member, batch, ...) at rows (batch, ...), in evaluation mode."""
        training = [m for m in self.network.modules() if m.training]
        self.network.eval()
        try:
            return torch.cat([self._forward(state, part, False) for part in x.split(self.rows)], 1)
        finally:
            for module in training:
                module.training = True

    def gradient(
        self, state: dict[str, Tensor], slots: dict[str, Tensor], x: Tensor, y: Tensor, private: bool
    ) -> tuple[Tensor, Tensor]:
        """Losses (member,) and outputs (member, batch, ...) at a batch; gradients replace what ``slots`` hold."""
        with torch.enable_grad():
            leaves = {name: state[name].detach().requires_grad_() for name in slots}
            outputs = self._forward(state | leaves, x, private)
            losses = torch.vmap(self.loss, in_dims=(0, 0 if private else None))(outputs, y)
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        for slot, grad in zip(slots.values(), found, strict=True):
            if grad is not None:
                slot.copy_(grad)
        return losses.detach(), outputs.detach()
