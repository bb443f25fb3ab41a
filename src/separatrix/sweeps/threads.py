"""Threads of BLAS, OpenMP and torch inside a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = tuple(
    f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS", "BLIS", "NUMEXPR", "VECLIB", "NUMBA")
)
"""What the libraries read when they are loaded; set in workers before they start."""


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Limit the libraries that are loaded already, and put them back afterwards. torch is not imported for it."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else None
    with threadpool_limits(limits=threads):
        if torch is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch is not None and before is not None:
                torch.set_num_threads(before)
