"""Inline SVG: valid, without names that meet, and following the page into the dark."""

import re
import xml.etree.ElementTree as ET

from separatrix.figures import style
from separatrix.figures.svg import dark_colors, draw, draw_panels, in_the_dark


def picture(name):
    def paint(ax):
        ax.plot([0, 1], [0, 1], color="#1f5f93")
        ax.fill_between([0, 1], [0, 1], color="#dd8050", linewidth=0)
        ax.patch.set(facecolor=style.GROUND, edgecolor="white", hatch="////")
        ax.imshow([[0, 1], [1, 0]], cmap="gray")
        ax.set_xlabel("a <b> & c", color=style.INK)

    return draw(paint, size=(3, 2), alt='quote " and <tag>', name=name)


def test_it_is_one_valid_element_with_a_name():
    root = ET.fromstring(picture("one"))
    assert root.tag.endswith("svg") and root.get("role") == "img" and root.get("aria-label") == 'quote " and <tag>'
    assert root.get("viewBox") and root.get("width") is None
    assert any("a <b> & c" in (t.text or "") for t in root.iter() if t.tag.endswith("text"))


def test_names_are_unique_and_references_resolve():
    both = picture("one") + picture("two")
    ids = re.findall(r'\bid="([^"]+)"', both)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", both)) | set(re.findall(r'href="#([^"]+)"', both))
    assert used and used <= set(ids)


def test_panels_share_one_element():
    def paint(figure):
        for i, ax in enumerate(figure.subplots(2, 2).flat):
            ax.set_title(f"panel {i}")

    svg = draw_panels(paint, size=(4, 4), alt="four panels", name="four")
    texts = [t.text for t in ET.fromstring(svg).iter() if t.tag.endswith("text")]
    assert {f"panel {i}" for i in range(4)} <= set(texts)


def test_the_same_drawing_gives_the_same_text():
    assert picture("one") == picture("one")


def test_lines_and_text_follow_the_dark_but_data_do_not():
    svg = picture("one")
    assert "stroke: var(--on1f5f93, #1f5f93)" in svg and f"fill: var(--on{style.INK[1:]}, {style.INK})" in svg
    assert "fill: #dd8050" in svg
    assert {"1f5f93", style.INK[1:]} <= set(dark_colors(svg)) and "dd8050" not in dark_colors(svg)
    assert "var(--sans)" in svg and "DejaVu" not in svg


def contrast(a, b):
    def luminance(color):
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_text_and_lines_can_be_read_in_both_schemes():
    light, dark = "#fcfbf9", "#14171a"
    # WCAG 2: 4.5 for text, 3 for graphical objects
    assert contrast(style.INK, light) > 7 and contrast(in_the_dark(style.INK), dark) > 7
    assert contrast(style.QUIET, light) > 4.5 and contrast(in_the_dark(style.QUIET), dark) > 4.5
    for color in style.line_colors(6):
        assert contrast(in_the_dark(color), dark) > 4.5
