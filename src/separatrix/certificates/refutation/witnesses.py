"""What can be a witness against a statement, and how each is shown to be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from separatrix.certificates.problem import Problem
from separatrix.certificates.refutation import cones, drift, exact_orbits, growing_directions, rays, recession
from separatrix.certificates.refutation import points as refuting_points
from separatrix.systems.lure import Lure

STATEMENTS = ("contraction", "stability", "boundedness")


class Witness(NamedTuple):
    """A kind of witness: what it refutes, how it is shown to, and what that is in words."""

    statements: tuple[str, ...]
    margin: Callable[[Lure, Problem, dict[str, Any], str, Tensor | None], float]
    says: str


def _everywhere(kind: Callable[[Lure, Problem, dict[str, Any], str], float]) -> Callable[..., float]:
    """A witness that says nothing of the neighbourhood of one equilibrium."""

    def margin(network: Lure, problem: Problem, data: dict[str, Any], statement: str, at: Tensor | None) -> float:
        return kind(network, problem, data, statement) if at is None else 0.0

    return margin


def _growth(kind: Callable[[Lure, dict[str, Any]], float]) -> Callable[..., float]:
    """Growth of what the map looks like from far away; of a homogeneous map, which looks like that near 0 too."""

    def margin(network: Lure, problem: Problem, data: dict[str, Any], statement: str, at: Tensor | None) -> float:
        box, seen = problem.box, recession.recession(network)
        around_0 = (box is None or bool(((box[0] < 0) & (box[1] > 0)).all())) and (at is None or not bool(at.any()))
        if seen is None or not (around_0 if rays.homogeneous(network) else box is None and at is None):
            return 0.0
        return kind(seen, data)

    return margin


KINDS: dict[str, Witness] = {
    "two equilibria": Witness(
        ("contraction", "stability"),
        _everywhere(lambda f, problem, data, _: refuting_points.two_equilibria(f, problem, data)),
        "two different equilibria are proved",
    ),
    "cycle": Witness(
        ("contraction", "stability"),
        _everywhere(lambda f, problem, data, _: refuting_points.cycle(f, problem, data)),
        "a cycle that is no equilibrium is proved",
    ),
    "unstable equilibrium": Witness(
        ("contraction", "stability"),
        lambda f, problem, data, _, at: refuting_points.unstable_equilibrium(f, problem, data, at),
        "an equilibrium is proved at which the derivative has a spectral radius above 1, so that it is not stable",
    ),
    "expanding product": Witness(
        ("contraction",),
        _everywhere(lambda f, problem, data, _: refuting_points.expanding_product(f, problem, data)),
        "a Jacobian, or a product of Jacobians, has a spectral radius above 1",
    ),
    "exact orbits": Witness(
        STATEMENTS,
        _everywhere(exact_orbits.orbits),
        "points come back to where they were exactly, in fractions",
    ),
    "leaving point": Witness(
        ("boundedness",),
        _everywhere(lambda _, problem, data, __: refuting_points.leaving_point(problem, data)),
        "a point of the box is carried out of it",
    ),
    "growing ray": Witness(
        STATEMENTS,
        # a ray that repels its neighbours is one of the map itself alone
        lambda f, *rest: _growth(rays.ray)(f, *rest) if rays.homogeneous(f) else 0.0,
        "all points of a ray through 0 are carried outwards",
    ),
    "growing cone": Witness(STATEMENTS, _growth(cones.cone), "a cone is carried into itself and outwards"),
    "growing directions": Witness(
        STATEMENTS, _growth(growing_directions.growing), "orbits grow that start in a set of directions"
    ),
    "linear growth": Witness(
        STATEMENTS,
        _growth(lambda f, _: recession.linear_growth(f)),
        "far away the map is linear, with a spectral radius above 1",
    ),
    "drift": Witness(
        STATEMENTS,
        _everywhere(lambda f, problem, data, _: drift.drifts(f, data) if problem.box is None else 0.0),
        "beyond some place every point is moved outwards by a fixed step",
    ),
}
"""What can be a witness, by the name that its data carry in ``kind``."""
