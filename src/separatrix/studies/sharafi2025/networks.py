"""The networks of a cell as one training: target, loss, optimizer and initial weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import optim
from separatrix.systems.squared_error import half_squared_error
from separatrix.systems.training import Training

ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "relu": nn.ReLU}


def target(name: str, x: Tensor) -> Tensor:
    """Values of the function that is to be learned.

    Raises
    ------
    ArgumentError
        If it is not known.
    """
    known = {
        "sin(πx)": lambda: torch.sin(math.pi * x),
        "sin(2πx)": lambda: torch.sin(2 * math.pi * x),
        "x²": lambda: x**2,
        "step": lambda: (x > 0).to(x.dtype),
    }
    return _chosen("target", name, known)()


def optimizer(config: Any) -> optim.Optimizer:
    """Map of the optimizer.

    Raises
    ------
    ArgumentError
        If it is not known.
    """
    rate = config["rate"]
    known = {
        "gradient descent": lambda: optim.GradientDescent(lr=rate),
        "heavy ball": lambda: optim.HeavyBall(lr=rate, momentum=config["momentum"]),
        "Adam": lambda: optim.Adam(lr=rate),
    }
    made: optim.Optimizer = _chosen("optimizer", config["optimizer"], known)()
    return made


def training(config: Any) -> Training:
    """Full-batch training of 1-nh-1 networks with a linear output, loss (1/2N) sum (y - t)^2, in double precision."""
    x = torch.linspace(-1, 1, config["points"], dtype=torch.float64)[:, None]
    kind = _chosen("activation", config["activation"], ACTIVATIONS)
    network = nn.Sequential(nn.Linear(1, config["hidden"]), kind(), nn.Linear(config["hidden"], 1))
    return Training(network, half_squared_error, (x, target(config["target"], x)), optimizer(config), method="blocks")


def initial_states(config: Any, system: Training) -> Tensor:
    """Initial weights of all members, with an empty memory, (member, state).

    All weights and biases are s N(0, 1), or uniform between -s and s; or s times Glorot's normal ones with biases 0.
    The first members are the same whatever their number.

    Raises
    ------
    ArgumentError
        If the distribution is not known.
    """
    generator = torch.Generator().manual_seed(config["seed"])
    # torch draws the last 16 normal numbers of a tensor in another way: they are left over
    members = config["members"]
    shape = (members + 16, system.count)
    kind, scale = config["distribution"], config["scale"]
    if kind == "uniform":
        weights = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
    elif kind in ("normal", "glorot"):
        weights = torch.randn(shape, generator=generator, dtype=torch.float64)
    else:
        raise ArgumentError("distribution", repr(kind), "choose from normal, uniform, glorot")
    if kind == "glorot":
        for name, place in system.parameters.items():
            weights[:, place] *= 0.0 if name.endswith("bias") else math.sqrt(2 / (1 + config["hidden"]))
    return system.optimizer.start(scale * weights[:members])


def _chosen(what: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise ArgumentError(what, repr(name), f"choose from {', '.join(known)}")
    return known[name]
