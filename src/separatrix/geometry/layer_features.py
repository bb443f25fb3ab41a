"""Where the features of the layers come from: a network, a stack of networks, or the caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.ensembles.stack import Stack
from separatrix.geometry.activations import activations
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes

_DEFAULTS = ("hidden", "all")


@dataclass(frozen=True)
class Given:
    """Features that the caller has, each (members, points, features)."""

    values: dict[str, Tensor]

    @property
    def labels(self) -> list[str]:
        """Names of the layers, in their order."""
        return list(self.values)

    @property
    def members(self) -> int:
        """Number of networks."""
        return len(next(iter(self.values.values())))

    @property
    def points(self) -> int:
        """Number of points."""
        return int(next(iter(self.values.values())).shape[1])

    def of_member(self, member: int) -> Iterator[tuple[str, Tensor]]:
        """Label and features (points, features) of each layer."""
        return ((label, value[member]) for label, value in self.values.items())


@dataclass(frozen=True)
class Computed:
    """Features that a network computes, member by member, as many layers at once as fit into the budget."""

    model: Any
    X: Tensor
    labels: list[str]
    widths: list[int]
    budget: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def members(self) -> int:
        """Number of networks."""
        return len(self.model) if isinstance(self.model, Stack) else 1

    @property
    def points(self) -> int:
        """Number of points."""
        return len(self.X)

    def of_member(self, member: int) -> Iterator[tuple[str, Tensor]]:
        """Label and features (points, features) of each layer."""
        for group in self._groups():
            # a view of the stack's weights, which must not outlive the next one
            module = next(self.model.in_turn([member])) if isinstance(self.model, Stack) else self.model
            values = activations(module, self.X, group, memory=self.budget, **self.options)
            for label in group:
                yield label, values.pop(label)

    def network(self, member: int) -> nn.Module:
        """One member as a module, for a twin to be made of."""
        module = self.model[member] if isinstance(self.model, Stack) else self.model
        if not isinstance(module, nn.Module):
            raise ArgumentError("untrained", "a model that is no nn.Module", "a function has no untrained twin")
        return module

    def _groups(self) -> list[list[str]]:
        groups: list[list[str]] = []
        used = self.budget
        for label, width in zip(self.labels, self.widths, strict=True):
            # float64 at most; a copy each is centred by whoever looks for neighbours
            size = 8 * width * len(self.X)
            if used + size > self.budget // 2:
                groups.append([])
                used = 0
            groups[-1].append(label)
            used += size
        return groups


def layer_features(
    model_or_layers: Any, X: Any, layers: Any, *, reduce: str, output: Any, start: str | None, memory: Any
) -> Given | Computed:
    """Tell a network from features, and find out which layers there are.

    Raises
    ------
    ArgumentError
        If it is neither, if a network comes without points or features with them, if layers differ in points or
        members, or if :func:`separatrix.activations` refuses.
    """
    if isinstance(model_or_layers, Mapping | list | tuple):
        if X is not None or (isinstance(layers, str) and layers not in _DEFAULTS):
            name, got = ("X", "points") if X is not None else ("layers", repr(layers))
            raise ArgumentError(name, f"{got} beside features", "leave it out: the features are the layers")
        return _given(model_or_layers, layers)
    if not callable(model_or_layers):
        raise ArgumentError(
            "model_or_layers", type(model_or_layers).__name__, "give a network, or a list or dict of layer features"
        )
    if X is None:
        raise ArgumentError("X", "nothing", "give the points at which the network is looked at")
    X = torch.as_tensor(X).detach()
    options = {"reduce": reduce, "output": output, "start": start}
    first = next(model_or_layers.in_turn([0])) if isinstance(model_or_layers, Stack) else model_or_layers
    found = activations(first, X[:2], layers, **options)
    budget = parse_bytes(memory)
    return Computed(model_or_layers, X, list(found), [v.shape[1] for v in found.values()], budget, options)


def _given(values: Mapping[str, Any] | Sequence[Any], layers: Any) -> Given:
    named = dict(values) if isinstance(values, Mapping) else {str(i): value for i, value in enumerate(values)}
    if not isinstance(layers, str):
        absent = [name for name in layers if name not in named]
        if absent:
            raise ArgumentError("layers", repr(absent[0]), f"the features are of {', '.join(map(str, named))}")
        named = {name: value for name, value in named.items() if name in layers}
    if not named:
        raise ArgumentError("model_or_layers", "no layers", "give the features of at least one layer")
    found = {str(name): _three(str(name), value) for name, value in named.items()}
    shapes = {tuple(value.shape[:2]) for value in found.values()}
    if len(shapes) > 1:
        raise ArgumentError(
            "model_or_layers",
            f"layers of (members, points) {sorted(shapes)}",
            "give the same points at every layer, one row each",
        )
    return Given(found)


def _three(name: str, value: Any) -> Tensor:
    try:
        value = value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except TypeError as error:
        raise ArgumentError("model_or_layers", f"{type(value).__name__} at {name!r}", "give tensors") from error
    if value.ndim == 1:
        value = value[:, None]
    if value.ndim not in (2, 3) or 0 in value.shape or value.is_complex():
        raise ArgumentError(
            "model_or_layers",
            f"{value.dtype} of shape {tuple(value.shape)} at {name!r}",
            "give (points, features), or (members, points, features) as sx.activations does for a stack",
        )
    return value.cpu() if value.ndim == 3 else value.cpu()[None]
