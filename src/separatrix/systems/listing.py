"""Which layers a model has: every call in execution order, and which of them are cuts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from separatrix.results.errors import ArgumentError
from separatrix.systems.graph import DerivativeGraph, Edge, edge_of
from separatrix.systems.guest import Guest, Output
from separatrix.systems.modes import is_foreign
from separatrix.systems.trace import Call, Trace, record

_NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)
_PASSIVE = (nn.Flatten, nn.Unflatten, nn.Identity, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Layer:
    """One call that a model makes.

    Attributes
    ----------
    label : str
        ``name#call``: the module's path (for a functional activation, its owner's path and the function's name) and
        how many times it has been called.
    kind : str
        Class of the module, or name of the function.
    shape : tuple of int
        Shape of the value, without the batch.
    depth : int
        Largest number of weight layers on a path from the input to the value, this one included; 0 where the value
        does not depend on the input. ``F.linear`` and the like on a parameter, which may be tied, count as well.
    cut : bool
        Whether everything from input to output passes through the value.
    """

    label: str
    kind: str
    shape: tuple[int, ...]
    depth: int
    cut: bool


class Layers(list[Layer]):
    """A list of :class:`Layer` that prints as a table."""

    def __str__(self) -> str:
        rows = [("label", "kind", "shape", "depth", "cut")]
        rows += [
            (r.label, r.kind, "x".join(map(str, r.shape)) or "-", str(r.depth), "yes" if r.cut else "") for r in self
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    __repr__ = __str__


@dataclass
class Anatomy:
    """A model's calls, with their depth, as seen in one forward pass of a few points."""

    trace: Trace
    listing: Layers
    output: Tensor
    output_depth: int
    output_value: Tensor
    output_edge: Edge | None
    entry: Tensor
    entry_edge: Edge | None
    kind: str
    edges: dict[str, Edge | None]
    apart: frozenset[str] = frozenset()
    """Calls whose value has the size of the batch first, and is not in the order of the batch."""

    def is_batch_first(self, label: str) -> bool:
        """Whether the first dimension of a call's value is the batch: it has its size, and follows it."""
        if label in self.apart:
            return False
        values = [call.value for call in self.trace.calls if call.label == label]
        return all(v is not None and v.ndim > 0 and len(v) == len(self.entry) for v in values)

    def endpoints(self) -> list[Layer]:
        """The end of each layer before the output: a weight layer with its normalisation and activation counts once.

        At each depth that is the last call that is a cut, or the last call where there is no cut.
        """
        found = []
        passive = {call.label for call in self.trace.calls if isinstance(call.target, _PASSIVE)}
        for depth in range(1, self.output_depth):
            group = [r for r in self.listing if r.depth == depth and r.label not in passive]
            group = [r for r in group if self.edges[r.label] != self.output_edge and self.is_batch_first(r.label)]
            cuts = [r for r in group if r.cut]
            if group:
                found.append((cuts or group)[-1])
        return found

    def select(self, layers: str | list[str] | tuple[str, ...]) -> list[Layer]:
        """The layers that ``layers`` names, in execution order; the output is ``"output"``."""
        output = Layer("output", "output", tuple(self.output.shape[1:]), self.output_depth, True)
        if layers == "output":
            return [output]
        if layers == "all":
            return [*self.endpoints(), output]
        if layers == "hidden":
            hidden = [r for r in self.endpoints() if r.cut]
            if not hidden:
                raise ArgumentError(
                    "layers", "'hidden'", "no cut lies before this model's output; use 'output' or labels"
                )
            return hidden
        names = [layers] if isinstance(layers, str) else list(layers)
        chosen = {self._resolve(name, output).label for name in names}
        for label in sorted(chosen):
            if not self.is_batch_first(label):
                raise ArgumentError("layers", repr(label), "the first dimension of its value is not the batch")
        return [r for r in [*self.listing, output] if r.label in chosen]

    def _resolve(self, name: str, output: Layer) -> Layer:
        if name == "output":
            return output
        exact = [r for r in self.listing if r.label == name]
        loose = [r for r in self.listing if r.label.rsplit("#", 1)[0] == name]
        if exact or len(loose) == 1:
            return (exact or loose)[0]
        known = ", ".join(r.label for r in (loose or self.listing))
        why = f"{len(loose)} calls; choose one of" if loose else "there are"
        raise ArgumentError("layers", repr(name), f'{why}: {known}; or "output", "hidden", "all"')


