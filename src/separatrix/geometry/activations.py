"""What a network makes of its inputs: one row a point, at every layer that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.ensembles.stack import Stack
from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes, points_per_chunk
from separatrix.results.progress import Progress, track
from separatrix.systems.guest import Guest, Output
from separatrix.systems.listing import Anatomy, anatomy, prepare

REDUCTIONS = ("flatten", "mean", "cls")
_MOST = 8192
"""Points at once: more do not make a CPU faster."""


def activations(
    model: nn.Module | Callable[..., Any],
    X: Tensor,
    layers: str | Sequence[str] = "hidden",
    *,
    reduce: str = "flatten",
    output: Output = None,
    start: str | None = None,
    memory: int | float | str = "512MB",
    progress: Progress = False,
) -> dict[str, Tensor]:
    """Values of the layers of a network at points.

    Parameters
    ----------
    model : nn.Module or callable
        The network, in evaluation mode if it has dropout or batch statistics. It is left exactly as it was. A
        :class:`separatrix.ensembles.Stack` gives the values of all its members.
    X : Tensor, shape (points, *input shape)
        Points; they are moved to the model's device and precision.
    layers : str or list of str
        ``"hidden"``: the end of every hidden layer that all of the signal passes through (a weight layer with its
        normalisation and activation counts once); ``"all"``: the input, every layer's end, and the output;
        ``"input"``, ``"output"``; or labels as listed by :func:`separatrix.layers`.
    reduce : {"flatten", "mean", "cls"}
        How a value becomes one row a point. ``"flatten"``: all its numbers. ``"mean"``: mean over the places of images
        (batch, channel, *places) of two or more axes, and over the tokens of sequences (batch, token, feature).
        ``"cls"``: the first token of sequences. Values that are rows already stay as they are.
    output : callable, str or int, optional
        Applied to what the model returns: a function such as a sigmoid, or a key into a dict or tuple.
    start : str, optional
        Label of the call that stands for the input of models of tokens, such as ``"embedding#1"``.
    memory : int or str
        Budget in bytes for everything but the result; points are taken in chunks that fit.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    dict of str to Tensor, shape (points, features)
        In the order of execution, on the CPU, in the precision that the model computes in (half precision is raised to
        float32). Of a stack: (members, points, features).

    Raises
    ------
    ArgumentError
        If the model rejects the points or cannot be looked into, if a layer does not exist, is not called for some
        points, or has no first token, or if not one point fits into the budget.

    Notes
    -----
    Cost: a forward pass, and one on two points that finds the layers. Values are taken by hooks on the original modules
    and copied, so that operations in place do not change them. A model whose points influence one another (attention
    over the batch, say) is run on all points at once.
    """
    if reduce not in REDUCTIONS:
        raise ArgumentError("reduce", repr(reduce), f"choose from {', '.join(REDUCTIONS)}")
    budget = parse_bytes(memory)
    X = torch.as_tensor(X).detach()
    if X.ndim == 0 or not len(X):
        raise ArgumentError("X", f"shape {tuple(X.shape)}", "give at least one point, batch first")
    members = list(_guests(model, X, output, start))
    first = members[0]()
    with first.visit():
        seen, together = _look(first, X)
        labels, shapes = _choose(seen, layers)
        for label, shape in shapes.items():
            _reduced(torch.zeros(1, *shape), reduce, label)
        most = _most_points(first, seen, shapes, budget)
    if together and most < len(X):
        raise ArgumentError("memory", repr(memory), "the points influence one another and have to be run together")
    size = len(X) if together else min(most, _MOST)
    found: list[dict[str, Tensor]] = []
    with track(progress, len(members) * len(X), "activations") as advance:
        for make in members:
            guest = make()
            parts: dict[str, list[Tensor]] = {label: [] for label in labels}
            with guest.visit(), torch.no_grad():
                for begin in range(0, len(X), size):
                    x = prepare(guest, X[begin : begin + size])
                    for label, value in _values(guest, x, labels).items():
                        parts[label].append(_reduced(value, reduce, label).cpu())
                    advance(len(x))
            found.append({label: torch.cat(rows) for label, rows in parts.items()})
    if not isinstance(model, Stack):
        return found[0]
    return {label: torch.stack([values[label] for values in found]) for label in labels}


def _guests(model: Any, X: Tensor, output: Output, start: str | None) -> Iterator[Callable[[], Guest]]:
    """Makers of the members' guests, to be called one after another."""

    def guest(module: Any) -> Guest:
        made = Guest(module, output=output, start=start)
        if made.dtype is None:
            # a model without numbers of its own computes in the precision of its inputs
            made.dtype = X.dtype if X.dtype in (torch.float32, torch.float64) else torch.float32
        return made

    if not isinstance(model, Stack):
        yield lambda: guest(model)
        return
    for place in range(len(model)):
        yield partial(lambda at: guest(next(model.in_turn([at]))), place)


