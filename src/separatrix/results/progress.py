"""Progress of long work: silent, a bar, or the caller's own function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
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


@contextmanager
def weighed(progress: Progress, costs: Sequence[float], what: str) -> Iterator[Progress]:
    """Progress of a sweep counted by what its runs cost, for a remaining time that can be believed.

    Runs are begun in their order and end nearly in it, so that the first ``done`` ones stand for those that ended.

    Parameters
    ----------
    progress : bool or callable
        See :data:`Progress`; where it is no bar it is handed on.
    costs : sequence of float
        Of each run, in their order and in any unit.
    what : str
        What a run is, in the plural.
    """
    if progress is not True:
        yield progress
        return
    from tqdm import tqdm

    shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}"
    with tqdm(total=sum(costs), desc=what, bar_format=shape, file=sys.stderr, dynamic_ncols=True) as bar:

        def advance(done: int, count: int) -> None:
            bar.set_postfix_str(f"{done} of {count} {what}", refresh=False)
            bar.n = sum(costs[:done])
            bar.refresh()

        yield advance
