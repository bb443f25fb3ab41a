"""What a study is made of: claims, and parts that measure them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from separatrix.figures.pages import Table
from separatrix.results.errors import ArgumentError
from separatrix.results.progress import Progress
from separatrix.studies.ledger import Claim, Finding
from separatrix.studies.measurement import Measurement

if TYPE_CHECKING:
    from separatrix.data.record import Problem

__all__ = ["SCALES", "Context", "Figure", "MissingData", "Part", "Piece", "Scale", "Study", "Table"]

T = TypeVar("T")
Scale = Literal["quick", "paper"]
SCALES: tuple[Scale, ...] = ("quick", "paper")


class MissingData(Exception):
    """Raised by :meth:`Context.data`: what a part needs is not on this machine, so its claims are not measured."""


@dataclass(frozen=True)
class Figure:
    """A picture on the page.

    Attributes
    ----------
    title : str
        A few words above it.
    picture : str or bytes
        An ``<svg>`` element (``separatrix.figures.svg.draw`` makes one that follows the page's colours), or a PNG file.
    caption : str
        What is shown, and what to look at.
    size : {"full", "half", "third"}
        How much of the width it takes on a wide screen.
    """

    title: str
    picture: str | bytes
    caption: str
    size: Literal["full", "half", "third"] = "half"


@dataclass(frozen=True)
class Part:
    """What a part of a study hands back.

    Attributes
    ----------
    findings : sequence of Finding
        One for each claim that names this part.
    figures, tables : sequence
    settings : mapping
        Everything that was chosen, shown as text.
    notes : sequence of str
        Paragraphs: what was found, and what the reader would not expect.
    measurements : sequence of Measurement
        Numbers that belong to no claim.
    """

    findings: Sequence[Finding] = ()
    figures: Sequence[Figure] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    measurements: Sequence[Measurement] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Piece:
    """Announcement of a part; its module is imported when it is run.

    Attributes
    ----------
    name : str
        What claims and ``--part`` call it.
    title : str
        Its heading.
    module : str
        Module with a function ``run(context) -> Part``.
    about : str
        One sentence on what is done.
    beyond : bool
        It goes beyond the paper.
    """

    name: str
    title: str
    module: str
    about: str = ""
    beyond: bool = False


@dataclass(frozen=True)
class Study:
    """A paper, its claims, and the parts that measure them.

    Attributes
    ----------
    name : str
        What the command line calls it.
    title : str
        One line.
    paper : str
        Reference.
    claims : tuple of Claim
    parts : tuple of Piece
        In the order in which they are run and shown.
    notes : tuple of str
        What the reader of every run should know first.

    Raises
    ------
    ArgumentError
        If two parts or claims share a name, or a claim names a part that does not exist.
    """

    name: str
    title: str
    paper: str
    claims: tuple[Claim, ...]
    parts: tuple[Piece, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names, ids = [p.name for p in self.parts], [c.id for c in self.claims]
        if len(set(names)) < len(names) or len(set(ids)) < len(ids):
            raise ArgumentError(
                "study", f"{self.name} with names used twice", "give parts and claims names of their own"
            )
        for claim in self.claims:
            if not claim.parts or not set(claim.parts) <= set(names):
                raise ArgumentError("parts", f"{claim.parts} for claim {claim.id}", f"choose from {', '.join(names)}")


@dataclass
class Context:
    """What a part is given.

    Attributes
    ----------
    scale : {"quick", "paper"}
    store : Path
        Folder for results of single runs, kept between calls; a part makes a folder of its own name in it.
    seed : int
        First seed; parts count on from it.
    progress : bool or callable
        See :mod:`separatrix.results.progress`.
    used : dict
        Data sets that were asked for, by name, with their description.
    """

    scale: Scale
    store: Path
    seed: int = 0
    progress: Progress = False
    used: dict[str, str] = field(default_factory=dict)

    @property
    def quick(self) -> bool:
        """Whether the scale is "quick"."""
        return self.scale == "quick"

    def pick(self, *, quick: T, paper: T) -> T:
        """Return the setting for this scale."""
        return quick if self.quick else paper

    def data(self, name: str) -> Problem:
        """Load a data set by name and note that it was used.

        Parameters
        ----------
        name : str
            "disc", "digits", or the name of a folder of IDX files such as "mnist"; see :func:`separatrix.data.load`.

        Raises
        ------
        MissingData
            If it is not on this machine. A part need not catch it: its claims are then "not measured", with the reason.
        ArgumentError
            If it is there and damaged.
        """
        from separatrix.data import load
        from separatrix.data.folders import find_folder
        from separatrix.data.sources import BUILT_IN

        try:
            if name not in BUILT_IN:
                find_folder(name, argument="data")
        except ArgumentError as error:
            self.used[name] = "not found"
            raise MissingData(
                f'the data set "{name}" was not found; set SEPARATRIX_DATA to the directory that holds it'
            ) from error
        found = load(name, seed=self.seed)
        self.used[name] = found.description
        return found

    def say(self, text: str) -> None:
        """Tell what is being done, where progress is shown."""
        if self.progress is True:
            print(text, file=sys.stderr, flush=True)
