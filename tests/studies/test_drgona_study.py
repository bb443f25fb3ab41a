"""The study of Drgona et al.: its table, what is read off it, and parts that take no sweep."""

import importlib
import importlib.util
import math

import numpy as np
import pytest
import torch
import xarray as xr

from separatrix.local.affine import affine
from separatrix.studies import Context, Kind, Verdict, judge, studies
from separatrix.studies.drgona2022 import STUDY, counterexamples, depth, factorisations, high_dimension, proofs, regions
from separatrix.studies.drgona2022.behaviour import factors
from separatrix.studies.drgona2022.cases import ACTIVATIONS, BY_NAME, CASES, DEPTHS, SETTINGS
from separatrix.studies.drgona2022.columns import ABOUT
from separatrix.studies.drgona2022.measure import measure
from separatrix.studies.drgona2022.networks import stacked
from separatrix.studies.drgona2022.norm_products import norm_2
from separatrix.studies.drgona2022.portraits import GROUPS, behaviours
from separatrix.studies.drgona2022.shares import counted, share
from separatrix.studies.drgona2022.table import BEHAVIOURS, Cases, runs
from separatrix.sweeps.config import Config

SMALL = {
    "seeds": (0, 1),
    "starts": 32,
    "certified_starts": 32,
    "nodes": 9,
    "plan": {"steps": 256, "longest": 16, "followed": 2, "further": 512},
}


def finding(part, claim):
    return next(f for f in part.findings if f.claim == claim)


def test_the_study_is_one_of_the_studies_and_its_claims_are_whole():
    assert studies()["drgona2022"] is STUDY
    for claim in STUDY.claims:
        assert claim.claim.endswith(".") and claim.source and claim.target and claim.accept and claim.kind in Kind
        assert all(math.isfinite(v) for v in claim.numbers.values())
    for piece in STUDY.parts:
        assert callable(importlib.import_module(piece.module).run)
    assert [p.name for p in STUDY.parts if p.beyond] == ["counterexamples", "proved"]


def test_figure_groups_name_cases_of_the_sweep():
    listed = [case for group in GROUPS.values() for case in group]
    assert len(listed) == 27 and set(listed) <= set(CASES)


@pytest.fixture(scope="module")
def result():
    names = ("softSVD (0, 1)", "pf (1, 1)")
    return measure(Config({"activation": "relu", "depth": 1, "settings": names, **SMALL}))


