"""Plain multilayer networks: recognised in a trace, and reduced to matrices and pointwise functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from separatrix.systems.activations import Kinks, function_kinks, function_name, is_elementwise, module_kinks
from separatrix.systems.chain import find_chain
from separatrix.systems.guest import Guest
from separatrix.systems.listing import Anatomy
from separatrix.systems.trace import Call

_PASSIVE = (nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Affine:
    """z -> weight z + bias."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Diagonal:
    """z -> factor * z + shift, component by component."""

    factor: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Pointwise:
    """z -> activation(z), component by component, not differentiable at ``kinks``."""

    activation: Callable[[Tensor], Tensor]
    kinks: Kinks


Step = Affine | Diagonal | Pointwise


@dataclass(frozen=True)
class PlainChain:
    """The steps of a plain network, and after how many of them each chosen layer ends."""

    steps: list[Step]
    ends: list[int]
    inputs: int

    @property
    def widths(self) -> list[int]:
        """Number of components after each step; steps before the first matrix are left out."""
        return [len(s.weight) if isinstance(s, Affine) else 0 for s in self.steps]

    def width_before(self, end: int) -> int:
        """Number of components of the value that the first ``end`` steps give, where the last is not a matrix."""
        for step in reversed(self.steps[:end]):
            if isinstance(step, Affine):
                return len(step.weight)
            if isinstance(step, Diagonal):
                return len(step.factor)
        return self.inputs

    @property
    def weight_layers(self) -> int:
        """Number of matrices."""
        return sum(isinstance(s, Affine) for s in self.steps)


def plain_chain(guest: Guest, seen: Anatomy, labels: list[str]) -> PlainChain | None:
    """Reduce a network to matrices and pointwise functions, or None when it is anything more.

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
        made = _steps(call, guest)
        if made is None:
            return None
        steps += made
        place[call.edge] = len(steps)
    ends = [len(steps) if label == "output" else place.get(seen.edges[label], 0) for label in labels]
    return PlainChain(steps, ends, seen.entry[0].numel()) if all(ends) else None


def _steps(call: Call, guest: Guest) -> list[Step] | None:
    dtype = guest.dtype
    # by name, since what was seen may be another network of the same architecture
    target = guest.module.get_submodule(call.label.rsplit("#", 1)[0]) if call.is_module else call.target
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
        bias = None if target.bias is None else target.bias.detach().to(dtype)
        return [Affine(target.weight.detach().to(dtype), bias)]
    if (
        isinstance(target, nn.BatchNorm1d)
        and flat
        and target.running_mean is not None
        and target.running_var is not None
    ):
        factor = (target.running_var + target.eps).rsqrt()
        shift = -target.running_mean * factor
        if target.weight is not None:
            factor, shift = factor * target.weight.detach(), shift * target.weight.detach() + target.bias.detach()
        return [Diagonal(factor.to(dtype), shift.to(dtype))]
    learned_or_random = isinstance(target, nn.PReLU) or (isinstance(target, nn.RReLU) and target.training)
    if is_elementwise(target) and not learned_or_random:
        return [Pointwise(target, module_kinks(target))]
    return None


def _function(function: Callable[..., Tensor], kwargs: dict[str, object]) -> Callable[[Tensor], Tensor]:
    return (lambda z: function(z, **kwargs)) if kwargs else function
