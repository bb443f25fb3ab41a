"""What ``ridges`` promises: its arguments, its Dataset, what it leaves out and says so."""

import json
import math

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import separatrix as sx
from separatrix.results.errors import ArgumentError
from separatrix.tangent.ridge_newton import RidgeStatus
from separatrix.tangent.ridges import ridges

SQUARE = sx.grid((-1, 1), (-1, 1), shape=41)


def network(end=(), act=nn.Tanh, inputs=2, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(inputs, 12), act(), nn.Linear(12, 8), act(), nn.Linear(8, 2), *end)
    for part in model:
        if isinstance(part, nn.Linear):
            part.weight.data *= 3
    return model


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def field(model):
    return sx.ftle(model, SQUARE, layers="all")


@pytest.fixture(scope="module")
def refined(field, model):
    return ridges(field, model=model)


def same(a, b):
    xr.testing.assert_identical(a.drop_attrs(deep=False), b.drop_attrs(deep=False))
    assert {k: v for k, v in a.attrs.items() if k != "provenance"} == {
        k: v for k, v in b.attrs.items() if k != "provenance"
    }


@pytest.mark.parametrize("given", [False, True])
def test_a_saved_field_gives_the_same_ridges_and_they_survive_their_file(field, model, refined, given, tmp_path):
    found = refined if given else ridges(field)
    assert found.sizes["line"] > 1 and found.method == ("newton" if given else "sub-pixel")
    field.to_netcdf(tmp_path / "field.nc")
    with xr.open_dataset(tmp_path / "field.nc") as back:
        same(ridges(back, model=model if given else None), found)
    found.to_netcdf(tmp_path / "ridges.nc")
    with xr.open_dataset(tmp_path / "ridges.nc") as back:
        same(back.load(), found)
    record = json.loads(found.provenance)
    assert record["function"] == "ridges" and record["settings"]["field"]["layers"] == "all"


def test_lines_are_slices_of_the_points_and_every_point_has_its_numbers(field, refined):
    for found in (ridges(field), refined):
        starts, sizes = found.start.values, found["count"].values
        np.testing.assert_array_equal(starts, np.cumsum(sizes) - sizes)
        assert sizes.sum() == found.sizes["point"] and (np.diff(sizes) <= 0).all() and sizes.min() >= 3
        assert found.position.dims == ("point", "axis")
        for name in ("position", "stretch", "strength", "prominence", "alignment"):
            assert np.isfinite(found[name]).all()
        assert (found.strength > 0).all() and (found.prominence >= 0).all()
        assert ((found.alignment >= 0) & (found.alignment <= 1)).all()
        meanings = dict(zip(found.status.flag_values, found.status.flag_meanings.split(), strict=True))
        assert meanings == {s.value: s.name.lower() for s in RidgeStatus}
        kept = found.accepted - found.dropped_points
        assert kept == found.sizes["point"]
        # successive points of a line are neighbours
        apart = np.linalg.norm(np.diff(found.position, axis=0), axis=1)
        apart = np.delete(apart, starts[1:] - 1)
        assert apart.max() <= 3 * 0.05 + 1e-12


def test_the_sign_of_the_direction_does_not_matter(field, model, refined):
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(*field.direction.shape[:-1], 1))
    flipped = field.assign(direction=field.direction * signs)
    same(ridges(flipped, model=model), refined)
    for options in ({}, {"definition": "height"}, {"smooth": 1.0}):
        same(ridges(flipped, **options), ridges(field, **options))


def test_where_newton_converged_the_derivative_along_v1_vanishes(refined):
    found = refined
    good = found.status.values == RidgeStatus.CONVERGED
    assert good.mean() > 0.9 and found.residual.values[good].max() < 1e-9
    assert found.unconverged_points >= (~good).sum()
    # by differences of fields on tiny grids around the points
    for at in found.position.values[good][::40]:
        small = sx.ftle(network().double(), sx.grid(*[(float(c) - 1e-4, float(c) + 1e-4) for c in at], shape=3))
        f, v = small.stretch.values[0, 0, ..., 0], small.direction.values[0, 0, 1, 1]
        gradient = np.array([f[2, 1] - f[0, 1], f[1, 2] - f[1, 0]]) / 2e-4
        assert abs(gradient @ v) < 1e-4


