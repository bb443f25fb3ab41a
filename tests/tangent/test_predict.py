"""Early prediction: areas and intervals against their definitions, no look into the future, and honest baselines."""

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import roc_auc_score

import separatrix as sx
from separatrix.tangent.early_signs import power_law
from separatrix.tangent.held_out import fold
from separatrix.tangent.predict import predict
from separatrix.tangent.roc import areas, interval


def runs(members=400, steps=60, seed=0):
    """Losses that fall to a floor, an indicator that knows the floor and one that knows nothing."""
    rng = np.random.default_rng(seed)
    final = rng.lognormal(size=members)
    time = np.arange(steps)
    loss = 5 * np.exp(-time / 10) * rng.lognormal(sigma=1.0, size=(members, 1)) + 0.01 * final[:, None]
    knows = np.log(final)[:, None] + rng.normal(scale=1.0, size=(members, steps))
    return {"loss": loss, "knows": -knows, "noise": rng.normal(size=(members, steps))}, final


def test_areas_are_those_of_the_definition_with_ties_and_infinities():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 6, size=(3, 70)).astype(float)
    scores[2, :5] = np.inf
    positive = rng.random(70) < 0.4
    found = areas(scores, positive)
    up, down = scores[:, positive], scores[:, ~positive]
    kernel = (up[:, :, None] > down[:, None]) + 0.5 * (up[:, :, None] == down[:, None])
    np.testing.assert_allclose(found.auc, kernel.mean((1, 2)), rtol=1e-14)
    finite = [roc_auc_score(positive, row) for row in scores[:2]]
    np.testing.assert_allclose(found.auc[:2], finite, rtol=1e-14)
    # DeLong's covariance by its definition: structural components
    v10, v01 = kernel.mean(2), kernel.mean(1)
    expected = np.cov(v10) / up.shape[1] + np.cov(v01) / down.shape[1]
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-12)


def test_areas_without_both_kinds_are_missing():
    assert np.isnan(areas(np.ones((2, 5)), np.ones(5, dtype=bool)).auc).all()
    one = areas(np.arange(5.0)[None], np.array([False, False, False, False, True]))
    assert one.auc[0] == 1
    assert np.isnan(one.covariance).all()
    assert all(np.isnan(interval(1.0, 0.0, 0.95)))


def test_intervals_cover_the_true_area():
    from scipy.stats import norm

    rng = np.random.default_rng(2)
    true = norm.cdf(1 / np.sqrt(2))
    inside = 0
    for _ in range(1000):
        score = np.concatenate([rng.normal(1, 1, 40), rng.normal(0, 1, 60)])
        found = areas(score[None], np.arange(100) < 40)
        low, high = interval(found.auc[0], found.covariance[0, 0], 0.95)
        inside += low <= true <= high
    # binomial standard error 7
    assert 925 <= inside <= 975


def test_what_is_known_and_what_is_not():
    history, final = runs()
    found = predict(history, final, at=[5, 30])
    auc = found.auc.sel(time=5)
    assert float(auc.sel(indicator="knows")) > 0.7
    assert float(found.direction.sel(indicator="knows", time=5)) == -1
    assert float(found.auc_low.sel(indicator="knows", time=5)) > 0.6
    assert float(found.gain_low.sel(indicator="knows", time=5)) > 0
    noise = found.sel(indicator="noise", time=5)
    assert float(noise.auc_low) < 0.5 < float(noise.auc_high)
    assert float(noise.gain_low) < 0 < float(noise.gain_high)
    assert list(found.indicator.values[found.baseline.values == 1]) == ["loss", "power_law"]
    assert found.attrs["runs_exploring"] == found.attrs["runs_held_out"] == 200


def test_a_fold_of_the_loss_is_no_news():
    rng = np.random.default_rng(3)
    u = rng.normal(size=600)
    final = np.exp(np.abs(u) + 0.3 * rng.normal(size=600))
    history = {"loss": np.exp(u)[:, None], "fold": np.abs(u)[:, None], "copy": np.exp(u)[:, None]}
    bent, stiff = (predict(history, final, at=0, folds=folds).isel(time=0) for folds in (True, False))
    assert float(stiff.gain_low.sel(indicator="fold")) > 0.2
    assert float(bent.gain.sel(indicator="fold")) < 0.02
    assert float(bent.auc_baselines) > 0.8 and abs(float(stiff.auc_baselines) - 0.5) < 0.1
    assert float(bent.gain.sel(indicator="copy")) == pytest.approx(0, abs=0.01)
    # areas are none of a model's
    assert np.array_equal(bent.auc, stiff.auc)


