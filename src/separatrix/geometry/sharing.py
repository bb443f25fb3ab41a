"""Threads for kernels that hold no interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from separatrix.results.integers import whole

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count(threads: Any) -> int:
    """The number of threads asked for, or torch's if None.

    Raises
    ------
    ArgumentError
        If it is not a positive integer.
    """
    return torch.get_num_threads() if threads is None else whole("threads", threads, 1)


def share_out(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """What a function returns for each item, in order, computed in as many threads as given."""
    if threads <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        yield from pool.map(work, items)
