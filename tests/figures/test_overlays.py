"""Ridges and boundaries over a field: what is drawn is what the results hold."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection

from separatrix.figures import field, style
from separatrix.results.dataset import build
from separatrix.results.errors import ArgumentError


def lines(*paths, closed=None, pairs=None, **more):
    count = np.array([len(p) for p in paths], dtype=np.int64)
    position = np.concatenate([*map(np.asarray, paths), np.zeros((0, 2))]).astype(float)
    data = {
        "position": (("point", "axis"), position),
        "start": (("line",), np.cumsum(count) - count),
        "count": (("line",), count),
    }
    if closed is not None:
        data["closed"] = (("line",), np.array(closed, dtype=np.int8))
    if pairs is not None:
        first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        data |= {"first": (("line",), first), "second": (("line",), second)}
    return build(data | more, {}, {"method": "newton"})


ACROSS = np.stack([np.linspace(-0.8, 0.8, 9), np.full(9, 0.2)], 1)
SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def drawn(ax, color):
    """Paths of the lines of this colour."""
    import matplotlib.colors as mc

    found = [c for c in ax.collections if isinstance(c, LineCollection) and c.get_label()[:1] != "_"]
    chosen = [c for c in found if mc.same_color(c.get_colors()[0], color)]
    return [s for c in chosen for s in c.get_segments()]


def test_both_are_drawn_in_their_colours_and_named(known_field):
    ridges = lines(ACROSS, ACROSS - [0, 0.6])
    boundary = lines(SQUARE, closed=[1], pairs=[(-1, -1)])
    ax = field(known_field(), ridges=ridges, boundary=boundary)
    one, two = drawn(ax, style.RIDGE)
    assert np.array_equal(one, ACROSS) and np.array_equal(two, ACROSS - [0, 0.6])
    (ring,) = drawn(ax, style.ON_IMAGE)
    assert np.array_equal(ring, [*SQUARE, SQUARE[0]])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["ridges", "boundary"]
    assert not ax.texts  # a level set has no classes
    assert ax.get_xlim() == (-1, 1) and ax.get_ylim() == (-1, 1)


def test_the_boundary_lies_over_the_ridge_and_both_under_segments_and_marks(known_field):
    ax = field(known_field(), ridges=lines(ACROSS), boundary=lines(ACROSS), directions=True, marks=[(0, 0)])
    named = {c.get_label(): c.get_zorder() for c in ax.collections}
    (mark,) = ax.lines
    segments = max(c.get_zorder() for c in ax.collections)
    assert named["ridge"] < named["boundary"] < segments < mark.get_zorder()
    # each line has a light casing of its own, under it and broader
    casings = [c for c in ax.collections if np.allclose(c.get_colors()[0][:3], 0xFE / 255)]
    assert len(casings) == 2
    for casing, name in zip(casings, ("ridge", "boundary"), strict=True):
        (line,) = [c for c in ax.collections if c.get_label() == name]
        assert casing.get_zorder() < line.get_zorder() and casing.get_linewidth()[0] > line.get_linewidth()[0]


def test_pairs_of_classes_are_named_once_at_their_longest_line(known_field):
    short = np.array([[-0.9, -0.9], [-0.7, -0.9]])
    boundary = lines(short, ACROSS, short + 0.3, pairs=[(0, 2), (0, 2), (1, 2)])
    ax = field(known_field(), boundary=boundary)
    names = {t.get_text(): t for t in ax.texts}
    assert sorted(names) == ["0|2", "1|2"]
    assert names["0|2"].xy == pytest.approx((0, 0.2)) and names["0|2"].get_position() == (0, 0)
    # beside a line that is shorter than its name
    assert names["1|2"].xy == pytest.approx((-0.5, -0.6)) and names["1|2"].get_position() == (0, 9)


def test_nothing_found_is_said(known_field):
    ax = field(known_field(), ridges=lines(), boundary=lines(ACROSS[:1]))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["no ridges", "no boundary"]
    assert field(known_field()).get_legend() is None


def test_results_from_files_are_drawn_the_same(known_field, tmp_path):
    boundary = lines(SQUARE, ACROSS, closed=[1, 0], pairs=[(0, 1), (1, 2)])
    boundary.to_netcdf(tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "b.nc") as again:
        a, b = (field(known_field(), boundary=ds) for ds in (boundary, again))
        for one, other in zip(drawn(a, style.ON_IMAGE), drawn(b, style.ON_IMAGE), strict=True):
            assert np.array_equal(one, other)
        assert [t.get_text() for t in a.texts] == [t.get_text() for t in b.texts] == ["0|1", "1|2"]


@pytest.mark.parametrize("name", ["ridges", "boundary"])
def test_what_holds_no_lines_is_refused(known_field, name):
    with pytest.raises(ArgumentError, match="position") as caught:
        field(known_field(), **{name: known_field()})
    assert caught.value.argument == name


def test_lines_of_another_plane_are_refused(known_field):
    here = {"basis": (("axis", "input"), np.eye(2, 5)), "origin": (("input",), np.zeros(5))}
    there = here | {"origin": (("input",), np.ones(5))}
    plane = known_field(inputs="plane").assign({n: (d, v) for n, (d, v) in here.items()})
    assert len(drawn(field(plane, boundary=lines(ACROSS, **here)), style.ON_IMAGE)) == 1
    with pytest.raises(ArgumentError, match="another plane") as caught:
        field(plane, boundary=lines(ACROSS, **there))
    assert caught.value.argument == "boundary"
