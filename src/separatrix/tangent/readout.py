"""Whether a network ends in a linear readout, and which."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.listing import Anatomy


@dataclass(frozen=True)
class Readout:
    """Outputs z = W h + b of the values h of a hidden layer.

    Attributes
    ----------
    label : str
        The hidden layer.
    weight : Tensor, shape (outputs, width)
    bias : Tensor, shape (outputs,)
    """

    label: str
    weight: Tensor
    bias: Tensor

    def error(self, hidden: Tensor, output: Tensor) -> float:
        """Largest deviation of the outputs from W h + b, relative to the largest output."""
        size = output.abs().amax().clamp(min=torch.finfo(output.dtype).tiny)
        return float((output - hidden @ self.weight.T - self.bias).abs().amax() / size)


def find_readout(seen: Anatomy) -> Readout | None:
    """Readout from the last hidden layer, or None where no cut comes before the output.

    The weights are the derivative of the outputs by the hidden values at one point: whether the readout is linear has
    to be tested with :meth:`Readout.error` at others. Cost: a reverse pass for each output.
    """
    try:
        label = seen.select("hidden")[-1].label
    except ArgumentError:
        return None
    hidden = [call.value for call in seen.trace.calls if call.label == label][-1]
    output = seen.output_value.flatten(1)
    if hidden is None or not output.requires_grad:
        return None
    rows = []
    for column in range(output.shape[1]):
        (row,) = torch.autograd.grad(output[0, column], hidden, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros_like(hidden[0]).flatten() if row is None else row[0].flatten())
    weight = torch.stack(rows).double()
    bias = output[0].detach().double() - weight @ hidden[0].detach().flatten().double()
    return Readout(label, weight, bias)
