"""Phase portraits: arrows are displacements, orbits are the map's, colours are the basins'."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.quiver import Quiver
from torch import nn

import separatrix as sx
from separatrix.figures import style
from separatrix.figures.phase_portraits import phase_portrait
from separatrix.local.basins import basins
from separatrix.results.errors import ArgumentError
from separatrix.systems import Loop, Map

A = torch.tensor([[0.5, 0.2], [-0.1, 0.8]], dtype=torch.float64)
LINEAR = Map(lambda x: x @ A.T)
TANH = Map(lambda x: torch.tanh(2 * x))


def numpy_step(x):
    return np.asarray(x) @ A.numpy().T


def arrows(ax):
    (found,) = [c for c in ax.collections if isinstance(c, Quiver)]
    return np.asarray(found.XY), np.column_stack([found.U, found.V])


def test_arrows_are_displacements_cut_at_most_of_a_cell():
    ax = phase_portrait(LINEAR, ((-2, -1), (2, 1)), shape=(8, 5), starts=0)
    at, shown = arrows(ax)
    assert len(at) == 40 and np.allclose(np.unique(at[:, 0]), np.arange(-1.75, 2, 0.5))
    moved = numpy_step(at) - at
    cells = np.linalg.norm(moved / [0.5, 0.4], axis=1)
    assert (cells > 1).any() and (cells < 0.8).any()
    assert np.allclose(shown, moved * np.minimum(1, 0.85 / cells)[:, None])
    assert ax.get_xlim() == (-2, 2) and ax.get_ylim() == (-1, 1)


def test_the_background_is_the_length_of_a_step():
    ax = phase_portrait(LINEAR, (-2, 2), starts=0)
    values, extent = ax.images[0].get_array().T, ax.images[0].get_extent()
    assert extent == [-2, 2, -2, 2]
    middles = -2 + 4 * (np.arange(160) + 0.5) / 160
    points = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1)
    assert np.allclose(values, np.linalg.norm(numpy_step(points) - points, axis=-1))


def test_orbits_are_those_of_the_map():
    starts = torch.tensor([[1.0, 0.5], [-1.5, 1.0]])
    ax = phase_portrait(LINEAR, (-2, 2), starts=starts, steps=4)
    lines = [line.get_xydata() for line in ax.lines if line.get_linestyle() == "-"]
    assert len(lines) == 2
    for start, line in zip(starts.numpy(), lines, strict=True):
        x = start.astype(float)
        for point in line:
            assert np.allclose(point, x)
            x = numpy_step(x)
        assert len(line) == 5
    default = phase_portrait(LINEAR, ((-6, -3), (6, 3)))
    first = np.array([line.get_xydata()[0] for line in default.lines if line.get_linestyle() == "-"])
    angle = 0.25 + np.pi / 4 * np.arange(8)
    assert np.allclose(first, np.column_stack([4 * np.cos(angle), 2 * np.sin(angle)]))


def test_basins_colour_the_ground_and_are_named():
    found = basins(TANH, sx.grid((-2, 2), (-2, 2), shape=20))
    ax = phase_portrait(TANH, (-2, 2), basins=found)
    image = ax.images[0]
    assert np.array_equal(image.get_array().T, found["label"].values + 1)
    assert len(np.unique(image.to_rgba(image.get_array()).reshape(-1, 4), axis=0)) == 4
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["fixed point, 25%"] * 4
    marks = np.concatenate([line.get_xydata() for line in ax.lines if line.get_zorder() == 4])
    assert np.allclose(np.sort(marks, axis=0), np.sort(found["position"].values, axis=0))


def test_escape_and_undecided_points_have_the_ground():
    found = basins(Map(lambda x: 2 * x * x.abs()), sx.grid((-1, 1), (-1, 1), shape=20))
    found["label"].values[:3, :3] = -1
    ax = phase_portrait(LINEAR, (-1, 1), basins=found, starts=0)
    values = ax.images[0].get_array().T
    assert values.mask[:3, :3].all() and values.mask.sum() == 9
    assert (values[found["label"].values == -2] == 0).all()
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words[0].startswith("fixed point, 2") and words[1].startswith("escape, 7") and words[2] == "undecided, 2%"


def known_equilibria():
    flags = {"flag_values": np.arange(4), "flag_meanings": "attracting repelling saddle undecided"}
    return xr.Dataset(
        {
            "position": (("point", "axis"), np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])),
            "stability": (("point",), np.array([1, 0, 0], dtype=np.int8), flags),
        }
    )


def test_equilibria_are_marked_by_stability():
    ax = phase_portrait(TANH, (-2, 2), equilibria=known_equilibria(), starts=0)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["repelling", "attracting"]
    marks = {line.get_markerfacecolor(): line.get_xydata() for line in ax.lines if line.get_zorder() == 5}
    assert np.array_equal(marks[style.HALO], [[0, 0]]) and np.array_equal(marks[style.ON_IMAGE], [[1, 1], [-1, 1]])


def test_what_is_not_finite_is_left_out():
    ax = phase_portrait(Map(lambda x: x.sqrt()), (-1, 1), shape=10, starts=[[0.5, 0.5], [-0.5, 0.5]], steps=3)
    at, _ = arrows(ax)
    assert (at > 0).all() and len(at) == 25
    assert ax.images[0].get_array().mask.sum() == 160 * 160 * 3 // 4 and ax.patch.get_hatch()
    paths = [line.get_xydata() for line in ax.lines if line.get_linestyle() == "-"]
    assert np.isfinite(paths[0]).all() and np.isnan(paths[1][1:]).any()


def test_given_axes_and_float32_models():
    _, axes = plt.subplots(1, 2)
    assert phase_portrait(Loop(nn.Linear(2, 2)), (-1, 1), ax=axes[1], colorbar=False) is axes[1] and not axes[0].images


@pytest.mark.parametrize(
    ("system", "box", "options", "message"),
    [
        (LINEAR, (1, -1), {}, r"^box: "),
        (LINEAR, 3.0, {}, r"^box: "),
        (LINEAR, ((-1, -1, -1), (1, 1, 1)), {}, r"^box: "),
        (LINEAR, (-1, 1), {"shape": 1}, r"^shape: got 1"),
        (LINEAR, (-1, 1), {"steps": 0}, r"^steps: got 0"),
        (LINEAR, (-1, 1), {"starts": -1}, r"^starts: got -1"),
        (LINEAR, (-1, 1), {"starts": [[0.0, np.nan]]}, r"^starts: got shape \(1, 2\), or values not finite"),
        (LINEAR, (-1, 1), {"starts": [1.0, 2.0]}, r"^starts: got shape \(2,\)"),
        (LINEAR, (-1, 1), {"basins": xr.Dataset()}, r"^basins: got Dataset without label"),
        (LINEAR, (-1, 1), {"equilibria": xr.Dataset()}, r"^equilibria: got Dataset without position"),
        (Map(torch.tanh, dim=3), (-1, 1), {}, r"^system: got states of 3 components"),
        (Loop(lambda x, u: x + u, torch.zeros(3, 2).double()), (-1, 1), {}, r"^system: got a driven system"),
        (LINEAR, (-1, 1), {"shape": 2.0}, r"^shape: got 2.0"),
        (LINEAR, (-1, 1), {"shape": [5, 5, 5]}, r"^shape: got \[5, 5, 5\]"),
        (LINEAR, sx.plane(torch.zeros(2), torch.eye(2)[0], torch.eye(2)[1]), {}, r"^box: got a plane; .{,200}$"),
        (LINEAR, ((-1, 2), (-3, 4)), {}, r"^box: .*look like ranges, and are corners: \(\[-1, -3\], \[2, 4\]\)"),
        (torch.tanh, (1, -1), {}, r"^box: got \(\[1. 1.\], \[-1. -1.\]\); .*all finite$"),
        (5, (-1, 1), {}, r"^system: got int; give a system, such as sx\.Loop\(model\)"),
        (nn.Linear(3, 3), (-1, 1), {}, r"^system: got a system that rejects .* shows two-dimensional maps"),
        (Map(lambda x: x * np.nan), (-1, 1), {}, r"^system: got a step that gives NaN or infinity everywhere"),
    ],
)
def test_what_makes_no_portrait(system, box, options, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        phase_portrait(system, box, **options)


def test_models_functions_and_grids_are_taken_and_left_as_they_were(as_user):
    loop = Loop(nn.Linear(2, 2).double())
    box = sx.grid((-1, 2), (-3, 4), shape=5)
    for system in (loop, loop.network, lambda x: loop.network(x)):
        ax = phase_portrait(system, box, shape=[np.int64(4), 6], starts=0)
        at, shown = arrows(ax)
        assert ax.get_xlim() == (-1, 2) and ax.get_ylim() == (-3, 4) and len(at) == 24
        moved = loop.network(torch.from_numpy(at)).detach().numpy() - at
        cells = np.linalg.norm(moved / [0.75, 7 / 6], axis=1)
        assert np.allclose(shown, moved * np.minimum(1, 0.85 / cells)[:, None])
    with pytest.raises(ArgumentError, match="no state yet"):
        loop.dim()


def test_basins_of_points_are_no_ground():
    points = torch.rand(20, 2, dtype=torch.float64)
    with pytest.raises(ArgumentError, match=r"^basins: got basins that lie on no grid"):
        phase_portrait(TANH, (-1, 1), basins=basins(TANH, points))
