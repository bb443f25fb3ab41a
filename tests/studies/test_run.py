"""A study from its parts to its page: complete, and still there when a part of it fails."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from separatrix.results.errors import ArgumentError
from separatrix.studies import (
    Context,
    Figure,
    Finding,
    Ledger,
    Measurement,
    MissingData,
    Part,
    Piece,
    Study,
    at_least,
    find_study,
    run_study,
    studies,
)

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000a49444154789c6300010000050001 0d0a2db40000000049454e44ae426082".replace(" ", "")
)


class Outline(HTMLParser):
    """Tags in balance, titles and links."""

    def __init__(self, text):
        super().__init__()
        self.open, self.titles, self.links, self.tags, self.ids = [], [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = dict(attrs)
        self.links += [named[name] for name in ("href", "src", "xlink:href") if name in named]
        self.ids += [named["id"]] if "id" in named else []
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and re.fullmatch(r"h[1-4]", self.open[-1]):
            self.titles.append(data)


@pytest.fixture
def made(study, tmp_path):
    return run_study(study, out=tmp_path / "out")


def test_each_claim_has_its_verdict_or_the_reason_for_none(made):
    verdicts = {entry.claim.id: entry.verdict for entry in made.ledger.entries}
    assert verdicts == {
        "A": "reproduced",
        "B": "partly",
        "C": "not reproduced",
        "D": "contradicted",
        "E": None,
        "F": "reproduced",
        "G": None,
        "H": None,
    }
    reasons = {entry.claim.id: entry.reason for entry in made.ledger.entries}
    assert reasons["E"] == "the quick scale trains no network this deep"
    assert '"no-such-data-set" was not found' in reasons["G"]
    assert reasons["H"] == "the part broken failed: RuntimeError: a <b>very</b> bad day"


def test_data_that_is_missing_is_no_failure_but_an_error_is(made):
    assert made.failures == ["broken"]
    assert made.ledger.counts()["not measured"] == 3


def test_a_claim_of_two_parts_joins_what_both_found(made):
    entry = made.ledger["F"]
    assert [m.what for m in entry.measurements] == ["first half", "second half"]
    assert entry.command == "separatrix study trial --scale quick --part first --part second"


def test_without_one_of_its_parts_a_claim_has_no_verdict(study, tmp_path):
    run = run_study(study, out=tmp_path, parts=["first"])
    entry = run.ledger["F"]
    assert entry.verdict is None and entry.reason == "the part second was not run" and len(entry.measurements) == 1
    assert run.failures == [] and run.ledger["A"].verdict == "reproduced"
    assert "--part first" in run.page.read_text("utf-8")


def test_every_figure_is_a_file_that_stands_alone(made):
    from xml.etree import ElementTree

    shown = [figure for outcome in made.outcomes if outcome.part for figure in outcome.part.figures]
    assert len(made.pictures) == len(shown) > 0 and len(set(made.pictures)) == len(shown)
    for path, figure in zip(made.pictures, shown, strict=True):
        assert path.parent == made.page.parent / "figures"
        if isinstance(figure.picture, bytes):
            assert path.suffix == ".png" and path.read_bytes() == figure.picture
        else:
            text = path.read_text("utf-8")
            assert ElementTree.fromstring(text).tag.endswith("svg") and "var(" not in text


def test_files_are_the_ledger(made):
    assert [path.name for path in made.files] == ["trial-ledger.json", "trial-ledger.md"]
    assert Ledger.load(made.files[0]) == made.ledger
    assert made.files[1].read_text("utf-8") == made.ledger.to_markdown()
    assert sorted(path.name for path in made.page.parent.iterdir()) == [
        "figures",
        "store",
        "trial-ledger.json",
        "trial-ledger.md",
        "trial.html",
    ]


def test_the_page_says_everything(made):
    text = made.page.read_text("utf-8")
    page = Outline(text)
    for title in ("A trial of everything", "Ledger", "What was run", "What was found", "Beyond the paper", "Settings"):
        assert title in page.titles
    assert page.titles.index("Part broken") > page.titles.index("Beyond the paper") > page.titles.index("Part first")
    for said in (
        "Read me first.",
        "Nobody, Journal 1, 1 (2000)",
        "separatrix study trial --scale quick",
        "rate",
        "0.05",
    ):
        assert said in text
    assert "a number of no claim" in text and "1,797 handwritten digits" in text and "Traceback" in text
    assert re.findall(r"<dt>([a-z ]+)</dt><dd>(\d)</dd>", text)[:5] == [
        ("reproduced", "2"),
        ("partly", "1"),
        ("not reproduced", "1"),
        ("contradicted", "1"),
        ("not measured", "3"),
    ]
    assert page.tags.count("figure") == page.tags.count("svg") == 2


def test_the_page_needs_nothing_else_and_escapes(made):
    text = made.page.read_text("utf-8")
    page = Outline(text)
    assert "script" not in page.tags and "link" not in page.tags and "@import" not in text
    assert [v for v in page.links if not v.startswith(("#", "data:"))] == [path.name for path in made.files]
    assert {v[1:] for v in page.links if v.startswith("#")} <= set(page.ids) and len(page.ids) == len(set(page.ids))
    assert "<b>very" not in text and "Claim A &lt;holds&gt;" in text and "A &lt;line&gt;" in text
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ([], "none from the part one"),
        ([Finding("A", not_measured="x"), Finding("A", not_measured="x")], "A, A from the part one"),
        ([Finding("B", not_measured="x")], "B from the part one"),
    ],
)
def test_a_part_that_owes_findings_fails(modules, study, tmp_path, findings, words):
    claims = (replace(study.claims[0], parts=("one",)), replace(study.claims[1], parts=("two",)))
    pieces = modules(
        one=lambda context: Part(findings),
        two=lambda context: Part([Finding("B", [Measurement("b", 1.0, accept=at_least(0))])]),
    )
    run = run_study(Study("trial", "t", "p", claims, pieces), out=tmp_path)
    assert run.failures == ["one"] and words in run.ledger["A"].reason and run.ledger["B"].verdict == "reproduced"


def test_scale_seed_and_store_reach_the_parts(modules, tmp_path):
    seen = []

    def part(context):
        seen.append((context.scale, context.quick, context.pick(quick=1, paper=2), context.seed, context.store))
        return Part()

    trial = Study("trial", "t", "p", (), modules(part=part))
    run_study(trial, out=tmp_path / "a", seed=7)
    run = run_study(trial, out=tmp_path / "b", scale="paper", store=tmp_path / "runs")
    assert seen == [
        ("quick", True, 1, 7, tmp_path / "a" / "store"),
        ("paper", False, 2, 0, tmp_path / "runs"),
    ]
    assert (tmp_path / "runs").is_dir() and not (tmp_path / "b" / "store").exists()
    assert run.ledger.scale == "paper" and "--seed 7" in (tmp_path / "a" / "trial.html").read_text("utf-8")


def test_a_png_is_put_into_the_page(modules, tmp_path):
    picture = Figure('an "image"', PNG, "A caption.", "full")
    trial = Study("trial", "t", "p", (), modules(part=lambda context: Part(figures=[picture])))
    text = run_study(trial, out=tmp_path).page.read_text("utf-8")
    assert 'alt="an &#34;image&#34;" src="data:image/png;base64,iVBORw0KGgo' in text
    Outline(text)


def test_a_module_that_is_not_there_is_a_failure(tmp_path):
    trial = Study("trial", "t", "p", (), (Piece("lost", "Lost", "separatrix.studies.no_such_module"),))
    run = run_study(trial, out=tmp_path)
    assert run.failures == ["lost"] and "no_such_module" in run.page.read_text("utf-8")


def test_an_interrupt_is_not_swallowed(modules, tmp_path):
    def part(context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(Study("trial", "t", "p", (), modules(part=part)), out=tmp_path)


def test_data_are_found_or_missing(tmp_path):
    context = Context("quick", tmp_path)
    assert len(context.data("disc").X_train) == 36_000 and "square" in context.used["disc"]
    with pytest.raises(MissingData, match="SEPARATRIX_DATA"):
        context.data("no-such-data-set")
    assert context.used["no-such-data-set"] == "not found"


def test_damaged_data_are_a_failure_and_not_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATRIX_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train-images-idx3-ubyte").write_bytes(b"\0\0\0\0")
    with pytest.raises(ArgumentError):
        Context("quick", tmp_path).data("mine")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"study": "nothing"}, "study"),
        ({"scale": "large"}, "scale"),
        ({"parts": ["first", "last"]}, "parts"),
        ({"out": "a-file/out"}, "out"),
        ({"store": "a-file"}, "store"),
    ],
)
def test_unusable_arguments(study, tmp_path, monkeypatch, arguments, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    with pytest.raises(ArgumentError) as caught:
        run_study(**{"study": study} | arguments)
    assert caught.value.argument == name


def test_a_study_checks_its_names(study):
    for change in (
        {"parts": (*study.parts, study.parts[0])},
        {"claims": (*study.claims, study.claims[0])},
        {"claims": (replace(study.claims[0], parts=("nowhere",)),)},
        {"claims": (replace(study.claims[0], parts=()),)},
    ):
        with pytest.raises(ArgumentError):
            replace(study, **change)


def test_studies_are_found_by_name():
    assert find_study("storm2024") is studies()["storm2024"]
