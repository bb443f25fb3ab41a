"""The networks of the zoo that read images, beyond plain convolutions: norms of groups and instances, skips, tying."""

# ruff: noqa: D102 (what a forward does is what its class says)

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.testing.zoo_modules import spread


def normalised(norm: nn.Module) -> nn.Sequential:
    """Build a convolution to four channels, a normalisation of them, and a linear head on 1x4x4 images."""
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 2.0)
    layers = (nn.Conv2d(1, 4, 3, padding=1), norm, nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), spread(nn.Linear(16, 3)))
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Down twice and up twice on 1x4x4 images; the values on the way down are joined to those on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)])
        self.bottom = nn.Conv2d(3, 4, 1)
        self.up = nn.ModuleList([nn.ConvTranspose2d(4, 3, 2, stride=2), nn.ConvTranspose2d(3, 2, 2, stride=2)])
        self.join = nn.ModuleList([nn.Conv2d(6, 3, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)])
        self.head = nn.Conv2d(2, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for layer in self.down:
            kept.append(torch.tanh(layer(x)))
            x = F.max_pool2d(kept[-1], 2)
        x = torch.tanh(self.bottom(x))
        for up, join in zip(self.up, self.join, strict=True):
            x = torch.tanh(join(torch.cat([up(x), kept.pop()], dim=1)))
        return self.head(x)


class Autoencoder(nn.Module):
    """A decoder whose weights are the encoder's, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = spread(nn.Linear(5, 3))
        self.bias = nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.encoder(x)), self.encoder.weight.T, self.bias)
