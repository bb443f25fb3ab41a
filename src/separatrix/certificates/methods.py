"""The methods for each statement, cheapest first, and how each is verified anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from separatrix.certificates import box_statements, everywhere, global_statements
from separatrix.certificates.attraction import cell_map
from separatrix.certificates.attraction import proof as attraction
from separatrix.certificates.planar import boundedness, contraction
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.certificates.question import Question
from separatrix.certificates.refutation.proof import refute, verify_refutation

Outcome = Proof | Failure
Verify = Callable[[Problem, dict[str, Any]], Outcome]

CELLED = 3
"""State components up to which space is cut into cells."""
REFUTATION = "refutation"
"""Key of the search for a witness."""


@dataclass(frozen=True)
class Method:
    """A way to prove a statement.

    Attributes
    ----------
    key : str
        Under which :data:`VERIFIERS` has it.
    prove : callable
        Takes the seconds that it may take.
    """

    key: str
    prove: Callable[[float], Outcome]


VERIFIERS: dict[str, Verify] = {
    "contraction": global_statements.verify_contraction,
    "lipschitz": global_statements.verify_lipschitz,
    "boundedness": global_statements.verify_boundedness,
    "chords": global_statements.verify_stability,
    "contraction on a box": box_statements.verify_contraction_on_box,
    "lipschitz on a box": box_statements.verify_lipschitz_on_box,
    "invariance": box_statements.verify_invariance,
    "contraction by regions on a box": box_statements.verify_contraction_on_box_by_regions,
    "contraction by regions": contraction.verify_contraction_by_regions,
    "boundedness by regions": boundedness.verify_boundedness_by_regions,
    "attraction": attraction.verify_attraction,
    "basin": cell_map.verify_basin,
    "everywhere": everywhere.verify_everywhere,
}


def methods(question: Question, problem: Problem) -> list[Method]:
    """What is tried for a question, in this order."""
    norm = question.norm
    flat = _flat(problem)
    if question.at is not None:
        return _local(question, problem)
    if question.statement == "lipschitz":
        on_box = problem.box is not None
        prove = box_statements.prove_lipschitz_on_box if on_box else global_statements.prove_lipschitz
        key = "lipschitz on a box" if on_box else "lipschitz"
        return [Method(key, lambda s: prove(problem, norm=norm, seconds=s))]
    chords = partial(global_statements.prove_stability, problem, norm=norm)
    if question.statement == "stability" and problem.driven:
        # which says that the input moves the equilibrium: contraction alone does not give one
        return [Method("chords", lambda s: chords(seconds=s))]
    if problem.box is not None:
        return _on_box(question, problem)
    found: list[Method] = []
    if question.statement == "boundedness":
        found.append(
            Method("boundedness", lambda s: global_statements.prove_boundedness(problem, norm=norm, seconds=s))
        )
        if flat:
            regions = partial(boundedness.prove_boundedness_by_regions, problem, norm=norm)
            found.append(Method("boundedness by regions", lambda s: regions(seconds=s)))
        return found
    sectors = partial(global_statements.prove_contraction, problem, norm=norm)
    if question.statement == "contraction":
        found.append(Method("contraction", lambda s: sectors(seconds=s)))
    else:
        found.append(Method("chords", lambda s: chords(seconds=s)))
    if flat:
        pieces = partial(contraction.prove_contraction_by_regions, problem, norm=norm)
        found.append(Method("contraction by regions", lambda s: pieces(seconds=s)))
    if question.statement == "stability" and problem.n <= CELLED:
        found.append(Method("everywhere", lambda s: everywhere.prove_everywhere(problem, norm=norm, seconds=s)))
    return found


def _local(question: Question, problem: Problem) -> list[Method]:
    assert question.at is not None
    at = question.at
    found = [Method("attraction", lambda s: attraction.prove_attraction(problem, at, seconds=s))]
    if problem.box is not None and problem.n <= CELLED:
        found.insert(0, Method("basin", lambda s: _basin(problem, at, s)))
    return found


def _basin(problem: Problem, at: Any, seconds: float) -> Outcome:
    near = attraction.prove_attraction(problem, at, seconds=seconds / 2)
    assert problem.box is not None
    return near if isinstance(near, Failure) else cell_map.prove_basin(problem, near, problem.box, seconds=seconds / 2)


def _on_box(question: Question, problem: Problem) -> list[Method]:
    norm = question.norm
    if question.statement == "boundedness":
        return [Method("invariance", lambda s: box_statements.prove_invariance(problem))]
    gain = partial(box_statements.prove_contraction_on_box, problem, norm=norm)
    found = [Method("contraction on a box", lambda s: gain(seconds=s))]
    if _flat(problem):
        pieces = partial(box_statements.prove_contraction_on_box_by_regions, problem, norm=norm)
        found.append(Method("contraction by regions on a box", lambda s: pieces(seconds=s)))
    if question.statement == "stability" and problem.n <= CELLED:
        found.append(Method("everywhere", lambda s: everywhere.prove_everywhere(problem, norm=norm, seconds=s)))
    return found


def refutation(question: Question, problem: Problem) -> Method | None:
    """The search for a witness; there is none against a Lipschitz bound."""
    if question.statement == "lipschitz":
        return None
    return Method(REFUTATION, lambda s: refute(problem, question.statement, question.at, seconds=s, seed=0))


def verify(question: Question, problem: Problem, key: str, data: dict[str, Any]) -> Outcome:
    """Verify what a method for this question left behind."""
    if key == REFUTATION:
        return verify_refutation(problem, question.statement, question.at, data)
    if key not in {method.key for method in methods(question, problem)}:
        return Failure(key, "there is no such method for this statement")
    return VERIFIERS[key](problem, data)


def _flat(problem: Problem) -> bool:
    """Whether linear regions can be listed: a piecewise-linear map of one or two components."""
    return problem.n <= 2 and all(b.curve is None or b.curve.pieces is not None for b in problem.network.blocks)
