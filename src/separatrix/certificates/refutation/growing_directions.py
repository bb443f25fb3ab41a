"""Sets of directions of the plane that a positively homogeneous map carries into themselves, and in which it grows.

Directions are places on the boundary of the square max(|x1|, |x2|) = 1, counted counter-clockwise from 0 to 8 with its
corners at 0, 2, 4, 6; the opposite of p is p + 4. The boundary is cut into equal cells.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from separatrix.certificates.refutation.rays import homogeneous
from separatrix.local.interval_forms import Enclosed
from separatrix.systems.lure import Lure
from separatrix.tangent.columns import LureColumns

_SLACK = 1e-9
"""Images of cells are widened by this: far more than rounding."""
_SWEEPS = 400
_SIDES = (16, 64, 256, 1024)
"""Cells to a side of the square that are tried."""

Cells = Float[np.ndarray, " cells"]
Places = Int[np.ndarray, " cells"]


def growing(network: Lure, data: dict[str, Any]) -> float:
    """Least growth, less 1, in one step within a set of directions that is carried into itself; 0 if nothing is shown.

    Takes the number of all ``cells``, the numbers ``chosen`` (K,) of those in the set, and ``potential`` (K,), for a
    homogeneous map of the plane. Size is V(x) = max(|x1|, |x2|) exp(potential of the cell of x). Images of cells lie in
    the inside of the set and V grows by a margin, so that all maps that differ from this one by something bounded carry
    orbits outwards that start far away in the set.
    """
    cells, own, potential = int(data["cells"]), data["chosen"].numpy(), data["potential"].numpy()
    if network.inputs != 2 or not homogeneous(network) or cells % 4 or not 4 <= cells <= 4 * _SIDES[-1]:
        return 0.0
    if not len(own) or own.min() < 0 or own.max() >= cells or not (np.abs(potential) <= 500).all():
        return 0.0
    chosen, h = np.zeros(cells, dtype=bool), np.zeros(cells)
    chosen[own], h[own] = True, potential
    first, count, growth = _images(network, cells)
    rows, columns = _edges(first, count, chosen)
    if not chosen[columns].all() or not (growth[chosen] > 0).all():
        return 0.0
    gain = np.log(growth[rows]) + h[columns] - h[rows]
    least = float(gain.min()) - 1e-12
    return max(math.expm1(least), 0.0)


def search(network: Lure, generator: torch.Generator) -> dict[str, Any] | None:
    """Find such a set: cells that are reached from where directions come to, and potentials by Bellman and Ford."""
    system = LureColumns(network, torch.finfo(torch.float64).eps)
    angle = torch.rand(64, generator=generator, dtype=torch.float64) * (2 * math.pi)
    x = torch.stack([angle.cos(), angle.sin()])
    total = torch.zeros(64, dtype=torch.float64)
    for t in range(200):
        x = system.step(x, t)
        size = x.abs().amax(0)
        x = x / size
        if t >= 100:
            total += size.log()
    total = torch.where(torch.isfinite(total), total / 100, -torch.inf)
    best = int(total.argmax())
    rate = float(total[best])
    if not rate > 1e-6:
        return None
    seed = _place(x[:, best : best + 1].numpy())[0]
    for side in _SIDES:
        cells = 4 * side
        first, count, growth = _images(network, cells)
        chosen = _closure(first, count, int(seed * cells / 8) % cells)
        if not (growth[chosen] > 0).all():
            continue
        for share in (0.5, 0.1):
            h = _potential(first, count, growth, chosen, share * rate)
            if h is not None:
                own = np.flatnonzero(chosen)
                data = {"cells": cells, "chosen": torch.from_numpy(own), "potential": torch.from_numpy(h[own])}
                if growing(network, data) > 0:
                    return data
    return None


def _images(network: Lure, cells: int) -> tuple[Places, Places, Cells]:
    """For every cell the first cell that its image meets, how many, and a lower bound of the growth of its size."""
    c, r = _centres(cells)
    found = Enclosed(network)(c, r, "slopes")
    lo, hi = found.lo.numpy(), found.hi.numpy()
    least = np.where((lo <= 0) & (hi >= 0), 0.0, np.minimum(np.abs(lo), np.abs(hi)))
    growth = np.nan_to_num(least.max(0))
    corners = np.stack([lo, np.stack([lo[0], hi[1]]), hi, np.stack([hi[0], lo[1]])])
    places = np.stack([_place(corner) for corner in corners])
    # a box without the origin is seen under an angle below pi
    way = (places - places[0] + 4) % 8 - 4
    left, right = way.min(0), way.max(0)
    known = (growth > 0) & (np.abs(way).max(0) < 3.9) & (right - left < 3.9)
    start = np.floor((places[0] + left - _SLACK) * cells / 8)
    end = np.floor((places[0] + right + _SLACK) * cells / 8)
    first = np.where(known, start, 0).astype(int) % cells
    count = np.where(known, np.minimum(end - start + 1, cells), cells).astype(int)
    return first, count, np.where(known, growth, 0.0)


def _centres(cells: int) -> tuple[Tensor, Tensor]:
    """Midpoints and radii (2, cells) of the cells: exact if their number is a power of two."""
    side = cells // 4
    t = (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1
    one = torch.ones_like(t)
    zero, half = torch.zeros_like(t), one / side * (1 + 2.0**-40)
    c = torch.cat([torch.stack(pair) for pair in ((one, t), (-t, one), (-one, -t), (t, -one))], 1)
    r = torch.cat([torch.stack(pair) for pair in ((zero, half), (half, zero), (zero, half), (half, zero))], 1)
    return c, r


def _place(x: Float[np.ndarray, "2 points"]) -> Float[np.ndarray, " points"]:
    """Where on the square's boundary the directions of points are."""
    a, b = x
    with np.errstate(divide="ignore", invalid="ignore"):
        steep, flat = b / a, a / b
    upright = np.where(a > 0, 1 + steep, 5 + steep)
    level = np.where(b > 0, 3 - flat, 7 - flat)
    return np.nan_to_num(np.where(np.abs(a) >= np.abs(b), upright, level)) % 8


def _edges(first: Places, count: Places, chosen: Bool[np.ndarray, " cells"]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a chosen cell and a cell that its image meets."""
    rows = np.repeat(np.flatnonzero(chosen), count[chosen])
    ends = np.cumsum(count[chosen])
    along = np.arange(len(rows)) - np.repeat(ends - count[chosen], count[chosen])
    return rows, (first[rows] + along) % len(first)


def _closure(first: Places, count: Places, seed: int) -> Bool[np.ndarray, " cells"]:
    """All cells that images of the seed's lead to."""
    chosen = np.zeros(len(first), dtype=bool)
    new = np.array([seed])
    while len(new):
        chosen[new] = True
        fresh = np.zeros_like(chosen)
        fresh[new] = True
        reached = np.unique(_edges(first, count, fresh)[1])
        new = reached[~chosen[reached]]
    return chosen


def _potential(
    first: Places, count: Places, growth: Cells, chosen: Bool[np.ndarray, " cells"], rate: float
) -> Cells | None:
    """Potentials with log growth + h(to) - h(from) >= rate on every edge; None if there are none, or it takes long."""
    rows, columns = _edges(first, count, chosen)
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    own = np.flatnonzero(chosen)
    gain = np.log(growth[own]) - rate
    h = np.zeros(len(first))
    for _ in range(_SWEEPS):
        most = np.minimum(h[own], gain + np.minimum.reduceat(h[columns], starts))
        if (most >= h[own] - 1e-12).all():
            return h
        h[own] = most
        if h.min() < -100:
            return None
    return None
