"""What a family of activations gives for a curve: formulas, known ranges, and where values and slopes turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

One = Callable[[Tensor], Tensor]
Two = Callable[[Tensor, Tensor], Tensor]
Bounds = tuple[Tensor, Tensor]
Range = tuple[float, float]

ROUNDING = 2.0**-46
"""64 units of float64: no formula here has more than 15 roundings, and torch's functions are within 4 units each."""


@dataclass(frozen=True)
class Pieces:
    """A continuous piecewise-linear function: slopes[k] z + offsets[k] between breakpoints k - 1 and k.

    Attributes
    ----------
    breakpoints : Tensor (p,), float64
        Ascending and distinct.
    slopes, offsets : Tensor (p + 1,), float64
        (p + 1, n) for a PReLU with n parameters.
    """

    breakpoints: Tensor
    slopes: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class Extreme:
    """A place where a function of z turns, or jumps.

    Attributes
    ----------
    at : float
        The place.
    values : tuple of float or Tensor
        Values there, from both sides where it jumps. At a place that is irrational they are rounded outwards.
    slack : float
        The true place is within this of ``at``.
    turns : bool
        Whether the function is not monotone across the place.
    """

    at: float
    values: tuple[float | Tensor, ...]
    slack: float = 0.0
    turns: bool = True


@dataclass(frozen=True)
class Form:
    """Everything that :class:`separatrix.systems.curves.Curve` knows of an activation; see there for the quantities.

    ``value_error`` and ``slope_error`` (of chords too) are relative and absolute allowances for rounding. Evaluations
    for bounds happen within ``reach``; beyond it the function is at its limit to all digits. ``value_bounds``,
    ``slope_bounds``, ``chord_bounds``, ``bounding_chord`` and ``bent`` (whether the slope may turn within an interval)
    replace the general way where there is a better one.
    """

    name: str
    value: One
    slope: One
    centred: Two
    chord: One
    chord_range: Range
    slope_range: Range
    at_zero: float = 0.0
    homogeneous: bool = False
    bounded: Range | None = None
    pieces: Pieces | None = None
    jump: float = 0.0
    turns: tuple[Extreme, ...] = ()
    bends: tuple[Extreme, ...] = ()
    reach: Range = (-1e300, 1e300)
    value_error: Range = (ROUNDING, 0.0)
    slope_error: Range = (ROUNDING, 0.0)
    value_bounds: Callable[[Tensor, Tensor], Bounds] | None = None
    slope_bounds: Callable[[Tensor, Tensor], Bounds] | None = None
    chord_bounds: Callable[[Tensor, Tensor, Tensor], Bounds] | None = None
    bounding_chord: Two | None = None
    bent: Callable[[Tensor, Tensor], Tensor] | None = None


def finite(z: Tensor) -> Tensor:
    """Infinite numbers brought down to an eighth of the largest one, where every curve is at its limit."""
    most = torch.finfo(z.dtype).max / 8
    return z.clamp(-most, most)


def decay(t: Tensor) -> Tensor:
    """(1 - exp(-t)) / t for t >= 0, and 1 at 0: the mean of exp(-.) over [0, t]."""
    return torch.where(t == 0, 1.0, -torch.expm1(-t) / t)


def split(z: Tensor, c: Tensor, places: tuple[float, ...], parts: tuple[Two, ...]) -> Tensor:
    """Chord between c and z of a continuous function from its chords on the pieces between ``places``.

    The chord is the mean of the pieces' chords, weighted with the shares of [c, z] in them; where z = c, the slope of
    the piece to the right.
    """
    edges = (-inf, *places, inf)
    z, c = torch.broadcast_tensors(finite(z), finite(c))
    h = z - c
    total = torch.zeros_like(h)
    for left, right, part in zip(edges[:-1], edges[1:], parts, strict=True):
        a, b = z.clamp(left, right), c.clamp(left, right)
        inside = (c >= left) & (c < right)
        weight = torch.where(h == 0, inside.to(h.dtype), (a - b) / h)
        total = total + torch.where(weight == 0, 0.0, weight * part(a, b))
    return torch.where(h.isnan(), h, total)
