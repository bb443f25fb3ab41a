"""A map on a box: bounds of every pre-activation and of the image, by cutting the box into cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.problem import Problem
from separatrix.local.interval_forms import Enclosed

CELLS = 4096
"""Cells that a box is cut into, all sides alike."""
_BYTES = 64_000_000


@dataclass(frozen=True)
class Over:
    """What holds for all states of a box, and all inputs.

    Attributes
    ----------
    ranges : list of (lo, hi) of Tensor (n_l,)
        Of the pre-activations of every block but the last.
    lo, hi : Tensor (outputs,)
        Of the image.
    """

    ranges: list[tuple[Tensor, Tensor]]
    lo: Float[Tensor, " outputs"]
    hi: Float[Tensor, " outputs"]


def cells(
    lo: Float[Tensor, " n"], hi: Float[Tensor, " n"], most: int = CELLS
) -> tuple[Float[Tensor, "n K"], Float[Tensor, "n K"]]:
    """Corners of the cells of a lattice that covers a box; neighbours share their borders exactly."""
    n = len(lo)
    side = max(1, int(most ** (1 / n) + 1e-9))
    share = torch.linspace(0, 1, side + 1, dtype=torch.float64)
    edges = lo[:, None] + (hi - lo)[:, None] * share
    edges[:, 0], edges[:, -1] = lo, hi
    index = torch.cartesian_prod(*[torch.arange(side)] * n).view(-1, n).T
    return edges.gather(1, index), edges.gather(1, index + 1)


def over(
    problem: Problem, lo: Float[Tensor, " n"], hi: Float[Tensor, " n"], most: int = CELLS, *, times: int = 1
) -> Over:
    """Bounds over a box of states, for all inputs of the input box; exact in the limit of many cells."""
    low, high = cells(lo, hi, most)
    u_low, u_high = (side[:, None].expand(-1, low.shape[1]) for side in problem.u_box)
    low, high = torch.cat([low, u_low]), torch.cat([high, u_high])
    enclosed = Enclosed(problem.network, times)
    chunk = max(1, _BYTES // (8 * 6 * enclosed.width))
    found: Over | None = None
    for at in range(0, low.shape[1], chunk):
        a, b = low[:, at : at + chunk], high[:, at : at + chunk]
        c = a + (b - a) / 2
        r = torch.maximum(b - c, c - a) * (1 + 2.0**-50)
        one = enclosed(c, r)
        ranges = [(x.amin(1), y.amax(1)) for x, y in one.ranges]
        part = Over(ranges, one.lo.amin(1), one.hi.amax(1))
        found = part if found is None else _hull(found, part)
    assert found is not None
    return found


def _hull(a: Over, b: Over) -> Over:
    ranges = [(torch.minimum(p, r), torch.maximum(q, s)) for (p, q), (r, s) in zip(a.ranges, b.ranges, strict=True)]
    return Over(ranges, torch.minimum(a.lo, b.lo), torch.maximum(a.hi, b.hi))


def invariant(problem: Problem, found: Over) -> bool:
    """Whether the box of the problem is mapped into itself."""
    assert problem.box is not None
    lo, hi = problem.box
    return bool((found.lo >= lo).all()) and bool((found.hi <= hi).all())
