"""Which rows make up each batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from separatrix.systems.row_orders import RowOrders

ORDERS = ("shared", "private", "none")


def epochs(count: int, shuffle: str, seeds: list[int], shuffle_seed: int) -> Iterator[Tensor]:
    """Yield the order of rows of one epoch after another, (count,), or (member, count) where orders are private.

    Shared orders are successive ``torch.randperm(count)`` of one generator seeded with ``shuffle_seed``; private ones
    come from one generator per member, seeded with the member's seed, so that they do not depend on who else trains.
    """
    if shuffle == "none":
        while True:
            yield torch.arange(count)
    if shuffle == "shared":
        yield from RowOrders(count, shuffle_seed)
    for orders in zip(*(RowOrders(count, seed) for seed in seeds), strict=True):
        yield torch.stack(orders)