def test_unconverged_points_stay_where_the_grid_saw_them():
    # the model has one more, very narrow ridge than a coarse grid resolves
    class Narrow(nn.Module):
        def forward(self, x):
            return torch.tanh(300 * (x[:, :1] + 0.3 * x[:, 1:] ** 2)) / 300 + torch.tanh(x[:, :1]) + x[:, :1]

    field = sx.ftle(Narrow(), sx.grid((-1, 1), (-1, 1), shape=25))
    coarse, fine = ridges(field), ridges(field, model=Narrow())
    assert set(coarse.status.values) == {RidgeStatus.SUB_PIXEL} and np.isnan(coarse.residual).all()
    bad = fine.status.values != RidgeStatus.CONVERGED
    assert bad.any() and bad.sum() <= fine.unconverged_points <= bad.sum() + fine.dropped_points
    seen = {tuple(p) for p in coarse.position.values}
    assert all(tuple(p) in seen for p in fine.position.values[bad])
    assert np.isfinite(fine.strength).all()


def test_layers_and_members_are_chosen(field, model):
    last, hidden = ridges(field), ridges(field, layer="hidden")
    assert last.layer == "output" and hidden.layer == "3#1"
    same(ridges(field, layer="3"), hidden)
    alone = sx.ftle(model, SQUARE, layers=["3"])
    np.testing.assert_array_equal(ridges(alone).position, hidden.position)
    np.testing.assert_allclose(
        ridges(alone, model=model).position, ridges(field, layer="3#1", model=model).position, atol=1e-12
    )
    other = network(seed=5)
    both = xr.concat([field, sx.ftle(other, SQUARE, layers="all")], dim="member", data_vars="minimal", coords="minimal")
    assert both.sizes["member"] == 2
    np.testing.assert_array_equal(ridges(both, member=0).position, last.position)
    second = ridges(both, member=1, model=other)
    assert second.member == 1 and (second.status == 0).mean() > 0.8
    with pytest.raises(ArgumentError, match="model: got one whose stretch differs"):
        ridges(both, member=0, model=other)


def test_piecewise_linear_networks_get_a_status():
    model = network(act=nn.ReLU)
    field = sx.ftle(model, sx.grid((-1, 1), (-1, 1), shape=61))
    for given, word in ((None, "rough"), (model, "piecewise-linear")):
        found = ridges(field, model=given)
        assert found.sizes["point"] == found.sizes["line"] == 0
        assert found.attrs["status"].startswith(word) and "piecewise-linear" in found.attrs["status"]
    pooled = nn.Sequential(network(act=nn.LeakyReLU), nn.Unflatten(1, (1, 2)), nn.MaxPool1d(2), nn.Flatten())
    assert ridges(sx.ftle(pooled, SQUARE), model=pooled).attrs["status"].startswith("piecewise-linear")


def test_networks_with_kinks_keep_what_converges():
    model = network(act=nn.ReLU, end=[nn.Tanh()])
    found = ridges(sx.ftle(model, sx.grid((-1, 1), (-1, 1), shape=101)), model=model)
    assert found.attrs["status"].startswith("ok: the network has kinks")
    assert found.unconverged_points > 0 and (found.status == RidgeStatus.CONVERGED).all()


def test_nodes_that_cannot_be_used_are_counted(field):
    spoiled = field.copy(deep=True)
    spoiled["stretch"][:, :, 20, 20] = np.nan
    found = ridges(spoiled)
    assert found.nodes == 41 * 41 and found.masked_border == 41 * 41 - 37 * 37
    assert found.masked_nonfinite == 9 and ridges(field).masked_nonfinite == 0
    marked = field.copy(deep=True)
    marked["status"][:, :, 20, 20] = sx.Status.NONSMOOTH
    assert ridges(marked).masked_nonfinite == 9
    met = field.copy(deep=True)
    met["gap"][:, :, 10:12, 10:12] = 1e-5
    assert ridges(met).masked_gap == ridges(field).masked_gap + 4
    assert ridges(field, gap=0.5).masked_gap > ridges(field).masked_gap + 10


