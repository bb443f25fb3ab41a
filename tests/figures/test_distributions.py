"""Histograms against counts taken by hand."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from separatrix.figures import distribution
from separatrix.figures.distributions import OVERLAP
from separatrix.results.errors import ArgumentError


def test_rows_are_the_counts_at_one_height(known_field):
    ds = known_field()
    ax = distribution(ds, what="stretch", layers=["first", "output"], bins=10)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["first", "output"] and ax.get_yticks().tolist() == [0, -1]
    for row, layer in enumerate(("first", "output")):
        values = ds["stretch"].sel(index=1, layer=layer).values.ravel()
        heights, edges, foot = ax.patches[2 * row + 1].get_data()
        inside = [((values >= a) & (values < b)).sum() for a, b in pairwise(edges)]
        inside[-1] += (values == edges[-1]).sum()
        assert foot == -row and np.allclose((heights - foot) / OVERLAP, np.array(inside) / max(inside))
        assert ax.lines[2 * row + 1].get_xdata()[0] == np.median(values)


def test_forbidden_values_are_left_out_and_counted(known_field, spoil):
    ax = distribution(spoil(known_field(), "BELOW_PRECISION"))
    assert "60 of 3,813" in ax.get_title(loc="right")
    assert ax.get_xlim()[0] >= 0
    for name in ("MISSING", "NONFINITE"):
        ds = spoil(known_field(), name, np.s_[:, 2, :, :, :])
        ax = distribution(ds)
        assert len(ax.patches) == 4 and len(ax.get_yticklabels()) == 3


def test_points_constant_values_and_files(known_field, tmp_path):
    ds = known_field().isel(y=0, drop=True).rename(x="point")
    ds["exponent"].values[:] = 0.5
    ds.to_netcdf(tmp_path / "d.nc")
    with xr.open_dataset(tmp_path / "d.nc") as again:
        ax = distribution(again, layers="output")
        assert ax.get_xlim() == (0, 1) and len(ax.patches) == 2


def test_unknown_quantity(known_field):
    with pytest.raises(ArgumentError, match="what"):
        distribution(known_field(), what="gap")
