"""The page of a study in a real browser: wide and narrow, light and dark."""

import html
import json
import re
import subprocess

import numpy as np
import pytest

from separatrix.studies import run_study

# measures the page after layout; a window is never narrower than 500 pixels, so the page is put in a frame
PROBE = """<script>
for (const d of document.querySelectorAll("details")) d.open = true;
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const css = (s, name) => getComputedStyle(document.querySelector(s))[name];
const wide = e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "visible";
parent.postMessage(JSON.stringify({
  inner: innerWidth, scroll: document.documentElement.scrollWidth,
  claims: [...document.querySelectorAll(".ledger > tbody > tr")].map(e => [...e.children].map(box)),
  badges: [...document.querySelectorAll(".ledger .badge")].map(e =>
    [e.textContent, getComputedStyle(e).backgroundColor, getComputedStyle(e).color, ...box(e)]),
  marks: [...document.querySelectorAll(".ledger .amount")].map(box),
  strip: [...document.querySelectorAll(".strip div")].map(box),
  shown: document.querySelectorAll("figure svg").length,
  wide: [...document.querySelectorAll("p, figure, dl, h1, h2, h3, h4, td")].filter(wide)
    .map(e => e.outerHTML.slice(0, 80)),
  loaded: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
  colors: [css("body", "backgroundColor"), css("body", "color")],
}), "*");
</script></body>"""
FRAME = """<!doctype html><html style="color-scheme: light dark"><body>
<script>addEventListener("message", e => document.body.dataset.probe = e.data);</script>
<iframe src="probed.html" style="width: {width}px; height: 1000px; border: 0"></iframe></body></html>"""


@pytest.fixture
def look(browser, study, tmp_path):
    page = run_study(study, out=tmp_path).page
    (tmp_path / "probed.html").write_text(page.read_text("utf-8").replace("</body>", PROBE), "utf-8")

    def probe(width, *switches):
        frame = tmp_path / f"frame-{width}.html"
        frame.write_text(FRAME.format(width=width), "utf-8")
        command = [*browser, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,1000", *switches]
        command += ["--dump-dom", f"file://{frame}"]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        return json.loads(html.unescape(re.search(r'data-probe="([^"]*)"', dom)[1]))

    return probe


def luminance(color):
    channels = [int(v) / 255 for v in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    bright, dim = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.browser
def test_the_ledger_holds_at_both_widths_and_in_the_dark(look):
    for width in (400, 1280):
        seen = look(width)
        assert seen["inner"] == width and seen["scroll"] <= width, "the page must not scroll sideways"
        assert seen["wide"] == [] and seen["loaded"] == [] and seen["shown"] == 2
        assert len(seen["claims"]) == 8 and len(seen["strip"]) == 5
        for claim, measured, verdict in seen["claims"]:
            if width == 400:
                assert claim[3] <= measured[1] + 1 and measured[3] <= verdict[1] + 1, "parts stand below one another"
            else:
                assert claim[2] <= measured[0] + 1 and measured[2] <= verdict[0] + 1, "parts stand side by side"
                assert measured[2] - measured[0] > 400
        # badges and measured values can be seen without scrolling a table
        boxes = np.array([badge[3:] for badge in seen["badges"]] + seen["marks"])
        assert (boxes[:, 0] >= 0).all() and (boxes[:, 2] <= width).all()
        texts = [badge[0] for badge in seen["badges"]]
        assert texts[:5] == ["reproduced", "partly", "not reproduced", "contradicted", "not measured"]
    light, dark = seen, look(1280, "--blink-settings=preferredColorScheme=0")
    for scheme in (light, dark):
        assert contrast(*scheme["colors"]) > 7
        for text, ground, ink, *_ in scheme["badges"]:
            ground = scheme["colors"][0] if text == "not measured" else ground
            assert contrast(ground, ink) > 4.5, (text, ground, ink)
    assert luminance(light["colors"][0]) > 0.8 and luminance(dark["colors"][0]) < 0.05