def test_folds_know_nothing_of_held_out_runs():
    rng = np.random.default_rng(4)
    values, exploring = rng.normal(size=400), np.arange(400) % 2 == 0
    others = np.where(exploring, values, values[::-1] * 3)
    ranks = np.abs(np.argsort(np.argsort(values[exploring])) + 0.5 - 100)
    assert fold(values, exploring)[exploring] == pytest.approx(ranks)
    assert np.array_equal(fold(values, exploring)[exploring], fold(others, exploring)[exploring])


def test_areas_are_of_held_out_runs_alone():
    """Chance is 1/2 on runs that took no part in choosing direction and threshold, and more on those that did."""
    held, explored = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        history = {"loss": rng.random((40, 3)), **{f"n{i}": rng.random((40, 3)) for i in range(5)}}
        found = predict(history, rng.random(40), at=2, seed=seed)
        new = found.baseline.values == 0
        held += list(found.auc.values[new, 0])
        explored += list(found.auc_explore.values[new, 0])
    assert abs(np.mean(held) - 0.5) < 4 * np.std(held) / np.sqrt(len(held))
    assert np.mean(explored) > 0.57


def test_the_future_is_not_seen():
    history, final = runs()
    history["sharpness"] = np.random.default_rng(3).random(history["loss"].shape)
    before = predict(history, final, at=[10, 20], window=5)
    rng = np.random.default_rng(4)
    changed = {name: values.copy() for name, values in history.items()}
    for values in changed.values():
        values[:, 21:] = rng.normal(size=values[:, 21:].shape)
    xr.testing.assert_equal(before, predict(changed, final, at=[10, 20], window=5))
    changed["knows"][:, 20] = rng.normal(size=len(final))
    after = predict(changed, final, at=[10, 20], window=5)
    xr.testing.assert_equal(before.sel(time=10), after.sel(time=10))
    assert float(before.auc.sel(indicator="knows", time=20)) != float(after.auc.sel(indicator="knows", time=20))


def test_baselines_at_a_step():
    history, final = runs()
    rng = np.random.default_rng(5)
    history |= {"sharpness": rng.random((400, 60)), "gradient_norm": rng.random((400, 60))}
    names = predict(history, final, at=20, window=3).indicator.values.tolist()
    assert names == ["loss", "power_law", "gradient_norm", "sharpness", "window_sharpness", "knows", "noise"]
    from separatrix.tangent.early_signs import early_signs

    signs = early_signs({name: v[:, :21] for name, v in history.items()}, np.arange(21), 3, 59)
    np.testing.assert_allclose(signs.values[4], history["sharpness"][:, 18:21].mean(1))


def test_a_power_law_is_continued_exactly():
    steps = np.arange(1, 101)
    rates = np.array([0.3, 1.0, 2.0])
    loss = 3.0 * steps[None] ** -rates[:, None]
    np.testing.assert_allclose(power_law(loss, steps, 10_000), np.log(3.0) - rates * np.log(10_000), rtol=1e-12)
    loss[0, -1] = np.inf
    assert power_law(loss, steps, 10_000)[0] == np.inf
    assert np.isfinite(power_law(loss[:, :1], steps[:1], 10_000)).all()


def test_runs_that_diverged_count_as_high():
    history, final = runs(100)
    final[:30] = np.nan
    for share in (0.1, 0.6):
        found = predict(history, final, at=10, high=share)
        held = found.attrs["high_held_out"]
        assert found.attrs["diverged"] == 30
        assert held < 30 if share == 0.1 else held > 20
    early = np.zeros((100, 60))
    early[:30] = 1
    found = predict(history | {"exploded": early}, final, at=10, high=0.3)
    assert float(found.auc.sel(indicator="exploded").item()) > 0.95


