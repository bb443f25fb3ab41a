"""What the second stage of the study on Baptista et al. reads off its runs, by plain arithmetic."""

from dataclasses import replace

import numpy as np
import pytest

from separatrix.studies.baptista2024 import controls
from separatrix.studies.baptista2024.cells import Cell, Cells
from separatrix.studies.baptista2024.problems import PROBLEMS


def cell(seed, name, shift=0.0):
    """A cell of 8 networks with 6 layers whose curvature follows expansion by ``shift``."""
    rng = np.random.default_rng(seed)
    g = rng.integers(10_000, 20_000, (8, 3, 2, 6))
    following = np.concatenate([np.diff(g), np.zeros_like(g[..., :1])], -1)
    ric = (shift * following).astype(np.int64) - rng.integers(10_000, 20_000, g.shape)
    values = {"geodesic_connected": g, "curvature": ric, "unreachable": np.zeros_like(g),
              "unique_rows": np.full((8, 6), 100), "input_least_connecting_k": np.array(6)}  # fmt: skip
    values |= {f"{key}_untrained": value for key, value in values.items() if key != "input_least_connecting_k"}
    return Cell(PROBLEMS[name], "narrow", 5, np.array([6, 10]), np.ones(8), values, 1.0, 1.0, 100, 80, 0.9)


def own(one, place):
    g, ric = one.at(place)
    return np.array([np.corrcoef(np.diff(a), b[:-1])[0, 1] for a, b in zip(g.astype(float), ric, strict=True)])


@pytest.fixture
def stage():
    found = Cells(tuple(cell(i, name) for i, name in enumerate(("A", "B", "1v7", "6v8"))), "")
    found = Cells(tuple(replace(c, depth=5 + i) for i, c in enumerate(found)), "")
    twins = {name: {c.key: replace(cell(10 + i, c.problem.name, shift), depth=c.depth) for i, c in enumerate(found)}
             for name, shift in (("shuffled labels", 1.0), ("linear", -1.0))}  # fmt: skip
    return found, twins


def test_differences_are_those_of_the_means_of_each_cell(stage):
    found, twins = stage
    rows = {row.what: row for row in controls._differences(found, twins)}
    for name, others in twins.items():
        apart = np.array([own(c, c.best()).mean() - own(others[c.key], c.best()).mean() for c in found])
        row = rows[f"coefficient at k*, as in the first stage less {name}"]
        reach = 2 * apart.std(ddof=1) / 2
        assert row.value == pytest.approx(apart.mean()) and row.n == 4
        assert row.interval == pytest.approx((apart.mean() - reach, apart.mean() + reach))
        assert rows[f"coefficient at k*, as in the first stage less {name}, images"].value == pytest.approx(
            apart[2:].mean()
        )
    assert rows["coefficient at k*, as in the first stage less shuffled labels"].interval[1] < 0
    assert rows["coefficient at k*, as in the first stage less linear"].interval[0] > 0


def test_shares_of_negative_coefficients_by_kind(stage):
    found, twins = stage
    rows = {row.what: row for row in controls._kinds(found, twins)}
    for name, others in twins.items():
        rho = np.concatenate([own(others[c.key], c.best()) for c in found])
        assert rows[f"coefficient at k*, {name}"].value == pytest.approx(rho.mean())
        assert rows[f"negative at k*, {name}"].value == pytest.approx(100 * (rho < 0).mean())
    assert rows["negative at k*, linear"].value > 90 and rows["negative at k*, shuffled labels"].value < 10


def test_halves_are_compared_with_the_whole(stage):
    found, _ = stage
    one = found.cells[0]
    rho = np.array([[-0.5, -0.4, -0.6, 0.1], [0.3, 0.2, np.nan, 0.4]])
    rows = {row.what: row for row in controls._stability([(one, rho)])}
    spread = rows["standard deviation of the coefficient over halves of the points"]
    expected = np.mean([np.std([-0.4, -0.6, 0.1], ddof=1), np.std([0.2, 0.4], ddof=1)])
    assert spread.value == pytest.approx(expected)
    assert spread.baseline.value == pytest.approx(np.std([-0.5, 0.3], ddof=1))
    assert rows["halves with the sign of all points"].value == pytest.approx(100 * 4 / 5)