def anatomy(guest: Guest, x: Tensor) -> Anatomy:
    """Run a few points through a model and take down its calls, their depth, and which are cuts.

    Raises
    ------
    ArgumentError
        If the model rejects the points, or its output does not depend on them through differentiable operations, or an
        operation on the way has no derivative.
    """
    entry = guest.entry(x)
    # a clone gives the perturbed tensor a node of its own, and lets the model change its input in place
    start = entry.detach().requires_grad_().clone()
    first = start.grad_fn
    held: dict[str, Tensor] = {}

    def run() -> None:
        held["output"] = guest(start) if guest.start is None else guest(x, start)

    trace = record(guest.module, run, start)
    with torch.no_grad():
        trace.foreign = is_foreign(lambda: guest(x) if guest.start is None else guest(x, entry))
    output = held["output"]
    if output.ndim == 0 or output.shape[0] != x.shape[0]:
        raise ArgumentError(
            "model",
            f"an output of shape {tuple(output.shape)} for a batch of {x.shape[0]}",
            "the first dimension of input and output must be the batch",
        )
    graph = DerivativeGraph(output, first)
    if not graph.paths:
        raise ArgumentError(
            "model",
            "an output that does not depend on the perturbed input through differentiable operations",
            "look for detach(), no_grad(), numpy or integer operations in forward, or name another start=",
        )
    if graph.lost:
        raise ArgumentError(
            "model",
            "an operation without a derivative, such as a quantised layer",
            "give the floating-point model, or register the operation's backward (torch.library.register_autograd)",
        )
    weights = {call.edge[0] for call in trace.calls if call.edge and _is_weight_layer(call)}
    weights |= {edge[0] for edge, by in trace.products if edge and not (by and _is_weight_layer(by))}
    depths = graph.depths(weights)
    listing = Layers(_layer(call, graph, depths) for call in trace.calls if call.value is not None)
    edge = edge_of(output)
    assert edge is not None
    edges = {call.label: call.edge for call in trace.calls}
    return Anatomy(
        trace,
        listing,
        output.detach(),
        depths[edge[0]],
        output,
        edge,
        start,
        (first, 0),
        type(guest.module).__name__,
        edges,
        _apart(guest, x, trace),
    )


def _apart(guest: Guest, x: Tensor, trace: Trace) -> frozenset[str]:
    """Calls whose first dimension keeps its size when the batch has another one: time steps, as many as points."""
    count = len(x)
    shapes = [(call.label, call.value.shape) for call in trace.calls if call.value is not None and call.value.ndim]
    doubtful = {label for label, shape in shapes if shape[0] == count and any(n % count == 0 for n in shape[1:])}
    if not doubtful:
        return frozenset()
    other = x[:1] if count > 1 else torch.cat([x, x])
    with torch.no_grad():
        values = guest.tapped(other.clone(), doubtful)[1]
    return frozenset(label for label, value in values.items() if value.ndim == 0 or len(value) != len(other))


def layers(
    model: nn.Module | Callable[..., Any], x: Tensor, *, output: Output = None, start: str | None = None
) -> Layers:
    """List every call that a model makes on its way from input to output, in execution order.

    Parameters
    ----------
    model : nn.Module or callable
        The model; it is left as it was.
    x : Tensor, shape (batch, ...)
        One or more points; values do not matter, shapes do.
    output, start : optional
        As in :func:`separatrix.ftle`.

    Returns
    -------
    Layers
        A list of :class:`Layer` (label, kind, shape, depth, cut) that prints as a table. Functional activations
        (``torch.tanh``, ``F.relu``) are listed beside the modules, because they end a layer just as well. Calls stand
        in the order in which they return, so that a block follows what it contains.

    Raises
    ------
    ArgumentError
        If the model rejects the points or its output does not depend on them.

    Notes
    -----
    Cost: one forward pass, and a walk over the graph that autograd records.
    """
    guest = Guest(model, output=output, start=start)
    with guest.visit():
        return anatomy(guest, prepare(guest, x)[:2]).listing


def prepare(guest: Guest, x: Tensor) -> Tensor:
    """Points as the model wants them: its device, and its precision unless they are integers."""
    x = torch.as_tensor(x).detach()
    x = x.clone() if x.is_inference() else x
    dtype = guest.dtype if x.is_floating_point() and guest.dtype is not None else x.dtype
    return x.to(device=guest.device or x.device, dtype=dtype)


def _layer(call: Call, graph: DerivativeGraph, depths: dict[Any, int]) -> Layer:
    assert call.value is not None
    depth = depths.get(call.edge[0], 0) if call.edge else 0
    return Layer(call.label, call.kind, tuple(call.value.shape[1:]), depth, graph.is_cut(call.edge))


def _is_weight_layer(call: Call) -> bool:
    """A call without calls inside it that owns a matrix or larger: linear, convolution, recurrence, attention."""
    module = call.target
    if not isinstance(module, nn.Module) or isinstance(module, _NORMALISATIONS):
        return False
    if any(isinstance(child.target, nn.Module) for child in call.children):
        return False
    owned = list(module.parameters(recurse=False))
    if is_parametrized(module):
        owned += list(module.parametrizations.parameters())  # type: ignore[union-attr]
    return any(p.ndim >= 2 for p in owned)
