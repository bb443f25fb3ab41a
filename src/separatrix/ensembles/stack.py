"""Networks of one architecture with their weights stacked: one module that runs them all."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from separatrix.results.errors import ArgumentError

NO_RULE = "Batching rule not implemented"
"""What ``torch.vmap`` says of an operation that it cannot batch."""


class Stack(nn.Module):
    """Networks of one architecture as one module; the first dimension of every parameter and buffer is the member.

    Its value for a batch of shape (batch, ...) has shape (member, batch, ...). ``len(stack)`` is the number of members,
    ``stack[i]`` one of them as an ordinary module with weights of its own, and ``stack[2:5]`` a smaller stack.
    Parameters have their names in the members, after the prefix ``network.``.

    Parameters
    ----------
    members : sequence of nn.Module
        At least one; the same class, parameter names, shapes, dtypes and modes. They are copied.

    Raises
    ------
    ArgumentError
        If there is no member, or one differs from the first in more than the values of its weights.

    Notes
    -----
    ``torch.vmap`` over the stacked parameters; where an operation has no batching rule (torch's recurrent layers), one
    member after another. In training mode each member draws dropout masks of its own.
    """

    network: nn.Module

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        members = list(members)
        if not members:
            raise ArgumentError("members", "an empty list", "give at least one network")
        for place, member in enumerate(members):
            difference = _difference(members[0], member)
            if difference:
                raise ArgumentError(
                    "members", f"member {place} whose {difference}", "give networks of one architecture, in one mode"
                )
        states = [_tensors(member) for member in members]
        self.network = filled(members[0], {n: torch.stack([s[n].detach() for s in states]) for n in states[0]})
        self.training = members[0].training

    def __len__(self) -> int:
        return len(next(iter(_tensors(self.network).values())))

    def __getitem__(self, place: int | slice) -> nn.Module:
        """Copy one member as an ordinary module, or several as a stack."""
        if isinstance(place, slice):
            chosen = range(*place.indices(len(self)))
            return Stack([self[i] for i in chosen])
        if not -len(self) <= place < len(self):
            raise IndexError(f"member {place} of {len(self)}")
        return filled(self.network, {name: t.detach()[place].clone() for name, t in _tensors(self.network).items()})

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[i] for i in range(len(self)))

    @property
    def members(self) -> list[nn.Module]:
        """Every member as an ordinary module."""
        return list(self)

    def in_turn(self, places: Iterable[int] | None = None) -> Iterator[nn.Module]:
        """One ordinary module that becomes each member in turn (all, or those at ``places``), without copies.

        Its tensors are views of the stack's. Be done with one member before the next is taken.
        """
        stacked = _tensors(self.network)
        module = filled(self.network, stacked)
        names = {id(t): name for name, t in _tensors(module).items()}
        slots = [
            (table, key, names[id(tensor)])
            for part in module.modules()
            for table in (part._parameters, part._buffers)
            for key, tensor in table.items()
            if tensor is not None
        ]
        for place in range(len(self)) if places is None else places:
            new = {
                name: nn.Parameter(t.detach()[place], t.requires_grad)
                if isinstance(t, nn.Parameter)
                else t.detach()[place]
                for name, t in stacked.items()
            }
            for table, key, name in slots:
                table[key] = new[name]  # type: ignore[assignment]
            yield module

    def forward(self, x: Tensor) -> Any:
        """Values of all members at a batch: (batch, ...) -> (member, batch, ...), in dicts and tuples too."""

        def one(state: dict[str, Tensor], x: Tensor) -> Any:
            return functional_call(self.network, state, (x,))

        stacked = _tensors(self.network)
        if not has_recurrence(self.network):
            try:
                return torch.vmap(one, in_dims=(0, None), randomness="different")(stacked, x)
            except RuntimeError as error:
                if NO_RULE not in str(error):
                    raise
        values = [one({name: t[place] for name, t in stacked.items()}, x) for place in range(len(self))]
        return tree_map(lambda *same: torch.stack(same), *values)


def has_recurrence(network: nn.Module) -> bool:
    """Whether it has recurrent parts that ``torch.vmap`` cannot batch: known without a try, which leaves traces."""
    return any(isinstance(part, nn.RNNBase | nn.LSTMCell) for part in network.modules())


def filled(pattern: nn.Module, values: dict[str, Tensor]) -> nn.Module:
    """Copy a module, with other tensors for its parameters and buffers; what is tied stays tied."""
    old = _tensors(pattern)
    # all but the tensors, which may be those of a whole stack
    module = copy.deepcopy(pattern, {id(t): t for t in old.values()})
    new = {
        id(t): nn.Parameter(values[name], t.requires_grad) if isinstance(t, nn.Parameter) else values[name]
        for name, t in old.items()
    }
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    table[name] = new[id(tensor)]  # type: ignore[assignment]
    return module


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _difference(first: nn.Module, other: nn.Module) -> str | None:
    if type(first) is not type(other):
        return f"class is {type(other).__name__}, not {type(first).__name__}"
    mine, theirs = _tensors(first), _tensors(other)
    if not mine:
        return "parameters are none"
    if mine.keys() != theirs.keys():
        return f"parameter names differ: {sorted(mine.keys() ^ theirs.keys())}"
    for name, tensor in mine.items():
        if tensor.shape != theirs[name].shape or tensor.dtype != theirs[name].dtype:
            return f"{name} has shape {tuple(theirs[name].shape)} and {theirs[name].dtype}"
        if tensor.device != theirs[name].device:
            return f"{name} is on {theirs[name].device}"
    kinds = [[(type(part), part.training) for part in module.modules()] for module in (first, other)]
    if kinds[0] != kinds[1]:
        return "layers or their modes differ"
    for (name, part), same in zip(first.named_modules(), other.modules(), strict=True):
        if _settings(part) != _settings(same):
            return f"{type(part).__name__} {name!r} has other settings"
    return None


def _settings(part: nn.Module) -> tuple[str, dict[str, Any]]:
    """What a layer does besides its weights: what it prints, and for torch's own layers its plain attributes."""
    plain: dict[str, Any] = {}
    if type(part).__module__.startswith("torch.nn."):
        for name, value in vars(part).items():
            if isinstance(value, bool | int | float | str | tuple):
                plain[name] = value
            elif inspect.isroutine(value):
                plain[name] = getattr(value, "__name__", "")
    return part.extra_repr(), plain
