"""The ledger: every claim of a paper with what was measured, and a verdict computed from the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from separatrix.results.errors import ArgumentError
from separatrix.studies.measurement import Measurement


class Verdict(StrEnum):
    """What the numbers say about a claim. A claim that was not measured has no verdict."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    CONTRADICTED = "contradicted"


class Kind(StrEnum):
    """Where the target of a claim comes from."""

    PAPER = "paper"
    """Stated in the paper."""
    DIGITISED = "digitised"
    """Read off its figures."""
    CODE = "authors' code"
    """Read in code of the authors."""
    REPLICATION = "replication"
    """Measured by others."""
    FOLLOW_UP = "follow-up"
    """Stated in later work, which the source names."""
    DERIVED = "derived"
    """Follows from the definitions."""
    INFERRED = "inferred"
    """A judgement that may be wrong."""


@dataclass(frozen=True)
class Claim:
    """What a paper says, and what would count as finding the same.

    Attributes
    ----------
    id : str
        Such as "T1".
    claim : str
        One sentence.
    source : str
        Figure, equation or section, such as "Fig. 3(b)".
    kind : Kind
        Where the target comes from.
    target, accept : str
        The paper's numbers, and the rule of acceptance, in words.
    parts : tuple of str
        Parts of the study that measure it; all of them are needed for a verdict.
    numbers : mapping of str to float
        The paper's numbers for use by the parts, by names that the study chooses.
    """

    id: str
    claim: str
    source: str
    kind: Kind
    target: str
    accept: str
    parts: tuple[str, ...]
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What one part of a study measured about one claim.

    Attributes
    ----------
    claim : str
        The claim's id.
    measurements : sequence of Measurement
        At least one of them must say what is accepted, unless the claim was not measured.
    reason : str
        One sentence beside the verdict; by default the conditions that fail are listed.
    not_measured : str
        Why there is no verdict (such as "the quick scale trains no network this deep"); empty where there is one.

    Raises
    ------
    ArgumentError
        If no measurement can be judged, and no reason is given for that.
    """

    claim: str
    measurements: Sequence[Measurement] = ()
    reason: str = ""
    not_measured: str = ""

    def __post_init__(self) -> None:
        if not self.not_measured and all(m.accept is None for m in self.measurements):
            raise ArgumentError(
                "measurements",
                f"none that could be judged for {self.claim}",
                "give accept= with one at least, or say why in not_measured=",
            )


def judge(measurements: Iterable[Measurement]) -> Verdict:
    """Return the verdict on measurements, of which those with ``accept`` count.

    Contradicted: a decisive number says the opposite, or one does while none agrees. Reproduced: all agree. Not
    reproduced: none agrees, or a decisive one does not. Partly: the rest.
    """
    judged = [m for m in measurements if m.accept is not None]
    if not judged:
        raise ArgumentError("measurements", "none with accept=", "a verdict needs one at least")
    agree = [bool(m.holds) for m in judged]
    decisive = [bool(m.accept and m.accept.decisive) for m in judged]
    if any(m.opposes and (d or not any(agree)) for m, d in zip(judged, decisive, strict=True)):
        return Verdict.CONTRADICTED
    if all(agree):
        return Verdict.REPRODUCED
    if not any(agree) or any(d and not a for a, d in zip(agree, decisive, strict=True)):
        return Verdict.NOT_REPRODUCED
    return Verdict.PARTLY


@dataclass(frozen=True)
class Entry:
    """A claim with all that was measured about it.

    Attributes
    ----------
    claim : Claim
    measurements : tuple of Measurement
    command : str
        The command that prints it.
    commit : str
        State of the code that measured it; see :func:`separatrix.studies.origin.code_state`.
    remark : str
        A sentence by the study; :attr:`reason` is what is shown.
    not_measured : str
        Why there is no verdict; empty where there is one.
    """

    claim: Claim
    measurements: tuple[Measurement, ...]
    command: str
    commit: str
    remark: str = ""
    not_measured: str = ""

    @property
    def verdict(self) -> Verdict | None:
        """The verdict, computed from the measurements; None where the claim was not measured."""
        return None if self.not_measured else judge(self.measurements)

    @property
    def reason(self) -> str:
        """One sentence on why the verdict is what it is."""
        from separatrix.studies.wording import conditions

        return self.not_measured or self.remark or conditions(self.measurements)


@dataclass(frozen=True)
class Ledger:
    """All claims of a paper, each with exactly one entry.

    Attributes
    ----------
    study : str
    claims : tuple of Claim
    entries : tuple of Entry
        In any order; they are put into the order of the claims.
    scale : str
        Scale of the run.
    created : str
        ISO date and time.
    environment : mapping of str to str
        Versions and hardware.

    Raises
    ------
    ArgumentError
        If two claims share an id, a claim has no entry or several, or an entry belongs to no claim.
    """

    study: str
    claims: tuple[Claim, ...]
    entries: tuple[Entry, ...]
    scale: str = ""
    created: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = [c.id for c in self.claims]
        there = [e.claim.id for e in self.entries]
        for what, names in (("claims", ids), ("entries", there)):
            twice = sorted({i for i in names if names.count(i) > 1})
            if twice:
                raise ArgumentError(what, f"{', '.join(twice)} more than once", "give each of them once")
        missing = [i for i in ids if i not in there]
        foreign = [e.claim.id for e in self.entries if e.claim not in self.claims]
        if missing or foreign:
            got = [f"no entry for {', '.join(missing)}"] * bool(missing)
            got += [f"entries for {', '.join(foreign)}, which are no claims of it"] * bool(foreign)
            raise ArgumentError("entries", "; ".join(got), "give one entry for each claim")
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=lambda e: ids.index(e.claim.id))))

    def __getitem__(self, claim: str) -> Entry:
        for entry in self.entries:
            if entry.claim.id == claim:
                return entry
        raise KeyError(claim)

    def counts(self) -> dict[str, int]:
        """Number of entries by verdict, all four verdicts and then "not measured"."""
        verdicts = [entry.verdict for entry in self.entries]
        return {v.value: verdicts.count(v) for v in Verdict} | {"not measured": verdicts.count(None)}

    def save(self, path: str | Path) -> Path:
        """Write the ledger as JSON."""
        from separatrix.studies.ledger_json import encode

        where = Path(path)
        where.write_text(json.dumps(encode(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        return where

    @classmethod
    def load(cls, path: str | Path) -> Ledger:
        """Read a ledger that :meth:`save` wrote.

        Raises
        ------
        ArgumentError
            If the file is no ledger, or a verdict in it is not the one that its numbers give.
        """
        from separatrix.studies.ledger_json import decode

        return decode(_read(Path(path)), str(path))

    def to_markdown(self) -> str:
        """Return the ledger as a Markdown table."""
        from separatrix.studies.tables import markdown

        return markdown(self)

    def to_html(self) -> str:
        """Return the ledger as an HTML table, without style."""
        from separatrix.studies.study_page import ledger_table

        return ledger_table(self)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError("path", f"{str(path)!r} ({error})", "give a file that Ledger.save wrote") from error
