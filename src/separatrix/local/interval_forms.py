"""Rigorous bounds of a network and of its slopes over many boxes at once.

Every block of the Lur'e form is enclosed twice: from the ranges of its sources, and in centred form,
f(x) in f(c) + S (x - c) with an interval matrix S of chords (R. Krawczyk and A. Neumaier, SIAM J. Numer. Anal. 22, 604
(1985)). Intervals are midpoint and radius; sums and products carry their rounding in the radius (S. Rump, BIT 39, 534
(1999)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from separatrix.systems.curves import Curve, curve
from separatrix.systems.lure import Block, Lure

UP = 1 + 2.0**-30
"""Factor on radii: covers the rounding of their own computation, which is less by far."""
_UNIT = 2.0**-52
_TINY = 1e-300

Columns = Float[Tensor, "n B"]


@dataclass(frozen=True)
class Enclosure:
    """What holds for all x in boxes c +- r: f(x) in value + error + (slopes)(x - c), and f(x) in [lo, hi].

    Attributes
    ----------
    value : Tensor (n, B)
    error : Tensor (n, B)
        Bound of what rounding does to ``value``.
    slope, slope_radius : Tensor (n, n, B)
        Midpoint and radius of an interval matrix; [i, j] is component i by component j.
    lo, hi : Tensor (n, B)
    way : list of (lo, hi)
        The same bounds for the points that the orbit runs through, where the map is iterated.
    ranges : list of (lo, hi) of Tensor (n_l, B)
        Bounds of the pre-activations of every block but the last.
    """

    value: Columns
    error: Columns
    slope: Float[Tensor, "n inputs B"]
    slope_radius: Float[Tensor, "n inputs B"]
    lo: Columns
    hi: Columns
    way: list[tuple[Columns, Columns]]
    ranges: list[tuple[Tensor, Tensor]]


class Enclosed:
    """A network that is iterated ``times`` times, ready to be enclosed.

    Notes
    -----
    A pass over B boxes costs about 2 (n + 3) products of the weights with B columns, and a few evaluations of every
    activation.
    """

    def __init__(self, network: Lure, times: int = 1) -> None:
        self.n = network.inputs
        self.times = times
        blocks: list[Block] = []
        through = curve(nn.Identity())
        for turn in range(times):
            start = len(blocks)
            for block in network.blocks:
                weights = {source + start if source or turn else 0: w for source, w in block.weights.items()}
                blocks.append(Block(block.label, weights, block.bias, block.curve or through))
        self.blocks = blocks
        self._length = len(network.blocks)
        self._absolute = [{source: w.abs() for source, w in block.weights.items()} for block in blocks]
        self.work = sum(w.numel() for block in blocks for w in block.weights.values()) * (self.n + 3)
        self.width = sum(len(block.bias) for block in blocks) * (self.n + 3)

    @torch.no_grad()
    def __call__(
        self,
        c: Float[Tensor, "inputs B"],
        r: Float[Tensor, "inputs B"],
        kind: Literal["chords", "slopes"] = "chords",
    ) -> Enclosure:
        """Enclose over boxes c +- r.

        Parameters
        ----------
        c, r : Tensor (n, B), float64
            Midpoints, and radii of at least 0.
        kind : "chords" or "slopes"
            Whether the interval matrix holds the chords from c, or the slopes between any two points of the box.
        """
        n, wide = c.shape
        # columns of every value: derivatives by x, error of the centred form, value over the box, value at the centre
        middle = c.new_zeros(n, n + 3, wide)
        middle[:, :n] = torch.eye(n, dtype=c.dtype)[:, :, None]
        middle[:, n + 1] = middle[:, n + 2] = c
        radius = torch.zeros_like(middle)
        radius[:, n + 1] = r
        values, way, ranges = [(middle, radius)], [], []
        for place, block in enumerate(self.blocks):
            middle, radius = self._affine(place, values, wide)
            centre, lo, hi = self._range(middle, radius, r)
            if place == len(self.blocks) - 1:
                break
            if (place + 1) % self._length == 0:
                way.append((lo, hi))
            assert block.curve is not None
            ranges.append((lo, hi))
            values.append(activated(block.curve, middle, radius, centre, lo, hi, kind))
        error = (middle[:, n].abs() + radius[:, n]) * UP
        return Enclosure(centre, error, middle[:, :n], radius[:, :n], lo, hi, way, ranges)

    def _affine(self, place: int, values: list[tuple[Tensor, Tensor]], wide: int) -> tuple[Tensor, Tensor]:
        block, n = self.blocks[place], self.n
        rows = len(block.bias)
        middle = block.bias.new_zeros(rows, n + 3, wide)
        middle[:, n + 1 :] = block.bias[:, None, None]
        radius = torch.zeros_like(middle)
        # a sum of k terms, in any order, is off by less than k units of the sum of their sizes (half would do)
        unit = _UNIT * (2 + sum(weight.shape[1] for weight in block.weights.values()))
        for source, weight in block.weights.items():
            m, s = values[source]
            middle = torch.addmm(middle.flatten(1), weight, m.flatten(1)).view_as(middle)
            size = torch.add(s, m.abs(), alpha=unit)
            radius = torch.addmm(radius.flatten(1), self._absolute[place][source], size.flatten(1)).view_as(middle)
        radius = (radius + unit * block.bias.abs()[:, None, None]) * UP + _TINY
        # what the value at the centre is off by belongs to the error of the centred form
        radius[:, n] += radius[:, n + 2]
        return middle, radius

    def _range(self, middle: Tensor, radius: Tensor, r: Columns) -> tuple[Tensor, Tensor, Tensor]:
        n = self.n
        centre = middle[:, n + 2]
        reach = ((middle[:, :n].abs() + radius[:, :n]) * r).sum(1) + middle[:, n].abs() + radius[:, n]
        reach = reach * UP + 4 * _UNIT * centre.abs()
        outer = radius[:, n + 1] * UP + 4 * _UNIT * middle[:, n + 1].abs()
        lo = torch.fmax(centre - reach, middle[:, n + 1] - outer)
        hi = torch.fmin(centre + reach, middle[:, n + 1] + outer)
        # the computed centre too, from which chords are taken and which rounding may have put outside; NaN stays NaN
        return centre, torch.minimum(lo, centre), torch.maximum(hi, centre)


def activated(
    shape: Curve, middle: Tensor, radius: Tensor, centre: Tensor, lo: Tensor, hi: Tensor, kind: str
) -> tuple[Tensor, Tensor]:
    """Forms of a value, from those of the argument: chords or slopes over lo..hi times the argument's."""
    n = middle.shape[1] - 3
    flat = shape.pieces is not None and shape.pieces.slopes.ndim == 2
    # parameters of a curve belong to the last dimension, which here is the batch
    a, b, c = (v.T if flat else v for v in (lo, hi, centre))
    steep = shape.chord_over(c, a, b, fine=False) if kind == "chords" else shape.slope_over(a, b)
    found = [*steep, *shape.value_over(a, b), *shape.value_over(c, c)]
    low, high, value_low, value_high, at_low, at_high = (v.T if flat else v for v in found)
    slope, slope_radius = midpoint(low, high)
    new, spread = torch.empty_like(middle), torch.empty_like(middle)
    part, part_radius = middle[:, : n + 1], radius[:, : n + 1]
    new[:, : n + 1] = slope[:, None] * part
    spread[:, : n + 1] = slope.abs()[:, None] * part_radius + slope_radius[:, None] * (part.abs() + part_radius)
    spread[:, : n + 1] = (spread[:, : n + 1] + _UNIT * new[:, : n + 1].abs()) * UP + _TINY
    new[:, n + 1], spread[:, n + 1] = midpoint(value_low, value_high)
    new[:, n + 2], spread[:, n + 2] = midpoint(at_low, at_high)
    return new, spread


def midpoint(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and radius of intervals, outwards."""
    middle = low / 2 + high / 2
    return middle, torch.maximum(high - middle, middle - low) * UP + _TINY
