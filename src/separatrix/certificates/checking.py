"""A certificate verified anew: the map read again, and the proof's data shown to hold for it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.answers import certified, refuted
from separatrix.certificates.certificate import Certificate, Checked, Region, Verdict
from separatrix.certificates.methods import REFUTATION, verify
from separatrix.certificates.problem import Failure
from separatrix.certificates.question import Question, read_question
from separatrix.results.errors import ArgumentError

_SAME = 1e-6
"""How much numbers may change between machines."""
_WORDS = 1e-3
"""The same of numbers in words, which have a few digits."""
_NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")
_SAID = ("kind", "statement", "assumptions", "method", "norm", "domain", "equilibrium", "region", "margin", "witness")


def checked(certificate: Certificate, system: Any) -> Checked:
    """See :meth:`separatrix.certificates.certificate.Certificate.check`."""
    if certificate.verdict is Verdict.UNKNOWN or certificate.proof is None:
        return Checked(False, "nothing was proved")
    asked = certificate.question
    try:
        question = read_question(system, asked["statement"], asked["at"], asked["box"], asked["u_box"], asked["norm"])
    except ArgumentError as error:
        return Checked(False, str(error))
    except (KeyError, TypeError) as error:
        return Checked(False, f"the certificate's question cannot be read: {error!r}")
    if question.problem is None:
        return Checked(False, question.reason)
    try:
        return _verified(certificate, question)
    except (LookupError, TypeError, RuntimeError, ValueError, AttributeError, AssertionError, ArithmeticError) as error:
        return Checked(False, f"the certificate's data cannot be read: {error!r}")


def _verified(certificate: Certificate, question: Question) -> Checked:
    """Show the proof again, and that nothing else is said than what it gives."""
    own, problem = certificate.proof, question.problem
    assert own is not None and problem is not None
    key = str(own.data.get("check"))
    if (key == REFUTATION) != (certificate.verdict is Verdict.REFUTED):
        return Checked(False, f"verdict: a proof by {key!r} is none of {certificate.verdict.value!r}")
    with torch.no_grad():
        found = verify(question, problem, key, own.data)
        if isinstance(found, Failure):
            return Checked(False, f"{found.method}: {found.reason}")
        for name in ("rate", "bound"):
            was, now = getattr(certificate, name), getattr(found, name)
            if not _no_more(was, now, kept=name == "bound" and _keeps_a_ball(question)):
                return Checked(False, f"{name}: {now} is proved, the certificate says {was}")
        found = replace(found, rate=certificate.rate, bound=certificate.bound)
        empty = Certificate(Verdict.UNKNOWN, question.statement, "")
        whole = (
            refuted(question, found, key, empty)
            if key == REFUTATION
            else certified(question, problem, found, key, empty)
        )
    for name in _SAID:
        if not _agree(getattr(certificate, name), getattr(whole, name)):
            return Checked(False, f"{name}: the certificate says something else than what is proved")
    same = (own.method, own.norm, own.rate, own.bound) == (found.method, found.norm, found.rate, found.bound)
    if not same or not all(_agree(own.data.get(name), found.data.get(name)) for name in ("P", "weights")):
        return Checked(False, "proof: its norm or numbers are not those of the certificate")
    return Checked(True)


def _keeps_a_ball(question: Question) -> bool:
    """Whether the bound is the radius of a ball in a box, of which a larger one says more."""
    return question.record["box"] is not None and question.statement in ("contraction", "stability")


def _no_more(was: Any, now: float | None, *, kept: bool) -> bool:
    """Whether a number says no more than what is proved."""
    if was is None or now is None:
        return was is now
    if not (isinstance(was, float) and math.isfinite(was)):
        return False
    return was <= now * (1 + _SAME) if kept else now <= was * (1 + _SAME) + 1e-300


def _agree(a: Any, b: Any) -> bool:
    """Whether two values are the same but for rounding."""
    if isinstance(a, str) and isinstance(b, str):
        numbers = [[float(v) for v in _NUMBER.findall(text)] for text in (a, b)]
        same = _NUMBER.sub("#", a) == _NUMBER.sub("#", b) and len(numbers[0]) == len(numbers[1])
        return same and all(math.isclose(u, v, rel_tol=_WORDS) for u, v in zip(*numbers, strict=True))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        size = float(b.abs().max()) if len(b.flatten()) else 0.0
        return torch.allclose(a.double(), b.double(), rtol=_SAME, atol=_SAME * min(size, 1.0))
    if isinstance(a, Region) and isinstance(b, Region):
        return _agree(vars(a), vars(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_agree(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_agree(u, v) for u, v in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_SAME, abs_tol=1e-9)
    return type(a) is type(b) and bool(a == b)
