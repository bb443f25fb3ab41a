"""Recurrent cells and layers as functions of one state and one input, so that they can be driven by a recording."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError


class Recurrent(nn.Module):
    """A recurrent cell or module of torch's as x+ = f(x, u), with h, or h and c, in one state.

    Parameters
    ----------
    cell : nn.RNNCell, nn.GRUCell, nn.LSTMCell, nn.RNN, nn.GRU or nn.LSTM
        Its own weights are used, one time step at a call. A module may have several layers and a projection.

    Attributes
    ----------
    dim : int
        Components of the state: h of the first layer, of the second, and so on; then, for an LSTM, c in the same order.
    inputs : int
        Components of the input.

    Raises
    ------
    ArgumentError
        If ``cell`` is none of these, or reads its input from both ends (``bidirectional``).

    Notes
    -----
    A plain RNN is written out as affine maps and its activation, so that what looks into a network
    (:func:`separatrix.affine`, :func:`separatrix.certify`) sees them; the others are called as they are.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> f = sx.systems.Recurrent(torch.nn.LSTM(2, 5, num_layers=2))
    >>> f.dim, f(torch.zeros(3, f.dim), torch.zeros(3, 2)).shape
    (20, torch.Size([3, 20]))
    """

    def __init__(self, cell: Any) -> None:
        super().__init__()
        inner = getattr(cell, "_orig_mod", cell)  # what torch.compile was given
        if not is_recurrent(inner):
            raise ArgumentError(
                "cell", type(cell).__name__, "give an RNN, GRU or LSTM of torch.nn, or one of its cells"
            )
        if getattr(inner, "bidirectional", False):
            got = f"a bidirectional {type(inner).__name__}"
            raise ArgumentError(
                "cell", got, "it also reads from the end, and has no state that moves in time; use sx.ftle"
            )
        self.cell = cell
        self.layers = inner.num_layers if isinstance(inner, nn.RNNBase) else 0
        self.inputs = int(inner.input_size)
        self._module = isinstance(inner, nn.RNNBase)
        self._batch_first = bool(getattr(inner, "batch_first", False))
        self._widths = [getattr(inner, "proj_size", 0) or inner.hidden_size]
        if isinstance(inner, nn.LSTM | nn.LSTMCell):
            self._widths.append(inner.hidden_size)
        self._plain = isinstance(inner, nn.RNN | nn.RNNCell)
        self.dim = max(1, self.layers) * sum(self._widths)

    def forward(self, x: Float[Tensor, "B n"], u: Float[Tensor, "B m"]) -> Float[Tensor, "B n"]:
        """Return the next states from states and inputs."""
        for name, value, wanted in (("state", x, self.dim), ("u", u, self.inputs)):
            if value.shape[-1] != wanted:
                kind = type(self.cell).__name__
                raise ArgumentError(name, f"{value.shape[-1]} components", f"this {kind} takes {wanted}")
        if self._plain:
            return self._written_out(x, u)
        if not self._module:
            return self.pack(self.cell(u, self.unpack(x)))
        _, state = self.cell(u[:, None] if self._batch_first else u[None], self.unpack(x))
        return self.pack(state)

    def pack(self, state: Tensor | tuple[Tensor, Tensor]) -> Float[Tensor, "B n"]:
        """Put h, or (h, c), as the cell returns it, (B, H) or (layers, B, H), into states (B, n)."""
        parts = state if isinstance(state, tuple) else (state,)
        return torch.cat([part.transpose(0, 1).flatten(1) if self._module else part for part in parts], dim=1)

    def unpack(self, x: Float[Tensor, "B n"]) -> Any:
        """Return h, or (h, c), as the cell takes it, from states (B, n)."""
        parts = x.split([max(1, self.layers) * width for width in self._widths], dim=1)
        if self._module:
            parts = tuple(part.unflatten(1, (self.layers, -1)).transpose(0, 1).contiguous() for part in parts)
        return parts if len(parts) == 2 else parts[0]

    def _written_out(self, x: Tensor, u: Tensor) -> Tensor:
        activation = torch.relu if self.cell.nonlinearity == "relu" else torch.tanh
        values = []
        for layer, h in enumerate(x.split(self._widths[0], dim=1)):
            own = [self._weight(f"{name}_{of}", layer) for name in ("weight", "bias") for of in ("ih", "hh")]
            u = activation(F.linear(u, own[0], own[2]) + F.linear(h, own[1], own[3]))
            values.append(u)
        return torch.cat(values, dim=1) if len(values) > 1 else values[0]

    def _weight(self, name: str, layer: int) -> Any:
        return getattr(self.cell, f"{name}_l{layer}" if self._module else name, None)


def is_recurrent(f: object) -> bool:
    """Whether this is one of torch's recurrent cells or modules."""
    return isinstance(f, nn.RNN | nn.GRU | nn.LSTM | nn.RNNCell | nn.GRUCell | nn.LSTMCell)


def size_of_state(network: Recurrent, u: Any, dim: int | None, shape: tuple[int, ...] | None) -> int:
    """Components of a recurrent network's state, where the sizes that were asked for and the input's are its own.

    Raises
    ------
    ArgumentError
        If they are not. The input may be a tensor (m,) or (T, m), or a policy.
    """
    kind = type(getattr(network.cell, "_orig_mod", network.cell)).__name__
    if dim not in (None, network.dim) or shape not in (None, (network.dim,)):
        name, value = ("dim", dim) if shape is None else ("shape", shape)
        raise ArgumentError(name, repr(value), f"a state of this {kind} has {network.dim} components; leave it out")
    if isinstance(u, Tensor) and u.shape[-1] != network.inputs:
        remedy = f"this {kind} takes {network.inputs} inputs: give (T, {network.inputs}), a row for each step"
        raise ArgumentError("u", f"shape {tuple(u.shape)}", remedy)
    return network.dim
