"""The derivative of a ``torch.optim`` optimizer's coming step, applied to perturbations of weights and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.optim import from_torch
from separatrix.systems.optim.convert import memory_of
from separatrix.systems.optim.rule import Optimizer
from separatrix.tangent.bundles import Bundle

_BLOCK = 2**16
# what schedulers write beside the settings of now
_NOT_NOW = ("params", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")


class OptimizerStep:
    """What an optimizer does to perturbations, with its settings and memory of now.

    Attributes
    ----------
    parts : list of int
        How many parts the state of each parameter has: the weights, and what the optimizer remembers of them.
    """

    def __init__(self, optimizer: Any, parameters: Sequence[Tensor]) -> None:
        self.optimizer, self.parameters = optimizer, parameters
        self._groups = _groups(optimizer, parameters)
        from_torch(optimizer, lr=0.0)  # refuses what has no map
        self._rules: dict[int, tuple[tuple[Any, ...], Optimizer]] = {}
        # groups of one optimizer may differ in what they remember
        group_of = {i: place for place, members in enumerate(self._groups) for i in members}
        self.parts = [len(self._rule(group_of[i]).parts) for i in range(len(group_of))]

    def refuse_other_parts(self) -> None:
        """Make sure that perturbations still have a part for everything that the optimizer remembers."""
        for place, members in enumerate(self._groups):
            now = len(self._rule(place).parts)
            before = {self.parts[i] for i in members} - {now}
            if before:
                got = f"a momentum that was switched {'on' if now > min(before) else 'off'}"
                raise ArgumentError("optimizer", got, "make a new monitor: perturbations have other parts now")

    def move(
        self, bundle: Bundle, gradients: Sequence[Tensor], products: Sequence[Tensor], still: Sequence[bool]
    ) -> None:
        """Move perturbations, in place, by the step that follows these gradients; ``products`` are the gradients' own.

        Parameters that stand still keep theirs.
        """
        for place, members in enumerate(self._groups):
            rule = self._rule(place)
            for i in members:
                if not still[i]:
                    self._move(rule, self.parameters[i], bundle[i], gradients[i], products[i])

    def _move(self, rule: Optimizer, p: Tensor, bundle: list[Tensor], gradient: Tensor, product: Tensor) -> None:
        k = len(product)
        held = [part.reshape(-1) for part in (p.detach(), *self._memory(rule, p), gradient)]
        columns = [part.view(k, -1) for part in bundle]
        moved = product.reshape(k, -1)
        t = self._time(p)
        # by blocks that stay in the cache: rules treat every weight alone
        for begin in range(0, p.numel(), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            *parts, slope = (part[block] for part in held)
            rule.move(tuple(parts), slope, tuple(column[:, block] for column in columns), moved[:, block], t)

    def _memory(self, rule: Optimizer, p: Tensor) -> list[Tensor]:
        found = [memory_of(self.optimizer, p, part) for part in rule.parts[1:]]
        return [torch.zeros_like(p) if held is None else held for held in found]

    def _time(self, p: Tensor) -> int:
        """Steps that the optimizer has taken with a parameter."""
        held = self.optimizer.state.get(p, {})
        if "step" in held:
            return int(held["step"])
        return 1 if held else 0

    def _rule(self, place: int) -> Optimizer:
        """The map of a parameter group, with its settings of now."""
        group = self.optimizer.param_groups[place]
        settings = {name: value for name, value in group.items() if name not in _NOT_NOW}
        key = tuple(sorted((name, float(v) if isinstance(v, Tensor) else v) for name, v in settings.items()))
        if place not in self._rules or self._rules[place][0] != key:
            alone = type(self.optimizer)([torch.zeros(1, requires_grad=True)])
            alone.param_groups[0].update(settings)
            self._rules[place] = (key, from_torch(alone))
        return self._rules[place][1]


def _groups(optimizer: Any, parameters: Sequence[Tensor]) -> list[list[int]]:
    """Places of each group's parameters among the model's."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ArgumentError("optimizer", type(optimizer).__name__, "give the torch.optim optimizer of the loop")
    place = {id(p): i for i, p in enumerate(parameters)}
    owned = [[place[id(p)] for p in group["params"] if id(p) in place] for group in optimizer.param_groups]
    count = sum(map(len, owned))
    if count != len(parameters):
        got = f"{len(parameters) - count} of {len(parameters)} trainable parameters in no group"
        raise ArgumentError("optimizer", got, "switch requires_grad off for what is not trained")
    return owned
