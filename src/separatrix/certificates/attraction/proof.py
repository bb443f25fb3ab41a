"""Regions of attraction: search for an equilibrium's ellipsoid, and its verification."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.attraction.cell_walk import Walk
from separatrix.certificates.attraction.check import CELLED, NAME, bounds, tried
from separatrix.certificates.attraction.ellipsoids import Metric, metric
from separatrix.certificates.attraction.search import candidates, equilibrium_near
from separatrix.certificates.attraction.sectors import sectored
from separatrix.certificates.attraction.shapes import Candidate, room_for
from separatrix.certificates.attraction.straight_rays import straight
from separatrix.certificates.problem import Failure, Problem, Proof

_SHRINK = (0.985, 0.95, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.03, 0.01)
_LATE = 0.35
"""The one of these that is tried where time is up."""
_ENOUGH = 0.3
"""With this share of the level that was hoped for no other metric is tried."""
_LEAST = 1.0
"""Seconds that a trial may take at least."""
_MOST = 2_000_000


def prove_attraction(problem: Problem, at: Float[Tensor, " n"], *, seconds: float) -> Proof | Failure:
    """Prove that an equilibrium attracts an ellipsoid around it, as large a one as can be found.

    Parameters
    ----------
    problem : Problem
        Its input, if there is one, must be constant: the input box a point. The region lies in ``box`` if that is
        given, else within 1,000 (1 + size of the equilibrium) of it.
    at : Tensor (n,)
        A point near the equilibrium.
    seconds : float
        Time to look for a large region; a small one is returned where that is all there is time for.

    Returns
    -------
    Proof or Failure
        ``rate`` is the factor per step: outside the inner ellipsoid of |x - centre|_P, inside it of the distance to the
        equilibrium in the same norm. ``data`` has ``centre`` (n,), ``P`` (n, n) and ``level``: the region is
        (x - centre)'P(x - centre) <= level. A failure tells an equilibrium that is not there, not stable, or on the
        verge, from a proof that was not found.

    Notes
    -----
    P comes from Lyapunov's equation for the Jacobian; for up to three components its shape is then improved, by
    Nelder-Mead on the volume of the largest level below which no sample rises, and that V falls is shown on cells. For
    more components P and the level come from a matrix inequality with a multiplier for each activation component
    (:mod:`separatrix.certificates.attraction.sectors`).

    The larger the region, the closer the rate is to 1: at the rim V hardly falls.
    """
    began = perf_counter()
    if problem.driven:
        return Failure(NAME, "an input that changes moves the equilibrium", "ask for contraction or boundedness")
    walk = Walk(problem)
    centre = equilibrium_near(problem, walk, at)
    if isinstance(centre, Failure):
        return centre
    found = candidates(problem, walk, centre, seconds / 3)
    if isinstance(found, Failure):
        return found
    if problem.n > CELLED:
        wide = _by_sectors(problem, walk, centre, found[0], began + seconds)
        if wide is not None:
            return wide
    last: Proof | Failure = Failure(NAME, "no time was left", "more seconds")
    best: Proof | None = None
    for candidate in found:
        last = _largest(problem, walk, centre, candidate, began + seconds)
        if isinstance(last, Proof) and (best is None or _volume(last) > _volume(best)):
            best = last
        if best is not None and problem.n <= CELLED and best.data["level"] > _ENOUGH * candidate.level:
            break
    return best or last


def verify_attraction(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show again that an ellipsoid is attracted, from centre, P, level, inner level, and the share by which V falls.

    The cover by cells is made anew; ``data["cells"]`` limits how many are looked at.
    """
    if problem.driven:
        return Failure(NAME, "an input that changes moves the equilibrium", "ask for contraction or boundedness")
    return tried(problem, Walk(problem), data, float("inf")).outcome


def _by_sectors(
    problem: Problem, walk: Walk, centre: Float[Tensor, " n"], candidate: Candidate, deadline: float
) -> Proof | None:
    """The largest ellipsoid that multipliers for all activations give."""

    def largest(P: Tensor) -> float:
        return room_for(problem, centre, P)

    for found in sectored(problem, walk, centre, candidate.P, largest, deadline):
        level = min(found.level, largest(found.P))
        shape = metric(found.P)
        inner = None if shape is None else _inner(walk, shape, centre, level)
        if inner is not None:
            data = {"centre": centre, "P": found.P, "level": level, "inner": inner, "fall": 0.5, "cells": 1}
            trial = tried(problem, walk, {**data, "rays": 0, **found.data()}, float("inf"))
            if isinstance(trial.outcome, Proof):
                return trial.outcome
    return None


def _volume(proof: Proof) -> float:
    P, level = proof.data["P"], proof.data["level"]
    return float(0.5 * len(P) * torch.tensor(level).double().log() - 0.5 * torch.logdet(P))


def _largest(
    problem: Problem, walk: Walk, centre: Float[Tensor, " n"], candidate: Candidate, deadline: float
) -> Proof | Failure:
    """The largest level of one P that is verified in time."""
    shape = metric(candidate.P)
    if shape is None:
        return Failure(NAME, "the metric that was found is not definite")
    rays = False
    inner = _inner(walk, shape, centre, candidate.level)
    if inner is None and problem.n <= CELLED:
        inner, rays = _straight(walk, shape, centre, candidate.level), True
    if inner is None:
        reason = "no set around the equilibrium was found in which the slopes contract"
        return Failure(NAME, reason, "the equilibrium is close to losing its stability, or on a kink")
    last: Proof | Failure = Failure(NAME, "no time was left", "more seconds")
    seen = candidate.level
    for share in (*_SHRINK, 0.0):
        level = max(min(candidate.level, seen) * share, inner)
        late = perf_counter() > deadline and share not in (_LATE, 0.0)
        if level > inner and (late or level > 0.985 * seen):
            continue
        data = {"centre": centre, "P": candidate.P, "level": level, "inner": min(inner, level)}
        data |= {"fall": candidate.fall(level), "cells": _MOST, "rays": int(rays)}
        now = perf_counter()
        allowed = now + max((deadline - now) / 2, _LEAST)
        trial = tried(problem, walk, data, allowed)
        if isinstance(trial.outcome, Proof):
            return trial.outcome
        last, seen = trial.outcome, min(seen, trial.rises)
        if level <= inner:
            break
    return last


def _inner(walk: Walk, shape: Metric, centre: Float[Tensor, " n"], level: float) -> float | None:
    """The largest level, among halves of the given one, up to which the slopes contract."""
    levels = level * 0.5 ** torch.arange(0, 90, dtype=torch.float64)
    unit = shape.reach(1.0)
    r = unit[:, None] * levels.sqrt() * (1 + 1e-9)
    found = bounds(walk, shape, centre, r, "slopes")
    good = found.residual <= (1 - found.norm) * levels.sqrt() * 0.999
    good &= found.norm < 1
    return float(levels[good][0]) if bool(good.any()) else None


def _straight(walk: Walk, shape: Metric, centre: Float[Tensor, " n"], level: float) -> float | None:
    """The largest level, among halves of the given one, up to which the map is straight along rays."""
    levels = level * 0.5 ** torch.arange(0, 60, dtype=torch.float64)
    good = straight(walk, centre, shape.reach(1.0)[:, None] * levels.sqrt() * (1 + 1e-9))
    return float(levels[good][0]) if bool(good.any()) else None
