"""The first paper: its claims as data, and the Gaussian panel against independent arithmetic."""

import importlib
import importlib.util
import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch

from separatrix.studies import Context, Kind, find_study
from separatrix.studies.storm2024 import gaussian
from separatrix.studies.storm2024.gaussian_model import CRITICAL, NORMAL, OPTIMA, Triangle, curvature, stretch
from separatrix.studies.storm2024.gaussian_training import DROP, RECIPES, Profile, Settings, sample

STUDY = find_study("storm2024")


def test_all_claims_are_there_with_sources_and_parts():
    assert [c.id for c in STUDY.claims] == [f"T{i}" for i in range(1, 12)] + [f"M{i}" for i in range(1, 5)]
    planned = {
        "fields": {"T7", "T8", "T9", "T10"},
        "features": {"T6", "T7"},
        "widths": {"T1", "T2", "T3", "T4", "T5", "T11"},
        "digits": {"M1", "M2", "M3", "M4"},
        "gaussian": set(),
        "predictors": set(),
    }
    assert {p.name: {c.id for c in STUDY.claims if p.name in c.parts} for p in STUDY.parts} == planned
    assert [p.name for p in STUDY.parts if p.beyond] == ["gaussian", "predictors"]
    for claim in STUDY.claims:
        assert claim.claim.endswith(".") and claim.source and claim.target and claim.accept
        assert claim.kind in (Kind.PAPER, Kind.DIGITISED)
        assert all(math.isfinite(v) for v in claim.numbers.values())


def test_the_targets_agree_with_one_another():
    """Numbers that the letter gives twice, by different routes."""
    numbers = {c.id: c.numbers for c in STUDY.claims}
    level = {L: numbers["T1"][f"L={L}"] for L in (2, 4, 8, 12)}
    # N_c = exp(C_d + C_c L) with the level and the fall of each depth
    for L in (2, 4, 8, 12):
        crossover = math.exp(level[L] + numbers["T4"][f"L={L}"] * L)
        assert 1 / 1.15 < crossover / numbers["T5"][f"L={L}"] < 1.15
    assert list(numbers["T6"]) == [name for name in numbers["T7"] if name != "Fig. 2"]


