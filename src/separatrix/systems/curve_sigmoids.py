"""Activations that saturate, and two of their kin: tanh, sigmoid, softsign, tanhshrink, sine."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from separatrix.systems.curve_forms import ROUNDING, Bounds, Extreme, Form, One, decay

_SINC_LEAST = -0.2172336282112217
"""Least value of sin(z)/z, at z = 4.4934, rounded down."""


def sigmoid_slope(z: Tensor) -> Tensor:
    """Slope of the sigmoid, to full relative precision in both tails."""
    tail = torch.exp(-z.abs())
    return tail / (1 + tail).square()


def sigmoid_chord(z: Tensor, c: Tensor, h: Tensor) -> Tensor:
    """(sigmoid(z) - sigmoid(c)) / h for h = z - c, which the caller may know better than by subtraction.

    With m = min(abs(z), abs(c)) where the signs agree and 0 otherwise, it is
    exp(-m) decay(abs(h)) / ((1 + exp(-abs(z))) (1 + exp(-abs(c)))): nothing cancels.
    """
    a, b = z.abs(), c.abs()
    least = torch.where(z * torch.sign(c) > 0, torch.minimum(a, b), 0.0)
    return torch.exp(-least) * decay(h.abs()) / ((1 + torch.exp(-a)) * (1 + torch.exp(-b)))


def _tanh_chord(z: Tensor, c: Tensor) -> Tensor:
    return 4 * sigmoid_chord(2 * z, 2 * c, 2 * (z - c))


def _softsign_chord(z: Tensor, c: Tensor) -> Tensor:
    a, b = z.abs(), c.abs()
    small, large = torch.minimum(a, b), torch.maximum(a, b)
    ratio = torch.where(large > 0, small / large, 0.0)
    across = torch.where(z * torch.sign(c) < 0, 1 + 2 * small / (1 + ratio), 1.0)
    return across / (1 + large) / (1 + small)


def _shrink_chord(z: Tensor) -> Tensor:
    """1 - tanh(z)/z: a series without cancellation within [-1, 1], over cosh z."""
    square = z.clamp(-1, 1).square()
    total = torch.zeros_like(z)
    for k in range(10, 0, -1):
        total = (total + 2 * k / math.factorial(2 * k + 1)) * square
    outer = torch.where(z == 0, torch.ones_like(z), z)
    return torch.where(z.abs() <= 1, total / torch.cosh(z.clamp(-1, 1)), 1 - torch.tanh(z) / outer)


def _tanhshrink_chord(z: Tensor, c: Tensor) -> Tensor:
    """1 - tanh(h)/h (1 - tanh(z) tanh(c)); both terms have one sign unless c and z lie on both sides of 0."""
    h = z - c
    return _shrink_chord(h) + _tanh_chord(h, torch.zeros_like(h)) * torch.tanh(z) * torch.tanh(c)


def tanh() -> Form:
    """Hyperbolic tangent."""
    return Form(
        "tanh",
        torch.tanh,
        lambda z: 4 * sigmoid_slope(2 * z),
        _tanh_chord,
        lambda z: _tanh_chord(z, torch.zeros_like(z)),
        (0.0, 1.0),
        (0.0, 1.0),
        bounded=(-1.0, 1.0),
        bends=(Extreme(0.0, (1.0,)),),
    )


def sigmoid() -> Form:
    """Logistic function."""
    return Form(
        "sigmoid",
        torch.sigmoid,
        sigmoid_slope,
        lambda z, c: sigmoid_chord(z, c, z - c),
        lambda z: sigmoid_chord(z, torch.zeros_like(z), z),
        (0.0, 0.25),
        (0.0, 0.25),
        at_zero=0.5,
        bounded=(0.0, 1.0),
        bends=(Extreme(0.0, (0.25,)),),
    )


def softsign() -> Form:
    """Z / (1 + abs(z))."""
    return Form(
        "softsign",
        F.softsign,
        lambda z: 1 / (1 + z.abs()) / (1 + z.abs()),
        _softsign_chord,
        lambda z: 1 / (1 + z.abs()),
        (0.0, 1.0),
        (0.0, 1.0),
        bounded=(-1.0, 1.0),
        bends=(Extreme(0.0, (1.0,)),),
    )


def tanhshrink() -> Form:
    """Z - tanh(z); torch subtracts, so values near 0 carry an absolute error of the size of z's last place."""
    return Form(
        "tanhshrink",
        F.tanhshrink,
        lambda z: torch.tanh(z).square(),
        _tanhshrink_chord,
        _shrink_chord,
        (0.0, 1.0),
        (0.0, 1.0),
        bends=(Extreme(0.0, (0.0,)),),
        value_bounds=_tanhshrink_values,
    )


def _tanhshrink_values(lo: Tensor, hi: Tensor) -> Bounds:
    return (
        F.tanhshrink(lo.clamp(-1e300, 1e300)) - ROUNDING * lo.abs(),
        F.tanhshrink(hi.clamp(-1e300, 1e300)) + ROUNDING * hi.abs(),
    )


def sine() -> Form:
    """Sin z; beyond abs(z) = 1e6 its bounds over an interval are those over all z."""
    return Form(
        "sin",
        torch.sin,
        torch.cos,
        _sine_chord,
        _sinc,
        (_SINC_LEAST, 1.0),
        (-1.0, 1.0),
        bounded=(-1.0, 1.0),
        slope_error=(0.0, 2.0**-40),
        value_bounds=lambda lo, hi: _sine_range(lo, hi, torch.sin, 0.5),
        slope_bounds=lambda lo, hi: _sine_range(lo, hi, torch.cos, 0.0),
        # the middle of c and z carries a rounding of their size: beyond 1000 chords are bounded by slopes
        bounding_chord=lambda z, c: torch.where((z.abs() < 1e3) & (c.abs() < 1e3), _sine_chord(z, c), math.nan),
        bent=lambda lo, hi: _holds(lo, hi, 0.0) | _holds(lo, hi, 1.0),
    )


def _sine_chord(z: Tensor, c: Tensor) -> Tensor:
    half = (z - c) / 2
    return _sinc(half) * torch.cos(c + half)


def _sinc(z: Tensor) -> Tensor:
    return torch.where(z == 0, 1.0, torch.sin(z) / torch.where(z == 0, torch.ones_like(z), z))


def _holds(lo: Tensor, hi: Tensor, phase: float) -> Tensor:
    """Whether [lo, hi] may hold a point (phase + 2 k) pi."""
    far = (lo < -1e6) | (hi > 1e6)
    low, high = lo.clamp(-1e7, 1e7) / math.pi - phase, hi.clamp(-1e7, 1e7) / math.pi - phase
    return far | (torch.ceil(low / 2 - 1e-8) * 2 <= high + 1e-8)


def _sine_range(lo: Tensor, hi: Tensor, function: One, top: float) -> Bounds:
    # within 1e6 torch's sine is good to the last places, so that an absolute allowance is enough
    a, b = function(lo.clamp(-1e7, 1e7)), function(hi.clamp(-1e7, 1e7))
    least = torch.where(_holds(lo, hi, top + 1), -1.0, torch.minimum(a, b) - ROUNDING)
    most = torch.where(_holds(lo, hi, top), 1.0, torch.maximum(a, b) + ROUNDING)
    return least.clamp(min=-1), most.clamp(max=1)
