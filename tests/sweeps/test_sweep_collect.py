"""Results combined along the names of the grid."""

import json

import numpy as np
import pytest
import xarray as xr
from sweep_tasks import answer, failing, various

from separatrix.results.errors import ArgumentError, SeparatrixWarning
from separatrix.sweeps import Config, Store, collect, sweep


def test_results_stand_at_their_values(tmp_path):
    grid = {"n": [3, 1], "kind": ["b", "a"], "ragged": [False], "widths": [(5, 50), 7]}
    made = sweep(various, grid, store=tmp_path / "store", workers=1)
    found = made.collect()
    assert list(found.sizes.items()) == [("n", 2), ("kind", 2), ("ragged", 1), ("widths", 2), ("x", 2)]
    assert found.n.values.tolist() == [3, 1] and found.widths.values.tolist() == ["[5,50]", "7"]
    assert found.x.dims == ("x",) and found.same.dims == ("x",)
    assert found.other.dims == ("n", "kind", "ragged", "widths") and found.attrs["same"] == 1
    assert "other" not in found.attrs and json.loads(found.attrs["provenance"])["settings"]["runs"] == 8
    for config, run in made:
        place = {"n": config.n, "kind": config.kind, "ragged": config.ragged}
        here = found.sel(place).isel(widths=grid["widths"].index(config.widths))
        for name in ("whole", "text", "flag", "half", "nothing", "time", "other"):
            np.testing.assert_array_equal(here[name].values, run[name].values)
            assert name == "text" or here[name].dtype == run[name].dtype
    found.to_netcdf(tmp_path / "all.nc")
    with xr.open_dataset(tmp_path / "all.nc") as back:
        assert back.load().drop_attrs().identical(found.drop_attrs())
    assert collect(tmp_path / "store").drop_attrs().identical(found.drop_attrs())
    part = collect(made.store, {"n": [1], "kind": ["a", "b"], "ragged": [False], "widths": [7]})
    assert part.widths.values.tolist() == [7]
    for name in part.data_vars:
        np.testing.assert_array_equal(part[name], found[name].sel(n=[1], kind=["a", "b"], widths=["7"]))


def test_configs_one_by_one_stand_along_run(tmp_path):
    grid = [{"n": 1, "ragged": False}, {"n": 4, "ragged": False, "lr": 0.5}]
    found = sweep(various, grid, store=tmp_path / "store", workers=1).collect()
    assert found.whole.dims == ("run", "x") and found.n.dims == ("run",) and found.n.values.tolist() == [1, 4]
    assert found.lr.values.tolist() == ["null", "0.5"]


def test_missing_runs_are_refused_or_shown(bench):
    with pytest.warns(SeparatrixWarning):
        made = sweep(failing, bench.grid(3), store=bench.store, workers=1)
    with pytest.raises(ArgumentError, match=r"1 of 3 runs without a result.*n=1"):
        made.collect()
    found = made.collect(missing="nan").squeeze("log")
    assert found.collected.values.tolist() == [1, 0, 1] and found["count"].dtype == np.float64
    assert np.isnan(found.y.values[1]).all() and np.isnan(found["count"].values[1])
    for n in (0, 2):
        expected = answer(Config({"n": n}))
        np.testing.assert_array_equal(found.y.sel(n=n), expected.y)
    with pytest.raises(ArgumentError, match="refuse"):
        made.collect(missing="zero")


def test_shapes_that_differ_ask_for_iteration(tmp_path):
    made = sweep(various, {"n": [2, 3], "ragged": [True]}, store=tmp_path / "store", workers=1)
    with pytest.raises(ArgumentError, match=r"different form.*iterate instead"):
        made.collect()
    assert [found.sizes["x"] for _, found in made] == [2, 3]


def test_names_of_the_grid_and_of_the_results_must_differ(tmp_path):
    made = sweep(various, {"n": [2], "ragged": [False], "x": [1]}, store=tmp_path / "store", workers=1)
    with pytest.raises(ArgumentError, match="'x', which the results use"):
        made.collect()


def test_an_empty_store_has_no_grid(bench):
    sweep(answer, {"n": [1]}, store=bench.store, workers=1)
    store = Store(bench.store, task=various)
    with pytest.raises(ArgumentError, match="no sweep of sweep_tasks:various"):
        store.grid()
