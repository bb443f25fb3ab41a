"""One run of the second stage: some networks of a cell, seen through half of the test points, and point by point."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from separatrix.geometry.layer_sums import layer_sums
from separatrix.geometry.local_ricci import local_ricci
from separatrix.results.dataset import build
from separatrix.results.provenance import provenance
from separatrix.studies.baptista2024.measure import CONVENTIONS, Columns, accuracies
from separatrix.studies.baptista2024.networks import hidden, scaled, trained, untrained
from separatrix.studies.baptista2024.problems import PROBLEMS, problem
from separatrix.sweeps import task

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config

CONVENTION = CONVENTIONS[0]


@task(version="1")
def look_closer(config: Config) -> xr.Dataset:
    """Train a few networks of a cell, sum up the graphs of random halves of the test points, and correlate locally.

    Halves are drawn without replacement, since a bootstrap makes equal points, and each k is halved with them. The same
    halves serve all layers and networks.

    Returns
    -------
    xarray.Dataset
        ``geodesic`` (NaN where not connected) and ``curvature`` (member, k, layer, index), index 0 being all points and
        the others ``config["halves"]`` random halves, in the authors' convention; ``accuracy`` (member). Of the
        follow-up's local version, at ``config["local_k"]`` neighbours with augmented Forman curvature, over input,
        hidden layers and logit (its sigmoid would make points coincide): ``local_mean`` and ``local_negative``
        (member), the mean over points and the share below zero, ``layer_coefficient`` and ``modularity``
        (member, line); all of these once more with ``_untrained`` behind their names.
    """
    setting = PROBLEMS[config["problem"]]
    data = problem(config["problem"], seed=config["data_seed"], train=config["train"], test=config["test"])
    done = trained(config, data, setting.image)
    X, ks = scaled(config, data.X_test, setting.image), np.array(config["ks"])
    rng = np.random.default_rng(config["data_seed"])
    halves = [rng.permutation(len(X))[: len(X) // 2] for _ in range(config["halves"])]
    picks = [(np.arange(len(X)), ks), *((rows, np.maximum(1, ks // 2)) for rows in halves)]
    found = [
        [[layer_sums(x[rows], k, conventions=(CONVENTION,), threads=1) for rows, k in picks] for x in hidden(member, X)]
        for member in done.members
    ]
    dims = ("member", "k", "layer", "index")

    def gather(name: str) -> np.ndarray:
        # (member, layer, index, k) to (member, k, layer, index)
        values = np.array([[[getattr(one, name)[0] for one in layer] for layer in net] for net in found])
        return np.moveaxis(values, -1, 1)

    local: Columns = {}
    for kind, members in (("", done.members), ("_untrained", untrained(config, data))):
        local |= locally(members, X, data.y_test, config["local_k"], kind)
    return build(
        {
            **local,
            "geodesic": (dims, gather("geodesic"), {"long_name": "sum of hop distances over ordered pairs of points"}),
            "curvature": (dims, gather("curvature"), {"long_name": "total Forman curvature"}),
            "accuracy": (("member",), accuracies(done.members, X, data.y_test)),
        },
        {
            "seed": (("member",), np.array(config["seeds"])),
            "k": (("k",), ks),
            "layer": (("layer",), np.arange(1, config["depth"] + 1)),
        },
        {
            "method": "random halves of the test points; local coefficients",
            "provenance": provenance("studies.baptista2024", **config),
        },
    )


def locally(members: list[nn.Module], X: Tensor, y: Tensor | None, k: int, kind: str) -> Columns:
    """Columns of the local coefficients of networks, names with ``kind`` behind them."""
    found = [
        local_ricci(deepcopy(one).double(), X.double(), k, y=y, curvature="augmented", layers="all", threads=1)
        for one in members
    ]
    names = {"local_mean": "mean_rho", "local_negative": "negative", "local_defined": "defined"}
    columns: Columns = {
        f"{name}{kind}": (("member",), np.array([float(one[of].values[0, 0]) for one in found]), {})
        for name, of in names.items()
    }
    for name in ("layer_coefficient", "modularity"):
        columns[f"{name}{kind}"] = (("member", "line"), np.stack([one[name].values[0, 0] for one in found]), {})
    return columns
