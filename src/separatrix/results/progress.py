"""Progress of long work: silent, a bar, or the caller's own function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = bool | Callable[[int, int], None]
"""``False`` for silence, ``True`` for a bar on stderr, or a function called with (done, total)."""


@contextmanager
def track(progress: Progress, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how much more has been done.

    Parameters
    ----------
    progress : bool or callable
        See :data:`Progress`.
    total : int
        Amount of work in all.
    what : str
        Label of the bar.
    """
    if callable(progress):
        done = 0

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            progress(done, total)

        yield advance
    elif progress:
        from tqdm import tqdm

        with tqdm(total=total, desc=what, unit_scale=True, file=sys.stderr, dynamic_ncols=True) as bar:
            yield lambda amount: bar.update(amount) and None
    else:
        yield lambda amount: None
