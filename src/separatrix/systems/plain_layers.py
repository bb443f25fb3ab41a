"""Whether a network is linear layers and elementwise activations, one after another, and which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from separatrix.systems.activations import function_name, is_elementwise
from separatrix.systems.chain import find_chain
from separatrix.systems.guest import Guest
from separatrix.systems.listing import anatomy, prepare
from separatrix.systems.trace import Call


@dataclass(frozen=True)
class Linear:
    """x -> weight x + bias; the names of the parameters."""

    weight: str
    bias: str | None


@dataclass(frozen=True)
class Activation:
    """An elementwise function."""

    function: Callable[[Tensor], Tensor]


Plain = list[Linear | Activation]


def plain_layers(network: nn.Module, x: Tensor, dtype: torch.dtype | None = None) -> Plain | None:
    """Read a network as linear layers and elementwise activations, or None where it is anything more.

    Parameters
    ----------
    network : nn.Module
        It is left as it was.
    x : Tensor, shape (rows, inputs)
        One or two rows of them are passed through.
    dtype : torch.dtype, optional
        Precision of that pass; the network's when left out.

    Raises
    ------
    ArgumentError
        As :func:`separatrix.layers`, for a network that rejects the rows or cannot be followed.
    """
    if any(isinstance(m, nn.modules.dropout._DropoutNd | nn.RReLU) and m.training for m in network.modules()):
        return None
    names = {id(p): name for name, p in network.named_parameters()}
    training = [m for m in network.modules() if m.training]
    network.eval()
    try:
        guest = Guest(network, dtype=dtype)
        with guest.visit():
            seen = anatomy(guest, prepare(guest, x[:2]))
            calls = find_chain(seen.trace.top, (seen.entry, seen.entry_edge), (seen.output_value, seen.output_edge))
    finally:
        for module in training:
            module.training = True
    if calls is None or seen.trace.branches or x[0].ndim != 1:
        return None
    found: Plain = []
    for call in calls:
        target = call.target
        if isinstance(target, nn.Linear) and type(target).forward is nn.Linear.forward:
            own = [p for p in (target.weight, target.bias) if p is not None]
            # a parametrised weight or bias is no parameter
            if any(id(p) not in names for p in own) or call.source is None or call.source.ndim != 2:
                return None
            found.append(Linear(names[id(target.weight)], None if target.bias is None else names[id(target.bias)]))
        elif isinstance(target, nn.Identity | nn.modules.dropout._DropoutNd):
            continue
        elif _is_activation(call):
            found.append(Activation(target))
        else:
            return None
        # an activation works in place on what a linear layer gave, which nobody else may need
        if isinstance(found[-1], Activation) and (len(found) == 1 or isinstance(found[-2], Activation)):
            return None
    return found or None


def _is_activation(call: Call) -> bool:
    target = call.target
    if isinstance(target, nn.Module):
        return is_elementwise(target) and not isinstance(target, nn.PReLU | nn.RReLU)
    plain = len(call.args) == 1 and not set(call.kwargs) - {"input"}
    return plain and bool(call.label) and function_name(target) is not None
