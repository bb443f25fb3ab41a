"""The certificate columns of the 828 cases: against the same question asked of one network, and against its orbits."""

import numpy as np
import pytest
import xarray as xr

import separatrix as sx
from separatrix.studies.drgona2022.cases import BY_NAME
from separatrix.studies.drgona2022.certified import STATEMENTS, VERDICTS, certified
from separatrix.studies.drgona2022.networks import stacked
from separatrix.studies.drgona2022.proved import methods, more_than_norms, never_wrong, table
from separatrix.sweeps.config import Config

NAMES = ("softSVD (0, 1)", "softSVD (1.1, 1.5)")


@pytest.fixture(scope="module")
def result():
    settings = {"settings": NAMES, "starts": 32, "steps": 512, "seconds": 4.0}
    return certified(Config({"activation": "relu", "depth": 1, "seeds": (0,), **settings}))


def test_verdicts_are_those_of_the_networks_that_are_named(result, tmp_path):
    result.to_netcdf(tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as again:
        for place, (name, bias) in enumerate((name, bias) for name in NAMES for bias in (False, True)):
            f = stacked(BY_NAME[name], "relu", 1, (0,), (bias,)).module(0)
            row = again.isel(member=0, point=place)
            assert (str(row.setting.values), bool(row.bias)) == (name, bias)
            for statement in STATEMENTS:
                assert VERDICTS[int(row[statement])] == sx.certify(f, statement, budget=4.0).verdict


def test_small_layers_are_certified_and_large_ones_are_not(result):
    small = result.isel(point=[0, 1])
    assert bool((small["norms_contraction"] == 1).all())
    for statement in STATEMENTS:
        assert bool((small[statement] == 1).all())
    assert float(small["spread"].max()) < 1e-6


def test_what_is_read_off_the_table_agrees_with_it(result):
    proofs = {m.what: m.value for m in more_than_norms(result).measurements}
    assert proofs["contraction certified, networks"] == float((result["contraction"] == 1).sum())
    assert proofs["contraction by norms is certified"] == 1.0
    assert all(m.value == 1.0 or m.n == 0 for m in never_wrong(result).measurements)
    wrong = result.copy(deep=True)
    wrong["stability"][:] = 1
    wrong["spread"][:] = np.inf
    assert never_wrong(wrong).measurements[0].value == 0.0
    assert table(result).rows[0][-1] == "4"
    assert sum(int(row[3]) for row in methods(result).rows) == 12
