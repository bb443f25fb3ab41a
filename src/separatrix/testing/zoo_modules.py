"""The networks of the zoo."""

# ruff: noqa: D102 (what a forward does is what its class says)

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import pairwise

import torch
from torch import Tensor, nn


def mlp(sizes: Collection[int], activation: type[nn.Module]) -> nn.Sequential:
    """Build a multilayer perceptron with a linear output layer; weights are large enough for the maps to bend."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [spread(nn.Linear(fan_in, fan_out)), activation()]
    return nn.Sequential(*layers[:-1])


def spread(linear: nn.Linear) -> nn.Linear:
    """Draw weights of variance 2 / fan-in and biases of variance 1/4, so that no layer is nearly linear."""
    nn.init.normal_(linear.weight, std=(2 / linear.in_features) ** 0.5)
    nn.init.normal_(linear.bias, std=0.5)
    return linear


def without_bias(model: nn.Module) -> nn.Module:
    """Set all biases to zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return model


class FunctionalMLP(nn.Module):
    """A 2-8x3-1 perceptron whose activations are functions called in ``forward``."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([spread(nn.Linear(a, 8)) for a in (2, 8, 8)])
        self.head = spread(nn.Linear(8, 1))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = self.activation(layer(x))
        return self.head(x)


class ResidualBlock(nn.Module):
    """x + W tanh(V x): the addition is inside, so the block is a cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = spread(nn.Linear(width, 2 * width))
        self.outer = spread(nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(torch.tanh(self.inner(x)))


def residual_blocks() -> nn.Sequential:
    """Build a lift, three residual blocks, and a head."""
    blocks = [ResidualBlock(5) for _ in range(3)]
    return nn.Sequential(spread(nn.Linear(3, 5)), *blocks, nn.Tanh(), spread(nn.Linear(5, 2)))


class ResidualRoot(nn.Module):
    """Skip connections added in the model's own ``forward``: the layers beside them are no cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = spread(nn.Linear(3, 5))
        self.first = spread(nn.Linear(5, 5))
        self.second = spread(nn.Linear(5, 5))
        self.head = spread(nn.Linear(5, 2))
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        x = x + self.act(self.first(x))
        x = x + self.act(self.second(x))
        return self.head(x)


def convolution() -> nn.Sequential:
    """Build conv, batch norm and pooling, twice over, and a linear head on 1x8x8 images."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 5),
    )
    for norm in model:
        if isinstance(norm, nn.BatchNorm2d):
            # fresh statistics (0 and 1) would hide a batch norm that is left out or runs on the batch
            assert norm.running_mean is not None and norm.running_var is not None
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.2, 2.0)
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias, std=0.3)
    return model


def layer_norm() -> nn.Sequential:
    """Build a perceptron with layer normalisation before each activation."""
    model = nn.Sequential(
        spread(nn.Linear(4, 7)), nn.LayerNorm(7), nn.Tanh(),
        spread(nn.Linear(7, 7)), nn.LayerNorm(7), nn.Tanh(),
        spread(nn.Linear(7, 3)),
    )  # fmt: skip
    for norm in model:
        if isinstance(norm, nn.LayerNorm):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
    return model


class Tied(nn.Module):
    """One linear layer and one activation, used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = spread(nn.Linear(4, 4))
        self.act = nn.Tanh()
        self.head = spread(nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.act(self.shared(x))
        return self.head(x)


def in_place_relu() -> nn.Sequential:
    """Build a perceptron whose activations overwrite what the linear layers returned."""
    return nn.Sequential(
        spread(nn.Linear(3, 6)), nn.ReLU(inplace=True),
        spread(nn.Linear(6, 6)), nn.ReLU(inplace=True),
        spread(nn.Linear(6, 2)),
    )  # fmt: skip


class InPlaceAdd(nn.Module):
    """Adds onto the value of an earlier layer in place, after that layer has returned it."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = spread(nn.Linear(3, 6))
        self.branch = spread(nn.Linear(6, 6))
        self.head = spread(nn.Linear(6, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        y = self.branch(torch.tanh(x))
        y.add_(x).mul_(0.5)
        return self.head(torch.sigmoid(y))


class DictOutput(nn.Module):
    """Returns a dict, as many published models do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp((3, 6, 6), nn.Tanh)
        self.head = spread(nn.Linear(6, 4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = torch.tanh(self.body(x))
        return {"features": features, "logits": self.head(features)}


class TupleOutput(DictOutput):
    """The same as a tuple, logits first."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        found = super().forward(x)
        return found["logits"], found["features"]
