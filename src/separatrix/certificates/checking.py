"""A certificate verified anew: the map read again, and the proof's data shown to hold for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from separatrix.certificates.certificate import Certificate, Checked, Verdict
from separatrix.certificates.methods import verify
from separatrix.certificates.problem import Failure
from separatrix.certificates.question import read_question
from separatrix.results.errors import ArgumentError

_SAME = 1e-6
"""How much numbers may change between machines."""


def checked(certificate: Certificate, system: Any) -> Checked:
    """See :meth:`separatrix.certificates.certificate.Certificate.check`."""
    if certificate.verdict is Verdict.UNKNOWN or certificate.proof is None:
        return Checked(False, "nothing was proved")
    asked = certificate.question
    box, u_box = asked["box"], asked["u_box"]
    try:
        question = read_question(system, asked["statement"], asked["at"], box, u_box, asked["norm"])
    except ArgumentError as error:
        return Checked(False, str(error))
    if question.problem is None:
        return Checked(False, question.reason)
    data = certificate.proof.data
    try:
        found = verify(replace(question, norm=asked["norm"]), question.problem, str(data.get("check")), data)
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        return Checked(False, f"the certificate's data cannot be read: {error!r}")
    if isinstance(found, Failure):
        return Checked(False, f"{found.method}: {found.reason}")
    for name in ("rate", "bound"):
        was, now = getattr(certificate, name), getattr(found, name)
        if (was is None) != (now is None) or (was is not None and now > was * (1 + _SAME) + 1e-300):
            return Checked(False, f"{name}: {now} is proved, the certificate says {was}")
    return Checked(True)
