"""Where the trained weights of a network are in one vector, and what stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError


class WeightPlaces:
    """The trained parameters of a network as one vector (P,), in the order of ``named_parameters``.

    Parameters
    ----------
    network : nn.Module
    trained : collection of str, optional
        Names of the parameters to train; those that require gradients when left out.
    dtype : torch.dtype
        Of the vector; frozen parameters and floating-point buffers are brought to it, too.

    Attributes
    ----------
    slices : dict
        Slice of the vector for each name.
    shapes : dict
    count : int
        P.

    Raises
    ------
    ArgumentError
        If there is nothing to train, parameters are complex, uninitialised or on several devices.
    """

    def __init__(self, network: nn.Module, trained: Collection[str] | None, dtype: torch.dtype) -> None:
        named = dict(network.named_parameters())
        for name, parameter in (named | dict(network.named_buffers())).items():
            if nn.parameter.is_lazy(parameter):
                raise ArgumentError(
                    "model", f"the uninitialised lazy parameter {name!r}", "run one batch through it first"
                )
        chosen = [name for name, p in named.items() if (p.requires_grad if trained is None else name in trained)]
        if not chosen:
            raise ArgumentError("model", "a network without trainable parameters", "unfreeze some")
        for name in chosen:
            if not named[name].is_floating_point():
                raise ArgumentError(
                    "model", f"the {named[name].dtype} parameter {name!r}", "freeze it, or use real ones"
                )
        devices = {p.device for p in named.values()}
        if len(devices) > 1:
            raise ArgumentError("model", f"parameters on {sorted(map(str, devices))}", "bring them to one device")
        self.device = devices.pop()
        self.dtype = dtype
        self.shapes = {name: named[name].shape for name in chosen}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        ends = torch.tensor([0, *self.sizes]).cumsum(0).tolist()
        self.slices = {name: slice(a, b) for name, a, b in zip(chosen, ends, ends[1:], strict=False)}
        self.count = ends[-1]
        fixed = {name: p for name, p in named.items() if name not in self.shapes}
        self._fixed = {name: self._converted(t) for name, t in fixed.items()}
        self._buffers = {name: self._converted(t) for name, t in network.named_buffers()}

    def _converted(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().clone()
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def named(self, weights: Tensor) -> dict[str, Tensor]:
        """Weights (*batch, P) as views by name, (*batch, *shape)."""
        parts = weights.split(self.sizes, -1)
        return {
            name: part.unflatten(-1, shape) if shape else part.squeeze(-1)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def constants(self) -> dict[str, Tensor]:
        """Frozen parameters and buffers by name; buffers as copies, which a forward pass may change."""
        return self._fixed | {name: buffer.clone() for name, buffer in self._buffers.items()}

    def vector(self, network: nn.Module) -> Tensor:
        """Weights (P,) that a network of this architecture has now.

        Raises
        ------
        ArgumentError
            If its parameters have other names or shapes.
        """
        named = dict(network.named_parameters())
        for name, shape in self.shapes.items():
            if name not in named or named[name].shape != shape:
                got = "no such parameter" if name not in named else f"shape {tuple(named[name].shape)}"
                raise ArgumentError(
                    "model", f"{got} for {name!r}", f"give the architecture of the system: {tuple(shape)}"
                )
        values = [named[name].detach().to(self.dtype).flatten() for name in self.shapes]
        return torch.cat(values).to(self.device)

    def module(self, network: nn.Module, weights: Tensor) -> nn.Module:
        """Copy a network, in the vector's dtype, with weights (P,)."""
        copied = copy.deepcopy(network).to(self.dtype)
        named = dict(copied.named_parameters())
        with torch.no_grad():
            for name, value in self.named(weights).items():
                named[name].copy_(value)
        return copied

    def labels(self) -> list[str]:
        """Name of every weight, such as "0.weight[2, 1]"."""
        found: list[str] = []
        for name, shape in self.shapes.items():
            places = torch.cartesian_prod(*(torch.arange(n) for n in shape)).reshape(-1, len(shape)) if shape else None
            found += [name] if places is None else [f"{name}{place}" for place in places.tolist()]
        return found
