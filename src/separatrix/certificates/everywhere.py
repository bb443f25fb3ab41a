"""One equilibrium for every start: orbits come to a bounded set, and from each of its cells to the equilibrium."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from separatrix.certificates.attraction.cell_map import covers, prove_basin, verify_basin
from separatrix.certificates.attraction.proof import prove_attraction
from separatrix.certificates.box_statements import over_box
from separatrix.certificates.boxes import invariant
from separatrix.certificates.gains.norms import reach
from separatrix.certificates.global_statements import prove_boundedness, verify_boundedness
from separatrix.certificates.planar.boundedness import prove_boundedness_by_regions, verify_boundedness_by_regions
from separatrix.certificates.problem import Corners, Failure, Problem, Proof
from separatrix.certificates.reference import rest_point

NAME = "bounded set and cell mapping"


def prove_everywhere(problem: Problem, *, norm: str, seconds: float) -> Proof | Failure:
    """Show that all orbits enter a box (or keep the problem's), and that one equilibrium attracts all of it.

    Cells of the box are carried by interval images until they lie in a region of attraction that is certified.
    """
    if problem.driven:
        return Failure(NAME, "an input that changes moves the equilibrium", "ask for contraction or boundedness")
    bounded: dict[str, Any] = {}
    if problem.box is None:
        first = prove_boundedness(problem, norm="best", seconds=seconds / 4)
        key = "sectors"
        if isinstance(first, Failure) and problem.n == 2:
            first, key = prove_boundedness_by_regions(problem, norm="best", seconds=seconds / 4), "regions"
        if isinstance(first, Failure):
            return Failure(NAME, f"no bounded set that orbits enter is known: {first.reason}", first.advice)
        bounded = {"way": key, "data": first.data}
    box = _box(problem, bounded)
    if isinstance(box, Failure):
        return box
    whole = replace(problem, box=None)
    middle = box[0] + (box[1] - box[0]) / 2
    at = rest_point(problem) if problem.box is None else rest_point(problem, middle)
    if at is None or bool(((at < box[0]) | (at > box[1])).any()):
        return Failure(NAME, "no equilibrium was found")
    near = prove_attraction(whole, at, seconds=seconds / 4)
    if isinstance(near, Failure):
        return Failure(NAME, near.reason, near.advice)
    basin = prove_basin(whole, near, box, seconds=seconds / 2)
    if isinstance(basin, Failure):
        return Failure(NAME, basin.reason, basin.advice)
    return verify_everywhere(problem, {"bounded": bounded, "basin": basin.data})


def verify_everywhere(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: the bounded set, the basin, and that it covers the set."""
    box = _box(problem, data["bounded"])
    if isinstance(box, Failure):
        return box
    basin = verify_basin(replace(problem, box=None), data["basin"])
    if isinstance(basin, Failure):
        return Failure(NAME, basin.reason, basin.advice)
    if not covers(basin, *box):
        return Failure(NAME, "cells of the bounded set are left over", "more seconds")
    what = "every orbit enters" if problem.box is None else "orbits stay in"
    corners = " to ".join("(" + ", ".join(f"{v:.4g}" for v in side.tolist()) + ")" for side in box)
    return Proof(NAME, None, "", None, basin.margin, data, (f"{what} the box {corners}, all of which is attracted",))


def _box(problem: Problem, bounded: dict[str, Any]) -> Corners | Failure:
    """The box that orbits come to, or stay in."""
    if problem.box is not None:
        if not invariant(problem, over_box(problem)):
            return Failure(NAME, "the box is not proved to be forward invariant", "a box that the map keeps")
        return problem.box
    verify = verify_boundedness if bounded["way"] == "sectors" else verify_boundedness_by_regions
    proof = verify(problem, bounded["data"])
    if isinstance(proof, Failure):
        return proof
    side = reach(proof, problem.n)
    return -side, side
