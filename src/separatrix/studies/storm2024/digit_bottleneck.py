"""Fig. 4(a): a trained network with two linear neurons before its output shows its last hidden layer in the plane."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.ensembles import train
from separatrix.studies.measurement import Baseline, Measurement, positive
from separatrix.studies.storm2024.ranking import (
    INTERVAL,
    interval,
    resamples,
    spearman,
    spearman_resampled,
    spearman_shuffled,
)


@dataclass(frozen=True)
class Settings:
    """How the two neurons and the output are trained on the frozen hidden layers.

    Attributes
    ----------
    epochs, batch : int
    rate : float
        Of Adam.
    starts : int
        Of so many initial weights the one with the least training loss is shown.
    """

    epochs: int
    batch: int = 256
    rate: float = 0.01
    starts: int = 5

    def described(self) -> str:
        """Settings as text."""
        return (
            f"20 frozen hidden units, 2 linear neurons, 10 logits; Adam {self.rate:g}, batch {self.batch}, "
            f"{self.epochs} epochs; the best of {self.starts} starts by training loss"
        )


@dataclass(frozen=True)
class Picture:
    """Test images in the plane of the two neurons.

    Attributes
    ----------
    trunk : nn.Module
        From an image to its place in the plane.
    places : ndarray, shape (image, 2)
        Local fields of the two neurons.
    y : ndarray, shape (image,)
    error : float
        Of the network with the bottleneck, on the test images.
    """

    trunk: nn.Module
    places: np.ndarray
    y: np.ndarray
    error: float

    @property
    def middles(self) -> np.ndarray:
        """Median of each class, (class, 2)."""
        return np.stack([np.median(self.places[self.y == c], axis=0) for c in range(int(self.y.max()) + 1)])


def flattened(
    net: nn.Module, train_set: tuple[Tensor, Tensor], test_set: tuple[Tensor, Tensor], how: Settings
) -> Picture:
    """Put two linear neurons before the output of a trained network, and train them and the output only."""
    hidden = nn.Sequential(*list(net.children())[:-1])
    with torch.no_grad():
        features, seen = hidden(train_set[0]), hidden(test_set[0])
    trained = train(
        partial(_head, features.shape[1], int(train_set[1].max()) + 1),
        (features, train_set[1]),
        seeds=range(how.starts),
        loss=F.cross_entropy,
        optimizer=partial(torch.optim.Adam, lr=how.rate),
        epochs=how.epochs,
        batch_size=how.batch,
    )
    best = trained.members[int(trained.history["loss"].values[:, -1].argmin())]
    neurons, readout = best.children()
    with torch.no_grad():
        places = neurons(seen)
        wrong = readout(places).argmax(1) != test_set[1]
    return Picture(nn.Sequential(hidden, neurons), places.numpy(), test_set[1].numpy(), float(wrong.double().mean()))


def betweenness(picture: Picture) -> np.ndarray:
    """Distance to the middle of the nearest class over that to the second nearest, (image,); 1 is halfway between."""
    gaps = np.linalg.norm(picture.places[:, None] - picture.middles, axis=2)
    near = np.partition(gaps, 1, axis=1)[:, :2]
    return near[:, 0] / near[:, 1]


def between_clusters(picture: Picture, exponent: np.ndarray, seed: int, draws: int) -> Measurement:
    """Of M4: whether exponents are higher between the clusters of the picture."""
    between = betweenness(picture)
    rho = spearman(exponent, between)
    ends = interval(spearman_resampled(exponent, between, resamples(len(between), draws, seed)), rho)
    null = spearman_shuffled(exponent, between, draws, seed)
    return Measurement(
        "Spearman ρ of the exponent and being between two clusters of the picture, first member",
        rho,
        interval=ends,
        spread_name=INTERVAL if ends else "",
        n=len(between),
        of="test images",
        accept=positive(whole=ends is not None),
        baseline=Baseline("exponents shuffled", float(np.mean(null)), float(np.std(null, ddof=1))),
    )


def _head(inputs: int, classes: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(bottleneck=nn.Linear(inputs, 2), readout=nn.Linear(2, classes)))
