"""The page of a study: the ledger first, then what was run, found and chosen, in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from separatrix.figures import pages
from separatrix.studies import wording
from separatrix.studies.ledger import Entry, Ledger
from separatrix.studies.measurement import Measurement
from separatrix.studies.study import Figure, Part, Study, Table

if TYPE_CHECKING:
    from separatrix.studies.run import Outcome

PACKAGE = "separatrix.studies"


def render(
    study: Study,
    ledger: Ledger,
    outcomes: Sequence[Outcome],
    *,
    data: Mapping[str, str],
    seconds: float,
    command: str,
    commit: str,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    study : Study
    ledger : Ledger
        Its environment is shown as the machine.
    outcomes : sequence of Outcome
        One for each part of the study.
    data : mapping
        Data sets that were used, and their description.
    seconds : float
        Wall time of everything.
    command, commit : str
        What makes this page again, and with which state of the code.
    """
    parts = [_part(outcome, ledger) for outcome in outcomes]
    env = ledger.environment
    ran = [
        ("scale", ledger.scale),
        ("wall time", duration(seconds)),
        ("threads of cores", f"{env.get('threads', '?')} of {env.get('cores', '?')}"),
        ("torch", env.get("torch", "?")),
        ("parts measured", f"{sum(1 for o in outcomes if o.part)} of {len(outcomes)}"),
    ]
    return pages.render(
        PACKAGE,
        "study.html",
        drawn="".join(str(figure.svg) for part in parts for figure in part["figures"]),
        study=study,
        scale=ledger.scale,
        seconds=duration(seconds),
        counts=ledger.counts(),
        entries=[_entry(entry) for entry in ledger.entries],
        command=command,
        commit=commit,
        ran=ran,
        pieces=_run_table(outcomes, data, commit),
        parts=[p for p, o in zip(parts, outcomes, strict=True) if not o.piece.beyond],
        beyond=[p for p, o in zip(parts, outcomes, strict=True) if o.piece.beyond],
        settings=[_settings(o.piece.title, o.part) for o in outcomes if o.part and o.part.settings],
        environment=env,
        files=[f"{study.name}-ledger.json", f"{study.name}-ledger.md"],
    )


def ledger_table(ledger: Ledger) -> str:
    """Ledger as an HTML table, without style."""
    made: Any = pages.templates(PACKAGE).get_template("ledger.html").module
    return str(made.ledger([_entry(entry) for entry in ledger.entries]))


def duration(seconds: float) -> str:
    """Wall time in words."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _entry(entry: Entry) -> dict[str, Any]:
    claim = entry.claim
    return {
        "id": claim.id,
        "claim": claim.claim,
        "source": claim.source,
        "kind": claim.kind,
        "target": claim.target,
        "accept": claim.accept,
        "numbers": [_number(m) for m in entry.measurements],
        "verdict": str(entry.verdict or "not measured"),
        "reason": entry.reason[:1].upper() + entry.reason[1:],
        "command": entry.command,
        "commit": entry.commit,
    }


def _number(m: Measurement) -> dict[str, str]:
    state = {True: "holds", False: "fails", None: ""}[m.holds]
    return {
        "what": m.what,
        "target": "" if m.target is None else wording.given(m.target),
        "amount": wording.amount(m),
        "sample": wording.sample(m),
        "beside": wording.beside(m.baseline),
        "condition": wording.condition(m.accept),
        "state": "fails" if m.opposes else state,
        "mark": {"holds": "✓", "fails": "✗", "": ""}[state],
    }


def _part(outcome: Outcome, ledger: Ledger) -> dict[str, Any]:
    piece, part = outcome.piece, outcome.part or Part()
    mine = [entry for entry in ledger.entries if piece.name in entry.claim.parts]
    return {
        "name": piece.name,
        "title": piece.title,
        "about": piece.about,
        "why": outcome.why.rstrip("."),
        "failure": outcome.failure,
        "claims": [{"id": e.claim.id, "verdict": str(e.verdict or "not measured")} for e in mine],
        "notes": part.notes,
        "figures": [_figure(figure) for figure in part.figures],
        "numbers": [_number(m) for m in part.measurements],
        "tables": part.tables,
    }


def _figure(figure: Figure) -> pages.Figure:
    if isinstance(figure.picture, bytes):
        picture = pages.raster(figure.picture, figure.title)
    else:
        # the element is our own drawing, text in it is escaped there
        picture = Markup(figure.picture)
    return pages.Figure(picture, figure.caption, figure.size, figure.title)


def _settings(title: str, part: Part) -> Table:
    return Table(("setting", "value"), [(name, str(value)) for name, value in part.settings.items()], title)


def _run_table(outcomes: Sequence[Outcome], data: Mapping[str, str], commit: str) -> Table:
    rows = [
        (o.piece.title, "failed" if o.failure else o.left_out or "measured", duration(o.seconds) if o.seconds else "–")
        for o in outcomes
    ]
    rows += [(f"Data: {name}", description, "") for name, description in data.items()]
    return Table(("part or data", "what became of it", "wall time"), [*rows, ("Code", commit, "")], numbers=(2,))
