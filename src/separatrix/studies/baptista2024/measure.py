"""One run of the sweep: a cell's networks trained, and the neighbour graphs of their layers summed up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.geometry.layer_sums import LayerSums, layer_sums
from separatrix.results.dataset import build
from separatrix.results.provenance import provenance
from separatrix.studies.baptista2024.networks import hidden, scaled, trained, untrained
from separatrix.studies.baptista2024.problems import PROBLEMS, problem
from separatrix.sweeps import task

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config

CONVENTIONS = ("authors-r", "union", "mutual")

SUMS = {
    "geodesic_connected": "sum of hop distances over ordered pairs of points that are connected",
    "unreachable": "ordered pairs of points that are not connected",
    "curvature": "total Forman curvature",
    "components": "components of the graph",
    "diameter": "largest hop distance between points that are connected",
    "edges": "edges (arcs for authors-r)",
}
"""What is kept of each graph; the geodesic sum is that of connected pairs where there are no others."""

Columns = dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]


@task(version="1")
def measure(config: Config) -> xr.Dataset:
    """Train a cell, and sum up the graphs of all hidden layers of its networks, trained and untrained.

    Returns
    -------
    xarray.Dataset
        For each of :data:`SUMS` a variable (member, convention, k, layer), and where the config asks for untrained
        networks one with ``_untrained`` behind its name; ``reciprocity`` (member, k, layer),
        ``unique_rows`` and ``least_connecting_k`` (member, layer) likewise; ``input_...`` the same of the inputs;
        ``accuracy`` and ``accuracy_untrained`` (member) on the test set, and the trained ``weights`` (member, state).
    """
    setting = PROBLEMS[config["problem"]]
    data = problem(config["problem"], seed=config["data_seed"], train=config["train"], test=config["test"])
    began = time.perf_counter()
    done = trained(config, data, setting.image)
    seconds = time.perf_counter() - began
    X, ks = scaled(config, data.X_test, setting.image), config["ks"]
    nets: dict[str, list[nn.Module]] = {"": done.members}
    if config["untrained"]:
        nets["_untrained"] = untrained(config, data)
    columns: Columns = {}
    for kind, members in nets.items():
        columns |= of_layers(members, X, ks, kind)
        columns[f"accuracy{kind}"] = (("member",), accuracies(members, X, data.y_test), {})
    columns |= of_inputs(layer_sums(data.X_test.double(), ks, conventions=CONVENTIONS, threads=1))
    flat = torch.cat([p.detach().flatten(1) for p in done.stack.network.parameters()], 1)
    columns["weights"] = (("member", "state"), flat.numpy(), {"long_name": "parameters in order, after training"})
    columns["outcome"] = (("member",), done.history["outcome"].values, dict(done.history["outcome"].attrs))
    return build(
        columns,
        {
            "seed": (("member",), np.array(config["seeds"])),
            "convention": (("convention",), np.array(CONVENTIONS, dtype=object)),
            "k": (("k",), np.array(ks)),
            "layer": (("layer",), np.arange(1, config["depth"] + 1)),
        },
        {
            "method": "ensemble training; exact neighbours and geodesic sums",
            "points": len(X),
            "training_points": len(data.X_train),
            "training_seconds": seconds,
            "geometry_seconds": time.perf_counter() - began - seconds,
            "provenance": provenance("studies.baptista2024", **config),
        },
    )


def of_layers(members: list[nn.Module], X: Tensor, ks: Any, kind: str = "") -> Columns:
    """Columns of the hidden layers of networks, names with ``kind`` behind them."""
    found = [[layer_sums(x, ks, conventions=CONVENTIONS, threads=1) for x in hidden(member, X)] for member in members]

    def gather(name: str) -> np.ndarray:
        # (member, layer, ...) to (member, ..., layer)
        values = np.array([[getattr(one, name) for one in layers] for layers in found])
        return np.moveaxis(values, 1, -1)

    dims: dict[str, tuple[str, ...]] = {"reciprocity": ("member", "k", "layer")}
    dims |= {name: ("member", "layer") for name in ("unique_rows", "least_connecting_k")}
    names = {**{name: about for name, about in SUMS.items()}, **{name: name.replace("_", " ") for name in dims}}
    whole = ("member", "convention", "k", "layer")
    return {
        f"{name}{kind}": (dims.get(name, whole), gather(name), {"long_name": about}) for name, about in names.items()
    }


def of_inputs(sums: LayerSums) -> Columns:
    """Columns of the graphs of the inputs."""
    columns: Columns = {
        f"input_{name}": (("convention", "k"), getattr(sums, name), {"long_name": about})
        for name, about in SUMS.items()
    }
    columns["input_reciprocity"] = (("k",), sums.reciprocity, {})
    for name in ("unique_rows", "least_connecting_k"):
        columns[f"input_{name}"] = ((), np.array(getattr(sums, name)), {})
    return columns


@torch.no_grad()
def accuracies(members: list[nn.Module], X: Tensor, y: Tensor | None) -> np.ndarray:
    """Share of points on the right side of each network's boundary."""
    assert y is not None
    return np.array([float(((member(X)[:, 0] > 0) == (y > 0)).double().mean()) for member in members])
