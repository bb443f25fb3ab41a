"""Fields: what is drawn is what the result says, and nothing that it forbids."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection

from separatrix.figures import field
from separatrix.figures.fields import color_range
from separatrix.figures.style import signed_map
from separatrix.results.errors import ArgumentError


def drawn(ax):
    return ax.images[0].get_array().T


def test_values_axes_and_default_layer(known_field):
    ds = known_field()
    ax = field(ds)
    expected = ds["stretch"].sel(layer="output", index=1).isel(member=0).values
    assert np.array_equal(drawn(ax), expected)
    assert ax.get_title(loc="left") == "output"
    assert ax.get_xlim() == (-1, 1) and ax.get_ylim() == (-1, 1)
    # the image's outer nodes lie on the frame, half a cell inside the image
    assert ax.images[0].get_extent() == pytest.approx([-1.025, 1.025, -1 - 1 / 30, 1 + 1 / 30])


def test_other_quantities_layers_and_members(known_field):
    ds = known_field()
    both = xr.concat([ds, ds + 1], dim="member")
    both["status"] = xr.concat([ds["status"]] * 2, dim="member")
    both["status"].attrs = ds["status"].attrs
    ax = field(both, layer="second", what="exponent", index=2, member=1)
    expected = (ds["exponent"] + 1).sel(layer="second", index=2).isel(member=0).values
    assert np.allclose(drawn(ax), expected, atol=1e-12)
    assert "not a cut" in ax.get_title(loc="left")


def test_a_result_read_from_a_file_draws_the_same(known_field, spoil, tmp_path):
    ds = spoil(known_field(), "NONFINITE")
    ds.to_netcdf(tmp_path / "f.nc")
    with xr.open_dataset(tmp_path / "f.nc") as again:
        a, b = field(ds, directions=True), field(again, directions=True)
        assert np.ma.allequal(drawn(a), drawn(b)) and np.array_equal(drawn(a).mask, drawn(b).mask)
        assert [t.get_text() for t in a.texts] == [t.get_text() for t in b.texts]


@pytest.mark.parametrize("name", ["NONFINITE", "MISSING", "SINGULAR", "BELOW_PRECISION", "UNCONVERGED"])
def test_what_status_forbids_is_hatched_and_counted(known_field, spoil, name):
    ax = field(spoil(known_field(), name))
    assert drawn(ax).mask[:5, :4].all() and drawn(ax).mask.sum() == 20
    assert any(f"{name.lower().replace('_', ' ')}: 20" in t.get_text() for t in ax.texts)
    assert ax.patch.get_hatch()


@pytest.mark.parametrize("name", ["NOT_A_CUT", "NONSMOOTH"])
def test_what_status_only_qualifies_is_shown(known_field, name):
    from separatrix.results.status import Status

    ds = known_field()
    ds["status"].values[:] = Status[name]
    assert not np.ma.getmaskarray(drawn(field(ds))).any()


def test_no_second_value_has_no_gap(known_field):
    ax = field(known_field(k=1), what="gap")
    assert drawn(ax).mask.all() and "no second value: all" in ax.texts[0].get_text()


def test_zero_is_the_neutral_colour_whatever_the_range():
    for low, high in ((-3.0, 3.0), (-1.0, 4.0), (-5.0, 0.5)):
        table = signed_map(low, high)
        middle = np.array(table((0 - low) / (high - low)))
        assert np.ptp(middle[:3]) < 0.06 and middle[:3].min() > 0.9, (low, high)
    # equal steps to either side are equally dark
    table = signed_map(-1, 4)
    dark = [np.dot(table((v + 1) / 5)[:3], (0.21, 0.72, 0.07)) for v in (-1.0, 1.0)]
    assert abs(dark[0] - dark[1]) < 0.08


def test_range_is_given_or_found(known_field):
    values = np.linspace(-1, 3, 1001)
    low, high = color_range(values, None, signed=True)
    assert (low, high) == pytest.approx((-0.98, 2.98))
    assert color_range(np.full(4, np.nan), None, signed=True) == (-1, 1)
    assert color_range(np.full(4, 2.0), None, signed=True) == (0, 2)
    assert field(known_field(), limits=4).images[0].get_clim() == (-4, 4)
    assert field(known_field(), limits=(-1, 2)).images[0].get_clim() == (-1, 2)
    with pytest.raises(ArgumentError, match="limits"):
        field(known_field(), limits=(2, 1))


def test_segments_follow_the_direction_whatever_its_sign(known_field, spoil):
    ds = spoil(known_field(shape=(91, 91)), "NONFINITE", np.s_[:, :, :30, :30, :])
    other = ds.copy(deep=True)
    flip = np.random.default_rng(0).choice([-1.0, 1.0], other["direction"].shape[:-1])
    other["direction"] = other["direction"] * flip[..., None]
    counts = []
    for one in (ds, other):
        ax = field(one, directions=True)
        (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
        segments = np.array([s for s in lines.get_segments()])
        centre, along = segments.mean(axis=1), segments[:, 1] - segments[:, 0]
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        r = np.linalg.norm(centre, axis=1)
        radial = centre[r > 0.05] / r[r > 0.05, None]
        assert np.allclose(np.abs((radial * along[r > 0.05]).sum(1)), 1, atol=1e-6)
        # nothing stands where there is no number
        assert not ((centre[:, 0] < -1 / 3) & (centre[:, 1] < -1 / 3)).any()
        counts.append(len(segments))
    assert counts[0] == counts[1] and 60 <= counts[0] <= 81


def test_segments_in_a_plane_are_as_long_as_what_lies_in_it(known_field):
    lengths = []
    for share in (1.0, 0.25):
        ds = known_field(inputs="plane", shape=(91, 91))
        ds["direction"].values[:] = [0.6 * share, 0.8 * share]
        (lines,) = [c for c in field(ds, directions=True).collections if isinstance(c, LineCollection)]
        lengths.append([np.linalg.norm(b - a) for a, b in lines.get_segments()])
    assert np.allclose(lengths[1], 0.25 * np.array(lengths[0])) and len(lengths[0]) == 81


def test_call_numbers_are_shown_only_where_they_are_needed(known_field):
    ds = known_field(layers=("body.tanh#1", "act#1", "act#2"))
    titles = [field(ds, layer=str(v)).get_title(loc="left") for v in ds["layer"].values]
    assert titles == ["body.tanh", "act#1  (not a cut)", "act#2"]


def test_no_segment_where_two_values_are_equal(known_field):
    ds = known_field()
    ds["gap"].values[:] = 0
    ax = field(ds, directions=True)
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(lines.get_segments()) == 0


def test_given_axes_are_used_and_marked(known_field):
    figure, axes = plt.subplots(1, 2)
    before = len(figure.axes)
    ax = field(known_field(inputs="plane"), axes[1], marks=[(0, 0, "3"), (0.5, 0.5)], colorbar=False)
    assert ax is axes[1] and len(figure.axes) == before and not axes[0].images
    assert [t.get_text() for t in ax.texts] == ["3"] and ax.get_xlabel() == "a"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "third"}, "first, second, output"),
        ({"index": 3}, "k="),
        ({"member": 1}, "counted from 0"),
        ({"what": "strain"}, "stretch"),
    ],
)
def test_what_is_not_there_is_an_error_that_lists_what_is(known_field, options, words):
    with pytest.raises(ArgumentError, match=words) as caught:
        field(known_field(), **options)
    assert caught.value.argument == next(iter(options))


def test_points_are_no_field(known_field):
    points = known_field().isel(y=0, drop=True).rename(x="point")
    with pytest.raises(ArgumentError, match=r"sx\.grid"):
        field(points)
    with pytest.raises(ArgumentError, match="Dataset"):
        field(points.drop_vars("stretch"))
