"""Elementwise activations with what is known of them: values, chords, slopes, their ranges and rigorous bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.curve_bounds import chord_over, slope_over, value_over
from separatrix.systems.curve_forms import Bounds, Form, Pieces
from separatrix.systems.curve_names import form_of

__all__ = ["Curve", "Pieces", "curve"]


@dataclass(frozen=True, eq=False)
class Curve:
    """An activation s that acts on each component alone.

    Attributes
    ----------
    name : str
        "relu", "tanh", ...
    at_zero : float
        s(0).
    chord_range : (float, float)
        Hull of (s(z) - s(0))/z over all z: the closed interval, rounded outwards where its ends are irrational.
    slope_range : (float, float)
        Hull of all slopes, from both sides at kinks. It bounds every chord between two points as well.
    homogeneous : bool
        Whether s(t z) = t s(z) for t > 0.
    bounded : (float, float) or None
        Range of the values where they are bounded on both sides; it holds in floating point too.
    pieces : Pieces or None
        Breakpoints, slopes and offsets of a piecewise-linear activation.
    jump : float
        Largest jump of torch's function: 0 for all but softplus, which torch replaces by z above its threshold. Bounds
        of slopes and chords are then those of the function without the jump.

    Notes
    -----
    ``value`` is torch's own function; the other methods take tensors of any shape and floating dtype. A PReLU with
    several parameters broadcasts them over the last dimension.

    In float64 ``chord`` is good to about 1e-15 relatively, and ``centred`` and ``slope`` are where all their terms have
    one sign: for GELU, SiLU, Mish, Hardswish and sine, whose slopes change sign, 1e-15 absolutely. Infinite arguments
    give limits, except in ``value``, where torch may give NaN (gelu(-inf)).

    ``value_over``, ``slope_over`` and ``chord_over`` take float64 bounds lo <= hi elementwise, infinite ones too, and
    return bounds that hold for the real function: every evaluation is widened by 64 units in the last place, more than
    its own error (:mod:`separatrix.systems.curve_bounds`). NaN gives NaN.
    """

    name: str
    at_zero: float
    chord_range: tuple[float, float]
    slope_range: tuple[float, float]
    homogeneous: bool
    bounded: tuple[float, float] | None
    pieces: Pieces | None
    jump: float
    _form: Form = field(repr=False)

    def value(self, z: Tensor) -> Tensor:
        """s(z), by torch's own function."""
        return self._form.value(z)

    def chord(self, z: Tensor) -> Tensor:
        """(s(z) - s(0))/z without cancellation; at z = 0 the slope, at a kink there the one to the right."""
        return self._form.chord(z)

    def slope(self, z: Tensor) -> Tensor:
        """s'(z); at a kink the slope to the right."""
        return self._form.slope(z)

    def centred(self, z: Tensor, c: Tensor) -> Tensor:
        """(s(z) - s(c))/(z - c) without cancellation; at z = c the slope."""
        return self._form.centred(*torch.broadcast_tensors(z, c))

    def value_over(self, lo: Tensor, hi: Tensor) -> Bounds:
        """Bounds of s over [lo, hi]."""
        return value_over(self._form, *_interval(lo, hi))

    def slope_over(self, lo: Tensor, hi: Tensor) -> Bounds:
        """Bounds of all slopes over [lo, hi], both at a kink; of all chords between two points of [lo, hi] too."""
        return slope_over(self._form, *_interval(lo, hi))

    def chord_over(self, c: Tensor, lo: Tensor, hi: Tensor, *, fine: bool = True) -> Bounds:
        """Bounds of (s(z) - s(c))/(z - c) over z in [lo, hi] for finite c; both slopes at c where it lies inside.

        Wide intervals are cut into parts if ``fine``, at up to 30 times the cost.
        """
        lo, hi = _interval(lo, hi)
        c, lo, hi = torch.broadcast_tensors(c.double(), lo, hi)
        return chord_over(self._form, c, lo, hi, fine)


def _interval(lo: Tensor, hi: Tensor) -> Bounds:
    if bool((lo > hi).any()):
        raise ArgumentError("lo, hi", "an interval that is upside down", "give lo <= hi")
    lo, hi = torch.broadcast_tensors(lo.double(), hi.double())
    return lo, hi


def curve(
    activation: nn.Module | Callable[..., Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> Curve:
    """Look up what is known of an activation.

    Parameters
    ----------
    activation : nn.Module or function
        An instance of one of torch's activation modules; or a function such as ``torch.tanh``, ``F.gelu``,
        ``Tensor.clamp``, with the arguments that follow its input:
    args, kwargs : optional
        for example ``curve(F.leaky_relu, (0.1,))``, ``curve(torch.clamp, (), {"min": -1, "max": 1})``.

    Returns
    -------
    Curve

    Raises
    ------
    ArgumentError
        If the activation is not one of those with known ranges (they are listed), or a parameter makes it something
        else: not finite, not positive where it must be, an RReLU in train mode.
    """
    found = form_of(activation, args, kwargs or {})
    return Curve(
        found.name,
        found.at_zero,
        found.chord_range,
        found.slope_range,
        found.homogeneous,
        found.bounded,
        found.pieces,
        found.jump,
        found,
    )
