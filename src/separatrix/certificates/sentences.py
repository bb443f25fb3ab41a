"""Statements in words."""

from __future__ import annotations

from separatrix.certificates.certificate import Region
from separatrix.certificates.problem import Proof
from separatrix.certificates.question import Question
from separatrix.certificates.verified import at_most


def _vector(values: object) -> str:
    entries = [f"{float(v):.4g}" for v in values]  # type: ignore[attr-defined]
    return "(" + ", ".join(entries[:6]) + (", ..." if len(entries) > 6 else "") + ")"


def where(question: Question) -> str:
    """The states that a statement is about, as was asked."""
    box = question.record["box"]
    return "for all states" if box is None else f"on the box {_vector(box[0])} to {_vector(box[1])}"


def _inputs(question: Question) -> str:
    u_box = question.record["u_box"]
    return "" if u_box is None else f", for every sequence of inputs in {_vector(u_box[0])} to {_vector(u_box[1])}"


def asked_for(question: Question) -> str:
    """The statement as it was asked, before anything is known."""
    if question.at is not None:
        return (
            f"the equilibrium near {_vector(question.at)} is stable and attracts a region around it{_inputs(question)}"
        )
    if question.statement == "boundedness" and question.record["box"] is not None:
        return f"orbits that start in it stay {where(question)}{_inputs(question)}"
    what = {
        "contraction": "f contracts in some norm: |f(x) - f(y)| <= q |x - y| with q < 1",
        "stability": "one equilibrium is stable and attracts every start",
        "boundedness": "one ball is entered by every orbit, and kept",
        "lipschitz": "f has a Lipschitz bound",
    }[question.statement]
    return f"{what}, {where(question)}{_inputs(question)}"


def proved(question: Question, proof: Proof, norm: str) -> str:
    """What is proved."""
    inputs = _inputs(question)
    if question.at is not None:
        centre = _vector(proof.data["centre"])
        tail = "" if proof.rate is None else f", at a rate of at most {at_most(proof.rate)} a step on the ellipsoid"
        return f"the equilibrium at {centre} attracts every start in the region{tail}"
    if question.statement == "lipschitz":
        return f"|f(x) - f(y)| <= {at_most(proof.bound or 0.0)} |x - y| in {norm}, {where(question)}{inputs}"
    if question.statement == "boundedness":
        if proof.bound is None:
            return f"orbits that start in it stay {where(question)}{inputs}"
        return f"every orbit enters the ball |x| <= {at_most(proof.bound)} and stays in it, in {norm}{inputs}"
    if proof.rate is None:
        return f"one equilibrium attracts every start {where(question)}: {'; '.join(proof.notes)}"
    rate = at_most(proof.rate)
    if proof.method.startswith("attraction"):
        centre, radius = _vector(proof.data["centre"]), proof.bound or 0.0
        off = at_most((1 - proof.rate) * radius)
        return (
            f"|f(x) - c| <= {rate} |x - c| + {off} in {norm} {where(question)}, with c = {centre}: "
            f"one equilibrium, within {at_most(radius)} of c, attracts every start"
        )
    tail = "" if question.statement == "contraction" else ": one equilibrium attracts every start"
    place = where(question) if proof.bound is None else f"{'; '.join(proof.notes)}"
    return f"|f(x) - f(y)| <= {rate} |x - y| in {norm}, {place}{inputs}{tail}"


def refuted(question: Question, proof: Proof) -> str:
    """What is wrong with the statement."""
    notes = f" ({'; '.join(proof.notes)})" if proof.notes else ""
    return f"it is not true that {asked_for(question)}: {proof.method.removeprefix('refutation: ')}{notes}"


def domain(question: Question, proof: Proof, region: Region | None) -> str:
    """Where a proof holds."""
    if question.at is not None:
        return "the region of attraction"
    if question.record["box"] is None:
        return "all states"
    if region is not None and proof.bound is not None:
        return "a ball in the box"
    return where(question).removeprefix("on ")
