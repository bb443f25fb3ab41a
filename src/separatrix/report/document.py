"""What a page is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from separatrix.figures.pages import Figure, Table

__all__ = ["Chapter", "Figure", "Section", "Table"]


@dataclass
class Section:
    """One part of a page.

    Attributes
    ----------
    title : str
    prose : list of str
        Paragraphs.
    facts : list of (str, str)
        Labelled numbers that stand first.
    figures, tables : list
    children : list of Section
    notes : list of str
        What the reader should know and would not expect.
    folded : bool
        Shown closed, to be opened by whoever wants to know.
    failure : str
        What went wrong, if the section could not be made.
    """

    title: str
    prose: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    children: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folded: bool = False
    failure: str = ""

    def failures(self) -> list[str]:
        """Titles of this section and its children that could not be made."""
        mine = [self.title] if self.failure else []
        return mine + [title for child in self.children for title in child.failures()]


@dataclass
class Chapter:
    """All sections about one model on one data set."""

    name: str
    title: str
    prose: list[str]
    facts: list[tuple[str, str]]
    notes: list[str]
    sections: list[Section] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
