"""What the figures of Ricci coefficients draw, against the numbers of the result."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from separatrix.figures.ricci_curves import neighbour_axis, ricci_curve
from separatrix.figures.ricci_layers import curvature_expansion
from separatrix.figures.ricci_maps import ricci_map
from separatrix.geometry.ricci import ricci
from separatrix.results.errors import ArgumentError


@pytest.fixture(scope="module")
def walks():
    """Three networks whose layers are a random walk."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((7, 3, 40, 3))
    return dict(enumerate(np.cumsum(steps, 0)))


@pytest.fixture(scope="module")
def several(walks):
    return ricci({str(k): v for k, v in walks.items()}, k=[8, 12, 20], convention=("union", "authors-r"), nulls=20)


@pytest.fixture(scope="module")
def one(walks):
    return ricci([v[0] for v in walks.values()], k=[8, 12, 20], nulls=50, subsamples=3)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def line(ax, label):
    return next(found for found in ax.lines if found.get_label() == label).get_ydata()


def test_the_curve_and_its_nulls(one):
    ax = ricci_curve(one)
    cell = one.isel(member=0, convention=0)
    assert np.array_equal(line(ax, "coefficient"), cell.rho) and np.array_equal(
        line(ax, "without a flow: −c/√2"), cell.bias
    )
    assert np.array_equal(line(ax, "layers in random order"), cell.null_layers)
    filled = [m for m in ax.lines if m.get_marker() == "o" and m.get_markerfacecolor() != "white"]
    assert sum(len(m.get_xdata()) for m in filled) == int((cell.p_layers <= 0.05).sum())
    hollow = [m for m in ax.lines if m.get_marker() == "o" and m.get_markerfacecolor() == "white"]
    assert sum(len(m.get_xdata()) for m in hollow) == int((cell.p_layers > 0.05).sum())
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == one.subsample_lowest.min() and band.max() == one.subsample_highest.max()
    low, high = ax.get_ylim()
    assert low <= -1 and high >= 1


def test_an_ensemble_shows_its_members_and_their_pool(several):
    ax = ricci_curve(several, convention="authors-r")
    cell = several.sel(convention="authors-r")
    assert np.array_equal(line(ax, "pooled"), cell.pooled) and np.array_equal(
        line(ax, "pooled, centred"), cell.pooled_centred
    )
    thin = [found.get_ydata() for found in ax.lines if found.get_linewidth() == 0.6]
    assert np.array_equal(thin, cell.rho)
    alone = ricci_curve(several, member=2)
    assert np.array_equal(line(alone, "coefficient"), several.rho[2, 0])


def test_ticks_are_the_numbers_that_were_computed():
    _, ax = plt.subplots()
    neighbour_axis(ax, np.array([6, 7, 9, 10, 15, 18, 20, 30, 50, 90, 100, 120, 140, 150, 160, 180, 200]))
    shown = [t.get_text() for t in ax.get_xticklabels()]
    assert "200" in shown and "6" in shown and len(shown) <= 16
    assert np.array_equal(ax.get_xticks(), [int(t) for t in shown])


def test_marks_are_the_pairs_of_a_layer(several):
    ax = curvature_expansion(several, k=12, member=1, convention="authors-r")
    cell = several.sel(k=12, member=1, convention="authors-r")
    marks = np.asarray(ax.collections[0].get_offsets())
    assert np.array_equal(marks, np.stack([cell.curvature[:-1], cell.expansion[:-1]], 1))
    assert [t.get_text() for t in ax.texts] == ["0", "1", "2", "3", "4", "5"]
    assert ax.get_title(loc="left").startswith("k = 12")
    lowest = several.isel(member=0, convention=0).rho
    assert (
        curvature_expansion(several)
        .get_title(loc="left")
        .startswith(f"k = {int(lowest.k[int(lowest.values.argmin())])},")
    )


def boxes(ax):
    return np.array([text.get_window_extent().extents for text in ax.texts])


def covered(a, b):
    """How many pairs of boxes lie over each other."""
    return int(((a[:, None, :2] < b[None, :, 2:]) & (a[:, None, 2:] > b[None, :, :2])).all(-1).sum())


@pytest.mark.parametrize("scale", [1.0, 1e-3, 0.0], ids=["apart", "crowded", "one place"])
def test_names_cover_no_other_and_no_mark(several, scale):
    # layers 2 to 6 come together about layer 1
    spread = np.where(np.arange(7) > 1, scale, 1.0)
    drawn = several.copy()
    for name in ("curvature", "expansion"):
        ends = several[name].isel(layer=slice(1, 2)).values
        drawn[name] = several[name].copy(data=ends + (several[name] - ends) * spread)
    ax = curvature_expansion(drawn, k=12, member=1)
    ax.figure.draw_without_rendering()
    named, offsets = [int(t.get_text()) for t in ax.texts], np.asarray(ax.collections[0].get_offsets())
    assert named == sorted(named) and {0, 5} <= set(named)
    assert (len(named) == 6) is (scale == 1.0)
    centres = ax.transData.transform(offsets)
    radius = np.sqrt(ax.collections[0].get_sizes()[0]) / 2 * ax.figure.dpi / 72
    assert covered(boxes(ax), np.concatenate([centres - radius, centres + radius], 1)) == 0
    assert covered(boxes(ax), boxes(ax)) == len(named)


def test_of_many_layers_ends_and_extremes_are_named():
    walk = np.cumsum(np.random.default_rng(1).standard_normal((30, 40, 3)), 0)
    ax = curvature_expansion(ricci(list(walk), k=[8]))
    x, y = np.asarray(ax.collections[0].get_offsets()).T
    most = {0, 28, *(int(f(v)) for v in (x, y) for f in (np.argmin, np.argmax))}
    assert {int(t.get_text()) for t in ax.texts} == most


def test_layers_without_an_expansion_have_no_name(several):
    drawn = several.copy(deep=True)
    drawn["expansion"][..., 0] = np.nan
    names = [t.get_text() for t in curvature_expansion(drawn, k=12, member=1).texts]
    assert "0" not in names and "1" in names
    drawn["expansion"][:] = np.nan
    assert not curvature_expansion(drawn, k=12, member=1).texts


def test_the_map_has_a_row_for_each_network(several):
    ax = ricci_map(several, names=["a", "b", "c"])
    assert np.array_equal(ax.images[0].get_array(), several.rho.values[:, 0])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    places = [(p.get_x() + 0.5, p.get_y() + 0.5) for p in ax.patches]
    assert places == [(int(row.argmin()), i) for i, row in enumerate(several.rho.values[:, 0])]
    table = np.array([[np.nan, np.nan], [0.5, -0.5]])
    ax = ricci_map(table, ks=[5, 6])
    assert ax.images[0].get_array().mask.tolist() == [[True, True], [False, False]] and len(ax.patches) == 1
    assert ax.images[0].get_clim() == (-1, 1)


def test_bad_arguments(one, several):
    for call, name in (
        (lambda: ricci_curve(one, convention="mutual"), "convention"),
        (lambda: ricci_curve(several, member=3), "member"),
        (lambda: ricci_curve(one[["bias"]]), "ds"),
        (lambda: curvature_expansion(one, k=9), "k"),
        (lambda: ricci_map(np.zeros((2, 3)), ks=[1, 2]), "ks"),
        (lambda: ricci_map(np.zeros((2, 2)), ks=[1, 2], names=["a"]), "names"),
        (lambda: ricci_map(np.full((2, 2), 1.5), ks=[1, 2]), "values"),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.argument == name
