"""Statements on a box: slopes on it alone, and the proof that orbits do not leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.boxes import Over, invariant, over
from separatrix.certificates.gains.gain import Gain, find_gain, verified_gain
from separatrix.certificates.gains.sectors import slope_sectors_over
from separatrix.certificates.planar.contraction import prove_contraction_by_regions, verify_contraction_by_regions
from separatrix.certificates.problem import Corners, Failure, Problem, Proof
from separatrix.certificates.reference import reference, rest_point
from separatrix.certificates.verified import TINY, UP, at_most

NAME = "contraction by sectors on a box"
_MOST = {1: 4096, 2: 4096, 3: 4096, 4: 4096}
"""Cells by the number of components; more components get one cell."""
_INSIDE = 1e-6


def prove_contraction_on_box(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """|f(x) - f(y)| <= q |x - y| on a set that orbits do not leave: the box, or a ball about an equilibrium in it.

    Sectors are those of the slopes over the pre-activations that occur in the box. If neither the box nor a ball is
    proved to be kept, the rate is a Lipschitz bound on the box and no more; the failure says so.
    """
    found = over_box(problem)
    sectors = slope_sectors_over(problem.network, found.ranges)
    gain, tried = find_gain(problem.network, sectors, problem.n, norm=norm, seconds=seconds)
    if gain is None:
        return Failure(NAME, "; ".join(tried))
    if gain.rate >= 1:
        return Failure(NAME, "; ".join(tried), "a smaller box")
    centre = None if invariant(problem, found) else rest_point(problem, _middle(problem))
    data = {**gain.data(), **({} if centre is None else {"centre": centre})}
    proof = verify_contraction_on_box(problem, data)
    if isinstance(proof, Failure):
        reason = (
            f"a local Lipschitz bound of {at_most(gain.rate)} in the {gain.norm}-norm holds on the box; {proof.reason}"
        )
        return Failure(NAME, reason, "a box that the map keeps, such as one about an equilibrium")
    return proof


def verify_contraction_on_box(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: the slopes, and that the box, or a ball in it, is kept."""
    found = over_box(problem)
    gain = verified_gain(problem.network, slope_sectors_over(problem.network, found.ranges), problem.n, data)
    if gain is None or gain.rate >= 1:
        return Failure(NAME, "the rate does not hold")
    if "centre" not in data:
        if not invariant(problem, found):
            return Failure(NAME, "the box is not proved to be forward invariant")
        return Proof(NAME, gain.rate, gain.norm, None, 1 - gain.rate, gain.data(), ("the box is mapped into itself",))
    return _ball(problem, gain, {"centre": data["centre"], **gain.data()})


BY_REGIONS = "contraction by regions on a box"