@pytest.mark.parametrize("best", OPTIMA, ids=lambda best: best.name)
def test_the_best_maps_are_those_of_the_densities(best):
    """Posterior, its logit and the mean of the targets, from the two normal densities themselves."""
    alpha, rng = 3.0, np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    means = [side * alpha / 2 * NORMAL.numpy() for side in (-1, 1)]
    low, high = (np.exp(-((x - mean) ** 2).sum(1) / 2) for mean in means)
    expected = {
        "logit, cross entropy": np.log(high / low),
        "probability, cross entropy": high / (low + high),
        "output, squared error on ±1": (high - low) / (low + high),
    }[best.name]
    with torch.no_grad():
        found = best.network(alpha)(torch.from_numpy(x))[:, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("best", OPTIMA, ids=lambda best: best.name)
def test_the_closed_forms_are_derivatives(best):
    """Against 120 digits of mpmath, which are needed where the map has saturated."""
    alpha = 3.0
    maps = {"logit": lambda r: alpha * r, "probability": lambda r: 1 / (1 + mpmath.exp(-alpha * r))}
    form = maps.get(best.name.split(",")[0], lambda r: mpmath.tanh(alpha * r / 2))
    with mpmath.workdps(120):
        for r in (-2.0, -0.3, 0.0, 0.7, 40.0):
            exact = float(mpmath.log(mpmath.diff(form, mpmath.mpf(r))))
            assert float(best.log_stretch(torch.tensor([r], dtype=torch.float64), alpha)) == pytest.approx(
                exact, abs=1e-12
            )
        bend = mpmath.diff(lambda r: mpmath.log(mpmath.diff(form, r)), 0, 2)
        assert float(bend) / alpha**2 == pytest.approx(best.curvature, abs=1e-10)


def naive_log_stretch(triangle, x):
    """Logarithm of the spectral norm of the Jacobian of the posteriors, from the densities in high precision."""
    means = mpmath.matrix(triangle.means.tolist())
    weights = [mpmath.exp(-((x[0] - means[i, 0]) ** 2 + (x[1] - means[i, 1]) ** 2) / 2) for i in range(3)]
    p = [w / sum(weights) for w in weights]
    centre = [sum(p[i] * means[i, j] for i in range(3)) for j in range(2)]
    jacobian = mpmath.matrix(3, 2)
    for i in range(3):
        for j in range(2):
            jacobian[i, j] = p[i] * (means[i, j] - centre[j])
    c = jacobian.T * jacobian
    trace, det = c[0, 0] + c[1, 1], c[0, 0] * c[1, 1] - c[0, 1] * c[1, 0]
    return mpmath.log(trace / 2 + mpmath.sqrt(trace**2 / 4 - det)) / 2


@pytest.mark.parametrize("alpha", [2.0, 4.0])
@pytest.mark.parametrize("a", [0.35, CRITICAL, 0.42, 0.499])
def test_the_facet_of_three_classes(a, alpha):
    triangle, at = Triangle(alpha), torch.tensor([a], dtype=torch.float64)
    point = triangle.on_facet(at)
    with torch.no_grad():
        np.testing.assert_allclose(triangle.network()(point)[0].numpy(), [a, a, 1 - 2 * a], rtol=1e-12)
    with mpmath.workdps(40):
        y = mpmath.mpf(float(point[0, 1]))
        assert float(triangle.log_stretch(at)) == pytest.approx(float(naive_log_stretch(triangle, (0, y))), abs=1e-12)
        bend = float(mpmath.diff(lambda x: naive_log_stretch(triangle, (x, y)), 0, 2))
    assert float(triangle.curvature(at)) == pytest.approx(bend, rel=1e-9, abs=1e-10)
    measured = curvature(triangle.network(), point, torch.tensor([1.0, 0.0]).double(), 0.003 / alpha)
    assert float(measured) == pytest.approx(bend, abs=1e-7)


def test_at_one_half_a_facet_is_that_of_two_classes():
    triangle = Triangle(4.0)
    assert float(triangle.curvature(torch.tensor(0.5, dtype=torch.float64))) == pytest.approx(-(4.0**2) / 2)
    assert float(triangle.curvature(torch.tensor(CRITICAL, dtype=torch.float64))) == pytest.approx(0, abs=1e-12)


def test_the_difference_rule_is_of_eighth_order():
    """Error of ln cosh's curvature against the step: 2^8 for each halving."""
    model, at = OPTIMA[1].network(1.0), torch.zeros(1, 2, dtype=torch.float64)
    errors = [abs(float(curvature(model, at, NORMAL, h)) + 0.5) for h in (0.4, 0.2, 0.1)]
    assert all(7.4 < math.log2(a / b) < 8.3 for a, b in pairwise(errors)), errors


def test_profiles_drop_as_they_should():
    r = np.linspace(-1, 1, 61) * 4 / 3
    values = np.stack([-2 * np.log(np.cosh(1.5 * r)), np.zeros_like(r)])
    drop = Profile("", "", r, values, values, None).drop(3.0, values)
    np.testing.assert_allclose(drop, [DROP, 0.0], atol=1e-12)


def test_training_data_are_the_two_classes():
    settings = Settings(alpha=3.0, seeds=(0,), points=20_000)
    X, t = sample(settings, NORMAL)
    for side in (-1.0, 1.0):
        mine = X[t[:, 0] == side]
        np.testing.assert_allclose(mine.mean(0), side * 1.5 * NORMAL.numpy(), atol=4 / math.sqrt(len(mine)))
        np.testing.assert_allclose(np.cov(mine.T.numpy()), np.eye(2), atol=0.05)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    return gaussian.run(Context("quick", tmp_path_factory.mktemp("store")))


def test_the_panel_holds_to_its_tolerances(part):
    judged = [m for m in part.measurements if m.accept is not None]
    assert len(judged) == 17 and all(m.holds for m in judged), [m for m in judged if not m.holds]
    assert len([m for m in part.measurements if m.what.startswith("trained")]) == 8
    assert all(m.baseline for m in part.measurements if m.what.startswith("trained"))
    assert part.findings == () and part.settings and part.notes


def test_trained_networks_show_the_boundary_at_some_endpoints_only(part):
    """Drops of ln sigma_1 away from the boundary: near the closed forms after training, near none before."""
    names = [f"trained, {recipe.name}, at the {endpoint}" for recipe in RECIPES for endpoint in recipe.endpoints]
    found = [m for m in part.measurements if m.what.startswith("trained")]
    assert [m.what.replace("layer before", "before").split(":")[0] for m in found] == names
    drops = {name: m.value for name, m in zip(names, found, strict=True)}
    assert max(abs(m.baseline.value) for m in found) < 0.3
    assert abs(drops["trained, cross entropy, at the logit"]) < 0.3
    for ridge in ("cross entropy, at the probability", "squared error, linear output, at the output"):
        assert abs(drops[f"trained, {ridge}"] - DROP) < 0.3


def test_figures_have_titles_captions_and_names_of_their_own(part):
    assert len(part.figures) == 4
    for figure in part.figures:
        assert figure.title and figure.caption.endswith(".") and str(figure.picture).startswith("<svg")
    ids = [i for f in part.figures for i in str(f.picture).split(' id="')[1:]]
    names = [i.split('"')[0] for i in ids]
    assert names and len(names) == len(set(names))


def test_parts_that_exist_can_be_run():
    for piece in STUDY.parts:
        if importlib.util.find_spec(piece.module):
            assert callable(importlib.import_module(piece.module).run)


def test_saturated_points_lose_digits_and_the_panel_says_so(part):
    r = torch.tensor([[3.0]], dtype=torch.float64) * NORMAL
    exact = OPTIMA[1].log_stretch(torch.tensor([3.0]).double(), 8.0)
    assert 1e-10 < abs(float(stretch(OPTIMA[1].network(8.0), r) - exact)) < 1e-3
    assert "lose digits" in part.settings["precision"]
