"""The certificate that a proof or a witness gives."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from separatrix.certificates import sentences
from separatrix.certificates.certificate import Certificate, Region, Verdict
from separatrix.certificates.gains.norms import ball, in_words
from separatrix.certificates.problem import Problem, Proof
from separatrix.certificates.question import Question, assumptions_of
from separatrix.certificates.reference import rest_point


def certified(question: Question, problem: Problem, proof: Proof, key: str, empty: Certificate) -> Certificate:
    """What is certified by a proof of the method that ``key`` names."""
    proof = replace(proof, data={**proof.data, "check": key})
    centre, region = _where(question, problem, proof)
    return replace(
        empty,
        verdict=Verdict.CERTIFIED,
        statement=sentences.proved(question, proof, in_words(proof)),
        assumptions=assumptions_of(problem.network),
        method=proof.method,
        rate=proof.rate,
        norm=proof.norm,
        bound=proof.bound,
        domain=sentences.domain(question, proof, region),
        equilibrium=centre,
        region=region,
        margin=proof.margin,
        evidence=proof.notes,
        proof=proof,
    )


def refuted(question: Question, proof: Proof, key: str, empty: Certificate) -> Certificate:
    """What is refuted by a witness."""
    proof = replace(proof, data={**proof.data, "check": key})
    return replace(
        empty,
        verdict=Verdict.REFUTED,
        statement=sentences.refuted(question, proof),
        domain=sentences.where(question).removeprefix("for ").removeprefix("on "),
        assumptions=assumptions_of(question.problem.network) if question.problem is not None else (),
        method=proof.method,
        margin=proof.margin,
        evidence=proof.notes,
        witness=dict(proof.data),
        proof=proof,
    )


def _where(question: Question, problem: Problem, proof: Proof) -> tuple[Tensor | None, Region | None]:
    """The equilibrium and the region of a proof."""
    data, n = proof.data, problem.n
    none = torch.zeros(0, n, dtype=torch.float64)
    if question.statement == "lipschitz":
        return None, None
    if question.statement == "boundedness":
        return None, ball(proof, torch.zeros(n, dtype=torch.float64)) if problem.box is None else None
    key = data["check"]
    if question.at is not None or key == "everywhere":
        inner = data["basin"] if key == "everywhere" else data
        lo, hi = inner.get("lo", none), inner.get("hi", none)
        return inner["centre"], Region(inner["P"], inner["centre"], float(inner["level"]), lo, hi)
    # of other methods it would not have been verified
    centre = data.get("centre") if key == "chords" or problem.box is not None else None
    if centre is None and not problem.driven:
        centre = rest_point(problem)
    return centre, ball(proof, centre) if centre is not None and problem.box is not None else None
