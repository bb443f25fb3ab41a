"""Ellipsoids of attraction in more than three dimensions: one multiplier for each activation, in its own sector.

The chords of every activation from the equilibrium lie in a sector that depends on the ellipsoid, and a matrix
inequality with a free metric (:mod:`separatrix.certificates.gains.small_gain`) bounds the map's chords. (Local sectors:
H. Yin, P. Seiler, M. Arcak, IEEE Trans. Autom. Control 67, 1980 (2022), there for loops with a linear plant.)
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.attraction.cell_walk import Walk
from separatrix.certificates.attraction.ellipsoids import Metric, metric
from separatrix.certificates.gains.barrier import smallest_rate
from separatrix.certificates.gains.gain import WIDEST
from separatrix.certificates.gains.layer_norms import spreads
from separatrix.certificates.gains.sectors import Sectors, slope_sectors
from separatrix.certificates.gains.small_gain import gains
from separatrix.certificates.problem import Problem
from separatrix.certificates.reference import Reference, reference
from separatrix.certificates.verified import UNIT, UP, positive_definite

_FULL = 48
"""State components up to which a metric is looked for."""
_FIRST = 1e-12
"""The first level, as a share of the largest."""
_GROWTH = 64.0
"""By what levels grow, where rates are far from 1."""
_FINE = 1.5
_TARGET = 0.995
"""A rate that is good enough: larger ellipsoids matter more."""


class Sectored(NamedTuple):
    """An ellipsoid P, level inside another (``about``) whose sectors give the rate with multipliers t."""

    P: Tensor
    level: float
    about: Tensor
    about_level: float
    t: Tensor
    rate: float

    def data(self) -> dict[str, Any]:
        """What :func:`sector_rate` needs besides the ellipsoid."""
        return {"about": self.about, "about_level": self.about_level, "t": self.t, "gain": self.rate}

    def volume(self) -> float:
        """Logarithm of the volume, but for a constant."""
        size = torch.tensor(self.level, dtype=torch.float64).log()
        return float(0.5 * len(self.P) * size - 0.5 * torch.logdet(self.P))


def sector_rate(
    problem: Problem, walk: Walk, shape: Metric, centre: Float[Tensor, " n"], level: float, data: dict[str, Any]
) -> tuple[float, float] | None:
    """A rate r and an error e with |f(x) - c|_P <= r |x - c|_P + e on V <= level, shown from the multipliers in data.

    None where they show nothing.
    """
    n = problem.n
    about, t = (torch.as_tensor(data[key], dtype=torch.float64) for key in ("about", "t"))
    size, rate = float(data["about_level"]), float(data["gain"])
    outer = metric(about) if about.shape == (n, n) else None
    if outer is None or not (0 < size < float("inf") and 0 < rate < 1):
        return None
    # e'about e <= size e'Pe / level, so that the ellipsoid lies in the one that the sectors are about
    wide, narrow = size * shape.P, level * about
    if not bool(positive_definite(wide - narrow, 2 * UNIT * (wide.abs() + narrow.abs()))):
        return None
    from_centre = reference(problem, centre)
    seen = gains(problem.network, _sectors(problem, walk, outer, centre, size, from_centre), n)
    if t.shape != (len(seen.N),) or not seen.proves(shape.P, shape.P, t, rate):
        return None
    return rate, float(shape.above(from_centre.error[:, None]).sqrt()) * UP


def _sectors(
    problem: Problem, walk: Walk, shape: Metric, centre: Tensor, level: float, from_centre: Reference
) -> Sectors:
    """Chords from the centre over the pre-activations that occur in an ellipsoid."""
    whole = torch.cat([centre, walk.u])[:, None]
    r = torch.cat([shape.reach(level), torch.zeros_like(walk.u)])[:, None]
    ranges = walk(whole, r).ranges
    network = problem.network
    none = torch.zeros(network.inputs, dtype=torch.float64)
    moved = spreads(network, slope_sectors(network).largest, none, from_centre.shift)
    lo, hi = [], []
    for block, z, (low, high), wide in zip(network.blocks, from_centre.preactivations, ranges, moved, strict=False):
        low, high = low[:, 0], high[:, 0]
        if set(block.weights) == {0}:
            # |w'e| <= |T'w| |y| with e = Ty and |y|^2 <= level / share
            w = block.weights[0][:, : problem.n]
            far = (w @ shape.T).norm(dim=1) + 4 * UNIT * (problem.n + 4) * (w.abs() @ shape.T.abs()).sum(1)
            far = far * (level / shape.share) ** 0.5 * UP
            low, high = torch.maximum(low, z - far), torch.minimum(high, z + far)
        room = wide + 4 * UNIT * z.abs()
        assert block.curve is not None
        a, b = block.curve.chord_over(z, torch.minimum(low, z) - room, torch.maximum(high, z) + room)
        lo.append(a)
        hi.append(b)
    return Sectors(lo, hi)


def sectored(
    problem: Problem,
    walk: Walk,
    centre: Float[Tensor, " n"],
    P: Float[Tensor, "n n"],
    largest: Callable[[Tensor], float],
    deadline: float,
) -> list[Sectored]:
    """Search for large ellipsoids, in floating point: from small ones on, each in the metric that the last one gave.

    The largest come first. ``largest`` gives the level of a metric that there is room for.
    """
    found: list[Sectored] = []
    activations = sum(len(block.bias) for block in problem.network.blocks[:-1])
    if not activations or activations > WIDEST or problem.n > _FULL:
        return found
    from_centre = reference(problem, centre)
    level, factor = largest(P) * _FIRST, _GROWTH
    while perf_counter() < deadline and factor > _FINE:
        shape = metric(P)
        one = None
        if shape is not None:
            one = _solved(problem, walk, shape, centre, level, from_centre, deadline)
        if one is not None:
            found.append(one)
            # close to the limit sizes grow less
            factor = min(factor, _GROWTH ** (1.0 if one.rate < 0.95 else 0.3))
            P = one.P
        else:
            factor = factor**0.5
        if not found:
            break
        level = min(found[-1].level * factor, largest(P))
    return sorted(found, key=lambda one: -one.volume())


def _solved(
    problem: Problem,
    walk: Walk,
    shape: Metric,
    centre: Tensor,
    level: float,
    from_centre: Reference,
    deadline: float,
) -> Sectored | None:
    import numpy as np

    sectors = _sectors(problem, walk, shape, centre, level, from_centre)
    if not all(bool(torch.isfinite(part).all()) for part in (*sectors.lo, *sectors.hi)):
        return None
    seen = gains(problem.network, sectors, problem.n)
    C, N, block = seen.C.numpy(), seen.N.numpy(), seen.block.numpy()
    left = max(deadline - perf_counter(), 0.3)
    try:
        solved = smallest_rate(C, N, block, problem.n, target=_TARGET, seconds=left, start=shape.P.numpy())
    except (np.linalg.LinAlgError, ValueError):
        return None
    if not solved.rate < 1 - 1e-7:
        return None
    P = torch.from_numpy(solved.P_in)
    P = (P + P.T) / 2
    rate = (solved.rate + 1) / 2
    back = torch.linalg.solve_triangular(shape.L, P, upper=False)
    ratio = torch.linalg.eigvalsh(torch.linalg.solve_triangular(shape.L, back.T, upper=False))[0]
    inside = level * float(ratio) * (1 - 1e-7)
    return Sectored(P, inside, shape.P, level, torch.from_numpy(solved.t), rate) if inside > 0 else None
