"""What is asked, read from the caller's arguments: the map in Lur'e form, points and boxes."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from separatrix.certificates.problem import Corners, Problem
from separatrix.local.iterated import as_system, built_from, components
from separatrix.local.region_box import read_box
from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.systems.loop import Loop
from separatrix.systems.loop_modules import call
from separatrix.systems.lure import Lure, lure

STATEMENTS = ("contraction", "stability", "boundedness", "lipschitz")
NORMS = ("best", "1", "2", "inf", "P")


@dataclass(frozen=True)
class Question:
    """A statement; ``problem`` is None where the map cannot be seen through, and ``reason`` says why."""

    problem: Problem | None
    statement: str
    at: Tensor | None
    norm: str
    reason: str
    model: Any
    record: dict[str, Any]


def read_question(system: Any, statement: Any, at: Any, box: Any, u_box: Any, norm: Any) -> Question:
    """Read and check the arguments of :func:`separatrix.certificates.certify.certify`."""
    if statement not in STATEMENTS:
        raise ArgumentError("statement", repr(statement), f"one of {', '.join(STATEMENTS)}")
    norm = {1: "1", 2: "2", float("inf"): "inf"}.get(norm, norm) if not isinstance(norm, str) else norm
    if norm not in NORMS:
        raise ArgumentError("norm", repr(norm), f"one of {', '.join(NORMS)}")
    if at is not None and statement != "stability":
        raise ArgumentError("at", f"a point, for {statement}", "local stability is asked for by 'stability' with at=")
    if statement == "lipschitz" and norm == "P":
        raise ArgumentError("norm", "'P'", "a Lipschitz bound is in the norm '1', '2' or 'inf'")
    loop, inputs = _with_inputs(system, u_box)
    moving = as_system(system)
    sizes = [np.asarray(side).size for side in (box if isinstance(box, tuple | list) else ())]
    sizes += [_array("at", at).size] if at is not None else []
    n = components(moving, system, sizes)
    if n is None and (at is not None or any(np.ndim(side) == 1 for side in (box if sizes and box is not None else ()))):
        n = 1  # a number, or vectors of one
    if n is None:
        got = "a system whose number of components does not show"
        raise ArgumentError("system", got, "give sx.Loop(f, dim=n), sx.Map(f, dim=n), or vectors in box= or at=")
    corners = _corners(box, n) if box is not None else None
    point = None if at is None else _point(at, n, corners)
    where = _inputs_box(inputs, u_box)
    if u_box is not None:
        _warn_of_inputs_outside(inputs, where)
    record = {
        "statement": statement,
        "at": point,
        "box": None if corners is None else list(corners),
        "u_box": list(where) if len(where[0]) else None,
        "norm": norm,
    }
    try:
        network = _network(moving, loop, n, len(where[0]))
        found = Problem(network, n, len(where[0]), corners, where)
        if network.outputs != n and statement != "lipschitz":
            got = f"a model from {n} to {network.outputs} components"
            raise ArgumentError("system", got, "only what stays in one space can be iterated; 'lipschitz' takes any")
    except ArgumentError as error:
        if not _cannot_be_seen_through(error):
            # what could not be read is what the caller gave as system=
            name = "system" if error.argument == "model" else error.argument
            raise ArgumentError(name, error.got, error.remedy) from error
        return Question(None, statement, point, norm, str(error), built_from(system), record)
    return Question(found, statement, point, norm, "", built_from(system), record)


def _cannot_be_seen_through(error: ArgumentError) -> bool:
    """Tell a model whose operations are not known from one that does not work, or does not fit."""
    unusable = ("a failure on", "values that differ", "an output", "a model from", "a step beyond", "a module whose")
    half = error.got.startswith("a function of")
    return error.argument in ("model", "activation", "memory") and not (half or error.got.startswith(unusable))


def _with_inputs(system: Any, u_box: Any) -> tuple[Loop | None, Tensor | None]:
    """The loop whose input is to vary, and the inputs that it was given."""
    driven = isinstance(system, Loop) and isinstance(system.u, Tensor)
    if u_box is not None and not driven:
        remedy = "give sx.Loop(f, u) with a constant or recorded input, whose place the box then takes"
        raise ArgumentError("u_box", f"a box for {type(system).__name__}", remedy)
    if driven and (u_box is not None or system.u.ndim == 2):
        return system, system.u
    return None, None


def _inputs_box(inputs: Tensor | None, u_box: Any) -> Corners:
    if inputs is None:
        return torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    rows = inputs.detach().cpu().double().reshape(-1, inputs.shape[-1])
    if u_box is None:  # a recorded input: every sequence in the box of its values
        return rows.amin(0), rows.amax(0)
    return _corners(u_box, rows.shape[1], "u_box", thick=False)


def _warn_of_inputs_outside(inputs: Tensor | None, box: Corners) -> None:
    """Say that a statement is not about the loop as it stands: its own input is not one of those in the box."""
    (lo, hi), (least, most) = box, _inputs_box(inputs, None)
    outside = ((least < lo) | (most > hi)).nonzero()
    if len(outside):
        i = int(outside[0])
        warnings.warn(
            f"u_box: component {i} goes from {lo[i]:g} to {hi[i]:g}, which leaves out the loop's own input, from "
            f"{least[i]:g} to {most[i]:g}: the statement is about inputs in the box, which take its place, and not "
            "about the loop with that input",
            SeparatrixWarning,
            stacklevel=4,
        )


def _corners(box: Any, n: int, argument: str = "box", *, thick: bool = True) -> Corners:
    if not thick:
        with suppress(TypeError, ValueError, RuntimeError):
            lo, hi = (np.broadcast_to(np.asarray(side, dtype=np.float64), n) for side in box)
            if np.isfinite(lo).all() and np.isfinite(hi).all() and (lo <= hi).all():
                return torch.from_numpy(lo.copy()), torch.from_numpy(hi.copy())
    try:
        lo, hi = read_box(box, n)
    except ArgumentError as error:
        raise ArgumentError(argument, error.got, error.remedy) from None
    return torch.from_numpy(lo), torch.from_numpy(hi)


def _array(argument: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(argument, " ".join(repr(value).split())[:80], "give one state: n finite numbers") from None


def _point(at: Any, n: int, box: Corners | None) -> Tensor:
    found = _array("at", at)
    if found.shape not in ((), (n,), (1, n)) or not np.isfinite(found).all():
        raise ArgumentError("at", f"shape {found.shape}", f"give one finite state of {n} components")
    point = torch.from_numpy(np.broadcast_to(found.reshape(-1), n).copy())
    if box is not None and bool(((point < box[0]) | (point > box[1])).any()):
        raise ArgumentError("at", f"{point.tolist()}", "it must lie in the box")
    return point


def _network(moving: Any, loop: Loop | None, n: int, m: int) -> Lure:
    if loop is None:
        if getattr(moving, "horizon", None) is not None:
            got = f"a system of {moving.horizon} steps that differ"
            raise ArgumentError("system", got, "give an autonomous one, or sx.Loop(f, u) with a recorded input")
        found = lure(moving, (n,))
    else:
        loop._check(0)
        closed = loop._closed

        def function(xu: Tensor) -> Tensor:
            x, u = xu[:, :n], xu[:, n:]
            value = call(closed.network, closed.joint, x if loop.shape is None else x.reshape(-1, *loop.shape), u)
            return value if loop.shape is None else value.flatten(1)

        found = lure(function, (n + m,))
    blocks = [
        replace(
            block,
            weights={k: w.detach().cpu().double() for k, w in block.weights.items()},
            bias=block.bias.detach().cpu().double(),
        )
        for block in found.blocks
    ]
    numbers = [t for block in blocks for t in (*block.weights.values(), block.bias)]
    if not all(bool(torch.isfinite(t).all()) for t in numbers):
        raise ArgumentError("model", "a step beyond floating point: weights with NaN or infinity", "check the model")
    return replace(found, blocks=tuple(blocks))


def assumptions_of(network: Lure) -> tuple[str, ...]:
    """What every proof takes for granted."""
    found = ["f in exact arithmetic with the stored weights; affine maps that follow each other are merged in float64"]
    if any(block.curve is not None and block.curve.jump for block in network.blocks):
        found.append("softplus without the jump of torch's function where it is replaced by its argument")
    return tuple(found)
