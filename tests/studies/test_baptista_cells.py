"""What is read off cells: pooled coefficients, best k, held-out halves, clusters of curves, the regression."""

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from separatrix.studies import Context
from separatrix.studies.baptista2024 import accuracy, coefficients, single_networks
from separatrix.studies.baptista2024.cells import Cell, Cells, cell_of
from separatrix.studies.baptista2024.claims import BEST_K, CLAIMS, EXAMPLES
from separatrix.studies.baptista2024.curves import explained, layer_null_curve
from separatrix.studies.baptista2024.measure import CONVENTIONS, SUMS, measure
from separatrix.studies.baptista2024.networks import DECLARED, hidden, trained
from separatrix.studies.baptista2024.problems import PROBLEMS, problem
from separatrix.studies.baptista2024.regression import shuffled_t, slope
from separatrix.studies.baptista2024.runs import cost, run_of, runs
from separatrix.sweeps import Config


def made(seed=0, members=12, layers=6, ks=(6, 10, 30), name="A", depth=6, least=6, cut=()):
    """A cell of random sums; ``cut`` lists (member, k, layer) whose graphs are not connected."""
    rng = np.random.default_rng(seed)
    shape = (members, 3, len(ks), layers)
    values = {}
    for kind in ("", "_untrained"):
        values[f"geodesic_connected{kind}"] = rng.integers(10_000, 20_000, shape)
        values[f"curvature{kind}"] = -rng.integers(10_000, 20_000, shape)
        values[f"unreachable{kind}"] = np.zeros(shape, dtype=np.int64)
        values[f"unique_rows{kind}"] = np.full((members, layers), 100)
    for member, k, layer in cut:
        values["unreachable"][member, :, k, layer] = 2
    values["input_least_connecting_k"] = np.array(least)
    accuracy = 0.95 + 0.05 * rng.random(members)
    return Cell(PROBLEMS[name], "narrow", depth, np.array(ks), accuracy, values, 1.0, 2.0, 100, 80, 0.96)


def naive_rho(g, ric):
    return np.corrcoef(np.diff(g), ric[:-1])[0, 1]


def test_pooled_and_own_coefficients_are_pearson_correlations():
    cell = made(cut=[(2, 1, 3)])
    rows = np.flatnonzero(cell.accuracy > 0.96)
    assert 0 < len(rows) < 12 and 2 in rows
    for at, name in enumerate(CONVENTIONS):
        g, ric = (cell.values[v][:, at].astype(float) for v in ("geodesic_connected", "curvature"))
        curve = cell.curve(name)
        for k in range(3):
            whole = [m for m in rows if (m, k) != (2, 1)]
            eta = np.concatenate([np.diff(g[m, k]) for m in whole])
            bend = np.concatenate([ric[m, k, :-1] for m in whole])
            assert curve[k] == pytest.approx(np.corrcoef(eta, bend)[0, 1], abs=1e-12)
            own = cell.rho(k, name)
            for m, value in zip(rows, own, strict=True):
                if (m, k) == (2, 1):
                    assert math.isnan(value)
                else:
                    assert value == pytest.approx(naive_rho(g[m, k], ric[m, k]), abs=1e-12)
        assert cell.best(name) == int(np.argmin(curve))


def test_only_k_that_connect_the_inputs_are_looked_at():
    cell = made(least=10)
    assert np.isnan(cell.curve()[0]) and np.isfinite(cell.curve()[1:]).all() and cell.best() in (1, 2)
    assert (cell.bootstrap(50) >= 1).all()
    none = made(least=-1)
    assert none.best() == -1 and np.isnan(none.held_out().g).all() and (none.bootstrap(3) == -1).all()


def test_held_out_networks_are_seen_at_a_k_that_others_chose():
    cell = made(members=10)
    cell = cell_with(cell, threshold=0.0)
    found = cell.held_out(seed=3)
    g, ric = cell.sums()
    # each network's sums are those of one k, and one k serves each half
    places = [[k for k in range(3) if np.array_equal(g[k, m], found.g[m])] for m in range(10)]
    assert all(len(p) == 1 for p in places) and len(found.pooled) == 2
    # what a network is like has no influence on the k at which it is seen
    for m in range(10):
        changed = made(members=10)
        changed.values["geodesic_connected"][m] = changed.values["geodesic_connected"][m][..., ::-1]
        other = cell_with(changed, threshold=0.0).held_out(seed=3)
        assert np.array_equal(other.g[m], changed.sums()[0][places[m][0], m])
    assert np.array_equal(found.ric[4], ric[places[4][0], 4])


