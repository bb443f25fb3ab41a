"""The batch of every step: a sequence that can be replayed from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.systems.pairs import describe, pair
from separatrix.systems.row_orders import RowOrders

Batch = tuple[Tensor, Tensor]


class Batches:
    """Batches (X, y) as a function of the step t.

    Parameters
    ----------
    data : (X, y) or sequence of (X, y)
        All rows, or a list of batches.
    batch_size : int, optional
        With (X, y): rows of a batch; the last one of an epoch may be smaller. All rows when left out.
    shuffle_seed : int, optional
        With a batch size: orders of the rows are successive ``torch.randperm`` of a generator with this seed, as in
        ``sx.ensembles.train``. The order of the data when left out.
    repeat : bool
        Go through a list of batches again and again; otherwise it is gone through once.
    dtype, device
        What floating-point inputs and targets are brought to.

    Attributes
    ----------
    horizon : int or None
        Number of batches of a list that is not repeated.
    largest : int
        Rows of the largest batch.

    Raises
    ------
    ArgumentError
        If the data are no such pairs, are empty, or have values that are not finite.
    """

    def __init__(
        self,
        data: Any,
        batch_size: SupportsIndex | None,
        shuffle_seed: SupportsIndex | None,
        repeat: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        if _is_pair(data):
            self._list = [_pair("data", data, dtype, device)]
        elif isinstance(data, Sequence) and len(data) and not isinstance(data, str) and all(map(_is_pair, data)):
            self._list = [_pair(f"data[{i}]", part, dtype, device) for i, part in enumerate(data)]
        else:
            remedy = "give (X, y), or a list of at least one batch (X, y), such as list(loader)"
            raise ArgumentError("data", describe(data), remedy)
        single = _is_pair(data)
        size = None if batch_size is None else whole("batch_size", batch_size, 1)
        seed = None if shuffle_seed is None else whole("shuffle_seed", shuffle_seed, 0)
        for name, value in (("batch_size", size), ("shuffle_seed", seed)):
            if value is not None and not single:
                raise ArgumentError(name, repr(value), "the data are a list of batches already: give (X, y)")
        if seed is not None and size is None:
            raise ArgumentError("shuffle_seed", repr(seed), "give batch_size= as well: a full batch has no order")
        if not repeat and single:
            raise ArgumentError("repeat", "False", "that is for a list of batches; (X, y) serves all steps")
        self._size, self._seed = size, seed
        self._count = len(self._list[0][0])
        self.horizon = None if repeat else len(self._list)
        self.largest = min(size or self._count, self._count) if single else max(len(X) for X, _ in self._list)
        self._orders = RowOrders(self._count, seed) if seed is not None else None

    @property
    def widths(self) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Shapes of a row of X and of y that occur."""
        return {(tuple(X.shape[1:]), tuple(y.shape[1:])) for X, y in self._list}

    @property
    def per_epoch(self) -> int:
        """Number of batches after which all data have been seen."""
        return len(self._list) if self._size is None else -(-self._count // self._size)

    def at(self, t: int) -> Batch:
        """Batch of step t.

        Raises
        ------
        ArgumentError
            If t is negative or beyond the horizon.
        """
        if t < 0 or (self.horizon is not None and t >= self.horizon):
            end = "on" if self.horizon is None else f"to {self.horizon - 1}"
            raise ArgumentError("t", str(t), f"there are batches for steps 0 {end}")
        if self._size is None:
            return self._list[t % len(self._list)]
        epoch, place = divmod(t, self.per_epoch)
        X, y = self._list[0]
        part = slice(place * self._size, (place + 1) * self._size)
        if self._orders is None:
            return X[part], y[part]
        rows = self._orders.at(epoch)[part].to(X.device)
        return X[rows], y[rows]


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple | list) and len(data) == 2 and not any(isinstance(p, tuple | list) for p in data)


def _pair(name: str, data: Any, dtype: torch.dtype, device: torch.device) -> Batch:
    X, y = (part.detach().to(device, dtype if part.is_floating_point() else None) for part in pair(name, data))
    # copies: the caller may go on changing what was given
    return X.clone(), y.clone()
