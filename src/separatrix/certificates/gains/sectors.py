"""Sectors of activations: between which two slopes each lies, everywhere, on a box, about a point or far out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from separatrix.certificates.verified import TINY, UNIT, UP
from separatrix.systems.curves import Curve
from separatrix.systems.lure import Lure

FAR = 64.0
"""Beyond this every smooth activation with limits has its limiting slopes to about 1e-13."""
_CELLS = 4096


@dataclass(frozen=True)
class Sectors:
    """For every block but the last, slopes lo <= (s(z) - s(w))/(z - w) <= hi of its components.

    Attributes
    ----------
    lo, hi : list of Tensor (n_l,), float64
    rest : list of Tensor (n_l,), float64, or None
        Where values are only known up to a bounded rest: |s(z) - k z| <= rest for a k in [lo, hi].
    """

    lo: list[Tensor]
    hi: list[Tensor]
    rest: list[Tensor] | None = None

    @property
    def largest(self) -> list[Tensor]:
        """Largest size of a slope in each sector."""
        return [torch.maximum(a.abs(), b.abs()) for a, b in zip(self.lo, self.hi, strict=True)]


def slope_sectors(network: Lure) -> Sectors:
    """Slopes between any two points."""
    lo, hi = [], []
    for block in network.blocks[:-1]:
        assert block.curve is not None
        ones = torch.ones_like(block.bias)
        lo.append(ones * block.curve.slope_range[0])
        hi.append(ones * block.curve.slope_range[1])
    return Sectors(lo, hi)


def slope_sectors_over(network: Lure, ranges: list[tuple[Tensor, Tensor]]) -> Sectors:
    """Slopes between any two points where the pre-activations of each block lie within given bounds."""
    found = [_curve(network, k).slope_over(*bounds) for k, bounds in enumerate(ranges)]
    return Sectors([a for a, _ in found], [b for _, b in found])


def chord_sectors(network: Lure, at: list[Tensor], window: list[Tensor]) -> Sectors:
    """Chords from given pre-activations to all others, and slopes within a window about them."""
    lo, hi = [], []
    for k, (z, wide) in enumerate(zip(at, window, strict=True)):
        curve, far = _curve(network, k), torch.full_like(z, torch.inf)
        a, b = curve.chord_over(z, -far, far)
        wide = wide + 4 * UNIT * (z.abs() + wide)  # what rounding takes from its ends
        least, most = curve.slope_over(z - wide, z + wide)
        lo.append(torch.minimum(a, least))
        hi.append(torch.maximum(b, most))
    return Sectors(lo, hi)


def recession_sectors(network: Lure) -> Sectors:
    """Slopes far out, and a bound of how far values are from lines through the origin with those slopes."""
    lo, hi, rest = [], [], []
    for k, block in enumerate(network.blocks[:-1]):
        a, b, q = _recession(_curve(network, k), len(block.bias))
        lo.append(a)
        hi.append(b)
        rest.append(q)
    return Sectors(lo, hi, rest)


def _curve(network: Lure, k: int) -> Curve:
    curve = network.blocks[k].curve
    assert curve is not None
    return curve


def _recession(curve: Curve, n: int) -> tuple[Tensor, Tensor, Tensor]:
    zeros = torch.zeros(n, dtype=torch.float64)
    if curve.bounded is not None:
        return zeros, zeros, zeros + max(map(abs, curve.bounded))
    # breakpoints of piecewise-linear functions may lie anywhere
    reach = FAR if curve.pieces is None or not len(curve.pieces.breakpoints) else _past(curve)
    right = curve.slope_over(zeros + reach, zeros + torch.inf)
    left = curve.slope_over(zeros - torch.inf, zeros - reach)
    # s(z) = s(R) + k (z - R) with a slope k far out, so that the rest there is s(R) - k R
    rest = zeros
    for (a, b), end in ((right, reach), (left, -reach)):
        low, high = curve.value_over(zeros + end, zeros + end)
        for slope in (a, b):
            rest = torch.maximum(rest, torch.maximum((low - slope * end).abs(), (high - slope * end).abs()))
    edges = torch.linspace(0, reach, _CELLS + 1, dtype=torch.float64)
    for (a, _), sign in ((right, 1.0), (left, -1.0)):
        ends = torch.stack([sign * edges[:-1], sign * edges[1:]]).sort(0).values[..., None]
        low, high = curve.value_over(*(v.expand(-1, n) for v in ends))
        lines = torch.stack([ends[0] * a, ends[1] * a])
        off = torch.maximum((high - lines.amin(0)).abs(), (lines.amax(0) - low).abs())
        rest = torch.maximum(rest, off.amax(0))
    allowance = 2.0**-40 * (1 + reach)
    return torch.minimum(left[0], right[0]), torch.maximum(left[1], right[1]), rest * UP + allowance + TINY


def _past(curve: Curve) -> float:
    assert curve.pieces is not None
    return float(curve.pieces.breakpoints.abs().max()) + 1.0