def cell_with(cell, threshold):
    return replace(cell, threshold=threshold)


def test_bootstrap_of_a_clear_best_k_always_finds_it():
    cell = cell_with(made(members=8), 0.0)
    # at the second k each expansion is minus the curvature of the layer before
    at = CONVENTIONS.index("authors-r")
    steps = -cell.values["curvature"][:, at, 1, :-1]
    cell.values["geodesic_connected"][:, at, 1, 1:] = cell.values["geodesic_connected"][:, at, 1, :1] + np.cumsum(
        steps, -1
    )
    assert cell.curve()[1] == pytest.approx(-1) and cell.best() == 1 and (cell.bootstrap(40) == 1).all()


def test_shares_of_variance_between_curves():
    groups = {("A", 5): 0.3, ("A", 11): 0.3, ("C", 5): -0.1, ("C", 11): -0.1}

    class Fixed(Cell):
        def curve(self, convention="authors-r", kind="", *, centred=False):
            level = groups[self.problem.name, self.depth]
            return np.array([np.nan, level, level + 0.2])

    cells = [replace(made(), problem=PROBLEMS[name], depth=depth) for name, depth in groups]
    shares = explained([Fixed(**{f.name: getattr(cell, f.name) for f in fields(Cell)}) for cell in cells])
    assert shares["problem"] == pytest.approx(1) and shares["depth"] == pytest.approx(0)
    assert shares["widths"] == pytest.approx(0)


def test_null_curves_keep_each_layers_two_sums_together():
    cell = cell_with(made(members=300, layers=6), 0.0)
    # both sums from the same number: by regression to the mean -1/sqrt 2, whatever the order
    cell.values["geodesic_connected"][:] = cell.values["curvature"] + 50_000
    curve = layer_null_curve(cell)
    assert np.abs(curve + 1 / math.sqrt(2)).max() < 0.05


def naive_fit(y, x, columns):
    D = np.column_stack([x, *columns])
    beta, *_ = np.linalg.lstsq(D, y, rcond=None)
    left = y - D @ beta
    freedom = len(y) - np.linalg.matrix_rank(D)
    covariance = (left @ left) / freedom * np.linalg.pinv(D.T @ D)
    return beta[0], math.sqrt(covariance[0, 0]), left @ left, freedom


def test_the_regression_is_least_squares_with_dummies():
    from scipy.stats import t as student

    rng = np.random.default_rng(0)
    n = 200
    group, depth = rng.integers(0, 4, n), rng.choice([5, 11], n)
    x = rng.normal(size=n) + group
    y = 0.1 * x + 2 * group + depth + rng.normal(size=n)
    x[5] = np.nan
    found = slope(y, x, {"group": group.tolist(), "depth": depth.tolist()})
    keep = np.arange(n) != 5
    columns = [np.ones(n - 1), *((group[keep] == i) * 1.0 for i in (1, 2, 3)), (depth[keep] == 11) * 1.0]
    b, error, left, freedom = naive_fit(y[keep], x[keep], columns)
    assert (found.n, found.freedom) == (n - 1, freedom)
    assert found.slope == pytest.approx(b, rel=1e-9) and found.error == pytest.approx(error, rel=1e-9)
    assert found.p == pytest.approx(2 * student.sf(abs(b / error), freedom), rel=1e-9)
    total = ((y[keep] - y[keep].mean()) ** 2).sum()
    without = naive_fit(y[keep], np.zeros(n - 1), columns)[2]
    assert found.r2 == pytest.approx(1 - left / total) and found.r2_gained == pytest.approx((without - left) / total)
    assert slope(y, x, {"group": group.tolist(), "again": group.tolist()}).freedom == n - 1 - 5
    assert math.isnan(slope(y, group.astype(float), {"group": group.tolist()}).t)
    assert math.isnan(slope(y[:0], x[:0], {"group": []}).t)


def test_shuffling_within_groups_takes_away_what_is_in_them():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(5), 40).tolist()
    x = rng.normal(size=200)
    y = x + 0.1 * rng.normal(size=200)
    null = shuffled_t(y, x, {"group": groups}, groups, 200, 0)
    assert slope(y, x, {"group": groups}).t > 50
    assert abs(null.mean()) < 0.3 and 0.8 < null.std() < 1.25


