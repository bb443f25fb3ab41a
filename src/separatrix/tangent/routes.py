"""Jacobians of any module: whole-batch forward mode, rows by reverse mode, or one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from separatrix.systems.guest import Guest
from separatrix.systems.modes import plain_kernels
from separatrix.tangent.chain_routes import LayerSpectrum
from separatrix.tangent.spectrum import Wanted, spectrum


@dataclass(frozen=True)
class Task:
    """What to differentiate: a model, the layers asked for, and the unit of each input coordinate."""

    guest: Guest
    labels: list[str]
    scale: Tensor
    wanted: Wanted
    without_rule: set[str] = field(default_factory=set)
    """Holds "fused" once a fused kernel was found to have no forward-mode rule."""

    @property
    def inner(self) -> set[str]:
        """Labels other than the output's."""
        return set(self.labels) - {"output"}

    def values(self, x: Tensor, entry: Tensor) -> list[Tensor]:
        """Values of the chosen layers for one batch, each (points, components), in the order of the labels."""
        # the model may work in place on what it is given
        entered = entry.clone()
        if self.guest.start is None:
            output, found = self.guest.tapped(entered, self.inner)
        else:
            output, found = self.guest.tapped(x, self.inner, entered)
        return [(output if label == "output" else found[label]).flatten(1) for label in self.labels]

    def finish(self, jacobians: list[Tensor], primals: list[Tensor]) -> Iterator[LayerSpectrum]:
        """Spectra of Jacobians given as (outputs, inputs, points)."""
        for place, (jacobian, primal) in enumerate(zip(jacobians, primals, strict=True)):
            yield LayerSpectrum(place, spectrum(jacobian, self.wanted), None, torch.isfinite(primal).all(1))


def forward_mode(task: Task, x: Tensor, directions: int) -> Iterator[LayerSpectrum]:
    """Carry all input directions through the whole batch at once, the primal computed once per block of directions.

    Cost: (1 + d) forward passes for d inputs. Needs a forward-mode rule for every operation of the model.
    """
    # forward mode makes tangents as large as the whole storage: a slice of a data set must not bring all of it along
    entry = task.guest.entry(x).clone()
    shape = entry.shape[1:]
    basis = torch.diag(task.scale).reshape(-1, *shape)

    def tangent(v: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        pushed = torch.func.jvp(lambda e: task.values(x, e), (entry,), (v.expand_as(entry),))
        return pushed[0], pushed[1]

    along = torch.func.vmap(tangent, out_dims=(None, 0), randomness="same")  # type: ignore[arg-type]
    blocks = []
    primals: list[Tensor] = []
    with torch.no_grad():
        for begin in range(0, len(basis), directions):
            part = basis[begin : begin + directions]
            try:
                with plain_kernels() if task.without_rule else nullcontext():
                    primals, pushed = along(part)
            except (RuntimeError, NotImplementedError):
                if task.without_rule:
                    raise
                with plain_kernels():
                    primals, pushed = along(part)
                task.without_rule.add("fused")
            blocks.append(pushed)
        columns = [torch.cat(parts).permute(2, 0, 1) for parts in zip(*blocks, strict=True)]
    return task.finish(columns, primals)


def reverse_mode(task: Task, x: Tensor, directions: int) -> Iterator[LayerSpectrum]:
    """Pull each output component of each chosen layer back through the whole batch.

    Cost: 1 forward pass and one backward pass per component; points must not influence one another.
    """
    del directions
    entry = task.guest.entry(x).detach().requires_grad_()
    values = task.values(x, entry)
    jacobians = []
    for value in values:
        rows = [_row(value[:, i].sum(), entry) for i in range(value.shape[1])]
        jacobians.append((torch.stack(rows).flatten(2) * task.scale).permute(0, 2, 1))
    return task.finish(jacobians, [v.detach() for v in values])


def sample_loop(task: Task, x: Tensor, directions: int) -> Iterator[LayerSpectrum]:
    """Reverse mode for one point after the other: for models whose points influence one another, or that branch."""
    parts = [list(reverse_mode(task, x[i : i + 1], directions)) for i in range(len(x))]
    for same in zip(*parts, strict=True):
        found = [part.spectrum for part in same]
        yield LayerSpectrum(
            same[0].place,
            type(found[0])(*(None if field[0] is None else torch.cat(field) for field in zip(*found, strict=True))),
            None,
            torch.cat([part.finite for part in same]),
        )


def _row(component: Tensor, entry: Tensor) -> Tensor:
    if component.grad_fn is None:
        return torch.zeros_like(entry)
    (row,) = torch.autograd.grad(component, entry, retain_graph=True, allow_unused=True)
    return torch.zeros_like(entry) if row is None else row


def bytes_per_point(
    activations: int, widths: list[int], directions: int, inputs: int, itemsize: int, reverse: bool, vectors: int
) -> int:
    """Working memory of one point: what the pass holds, and the Jacobians with their copies in float64.

    Parameters
    ----------
    activations : int
        Numbers in all values that the model computes for one point.
    widths : list of int
        Components of the chosen layers.
    directions, inputs : int
        Columns carried at once, and in all.
    """
    held = activations * itemsize * (3 if reverse else 2 * (1 + directions))
    jacobians = sum(widths) * inputs * itemsize * 2 + max(widths) * inputs * 8 * (4 if vectors else 3)
    return held + jacobians
