"""Whether data are inputs with one target each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError


def pair(name: str, data: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets as tensors.

    Raises
    ------
    ArgumentError
        If they are not two tensors of one length, are empty, or hold values that are not finite.
    """
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ArgumentError(name, describe(data), "give a pair (X, y) of tensors")
    try:
        X, y = (torch.as_tensor(part) for part in data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(name, describe(data), f"give a pair (X, y) of tensors ({error})") from None
    if X.ndim < 1 or y.ndim < 1 or not len(X) or len(X) != len(y):
        shapes = f"X of shape {tuple(X.shape)}, y of shape {tuple(y.shape)}"
        raise ArgumentError(name, shapes, "give one target for each of at least one inputs")
    for what, values in (("X", X), ("y", y)):
        if not bool(torch.isfinite(values).all()):
            raise ArgumentError(name, f"{what} with values that are not finite", "leave those rows out")
    return X, y


def describe(data: Any) -> str:
    """What was given in place of a pair, in words."""
    if isinstance(data, tuple | list):
        return f"a {type(data).__name__} of {len(data)}: {', '.join(type(part).__name__ for part in data[:4])}"
    return type(data).__name__