def test_claims_cells_and_runs():
    assert [c.id for c in CLAIMS] == [*(f"C{i}" for i in range(1, 9)), "C9a", "C9b", "C10"]
    for name, one in PROBLEMS.items():
        assert len(BEST_K[name]) == 6 and set(BEST_K[name].values()) <= set(one.ks)
    assert all(-1 < rho < 0 and key[0] in PROBLEMS for group in EXAMPLES.values() for key, rho in group.items())
    # the ends of the grids that the table reaches: 11 of 24 and 6 of 18
    ends = {True: 0, False: 0}
    for name, cells in BEST_K.items():
        image = PROBLEMS[name].image
        ends[image] += sum(k == (500 if image else 6) for k in cells.values())
    assert ends == {True: 11, False: 6}


def test_runs_of_the_paper_scale(tmp_path):
    wanted = runs(Context("paper", tmp_path), list(PROBLEMS))
    assert len(wanted) == 42 and sum(len(run["seeds"]) for run in wanted) == 1512
    assert all(set(DECLARED.items()) <= set(run.items()) for run in wanted)
    costs = [cost(run) for run in wanted]
    assert costs == sorted(costs, reverse=True) and min(costs) > 0
    assert len({(run["problem"], run["widths"], run["depth"]) for run in wanted}) == 42


SEEDS = (0, 1, 2, 3)


def tiny(name, depth, **changed):
    context = Context("quick", Path())
    small = {"seeds": SEEDS, "train": 60, "test": 60, "ks": (6, 10, 20), "epochs": 2}
    return {**run_of(context, name, "narrow", depth), **small, **changed}


@pytest.fixture(scope="module")
def cells():
    wanted = [tiny(name, depth) for name in ("A", "C") for depth in (5, 11)]
    return Cells(tuple(cell_of(run, measure(Config(run)), -1.0) for run in wanted), "")


def test_a_run_holds_the_sums_of_every_layer(cells):
    from separatrix.geometry.layer_sums import layer_sums

    run = tiny("A", 5)
    data = problem("A", train=60, test=60)
    net = trained(Config(run), data, False).members[1]
    with torch.no_grad():
        right = ((net(data.X_test)[:, 0] > 0).long() == data.y_test).double().mean()
    assert cells.cells[0].accuracy[1] == pytest.approx(float(right))
    for layer, x in enumerate(hidden(net, data.X_test)):
        expected = layer_sums(x, (6, 10, 20), conventions=CONVENTIONS)
        for name in SUMS:
            assert np.array_equal(cells.cells[0].values[name][1, :, :, layer], getattr(expected, name)), name
    inputs = layer_sums(data.X_test.double(), (6, 10, 20), conventions=CONVENTIONS)
    assert np.array_equal(cells.cells[0].values["input_curvature"], inputs.curvature)


def test_results_can_be_saved(cells, tmp_path):
    import xarray as xr

    run = tiny("C", 5, untrained=False, seeds=(0, 1))
    found = measure(Config(run))
    assert not any("untrained" in str(name) for name in found.data_vars)
    found.to_netcdf(tmp_path / "cell.nc")
    with xr.open_dataset(tmp_path / "cell.nc") as back:
        assert cell_of(run, back, -1.0).name == "C, narrow 5"


def test_every_part_judges_its_claims(cells):
    owed = {"coefficients": coefficients, "networks": single_networks, "accuracy": accuracy}
    for name, module in owed.items():
        part = module.part(cells)
        assert sorted(f.claim for f in part.findings) == sorted(c.id for c in CLAIMS if name in c.parts)
        assert part.tables and part.figures and part.notes
        names = [str(figure.picture).split(' id="')[1].split('"')[0] for figure in part.figures]
        assert len(set(names)) == len(names)


def test_shares_of_negative_coefficients(cells):
    part = single_networks.part(cells)
    rows = {m.what: m for f in part.findings if f.claim == "C8" for m in f.measurements}
    rho = np.concatenate([cell.rho(cell.best()) for cell in cells if cell.best() >= 0])
    known = rho[np.isfinite(rho)]
    assert rows["negative at k*"].value == pytest.approx(100 * (known < 0).mean())
    assert rows["negative at k*"].n == len(known) and rows["negative at k*"].lost == len(rho) - len(known)
