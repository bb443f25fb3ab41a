"""Krawczyk's operator on f(x) - x: which boxes hold no fixed point, which hold one, and where in a box they can be."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from separatrix.local.interval_forms import UP, Columns, Enclosed, Enclosure

_UNIT = 2.0**-52
_LADDER = 44
"""Sizes at which uniqueness is tried, each half of the one before."""


class Verdict(NamedTuple):
    """What one step says of boxes c +- r.

    Attributes
    ----------
    empty : Tensor (B,)
        There is no fixed point in the box.
    holds : Tensor (B,)
        There is at least one; and just one, if the enclosure was of slopes.
    lo, hi : Tensor (n, B)
        All fixed points of the box are in here.
    smear : Tensor (n, B)
        How much each component of x spreads f(x) - x over the box.
    """

    empty: Bool[Tensor, " B"]
    holds: Bool[Tensor, " B"]
    lo: Columns
    hi: Columns
    smear: Columns


def step(found: Enclosure, c: Columns, r: Columns) -> Verdict:
    """Apply K(X) = c - C g(c) + (I - C G)(X - c) for g(x) = f(x) - x, with C close to the inverse of G's midpoint.

    Fixed points of X lie in K(X) as well; K(X) inside X proves that there is one (R. Krawczyk, Computing 4, 187 (1969);
    R. E. Moore, SIAM J. Numer. Anal. 14, 611 (1977)), and that it is the only one where G bounds all slopes in X
    (A. Neumaier, *Interval Methods for Systems of Equations*, 1990, theorem 5.1.8).
    """
    n = len(c)
    eye = torch.eye(n, dtype=c.dtype)
    G = found.slope.permute(2, 0, 1) - eye
    spread = found.slope_radius.permute(2, 0, 1) + _UNIT * G.abs()
    g = (found.value - c).T[:, :, None]
    off = (found.error + _UNIT * (found.value.abs() + c.abs())).T[:, :, None]
    wide = r.T[:, :, None]
    lower, upper = c - r, c + r
    slack = 4 * _UNIT * (c.abs() + r)

    reach = ((G.abs() + spread) @ wide + off) * UP
    empty = (g.abs() > reach).any(1)[:, 0]
    empty |= (found.lo > upper + slack).any(0) | (found.hi < lower - slack).any(0)

    C = _inverse(G)
    size = C.abs()
    unit = (n + 4) * _UNIT
    left = (eye - C @ G).abs() + size @ (spread + unit * G.abs()) + unit * eye
    middle = c.T[:, :, None] - C @ g
    around = left @ wide + size @ (off + unit * g.abs()) + unit * (c.T[:, :, None].abs() + middle.abs())
    around = around * UP
    low, high = (middle - around)[..., 0].T, (middle + around)[..., 0].T
    empty |= (low > upper + slack).any(0) | (high < lower - slack).any(0)
    holds = ((low > lower + slack) & (high < upper - slack)).all(0) & ~empty
    smear = (G.abs() + spread).amax(1).T * r
    return Verdict(empty, holds, torch.fmax(low, lower), torch.fmin(high, upper), smear)


def _inverse(G: Float[Tensor, "B n n"]) -> Float[Tensor, "B n n"]:
    """Inverses, and zero where there is none: Krawczyk's operator then gives the box itself."""
    if G.shape[-1] == 1:
        found = 1 / G
    elif G.shape[-1] == 2:
        (a, b), (c, d) = G[:, 0].unbind(-1), G[:, 1].unbind(-1)
        found = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], 1) / (a * d - b * c)[:, None, None]
    else:
        found = torch.linalg.inv_ex(G)[0]
    good = torch.isfinite(found).all(-1).all(-1)
    return torch.where(good[:, None, None], found, 0.0)


class Proof(NamedTuple):
    """Fixed points that are proved, or not.

    Attributes
    ----------
    point : Tensor (n, K)
    proved : Tensor (K,)
    slack : Tensor (K,)
        The fixed point is within this of ``point`` in every component; infinite where nothing is proved.
    lo, hi : Tensor (n, K)
        It is the only one in this box, which holds ``point``; empty (NaN) where nothing is proved.
    """

    point: Columns
    proved: Bool[Tensor, " K"]
    slack: Float[Tensor, " K"]
    lo: Columns
    hi: Columns


def polish(network: Enclosed, x: Columns, size: float) -> Columns:
    """Newton's method from points that are close to fixed points."""
    best, least = x, torch.full_like(x[0], torch.inf)
    for _ in range(12):
        found = network(x, torch.zeros_like(x), "slopes")
        g = found.value - x
        error = g.abs().amax(0)
        better = error < least
        best, least = torch.where(better, x, best), torch.where(better, error, least)
        moved = (_inverse(found.slope.permute(2, 0, 1) - torch.eye(len(x), dtype=x.dtype)) @ g.T[:, :, None])[..., 0].T
        x = x - torch.where(moved.abs().amax(0) <= size, moved, 0.0)
    return best


def prove(network: Enclosed, x: Columns, size: float) -> Proof:
    """Prove that there is one fixed point near each point, and find how far around it is the only one.

    Boxes around the point of sizes from ``size`` downwards are tried, all at once; the largest that passes is kept, and
    the smallest bounds how far the fixed point is from the point.
    """
    n, count = x.shape
    # in a box of absurd size the ladder begins where the point's own size lets it end near rounding
    largest = (1e3 * (1 + x.abs().amax(0))).clamp(max=size)
    ladder = largest * (0.5 ** torch.arange(_LADDER, dtype=x.dtype))[:, None]
    r = ladder.flatten().expand(n, -1).contiguous()
    c = x.repeat(1, _LADDER)
    verdict = step(network(c, r, "slopes"), c, r)
    holds = verdict.holds.view(_LADDER, count)
    far = torch.maximum(verdict.hi - c, c - verdict.lo).amax(0).view(_LADDER, count)
    slack = torch.where(holds, far, torch.inf).amin(0) * UP
    widest = torch.where(holds, ladder, 0.0).amax(0)
    proved = holds.any(0)
    # less than the box of the proof, so that the rounding of the corners does not reach beyond it
    box = torch.where(proved, widest, torch.nan)
    box = box - 4 * _UNIT * (x.abs() + box)
    return Proof(x, proved, slack, x - box, x + box)
