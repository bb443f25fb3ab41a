"""Whether a network has three layers, input, hidden and output, and where its weights are in a vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.plain_layers import Activation, Linear, plain_layers
from separatrix.systems.squared_error import Factor


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
    try:
        layers = plain_layers(network, x, x.dtype)
    except (ArgumentError, RuntimeError):
        return None  # whatever it is, it is no plain chain
    match layers:
        case [Linear() as first, Activation() as inner, Linear() as last]:
            readout = None
        case [Linear() as first, Activation() as inner, Linear() as last, Activation() as outer]:
            readout = outer.function
        case _:
            return None
    if first.weight == last.weight:
        return None
    hidden, inputs = network.get_parameter(first.weight).shape
    return ThreeLayers(
        places[first.weight],
        None if first.bias is None else places[first.bias],
        places[last.weight],
        None if last.bias is None else places[last.bias],
        inputs,
        hidden,
        len(network.get_parameter(last.weight)),
        inner.function,
        readout,
        factor,
    )