def test_a_run_can_be_saved_and_has_every_column(result, tmp_path):
    result.to_netcdf(tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as again:
        assert dict(again.sizes) == {"member": 2, "point": 4}
        assert again.setting.values.tolist() == ["softSVD (0, 1)"] * 2 + ["pf (1, 1)"] * 2
        assert again.bias.values.tolist() == [0, 1, 0, 1]
        for name, values in result.items():
            np.testing.assert_array_equal(again[name].values, values.values)


def test_a_run_measures_the_networks_that_it_names(result):
    """Every number of one network by slower means."""
    net = stacked(BY_NAME["softSVD (0, 1)"], "relu", 1, (1,), (True,))
    row = {name: float(values[1, 1]) for name, values in result.items()}
    axis = np.linspace(-6, 6, 9)
    x = torch.tensor([(a, b) for a in axis for b in axis], dtype=torch.float64)
    A = affine(net.module(0), x).A.numpy()
    assert row["norm_2"] == pytest.approx(np.linalg.norm(A, 2, axis=(1, 2)).max(), rel=1e-10)
    assert row["norm_fro"] == pytest.approx(np.linalg.norm(A, axis=(1, 2)).max(), rel=1e-10)
    assert row["radius"] == pytest.approx(np.abs(np.linalg.eigvals(A)).max(), rel=1e-10)
    assert row["complex"] == pytest.approx(np.iscomplex(np.linalg.eigvals(A)).any(1).mean(), abs=1e-12)
    layers = [M[0].numpy() for M in net.A]
    s = np.linalg.svd(np.stack(layers), compute_uv=False)
    assert row["layer_singular_lo"] == pytest.approx(s.min()) and row["layer_singular_hi"] == pytest.approx(s.max())
    assert row["product_2"] == pytest.approx(np.prod(s[:, 0])) and row["contraction"] == row["bounded"] == 1
    y = torch.ones(1, 2, dtype=torch.float64)
    for _ in range(200):
        y = net.module(0)(y)
    assert row["reach"] == pytest.approx(float(y.norm()), abs=1e-9) and row["limits"] == row["attractors"] == 1
    assert result["count_continuum"].values[:, 2].tolist() == [1, 1]


def test_runs_cover_the_cases_and_the_longest_come_first(tmp_path):
    for scale, seeds in (("quick", 2), ("paper", 20)):
        listed = runs(Context(scale, tmp_path))
        assert len(listed) == 18 and [run["depth"] for run in listed] == sorted(r["depth"] for r in listed)[::-1]
        assert all(len(run["seeds"]) == seeds for run in listed)


@pytest.fixture(scope="module")
def table():
    """A table whose numbers name their cases, in the order of the runs."""
    parts = [(n, a) for n in sorted(DEPTHS, reverse=True) for a in ACTIVATIONS]
    points = [(s.name, a, n, b) for n, a in parts for s in SETTINGS for b in (0, 1)]
    number = np.arange(len(points), dtype=float)
    columns = {
        "number": np.stack([number, number + 0.5]),
        "attractors": np.ones((2, 828), dtype=int),
        "count_fixed_point": np.ones((2, 828), dtype=int),
        **{f"count_{k}": np.zeros((2, 828), dtype=int) for k in ("continuum", "cycle", "quasi_periodic", "chaotic")},
        "share_attracted": np.ones((2, 828)),
        **{f"share_{k}": np.zeros((2, 828)) for k in ("undecided", "growing", "escape")},
        **{f"product_{p}": np.full((2, 828), 0.5) for p in ("1", "2", "inf")},
        "radius": np.full((2, 828), 0.5),
        "reach": np.zeros((2, 828)),
    }
    data = xr.Dataset({name: (("member", "point"), values) for name, values in columns.items()})
    return points, Cases(data)


def test_arrays_are_in_the_order_of_the_cases(table):
    points, cases = table
    values = cases["number"]
    assert values.shape == (2, 23, 6, 3, 2)
    for place in ((0, 0, 0, 0), (22, 5, 2, 1), (3, 1, 1, 0), (21, 4, 0, 1)):
        s, a, n, b = place
        assert points[int(values[0][place])] == (SETTINGS[s].name, ACTIVATIONS[a], DEPTHS[n], b)
        assert values[1][place] == values[0][place] + 0.5
    mask = cases.where("linear", ("tanh", "gelu"), 8, True)
    assert sorted(points[int(v)] for v in values[0][mask]) == [("linear", "gelu", 8, 1), ("linear", "tanh", 8, 1)]
    with pytest.raises(KeyError, match="relu6"):
        cases.where(activation="relu6")


def test_behaviour_is_named_after_the_most_complicated_attractor(table):
    _, cases = table
    data = cases.data.copy(deep=True)
    data["count_cycle"][0, 0] = 1
    data["count_chaotic"][0, 0] = 1
    data["count_fixed_point"][0, 1] = 3
    data["count_fixed_point"][0, 2] = data["attractors"][0, 2] = 0
    data["count_fixed_point"][0, 3] = data["attractors"][0, 3] = 0
    data["share_undecided"][0, 3] = 1.0
    data["share_escape"][0, 4] = 0.1
    data["share_attracted"][0, 4] = 0.9
    changed = Cases(data)
    # the first run is ReLU at depth 8: settings and biases in turn
    found = [(BEHAVIOURS[int(changed.behaviour[0, i // 2, 0, 2, i % 2])]) for i in range(5)]
    assert found == ["chaotic", "several fixed points", "no attractor", "undecided", "one fixed point"]
    assert changed.leaving[0, 2, 0, 2, 0] and not changed.single[0, 2, 0, 2, 0] and changed.single[0, 5, 0, 2, 0]
    assert behaviours(CASES[0], changed) == ["one fixed point"] * 2


def test_findings_fail_where_networks_fail(table):
    _, cases = table
    assert judge(proofs.one_attractor(cases).measurements) is Verdict.REPRODUCED
    data = cases.data.copy(deep=True)
    data["count_fixed_point"][0, 0] = data["attractors"][0, 0] = 2
    assert judge(proofs.one_attractor(Cases(data)).measurements) is not Verdict.REPRODUCED
    data["share_undecided"][0, 0] = 0.5
    again = proofs.one_attractor(Cases(data)).measurements
    assert judge(again) is Verdict.REPRODUCED and sum(m.lost for m in again) == 1
    assert judge(proofs.unit_disc(cases).measurements) is Verdict.REPRODUCED
    # nothing differs here, so that no factor changes anything
    assert judge(factors(cases).measurements) is Verdict.NOT_REPRODUCED


def test_shares_have_exact_intervals():
    flags = np.array([True] * 3 + [False] * 7)
    one = share("of ten", flags)
    assert one.value == 0.3 and one.n == 10
    np.testing.assert_allclose(one.interval, (0.0667, 0.6525), atol=1e-4)
    assert share("all", np.ones(5, bool)).interval[1] == 1 and math.isnan(share("none", np.ones(0, bool)).value)
    assert counted("all", np.ones(5, bool), lost=2).lost == 2 and math.isnan(counted("none", np.ones(0, bool)).value)


@pytest.fixture(scope="module")
def refuted(tmp_path_factory):
    return counterexamples.run(Context("quick", tmp_path_factory.mktemp("store")))


def test_the_counterexamples_refute(refuted):
    for f in refuted.findings:
        assert judge(f.measurements) is Verdict.CONTRADICTED, f.claim
    c16 = finding(refuted, "C16").measurements
    assert c16[0].value > 500 and c16[0].baseline.value == pytest.approx(0.3207, abs=1e-4) and c16[1].value == 3
    assert c16[2].value == pytest.approx(3.3764, abs=1e-4)
    c17 = finding(refuted, "C17").measurements
    assert [m.value for m in c17] == pytest.approx([1.1279, 0.7473], abs=1e-4)
    assert c17[0].baseline.value == pytest.approx(0.9108, abs=1e-4)


def test_a_spectrum_in_the_disc_everywhere_and_an_orbit_that_diverges():
    net = counterexamples.two_regions()
    for sign, matrix in ((1.0, counterexamples.RIGHT), (-1.0, counterexamples.LEFT)):
        M = torch.tensor(matrix, dtype=torch.float64)
        x = torch.tensor([[sign * 2.0, 0.7], [sign * 0.1, -3.0]], dtype=torch.float64)
        torch.testing.assert_close(net(x), x @ M.T)
        assert float(torch.linalg.eigvals(M).abs().amax()) < 0.93
    rate, path = counterexamples.growth(net)
    # four steps make one linear map again: its growth is that of an eigenvalue
    word = [counterexamples.RIGHT if x[0] >= 0 else counterexamples.LEFT for x in path[20:24].tolist()]
    product = np.linalg.multi_dot([np.array(M) for M in reversed(word)])
    assert rate == pytest.approx(np.abs(np.linalg.eigvals(product)).max() ** 0.25, rel=1e-9) and rate > 1.13


def test_layers_labels_and_the_origin():
    found = [factorisations.realised(BY_NAME[n], range(40)) for n in ("softSVD (0, 1)", "gershgorin (0.99, 1.1)")]
    found.append(factorisations.realised(BY_NAME["gershgorin complex (0, 1)"], range(40)))
    assert judge(factorisations.labels(found).measurements) is Verdict.PARTLY
    origin = factorisations.at_origin(range(1))
    assert judge(origin.measurements) is Verdict.CONTRADICTED
    assert origin.measurements[1].value == 5 and origin.measurements[2].value < 1e-7
    assert origin.measurements[3].value == 0


def test_depth_and_maps_of_one_network():
    found = depth.moduli(range(1), 9)
    assert all(v.shape == (1, 162) for v in found.values()) and len(found) == 24
    assert judge(depth.falls(found).measurements) is Verdict.REPRODUCED
    nets = stacked(BY_NAME["pf (1, 1)"], "selu", 1, (0,), (True,))
    one = regions.maps(nets, 0, 5)
    x = torch.tensor([[-6.0, 3.0]], dtype=torch.float64)
    A = affine(nets.module(0), x).A
    # x1 is the first index
    assert one.spectral[0, 3] == pytest.approx(float(norm_2(A)))
    assert one.total[0, 3] == pytest.approx(float(torch.linalg.eigvals(A).abs().sum()))
    assert (one.frobenius >= one.spectral - 1e-12).all() and (one.spectral >= one.radius - 1e-12).all()


def test_sixty_four_dimensions():
    found = {kind: high_dimension.spectra(kind, range(1), 3, 3) for kind in ("spectral", "symplectic")}
    assert found["spectral"].radius[0] <= found["spectral"].norm[0] <= 0.951**5
    assert found["symplectic"].radius[0] > 1 and found["symplectic"].eigenvalues.shape == (3, 64)
    net = high_dimension.network("pf", 0)
    assert len(net) == 9 and not isinstance(net[-1], torch.nn.ReLU) and net[0].bias is None


def test_columns_say_what_they_are(result):
    assert all(result[name].attrs["long_name"] for name in result) and set(result) == set(ABOUT)
