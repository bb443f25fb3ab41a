"""Medians and bands by layer, against sorted values."""

import numpy as np
import pytest

from separatrix.figures import exponents_by_layer
from separatrix.results.errors import ArgumentError


def line(ax, index):
    return ax.lines[1 + 3 * (index - 1)].get_ydata()


def test_median_and_band_are_values_of_the_sample(known_field):
    ds = known_field(shape=(21, 11))
    ax = exponents_by_layer(ds, what="stretch")
    for index in (1, 2):
        ordered = np.sort(ds["stretch"].sel(index=index).values.reshape(3, -1), axis=1)
        assert np.array_equal(line(ax, index), ordered[:, -(-231 // 2) - 1])
        band = ax.collections[index - 1].get_paths()[0].vertices[:, 1]
        assert band.min() == ordered[:, -(-231 // 10) - 1].min()
        assert band.max() == ordered[:, int(np.ceil(231 * 0.9)) - 1].max()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["first", "second", "output"]


def test_zero_values_count_as_minus_infinity_and_missing_ones_do_not_count(known_field, spoil):
    ds = known_field(shape=(20, 10))
    clean = line(exponents_by_layer(ds), 1)
    most = np.s_[:, 1, :15, :, :]
    assert np.isnan(line(exponents_by_layer(spoil(ds.copy(deep=True), "SINGULAR", most)), 1)[1])
    half_known = line(exponents_by_layer(spoil(ds.copy(deep=True), "NONFINITE", most)), 1)
    rest = np.sort(ds["exponent"].sel(index=1).values[0, 1, 15:].ravel())
    assert half_known[1] == rest[24] and half_known[0] == clean[0]
    gone = line(exponents_by_layer(spoil(ds.copy(deep=True), "MISSING", np.s_[:, 2, :, :, 1:])), 2)
    assert np.isnan(gone[2]) and np.isfinite(gone[:2]).all()


def test_layers_that_are_no_cut_are_hollow(known_field):
    ax = exponents_by_layer(known_field(), indices=[1])
    solid, hollow = ax.lines[2], ax.lines[3]
    assert solid.get_xdata().tolist() == [0, 2] and hollow.get_xdata().tolist() == [1]
    assert hollow.get_markerfacecolor() == "white"


def test_bad_arguments(known_field):
    for options, name in (({"band": (0.9, 0.1)}, "band"), ({"what": "gap"}, "what"), ({"indices": [4]}, "index")):
        with pytest.raises(ArgumentError) as caught:
            exponents_by_layer(known_field(), **options)
        assert caught.value.argument == name
