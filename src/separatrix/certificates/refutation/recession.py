"""What a network looks like from far away: a positively homogeneous map that it differs from by something bounded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import nn

from separatrix.certificates.refutation.eigenvalues import spectral_radius_above
from separatrix.local.interval_forms import Enclosed
from separatrix.systems.curve_forms import ROUNDING
from separatrix.systems.curve_kinked import SELU, piecewise
from separatrix.systems.curves import Curve, curve
from separatrix.systems.lure import Block, Lure

Ends = tuple[float, float]

_RAMPS = ("celu", "elu", "gelu", "gelu_tanh", "hardswish", "mish", "silu", "softplus")
"""Smooth activations that are 0 from far on the left and z from far on the right, but for something bounded."""


def recession(network: Lure) -> Lure | None:
    """The map g with g(t x) = t g(x) for t > 0 and |f - g| bounded over all of space; None where there is none.

    Every activation differs by something bounded from the function with its two slopes at infinity and a kink at 0;
    carried through layers of finite weights, which multiply it by no more than a constant, it stays bounded.
    """
    blocks = []
    for block in network.blocks:
        own = None if block.curve is None else asymptotic(block.curve)
        if block.curve is not None and own is None:
            return None
        blocks.append(Block(block.label, block.weights, torch.zeros_like(block.bias), own))
    return Lure(tuple(blocks), network.input_shape, network.output_shape)


def asymptotic(shape: Curve) -> Curve | None:
    """The homogeneous activation that one differs from by something bounded; None where that is not known."""
    if shape.homogeneous:
        return shape
    ends = slopes_at_infinity(shape)
    return None if ends is None else _two_sided(ends)


def slopes_at_infinity(shape: Curve) -> Ends | None:
    """Slopes far on the left and on the right; those of SELU are rounded. None where they are not known."""
    if shape.bounded is not None:
        return 0.0, 0.0
    if shape.name in _RAMPS:
        return 0.0, 1.0
    if shape.name == "selu":
        return 0.0, SELU[0]
    if shape.name == "logsigmoid":
        return 1.0, 0.0
    if shape.name == "tanhshrink":
        return 1.0, 1.0
    if shape.pieces is not None and shape.pieces.slopes.ndim == 1:
        return float(shape.pieces.slopes[0]), float(shape.pieces.slopes[-1])
    return None


def linear_growth(network: Lure) -> float:
    """Spectral radius, less 1, of a map that is linear from far away; 0 where it is not, or nothing is shown.

    If f(x) = A x + r(x) with bounded r, then w'f(x) = lambda w'x + w'r(x) for a left eigenvector w, and every orbit
    with a large w'x diverges if abs(lambda) > 1.
    """
    far = recession(network)
    if far is None or any(block.curve is not None and not _linear(block.curve) for block in far.blocks):
        return 0.0
    nowhere = torch.zeros(far.inputs, 1, dtype=torch.float64)
    found = Enclosed(far)(nowhere, nowhere, "slopes")
    return (spectral_radius_above(found.slope[..., 0], found.slope_radius[..., 0]) or 1.0) - 1


def _linear(shape: Curve) -> bool:
    return shape.pieces is not None and bool((shape.pieces.slopes == shape.pieces.slopes[0]).all())


@cache
def _two_sided(ends: Ends) -> Curve:
    known = {
        (0.0, 1.0): curve(nn.ReLU()),
        (1.0, 0.0): curve(torch.clamp, (), {"max": 0.0}),
        (1.0, 1.0): curve(nn.Identity()),
    }
    if ends in known:
        return known[ends]
    left, right = ends
    if left == right == 0:
        return curve(torch.clamp, (), {"min": 0.0, "max": 0.0})
    form = piecewise(
        "two-sided",
        lambda z: torch.where(z >= 0, right * z, left * z),
        [0.0],
        [left, right],
        [0.0, 0.0],
        rounding=ROUNDING,
        slope_rounding=ROUNDING,
    )
    # the slopes are known to rounding
    hull = (min(0.0, *ends) * (1 + ROUNDING), max(0.0, *ends) * (1 + ROUNDING))
    form = replace(form, chord_range=hull, slope_range=hull)
    return Curve(
        form.name,
        form.at_zero,
        form.chord_range,
        form.slope_range,
        form.homogeneous,
        form.bounded,
        form.pieces,
        form.jump,
        form,
    )
