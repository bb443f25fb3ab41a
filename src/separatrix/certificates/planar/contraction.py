"""Contraction of a piecewise-linear map, from the maps of all its linear regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from separatrix.certificates.planar.common_metric import common_metric
from separatrix.certificates.planar.gauge import Gauge, gauge_from, number
from separatrix.certificates.planar.region_cover import CHECK_SECONDS, Cover, covered, limit_of
from separatrix.certificates.problem import Failure, Problem, Proof

CONTRACTION = "contraction by regions"

_LEAST_RATE = 1e-9


def prove_contraction_by_regions(
    problem: Problem, *, norm: str = "best", seconds: float = 60.0, limit: int = 20_000
) -> Proof | Failure:
    """|f(x) - f(y)| <= q |x - y| for all x and y of the box, or of all space, if every region's A_i shrinks by q.

    A segment from x to y is cut by the regions into parts on each of which f is affine, so that f(x) - f(y) is a mean
    of A_i (x - y).

    Parameters
    ----------
    problem : Problem
        Piecewise linear, with one or two components.
    norm : str
        "P" for one quadratic norm, which is looked for; "1", "2" or "inf" for that one; "best" for a quadratic one,
        and the others if there is none.
    seconds : float
        Time for the regions, and once more for the norm.
    limit : int
        Most regions.

    Returns
    -------
    Proof or Failure
        With a box the rate is a bound between states of the box; that orbits stay in it is another question.
    """
    cover = covered(problem, CONTRACTION, limit, seconds)
    if isinstance(cover, Failure):
        return cover
    radius = float(np.abs(np.linalg.eigvals(cover.A)).max())
    if not radius < 1:
        reason = f"a region has spectral radius {radius:.6g}: no norm shrinks there"
        return Failure(CONTRACTION, reason, "where orbits stay in part of the space, a box")
    tried = []
    for name in ("P", "1", "inf") if norm == "best" else (norm,):
        P = common_metric(cover.A, seconds=seconds)[0] if name == "P" else None
        gauge = Gauge(name, P)
        found = float(gauge.rates(cover.A).max())
        for raised in (0.0, 1e-9, 1e-7, 1e-5, 1e-3):
            rate = max(found, _LEAST_RATE) * (1 + raised)
            if rate < 1 and gauge.shrinks(cover.A, cover.A_radius, rate).all():
                # some room for the rounding of another machine
                rate = min(rate * (1 + 1e-10 + raised), rate + (1 - rate) / 2)
                proof = _contraction(problem, cover, {**gauge.data(), "rate": rate, "regions": len(cover.A)})
                if isinstance(proof, Proof):
                    return proof
        tried.append(f"{'best norm |x|_P that was found' if name == 'P' else name + '-norm'}: {found:.6g}")
    return Failure(CONTRACTION, f"rates of {len(cover.A):,} regions: " + "; ".join(tried), "another norm, or a box")


def verify_contraction_by_regions(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: all regions, and that each map shrinks in the norm that was found."""
    cover = covered(problem, CONTRACTION, limit_of(data), CHECK_SECONDS)
    return cover if isinstance(cover, Failure) else _contraction(problem, cover, data)


def _contraction(problem: Problem, cover: Cover, data: dict[str, Any]) -> Proof | Failure:
    gauge, rate = gauge_from(data, problem.n), number(data, "rate")
    if gauge is None or not 0 < rate < 1 or not gauge.shrinks(cover.A, cover.A_radius, rate).all():
        return Failure(CONTRACTION, "the rate does not hold")
    notes = () if problem.box is None else ("between any two states of the box",)
    return Proof(CONTRACTION, rate, gauge.name, None, 1 - rate, data, notes)
