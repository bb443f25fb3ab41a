"""Search for cells that are attracted: outward from an ellipsoid, on finer and finer lattices."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.certificates.attraction.cell_lattice import Lattice, Table
from separatrix.certificates.attraction.cell_walk import Cells, Walk
from separatrix.certificates.attraction.ellipsoids import Metric

RECORDED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Steps after which images are compared with what is attracted."""
_PAUSES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_PATIENCE = 32
"""Steps that are made at least, a quarter of them on finer lattices; then cells are given up where none are found."""
_SPREAD = 3.0
"""Images wider than this, in units of the box, are given up."""
_ROUND = 1e-11
"""Images are taken to be wider by this share of the box, so that the check, which may round otherwise, agrees."""


@dataclass(frozen=True)
class Grown:
    """Cells of the finest lattice's places, and the steps after which the image of each is covered."""

    lattice: Lattice
    first: Int[Tensor, "n K"]
    last: Int[Tensor, "n K"]
    steps: Int[Tensor, " K"]


def grown(
    walk: Walk, shape: Metric, centre: Float[Tensor, " n"], level: float, lattice: Lattice, levels: int, until: float
) -> Grown:
    """Find attracted cells on a lattice, then on lattices of half the size at the border of what was found."""
    region = _Region(walk, shape, centre, level, lattice, until)
    for turn in range(levels):
        if turn:
            region.refine()
        if not region.grow(everywhere=turn == 0):
            break
    return region.result()


@dataclass
class _Images:
    """Boxes around images, by the places of the lattice that they meet."""

    cell: Tensor
    steps: Tensor
    first: Tensor
    last: Tensor

    def pick(self, which: Tensor) -> _Images:
        return _Images(self.cell[which], self.steps[which], self.first[:, which], self.last[:, which])


@dataclass
class _Region:
    walk: Walk
    shape: Metric
    centre: Tensor
    level: float
    lattice: Lattice
    until: float
    size: int = 0
    found: list[tuple[Tensor, Tensor, Tensor, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mask = torch.zeros(self.lattice.shape, dtype=torch.bool)

    def refine(self) -> None:
        self.lattice = self.lattice.doubled()
        self.size += 1
        for axis in range(self.mask.ndim):
            self.mask = self.mask.repeat_interleave(2, axis)

    def result(self) -> Grown:
        """All cells, in places of the finest lattice."""
        n = self.mask.ndim
        first = [first << (self.size - size) for first, _, _, size in self.found]
        last = [last << (self.size - size) for _, last, _, size in self.found]
        steps = [steps for _, _, steps, _ in self.found]
        none = torch.zeros(n, 0, dtype=torch.int64)
        return Grown(
            self.lattice, torch.cat([none, *first], 1), torch.cat([none, *last], 1), torch.cat([none[0], *steps])
        )

    def grow(self, everywhere: bool) -> bool:
        """Add cells until no more are found; False where time is up."""
        tried = self.mask.clone()
        while perf_counter() < self.until:
            wanted = ~tried if everywhere else ~tried & _next_to(self.mask)
            places = wanted.nonzero().T.contiguous()
            if not places.shape[1]:
                return True
            tried |= wanted
            before = int(self.mask.sum())
            self._carry(places, everywhere)
            if everywhere or int(self.mask.sum()) == before:
                return True
        return False

    def _carry(self, places: Tensor, everywhere: bool) -> None:
        """Carry cells until their images are covered, or for as long as more of them are."""
        lo, hi = self.lattice.corners(places, places + 1)
        done = self.shape.most(lo - self.centre[:, None], hi - self.centre[:, None]) <= self.level * (1 - _ROUND)
        self._add(places, torch.zeros_like(places[0]), done)
        here = (~done).nonzero()[:, 0]
        cells = self.walk.start(lo[:, here], hi[:, here])
        waiting: list[_Images] = []
        idle, steps = 0, 0
        wide = self.lattice.hi - self.lattice.lo
        while len(here) and steps < RECORDED[-1] and perf_counter() < self.until:
            cells, steps = self._step(cells), steps + 1
            if steps not in RECORDED:
                continue
            inside = self.shape.after(cells, self.centre) <= self.level * (1 - _ROUND)
            self._add(places, torch.full_like(here, steps), inside, here)
            done[here[inside]] = True
            slack = _ROUND * wide[:, None]
            first, last, within = self.lattice.around(cells.lo - slack, cells.hi + slack)
            waiting.append(_Images(here, torch.full_like(here, steps), first, last).pick(within & ~inside))
            if steps in _PAUSES:
                before = int(done.sum())
                waiting = [self._spread(places, waiting, done)]
                idle = 0 if int(done.sum()) > before or bool(inside.any()) else idle + 1
                if idle > 1 and steps >= (_PATIENCE if everywhere else _PATIENCE // 4):
                    break
            narrow = ((cells.hi - cells.lo) <= _SPREAD * wide[:, None]).all(0)
            keep = narrow & ~done[here]
            here, cells = here[keep], cells.pick(keep)

    def _step(self, cells: Cells) -> Cells:
        chunk = self.walk.chunk
        count = cells.c.shape[1]
        if count <= chunk:
            return self.walk.step(cells)
        parts = [self.walk.step(cells.pick(slice(at, at + chunk))) for at in range(0, count, chunk)]
        return Cells(*(torch.cat(part, -1) for part in zip(*parts, strict=True)))

    def _spread(self, places: Tensor, waiting: list[_Images], done: Tensor) -> _Images:
        """Add cells with covered images, until nothing is added."""
        names = ("cell", "steps", "first", "last")
        images = _Images(*(torch.cat([getattr(one, name) for one in waiting], -1) for name in names))
        while True:
            images = images.pick(~done[images.cell])
            covered = Table(self.mask).covers(images.first, images.last)
            if not bool(covered.any()):
                return images
            cell, steps = images.cell[covered], images.steps[covered]
            # the fewest steps of each cell
            order = steps.argsort(descending=True, stable=True)
            least = torch.zeros(places.shape[1], dtype=torch.int64)
            least[cell[order]] = steps[order]
            added = torch.zeros_like(done)
            added[cell] = True
            self._add(places, least, added)
            done |= added

    def _add(self, places: Tensor, steps: Tensor, which: Tensor, here: Any = None) -> None:
        new = places[:, which] if here is None else places[:, here[which]]
        if new.shape[1]:
            self.mask[tuple(new)] = True
            self.found.append((new, new + 1, steps[which], self.size))


def _next_to(mask: Tensor) -> Tensor:
    """Cells within two of a set."""
    pool = (torch.nn.functional.max_pool1d, torch.nn.functional.max_pool2d, torch.nn.functional.max_pool3d)[
        mask.ndim - 1
    ]
    return pool(mask[None, None].float(), 5, 1, 2)[0, 0] > 0
