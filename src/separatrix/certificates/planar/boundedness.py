"""Boundedness of a piecewise-linear map, from its unbounded regions and their directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from separatrix.certificates.planar.common_metric import common_metric
from separatrix.certificates.planar.far_cones import Cones, cone_rates, cones_of, directions, offset
from separatrix.certificates.planar.gauge import Gauge, gauge_from, number
from separatrix.certificates.planar.region_cover import CHECK_SECONDS, Cover, covered, limit_of
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.certificates.verified import UP

BOUNDEDNESS = "boundedness by regions"

_ROOM = 1.001
"""The ball that is entered is larger by this than the one that is approached."""
_LEAST_RATE = 1e-9
_ENOUGH = 0.5
"""A rate far from the origin that is small enough: a smaller one takes a steeper metric, and a larger ball."""
_SMALL = 1e-6
"""Radius of the ball where all orbits go to 0."""


def prove_boundedness_by_regions(
    problem: Problem, *, norm: str = "best", seconds: float = 60.0, limit: int = 20_000
) -> Proof | Failure:
    """|f(x)| <= r |x| + beta for all x with r < 1, from the unbounded regions and the directions in which they extend.

    Every ball |x| <= R with R >= beta / (1 - r) is then mapped into itself, and every orbit enters it in finite time if
    R > beta / (1 - r). The proof's bound is such an R, a thousandth above: the ball about 0 is entered by every orbit
    and never left again.

    Parameters
    ----------
    problem : Problem
        Piecewise linear, with one or two components, without a box.
    norm : str
        As for :func:`prove_contraction_by_regions`.
    seconds : float
        Time for the regions, and once more for the norm.
    limit : int
        Most regions.

    Notes
    -----
    A point x of a cell is p + d, p a mean of the cell's vertices v_k and d of its directions, so that
    |f(x)| <= max |f(v_k)| + |A d| <= r |x| + max |f(v_k)| + r max |v_k| where |A d| <= r |d| in the cone of
    directions; also |f(x)| <= r |x| + |b| where |A| <= r. Only directions matter for r: between two saturated pieces
    of an activation, A may be large across a strip.
    """
    if problem.box is not None:
        return Failure(BOUNDEDNESS, "it is a statement about all of space", "leave the box out")
    cover = covered(problem, BOUNDEDNESS, limit, seconds)
    if isinstance(cover, Failure):
        return cover
    cones = cones_of(cover)
    found: list[tuple[float, dict[str, Any]]] = []
    tried = []
    for gauge in _gauges(cover, cones, norm, seconds):
        inside = cone_rates(cover, cones, gauge)
        least = np.where(inside >= 0, np.minimum(inside, gauge.rates(cover.A)), 0.0)
        lowest = max(float(least.max()) * (1 + 1e-9), _LEAST_RATE)
        tried.append(f"{gauge.name}-norm: {lowest:.6g}")
        for share in (0.001, 0.1, 0.3, 0.6) if lowest < 1 else ():
            rate = lowest + share * (1 - lowest)
            radius = max(_ROOM * offset(cover, cones, inside, gauge, rate) / (1 - rate), _SMALL)
            data = {**gauge.data(), "rate": rate, "radius": radius, "regions": len(cover.A)}
            data["centre"] = torch.zeros(problem.n, dtype=torch.float64)
            # a metric's least eigenvalue is 1: in all norms but the last, a radius bounds the 2-norm
            found.append((radius * (problem.n**0.5 if gauge.name == "inf" else 1.0), data))
    for _, data in sorted(found, key=lambda one: one[0]):
        proof = _boundedness(problem, cover, cones, data)
        if isinstance(proof, Proof):
            return proof
    return Failure(BOUNDEDNESS, "rates far from the origin: " + "; ".join(tried), "another norm or method")


def _gauges(cover: Cover, cones: Cones, norm: str, seconds: float) -> Iterator[Gauge]:
    """Norms in which the map may shrink far from the origin."""
    if norm in ("1", "2", "inf"):
        yield Gauge(norm)
        return
    if norm == "best":
        yield from (Gauge("2"), Gauge("1"), Gauge("inf"))
    wide = np.unique(cones.cell)
    yield Gauge("P", common_metric(cover.A[wide], seconds=seconds, enough=_ENOUGH)[0])
    # a metric for directions alone, and once more for those that are one angle apart as it sees them
    gauge = Gauge("2")
    images, y = directions(cover, cones, gauge)
    for _ in range(2):
        gauge = Gauge("P", common_metric(images, y, seconds=seconds, enough=_ENOUGH)[0])
        yield gauge
        more = directions(cover, cones, gauge)
        images, y = np.concatenate([images, more[0]]), np.concatenate([y, more[1]])


def verify_boundedness_by_regions(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: all regions, the rate in their directions, and the offset that is left."""
    if problem.box is not None:
        return Failure(BOUNDEDNESS, "it is a statement about all of space", "leave the box out")
    cover = covered(problem, BOUNDEDNESS, limit_of(data), CHECK_SECONDS)
    return cover if isinstance(cover, Failure) else _boundedness(problem, cover, cones_of(cover), data)


def _boundedness(problem: Problem, cover: Cover, cones: Cones, data: dict[str, Any]) -> Proof | Failure:
    gauge, rate, radius = gauge_from(data, problem.n), number(data, "rate"), number(data, "radius")
    if gauge is None or not 0 < rate < 1 or not 0 < radius < np.inf:
        return Failure(BOUNDEDNESS, "the rate does not hold")
    beta = offset(cover, cones, cone_rates(cover, cones, gauge), gauge, rate)
    if not beta * UP < radius * (1 - rate) * (1 - 2.0**-40):
        return Failure(BOUNDEDNESS, "the rate, or the radius, does not hold")
    return Proof(BOUNDEDNESS, rate, gauge.name, radius, 1 - rate, data, ("the ball is about 0",))
