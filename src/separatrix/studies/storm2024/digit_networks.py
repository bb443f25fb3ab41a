"""The networks that tell images apart, trained as ensembles; one run of a sweep is one width on one data set."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.data import load
from separatrix.ensembles import gaussian, make_members, train
from separatrix.studies.storm2024.networks import packed, perceptron
from separatrix.sweeps import task

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config

LETTER_IMAGES, LETTER_EPOCHS = 60_000, 30
"""What 30 epochs were counted in; smaller data sets are gone through more often, for as many steps."""

DECLARED: dict[str, Any] = {
    "width": 20,
    "depth": 16,
    "batch": 256,
    "rate": 1e-3,
    "decay": 1e-3,
    "threshold_variance": 1e-7,
}
"""The setting of the authors' public code for their first preprint, beside data, images, epochs and seeds."""


def digit_run(data: str, images: int, seeds: tuple[int, ...], *, epochs: int = 0, **changed: Any) -> dict[str, Any]:
    """One run: the first ``images`` training images of a data set; ``epochs`` 0 stands for the letter's steps."""
    epochs = epochs or round(LETTER_EPOCHS * LETTER_IMAGES / images)
    return {**DECLARED, "data": data, "images": images, "epochs": epochs, "seeds": seeds, **changed}


def digit_network(config: Config | dict[str, Any], inputs: int = 784, classes: int = 10) -> nn.Sequential:
    """``depth`` hidden layers of ``width`` tanh units between an image and ten logits."""
    return perceptron(inputs, config["width"], config["depth"], classes, bounded=False)


def untrained(config: Config | dict[str, Any]) -> list[nn.Module]:
    """The networks of a run as they were before training."""
    return [net.eval() for net in make_members(partial(digit_network, config), config["seeds"], _scheme(config))]


@task(version="1")
def train_digits(config: Config) -> xr.Dataset:
    """Train networks of one width: history, test error (member) and weights (member, state)."""
    problem = load(config["data"])
    X, y = problem.X_train[: config["images"]], problem.y_train
    assert y is not None and problem.y_test is not None
    trained = train(
        partial(digit_network, config),
        (X, y[: config["images"]]),
        seeds=config["seeds"],
        loss=F.cross_entropy,
        optimizer=partial(torch.optim.Adam, lr=config["rate"], weight_decay=config["decay"]),
        epochs=config["epochs"],
        batch_size=config["batch"],
        initialise=_scheme(config),
        memory="4GB",
    )
    wrong = errors(trained.members, problem.X_test, problem.y_test)
    return packed(trained.history, trained.stack).assign(error=("member", wrong.double().mean(1).numpy()))


def errors(members: list[nn.Module], X: Tensor, y: Tensor) -> Tensor:
    """Which images each member gets wrong, (member, image)."""
    with torch.no_grad():
        return torch.stack([member(X).argmax(-1) != y for member in members])


def _scheme(config: Config | dict[str, Any]) -> Any:
    return partial(gaussian, bias_std=math.sqrt(config["threshold_variance"]))
