"""What can be proved of x+ = f(x)."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from separatrix.certificates.answers import certified, refuted
from separatrix.certificates.certificate import Certificate, Verdict, refused
from separatrix.certificates.methods import Method, methods, refutation
from separatrix.certificates.problem import Failure, Proof
from separatrix.certificates.question import Question, assumptions_of, read_question
from separatrix.certificates.sentences import asked_for, where
from separatrix.results.errors import ArgumentError
from separatrix.results.provenance import provenance

SECONDS = 60.0


def certify(
    system: Any,
    statement: str,
    *,
    at: Any = None,
    box: Any = None,
    u_box: Any = None,
    norm: Any = "best",
    budget: float | None = None,
) -> Certificate:
    """Try to prove a statement about a map, or to refute it.

    Parameters
    ----------
    system : System, nn.Module or callable
        ``sx.Loop(model)``, ``sx.Loop(f, u)``, ``sx.Map(f)``, or a model or function that takes (B, n) to (B, n); for
        "lipschitz" to any (B, k).
    statement : "contraction", "stability", "boundedness" or "lipschitz"
        - contraction: |f(x) - f(y)| <= q |x - y| for all x and y, in one norm and with one q < 1. All orbits come
          together, and to one equilibrium.
        - stability: one equilibrium is stable and attracts every start; with ``at`` the equilibrium near that point is,
          and attracts a region, which is given.
        - boundedness: every orbit enters one ball and stays in it; with ``box``, orbits that start in the box stay.
        - lipschitz: |f(x) - f(y)| <= L |x - y| in the 1-, 2- or infinity-norm, with the L that was found.
    at : array (n,), optional
        A point near an equilibrium: local stability, with a region of attraction.
    box : (lo, hi), optional
        States that the statement is about, scalars or n-vectors. Contraction and stability on a box hold for orbits
        only if these stay: the box is proved to be forward invariant, or a ball in it, or nothing is certified. With
        ``at``, the region of attraction is continued by cell mapping and lies in the box.
    u_box : (lo, hi), optional
        For ``sx.Loop(f, u)`` with a constant or recorded input: the statement is proved for every sequence of inputs in
        this box, which take the place of the loop's own. A recorded input without it stands for the box of its values.
    norm : "best", "1", "2", "inf" or "P"
        In which norm to prove contraction and boundedness; "P" is |x|^2 = x'Px with a P that is looked for, and
        "best" the one with the smallest rate.
    budget : float, optional
        Seconds, 60 by default, looked at between steps.

    Returns
    -------
    Certificate
        ``verdict`` is "certified", "refuted" or "unknown"; the rest is described in
        :class:`separatrix.certificates.certificate.Certificate`.

    Raises
    ------
    ArgumentError
        For an unknown statement or norm, a box that is none, ``at`` outside it, ``u_box`` without an input, a model
        that maps to another space, fails on (B, n), has NaN weights, or is a loop that takes half precision alone. A
        model with operations or activations of which nothing is known gets the verdict "unknown" with the reason.

    Warns
    -----
    SeparatrixWarning
        If ``u_box`` leaves out the loop's own input, so that the statement is not about the loop as it was given.

    Notes
    -----
    Nothing that is sampled or solved counts as a proof: what a search finds is verified in float64 with bounds for its
    own rounding, by code that knows nothing of the search, and :meth:`Certificate.check` does that again.

    Methods, in this order: norms of layers, componentwise comparison, and a matrix inequality with a free metric and
    one multiplier for each activation component (:mod:`separatrix.certificates.gains.small_gain`), with the slopes of
    the activations for contraction, their chords from the equilibrium for stability, and their chords from the origin
    or slopes far out for boundedness; a common metric over all linear regions of a planar piecewise-linear map; cells
    of a bounded set that orbits enter, for stability in up to three dimensions. Then witnesses against the statement:
    two equilibria, a cycle, a spectral radius above 1, a ray that grows.

    A verdict of "refuted" is about the statement in every norm. Cost: a few passes over the layers for norms; for the
    metric about the cube of the number of activation components for each of some 100 steps, 0.1 s for 32 and 3 s for
    256 on one core; above 1,024 components it is left out.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> shear = torch.tensor([[0.5, 0.0], [4.0, 0.5]])
    >>> proof = sx.certify(sx.Map(lambda x: torch.tanh(x @ shear), dim=2), "contraction")
    >>> proof.verdict.value, round(proof.rate, 2)
    ('certified', 0.5)
    """
    began = perf_counter()
    seconds = _seconds(budget)
    question = read_question(system, statement, at, box, u_box, norm)
    written = provenance("certify", model=question.model, statement=statement, norm=str(norm), budget=seconds)
    empty = Certificate(Verdict.UNKNOWN, statement, asked_for(question), question=question.record, provenance=written)
    if question.problem is None:
        advice = "use activations and operations whose slopes are known, or sx.equilibria and sx.basins, which sample"
        return replace(empty, advice=advice, evidence=(question.reason,), seconds=perf_counter() - began)
    problem = question.problem
    failures: list[Failure] = []
    ways = methods(question, problem)
    against = refutation(question, problem)
    for method in ways:
        left = seconds - (perf_counter() - began)
        found = _tried(method, max(left, 1.0) * 0.6)
        if isinstance(found, Proof):
            done = certified(question, problem, found, method.key, empty)
            return replace(done, seconds=perf_counter() - began)
        failures.append(found)
    if against is not None:
        left = seconds - (perf_counter() - began)
        found = _tried(against, max(left, 1.0))
        if isinstance(found, Proof):
            done = refuted(question, found, against.key, empty)
            return replace(done, seconds=perf_counter() - began)
        failures.append(found)
    evidence, advice = refused(failures)
    if not advice or advice.startswith("more seconds"):
        advice = "; ".join(filter(None, (_advice(question), advice)))
    return replace(
        empty,
        assumptions=assumptions_of(problem.network),
        domain=where(question).removeprefix("for ").removeprefix("on "),
        evidence=evidence,
        advice=advice,
        seconds=perf_counter() - began,
    )


def _seconds(budget: Any) -> float:
    if budget is None:
        return SECONDS
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget < float("inf"):
        raise ArgumentError("budget", repr(budget), "give a positive number of seconds")
    return float(budget)


def _tried(method: Method, seconds: float) -> Proof | Failure:
    try:
        with torch.no_grad():
            return method.prove(seconds)
    except (torch.linalg.LinAlgError, np.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        return Failure(method.key, f"a factorisation did not converge: {error}")


def _advice(question: Question) -> str:
    weaker = {
        "contraction": "ask for 'stability' or 'boundedness', which need less",
        "stability": "ask for local stability with at=, or for 'boundedness'",
        "boundedness": "ask on a box that the map keeps",
    }
    if question.norm != "best":
        return "norm='best', which tries all norms"
    if question.at is not None:
        return "another equilibrium, or a smaller box"
    return weaker.get(question.statement, "")
