"""Points of the input space that a boundary, or a batch of points, stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.tangent.inputs import as_inputs
from separatrix.tangent.outputs import Outputs


@dataclass(frozen=True)
class Places:
    """Points, and the pair of classes of each where the boundary says it.

    Attributes
    ----------
    coordinates : Tensor, shape (points, axes)
        Multiples of the basis; the whole input where there is none.
    origin : Tensor, shape of one input
    basis : Tensor or None, shape (axes, *input)
    classes : Tensor or None, shape (points, 2)
        Pair of classes, -1 for a scalar output; None where it is open.
    level : float
    """

    coordinates: Tensor
    origin: Tensor
    basis: Tensor | None
    classes: Tensor | None
    level: float = 0.0

    def __len__(self) -> int:
        return len(self.coordinates)

    def inputs(self, part: slice) -> Tensor:
        """Points of the input space (points, *input)."""
        chosen = self.coordinates[part]
        if self.basis is None:
            return chosen
        return self.origin + torch.einsum("pa,a...->p...", chosen, self.basis)

    def few(self, count: int) -> Tensor:
        """Some points to try a model with, also where there are fewer, or none."""
        if not len(self):
            return self.origin.expand(count, *self.origin.shape).clone()
        chosen = torch.linspace(0, len(self) - 1, count).long()
        return torch.cat([self.inputs(slice(i, i + 1)) for i in chosen.tolist()])

    def pair(self, outputs: Outputs) -> Tensor:
        """Two columns of the outputs to compare at each point."""
        if outputs.scalar:
            if self.classes is not None and bool((self.classes >= 0).any()):
                raise ArgumentError(
                    "at", "a boundary between classes", "the model has one output; use its own boundary"
                )
            return torch.tensor([0, 1]).expand(len(self), 2)
        if self.classes is not None:
            if len(self) and (int(self.classes.min()) < 0 or int(self.classes.max()) >= outputs.columns):
                raise ArgumentError(
                    "at",
                    "a boundary of other classes",
                    f"the model has {outputs.columns} outputs; use its own boundary",
                )
            return self.classes
        found = []
        with torch.no_grad():
            for begin in range(0, len(self), 4096):
                found.append(outputs(self.inputs(slice(begin, begin + 4096))).topk(2).indices.cpu())
        return torch.cat(found).sort(dim=1).values


def as_places(at: Any) -> Places:
    """Read the points of a boundary, or check a batch of points.

    Raises
    ------
    ArgumentError
        If it is neither, or if the boundary lacks what its points are made of.
    """
    if not hasattr(at, "data_vars"):
        values = as_inputs(at, tokens=False).points()
        if not isinstance(at, Tensor | np.ndarray):
            raise ArgumentError("at", type(at).__name__, "give sx.decision_boundary(...) or a tensor of points")
        return Places(values, torch.zeros_like(values[0]), None, None)
    lacking = [name for name in ("position", "start", "count", "first", "second") if name not in at]
    if lacking:
        raise ArgumentError("at", f"a Dataset without {', '.join(lacking)}", "give what sx.decision_boundary returned")
    position = torch.from_numpy(np.array(at["position"].values, dtype=np.float64))
    classes = torch.full((len(position), 2), -1)
    for start, count, *pair in zip(*(at[name].values for name in ("start", "count", "first", "second")), strict=True):
        classes[int(start) : int(start) + int(count)] = torch.tensor([int(c) for c in pair])
    level = float(at.attrs.get("level", 0.0))
    if "origin" not in at:
        return Places(position, torch.zeros(position.shape[1], dtype=torch.float64), None, classes, level)
    shape = tuple(int(n) for n in np.atleast_1d(at.attrs.get("input_shape", at["origin"].shape)))
    origin = torch.from_numpy(np.array(at["origin"].values, dtype=np.float64)).reshape(shape)
    basis = torch.from_numpy(np.array(at["basis"].values, dtype=np.float64)).reshape(-1, *shape)
    return Places(position, origin, basis, classes, level)
