"""Whole numbers as users have them: Python's, NumPy's, and whatever else can be an index."""

from __future__ import annotations

import operator
from typing import Any

from separatrix.results.errors import ArgumentError


def integer(value: Any) -> int | None:
    """Return the value as an int, or None where it is no whole number; truth values and lists of one are none."""
    # operator.index takes tensors of one component and of truth values; without torch, which costs time to import
    shaped = bool(getattr(value, "ndim", 0)) or str(getattr(value, "dtype", "")).endswith("bool")
    if shaped or isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def whole(name: str, value: Any, least: int) -> int:
    """Return the value of an argument as an int.

    Raises
    ------
    ArgumentError
        If it is no whole number of at least that much.
    """
    number = integer(value)
    if number is None or number < least:
        raise ArgumentError(name, repr(value), f"give a whole number of at least {least}")
    return number
