"""A statement about a map from a file, proved or not, in words and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from separatrix.certificates.certificate import Certificate, Verdict
from separatrix.certificates.certify import certify
from separatrix.data.references import resolve
from separatrix.local.iterated import built_from
from separatrix.report.loading import load_model, load_weights
from separatrix.results.errors import ArgumentError

EXIT = {Verdict.CERTIFIED: 0, Verdict.REFUTED: 1, Verdict.UNKNOWN: 2}
"""Exit codes of the command."""


def certify_file(
    model: str,
    statement: str | None = None,
    *,
    weights: str | None = None,
    at: str | None = None,
    box: str | None = None,
    u_box: str | None = None,
    norm: str = "best",
    budget: float | None = None,
    out: str | None = None,
    check: str | None = None,
) -> tuple[list[str], int]:
    """Lines that say what is proved of a model or system from a file, and an exit code.

    Parameters
    ----------
    model : str
        As in :func:`load_model`; it may also name a system, such as a :class:`separatrix.Loop`, or a function of no
        arguments that returns one. Modules are put in eval mode.
    statement : str
        See :func:`separatrix.certify`.
    at : str
        Numbers joined by commas.
    box, u_box : str
        Two corners joined by a colon: ``-1:1``, or ``-1,-2:1,2``.
    out : str, optional
        A JSON file for the certificate.
    check : str, optional
        A certificate that is verified anew for the model, instead of a statement.

    Raises
    ------
    ArgumentError
        If an argument cannot be used.
    """
    system = load_system(model, weights)
    if check is not None:
        if statement is not None:
            raise ArgumentError("check", "a statement too", "give a statement to prove, or a certificate to check")
        if not Path(check).is_file():
            raise ArgumentError("check", repr(check), "no such file")
        given = Certificate.load(check)
        found = given.check(system)
        if found:
            return [f"verified anew: {given.statement}"], EXIT[given.verdict]
        return [f"not verified: {found.reason}"], EXIT[Verdict.UNKNOWN]
    if statement is None:
        raise ArgumentError("statement", "none", "contraction, stability, boundedness or lipschitz")
    if out is not None and not Path(out).expanduser().parent.is_dir():
        raise ArgumentError("out", repr(out), "the folder does not exist; make it first")
    proof = certify(
        system,
        statement,
        at=None if at is None else _numbers("at", at),
        box=None if box is None else _corners("box", box),
        u_box=None if u_box is None else _corners("u_box", u_box),
        norm=norm,
        budget=budget,
    )
    lines = str(proof).splitlines()
    lines += [f"  assumes: {line}" for line in proof.assumptions]
    lines += [f"  {line}" for line in proof.evidence]
    if out is not None:
        lines.append(f"wrote {proof.save(Path(out).expanduser())}")
    return lines, EXIT[proof.verdict]


def load_system(reference: str, weights: str | None = None) -> Any:
    """A model, or a system, by reference; with weights where they are given.

    Raises
    ------
    ArgumentError
        As :func:`load_model`.
    """
    found = resolve(reference, argument="model")
    if callable(found) and not isinstance(found, nn.Module | type) and not hasattr(found, "step"):
        try:
            made = found()
        except TypeError:
            made = None  # a function of states: the map itself
        found = found if made is None else made
    if not hasattr(found, "step") and not (callable(found) and not isinstance(found, nn.Module | type)):
        found = load_model(reference, weights).eval()
        return found
    inner = built_from(found)
    if isinstance(inner, nn.Module):
        inner.eval()
    if weights is not None:
        if not isinstance(inner, nn.Module):
            raise ArgumentError("weights", f"a file for {type(found).__name__}", "only a module has weights to load")
        load_weights(inner, weights)
    return found


def _numbers(argument: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(argument, repr(text), "give numbers joined by commas, such as 0.1,-2") from None


def _corners(argument: str, text: str) -> tuple[Any, Any]:
    sides = text.split(":")
    if len(sides) != 2:
        raise ArgumentError(argument, repr(text), "give two corners joined by a colon, such as -1:1 or -1,-2:1,2")
    lo, hi = (_numbers(argument, side) for side in sides)
    return (lo[0] if len(lo) == 1 else lo), (hi[0] if len(hi) == 1 else hi)
