"""The ledger: verdicts from numbers, one entry a claim, and nothing lost in a file."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from separatrix.results.errors import ArgumentError
from separatrix.studies import (
    Accept,
    Baseline,
    Claim,
    Entry,
    Finding,
    Kind,
    Ledger,
    Measurement,
    Verdict,
    at_least,
    judge,
    near,
    positive,
)


def claim(name, **numbers):
    return Claim(name, f"{name} | is\nso", "Fig. 1", Kind.PAPER, "1 < 2", "±1", ("part",), numbers)


def entry(name, *measurements, **more):
    return Entry(claim(name), measurements, "separatrix study trial", "1a2b3c4", **more)


YES, NO = Measurement("yes", 1.0, accept=at_least(0.0)), Measurement("no", -1.0, accept=at_least(0.0))
OPPOSITE = Measurement("opposite", -1.0, accept=positive())
DECISIVE_NO = Measurement("decisive", 2.0, accept=near(1.0, 0.25, decisive=True))
DECISIVE_OPPOSITE = Measurement("decisive", -2.0, accept=positive(decisive=True))
NAN, TOLD = Measurement("nan", math.nan, accept=positive()), Measurement("told", 3.0)


@pytest.mark.parametrize(
    ("measurements", "verdict"),
    [
        ([YES], Verdict.REPRODUCED),
        ([YES, YES, TOLD], Verdict.REPRODUCED),
        ([YES, NO], Verdict.PARTLY),
        ([YES, OPPOSITE], Verdict.PARTLY),
        ([NO], Verdict.NOT_REPRODUCED),
        ([NAN], Verdict.NOT_REPRODUCED),
        ([YES, DECISIVE_NO], Verdict.NOT_REPRODUCED),
        ([OPPOSITE], Verdict.CONTRADICTED),
        ([OPPOSITE, NO], Verdict.CONTRADICTED),
        ([YES, DECISIVE_OPPOSITE], Verdict.CONTRADICTED),
    ],
)
def test_the_verdict_follows_from_the_numbers(measurements, verdict):
    assert judge(measurements) is verdict
    assert entry("A", *measurements).verdict is verdict
    assert judge(measurements[::-1]) is verdict


def test_there_are_four_verdicts_and_none():
    assert [v.value for v in Verdict] == ["reproduced", "partly", "not reproduced", "contradicted"]
    silent = entry("A", YES, not_measured="no data")
    assert silent.verdict is None and silent.reason == "no data"
    with pytest.raises(ArgumentError, match="needs one"):
        judge([TOLD])
    with pytest.raises(ArgumentError, match="not_measured"):
        Finding("A", [TOLD])


@pytest.mark.parametrize(
    ("claims", "entries", "words"),
    [
        (["A", "B"], ["A"], "no entry for B"),
        (["A"], ["A", "A"], "A more than once"),
        (["A", "A"], ["A"], "A more than once"),
        (["A"], ["A", "C"], "entries for C"),
    ],
)
def test_every_claim_has_exactly_one_entry(claims, entries, words):
    with pytest.raises(ArgumentError, match=words):
        Ledger("trial", tuple(map(claim, claims)), tuple(entry(e, YES) for e in entries))


def test_a_changed_claim_is_another_claim():
    changed = replace(claim("A"), accept="anything")
    with pytest.raises(ArgumentError, match="no claims of it"):
        Ledger("trial", (changed,), (entry("A", YES),))


def test_entries_stand_in_the_order_of_the_claims():
    ledger = Ledger("trial", (claim("B"), claim("A")), (entry("A", YES), entry("B", NO)))
    assert [e.claim.id for e in ledger.entries] == ["B", "A"] and ledger["B"].verdict is Verdict.NOT_REPRODUCED
    assert ledger.counts() == {
        "reproduced": 1,
        "partly": 0,
        "not reproduced": 1,
        "contradicted": 0,
        "not measured": 0,
    }
    with pytest.raises(KeyError):
        ledger["C"]


numbers = st.floats(allow_nan=False)
texts = st.text(max_size=20)


@st.composite
def accepts(draw):
    low, high = sorted((draw(numbers), draw(numbers)))
    contrary = (-math.inf, low) if math.isfinite(low) and draw(st.booleans()) else None
    strict = low < high and draw(st.booleans())
    return Accept(low, high, strict=strict, decisive=draw(st.booleans()), contrary=contrary)


@st.composite
def measured(draw, accept=None):
    value = draw(numbers)
    interval = draw(st.none() | st.just((-math.inf, value)))
    spread = draw(st.none() | st.floats(0, 1e300))
    return Measurement(
        draw(texts),
        value,
        draw(texts),
        spread=spread,
        interval=interval,
        spread_name="standard deviation",
        n=draw(st.integers(1, 10**6)),
        lost=draw(st.integers(0, 5)),
        target=draw(st.none() | numbers),
        baseline=draw(st.none() | st.builds(Baseline, texts, numbers, st.none() | numbers)),
        accept=draw(accept if accept is not None else st.none() | accepts()),
    )


@given(st.lists(measured(), max_size=3), measured(accepts()), texts, st.dictionaries(texts, numbers, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_file_gives_back_the_same_ledger(tmp_path_factory, more, one, reason, targets):
    about = claim("A", **{})
    about = replace(about, numbers=targets)
    made = Ledger(
        "trial",
        (about, claim("B")),
        (Entry(about, (*more, one), "command", "commit", reason), entry("B", not_measured="too deep")),
        "quick",
        "2026-01-01",
        {"torch": "2.6"},
    )
    path = made.save(tmp_path_factory.mktemp("ledger") / "ledger.json")
    assert Ledger.load(path) == made
    json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_nan_survives_a_file(tmp_path):
    made = Ledger("trial", (claim("A"),), (entry("A", NAN),))
    back = Ledger.load(made.save(tmp_path / "ledger.json"))
    assert math.isnan(back["A"].measurements[0].value) and back["A"].verdict is Verdict.NOT_REPRODUCED


@pytest.fixture
def saved(tmp_path):
    return Ledger("trial", (claim("A"),), (entry("A", YES, NO),), "quick").save(tmp_path / "ledger.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["entries"][0].update(verdict="reproduced"), "where its numbers give partly"),
        (lambda d: d["entries"][0]["measurements"][0].update(value=-5.0), "where its numbers give not reproduced"),
        (lambda d: d.update(format=99), "reads format 1"),
        (lambda d: d["entries"][0].pop("claim"), "Ledger.save"),
        (lambda d: d["entries"][0]["claim"].update(kind="guessed"), "Ledger.save"),
    ],
)
def test_a_file_that_was_edited_is_refused(saved, change, words):
    found = json.loads(saved.read_text("utf-8"))
    change(found)
    saved.write_text(json.dumps(found), "utf-8")
    with pytest.raises(ArgumentError, match=words):
        Ledger.load(saved)


def test_what_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{", "utf-8")
    for name in ("a.json", "missing.json"):
        with pytest.raises(ArgumentError):
            Ledger.load(tmp_path / name)


def cells(row):
    return row.replace("\\|", "\0").strip("|").split("|")


def test_markdown_has_one_row_a_claim_and_as_many_cells_as_its_header():
    base = replace(YES, target=0.5, baseline=Baseline("untrained | random", 0.1), what="a | b")
    ledger = Ledger("trial", (claim("A"), claim("B")), (entry("A", base, NO), entry("B", not_measured="too deep")))
    lines = ledger.to_markdown().splitlines()
    assert len({len(cells(line)) for line in lines[:4]}) == 1 and lines[4] == ""
    for shown in ("paper 0.5, here 1.00 ✓", "0.100 (untrained \\| random)", "**partly**"):
        assert shown in lines[2]
    assert "not measured" in lines[3] and "too deep" in lines[3]


def test_html_shows_paper_and_measured_side_by_side_and_escapes():
    bad = replace(NO, what="<script>x</script>", target=0.5)
    text = Ledger("trial", (claim("A"),), (entry("A", YES, bad),)).to_html()
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert text.count("<tr") == text.count("</tr>") == 5 and ">0.5</td>" in text and "badge partly" in text
