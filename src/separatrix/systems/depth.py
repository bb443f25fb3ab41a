"""A network along depth: layer after layer as the steps of a system."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.chain import find_chain, replay
from separatrix.systems.guest import Guest
from separatrix.systems.listing import Anatomy, anatomy
from separatrix.systems.protocol import System


class Depth(System):
    """A chain of layers as a dynamical system; step t carries the state from one layer's end to the next.

    Parameters
    ----------
    model : nn.Module
        A network in which every chosen layer is a cut: everything from input to output passes through it.
    layers : str or list of str, default "all"
        Where the steps end: ``"all"`` (each weight layer with its normalisation and activation, then the output) or
        labels as in :func:`separatrix.layers`. The output always ends the last step.
    input_shape : tuple of int, optional
        Shape of one input; found without help when the first parametrised module is linear.

    Attributes
    ----------
    labels : list of str
        The layer that each step ends in.
    horizon : int
        The number of steps.

    Raises
    ------
    ArgumentError
        If the model is no such chain. :func:`separatrix.ftle` handles any module.

    Notes
    -----
    The composed steps are compared with the model's own forward pass on random points when the system is built. The
    steps hold the model's parameters as they are then. Cost of a step: that part of a forward pass; of a tangent step
    with k tangents: (1 + k) of them.
    """

    def __init__(
        self, model: nn.Module, layers: str | list[str] = "all", *, input_shape: tuple[int, ...] | None = None
    ) -> None:
        guest = Guest(model)
        shape = input_shape if input_shape is not None else _guess_input_shape(guest.module)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
        x = x.to(device=guest.device or "cpu", dtype=guest.dtype or torch.float64)
        with guest.visit():
            try:
                seen = anatomy(guest, x)
            except RuntimeError as error:
                raise ArgumentError(
                    "input_shape", f"{shape}, which the model rejects ({error})", "give the shape of one input"
                ) from error
            groups, self.labels = _segments(seen, layers)
            self._segments = [[replay(call, guest.dtype) for call in group] for group in groups]
            assert all(group[-1].value is not None for group in groups)
            self._shapes = [
                shape,
                *(tuple(group[-1].value.shape[1:]) for group in groups if group[-1].value is not None),
            ]
            self.horizon = len(self._segments)
            self._check(guest, x)

    def dim(self, t: int) -> int:
        """Number of components of the state before step t (after the last one: of the output)."""
        if not 0 <= t <= len(self._segments):
            raise ArgumentError("t", str(t), f"this network has steps 0 to {len(self._segments) - 1}")
        return math.prod(self._shapes[t])

    def step(self, state: Float[Tensor, "*batch n"], t: int) -> Float[Tensor, "*batch m"]:
        """Carry states through the layers of step t."""
        if not 0 <= t < len(self._segments):
            raise ArgumentError("t", str(t), f"this network has steps 0 to {len(self._segments) - 1}")
        if state.shape[-1] != self.dim(t):
            raise ArgumentError("state", f"{state.shape[-1]} components", f"step {t} takes {self.dim(t)}")
        value = state.reshape(-1, *self._shapes[t])
        for part in self._segments[t]:
            value = part(value)
        return value.reshape(*state.shape[:-1], -1)

    def _check(self, guest: Guest, x: Tensor) -> None:
        direct = guest(x).flatten(1)
        state = x.flatten(1)
        for t in range(len(self._segments)):
            state = self.step(state, t)
        error = (state - direct).abs().max().item()
        if not error <= 100 * torch.finfo(direct.dtype).eps * max(1.0, direct.abs().max().item()):
            raise ArgumentError(
                "model",
                f"a forward pass that differs from its composed layers by {error:.2g}",
                "Depth takes chains of layers that everything passes through; use ftle for any other module",
            )


def _segments(seen: Anatomy, layers: str | list[str]) -> tuple[list, list[str]]:
    start = (seen.entry, seen.entry_edge)
    steps = find_chain(seen.trace.top, start, (seen.output_value, seen.output_edge))
    if steps is None:
        raise ArgumentError(
            "model",
            f"a {seen.kind} whose layers are no chain: between them the signal branches, or is indexed or combined",
            "Depth takes chains of layers that everything passes through (put a residual branch, or an x[:, -1], into "
            "a module of its own); ftle handles any module",
        )
    chosen = [r for r in seen.select(layers) if r.label != "output"]
    off = [r.label for r in chosen if not r.cut]
    if off and layers != "all":
        raise ArgumentError(
            "layers", repr(off), "another path leads around these layers; ftle computes them all the same"
        )
    ends: dict[int, str] = {}
    for layer in chosen:
        place = next((i for i, s in enumerate(steps) if s.edge == seen.edges[layer.label]), None)
        if layer.cut and place is not None:
            ends[place] = layer.label
    ends[len(steps) - 1] = "output"
    groups, begin = [], 0
    for end in sorted(ends):
        groups.append(steps[begin : end + 1])
        begin = end + 1
    return groups, [ends[end] for end in sorted(ends)]


def _guess_input_shape(module: nn.Module) -> tuple[int, ...]:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            return (part.in_features,)
        if next(part.parameters(recurse=False), None) is not None:
            break
    raise ArgumentError(
        "input_shape", "None", "the first layer is not linear: give the shape of one input, such as (1, 28, 28)"
    )
