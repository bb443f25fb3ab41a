"""Calls that select entries of a tensor by their order: maxima, medians, sorted values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

_EXTREMES = {
    **dict.fromkeys(("max", "amax", "argmax"), (True, False)),
    **dict.fromkeys(("min", "amin", "argmin"), (False, True)),
    "aminmax": (True, True),
}
_PARAMETERS = {
    **dict.fromkeys(("sort", "argsort"), ("input", "dim", "descending")),
    "topk": ("input", "k", "dim", "largest"),
    "kthvalue": ("input", "k", "dim"),
    "median": ("input", "dim"),
}
"""Names of the arguments, in their order; those of extremes are (input, dim)."""


class Selection(NamedTuple):
    """Which entries of its input one call selects, or puts into order.

    Attributes
    ----------
    value : Tensor
        The input.
    dims : tuple of int
        Dimensions along which entries are compared, from 0; a single one but for extremes and medians.
    largest, smallest : bool
        Whether the largest entry is selected, and the smallest.
    rank : int or None
        The entry of this place is selected, counted from 1 at the smallest.
    places : int or None
        So many entries in order, the largest first, or the smallest first if negative.
    """

    value: Tensor
    dims: tuple[int, ...]
    largest: bool = False
    smallest: bool = False
    rank: int | None = None
    places: int | None = None


def selection(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Selection | None:
    """Read what one call selects; None for other functions, for numbers that have no derivative, and empty tensors.

    ``max``, ``amax``, ``argmax``, their opposites, ``aminmax``, ``median``, ``kthvalue``, ``sort``, ``argsort``
    and ``topk`` are known, as functions and as methods.
    """
    name = getattr(function, "__name__", "")
    if name not in _EXTREMES and name not in _PARAMETERS:
        return None
    named = dict(zip(_PARAMETERS.get(name, ("input", "dim")), args, strict=False)) | kwargs
    value, given = named.get("input"), named.get("dim", named.get("axis"))
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.ndim or not value.numel():
        return None
    if "other" in named or not all(isinstance(dim, int) for dim in _several(given)):
        return None  # two tensors are compared, or dimensions have names
    if name in _EXTREMES:
        largest, smallest = _EXTREMES[name]
        return Selection(value, _dims(given, value.ndim), largest, smallest)
    if name == "median":
        dims = _dims(given, value.ndim)
        # the lower one of two
        return Selection(value, dims, rank=(math.prod(value.shape[dim] for dim in dims) + 1) // 2)
    (dim,) = _dims(-1 if given is None else given, value.ndim)
    if name == "kthvalue":
        return Selection(value, (dim,), rank=int(named["k"]))
    if name == "topk":
        count = int(named["k"])
        return Selection(value, (dim,), places=count if named.get("largest", True) else -count) if count else None
    return Selection(value, (dim,), places=value.shape[dim])


def _several(given: Any) -> tuple[Any, ...]:
    return () if given is None else tuple(given) if isinstance(given, tuple | list) else (given,)


def _dims(given: Any, ndim: int) -> tuple[int, ...]:
    """Dimensions counted from 0, all of them for None or ()."""
    return tuple(dim % ndim for dim in _several(given)) or tuple(range(ndim))
