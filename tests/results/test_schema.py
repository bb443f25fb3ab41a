"""The schema is enforced, and every public result survives its file."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import separatrix as sx
from separatrix.results.dataset import DIMENSIONS, build
from separatrix.results.status import Status

MODEL = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1), nn.Tanh(), nn.Linear(1, 3))


def image_model():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2))


RESULTS = {
    "ftle of points": lambda: sx.ftle(MODEL, torch.randn(5, 2), layers="all", k="all", verify=2, scale="std"),
    "ftle with directions": lambda: sx.ftle(MODEL, torch.randn(5, 2), layers="all", k=2, directions=True),
    "ftle on a grid": lambda: sx.ftle(MODEL, sx.grid((-1, 1), (0, 2), shape=(6, 7)), layers="all"),
    "ftle by Lanczos": lambda: sx.ftle(MODEL, torch.randn(5, 2), method="lanczos", k=1),
    "ftle on a plane": lambda: sx.ftle(image_model(), sx.plane.through(*torch.randn(3, 1, 4, 4), shape=4), k=2),
}


SMOOTH = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1), nn.Tanh())
SQUARE = sx.grid((-1, 1), (-1, 1), shape=15)


LOOPED = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2))


def boundary():
    return sx.decision_boundary(SMOOTH, SQUARE)


def ridges():
    return sx.ridges(sx.ftle(SMOOTH, SQUARE), model=SMOOTH)


def history():
    X = torch.randn(20, 2)
    return sx.ensembles.train(
        lambda: nn.Linear(2, 1), (X, X[:, :1]), seeds=range(2), loss=nn.functional.mse_loss,
        optimizer=torch.optim.SGD, epochs=2, batch_size=5,
    ).history  # fmt: skip


HENON = sx.Map(lambda x: torch.stack([1 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], -1), dim=2)


def starts():
    return 0.1 * torch.rand(3, 2, dtype=torch.float64)


def losses():
    return torch.rand(40, 3).numpy()


def features():
    return [torch.randn(30, 3) for _ in range(6)]


OTHERS = {
    "exponents": lambda: sx.lyapunov(HENON, starts(), steps=20, every=5, window=10),
    "covariant vectors": lambda: sx.covariant(HENON, starts(), steps=20, vectors=5),
    "prediction": lambda: sx.predict({"loss": losses(), "x": losses()}, np.arange(40.0), at=1),
    "Ricci coefficients": lambda: sx.ricci(features(), k=[5, 8], nulls=5),
    "local Ricci coefficients": lambda: sx.local_ricci(features(), k=5),
    "decision boundary": boundary,
    "ridges": ridges,
    "distance of curves": lambda: sx.curve_distance(ridges(), boundary()),
    "scores of a boundary": lambda: sx.boundary_scores(SMOOTH, boundary()),
    "history of an ensemble": history,
    "spectrum": lambda: sx.spectrum(LOOPED, SQUARE),
    "regions": lambda: sx.regions(LOOPED, (-1, 1)),
    "regions on a plane": lambda: sx.regions(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU()), sx.plane(torch.zeros(3), torch.eye(3)[0], torch.eye(3)[1])
    ),
    "equilibria": lambda: sx.equilibria(sx.Loop(LOOPED), (-2, 2)),
    "basins": lambda: sx.basins(sx.Loop(LOOPED), sx.grid((-1, 1), (-1, 1), shape=5)),
    "basins of points": lambda: sx.basins(sx.Loop(LOOPED), torch.randn(20, 2)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_result_survives_its_file(name, tmp_path):
    torch.manual_seed(0)
    result = OTHERS[name]()
    result.to_netcdf(tmp_path / "result.nc")
    with xr.open_dataset(tmp_path / "result.nc") as back:
        xr.testing.assert_identical(back.load().drop_attrs(deep=False), result.drop_attrs(deep=False))
        json.loads(back.attrs["provenance"])
    for variable in result.variables.values():
        order = [DIMENSIONS.index(d) for d in variable.dims]
        assert order == sorted(order)
        meanings = variable.attrs.get("flag_meanings", "").split()
        assert len(meanings) == len(variable.attrs.get("flag_values", []))


@pytest.mark.parametrize("name", RESULTS)
def test_every_public_result_survives_its_file(name, tmp_path):
    torch.manual_seed(0)
    result = RESULTS[name]()
    result.to_netcdf(tmp_path / "result.nc")
    with xr.open_dataset(tmp_path / "result.nc") as back:
        xr.testing.assert_identical(back.load().drop_attrs(deep=False), result.drop_attrs(deep=False))
        for key, value in result.attrs.items():
            np.testing.assert_array_equal(back.attrs[key], value)
        json.loads(back.attrs["provenance"])
        assert back.layer.dtype.kind in "OUT" and all("#" in v or v == "output" for v in back.layer.values.tolist())


@pytest.mark.parametrize("name", RESULTS)
def test_every_public_result_follows_the_schema(name):
    torch.manual_seed(0)
    result = RESULTS[name]()
    for variable in result.data_vars.values():
        order = [DIMENSIONS.index(d) for d in variable.dims]
        assert order == sorted(order)
    assert result.stretch.dims[:2] == ("member", "layer") and result.stretch.dims[-1] == "index"
    assert result.stretch.dtype == result.exponent.dtype == np.float64
    values = np.where(np.isneginf(result.stretch), -1e9, result.stretch)
    assert (np.diff(values, axis=-1) <= 0).all()
    np.testing.assert_allclose(result.exponent * result.duration, result.stretch)
    attrs = result.status.attrs
    meanings = dict(zip(attrs["flag_values"].tolist(), attrs["flag_meanings"].split(), strict=True))
    assert meanings == {s.value: s.name.lower() for s in Status}
    assert set(np.unique(result.status)) <= set(meanings)


def test_the_builder_refuses_what_breaks_the_schema():
    good = (("layer", "point"), np.zeros((1, 2)))
    build({"a": good}, {}, {"text": "x", "number": 1.0})
    for data, attrs in [
        ({"a": (("point", "layer"), np.zeros((1, 2)))}, {}),
        ({"a": (("layer", "sample"), np.zeros((1, 2)))}, {}),
        ({"a": (*good, {"flag": True})}, {}),
        ({"a": good}, {"nothing": None}),
        ({"a": good}, {"settings": {"k": 1}}),
    ]:
        with pytest.raises(ValueError, match=r"schema|attribute"):
            build(data, {}, attrs)
