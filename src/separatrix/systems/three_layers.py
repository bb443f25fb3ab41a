"""Whether a network has three layers, input, hidden and output, and where its weights are in a vector."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.activations import function_name, is_elementwise
from separatrix.systems.chain import find_chain
from separatrix.systems.guest import Guest
from separatrix.systems.listing import anatomy
from separatrix.systems.squared_error import Factor
from separatrix.systems.trace import Call


@dataclass(frozen=True)
class ThreeLayers:
    """The network y = g(W2 f(W1 x + b1) + b2) with a squared loss, and the place of each weight.

    Attributes
    ----------
    weight1, weight2 : slice
        Of the weights (P,).
    bias1, bias2 : slice or None
    inputs, hidden, outputs : int
        Numbers of nodes.
    activation : callable
        f.
    readout : callable or None
        g; None for a linear output.
    factor : callable
        s of (rows, outputs), where the loss is s / 2 times the sum of squared errors.
    """

    weight1: slice
    bias1: slice | None
    weight2: slice
    bias2: slice | None
    inputs: int
    hidden: int
    outputs: int
    activation: Callable[[Tensor], Tensor]
    readout: Callable[[Tensor], Tensor] | None
    factor: Factor


def three_layers(network: nn.Module, x: Tensor, places: dict[str, slice], factor: Factor) -> ThreeLayers | None:
    """Read a network as linear, activation, linear and perhaps an activation; None where it is anything else.

    Parameters
    ----------
    network : nn.Module
    x : Tensor, shape (rows, inputs)
    places : dict
        Slice of the vector of weights for the name of every trained parameter.
    factor : callable
        As in :class:`ThreeLayers`.
    """
    if x.ndim != 2 or not x.is_floating_point() or len(places) != len(list(network.parameters())):
        return None
    if any(isinstance(m, nn.modules.dropout._DropoutNd | nn.RReLU) and m.training for m in network.modules()):
        return None
    network = copy.deepcopy(network).eval()
    names = {id(p): name for name, p in network.named_parameters()}
    try:
        guest = Guest(network, dtype=x.dtype)
        with guest.visit():
            seen = anatomy(guest, x[:2])
            calls = find_chain(seen.trace.top, (seen.entry, seen.entry_edge), (seen.output_value, seen.output_edge))
    except (ArgumentError, RuntimeError):
        return None  # whatever it is, it is no plain chain
    if calls is None or seen.trace.branches:
        return None
    kinds = [call for call in calls if not isinstance(call.target, nn.Identity | nn.modules.dropout._DropoutNd)]
    if len(kinds) not in (3, 4) or not all(_is_linear(call, names) for call in kinds[:3:2]):
        return None
    if not all(_is_activation(call) for call in kinds[1::2]):
        return None
    first: Any = kinds[0].target
    last: Any = kinds[2].target
    if first.weight is last.weight:
        return None

    def place(parameter: Tensor | None) -> slice | None:
        return None if parameter is None else places[names[id(parameter)]]

    return ThreeLayers(
        places[names[id(first.weight)]],
        place(first.bias),
        places[names[id(last.weight)]],
        place(last.bias),
        first.in_features,
        first.out_features,
        last.out_features,
        kinds[1].target,
        kinds[3].target if len(kinds) == 4 else None,
        factor,
    )


def _is_linear(call: Call, names: dict[int, str]) -> bool:
    target: Any = call.target
    exact = isinstance(target, nn.Linear) and type(target).forward is nn.Linear.forward
    return exact and id(target.weight) in names and call.source is not None and call.source.ndim == 2


def _is_activation(call: Call) -> bool:
    target = call.target
    if isinstance(target, nn.Module):
        return is_elementwise(target) and not isinstance(target, nn.PReLU | nn.RReLU)
    plain = len(call.args) == 1 and not set(call.kwargs) - {"input"}
    return plain and bool(call.label) and function_name(target) is not None
