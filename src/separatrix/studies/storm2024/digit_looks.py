"""What trained networks say of test images: their logits, errors and exponents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.data import load
from separatrix.ensembles import predictive_entropy
from separatrix.studies.storm2024.digit_networks import digit_network, digit_run, train_digits
from separatrix.studies.storm2024.networks import unpacked
from separatrix.studies.study import Context
from separatrix.sweeps import Config, Store, sweep
from separatrix.tangent.ftle import ftle

QUICK_STEPS = 400
"""Of training, at the quick scale."""


@dataclass(frozen=True)
class Look:
    """Test images as the members of an ensemble see them.

    Attributes
    ----------
    X, y : Tensor
        Images and classes.
    members : list of nn.Module
    logits : Tensor, shape (member, image, class)
    hidden, readout : ndarray, shape (member, image)
        First exponent at the last hidden layer and at the logits, per layer.
    accuracy : ndarray, shape (member,)
        On the training images, in the last epoch.
    """

    X: Tensor
    y: Tensor
    members: list[nn.Module]
    logits: Tensor
    hidden: np.ndarray
    readout: np.ndarray
    accuracy: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """Which images each member gets wrong, (member, image)."""
        return (self.logits.argmax(-1) != self.y).numpy()

    @property
    def entropy(self) -> np.ndarray:
        """Predictive entropy of all members together, in nats, (image,)."""
        return predictive_entropy(self.logits).numpy()


def ensemble_runs(context: Context, data: str) -> list[dict[str, Any]]:
    """The ensemble of a data set; at paper scale ten members in halves, which are trained side by side."""
    images = len(context.data(data).X_train)
    first = context.seed
    if context.quick:
        images = min(images, 10_000)
        return [digit_run(data, images, tuple(range(first, first + 3)), epochs=round(QUICK_STEPS * 256 / images))]
    return [digit_run(data, images, tuple(range(s, s + 5))) for s in (first, first + 5)]


def trained_runs(context: Context, runs: list[dict[str, Any]]) -> list[Any]:
    """Results of runs, in order; those that the store does not hold are computed."""
    made = sweep(
        train_digits,
        runs,
        store=context.store / "digits",
        workers=context.pick(quick=1, paper=None),
        progress=context.progress,
    )
    return [made.load(run) for run in runs]


def look_at(context: Context, data: str) -> Look:
    """Train the ensemble of a data set, or take it from the store, and show it the test images."""
    runs = ensemble_runs(context, data)
    trained_runs(context, runs)
    return _look(tuple(Config(run) for run in runs), context.store / "digits", context.pick(quick=2000, paper=10_000))


@lru_cache(maxsize=2)
def _look(runs: tuple[Config, ...], store: Path, count: int) -> Look:
    """Two parts of the study look at the same ensemble."""
    problem, results = load(runs[0]["data"]), [Store(store, task=train_digits).load(run) for run in runs]
    assert problem.y_test is not None
    rows = evenly(len(problem.X_test), count)
    X, y = problem.X_test[rows], problem.y_test[rows]
    members = [net for run, one in zip(runs, results, strict=True) for net in unpacked(one, digit_network(run)).members]
    both = np.stack([exponents(net, X, runs[0]["depth"]) for net in members], axis=1)
    with torch.no_grad():
        logits = torch.stack([net(X) for net in members])
    accuracy = np.concatenate([one["accuracy"].values[:, -1] for one in results])
    return Look(X, y, members, logits, both[0], both[1], accuracy)


def evenly(n: int, count: int) -> Tensor:
    """Numbers of ``count`` of n images, or of all: the first images of MNIST's test set are easier than the rest."""
    return torch.arange(n) if count >= n else (torch.arange(count) * n) // count


def exponents(network: nn.Module, X: Tensor, depth: int) -> np.ndarray:
    """First exponents at the last hidden layer and at the logits, (2, image), per layer."""
    field = ftle(network, X, layers=[f"tanh{depth}", "output"])
    return np.asarray(field["exponent"].values[0, :, :, 0])
