"""Results with known numbers: a map (x, y) -> (e^a x, e^b y) bent by a ring, written down by hand."""

import numpy as np
import pytest

from separatrix.results.dataset import build
from separatrix.results.status import Status, flag_attrs


def _known_field(layers=("first", "second", "output"), *, inputs="grid", shape=(41, 31), k=2):
    x, y = np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1])
    X, Y = np.meshgrid(x, y, indexing="ij")
    r = np.hypot(X, Y)
    depth = np.arange(1, len(layers) + 1)
    stretch = np.stack([[d * (2 * np.exp(-(((r - 0.6) / 0.2) ** 2)) - 0.7 * i) for i in range(k)] for d in depth])
    stretch = np.moveaxis(stretch, 1, -1)[None]
    status = np.zeros(stretch.shape, dtype=np.int8)
    with np.errstate(invalid="ignore"):
        radial = np.stack([X, Y], axis=-1) / r[..., None]
    direction = np.broadcast_to(np.nan_to_num(radial), (1, len(layers), *shape, 2)).copy()
    gap = (
        np.full((1, len(layers), *shape), 0.7) * depth[:, None, None] if k > 1 else np.full(stretch.shape[:-1], np.inf)
    )
    dims = ("member", "layer", "x", "y")
    return build(
        {
            "stretch": ((*dims, "index"), stretch, {"units": "nats"}),
            "exponent": ((*dims, "index"), stretch / depth[:, None, None, None], {"units": "1/layer"}),
            "status": ((*dims, "index"), status, flag_attrs(Status)),
            "gap": (dims, gap, {"units": "nats"}),
            "direction": ((*dims, "axis"), direction),
        },
        {
            "layer": (("layer",), list(layers)),
            "duration": (("layer",), depth),
            "cut": (("layer",), np.array([1, 0, 1], dtype=np.int8)[: len(layers)]),
            "width": (("layer",), np.full(len(layers), 2)),
            "index": (("index",), np.arange(1, k + 1)),
            "x": (("x",), x),
            "y": (("y",), y),
        },
        {
            "method": "chain-forward",
            "form": "singular-value",
            "precision": "float64",
            "provenance": "{}",
            "inputs": inputs,
        },
    )


@pytest.fixture
def known_field():
    return _known_field


@pytest.fixture
def spoil():
    """Put a status (and the value that goes with it) on a corner of a result."""

    def put(ds, name, where=np.s_[:, :, :5, :4, :]):
        ds["status"].values[where] = Status[name]
        for what in ("stretch", "exponent"):
            ds[what].values[where] = {"NONFINITE": np.nan, "MISSING": -np.inf, "SINGULAR": -np.inf}.get(name, -40.0)
        return ds

    return put


@pytest.fixture(autouse=True)
def no_open_figures():
    import matplotlib

    matplotlib.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
