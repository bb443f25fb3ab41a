"""Ledgers as Markdown, and as plain text for the command line."""

from __future__ import annotations

from separatrix.studies.ledger import Ledger
from separatrix.studies.measurement import Measurement
from separatrix.studies.wording import amount, beside, given, sample

HEADER = ("id", "claim", "source", "target", "measured", "null or baseline", "verdict", "reason")


def markdown(ledger: Ledger) -> str:
    """Ledger as a Markdown table, one row a claim, the paper's number before the measured one."""
    rows = [
        (
            f"**{e.claim.id}**",
            e.claim.claim,
            f"{e.claim.source} ({e.claim.kind})",
            f"{e.claim.target}; accepted: {e.claim.accept}",
            _lines([_measured(m) for m in e.measurements]),
            _lines(list(dict.fromkeys(f"{m.what}: {beside(m.baseline)}" for m in e.measurements if m.baseline))),
            "not measured" if e.verdict is None else f"**{e.verdict}**",
            e.reason,
        )
        for e in ledger.entries
    ]
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(_cell(v) for v in row) + " |" for row in rows]
    commands = list(dict.fromkeys(f"`{e.command}` at {e.commit}" for e in ledger.entries))
    tail = [f"Scale {ledger.scale}, {ledger.created}. Printed by " + "; ".join(commands) + "."]
    return "\n".join([*lines, "", *tail]) + "\n"


def plain(ledger: Ledger) -> str:
    """Ledger as plain text: a claim with its verdict, its numbers below it, and the counts at the end."""
    lines = []
    for e in ledger.entries:
        lines += [f"{e.claim.id:<4} {e.verdict or 'not measured'}: {e.claim.claim}"]
        lines += [f"       {_measured(m)}" for m in e.measurements]
        lines += [f"       {e.reason}"]
    counts = ", ".join(f"{count} {name}" for name, count in ledger.counts().items())
    return "\n".join([*lines, "", counts])


def _measured(m: Measurement) -> str:
    paper = "" if m.target is None else f"paper {given(m.target)}, "
    mark = {True: " ✓", False: " ✗", None: ""}[m.holds]
    words = sample(m)
    return f"{m.what}: {paper}here {amount(m)}" + (f" ({words})" if words else "") + mark


def _lines(parts: list[str]) -> str:
    return "\n".join(parts) or "–"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")
