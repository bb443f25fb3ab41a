"""Activations that multiply their input by a gate: GELU, SiLU, Mish, Hardswish.

s(z) = z g(z), so that the chord from 0 is g(z), the slope g(z) + z g'(z), and the chord from c is g(z) + c times the
chord of g. The last two add terms of opposite sign on one side of 0: their errors there are absolute, a few units in
the last place of 1. Places and values of extremes were computed with 40 digits and rounded outwards.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from separatrix.systems.curve_forms import ROUNDING, Extreme, Form, One, Range, Two, decay, split
from separatrix.systems.curve_sigmoids import sigmoid_chord, sigmoid_slope

_NODES = (0.1834346424956498, 0.525532409916329, 0.7966664774136267, 0.9602898564975363)
_WEIGHTS = (0.362683783378362, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763)
_CUBIC = 0.044715
_ROOT = math.sqrt(2 / math.pi)


def _gated(
    name: str, value: One, gate: One, gate_slope: One, gate_chord: Two, valley: Range, slopes: Range, bends: Range
) -> Form:
    """Form of z g(z) with one minimum (place, value), and extreme slopes at two places."""

    def slope(z: Tensor) -> Tensor:
        # beyond 1000 every gate here is 0 or 1 to all digits, and infinity times 0 is no number
        z = z.clamp(-1e3, 1e3)
        return gate(z) + z * gate_slope(z)

    return Form(
        name,
        value,
        slope,
        lambda z, c: gate(z) + c * gate_chord(z, c),
        gate,
        (0.0, 1.0),
        slopes,
        turns=(Extreme(valley[0], (valley[1],), 1e-13),),
        bends=tuple(Extreme(at, (s,), 1e-13) for at, s in zip(bends, slopes, strict=True)),
        reach=(-1e3, 1e300),
        value_error=(ROUNDING, ROUNDING),
        slope_error=(ROUNDING, 4 * ROUNDING),
    )


def normal_share(z: Tensor) -> Tensor:
    """Distribution function of the standard normal law."""
    return torch.special.erfc(-z * math.sqrt(0.5)) / 2


def _density(z: Tensor) -> Tensor:
    return torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _normal_chord(z: Tensor, c: Tensor) -> Tensor:
    """Mean of the density over [c, z]: by Gauss's rule with 8 nodes where short, by differences of tails elsewhere."""
    h = z - c
    short = h.abs() * (1 + torch.maximum(z.abs(), c.abs())) < 1
    middle, half = c + h / 2, torch.where(short, h / 2, 0.0)
    mean = torch.zeros_like(h)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        mean = mean + weight / 2 * (_density(middle + node * half) + _density(middle - node * half))
    one_side = z * torch.sign(c) > 0
    tails = torch.sign(c) * (
        torch.special.erfc(c.abs() * math.sqrt(0.5)) - torch.special.erfc(z.abs() * math.sqrt(0.5))
    )
    shares = torch.erf(z * math.sqrt(0.5)) - torch.erf(c * math.sqrt(0.5))
    return torch.where(short, mean, torch.where(one_side, tails, shares) / (2 * torch.where(short, 1.0, h)))


def gelu() -> Form:
    """Z Phi(z), with Phi the distribution function of the standard normal law."""
    return _gated(
        "gelu", F.gelu, normal_share, _density, _normal_chord,
        (-0.7517915246935645, -0.16997120747990369), (-0.12890414518515482, 1.1289041451851548),
        (-math.sqrt(2), math.sqrt(2)),
    )  # fmt: skip


