"""Figures as inline SVG that follows the page's font and its light or dark scheme."""

from __future__ import annotations

import colorsys
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from separatrix.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLAT = {style.INK, style.QUIET, style.GROUND, "#ffffff"}
_KEPT = {style.ON_IMAGE, style.HALO}
_PAPER = "#fcfbf9"


def draw(paint: Callable[[Axes], object], *, size: tuple[float, float], alt: str, name: str) -> Markup:
    """Draw on axes of their own and return the SVG element.

    Parameters
    ----------
    paint : callable
        Draws on the axes it is given.
    size : (float, float)
        Inches; text is set as if the figure were shown at this size.
    alt : str
        What the figure shows, for those who do not see it.
    name : str
        Unique on the page.
    """
    return draw_panels(lambda figure: paint(figure.add_subplot()), size=size, alt=alt, name=name)


def draw_panels(paint: Callable[[Figure], object], *, size: tuple[float, float], alt: str, name: str) -> Markup:
    """Draw on a whole figure, which lays out its panels itself, and return the SVG element.

    Parameters
    ----------
    paint : callable
        Draws on the matplotlib figure it is given, such as by ``figure.subplots(3, 4)``.
    size, alt, name
        As for :func:`draw`.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "DejaVu Sans", "hatch.linewidth": 0.8}
    ):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, dpi=160, metadata={"Date": None, "Creator": None})
    return Markup(_inline(text.getvalue(), name, alt))


def _inline(svg: str, name: str, alt: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r' (width|height)="[0-9.]+pt"', "", body, count=2)
    # several figures share the page: their names must not meet
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    # matplotlib has written the font in two ways
    body = re.sub(r"font: ([0-9.a-z ]*?)'[^;\"]*", r"font: \1var(--sans)", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", body)
    # areas follow their outlines into the dark; all other fills are data
    follow = (_FLAT | set(re.findall(r"stroke: (#[0-9a-f]{6})", body))) - _KEPT
    body = re.sub(r"(stroke|fill): (#[0-9a-f]{6})", lambda match: _themed(match, follow), body)
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)


def _themed(match: re.Match[str], follow: set[str]) -> str:
    """Let the page exchange a colour in the dark."""
    what, color = match.groups()
    return f"{what}: var(--on{color[1:]}, {color})" if color in follow else match[0]


def standalone(element: str) -> str:
    """Return a file of its own for an SVG element of a page: on light ground, in its light colours and a plain font."""
    body = re.sub(r"var\(--on[0-9a-f]{6}, (#[0-9a-f]{6})\)", r"\1", element)
    body = "\n".join(line.rstrip() for line in body.replace("var(--sans)", "DejaVu Sans, sans-serif").splitlines())
    ground = f'<rect width="100%" height="100%" fill="{_PAPER}"/>'
    return re.sub(r"(<svg[^>]*>)", lambda match: match[1] + ground, body, count=1)


def dark_colors(page: str) -> dict[str, str]:
    """Counterparts in the dark of all exchangeable colours on a page."""
    return {color: in_the_dark(f"#{color}") for color in sorted(set(re.findall(r"var\(--on([0-9a-f]{6}),", page)))}


def in_the_dark(color: str) -> str:
    """Colour that stands out against a dark page as this one does against a white page."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    plain = saturation < 0.2
    light = 0.1 + 0.82 * (1 - light) if plain else max(1 - light, 0.6)
    return "#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(hue, light, saturation))
