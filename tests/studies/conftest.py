"""A small study with every kind of entry."""

import sys
import types

import pytest

from separatrix.figures.svg import draw
from separatrix.studies import (
    Baseline,
    Claim,
    Figure,
    Finding,
    Kind,
    Measurement,
    Part,
    Piece,
    Study,
    Table,
    at_least,
    near,
    positive,
)


def claim(name, *parts, **numbers):
    return Claim(
        name, f"Claim {name} <holds> | always.", "Fig. 1(a)", Kind.DIGITISED, "about 1", "±0.5", parts, numbers
    )


def first(context):
    rng = [1.0 + 0.1 * i for i in range(context.pick(quick=3, paper=10))]
    picture = draw(lambda ax: ax.plot([0, 1], rng[:2]), size=(4, 3), alt="a line", name="first-line")
    return Part(
        findings=[
            Finding(
                "A",
                [
                    Measurement.of_samples(
                        "ring level, L = 2",
                        rng,
                        unit="nat",
                        target=1.0,
                        accept=near(1.0, 0.5),
                        baseline=Baseline("untrained", 0.2, 0.05),
                    )
                ],
            ),
            Finding(
                "B",
                [
                    Measurement("L = 2", 1.2, target=1.0, accept=near(1.0, 0.5)),
                    Measurement("L = 4", 3.0, target=1.0, accept=near(1.0, 0.5)),
                ],
            ),
            Finding("C", [Measurement("slope", 2.0, target=1.0, accept=near(1.0, 0.25))]),
            Finding(
                "D",
                [
                    Measurement(
                        "Spearman ρ",
                        -0.4,
                        interval=(-0.5, -0.3),
                        spread_name="95 % bootstrap interval",
                        n=10000,
                        of="test images",
                        accept=positive(),
                    )
                ],
            ),
            Finding("E", not_measured="the quick scale trains no network this deep"),
            Finding("F", [Measurement("first half", 0.97, accept=at_least(0.95))]),
        ],
        figures=[
            Figure("A <line>", picture, "Look at the line.", "half"),
            Figure("A wide one", picture.replace("first-line", "second-line"), "Look at its end.", "full"),
        ],
        settings={"rate": 0.05, "seeds": range(3)},
        notes=["What was found."],
        measurements=[Measurement("a number of no claim", 3.5, target=3.5)],
        tables=[Table(("a", "b"), [("1", "2")], "A table")],
    )


def second(context):
    problem = context.data("digits")
    return Part([Finding("F", [Measurement("second half", float(len(problem.X_train)), accept=at_least(1000))])])


def missing(context):
    context.data("no-such-data-set")


def broken(context):
    raise RuntimeError("a <b>very</b> bad day")


CLAIMS = (
    claim("A", "first", level=1.0),
    claim("B", "first"),
    claim("C", "first"),
    claim("D", "first"),
    claim("E", "first"),
    claim("F", "first", "second"),
    claim("G", "missing"),
    claim("H", "broken"),
)


@pytest.fixture
def modules(monkeypatch):
    """Put functions into modules that can be imported by name, as parts of studies are."""

    def put(**functions):
        pieces = []
        for name, run in functions.items():
            module = types.ModuleType(f"parts_of_tests_{name}")
            module.run = run
            monkeypatch.setitem(sys.modules, module.__name__, module)
            pieces.append(Piece(name, f"Part {name}", module.__name__, f"What {name} does.", beyond=name == "broken"))
        return tuple(pieces)

    return put


@pytest.fixture
def study(modules):
    pieces = modules(first=first, second=second, missing=missing, broken=broken)
    return Study("trial", "A trial of everything", "Nobody, Journal 1, 1 (2000)", CLAIMS, pieces, ("Read me first.",))