def prove_contraction_on_box_by_regions(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """The same from the maps of all linear regions that meet the box."""
    pieces = prove_contraction_by_regions(problem, norm=norm, seconds=seconds)
    if isinstance(pieces, Failure):
        return replace(pieces, method=BY_REGIONS)
    centre = None if invariant(problem, over_box(problem)) else rest_point(problem, _middle(problem))
    data = {**pieces.data, **({} if centre is None else {"centre": centre})}
    found = verify_contraction_on_box_by_regions(problem, data)
    if isinstance(found, Failure):
        bound = at_most(pieces.rate or 0.0)
        reason = f"a local Lipschitz bound of {bound} in the {pieces.norm}-norm holds on the box; {found.reason}"
        return Failure(BY_REGIONS, reason, "a box that the map keeps, such as one about an equilibrium")
    return found


def verify_contraction_on_box_by_regions(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: the regions, and that the box, or a ball in it, is kept."""
    pieces = verify_contraction_by_regions(problem, data)
    if isinstance(pieces, Failure) or pieces.rate is None:
        return Failure(BY_REGIONS, "the rate does not hold")
    weights = torch.ones(problem.n, dtype=torch.float64) if pieces.norm in ("1", "inf") else None
    gain = Gain(
        "regions", pieces.norm if weights is None else f"weighted {pieces.norm}", pieces.rate, weights, data.get("P")
    )
    if "centre" in data:
        found = _ball(problem, gain, data)
        return found if isinstance(found, Failure) else replace(found, method=BY_REGIONS, norm=pieces.norm)
    if not invariant(problem, over_box(problem)):
        return Failure(BY_REGIONS, "the box is not proved to be forward invariant")
    return Proof(BY_REGIONS, gain.rate, pieces.norm, None, 1 - gain.rate, data, ("the box is mapped into itself",))


def _ball(problem: Problem, gain: Gain, data: dict[str, Any]) -> Proof | Failure:
    """The largest ball in the box that is mapped into itself, about an equilibrium in floating point."""
    assert problem.box is not None
    none = "the box is not proved to be forward invariant, nor a ball in it"
    if problem.driven:
        return Failure(NAME, none)
    centre: Tensor = data["centre"]
    lo, hi = problem.box
    if centre.shape != lo.shape or not bool(((centre > lo) & (centre < hi)).all()):
        return Failure(NAME, none + ": there is no equilibrium in it")
    error = gain.size(reference(problem, centre).error)
    room = torch.minimum(centre - lo, hi - centre) * (1 - _INSIDE)
    radius = float((room / gain.reach(problem.n)).min()) * (1 - _INSIDE)
    # |f(x) - c| <= q |x - c| + e <= R for |x - c| <= R
    if not error * UP <= (1 - gain.rate) * radius * (1 - _INSIDE):
        return Failure(NAME, none)
    notes = (f"on the ball |x - c| <= {radius:.6g} about the equilibrium, which lies in the box and is kept",)
    return Proof(NAME, gain.rate, gain.norm, radius, 1 - gain.rate, data, notes)


def prove_invariance(problem: Problem) -> Proof | Failure:
    """Orbits that start in the box stay in it."""
    return verify_invariance(problem, {})


def verify_invariance(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: the image of the box, cell by cell."""
    assert problem.box is not None
    lo, hi = problem.box
    found = over_box(problem)
    if not invariant(problem, found):
        image = f"[{_words(found.lo)}] to [{_words(found.hi)}]"
        return Failure("interval image of the box", f"it is bounded by {image} only", "a box that the map keeps")
    room = float((torch.minimum(found.lo - lo, hi - found.hi) / (hi - lo)).min())
    return Proof("interval image of the box", None, "", None, room, data)


def prove_lipschitz_on_box(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """|f(x) - f(y)| <= L |x - y| for x and y in the box."""
    sectors = slope_sectors_over(problem.network, over_box(problem).ranges)
    wanted = "2" if norm == "best" else norm
    gain, tried = find_gain(problem.network, sectors, problem.n, norm=wanted, seconds=seconds, target=0.0)
    if gain is None:
        return Failure("Lipschitz bound on a box", "; ".join(tried))
    return verify_lipschitz_on_box(problem, gain.data())


def verify_lipschitz_on_box(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again."""
    sectors = slope_sectors_over(problem.network, over_box(problem).ranges)
    gain = verified_gain(problem.network, sectors, problem.n, data)
    plain = None if gain is None else gain.plain
    if gain is None or plain is None:
        return Failure("Lipschitz bound on a box", "the bound does not hold in a plain norm")
    return Proof("Lipschitz bound on a box", None, plain, gain.rate, 0.0, gain.data())


def over_box(problem: Problem, box: Corners | None = None) -> Over:
    """Bounds over the problem's box; the same cells each time, so that a check sees the same numbers."""
    lo, hi = box or problem.box or (None, None)
    assert lo is not None and hi is not None
    return over(problem, lo, hi, _MOST.get(problem.n, 1))


def _middle(problem: Problem) -> Tensor:
    assert problem.box is not None
    lo, hi = problem.box
    return lo + (hi - lo) / 2


def _words(x: Tensor) -> str:
    return ", ".join(f"{float(v):.4g}" for v in (x + TINY).tolist()[:4]) + (", ..." if len(x) > 4 else "")
