"""Entries that tie where one of them is selected, and that a perturbation parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

_PARTED = 1e-4
"""Tangents of entries that are computed alike differ by rounding; these differ by more, relative to the largest."""


def ties_of_one(value: Tensor, pushed: Tensor | None, dims: tuple[int, ...], chosen: Tensor) -> Tensor:
    """Entries that are equal to the one that is chosen, and move differently; of the value's shape.

    Parameters
    ----------
    value : Tensor
        What is chosen from.
    pushed : Tensor or None
        Its tangent; for None, all entries that tie count.
    dims : tuple of int
        Dimensions that are chosen along.
    chosen : Tensor
        The values, with those dimensions kept at length 1.
    """
    tied = (value == chosen) & torch.isfinite(value)
    if pushed is None:
        return tied & (tied.sum(dims, keepdim=True) > 1)
    high = torch.where(tied, pushed, -torch.inf).amax(dims, keepdim=True)
    low = torch.where(tied, pushed, torch.inf).amin(dims, keepdim=True)
    return tied & (high - low > _PARTED * pushed.abs().amax(dims, keepdim=True))


def ties_in_order(value: Tensor, pushed: Tensor | None, dim: int, places: int) -> Tensor:
    """Entries that tie with a neighbour in the order of the ``places`` largest (smallest if negative), and part.

    The tie of the last of these with the next one counts.
    """
    if places < 0:
        value, pushed, places = -value, None if pushed is None else -pushed, -places
    order = value.sort(dim, descending=True)
    rest = value.shape[dim] - 1
    before, after = order.values.narrow(dim, 0, rest), order.values.narrow(dim, 1, rest)
    tied = (before == after) & torch.isfinite(after) & (after >= order.values.narrow(dim, places - 1, 1))
    if pushed is not None:
        moved = pushed.gather(dim, order.indices).diff(dim=dim).abs()
        tied &= moved > _PARTED * pushed.abs().amax(dim, keepdim=True)
    none = torch.zeros_like(value.narrow(dim, 0, 1), dtype=torch.bool)
    either = torch.cat([tied, none], dim) | torch.cat([none, tied], dim)
    return torch.zeros_like(either).scatter(dim, order.indices, either)


def ties_in_windows(
    value: Tensor,
    pushed: Tensor | None,
    windows: Sequence[int],
    *,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Windows of a max-pooling along the last dimensions in which the largest entries tie, and move differently.

    Parameters
    ----------
    value : Tensor (..., *spatial)
        What is pooled.
    pushed : Tensor or None
        Its tangent; for None, all entries that tie count.
    windows : sequence of int
        How many windows there are along each spatial dimension.
    size, stride, padding, dilation : sequence of int
        Of the windows, along each spatial dimension.

    Returns
    -------
    Tensor of bool (..., *windows)
        Memory: a few tensors of this size, and a padded copy of what is pooled. Time: two passes over every window.
    """
    n = len(size)
    reach = [
        max(0, stride[i] * (windows[i] - 1) + dilation[i] * (size[i] - 1) + 1 - padding[i] - value.shape[i - n])
        for i in range(n)
    ]
    room = [side for i in reversed(range(n)) for side in (padding[i], reach[i])]

    def entries(padded: Tensor) -> Iterator[Tensor]:
        """Return the entries of all windows that have the same place in them, place by place."""
        for place in product(*map(range, size)):
            begins = [at * step for at, step in zip(place, dilation, strict=True)]
            where = zip(begins, windows, stride, strict=True)
            at: Any = (..., *(slice(begin, begin + step * (count - 1) + 1, step) for begin, count, step in where))
            yield padded[at]

    padded = torch.nn.functional.pad(value, room, value=-torch.inf)
    largest = next(entries(padded)).clone()
    for entry in entries(padded):
        torch.maximum(largest, entry, out=largest)
    known = torch.isfinite(largest)
    if pushed is None:
        count = torch.zeros_like(largest, dtype=torch.int32)
        for entry in entries(padded):
            count += entry == largest
        return (count > 1) & known
    low, high, scale = (torch.full_like(largest, start) for start in (torch.inf, -torch.inf, 0.0))
    for entry, moved in zip(entries(padded), entries(torch.nn.functional.pad(pushed, room)), strict=True):
        tied = entry == largest
        low = torch.where(tied, torch.minimum(low, moved), low)
        high = torch.where(tied, torch.maximum(high, moved), high)
        scale = torch.maximum(scale, moved.abs())
    return (high - low > _PARTED * scale) & known


def ties_in_cells(value: Tensor, pushed: Tensor | None, cells: Sequence[int]) -> Tensor:
    """Entries that tie for the largest of a cell of an adaptive pooling along the last dimensions, and part.

    Cell i of c along a dimension of length L has the entries from floor(i L / c) to ceil((i + 1) L / c), as in
    ``torch.nn.AdaptiveMaxPool2d``. Cost: a pass over every cell, one after another.
    """
    n = len(cells)
    dims = tuple(range(value.ndim - n, value.ndim))
    met = torch.zeros_like(value, dtype=torch.bool)
    for place in product(*map(range, cells)):
        sides = zip(place, cells, value.shape[-n:], strict=True)
        at: Any = (..., *(slice(i * length // c, -(-(i + 1) * length // c)) for i, c, length in sides))
        part = value[at]
        met[at] |= ties_of_one(part, None if pushed is None else pushed[at], dims, part.amax(dims, keepdim=True))
    return met
