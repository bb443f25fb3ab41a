"""The page, from models to a file: complete, self-contained, and still there when a part of it fails."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
import xarray as xr
from torch import nn

from separatrix.data import digits, disc, load
from separatrix.report import Options, Section, registry, write
from separatrix.results.errors import ArgumentError


class Outline(HTMLParser):
    """Titles, links and the balance of tags."""

    def __init__(self, text):
        super().__init__()
        self.void = {"meta", "link", "br", "img", "input", "hr"}
        self.open, self.titles, self.links, self.tags = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and re.fullmatch(r"h[1-5]", self.open[-1]):
            self.titles.append(data)


def read(report):
    text = report.page.read_text()
    return text, Outline(text)


def kinds(report):
    """Result files by the end of their names."""
    return {path.stem.split("-", 2)[2]: path for path in report.files}


def test_a_model_on_the_plane(tmp_path, net, quick):
    report = write(net(2, 6, 6, 1), disc(400), out=tmp_path / "p.html", options=quick)
    text, page = read(report)
    assert report.failures == [] and {"field", "boundary", "points"} <= set(kinds(report))
    for title in ("Along depth", "Where it is sensitive", "Layers", "Self-check", "Settings and statuses"):
        assert title in page.titles
    # one large field for the hidden layers and one for the output, a bar, two small ones, and two on the points
    assert page.tags.count("figure") == page.tags.count("svg") == 7
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.S):
        ET.fromstring(svg)
    assert "evaluation mode" in text


def test_files_hold_what_the_page_shows(tmp_path, net, quick):
    report = write(net(2, 6, 6, 1), disc(400), out=tmp_path / "p.html", options=quick)
    field, points = (xr.load_dataset(kinds(report)[kind]) for kind in ("field", "points"))
    assert field.sizes["x"] == 16 and points.sizes["point"] == 30 and points.sizes["index"] == 2
    assert list(field["layer"].values) == ["1#1", "3#1", "output"]
    median = float(points["exponent"].isel(member=0, index=0).sel(layer="3#1").median())
    shown = re.search(r"median of λ₁ over 30 test points is ([+−][0-9.]+)", report.page.read_text())[1]
    assert abs(float(shown.replace("−", "-")) - median) <= 0.0051


def test_the_page_needs_nothing_else(tmp_path, net, quick):
    report = write(net(2, 4, 1), disc(100), out=tmp_path / "p.html", options=quick)
    text, page = read(report)
    assert "script" not in page.tags and "link" not in page.tags and "@import" not in text
    outside = [v for v in page.links if not v.startswith(("#", "data:"))]
    assert sorted(outside) == sorted(f.name for f in report.files)
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_images_get_a_plane_and_thumbnails(tmp_path, net, quick):
    report = write(net(64, 8, 10), digits(), out=tmp_path / "p.html", options=quick)
    text, _ = read(report)
    field = xr.load_dataset(report.files[0])
    assert field.attrs["inputs"] == "plane" and field["basis"].shape == (2, 64)
    assert "plane through three test inputs of the classes" in text
    assert report.failures == []


def test_without_a_model_one_is_trained(tmp_path, quick):
    report = write(None, disc(300), out=tmp_path / "p.html", options=quick)
    text, page = read(report)
    assert "Multilayer perceptron on disc" in page.titles and "2-10-10" in text and "test accuracy" in text


def test_tokens_have_points_but_no_field(tmp_path, quick):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.out = nn.Embedding(5, 4), nn.Linear(4, 2)

        def forward(self, t):
            return {"logits": self.out(torch.tanh(self.embedding(t).mean(1)))}

    tokens = load((torch.arange(60).reshape(20, 3) % 5, torch.arange(20) % 2))
    options = replace(quick, start="embedding#1", output="logits")
    report = write(Tokens(), tokens, out=tmp_path / "p.html", options=options)
    assert report.failures == [] and len(report.files) == 1
    assert "No field is drawn" in report.page.read_text()
    with pytest.raises(ArgumentError) as caught:
        write(Tokens(), tokens, out=tmp_path / "q.html", options=replace(options, start="embeding"))
    assert caught.value.argument == "start" and not (tmp_path / "q.html").exists()


def test_a_section_that_fails_does_not_lose_the_page(tmp_path, net, quick, monkeypatch):
    def broken(context):
        raise RuntimeError(f"a <b>very</b> bad day for {context.name}")

    def nothing(context):
        return None

    monkeypatch.setitem(registry._makers, "broken", (5, broken))
    monkeypatch.setitem(registry._makers, "nothing", (6, nothing))
    report = write(net(2, 4, 1), disc(100), out=tmp_path / "p.html", options=quick)
    text, page = read(report)
    assert report.failures == ["Broken"] and "Along depth" in page.titles and "Nothing" not in page.titles
    assert "a &lt;b&gt;very&lt;/b&gt; bad day for disc" in text and "<b>very" not in text


def test_new_instruments_stand_in_their_order(tmp_path, net, quick, monkeypatch):
    monkeypatch.setattr(registry, "_makers", dict(registry._makers))
    registry.instrument("later", order=20)(lambda context: Section("Later", facts=[("answer", "42")]))
    registry.instrument("earlier", order=1)(lambda context: Section("Earlier"))
    report = write(net(2, 4, 1), disc(100), out=tmp_path / "p.html", options=quick)
    _, page = read(report)
    places = [page.titles.index(t) for t in ("Earlier", "Along depth", "Later")]
    assert places == sorted(places) and "42" in report.page.read_text()


def test_a_model_that_gives_nan_is_reported_not_hidden(tmp_path, quick):
    class Holes(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 1)

        def forward(self, x):
            return self.inner(torch.where(x[:, :1] > 0, torch.log(-x[:, :1]), x[:, 1:]) * torch.ones_like(x))

    report = write(Holes(), disc(200), out=tmp_path / "p.html", options=quick)
    text, _ = read(report)
    assert report.failures == [] and "nonfinite" in text and "NaN or infinity" in text


def test_the_model_is_a_guest(tmp_path, net, quick):
    model = nn.Sequential(net(2, 6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 1))
    before = {n: t.clone() for n, t in model.state_dict().items()}
    rng, threads = torch.get_rng_state(), torch.get_num_threads()
    write(model, disc(200), out=tmp_path / "p.html", options=quick)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state()) and torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"out": "report.pdf"}, "out"),
        ({"model": nn.Identity()}, "data"),
        ({"weights": "w.pt"}, "weights"),
        ({"model": nn.Linear(2, 1), "data": "disc", "options": Options(layers=["7"])}, "layers"),
        ({"model": nn.Linear(2, 1), "data": "disc", "options": Options(memory="1B")}, "memory"),
        ({"model": nn.Linear(3, 1), "data": "disc"}, "data"),
        ({"model": lambda x: x, "data": "disc", "weights": "w.pt"}, "weights"),
    ],
)
def test_unusable_arguments(tmp_path, monkeypatch, arguments, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as caught:
        write(**arguments)
    assert caught.value.argument == name
