"""Piecewise-linear activations, and those with an exponential below 0: ELU, CELU, SELU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, nextafter

import torch
import torch.nn.functional as F
from torch import Tensor

from separatrix.systems.curve_bounds import range_over
from separatrix.systems.curve_forms import ROUNDING, Bounds, Extreme, Form, One, Pieces, Two, decay, split

SELU = (1.0507009873554805, 1.7580993408473766)
"""Slopes of SELU from the right and the left of 0."""

Number = float | Tensor


def piecewise(
    name: str,
    value: One,
    places: Sequence[float],
    slopes: Sequence[Number],
    offsets: Sequence[float],
    rounding: float = 0.0,
    slope_rounding: float = 0.0,
) -> Form:
    """Form of slopes[k] z + offsets[k] between ascending, distinct places; ranges follow from the pieces.

    ``rounding`` is the relative error of a value, 0 where torch compares and copies only; ``slope_rounding`` that of
    the slopes given. A slope may be a tensor (n,),
    one for each component of z's last dimension.
    """
    knots_at = torch.tensor(list(places), dtype=torch.float64)
    m = torch.stack(torch.broadcast_tensors(*[torch.as_tensor(s, dtype=torch.float64) for s in slopes]))
    b = torch.tensor(list(offsets), dtype=torch.float64)
    b = b.view(-1, *[1] * (m.ndim - 1)).expand_as(m).contiguous()
    knots = m[1:] * knots_at.view(-1, *[1] * (m.ndim - 1)) + b[1:]
    middle = int((knots_at <= 0).sum())
    at_zero = float(b[middle].flatten()[0])
    beside = [middle - 1, middle] if 0.0 in places else [middle]
    secants = [(knots[k] - at_zero) / place for k, place in enumerate(places) if place]
    chords = torch.stack([m[0], m[-1], *[m[k] for k in beside], *secants])
    steepest = float(m.abs().max())
    levels = [*knots, *([] if len(places) else [b[0]])]
    flat = not bool(m[0].any() or m[-1].any())

    def slope(z: Tensor) -> Tensor:
        found = _like(m[0], z)
        for place, right in zip(places, m[1:], strict=True):
            found = torch.where(z >= place, _like(right, z), found)
        return torch.where(z.isnan(), z, found)

    def centred(z: Tensor, c: Tensor) -> Tensor:
        return split(z, c, tuple(places), tuple(_constant(part) for part in m))

    def chord_bounds(c: Tensor, lo: Tensor, hi: Tensor) -> Bounds:
        # chords are monotone between kinks, so that the ends and the kinks have all extremes
        found = [centred(lo, c), centred(hi, c)]
        found += [torch.where((lo <= place) & (place <= hi), centred(z, c), found[0]) for place, z in _at(places, c)]
        least = torch.stack(found).amin(0) - ROUNDING * steepest
        most = torch.stack(found).amax(0) + ROUNDING * steepest
        here, there = range_over(slope, bends, c, c, (slope_rounding, 0.0))
        inside = (lo <= c) & (c <= hi)
        least = torch.where(inside, torch.minimum(least, here), least)
        most = torch.where(inside, torch.maximum(most, there), most)
        all_least, all_most = range_over(
            slope, bends, torch.minimum(lo, c), torch.maximum(hi, c), (slope_rounding, 0.0)
        )
        return torch.maximum(least, all_least), torch.minimum(most, all_most)

    # a slope that is not exact goes in with what lies around it
    shares = (1.0, 1 - slope_rounding, 1 + slope_rounding) if slope_rounding else (1.0,)
    bends = tuple(Extreme(t, tuple(m[j] * s for j in (k, k + 1) for s in shares)) for k, t in enumerate(places))
    return Form(
        name,
        value,
        slope,
        centred,
        lambda z: centred(z, torch.zeros_like(z)),
        (float(chords.min()), float(chords.max())),
        (float(m.min()), float(m.max())),
        at_zero=at_zero,
        homogeneous=not any(places) and not bool(b.any()),
        bounded=(float(min(v.min() for v in levels)), float(max(v.max() for v in levels))) if flat else None,
        pieces=Pieces(knots_at, m, b),
        turns=tuple(Extreme(place, (knots[k],)) for k, place in enumerate(places)),
        bends=bends,
        value_error=(rounding, rounding * float(b.abs().max())),
        slope_error=(slope_rounding, 0.0),
        chord_bounds=chord_bounds,
    )


def _at(places: Sequence[float], c: Tensor) -> list[tuple[float, Tensor]]:
    return [(place, torch.full_like(c, place)) for place in places]


def _like(part: Tensor, z: Tensor) -> Tensor:
    return part.to(z).expand_as(z)


def _constant(part: Tensor) -> Two:
    return lambda a, b: _like(part, a)


def clipped(name: str, value: One, least: float, most: float) -> Form:
    """clip(z, least, most); an infinite end is no end, and ``most`` wins where the two are upside down, as in torch."""
    if least >= most:
        return piecewise(name, value, [], [0.0], [most])
    places, slopes, offsets = [], [1.0], [0.0]
    if least > -inf:
        places, slopes, offsets = [least], [0.0, *slopes], [least, *offsets]
    if most < inf:
        places, slopes, offsets = [*places, most], [*slopes, 0.0], [*offsets, most]
    return piecewise(name, value, places, slopes, offsets)


def hardsigmoid() -> Form:
    """clip(z / 6 + 1/2, 0, 1)."""
    form = piecewise("hardsigmoid", F.hardsigmoid, [-3.0, 3.0], [0.0, 1 / 6, 0.0], [0.0, 0.5, 1.0], ROUNDING, ROUNDING)
    most = nextafter(1 / 6, 1.0)  # a sixth is no binary number
    return replace(form, chord_range=(0.0, most), slope_range=(0.0, most))


def leaky(name: str, value: One, slope: Number) -> Form:
    """Z from 0 upwards, slope z below."""
    ramp = isinstance(slope, float) and abs(slope) in (0.0, 1.0)
    return piecewise(name, value, [0.0], [slope, 1.0], [0.0, 0.0], rounding=0.0 if ramp else ROUNDING)


def softshrink(value: One, width: float) -> Form:
    """Towards 0 by ``width``, and 0 within it."""
    if width == 0:
        return piecewise("softshrink", value, [], [1.0], [0.0])
    return piecewise("softshrink", value, [-width, width], [1.0, 0.0, 1.0], [width, 0.0, -width], rounding=ROUNDING)


def exponential(name: str, value: One, steep: float, start: float, rate: float = 1.0, exact: bool = True) -> Form:
    """Steep z from 0 upwards and start (exp(rate z) - 1) / rate below, for steep and rate > 0.

    The slopes from both sides of 0 are ``steep`` and ``start``; where they are not ``exact``, they are so to rounding.
    """
    sides = (start, steep) if exact else tuple(nextafter(s, towards) for s in (start, steep) for towards in (-inf, inf))
    hull = (min(0.0, *sides), max(sides))

    def below(a: Tensor, b: Tensor) -> Tensor:
        return start * torch.exp(rate * torch.maximum(a, b)) * decay(rate * (a - b).abs())

    def above(a: Tensor, b: Tensor) -> Tensor:
        return torch.full_like(a, steep)

    def centred(z: Tensor, c: Tensor) -> Tensor:
        return split(z, c, (0.0,), (below, above))

    return Form(
        name,
        value,
        lambda z: torch.where(z >= 0, steep, start * torch.exp(rate * z.clamp(max=0))),
        centred,
        lambda z: centred(z, torch.zeros_like(z)),
        hull,
        hull,
        turns=(Extreme(0.0, (0.0,)),),
        bends=(Extreme(0.0, sides, turns=not 0 <= start <= steep),),
        # rounding rate z costs as many units as its size, of a slope that falls like its exponential
        slope_error=(ROUNDING, ROUNDING * abs(start)),
    )