def _look(guest: Guest, X: Tensor) -> tuple[Anatomy, bool]:
    """The layers as two points see them, and whether points influence one another."""
    x = prepare(guest, X[:2])
    x = torch.cat([x, x]) if len(x) == 1 else x
    if guest.start is None and not x.is_floating_point():
        raise ArgumentError("X", f"points of {x.dtype}", "name the call that makes them continuous: start='embedding'")
    try:
        seen = anatomy(guest, x)
        with torch.no_grad():
            alone = guest(x[:1].clone())
    except (RuntimeError, TypeError, IndexError, AssertionError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(
            "X",
            f"points of shape {tuple(x.shape[1:])}, which the model rejects: {type(error).__name__}: {error}",
            "give points in the shape that the model takes, batch first",
        ) from error
    if seen.trace.random:
        raise ArgumentError("model", f"{seen.trace.random[0]} in training mode in forward", "call model.eval() first")
    both = seen.output[:1]
    near = 1e3 * torch.finfo(both.dtype).eps * max(1.0, float(both.abs().max()))
    return seen, bool(torch.isfinite(both).all()) and bool((alone - both).abs().max() > near)


def _choose(seen: Anatomy, layers: Any) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """Labels in the order of execution, and shapes of the values without the batch."""
    names = layers if isinstance(layers, str) else list(layers)
    if not names:
        raise ArgumentError("layers", repr(layers), "name at least one layer")
    begins = "input" in names if not isinstance(names, str) else names in ("all", "input")
    rest = [name for name in names if name != "input"] if not isinstance(names, str) else names
    chosen = [] if rest == "input" or not rest else seen.select(rest)
    shapes = {"input": tuple(seen.entry.shape[1:])} if begins else {}
    shapes |= {layer.label: layer.shape for layer in chosen}
    return list(shapes), shapes


def _most_points(guest: Guest, seen: Anatomy, shapes: dict[str, tuple[int, ...]], budget: int) -> int:
    item = torch.finfo(guest.dtype or torch.float64).bits // 8
    numbers = sum(call.value[0].numel() for call in seen.trace.calls if call.value is not None and call.value.ndim)
    # values while they are computed, a copy in place and a reduced one of those that are kept
    kept = sum(torch.Size(shape).numel() for shape in shapes.values())
    return points_per_chunk(item * (2 * numbers + 2 * kept + 2 * seen.entry[0].numel()), budget, "values of all layers")


def _values(guest: Guest, x: Tensor, labels: list[str]) -> dict[str, Tensor]:
    """Values of the labels for one batch, in their order."""
    taken = set(labels) - {"input", "output"}
    # the model may work in place on what it is given
    out, values = guest.tapped(x.clone(), taken)
    if "output" in labels:
        values["output"] = out
    if "input" in labels:
        values["input"] = guest.entry(x)
    for label in labels:
        if label not in values:
            raise ArgumentError("layers", repr(label), "the model does not make this call for all points")
        if len(values[label]) != len(x):
            raise ArgumentError("layers", repr(label), "the first dimension of its value is not the batch")
    return {label: values[label] for label in labels}


def _reduced(value: Tensor, reduce: str, label: str) -> Tensor:
    if value.ndim == 1:
        return value[:, None]
    if value.ndim > 2 and reduce == "cls":
        if value.ndim != 3 or not value.shape[1]:
            shape = tuple(value.shape[1:])
            raise ArgumentError(
                "reduce", f"'cls' for {label!r}, a value of shape {shape}", "only (token, feature) has a first token"
            )
        return value[:, 0]
    if value.ndim > 2 and reduce == "mean":
        return value.mean(1) if value.ndim == 3 else value.flatten(2).mean(2)
    return value.flatten(1)
