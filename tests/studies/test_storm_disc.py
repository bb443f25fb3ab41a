"""The disc parts of storm2024: what they measure is right where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from separatrix.ensembles import Stack, gaussian, make_members
from separatrix.studies.storm2024 import features, widths
from separatrix.studies.storm2024.disc_measures import RADIUS, Networks, circle, crossing, learned_ring, levels, patch
from separatrix.studies.storm2024.networks import DECLARED, disc_network, disc_problem, packed, train_disc, unpacked
from separatrix.studies.storm2024.runs import field_runs, open_runs, trained_runs, variance_runs, width_runs
from separatrix.studies.study import Context
from separatrix.sweeps.config import Config
from separatrix.testing.twins import dense_jacobian

SMALL = DECLARED | {"width": 6, "depth": 3, "seeds": (0, 1), "epochs": 2, "points": 2000, "batch": 256}


def test_a_crossing_is_interpolated_and_missing_where_there_is_none():
    values = np.array([[-2.0, -1.0, 3.0, -1.0], [1.0, 2.0, 3.0, 4.0], [-4.0, -3.0, -2.0, 0.0]])
    np.testing.assert_array_equal(crossing(values), [1.25, np.nan, 3.0])


def test_the_measured_places():
    torch.testing.assert_close(circle(7).norm(dim=1), torch.full((7,), RADIUS).double())
    assert math.pi * RADIUS**2 == pytest.approx(2), "both classes have half of the square's area of 4"
    assert patch().std() == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("inputs", ["standardised", "raw"])
def test_levels_against_the_twin(inputs):
    config = Config(SMALL | {"inputs": inputs})
    problem = disc_problem(config)
    members = make_members(lambda: disc_network(config), range(2), gaussian)
    nets = Networks(dict(config), Stack(members), np.zeros(2), problem)
    raw = torch.rand(5, 2, dtype=torch.float64) - 0.5
    found = nets.stretch(raw)
    # per standard deviation of the inputs, whatever the network was fed with
    unit = problem.scale if inputs == "standardised" else 1 / math.sqrt(3)
    for member, row in zip(members, found, strict=True):
        hidden = member[:6].double()
        for point, value in zip(raw, row, strict=True):
            fed = (point - problem.mean) / problem.scale if inputs == "standardised" else point
            jacobian = dense_jacobian(hidden, fed[None])[0]
            expected = torch.linalg.svdvals(jacobian)[0].log() + (0 if inputs == "standardised" else math.log(unit))
            assert value == pytest.approx(float(expected), abs=1e-4)
    at = levels(nets)
    assert at["circle"].shape == at["centre"].shape == at["zero level"].shape == (2,)


def test_the_learned_ring_lies_on_the_networks_zero_level():
    config = Config(SMALL | {"epochs": 15})
    result = train_disc(config)
    nets = Networks(dict(config), unpacked(result, disc_network(config)), result["error"].values, disc_problem(config))
    ring = learned_ring(nets)
    for i, points in enumerate(ring):
        known = points[torch.isfinite(points).all(1)]
        if len(known):
            assert nets.output(known)[i].abs().max() < 0.02


def test_weights_survive_their_packing():
    config = Config(SMALL)
    stack = Stack(make_members(lambda: disc_network(config), range(2)))
    back = unpacked(packed(xr.Dataset(), stack), disc_network(config))
    x = torch.randn(4, 2)
    torch.testing.assert_close(back(x), stack(x), rtol=0, atol=0)


def test_fits_recover_a_planted_law():
    rng = np.random.default_rng(1)
    found = {}
    for depth in (8, 12):
        for width in (5, 9, 16, 29, 52):
            centre = math.log(width) - 0.3 * depth + 0.02 * rng.normal(size=10)
            found[depth, width] = {"circle": np.full(10, 3.2), "centre": centre, "error": np.zeros(10)}
        fit = widths.centre_fits(found, depth)
        assert fit["slope"][0] == pytest.approx(1, abs=0.03)
        assert fit["slope"][1] <= 1.0 <= fit["slope"][2] or abs(fit["slope"][0] - 1) < 0.02
        assert fit["C_c"][0] == pytest.approx(0.3, abs=0.005)
        assert fit["ln N_c"][0] == pytest.approx(3.2 + 0.3 * depth, abs=0.05)


def test_saturated_widths_are_left_out_of_the_fits():
    found = {
        (4, width): {"circle": np.full(3, 2.2), "centre": np.full(3, min(2.1, math.log(width) - 1.2))}
        for width in (5, 9, 16, 29, 52, 95, 150)
    }
    assert widths.unsaturated(found, 4) == [5, 9, 16]


def test_zero_thresholds_make_the_task_impossible():
    # odd features, even target: no readout can do better than guessing
    assert features.readout_error(40, 0, 0.0) == pytest.approx(0.5, abs=0.03)
    assert features.readout_error(40, 0, 1.0) < 0.05


def test_every_run_of_every_scale_is_a_config_of_its_own():
    for scale in ("quick", "paper"):
        runs = [*field_runs(scale), *trained_runs(scale), *width_runs(scale)]
        for group in [*open_runs(scale).values(), *variance_runs(scale).values()]:
            runs += group
        for run in runs:
            assert {*DECLARED, "width", "depth", "seeds"} == set(Config(run))


def test_one_part_at_the_smallest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(
        widths, "width_runs", lambda scale: [SMALL | {"width": w, "depth": 2, "epochs": 20} for w in (6, 9)]
    )
    part = widths.run(Context("quick", tmp_path))
    assert [f.claim for f in part.findings] == ["T1", "T2", "T3", "T4", "T5", "T11"]
    assert all(f.not_measured for f in part.findings)
    assert len(part.tables[0].rows) == 2 and "<svg" in str(part.figures[0].picture)