def test_lines_are_joined_across_a_hole():
    neuron = nn.Sequential(nn.Linear(2, 1, dtype=torch.float64), nn.Tanh())
    neuron[0].weight.data, neuron[0].bias.data = torch.tensor([[4.0, 0.5]]).double(), torch.zeros(1).double()
    field = sx.ftle(neuron, SQUARE)
    field["stretch"][:, :, :, 20] = np.nan
    assert ridges(field, join=0).sizes["line"] == 2
    assert ridges(field, join=4.5).sizes["line"] == 1
    assert ridges(field, join=0, shortest=30).dropped_points == ridges(field, join=0).sizes["point"]


def test_prominence_is_the_fall_on_the_lower_side():
    class TwoPeaks(nn.Module):
        """Stretch ln(1 + 2 sech^2(8(x + .4)) + sech^2(8(x - .4)))."""

        def forward(self, x):
            u = x[:, :1]
            return u + torch.tanh(8 * (u + 0.4)) / 4 + torch.tanh(8 * (u - 0.4)) / 8

    found = ridges(sx.ftle(TwoPeaks(), sx.grid((-1, 1), (-1, 1), shape=(401, 9))), model=TwoPeaks())
    assert found.sizes["line"] == 2
    x = np.linspace(-1, 1, 200001)
    f = np.log(1 + 2 / np.cosh(8 * (x + 0.4)) ** 2 + 1 / np.cosh(8 * (x - 0.4)) ** 2)
    high, low, valley = f[x < 0].max(), f[x > 0].max(), f[np.abs(x) < 0.4].min()
    left, right = (found.isel(point=found.position[:, 0] * sign > 0) for sign in (-1, 1))
    np.testing.assert_allclose(left.stretch, high, atol=1e-9)
    np.testing.assert_allclose(right.stretch, low, atol=1e-9)
    # the higher peak falls to the border on either side, the lower one to the valley
    assert f[-1] < f[0] < valley
    np.testing.assert_allclose(left.prominence, high - f[0], atol=1e-3)
    np.testing.assert_allclose(right.prominence, low - valley, atol=1e-3)


def test_height_ridges_agree_where_v1_is_the_direction_of_curvature():
    class Circle(nn.Module):
        def forward(self, x):
            return torch.tanh(6 * (x.norm(dim=1, keepdim=True) - 0.6))

    field = sx.ftle(Circle(), sx.grid((-1, 1), (-1, 1), shape=101))
    found = ridges(field, definition="height")
    assert found.definition == "height" and found.method == "sub-pixel"
    longest = found.isel(point=slice(0, int(found["count"][0])))
    assert found.closed[0] == 1 and longest.sizes["point"] > 200
    assert np.abs(np.linalg.norm(longest.position, axis=1) - 0.6).max() < 5e-4
    np.testing.assert_allclose(longest.alignment, 1, atol=1e-3)


def test_smoothing_is_on_request_and_recorded():
    model = nn.Sequential(nn.Linear(2, 1, dtype=torch.float64), nn.Tanh())
    model[0].weight.data, model[0].bias.data = torch.tensor([[3.0, 2.0]]).double(), torch.zeros(1).double()
    field = sx.ftle(model, sx.grid((-1, 1), (-1, 1), shape=101))
    noisy = field.copy(deep=True)
    noisy["stretch"] = field.stretch + 3e-3 * np.random.default_rng(0).standard_normal(field.stretch.shape)
    assert ridges(noisy).smooth == 0 and ridges(noisy).accepted < 40
    found = ridges(noisy, smooth=4)
    assert found.smooth == 4.0 and found["count"][0] > 90
    # within a cell where the Gaussian is not cut off by the border
    inner = found.position.values[(np.abs(found.position) < 0.75).all("axis")]
    assert len(inner) > 60 and np.abs(inner @ [3, 2]).max() / math.sqrt(13) < 0.02


