"""The trainable weights of all members in one tensor, a row for each, with a view for every parameter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from separatrix.ensembles.stack import Stack, filled
from separatrix.results.errors import ArgumentError

# optimizers that treat every number alone, so that members side by side do not feel one another
ELEMENTWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.ASGD,
)

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Takes the parameters: ``functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)``."""


class Weights:
    """Weights of the members that still train, the optimizer that moves them, and what each member ends with.

    Trainable weights are one tensor, (member, number), because on small networks an optimizer's cost is the number of
    tensors and not their size.
    """

    def __init__(self, stack: Stack, make: MakeOptimizer) -> None:
        self.network = stack.network
        named = dict(stack.network.named_parameters())
        self.shapes = {name: p.shape[1:] for name, p in named.items() if p.requires_grad}
        if not self.shapes:
            raise ArgumentError("factory", "a network without trainable parameters", "unfreeze some")
        if len({named[name].dtype for name in self.shapes}) > 1:
            raise ArgumentError("factory", "parameters of several dtypes", "use one dtype")
        frozen = {name: p.detach() for name, p in named.items() if not p.requires_grad}
        # buffers too, which a forward pass in training mode changes in place
        self.fixed = {name: t.clone() for name, t in (frozen | dict(stack.network.named_buffers())).items()}
        self.flat = nn.Parameter(torch.cat([named[name].detach().flatten(1) for name in self.shapes], 1))
        self.flat.grad = torch.zeros_like(self.flat)
        self.optimizer = make([self.flat])
        if type(self.optimizer) not in ELEMENTWISE:
            known = ", ".join(kind.__name__ for kind in ELEMENTWISE)
            raise ArgumentError(
                "optimizer", type(self.optimizer).__name__, f"use one that treats every number alone: {known}"
            )
        self.active = torch.arange(len(stack))
        self._final = self.flat.detach().clone()
        self._final_fixed = {name: t.clone() for name, t in self.fixed.items()}

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, (member, *shape); what is trained as views."""
        return self._views(self.flat.detach()) | self.fixed

    def slots(self) -> dict[str, Tensor]:
        """Where gradients are put, by name, (member, *shape)."""
        assert self.flat.grad is not None
        return self._views(self.flat.grad)

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([shape.numel() for shape in self.shapes.values()], 1)
        return {name: part.view(-1, *self.shapes[name]) for name, part in zip(self.shapes, parts, strict=True)}

    def finite(self) -> Tensor:
        """Which active members have finite weights."""
        return torch.isfinite(self.flat.detach()).all(1)

    def record(self, chosen: Tensor) -> None:
        """Take down the present weights of some active members as what they end with."""
        self._final[self.active[chosen]] = self.flat.detach()[chosen]
        for name, value in self.fixed.items():
            self._final_fixed[name][self.active[chosen]] = value[chosen]

    def keep(self, chosen: Tensor) -> None:
        """Go on with some of the active members, and their share of the optimizer's memory."""
        for state in self.optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == self.flat.shape:
                    state[name] = value[chosen]
        self.flat.data = self.flat.data[chosen]
        self.flat.grad = torch.zeros_like(self.flat)
        self.fixed = {name: value[chosen] for name, value in self.fixed.items()}
        self.active = self.active[chosen]

    def members(self) -> list[nn.Module]:
        """Every member with the weights that it ended with, as a module of its own."""
        state = self._views(self._final) | self._final_fixed
        return [
            filled(self.network, {name: t[i].clone() for name, t in state.items()}) for i in range(len(self._final))
        ]
