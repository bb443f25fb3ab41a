"""The instruments that a page is made from, in order."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial

from separatrix.report.context import Context
from separatrix.report.document import Section

Maker = Callable[[Context], Section | None]

_makers: dict[str, tuple[int, Maker]] = {}


def instrument(name: str, *, order: int) -> Callable[[Maker], Maker]:
    """Register a function that makes a section of every report.

    Parameters
    ----------
    name : str
        Unique name; registering it again replaces the earlier function.
    order : int
        Sections stand in rising order.

    Notes
    -----
    The function takes a :class:`Context` and returns a :class:`Section`, or None where it does not fit the model or
    the data. It may raise: the page then says what went wrong, in its place.
    """

    def register(maker: Maker) -> Maker:
        _makers[name] = (order, maker)
        return maker

    return register


def instruments() -> dict[str, Maker]:
    """Registered functions by name, in the order of the page."""
    return {name: maker for name, (_, maker) in sorted(_makers.items(), key=lambda item: item[1][0])}


def attempt(title: str, maker: Callable[[], Section | None]) -> Section | None:
    """Make a section, or one that says what went wrong."""
    try:
        return maker()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return Section(
            title, failure=f"{text}\n\n{traceback.format_exc()}", prose=[f"This part could not be made. {text}"]
        )


def sections(context: Context) -> list[Section]:
    """All sections that fit."""
    made = [attempt(name.capitalize(), partial(maker, context)) for name, maker in instruments().items()]
    return [section for section in made if section is not None]
