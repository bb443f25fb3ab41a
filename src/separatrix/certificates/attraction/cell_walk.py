"""Where cells of states go, step by step: rigorous images in centred form about the orbit of each cell's middle."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.problem import Problem
from separatrix.local.interval_forms import UP, Enclosed, activated, midpoint
from separatrix.systems.lure import Block, Lure

Columns = Float[Tensor, "n B"]


class Cells(NamedTuple):
    """Cells c +- r and what holds of their images after some steps, for d = x - c in +-r.

    The image of x is in value +- error + (slope +- slope_radius) d, and in [lo, hi].

    Attributes
    ----------
    c, r : Tensor (n, B)
    middle, radius : Tensor (n + m, n + m + 3, B)
        Intervals: derivatives by the cell's state and the inputs; the error; the image; the image of the middle.
    lo, hi : Tensor (n, B)
    """

    c: Columns
    r: Columns
    middle: Float[Tensor, "N M B"]
    radius: Float[Tensor, "N M B"]
    lo: Columns
    hi: Columns

    @property
    def value(self) -> Columns:
        """What the middle is carried to, in floating point."""
        return self.middle[: len(self.c), -1]

    @property
    def error(self) -> Columns:
        """Bound of what is neither in ``value`` nor in the linear part."""
        n = len(self.c)
        return (self.middle[:n, -3].abs() + self.radius[:n, -3]) * UP

    @property
    def slope(self) -> Float[Tensor, "n n B"]:
        """Midpoints of the interval matrices."""
        n = len(self.c)
        return self.middle[:n, :n]

    @property
    def slope_radius(self) -> Float[Tensor, "n n B"]:
        """Their radii."""
        n = len(self.c)
        return self.radius[:n, :n]

    def pick(self, which: Tensor | slice) -> Cells:
        """Some of the cells."""
        return Cells(*(part[..., which] for part in self))


class Walk(Enclosed):
    """A map x+ = f(x, u) with a constant u, ready to carry cells.

    Parameters
    ----------
    problem : Problem
        Its input box must be a point.

    Notes
    -----
    One step costs a pass of :class:`separatrix.local.interval_forms.Enclosed`, and nothing of it is kept but the cells'
    images: many steps need no more memory than one. Chords and slopes multiply from step to step, so that an image
    stays second order in the size of its cell.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(_passing_inputs_on(problem))
        self.states = problem.n
        self.u = problem.u_box[0]

    def start(self, lo: Columns, hi: Columns) -> Cells:
        """Cells with given corners, before the first step."""
        c = lo + (hi - lo) / 2
        r = torch.maximum(hi - c, c - lo) * (1 + 2.0**-50)
        return self.around(c, r)

    def around(self, c: Columns, r: Columns) -> Cells:
        """Cells with given middles and radii."""
        n, N, wide = self.states, self.n, c.shape[1]
        middle = c.new_zeros(N, N + 3, wide)
        middle[:, :N] = torch.eye(N, dtype=c.dtype)[:, :, None]
        middle[:n, N + 1] = middle[:n, N + 2] = c
        middle[n:, N + 1] = middle[n:, N + 2] = self.u[:, None]
        radius = torch.zeros_like(middle)
        radius[:n, N + 1] = r
        # rounding of the sums only; nothing reads the corners of cells that have not moved
        return Cells(c, r, middle, radius, c - r, c + r)

    @torch.no_grad()
    def step(self, cells: Cells, kind: Literal["chords", "slopes"] = "chords") -> Cells:
        """Carry cells by one step; with chords from the middle's orbit, or slopes between any two points of a cell."""
        n, N, wide = self.states, self.n, cells.c.shape[1]
        r = torch.cat([cells.r, cells.r.new_zeros(N - n, wide)])
        values = [(cells.middle, cells.radius)]
        for place, block in enumerate(self.blocks):
            middle, radius = self._affine(place, values, wide)
            centre, lo, hi = self._range(middle, radius, r)
            if place < len(self.blocks) - 1:
                assert block.curve is not None
                values.append(activated(block.curve, middle, radius, centre, lo, hi, kind))
        middle[:, N + 1], radius[:, N + 1] = midpoint(lo, hi)
        # what the middle's image is off by has become a part of the error
        middle[:, N + 2], radius[:, N + 2] = centre, 0.0
        return Cells(cells.c, cells.r, middle, radius, lo[:n], hi[:n])

    @property
    def chunk(self) -> int:
        """Cells of one pass, for about 64 MB."""
        return max(64, min(4096, 64_000_000 // (48 * self.width)))


def _passing_inputs_on(problem: Problem) -> Lure:
    """The map (x, u) -> (f(x, u), u), which goes on by itself."""
    network, n, m = problem.network, problem.n, problem.m
    if not m:
        return network
    last = network.blocks[-1]
    weights = {source: torch.cat([w, w.new_zeros(m, w.shape[1])]) for source, w in last.weights.items()}
    through = torch.cat([torch.zeros(m, n), torch.eye(m)], 1).double()
    whole = weights.get(0, through.new_zeros(n + m, n + m))
    weights[0] = torch.cat([whole[:n], through])
    output = Block(last.label, weights, torch.cat([last.bias, last.bias.new_zeros(m)]), None)
    return Lure((*network.blocks[:-1], output), (n + m,), (n + m,))
