"""Around which points a piecewise-linear map is straight along every ray, though its slopes may jump there."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from separatrix.certificates.attraction.cell_walk import Walk
from separatrix.systems.curves import Curve

_MOST = 50_000
"""Weights up to which a network is evaluated in rational arithmetic."""
_ROUNDED = ("hardsigmoid",)
"""Activations whose slopes are no floating-point numbers."""


def straight(walk: Walk, centre: Float[Tensor, " n"], r: Float[Tensor, "n B"]) -> Bool[Tensor, " B"]:
    """Whether f(c) = c exactly, and f(c + td) - c = t (f(c + d) - c) for 0 <= t <= 1 and all |d| <= r.

    It holds where no pre-activation meets a kink over the box but those that are on one at the centre, exactly: every
    value then is straight along rays from the centre. Evaluated in rational numbers at the centre.
    """
    none = torch.zeros(r.shape[1], dtype=torch.bool)
    *inner, last = walk.blocks
    whole = torch.cat([centre, walk.u])
    curves = [block.curve for block in inner]
    if not all(curve is not None and _exact(curve) for curve in curves):
        return none
    if sum(int((w != 0).sum()) for block in walk.blocks for w in block.weights.values()) > _MOST:
        return none
    values = [[Fraction(x) for x in whole.tolist()]]
    exact: list[list[Fraction]] = []
    for block in (*inner, last):
        z = [Fraction(x) for x in block.bias.tolist()]
        for source, weight in block.weights.items():
            for i, j in (weight != 0).nonzero().tolist():
                z[i] += Fraction(float(weight[i, j])) * values[source][j]
        exact.append(z)
        if block is not last:
            values.append([_value(block.curve, x, i) for i, x in enumerate(z)])
    if exact[-1] != values[0]:
        return none
    wide = torch.cat([r, r.new_zeros(len(walk.u), r.shape[1])])
    found = walk(whole[:, None].expand_as(wide).contiguous(), wide)
    good = ~none
    for curve, z, (lo, hi) in zip(curves, exact, found.ranges, strict=False):
        assert curve is not None and curve.pieces is not None
        for kink in curve.pieces.breakpoints.tolist():
            here = torch.tensor([x == Fraction(kink) for x in z])[:, None]
            good = good & (here | (lo > kink) | (hi < kink)).all(0)
    return good


def _exact(curve: Curve) -> bool:
    """Whether the pieces are the function itself: no rounding in them, so that neighbours meet."""
    pieces = curve.pieces
    if pieces is None or curve.name in _ROUNDED:
        return False
    flat = pieces.slopes.reshape(len(pieces.slopes), -1).T.tolist()
    offsets = pieces.offsets.reshape(len(pieces.slopes), -1).T.tolist()
    kinks = [Fraction(k) for k in pieces.breakpoints.tolist()]
    for slope, offset in zip(flat, offsets, strict=True):
        for k, kink in enumerate(kinks):
            left, right = (Fraction(slope[i]) * kink + Fraction(offset[i]) for i in (k, k + 1))
            if left != right:
                return False
    return True


def _value(curve: Any, z: Fraction, component: int) -> Fraction:
    pieces = curve.pieces
    piece = sum(z > Fraction(k) for k in pieces.breakpoints.tolist())
    pick = (lambda t: t[piece]) if pieces.slopes.ndim == 1 else (lambda t: t[piece, component])
    return Fraction(float(pick(pieces.slopes))) * z + Fraction(float(pick(pieces.offsets)))
