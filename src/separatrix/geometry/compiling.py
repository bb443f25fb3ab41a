"""How kernels are compiled: machine code kept between runs where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that holds no interpreter lock, so that threads outside can share it.

    The machine code is kept beside the source or in the user's cache. Where neither can be written, it is compiled
    anew in each process.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no place to write
        return numba.njit(nogil=True)(function)
