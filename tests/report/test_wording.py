"""Sentences state the numbers that are in the results."""

import numpy as np
import torch

import separatrix as sx
from separatrix.report import wording


def result(values, status=None):
    """Three layers, the last one with the given stretch at each point."""
    ds = sx.ftle(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()), torch.zeros(len(values), 2), k=2)
    ds = ds.copy(deep=True)
    ds["exponent"].values[0, 0, :, 0] = values
    ds["stretch"].values[0, 0, :, 0] = values
    if status is not None:
        ds["status"].values[0, 0, :, 0] = status
    return ds


def test_findings_are_quantiles_and_shares():
    values = np.linspace(-1, 3, 101)
    facts, text = wording.findings(result(values), "output", None)
    assert dict(facts)["median λ₁ at output"] == "+1.00 /layer"
    assert dict(facts)["test points where differences grow"] == "74 %"  # 75 of 101 points
    assert "−0.60 and +2.60" in text[0] and "101 test points" in text[0]


def test_forbidden_numbers_do_not_count():
    values = np.array([np.nan] * 50 + [1.0] * 50)
    facts, text = wording.findings(result(values, [6] * 50 + [0] * 50), "output", None)
    assert "over 50 test points" in text[0] and dict(facts)["test points where differences grow"] == "100 %"
    _, text = wording.findings(result(values[:50], [6] * 50), "output", None)
    assert "no test point" in text[0]


def test_wrong_answers_are_compared_with_right_ones():
    values = np.arange(20.0)
    misses = torch.arange(20) >= 15
    _, text = wording.findings(result(values), "output", misses)
    assert "5 points" in text[1] and "+17.00" in text[1] and "+7.00" in text[1]
    assert len(wording.findings(result(values), "output", torch.arange(20) >= 16)[1]) == 1


def test_the_boundary_is_compared_with_the_rest():
    n = 30
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh())
    ds = sx.ftle(model, sx.grid((-1, 1), (-1, 1), shape=(n, n))).copy(deep=True)
    x = np.linspace(-1, 1, n)[:, None] * np.ones((1, n))
    ds["stretch"].values[0, 0, :, :, 0] = np.where(np.abs(x) < 0.05, 2.0, -1.0)
    margins = np.stack([-x, x], axis=-1)
    (text,) = wording.along_boundary(ds, "output", margins)
    assert "+2.00 nat" in text and "−1.00" in text and "100 %" in text
    assert wording.along_boundary(ds, "output", np.stack([x - 5, 5 - x], axis=-1)) == []


def test_self_check_speaks_of_the_deviation():
    ds = result(np.zeros(4))
    ds.attrs |= {"verify_points": 3, "verify_worst": 2e-7}
    assert (
        "3 random points" in wording.self_check({"Field": ds})[0] and "2.0e-07" in wording.self_check({"Field": ds})[0]
    )
    ds.attrs["verify_worst"] = 0.5
    assert "more than rounding" in wording.self_check({"Field": ds})[0]
    ds.attrs["verify_worst"] = float("nan")
    assert "more than rounding" in wording.self_check({"Field": ds})[0]
    ds.attrs["verify_points"] = 0
    assert "no check" in wording.self_check({"Field": ds})[0]


def test_statuses_are_counted_and_every_status_has_a_meaning():
    table = wording.statuses({"points": result(np.zeros(10), [6] * 4 + [0] * 6)})
    rows = {row[1]: row[2] for row in table.rows}
    assert rows == {"ok": "16", "nonfinite": "4"}
    assert set(wording.MEANINGS) == {s.name.lower() for s in sx.Status}
