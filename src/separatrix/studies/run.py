"""Running a study: its parts one after another, then the ledger and the page."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from separatrix.results.errors import ArgumentError
from separatrix.results.progress import Progress
from separatrix.studies.ledger import Claim, Entry, Ledger
from separatrix.studies.study import SCALES, Context, MissingData, Part, Piece, Scale, Study

NAMES = ("storm2024", "drgona2022", "baptista2024", "sharafi2025")
"""Modules of this package that hold a ``STUDY``."""


@dataclass
class Outcome:
    """What became of a part.

    Attributes
    ----------
    piece : Piece
    part : Part or None
        None where there is no result.
    seconds : float
    left_out : str
        Why it has no result, where that is no failure: not asked for, or data that is not there.
    failure : str
        Error and traceback, where it failed.
    """

    piece: Piece
    part: Part | None = field(default=None, repr=False)
    seconds: float = 0.0
    left_out: str = ""
    failure: str = ""

    @property
    def why(self) -> str:
        """Why its claims were not measured; empty where they were."""
        if self.failure:
            return f"the part {self.piece.name} failed: {self.failure.splitlines()[0]}"
        return self.left_out


@dataclass(frozen=True)
class StudyRun:
    """What was run and written.

    Attributes
    ----------
    page : Path
    files : list of Path
        The ledger as JSON and as Markdown.
    pictures : list of Path
        Every figure as SVG or PNG.
    ledger : Ledger
    outcomes : list of Outcome
    seconds : float
    failures : list of str
        Names of the parts that failed; the page says why.
    """

    page: Path
    files: list[Path]
    pictures: list[Path]
    ledger: Ledger
    outcomes: list[Outcome]
    seconds: float
    failures: list[str] = field(default_factory=list)


def studies() -> dict[str, Study]:
    """All studies by name."""
    return {name: find_study(name) for name in NAMES}


def find_study(name: str) -> Study:
    """Return a study by its name.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    """
    if name not in NAMES:
        raise ArgumentError("study", repr(name), f"choose from {', '.join(NAMES)}")
    found: Study = import_module(f"separatrix.studies.{name}").STUDY
    return found


def run_study(
    study: str | Study,
    *,
    scale: Scale | str = "quick",
    out: str | Path | None = None,
    store: str | Path | None = None,
    parts: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress = False,
) -> StudyRun:
    """Run a study, and write its page and ledger.

    Parameters
    ----------
    study : str or Study
        Name, such as "storm2024".
    scale : {"quick", "paper"}
        Size of everything; each part says what it does at which scale.
    out : str or Path, optional
        Folder for ``NAME.html``, ``NAME-ledger.json``, ``NAME-ledger.md`` and the figures as files, in ``figures``; by
        default ``studies/NAME-SCALE``.
    store : str or Path, optional
        Folder in which parts keep results of single runs, so that a run that was cut off goes on where it stopped; by
        default ``store`` in ``out``.
    parts : sequence of str, optional
        Only these parts; claims that need others are then not measured.
    seed : int
        First seed.
    progress : bool or callable
        Bars and messages on stderr, or a function of (done, total).

    Returns
    -------
    StudyRun

    Raises
    ------
    ArgumentError
        If an argument cannot be used. A part that fails is told on the page instead, and the others go on.
    """
    began = time.perf_counter()
    study = find_study(study) if isinstance(study, str) else study
    known = [piece.name for piece in study.parts]
    unknown = [name for name in parts or () if name not in known]
    size = next((one for one in SCALES if one == scale), None)
    if size is None:
        raise ArgumentError("scale", repr(scale), f"choose from {', '.join(SCALES)}")
    if unknown:
        raise ArgumentError("parts", ", ".join(unknown), f"choose from {', '.join(known)}")
    folder = Path(out if out is not None else f"studies/{study.name}-{scale}").expanduser()
    place = Path(store).expanduser() if store is not None else folder / "store"
    for name, path in (("out", folder), ("store", place)):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(name, repr(str(path)), f"the folder cannot be made ({error})") from error

    from separatrix.studies.origin import code_state, machine
    from separatrix.studies.picture_files import write_pictures
    from separatrix.studies.study_page import render

    commit, created = code_state(), datetime.now(UTC).isoformat(timespec="seconds")
    context = Context(size, place, seed, progress)
    outcomes = []
    for piece in study.parts:
        if parts is not None and piece.name not in parts:
            outcomes.append(Outcome(piece, left_out=f"the part {piece.name} was not run"))
            continue
        context.say(f"{study.name} ({scale}): {piece.title}")
        outcomes.append(_attempt(piece, study, context))

    tail = f" --scale {scale}" + (f" --seed {seed}" if seed else "")
    entries = tuple(_entry(claim, outcomes, f"separatrix study {study.name}{tail}", commit) for claim in study.claims)
    ledger = Ledger(study.name, study.claims, entries, scale, created, machine())
    seconds = time.perf_counter() - began
    page = folder / f"{study.name}.html"
    files = [ledger.save(folder / f"{study.name}-ledger.json"), folder / f"{study.name}-ledger.md"]
    files[1].write_text(ledger.to_markdown(), "utf-8")
    pictures = write_pictures([(o.piece.name, o.part) for o in outcomes if o.part], folder / "figures")
    command = f"separatrix study {study.name}{tail}" + "".join(f" --part {name}" for name in parts or ())
    text = render(study, ledger, outcomes, data=context.used, seconds=seconds, command=command, commit=commit)
    # a page that is being read is whole, the old or the new one
    fresh = page.with_suffix(".html.new")
    fresh.write_text(text, "utf-8")
    os.replace(fresh, page)
    return StudyRun(page, files, pictures, ledger, outcomes, seconds, [o.piece.name for o in outcomes if o.failure])


def _attempt(piece: Piece, study: Study, context: Context) -> Outcome:
    """Run a part; what it raises, or owes, is told in the outcome."""
    began = time.perf_counter()
    made = Outcome(piece)
    try:
        part: Part = import_module(piece.module).run(context)
        _check(part, piece, study)
        made.part = part
    except MissingData as error:
        made.left_out = str(error)
    except Exception as error:
        made.failure = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
        context.say(traceback.format_exc())
    made.seconds = time.perf_counter() - began
    return made


def _check(part: Part, piece: Piece, study: Study) -> None:
    """Raise an error unless the part gives exactly one finding for each of its claims."""
    owed = sorted(claim.id for claim in study.claims if piece.name in claim.parts)
    given = sorted(finding.claim for finding in part.findings)
    if given != owed:
        raise ArgumentError(
            "findings",
            f"{', '.join(given) or 'none'} from the part {piece.name}",
            f"give exactly one for each of its claims: {', '.join(owed) or 'it has none'}",
        )


def _entry(claim: Claim, outcomes: Sequence[Outcome], command: str, commit: str) -> Entry:
    """Join what the parts found about a claim; without all of them there is no verdict."""
    mine = [o for o in outcomes if o.piece.name in claim.parts]
    found = [f for o in mine if o.part for f in o.part.findings if f.claim == claim.id]
    why = [o.why for o in mine if not o.part] + [f.not_measured for f in found if f.not_measured]
    return Entry(
        claim,
        tuple(m for f in found for m in f.measurements),
        command + "".join(f" --part {o.piece.name}" for o in mine),
        commit,
        " ".join(f.reason for f in found if f.reason),
        "; ".join(why),
    )
