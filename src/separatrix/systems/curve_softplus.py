"""Softplus and logsigmoid."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.curve_forms import ROUNDING, Bounds, Form, finite


def _softplus_chord(z: Tensor, c: Tensor) -> Tensor:
    """Chord of log(1 + exp z): by log1p where the two are close, by the values themselves where they are far apart."""
    z, c = finite(z), finite(c)
    low, high = torch.minimum(z, c), torch.maximum(z, c)
    h = high - low
    near = torch.log1p(torch.sigmoid(low) * torch.expm1(h.clamp(max=30)))
    rest = torch.log1p(torch.exp(-high.abs())) - torch.log1p(torch.exp(-low.abs()))
    far = torch.where(low > 0, h + rest, high.clamp(min=0) + rest)
    # below 1e-20 the chord is the slope, and log1p's argument may underflow
    return torch.where(h < 1e-20, torch.sigmoid(low), torch.where(h <= 30, near, far) / h)


def softplus(beta: float = 1.0, threshold: float = 20.0) -> Form:
    """log(1 + exp(beta z)) / beta, which torch replaces by z where beta z > threshold.

    There the function jumps down by log(1 + exp(-threshold)) / beta, 2e-9 by default. Value, chord and slope follow
    torch; bounds of values hold for both functions, bounds of slopes and chords for the one without the jump.
    """
    if not 0 < beta < math.inf:
        raise ArgumentError("beta", repr(beta), "a softplus needs a positive, finite beta")
    if not threshold >= 10:
        raise ArgumentError(
            "threshold",
            repr(threshold),
            "torch's softplus jumps there by log(1 + exp(-threshold)) / beta; it is a known curve from 10 upwards",
        )
    edge = threshold / beta
    jump = math.log1p(math.exp(-threshold)) / beta

    def ideal(z: Tensor, c: Tensor) -> Tensor:
        return _softplus_chord(beta * z, beta * c)

    def above(z: Tensor) -> Tensor:
        return beta * z > threshold

    def slope(z: Tensor) -> Tensor:
        return torch.where(above(z), 1.0, torch.sigmoid(beta * z))

    def centred(z: Tensor, c: Tensor) -> Tensor:
        z, c = torch.broadcast_tensors(z, c)
        chord, linear, fixed = ideal(z, c), above(z), above(c)
        top = torch.where(linear, z, c)
        lost = torch.log1p(torch.exp(-beta * top)) / beta / (top - torch.where(linear, c, z))
        return torch.where(linear & fixed, 1.0, torch.where(linear ^ fixed, chord - lost, chord))

    def values(lo: Tensor, hi: Tensor) -> Bounds:
        # rounding beta z costs as many units as its size, of a value that falls like its exponential
        least = _softplus(lo, beta) * (1 - ROUNDING) - ROUNDING / beta
        most = _softplus(hi, beta) * (1 + ROUNDING) + ROUNDING / beta
        switched = torch.where(hi >= edge * (1 - ROUNDING), lo.clamp(min=edge * (1 - ROUNDING)), math.inf)
        return torch.minimum(least, switched), most

    def slopes(lo: Tensor, hi: Tensor) -> Bounds:
        least, most = torch.sigmoid(beta * lo) - ROUNDING, torch.sigmoid(beta * hi) + ROUNDING
        return least.clamp(min=0), torch.where(hi >= edge * (1 - ROUNDING), 1.0, most.clamp(max=1))

    return Form(
        "softplus",
        lambda z: F.softplus(z, beta, threshold),
        slope,
        centred,
        lambda z: centred(z, torch.zeros_like(z)),
        (0.0, 1.0),
        (0.0, 1.0),
        at_zero=math.log(2) / beta,
        jump=jump,
        value_bounds=values,
        slope_bounds=slopes,
        bounding_chord=ideal,
        slope_error=(ROUNDING, ROUNDING),
    )


def _softplus(z: Tensor, beta: float) -> Tensor:
    t = beta * z
    return (t.clamp(min=0) + torch.log1p(torch.exp(-t.abs()))) / beta


def logsigmoid() -> Form:
    """-softplus(-z), without a switch."""
    return Form(
        "logsigmoid",
        F.logsigmoid,
        lambda z: torch.sigmoid(-z),
        lambda z, c: _softplus_chord(-z, -c),
        lambda z: _softplus_chord(-z, torch.zeros_like(z)),
        (0.0, 1.0),
        (0.0, 1.0),
        at_zero=-math.log(2),
    )