def test_a_loss_that_is_gone_is_the_largest():
    """Half of the runs have diverged at the step, and their losses are NaN; the others say nothing."""
    rng = np.random.default_rng(0)
    final, loss = rng.random(200), rng.random((200, 5))
    final[:100] += 10
    loss[:100, 2:] = np.nan
    loss[:100, :2] *= 0.01  # before, they were the best
    found = predict({"loss": loss, "noise": rng.random((200, 5))}, final, at=[1, 4])
    late = found.sel(time=4)
    assert (late.auc.sel(indicator=["loss", "power_law"]) > 0.99).all()
    assert late.direction.sel(indicator=["loss", "power_law"]).values.tolist() == [1, 1]
    assert int(late.status.sel(indicator="loss")) == 2 and float(late.auc_baselines) > 0.99
    assert float(found.direction.sel(time=1, indicator="loss")) == -1
    # some that diverged beside some that fell: one direction for both
    final[:] = np.linspace(0, 1, 200)
    loss[:] = np.linspace(0.1, 1, 200)[:, None]
    loss[150:, 3:] = np.nan
    assert predict({"loss": loss}, final, at=4).auc.values.min() > 0.95


def test_losses_at_or_below_zero_have_no_power_law():
    loss = np.tile([[1.0, 0.5, 0.25], [1.0, 0.5, 0.0], [1.0, 0.1, -2.0]], 1)
    found = power_law(loss, np.arange(1, 4), 10)
    assert np.isfinite(found[0]) and np.isneginf(found[1:]).all()


def test_shares_are_counted_without_rounding():
    found = predict({"loss": runs(200)[0]["loss"]}, np.arange(200.0), at=5, high=0.7)
    label = np.arange(200.0) > found.attrs["threshold"]
    exploring = np.zeros(200, dtype=bool)
    exploring[np.random.default_rng(0).permutation(200)[:100]] = True
    assert label[exploring].sum() == 70  # 100 * (1 - 0.7) is above 30


def test_small_samples_and_baselines_that_are_all_equal():
    rng = np.random.default_rng(0)
    final = rng.random(16)
    found = predict({"loss": np.ones((16, 5)), "rank": np.tile(final[:, None], 5)}, final, at=4)
    assert found.auc.sel(indicator="loss").item() == 0.5 == found.auc_baselines.item()
    assert found.auc.sel(indicator="rank").item() == 1 and found.gain.sel(indicator="rank").item() == 0.5
    assert found.status.sel(indicator="loss").item() == 1 and np.isnan(found.auc_low).all()


def test_statuses():
    history, final = runs(100)
    history["constant"] = np.ones((100, 60))
    history["holes"] = np.where(np.arange(100)[:, None] % 7 == 0, np.nan, history["knows"])
    found = predict(history, final, at=10)
    flags = dict(zip(found.indicator.values.tolist(), found.status.values[:, 0].tolist(), strict=True))
    assert flags == {"loss": 0, "power_law": 0, "knows": 0, "noise": 0, "constant": 1, "holes": 2}
    assert float(found.auc.sel(indicator="constant").item()) == 0.5


def test_results_are_saved_and_datasets_are_taken(tmp_path):
    history, final = runs(100)
    data = xr.Dataset({k: (("member", "time"), v) for k, v in history.items()}, {"time": 10 * np.arange(60)})
    found = sx.predict(data, final, at=100)
    found.to_netcdf(tmp_path / "found.nc")
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "found.nc"), found)
    assert found.time.values.tolist() == [100]


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"final": np.ones(3)}, "final"),
        ({"final": np.ones(100)}, "final"),
        ({"history": {"noise": np.ones((100, 60))}}, "history"),
        ({"history": {"loss": np.ones((100, 60)), "b": np.ones((100, 6))}}, "history"),
        ({"history": {"loss": xr.DataArray(np.ones((2, 3, 4)), dims=("member", "time", "index"))}}, "history"),
        ({"at": 60}, "at"),
        ({"at": []}, "at"),
        ({"time": [1, 2]}, "time"),
        ({"high": "large"}, "high"),
        ({"high": 1.5}, "high"),
        ({"explore": 0.99}, "explore"),
        ({"level": 95}, "level"),
        ({"window": 0}, "window"),
        ({"seed": -1}, "seed"),
        ({"until": 0}, "until"),
        ({"history": {"loss": np.ones((100, 60)), "power_law": np.ones((100, 60))}}, "history"),
    ],
)
def test_errors_name_the_argument(change, argument):
    history, final = runs(100)
    with pytest.raises(sx.ArgumentError) as caught:
        predict(**{"history": history, "final": final, "at": 10} | change)
    assert caught.value.argument == argument
