"""A region of attraction of an equilibrium: an ellipsoid in which a quadratic function falls.

With V(x) = (x - c)'P(x - c) about a point c in floating point, close to the equilibrium:

- on V <= inner the slopes contract, |Df|_P <= q < 1, and |f(c) - c|_P <= (1 - q) sqrt(inner): the set is mapped into
  itself, and Banach's theorem gives one equilibrium that attracts all of it;
- on inner <= V <= level V falls by a share that is the same everywhere: the larger set is kept, and orbits reach the
  smaller one.

The second is shown for the whole ellipsoid at once by the chords from c, or on a cover by cells that are divided where
that is needed; bounds are second order in the size of a cell. Where the slopes jump at the equilibrium, the first may
fail; but a map that is straight along every ray from c, on V <= inner, falls there as it does on inner / 4 <= V.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.attraction.cell_walk import Cells, Walk
from separatrix.certificates.attraction.ellipsoids import Metric, metric
from separatrix.certificates.attraction.sectors import sector_rate
from separatrix.certificates.attraction.straight_rays import straight
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.certificates.verified import UNIT, UP

NAME = "ellipsoid of attraction"
CELLED = 3
"""State components up to which ellipsoids are cut into cells."""
_CLOSE = 1e-6
"""How far from the equilibrium the centre may be, in units of 1 + its size."""


class Trial(NamedTuple):
    """What came of an attempt: besides the outcome, how many cells it took, and a level at which V was seen to rise."""

    outcome: Proof | Failure
    cells: int = 0
    rises: float = float("inf")


def tried(problem: Problem, walk: Walk, data: dict[str, Any], deadline: float) -> Trial:
    """Show from the data alone that an ellipsoid is attracted, or give up after a time (of ``perf_counter``)."""
    n = problem.n
    centre, P = (torch.as_tensor(data[key], dtype=torch.float64) for key in ("centre", "P"))
    level, inner, fall = (float(data[key]) for key in ("level", "inner", "fall"))
    shape = metric(P) if P.shape == (n, n) and centre.shape == (n,) else None
    fits = bool(torch.isfinite(centre).all()) and 0 < inner <= level < float("inf") and 0 < fall < 1
    if shape is None or not fits:
        return Trial(Failure(NAME, "centre, P or levels are not those of an ellipsoid"))
    reach = shape.reach(level)
    if not _inside(problem, centre, reach):
        return Trial(Failure(NAME, "the ellipsoid is not inside the box", "a larger box"))
    rate, off, cells = 0.0, 0.0, 0
    if data.get("rays"):
        if n > CELLED or not bool(straight(walk, centre, shape.reach(inner)[:, None])[0]):
            return Trial(Failure(NAME, "the map is not straight along rays from the centre"))
        inner /= 4
    else:
        near = bounds(walk, shape, centre, shape.reach(inner)[:, None], "slopes")
        rate = float(near.norm[0])
        if not (rate < 1 and float(near.residual[0]) <= (1 - rate) * inner**0.5 * (1 - 1e-9)):
            reason = f"slopes near the equilibrium are only bounded by {rate:.6g} in the norm of P"
            return Trial(Failure(NAME, reason, "the equilibrium is close to losing its stability, or on a kink"))
        # |x - c| <= |f(x) - f(c)| + |f(c) - c| <= q |x - c| + |f(c) - c| at the equilibrium
        off = float((shape.reach(1.0) * near.residual[0] / (1 - rate)).max()) * UP
    if not off <= _CLOSE * (1 + float(centre.abs().max())):
        return Trial(Failure(NAME, f"the equilibrium is only known to be within {off:.3g} of the centre"))
    if inner < level:
        far = bounds(walk, shape, centre, reach[:, None], "chords")
        # |f(x) - c| <= q |x - c| + |f(c) - c|, and outside the inner ellipsoid |x - c| >= sqrt(inner)
        outer = float(far.norm[0] + far.residual[0] / inner**0.5 * UP) * UP
        if not outer < 1:
            by_sectors = sector_rate(problem, walk, shape, centre, level, data) if "t" in data else None
            if by_sectors is not None:
                outer = (by_sectors[0] + by_sectors[1] / inner**0.5) * UP
        if not outer < 1:
            if n > CELLED:
                return Trial(Failure(NAME, f"chords are only bounded by {outer:.6g} in the norm of P"))
            trial = _covered(walk, shape, (level, inner, fall), int(data["cells"]), centre, reach, deadline)
            if isinstance(trial.outcome, Failure):
                return trial
            cells, outer = trial.cells, (1 - fall) ** 0.5 * UP
        rate = max(rate, outer)
    data = {**data, "centre": centre, "P": P, "cells": max(cells, 1)}
    return Trial(Proof(NAME, rate, "P", None, 1 - rate, data, (f"equilibrium within {off:.3g} of the centre",)), cells)


class Bounds(NamedTuple):
    """Of norms of interval matrices, and of |f(centre) - centre|, in a metric; one each for some boxes."""

    norm: Tensor
    residual: Tensor


def bounds(walk: Walk, shape: Metric, centre: Float[Tensor, " n"], r: Float[Tensor, "n B"], kind: Any) -> Bounds:
    """|A|_P over all slopes (or chords from the centre) in boxes around the centre, and |f(centre) - centre|_P."""
    cells = walk.step(walk.around(centre[:, None].expand_as(r).contiguous(), r), kind)
    A, a = cells.slope.permute(2, 0, 1), cells.slope_radius.permute(2, 0, 1)
    v = cells.value - centre[:, None]
    return Bounds(shape.norm(A, a), shape.above((v.abs() + cells.error) * UP).sqrt() * UP)


def _inside(problem: Problem, centre: Tensor, reach: Tensor) -> bool:
    if problem.box is None:
        return True
    lo, hi = problem.box
    slack = 4 * UNIT * (centre.abs() + reach)
    return bool((centre - reach - slack >= lo).all()) and bool((centre + reach + slack <= hi).all())


def _covered(
    walk: Walk,
    shape: Metric,
    levels: tuple[float, float, float],
    most: int,
    centre: Tensor,
    reach: Tensor,
    deadline: float,
) -> Trial:
    """V falls by at least a share ``fall`` of itself on a cover of inner <= V <= level by cells, twice ``most``."""
    level, inner, fall = levels
    most = 2 * most + 1000
    reach = reach * (1 + 1e-12) + 4 * UNIT * centre.abs()
    lo, hi = (centre - reach)[:, None], (centre + reach)[:, None]
    weight = shape.P.diagonal().sqrt()[:, None]
    looked = 0
    while lo.shape[1]:
        take = min(lo.shape[1], walk.chunk)
        now_lo, now_hi = lo[:, :take], hi[:, :take]
        a, b = now_lo - centre[:, None], now_hi - centre[:, None]
        top = shape.most(a, b)
        open_ = ~((shape.least(a, b) > level) | (top <= inner))
        now_lo, now_hi, top = now_lo[:, open_], now_hi[:, open_], top[open_]
        looked += take
        cells = walk.step(walk.start(now_lo, now_hi))
        needed = -fall * top.clamp(max=level) * UP
        left = ~(shape.rise(cells, centre, needed) <= needed)
        rises = _rising(shape, cells.pick(left), centre, level, inner)
        if rises < float("inf"):
            reason = f"V does not fall by a share of {fall:.3g} where it is {rises:.6g}, below {level:.6g}"
            return Trial(Failure(NAME, reason), looked, rises)
        parts = _halved(now_lo[:, left], now_hi[:, left], weight)
        lo, hi = torch.cat([parts[0], lo[:, take:]], 1), torch.cat([parts[1], hi[:, take:]], 1)
        if lo.shape[1] and (looked + lo.shape[1] > most or perf_counter() > deadline):
            return Trial(Failure(NAME, f"V is not shown to fall on {lo.shape[1]} of {looked} cells", "more seconds"))
    done = Proof(NAME)
    return Trial(done, looked)


def _rising(shape: Metric, cells: Cells, centre: Tensor, level: float, inner: float) -> float:
    """The least V of a cell's middle in the region at which V does not fall, in floating point."""
    before = shape.of(cells.c - centre[:, None])
    after = shape.of(cells.value - centre[:, None])
    bad = (after >= before * (1 - 1e-14)) & (before <= level) & (before >= inner)
    return float(before[bad].min()) if bool(bad.any()) else float("inf")


def _halved(lo: Tensor, hi: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    axis = ((hi - lo) * weight).argmax(0)
    middle = lo + (hi - lo) / 2
    chosen = torch.nn.functional.one_hot(axis, len(lo)).T.bool()
    return (
        torch.cat([lo, torch.where(chosen, middle, lo)], 1),
        torch.cat([torch.where(chosen, middle, hi), hi], 1),
    )
