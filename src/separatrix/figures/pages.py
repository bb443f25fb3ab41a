"""Self-contained HTML pages: the figures and tables on them, and one style and one set of macros for all pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from separatrix.figures.svg import dark_colors

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Figure:
    """A picture with its caption; ``size`` is how many stand side by side on a wide screen."""

    svg: Markup
    caption: str = ""
    size: Literal["full", "half", "third", "bar"] = "half"
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; ``numbers`` are the columns to be set flush right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: Sequence[int] = ()


def raster(png: bytes, alt: str) -> Markup:
    """PNG file as an element of the page; it keeps its colours in the dark."""
    data = base64.b64encode(png).decode("ascii")
    return Markup('<img class="raster" alt="{}" src="data:image/png;base64,{}">').format(alt, data)


def templates(package: str) -> Environment:
    """Templates of a package, beside ``page.css`` and ``parts.html``, which all pages share."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    loader = ChoiceLoader([PackageLoader(package), PackageLoader("separatrix.figures")])
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def render(package: str, template: str, *, drawn: str, **values: Any) -> str:
    """Fill in a template of a package.

    Parameters
    ----------
    package, template : str
        Package with a folder ``templates``, and the name of a file in it.
    drawn : str
        All pictures, one after another: the colours that need a counterpart in the dark are read from them.
    **values
        What the template calls by name. ``created`` and ``dark`` are given here.
    """
    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return templates(package).get_template(template).render(created=created, dark=dark_colors(drawn), **values)
