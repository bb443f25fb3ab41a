"""A lattice of cells over a box, and which boxes are covered by a set of its cells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Columns = Float[Tensor, "n B"]
Places = Int[Tensor, "n B"]


@dataclass(frozen=True)
class Lattice:
    """A box cut into equal parts along each side.

    The edges are the numbers in :attr:`edges`, whatever their rounding; neighbours share them exactly, and twice as
    many parts have the same edges and others between them.

    Attributes
    ----------
    lo, hi : Tensor (n,)
    shape : tuple of int
    """

    lo: Tensor
    hi: Tensor
    shape: tuple[int, ...]

    @property
    def edges(self) -> list[Tensor]:
        """Numbers (parts + 1,) along each side, ascending."""
        found = []
        for low, high, parts in zip(self.lo, self.hi, self.shape, strict=True):
            found.append(low + torch.arange(parts + 1, dtype=torch.float64) * ((high - low) / parts))
        return found

    def proper(self) -> bool:
        """Whether no cell is empty and no number infinite."""
        return all(bool(torch.isfinite(e).all()) and bool((e.diff() > 0).all()) for e in self.edges)

    def doubled(self) -> Lattice:
        """Twice as many parts along each side."""
        return Lattice(self.lo, self.hi, tuple(2 * k for k in self.shape))

    def places(self) -> Places:
        """The places of all cells, in the order of a flattened array."""
        return torch.cartesian_prod(*[torch.arange(k) for k in self.shape]).view(-1, len(self.shape)).T

    def corners(self, first: Places, last: Places) -> tuple[Columns, Columns]:
        """Corners of the boxes that the cells from one place up to, not including, another make."""
        edges = self.edges
        lo = [e[i] for e, i in zip(edges, first, strict=True)]
        hi = [e[i] for e, i in zip(edges, last, strict=True)]
        return torch.stack(lo), torch.stack(hi)

    def around(self, lo: Columns, hi: Columns) -> tuple[Places, Places, Bool[Tensor, " B"]]:
        """First and past last place of the cells that boxes meet, and whether a box lies in the lattice at all."""
        first, last = [], []
        inside = torch.ones(lo.shape[1], dtype=torch.bool)
        for edges, a, b in zip(self.edges, lo, hi, strict=True):
            inside &= (a >= edges[0]) & (b <= edges[-1])
            low = (torch.searchsorted(edges, a.contiguous(), right=True) - 1).clamp(0, len(edges) - 2)
            high = torch.searchsorted(edges, b.contiguous()).clamp(max=len(edges) - 1)
            first.append(low)
            last.append(torch.maximum(high, low + 1))
        return torch.stack(first), torch.stack(last), inside

    def exactly(self, lo: Columns, hi: Columns) -> tuple[Places, Places] | None:
        """The places of boxes that are made of whole cells; None if one is not."""
        first, last, inside = self.around(lo, hi)
        back = self.corners(first, last)
        good = bool(inside.all()) and bool((back[0] == lo).all()) and bool((back[1] == hi).all())
        return (first, last) if good else None

    def filled(self, first: Places, last: Places) -> Tensor:
        """Which cells (*shape) lie in one of some boxes."""
        count = torch.zeros([k + 1 for k in self.shape], dtype=torch.int64)
        for ends in product((0, 1), repeat=len(self.shape)):
            place = tuple((last if end else first)[i] for i, end in enumerate(ends))
            one = torch.full_like(place[0], (-1) ** sum(ends))
            count.index_put_(place, one, accumulate=True)
        for axis in range(len(self.shape)):
            count = count.cumsum(axis)
        return count[tuple(slice(k) for k in self.shape)] > 0


class Table:
    """Sums over a set of cells from the first corner on, which tell in a few look-ups if a box is covered.

    F. C. Crow, SIGGRAPH 1984 (summed-area tables).
    """

    def __init__(self, mask: Tensor) -> None:
        total = torch.nn.functional.pad(mask.long(), (1, 0) * mask.ndim)
        for axis in range(mask.ndim):
            total = total.cumsum(axis)
        self.total = total

    def covers(self, first: Places, last: Places) -> Bool[Tensor, " B"]:
        """Whether all cells from one place up to, not including, another belong to the set."""
        found = torch.zeros_like(first[0])
        for ends in product((0, 1), repeat=self.total.ndim):
            place = tuple((last if end else first)[i] for i, end in enumerate(ends))
            found = found + (-1) ** (self.total.ndim - sum(ends)) * self.total[place]
        return found == (last - first).prod(0)
