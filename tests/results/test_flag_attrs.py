"""The attributes that say what integer codes mean, and what is read back from them."""

from enum import IntEnum

import numpy as np
import pytest
import xarray as xr

from separatrix.results.status import Status, flag_attrs, flag_names


class Light(IntEnum):
    GREEN = 0
    LONG_RED = 5


@pytest.mark.parametrize(
    ("flags", "values", "words"),
    [
        (Light, [0, 5], "green long_red"),
        (("a", "b", "c"), [0, 1, 2], "a b c"),
        ({"escape": -1, "undecided": -2}, [-1, -2], "escape undecided"),
    ],
    ids=["enumeration", "words", "mapping"],
)
def test_codes_and_words_stand_side_by_side(tmp_path, flags, values, words):
    attrs = flag_attrs(flags, "a light", dtype=np.int32)
    assert attrs["flag_values"].tolist() == values and attrs["flag_values"].dtype == np.int32
    assert (attrs["flag_meanings"], attrs["long_name"]) == (words, "a light")
    xr.Dataset({"light": ((), np.int32(values[-1]), attrs)}).to_netcdf(tmp_path / "light.nc")
    read = xr.load_dataset(tmp_path / "light.nc").light
    assert flag_names(read.attrs)[int(read)] == words.split()[-1]


def test_a_single_flag_comes_back_from_a_file(tmp_path):
    xr.Dataset({"one": ((), np.int8(0), flag_attrs(["ok"]))}).to_netcdf(tmp_path / "one.nc")
    # netCDF makes a number of an array of one
    assert flag_names(xr.load_dataset(tmp_path / "one.nc").one.attrs) == {0: "ok"}


def test_without_a_name_there_is_none():
    attrs = flag_attrs(Status)
    assert list(attrs) == ["flag_values", "flag_meanings"] and attrs["flag_values"].dtype == np.int8
    assert flag_names(attrs) == {s.value: s.name.lower() for s in Status}
    with pytest.raises(KeyError):
        flag_names({})
