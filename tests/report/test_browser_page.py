"""The page in a real browser, wide and narrow, light and dark."""

import html
import json
import re
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

from separatrix.data import disc
from separatrix.report import Options, write

# measures the page after layout; a window is never narrower than 500 pixels, so the page is put in a frame
PROBE = """<script>
for (const d of document.querySelectorAll("details")) d.open = true;
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const wide = e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "visible";
parent.postMessage(JSON.stringify({
  inner: innerWidth, scroll: document.documentElement.scrollWidth,
  figures: [...document.querySelectorAll("figure svg")].map(box),
  texts: [...document.querySelectorAll("svg text")].map(e => e.getBoundingClientRect().height),
  body: getComputedStyle(document.querySelector("p:not([class])")).fontSize,
  wide: [...document.querySelectorAll("p, figure, dl, h1, h2, h3, h4")].filter(wide).map(e => e.outerHTML.slice(0, 80)),
  loaded: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
  colors: [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color],
}), "*");
</script></body>"""
FRAME = """<!doctype html><html style="color-scheme: light dark"><body>
<script>addEventListener("message", e => document.body.dataset.probe = e.data);</script>
<iframe src="probed.html" style="width: {width}px; height: 1000px; border: 0"></iframe></body></html>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    options = Options(resolution=60, points=100, seconds=float("inf"))
    report = write(None, disc(4000), out=folder / "page.html", options=options)
    text = report.page.read_text()
    (folder / "probed.html").write_text(text.replace("</body>", PROBE))
    return report.page


def run(browser, tmp_path, *arguments):
    command = [*browser, f"--user-data-dir={tmp_path / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def probe(browser, tmp_path, page, width, *switches):
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(FRAME.format(width=width))
    dom = run(browser, tmp_path, "--window-size=1500,1000", *switches, "--dump-dom", f"file://{frame}")
    return json.loads(html.unescape(re.search(r'data-probe="([^"]*)"', dom)[1]))


@pytest.mark.browser
@pytest.mark.parametrize("width", [375, 1400])
def test_layout_holds_at_both_widths(browser, tmp_path, page, width):
    seen = probe(browser, tmp_path, page, width)
    assert seen["inner"] == width and seen["scroll"] <= width, "the page must not scroll sideways"
    assert seen["wide"] == [] and seen["loaded"] == []
    assert float(seen["body"].removesuffix("px")) >= 15
    assert len(seen["figures"]) == 15
    boxes = np.array(seen["figures"])
    assert (boxes[:, 0] >= 0).all() and (boxes[:, 2] <= width).all()
    assert ((boxes[:, 2] - boxes[:, 0]) >= min(140, width / 3)).all() and ((boxes[:, 3] - boxes[:, 1]) >= 40).all()
    for i, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, "figures must not overlap"
    # the text of figures stays readable on a telephone
    assert np.median(seen["texts"]) >= 9


@pytest.mark.browser
def test_the_dark_scheme_is_dark(browser, tmp_path, page):
    light = probe(browser, tmp_path, page, 1400)["colors"]
    dark = probe(browser, tmp_path, page, 1400, "--blink-settings=preferredColorScheme=0")["colors"]

    def brightness(color):
        return np.mean([int(v) for v in re.findall(r"\d+", color)[:3]])

    assert brightness(light[0]) > 240 and brightness(light[1]) < 60
    assert brightness(dark[0]) < 40 and brightness(dark[1]) > 200


@pytest.mark.browser
def test_the_ring_can_be_seen(browser, tmp_path, page):
    shot = tmp_path / "shot.png"
    run(browser, tmp_path, "--window-size=1400,2000", f"--screenshot={shot}", f"file://{page}")
    image = imread(shot)[..., :3]
    assert image.shape[:2] == (2000, 1400)
    red, blue = image[..., 0] - image[..., 2] > 0.25, image[..., 2] - image[..., 0] > 0.25
    # two fields of about 400 x 400 pixels, red where perturbations grow and blue where they shrink
    assert red.sum() > 20_000 and blue.sum() > 20_000
    assert (image.min(axis=-1) > 0.95).mean() > 0.5, "most of the page is paper"
