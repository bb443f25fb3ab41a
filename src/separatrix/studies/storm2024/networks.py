"""The networks of the letter, trained as ensembles; one run of a sweep is one architecture in one setting."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from separatrix.data import disc
from separatrix.ensembles import Stack, gaussian, train
from separatrix.ensembles.stack import filled
from separatrix.sweeps import task

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.data.record import Problem
    from separatrix.sweeps.config import Config

POINTS = 40_000

DECLARED: dict[str, Any] = {
    "inputs": "standardised",
    "first": "width",
    "gain": 1.0,
    "batch": 8192,
    "rate": 0.05,
    "momentum": 0.9,
    "epochs": 200,
    "points": POINTS,
}
"""The declared setting of the disc networks. ``first``: what stands for the fan-in in the first layer's variance."""


def perceptron(inputs: int, width: int, depth: int, outputs: int, *, bounded: bool) -> nn.Sequential:
    """``depth`` hidden layers of tanh, and a readout, with tanh where ``bounded``."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in range(1, depth + 1):
        parts[f"linear{layer}"] = nn.Linear(inputs if layer == 1 else width, width)
        parts[f"tanh{layer}"] = nn.Tanh()
    parts["readout"] = nn.Linear(width, outputs)
    if bounded:
        parts["tanh"] = nn.Tanh()
    return nn.Sequential(parts)


def disc_network(config: Config) -> nn.Sequential:
    """2 inputs, ``depth`` hidden layers of ``width`` units, 1 output, tanh everywhere."""
    return perceptron(2, config["width"], config["depth"], 1, bounded=True)


def disc_problem(config: Config) -> Problem:
    """The disc, with its inputs scaled as the config says."""
    return disc(config["points"], standardize=config["inputs"] == "standardised")


@task(version="1")
def train_disc(config: Config) -> xr.Dataset:
    """Train disc networks of one architecture: history, test error and weights (member, state)."""
    problem = disc_problem(config)
    assert problem.y_train is not None and problem.y_test is not None
    trained = train(
        partial(disc_network, config),
        (problem.X_train, problem.y_train[:, None]),
        seeds=config["seeds"],
        loss=F.mse_loss,
        optimizer=partial(torch.optim.SGD, lr=config["rate"], momentum=config["momentum"]),
        epochs=config["epochs"],
        batch_size=config["batch"],
        initialise=partial(
            gaussian, gain=config["gain"], first_fan=config["width"] if config["first"] == "width" else None
        ),
        memory="4GB",
    )
    with torch.no_grad():
        wrong = (trained.stack(problem.X_test)[..., 0] * problem.y_test <= 0).double().mean(1)
    return packed(trained.history, trained.stack).assign(error=("member", wrong.numpy()))


def packed(history: xr.Dataset, stack: Stack) -> xr.Dataset:
    """History with the weights beside it, (member, state), in the order of the parameters."""
    flat = torch.cat([p.detach().flatten(1) for p in stack.network.parameters()], 1)
    return history.assign(weights=(("member", "state"), flat.numpy()))


def unpacked(result: xr.Dataset, network: nn.Module) -> Stack:
    """The trained networks of a result, in evaluation mode; ``network`` is one of their architecture."""
    flat = torch.from_numpy(result["weights"].values)
    shapes = {name: p.shape for name, p in network.named_parameters()}
    parts = flat.split([shape.numel() for shape in shapes.values()], 1)
    state = {name: part.view(-1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    members = [filled(network, {name: value[i].clone() for name, value in state.items()}) for i in range(len(flat))]
    return Stack([member.eval() for member in members])
