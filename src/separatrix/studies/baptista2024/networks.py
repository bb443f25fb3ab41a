"""The networks of the paper, and their training, all seeds of a cell as one ensemble."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.ensembles import make_members, train
from separatrix.geometry.activations import activations

if TYPE_CHECKING:
    from separatrix.data.record import Problem
    from separatrix.ensembles import Trained

WIDTHS = ("narrow", "wide", "bottleneck")
DEPTHS = (5, 11)

DECLARED: dict[str, Any] = {
    "epochs": 50,
    "batch": 32,
    "rate": 1e-3,
    "held_back": 0.2,
    "pixels": 1.0,
    "activation": "relu",
    "labels": "true",
    "untrained": True,
}
"""The authors' one released training script, for all problems, but for ``pixels``: grey values from 0 to 1, and not to
255, with which fewer networks become near-perfect here. ``held_back``: share of the training set, at its end, that
Keras keeps for validation; ``untrained``: whether the same networks before training are measured as well."""

RMSPROP: dict[str, Any] = {"alpha": 0.9, "eps": 1e-7, "centered": False}
"""Keras' constants; torch's defaults are others."""


def widths(pattern: str, depth: int) -> tuple[int, ...]:
    """Units of the hidden layers: narrow (all 25), wide (all 50), bottleneck (50, with 25 in the middle)."""
    if pattern == "bottleneck":
        return (50,) * (depth // 2) + (25,) + (50,) * (depth - depth // 2 - 1)
    return ({"narrow": 25, "wide": 50}[pattern],) * depth


def network(inputs: int, pattern: str, depth: int, activation: str = "relu") -> nn.Sequential:
    """Hidden layers of ReLU (or linear ones), and one output, the logit of the paper's sigmoid."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    before = inputs
    for layer, width in enumerate(widths(pattern, depth), 1):
        parts[f"linear{layer}"] = nn.Linear(before, width)
        if activation == "relu":
            parts[f"relu{layer}"] = nn.ReLU()
        before = width
    parts["readout"] = nn.Linear(before, 1)
    return nn.Sequential(parts)


def factory(config: Any, data: Problem) -> Any:
    """Maker of one network of a cell, with Glorot's initialisation still to be drawn."""
    return partial(network, data.X_train.shape[1], config["widths"], config["depth"], config["activation"])


def scaled(config: Any, X: Tensor, image: bool) -> Tensor:
    """Inputs as the networks get them."""
    return X * config["pixels"] if image else X


def trained(config: Any, data: Problem, image: bool) -> Trained:
    """Train the seeds of a cell side by side.

    The order of the batches is the same for all of them, so that they differ by their initial weights only. Binary
    cross entropy is that of the logit, which is what Keras computes for a sigmoid output. Shuffled labels are those of
    the training points that are trained on; the others are not looked at.
    """
    assert data.y_train is not None
    count = len(data.X_train) - round(config["held_back"] * len(data.X_train))
    y = data.y_train[:count, None].float()
    if config["labels"] == "shuffled":
        y = y[torch.randperm(count, generator=torch.Generator().manual_seed(1))]
    return train(
        factory(config, data),
        (scaled(config, data.X_train[:count], image), y),
        seeds=config["seeds"],
        loss=F.binary_cross_entropy_with_logits,
        optimizer=partial(torch.optim.RMSprop, lr=config["rate"], **RMSPROP),
        epochs=config["epochs"],
        batch_size=config["batch"],
        initialise="glorot",
        accuracy=None,
        memory="4GB",
    )


def untrained(config: Any, data: Problem) -> list[nn.Module]:
    """The networks of a cell as they were before training."""
    return [member.eval() for member in make_members(factory(config, data), config["seeds"], "glorot")]


def hidden(member: nn.Module, X: Tensor) -> list[Tensor]:
    """Values of all hidden layers (point, unit), after their activation, computed in double precision."""
    return list(activations(deepcopy(member).double(), X.double(), "hidden").values())