def test_a_plane_through_a_larger_space():
    gen = torch.Generator().manual_seed(0)
    w = torch.randn(5, generator=gen, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(5, 1, dtype=torch.float64), nn.Tanh())
    model[0].weight.data, model[0].bias.data = w[None], torch.tensor([0.1], dtype=torch.float64)
    origin, e1, e2 = (torch.randn(5, generator=gen, dtype=torch.float64) for _ in range(3))
    plane = sx.plane(0.1 * origin, e1, e2, x=(-1, 1), y=(-2, 1), shape=(61, 80))
    found = ridges(sx.ftle(model, plane), model=model)
    assert found.inputs == "plane" and found.sizes["line"] == 1 and (found.status == 0).all()
    basis = torch.stack([e1, e2])
    inputs = 0.1 * origin + torch.from_numpy(found.position.values) @ basis
    assert (inputs @ w + 0.1).abs().max() < 1e-12
    np.testing.assert_allclose(found.stretch, w.norm().log(), atol=1e-12)
    # second derivative along the unit vector of the plane nearest to w: 2 (w . d)^2
    part = torch.linalg.qr(basis.T)[0].T @ w
    np.testing.assert_allclose(found.strength, 2 * float(part.square().sum()), rtol=1e-11)
    np.testing.assert_allclose(found.alignment, 1, atol=1e-12)
    coarse = ridges(sx.ftle(model, plane))
    assert coarse.sizes == found.sizes
    np.testing.assert_allclose(coarse.position, found.position, atol=2e-3)
    np.testing.assert_allclose(coarse.strength, found.strength, rtol=0.02)


def test_scale_and_output_and_images():
    torch.manual_seed(1)
    image = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)).double()
    image[0].weight.data *= 6
    plane = sx.plane.through(*torch.randn(3, 1, 3, 3), shape=41)
    units = torch.linspace(0.5, 2, 9, dtype=torch.float64)
    soften = lambda z: torch.softmax(z, dim=1)  # noqa: E731
    field = sx.ftle(image, plane, scale=units, output=soften)
    found = ridges(field, model=image, output=soften, input_shape=(1, 3, 3))
    assert found.sizes["line"] > 0 and (found.status == 0).mean() > 0.9
    coarse = ridges(field)
    assert coarse.accepted == found.accepted
    with pytest.raises(ArgumentError, match=r"output: got nothing; the field was made with output="):
        ridges(field, model=image, input_shape=(1, 3, 3))
    with pytest.raises(ArgumentError, match=r"model: .*input_shape="):
        ridges(field, model=image, output=soften)
    with pytest.raises(ArgumentError, match="input_shape"):
        ridges(field, model=image, output=soften, input_shape=(2, 3))
    with pytest.raises(ArgumentError, match="model: got one whose stretch differs"):
        ridges(field, model=image, output=lambda z: z, input_shape=(1, 3, 3))


def test_little_memory_gives_the_same(field, model, refined):
    np.testing.assert_allclose(ridges(field, model=model, memory="2MB").position, refined.position, atol=1e-12)


@pytest.mark.usefixtures("as_user")
def test_what_cannot_be_used_is_refused_by_name(field, model):
    def refused(text, *args, **kwargs):
        with pytest.raises(ArgumentError, match=text):
            ridges(*args, **kwargs)

    refused("field: got a field at points", sx.ftle(model, torch.randn(60, 2)))
    refused("field: got int", 3)
    refused("field: got a field without direction", field.drop_vars("direction"))
    refused("field: got 6 x 41 nodes; ridges need at least 7", field.isel(x=slice(0, 6)))
    refused("not evenly spaced", field.isel(x=[0, 1, 2, 3, 5, 8, 9, 10, 11]))
    refused("not evenly spaced", field.isel(x=slice(None, None, -1)))
    refused("layer: got 'third'; the field holds 1#1, 3#1, output", field, layer="third")
    refused("member: got 1; the field has 1", field, member=1)
    refused("member", field, member=True)
    refused("no usable number", field.assign(stretch=field.stretch * np.nan))
    refused("definition", field, definition="valley")
    refused("definition", field, definition="height", model=model)
    refused("smooth", field, smooth=-1)
    refused("shortest", field, shortest=0)
    refused("gap", field, gap=float("nan"))
    refused("memory", field, memory="much")
    refused("model: got one whose stretch differs from the field's", field, model=network(seed=9))
    refused("model: got one without the layer '3#1'", field, model=nn.Linear(2, 2), layer="3")
    refused("model: got one that rejects inputs of shape", field, model=network(inputs=3))
    refused("model: got str", field, model="net")
    assert ridges(field.isel(x=slice(0, 7), y=slice(0, 7))).attrs["status"] == "ok"
