"""The status of a number: whether it may be believed, and if not, why; and how such codes are named in a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np


class Status(IntEnum):
    """Why a value is what it is. Ordered: where two apply, the larger one is stored.

    Stored as an integer variable with the CF attributes ``flag_values`` and ``flag_meanings``.
    """

    OK = 0
    """The number means what its name says."""
    NOT_A_CUT = 1
    """The layer does not carry all of the signal: another path leads around it."""
    BELOW_PRECISION = 2
    """The singular value lies below what the arithmetic resolves beside the largest one."""
    SINGULAR = 3
    """The singular value is exactly zero; its logarithm is -inf."""
    MISSING = 4
    """There are fewer singular values than indices asked for (a bottleneck); the stretch is -inf."""
    NONSMOOTH = 5
    """The point lies on a kink; the derivative shown is the one-sided choice of autograd."""
    NONFINITE = 6
    """The model gave NaN or infinity here; the stretch is NaN."""
    UNCONVERGED = 7
    """An iteration ended before its residual was small; the stretch shown is an estimate."""


def flag_attrs(
    flags: type[IntEnum] | Mapping[str, int] | Sequence[str], long_name: str = "", *, dtype: Any = np.int8
) -> dict[str, Any]:
    """Attributes of a variable of integer codes, by the CF conventions (section 3.5).

    Parameters
    ----------
    flags : subclass of IntEnum, mapping or sequence of str
        The codes and what they mean: an enumeration, whose names are written in lower case; meaning to code; or
        meanings of 0, 1, 2 and so on. A meaning is one word.
    long_name : str
        What the variable is; left out where it is empty.
    dtype : numpy dtype
        That of the variable, as the conventions ask.
    """
    if isinstance(flags, type):
        codes = {flag.name.lower(): flag.value for flag in flags}
    else:
        codes = dict(flags) if isinstance(flags, Mapping) else {name: code for code, name in enumerate(flags)}
    named = {"long_name": long_name} if long_name else {}
    return {**named, "flag_values": np.array(list(codes.values()), dtype=dtype), "flag_meanings": " ".join(codes)}


def flag_names(attrs: Mapping[Any, Any]) -> dict[int, str]:
    """Meaning of each code, as the attributes of a variable state them.

    Raises
    ------
    KeyError
        If they hold no flags.
    """
    return dict(zip(map(int, np.atleast_1d(attrs["flag_values"])), str(attrs["flag_meanings"]).split(), strict=True))
