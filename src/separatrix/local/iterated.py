"""What can be iterated: a system, or a model or function that is taken for a map."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from typing import Any

from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.maps import Map

REMEDY = "give a system, such as sx.Loop(model) or sx.Map(f), or a function of a batch"


def as_system(system: Any) -> Any:
    """A system as it is; anything else that takes (B, n) to (B, n) as the map x+ = f(x).

    Raises
    ------
    ArgumentError
        If it can be neither, or is a function of more than the state.
    """
    if callable(getattr(system, "step", None)) and hasattr(system, "tangent"):
        # a map keeps the dimension of the first states that it sees, and the caller's own should not
        return copy(system) if isinstance(system, Map) else system
    try:
        moving = Map(system)
    except ArgumentError as error:
        raise ArgumentError("system", error.got, REMEDY) from None
    if moving._takes:
        remedy = "only a function of the state alone is a map; sx.Loop(f, u) gives f(x, u) an input or a policy"
        raise ArgumentError("system", "a function of two arguments", remedy)
    return moving


def built_from(system: Any) -> Any:
    """What the user built the system from."""
    return getattr(system, "network", None) or getattr(system, "f", None) or system


def components(moving: Any, system: Any, sizes: Sequence[int]) -> int | None:
    """Number of state components: the system's own, or the sizes of the caller's vectors, or what a model shows.

    A model shows it by the inputs of its first linear layer, less those of u where it takes [x, u]; a policy by its
    own. None where nothing tells.
    """
    with suppress(ArgumentError, AttributeError):
        return int(moving.dim(0))
    if max(sizes, default=1) > 1:
        return max(sizes)
    u = getattr(moving, "u", None)
    if isinstance(u, nn.Module):
        return _first_width(u)
    width = _first_width(built_from(system))
    if u is None or width is None:
        return width
    closed = getattr(moving, "_closed", None)
    rest = width - u.shape[-1] if isinstance(u, Tensor) and getattr(closed, "joint", False) else 0
    return rest if rest > 0 else None


def _first_width(model: Any) -> int | None:
    """Inputs of the first layer with weights, if it is linear."""
    for part in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(part, nn.Linear):
            return int(part.in_features)
        if isinstance(part, nn.modules.conv._ConvNd | nn.Unflatten | nn.RNNBase | nn.Embedding):
            return None
    return None
