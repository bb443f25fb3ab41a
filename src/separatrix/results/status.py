"""The status of a number: whether it may be believed, and if not, why."""

from __future__ import annotations

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


def status_attrs() -> dict[str, Any]:
    """Attributes of a status variable, by the CF conventions (section 3.5)."""
    return {
        "flag_values": np.array([s.value for s in Status], dtype=np.int8),
        "flag_meanings": " ".join(s.name.lower() for s in Status),
    }
