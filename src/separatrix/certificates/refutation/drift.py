"""Maps of one number that move everything beyond some place further out, by at least a fixed step.

All v_k(x) for x = sigma t, t >= T, are written as a t + [lo, hi] with an exact slope a: slopes that are 1 in sum must
be 1 exactly. Arithmetic is that of fractions; activations alone bring bounds that are rounded, outwards.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import torch

from separatrix.certificates.refutation.recession import slopes_at_infinity
from separatrix.systems.curves import Curve
from separatrix.systems.lure import Lure

_MIRRORED = ("gelu", "gelu_tanh", "hardswish", "logsigmoid", "silu", "softplus")
"""s(z) - z = s(-z)."""


class Line(NamedTuple):
    """Slope t + [lo, hi] for t >= T."""

    slope: Fraction
    lo: Fraction
    hi: Fraction


def drifts(network: Lure, data: dict[str, Any]) -> float:
    """Least step outwards from all points beyond a place, the way of its sign; 0 where nothing is shown.

    Takes ``start``, a number other than 0. Where sigma f(sigma t) >= t + step for all t >= T > 0, orbits that start at
    sigma T or beyond diverge.
    """
    start = float(data["start"])
    if network.inputs != 1 or network.outputs != 1 or start == 0 or not math.isfinite(start):
        return 0.0
    sign, T = (1 if start > 0 else -1), Fraction(abs(start))
    try:
        line = _followed(network, sign, T)
    except OverflowError:  # beyond the largest float
        return 0.0
    if line is None:
        return 0.0
    slope, least = (line.slope, line.lo) if sign > 0 else (-line.slope, -line.hi)
    if slope < 1:
        return 0.0
    step = float(least + (slope - 1) * T)
    return step if step > 1e-300 else 0.0


def search(network: Lure, places: list[float]) -> dict[str, Any] | None:
    """Try a few starts: near those given, where something may begin to diverge, and further and further out."""
    if network.inputs != 1 or network.outputs != 1:
        return None
    near = [place * factor for place in places for factor in (1.001, 1.1) if place]
    for start in (*near, *(sign * 2.0**k for k in range(-2, 13, 2) for sign in (1, -1))):
        data = {"start": start}
        if drifts(network, data) > 0:
            return data
    return None


def _followed(network: Lure, sign: int, T: Fraction) -> Line | None:
    zero = Fraction(0)
    values = [[Line(Fraction(sign), zero, zero)]]
    for block in network.blocks:
        if not bool(torch.isfinite(block.bias).all()):
            return None
        rows = [Line(zero, *([Fraction(b)] * 2)) for b in block.bias.tolist()]
        for source, weight in block.weights.items():
            if not bool(torch.isfinite(weight).all()):
                return None
            for i, row in enumerate(weight.tolist()):
                for w, v in zip(row, values[source], strict=True):
                    ends = sorted((Fraction(w) * v.lo, Fraction(w) * v.hi))
                    rows[i] = Line(rows[i].slope + Fraction(w) * v.slope, rows[i].lo + ends[0], rows[i].hi + ends[1])
        if block.curve is None:
            return rows[0]
        found = [_activated(block.curve, row, T) for row in rows]
        if any(line is None for line in found):
            return None
        values.append([line for line in found if line is not None])
    return None


def _activated(shape: Curve, z: Line, T: Fraction) -> Line | None:
    ends = slopes_at_infinity(shape)
    # the slope of SELU is not known exactly
    if ends is None or shape.name == "selu":
        return None
    a, b = z.slope * T + z.lo, z.slope * T + z.hi
    if z.slope == 0:
        return _over(shape, Fraction(0), _down(a), _up(b))
    steep = Fraction(ends[1] if z.slope > 0 else ends[0])
    # all arguments for t >= T
    lo, hi = (_down(a), math.inf) if z.slope > 0 else (-math.inf, _up(b))
    rest = _over(shape, steep, lo, hi)
    if rest is None:
        return None
    own = sorted((steep * z.lo, steep * z.hi))
    return Line(steep * z.slope, own[0] + rest.lo, own[1] + rest.hi)


def _over(shape: Curve, steep: Fraction, lo: float, hi: float) -> Line | None:
    """Bounds of s(z) - steep z over [lo, hi], with slope 0."""
    if shape.pieces is not None and (steep or not shape.bounded):
        return _pieces_over(shape, steep, lo, hi)
    if steep == 1 and shape.name in _MIRRORED:
        lo, hi = -hi, -lo
    elif steep == 1 and shape.name in ("celu", "elu") and lo >= 0:
        return Line(*[Fraction(0)] * 3)
    elif steep:
        return None
    least, most = (float(v) for v in shape.value_over(*(torch.tensor(v, dtype=torch.float64) for v in (lo, hi))))
    if not (math.isfinite(least) and math.isfinite(most)):
        return None
    return Line(Fraction(0), Fraction(least), Fraction(most))


def _pieces_over(shape: Curve, steep: Fraction, lo: float, hi: float) -> Line | None:
    """The same of a piecewise-linear activation: at the ends, and at the kinks within."""
    assert shape.pieces is not None
    if shape.pieces.slopes.ndim != 1:
        return None
    kinks, slopes, offsets = (v.tolist() for v in (shape.pieces.breakpoints, shape.pieces.slopes, shape.pieces.offsets))
    found = []
    for k, (m, b) in enumerate(zip(slopes, offsets, strict=True)):
        left, right = ([-math.inf, *kinks][k], [*kinks, math.inf][k])
        left, right = max(left, lo), min(right, hi)
        if left > right:
            continue
        for z in (left, right):
            if math.isfinite(z):
                found.append((Fraction(m) - steep) * Fraction(z) + Fraction(b))
            elif Fraction(m) != steep:
                return None
            else:
                found.append(Fraction(b))
    return Line(Fraction(0), min(found), max(found))


def _down(x: Fraction) -> float:
    return math.nextafter(float(x), -math.inf)


def _up(x: Fraction) -> float:
    return math.nextafter(float(x), math.inf)
