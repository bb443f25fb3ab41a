"""What a prediction may not know, whether its numbers are those of their definitions, and what it is not given."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

import separatrix as sx
from separatrix.tangent import held_out
from separatrix.tangent.early_signs import Signs, power_law

EXPLORING = np.arange(120) % 2 == 0


def signs(seed=0, baselines=4):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(baselines + 1, 120))
    label = values[0] + values[-1] + rng.normal(size=120) > 0
    names = tuple(f"s{i}" for i in range(baselines + 1))
    return Signs(names, values, np.arange(baselines + 1) < baselines), label


def test_a_model_does_not_know_the_labels_of_held_out_runs():
    given, label = signs()
    turned = np.where(EXPLORING, label, ~label)
    scores = held_out._logistic(list(given.values), label, EXPLORING)
    assert np.array_equal(scores, held_out._logistic(list(given.values), turned, EXPLORING))
    # an area is turned round with the labels that judge it, if they are nothing else
    found, other = (held_out.judge(given, which, EXPLORING, 0.95, True) for which in (label, turned))
    assert found["all"] == pytest.approx(1 - other["all"], abs=1e-12)
    assert np.array_equal(found["direction"], other["direction"])


def test_a_model_does_not_know_the_other_held_out_runs():
    given, label = signs()
    values = given.values.copy()
    values[:, 61:] = np.where(EXPLORING[61:], values[:, 61:], 5 - 9 * values[:, 61:])
    before, after = (held_out._logistic(list(rows), label, EXPLORING) for rows in (given.values, values))
    untouched = np.flatnonzero(~EXPLORING) < 61
    assert np.array_equal(before[untouched], after[untouched]) and not np.array_equal(before, after)


def test_a_fold_is_measured_in_ranks_of_exploring_runs():
    given, label = signs()
    values = given.values.copy()
    values[:, ~EXPLORING] = values[:, ~EXPLORING] / 2 + 1
    folds = []
    for row in values[:4]:
        seen = row[EXPLORING]
        folds.append(np.abs((seen < row[:, None]).sum(1) / 2 + (seen <= row[:, None]).sum(1) / 2 - 30))
    scores = held_out._logistic([*values[:4], *folds], label, EXPLORING)
    found = held_out.judge(given._replace(values=values), label, EXPLORING, 0.95, True)
    assert found["all"] == pytest.approx(roc_auc_score(label[~EXPLORING], scores), abs=1e-12)


def test_many_baselines_of_noise_are_at_chance():
    areas = []
    for seed in range(20):
        given, _ = signs(seed, baselines=12)
        label = np.random.default_rng(100 + seed).random(120) < 0.5
        areas.append(held_out.judge(given, label, EXPLORING, 0.95, True)["all"])
    # one area has a standard error of about 0.075; fitted on all runs the mean is above 0.7
    assert abs(np.mean(areas) - 0.5) < 4 * 0.075 / np.sqrt(20)


def test_the_interval_of_a_gain_is_that_of_a_paired_difference():
    """DeLong's variance of a difference, from the differences of each case's placements."""
    given, label = signs()
    found = held_out.judge(given, label, EXPLORING, 0.9, False)
    base, full = (held_out._logistic(list(given.values[:n]), label, EXPLORING) for n in (4, 5))
    kind = label[~EXPLORING]
    kernels = [(s[kind][:, None] > s[~kind]) + 0.5 * (s[kind][:, None] == s[~kind]) for s in (base, full)]
    change = kernels[1] - kernels[0]
    error = np.sqrt(sum(change.mean(i).var(ddof=1) / change.shape[1 - i] for i in (0, 1)))
    assert found["gain"][-1] == pytest.approx(change.mean(), abs=1e-12)
    reach = norm.ppf(0.95) * error
    assert found["gain_high"][-1] - found["gain"][-1] == pytest.approx(reach, rel=1e-9)
    assert found["gain"][-1] - found["gain_low"][-1] == pytest.approx(reach, rel=1e-9)


def test_a_power_law_is_of_the_later_half():
    steps = np.arange(101)
    loss = np.where(steps < 50, 7.0, 3.0 * np.maximum(steps, 1.0) ** -1.5)[None]
    assert power_law(loss, steps, 1000)[0] == pytest.approx(np.log(3.0) - 1.5 * np.log(1000), rel=1e-12)


def test_baselines_that_were_not_given_are_named():
    rng = np.random.default_rng(0)
    final, array = rng.random(40), rng.random((40, 5))
    alone = sx.predict({"loss": array, "x": array}, final, at=4)
    assert alone.attrs["baselines"] == "loss, power_law"
    assert alone.attrs["baselines_missing"] == "gradient_norm, sharpness, window_sharpness"
    full = sx.predict({"loss": array, "gradient_norm": array, "sharpness": array}, final, at=4)
    assert full.attrs["baselines"] == "loss, power_law, gradient_norm, sharpness, window_sharpness"
    assert full.attrs["baselines_missing"] == "none"


def test_tensors_are_detached():
    rng = np.random.default_rng(0)
    final, array = rng.random(40), rng.random((40, 5))
    weights = torch.tensor(array, requires_grad=True)
    found = sx.predict({"loss": weights}, list(torch.tensor(final, requires_grad=True)), at=torch.tensor([4]))
    assert found.identical(sx.predict({"loss": array}, final, at=[4])) and weights.requires_grad


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"at": None}, "at"),
        ({"at": "4"}, "at"),
        ({"at": True}, "at"),
        ({"at": [[4]]}, "at"),
        ({"history": "loss"}, "history"),
        ({"history": [np.ones((40, 5))]}, "history"),
        ({"history": None}, "history"),
        ({"history": {"loss": [["a"] * 5] * 40}}, "history"),
        ({"history": {"loss": [[1.0], [1.0, 2.0]]}}, "history"),
        ({"history": {"loss": None}}, "history"),
        ({"history": {"loss": np.ones((40, 5), dtype=complex)}}, "history"),
        ({"time": list("abcde")}, "time"),
        ({"time": [0, 1, 2, 3, np.nan]}, "time"),
        ({"final": ["a"] * 40}, "final"),
        ({"final": None}, "final"),
        ({"until": "9"}, "until"),
        ({"until": np.inf}, "until"),
        ({"explore": "half"}, "explore"),
    ],
)
def test_what_is_no_number_is_named(change, argument):
    rng = np.random.default_rng(0)
    given = {"history": {"loss": rng.random((40, 5))}, "final": rng.random(40), "at": 4}
    with pytest.raises(sx.ArgumentError) as caught:
        sx.predict(**given | change)
    assert caught.value.argument == argument and caught.value.got and caught.value.remedy
