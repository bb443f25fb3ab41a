"""Plain multilayer networks: recognised in a trace, and reduced to matrices and pointwise functions.

The first dimension of every tensor is the member of a stack; a network by itself is a stack of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from separatrix.ensembles.stack import Stack
from separatrix.systems.activations import Kinks, function_kinks, function_name, is_elementwise, module_kinks
from separatrix.systems.chain import find_chain
from separatrix.systems.guest import Guest
from separatrix.systems.listing import Anatomy
from separatrix.systems.trace import Call

_PASSIVE = (nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Affine:
    """z -> weight z + bias, with shapes (member, n, m) and (member, n)."""

    weight: Tensor
    bias: Tensor | None

    def of(self, members: slice | Tensor) -> Affine:
        """The step of some members."""
        return Affine(self.weight[members], None if self.bias is None else self.bias[members])


@dataclass(frozen=True)
class Diagonal:
    """z -> factor * z + shift, component by component, both of shape (member, n)."""

    factor: Tensor
    shift: Tensor

    def of(self, members: slice | Tensor) -> Diagonal:
        """The step of some members."""
        return Diagonal(self.factor[members], self.shift[members])


@dataclass(frozen=True)
class Pointwise:
    """z -> activation(z), component by component, not differentiable at ``kinks``."""

    activation: Callable[[Tensor], Tensor]
    kinks: Kinks

    def of(self, members: slice | Tensor) -> Pointwise:
        """The step of some members, which is that of all."""
        del members
        return self


Step = Affine | Diagonal | Pointwise


@dataclass(frozen=True)
class PlainChain:
    """The steps of a plain network, and after how many of them each chosen layer ends."""

    steps: list[Step]
    ends: list[int]
    inputs: int
    members: int

    def of(self, members: slice | Tensor) -> PlainChain:
        """The chain of some members; of a slice of them, without copies."""
        count = len(range(self.members)[members]) if isinstance(members, slice) else len(members)
        return replace(self, steps=[step.of(members) for step in self.steps], members=count)

    @property
    def widths(self) -> list[int]:
        """Number of components after each step; steps before the first matrix are left out."""
        return [s.weight.shape[1] if isinstance(s, Affine) else 0 for s in self.steps]

    def width_before(self, end: int) -> int:
        """Number of components of the value that the first ``end`` steps give, where the last is not a matrix."""
        for step in reversed(self.steps[:end]):
            if isinstance(step, Affine):
                return step.weight.shape[1]
            if isinstance(step, Diagonal):
                return step.factor.shape[1]
        return self.inputs

    @property
    def weight_layers(self) -> int:
        """Number of matrices."""
        return sum(isinstance(s, Affine) for s in self.steps)


def plain_chain(guest: Guest, seen: Anatomy, labels: list[str], stack: Stack | None = None) -> PlainChain | None:
    """Reduce a network to matrices and pointwise functions, or None when it is anything more.

    With ``stack``, the guest is one of its members, and the chain is that of all of them.

    The network must be one chain of linear layers, elementwise activations (as modules or functions), batch
    normalisations in evaluation mode and reshapes, with all chosen labels on it.
    """
    if guest.start is not None or guest.output is not None or seen.trace.branches:
        return None
    calls = find_chain(seen.trace.top, (seen.entry, seen.entry_edge), (seen.output_value, seen.output_edge))
    if calls is None:
        return None
    steps: list[Step] = []
    place: dict[object, int] = {}
    for call in calls:
        made = _steps(call, guest, stack)
        if made is None:
            return None
        steps += made
        place[call.edge] = len(steps)
    ends = [len(steps) if label == "output" else place.get(seen.edges[label], 0) for label in labels]
    members = 1 if stack is None else len(stack)
    return PlainChain(steps, ends, seen.entry[0].numel(), members) if all(ends) else None


def _steps(call: Call, guest: Guest, stack: Stack | None) -> list[Step] | None:
    # by name, since what was seen may be another network of the same architecture
    name = call.label.rsplit("#", 1)[0]
    whole = guest.module if stack is None else stack.network
    target = whole.get_submodule(name) if call.is_module else call.target
    if not isinstance(target, nn.Module):
        if not call.label:
            return []
        if function_name(target) is None or len(call.args) > 1 or "weight" in call.kwargs:
            return None
        kwargs = {k: v for k, v in call.kwargs.items() if k not in ("inplace", "input")}
        return [Pointwise(_function(target, kwargs), function_kinks(target, call.args, call.kwargs))]
    if isinstance(target, _PASSIVE):
        return []
    flat = call.source is not None and call.source.ndim == 2
    if isinstance(target, nn.Linear) and type(target).forward is nn.Linear.forward and flat:
        weight, bias = (_tensor(target, part, name, guest, stack) for part in ("weight", "bias"))
        return None if weight is None else [Affine(weight, bias)]
    if (
        isinstance(target, nn.BatchNorm1d)
        and flat
        and target.running_mean is not None
        and target.running_var is not None
    ):
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (_tensor(target, part, name, guest, stack) for part in parts)
        assert mean is not None and variance is not None
        factor = (variance + target.eps).rsqrt()
        shift = -mean * factor
        if weight is not None and bias is not None:
            factor, shift = factor * weight, shift * weight + bias
        return [Diagonal(factor, shift)]
    learned_or_random = isinstance(target, nn.PReLU) or (isinstance(target, nn.RReLU) and target.training)
    if is_elementwise(target) and not learned_or_random:
        return [Pointwise(target, module_kinks(target))]
    return None


def _function(function: Callable[..., Tensor], kwargs: dict[str, object]) -> Callable[[Tensor], Tensor]:
    return (lambda z: function(z, **kwargs)) if kwargs else function


def _tensor(module: nn.Module, part: str, name: str, guest: Guest, stack: Stack | None) -> Tensor | None:
    """A tensor of a module, with the members first; None where it has none, or a stack's cannot be told."""
    if stack is not None and is_parametrized(module, part):
        return torch.stack([getattr(m.get_submodule(name), part).detach() for m in stack.in_turn()]).to(guest.dtype)
    tensor = getattr(module, part) if stack is None else module._parameters.get(part, module._buffers.get(part))
    if tensor is None:
        return None
    return (tensor.detach() if stack is not None else tensor.detach()[None]).to(guest.dtype)
