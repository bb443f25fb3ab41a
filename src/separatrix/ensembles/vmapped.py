"""Gradients of any stacked network, by vectorising its forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from separatrix.ensembles.losses import Loss
from separatrix.ensembles.stack import NO_RULE, has_recurrence


class Vmapped:
    """Loss, outputs and gradients of stacked networks of any kind; a context like :class:`Products`.

    The forward pass of a network with an operation that ``torch.vmap`` cannot batch is that of one member after
    another.
    """

    def __init__(self, network: nn.Module, loss: Loss, rows: int) -> None:
        self.network, self.loss, self.rows = network, loss, rows
        self._together = not has_recurrence(network)
        self._tried = False

    @property
    def method(self) -> str:
        """How the forward pass is computed."""
        return "vmap" if self._together else "members in turn"

    def __enter__(self) -> Vmapped:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _forward(self, state: dict[str, Tensor], x: Tensor, private: bool) -> Tensor:
        def one(state: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self.network, state, (x,))

        if self._together:
            # a first try that fails may have moved batch statistics, in place
            kept = {} if self._tried else {name: t.clone() for name, t in state.items() if not t.requires_grad}
            over = torch.vmap(one, in_dims=(0, 0 if private else None), randomness="different")
            try:
                value = over(state, x)
                self._tried = True
                return value
            except RuntimeError as error:
                if NO_RULE not in str(error):
                    raise
            self._together = False
            with torch.no_grad():
                for name, value in kept.items():
                    state[name].copy_(value)
        members = len(next(iter(state.values())))
        own = ({name: t[i] for name, t in state.items()} for i in range(members))
        return torch.stack([one(mine, x[i] if private else x) for i, mine in enumerate(own)])

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