def gelu_tanh() -> Form:
    """Z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2, the approximation of GELU."""

    def inner(z: Tensor) -> Tensor:
        # the cube of a larger number may overflow; the gate is 0 or 1 long before
        z = z.clamp(-1e3, 1e3)
        return 2 * _ROOT * z * (1 + _CUBIC * z * z)

    def gate_slope(z: Tensor) -> Tensor:
        return 2 * _ROOT * (1 + 3 * _CUBIC * z * z) * sigmoid_slope(inner(z))

    def gate_chord(z: Tensor, c: Tensor) -> Tensor:
        near_z, near_c = z.clamp(-1e3, 1e3), c.clamp(-1e3, 1e3)
        steep = 2 * _ROOT * (1 + _CUBIC * (near_z * near_z + near_z * near_c + near_c * near_c))
        apart = steep * (near_z - near_c)
        chord = steep * sigmoid_chord(inner(z), inner(c), apart)
        # where an argument was brought in, the gates differ as they did, over a longer way
        way = torch.where(z == c, 1.0, z - c)
        return torch.where((near_z == z) & (near_c == c), chord, chord * (near_z - near_c) / way)

    return _gated(
        "gelu_tanh", lambda z: F.gelu(z, approximate="tanh"), lambda z: torch.sigmoid(inner(z)), gate_slope, gate_chord,
        (-0.7524614220710163, -0.17004075057125408), (-0.1289930686587718, 1.1289930686587719),
        (-1.4185040087908284, 1.4185040087908284),
    )  # fmt: skip


def silu() -> Form:
    """Z times the sigmoid of z."""
    return _gated(
        "silu", F.silu, torch.sigmoid, sigmoid_slope, lambda z, c: sigmoid_chord(z, c, z - c),
        (-1.2784645427610738, -0.27846454276107382), (-0.09983932012886694, 1.0998393201288671),
        (-2.3993572805154677, 2.3993572805154677),
    )  # fmt: skip


def mish() -> Form:
    """Z tanh(softplus(z)); the gate is 1 - 2 / (e^2 + 2 e + 2) with e = exp(z)."""

    def parts(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """exp(z - p) and exp(-p) with p = max(z, 0), and (e^2 + 2 e + 2) exp(-2 p)."""
        e, unit = torch.exp(z.clamp(max=0)), torch.exp(-z.clamp(min=0))
        return e, unit, e * e + 2 * e * unit + 2 * unit * unit

    def gate(z: Tensor) -> Tensor:
        e, unit, whole = parts(z)
        return e * (e + 2 * unit) / whole

    def gate_slope(z: Tensor) -> Tensor:
        e, unit, whole = parts(z)
        return 4 * e * (e + unit) * unit * unit / (whole * whole)

    def gate_chord(z: Tensor, c: Tensor) -> Tensor:
        low, high = torch.minimum(z, c), torch.maximum(z, c)
        e, unit, whole = parts(high)
        _, low_unit, low_whole = parts(low)
        of_low = torch.exp(low - high.clamp(min=0))
        return 2 * (e + of_low + 2 * unit) * e * decay(high - low) * low_unit * low_unit / (whole * low_whole)

    return _gated(
        "mish", F.mish, gate, gate_slope, gate_chord,
        (-1.1924312145154952, -0.30884341301725046), (-0.11252612238946259, 1.0884981612517281),
        (-2.256376396360793, 1.4905711794854284),
    )  # fmt: skip


def hardswish() -> Form:
    """Z clip(z + 3, 0, 6) / 6: zero, a parabola between -3 and 3, and the identity."""

    def flat(z: Tensor, c: Tensor) -> Tensor:
        return torch.zeros_like(z)

    def unit(z: Tensor, c: Tensor) -> Tensor:
        return torch.ones_like(z)

    def slope(z: Tensor) -> Tensor:
        return torch.where(z >= 3, 1.0, torch.where(z < -3, 0.0, z / 3 + 0.5))

    return Form(
        "hardswish",
        F.hardswish,
        slope,
        lambda z, c: split(z, c, (-3.0, 3.0), (flat, lambda a, b: (a + b) / 6 + 0.5, unit)),
        lambda z: (z + 3).clamp(0, 6) / 6,
        (0.0, 1.0),
        (-0.5, 1.5),
        turns=(Extreme(-1.5, (-0.375,)), Extreme(-3.0, (0.0,))),
        bends=(Extreme(-3.0, (-0.5, 0.0)), Extreme(3.0, (1.5, 1.0))),
        reach=(-1e3, 1e300),
        value_error=(ROUNDING, ROUNDING),
        slope_error=(ROUNDING, ROUNDING),
    )
