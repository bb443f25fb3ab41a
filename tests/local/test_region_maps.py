"""Maps of linear regions: polygons and colours are those of the result."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.collections import PolyCollection
from torch import nn

from separatrix.figures import regions as draw
from separatrix.figures.region_maps import quantity
from separatrix.local.regions import regions
from separatrix.results.errors import ArgumentError
from separatrix.tangent.inputs import plane

matplotlib.use("agg")


@pytest.fixture(scope="module")
def result():
    torch.manual_seed(0)
    return regions(nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2)).double(), ((-2, -1), (2, 1)))


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def polygons(ax):
    (found,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    return found


def test_every_region_is_drawn_in_its_colour(result):
    ax = draw(result)
    drawn = polygons(ax)
    for path, start, count in zip(drawn.get_paths(), result["start"].values, result["count"].values, strict=True):
        np.testing.assert_array_equal(path.vertices[:count], result["vertex"].values[start : start + count])
    norms = np.linalg.svd(result["A"].values)[1][:, 0]
    np.testing.assert_allclose(drawn.get_array(), norms)
    low, high = drawn.get_clim()
    assert low <= 1 <= high
    middle = np.array(drawn.cmap((1 - low) / (high - low)))
    assert np.ptp(middle[:3]) < 0.06 and middle[:3].min() > 0.9
    assert ax.get_xlim() == (-2, 2) and ax.get_ylim() == (-1, 1)
    assert ax.get_title(loc="left") == f"{result.sizes['line']} linear regions"
    assert "‖A‖" in ax.figure.axes[-1].get_ylabel() or any("‖A‖" in c.get_ylabel() for c in ax.child_axes)


def test_other_quantities(result):
    radius = [np.abs(np.linalg.eigvals(A)).max() for A in result["A"].values]
    np.testing.assert_allclose(polygons(draw(result, by="radius")).get_array(), radius)
    np.testing.assert_allclose(polygons(draw(result, by="area")).get_array(), result["area"].values)
    assert polygons(draw(result, by="radius", limits=(0, 3))).get_clim() == (0, 3)
    bare = draw(result, by="none")
    assert polygons(bare).get_array() is None and not bare.child_axes
    _, axes = plt.subplots(1, 2)
    assert draw(result, axes[1], outlines=False) is axes[1]
    assert not axes[0].collections


def test_a_plane_has_its_own_coordinates_and_the_norm_of_all_inputs(tmp_path):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    where = plane.through(*torch.randn(3, 5))
    full, bare = regions(model, where), regions(model, where, input_maps=False)
    ax = draw(full)
    assert ax.get_xlabel() == "a"
    np.testing.assert_allclose(quantity(full, "norm"), np.linalg.norm(full["A"].values, 2, axis=(1, 2)))
    assert (quantity(bare, "norm") <= quantity(full, "norm") * (1 + 1e-12)).all()
    assert (quantity(bare, "norm") < quantity(full, "norm")).any()
    full.to_netcdf(tmp_path / "plane.nc")
    with xr.open_dataset(tmp_path / "plane.nc") as back:
        np.testing.assert_array_equal(polygons(draw(back)).get_array(), polygons(ax).get_array())
    with pytest.raises(ArgumentError, match=r"by: .*not square"):
        draw(full, by="radius")


def test_careless_arguments(result):
    with pytest.raises(ArgumentError, match=r"by: .*area.*piece"):
        draw(result, by="speed")
    with pytest.raises(ArgumentError, match=r"ds: .*sx\.regions"):
        draw(result.drop_vars("vertex"))
    with pytest.raises(ArgumentError, match="limits"):
        draw(result, limits=(2, 1))
