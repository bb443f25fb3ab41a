"""A residual network for images, at any width: large where it counts, small where it is compared with dense twins."""

# ruff: noqa: D102 (what a forward does is what its class says)

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(h)) + self.around(x))


class ResNet18(nn.Module):
    """The 18-layer residual network of He et al., arXiv 1512.03385, table 1.

    Parameters
    ----------
    classes : int
        Outputs.
    width : int
        Channels of the first stage; the standard network has 64.
    seed : int
        Of the weights (He's normal initialisation) and of the running statistics, which are not those of a fresh norm.

    Notes
    -----
    Takes images (points, 3, height, width) with sides that are multiples of 32, and is in evaluation mode when made.
    """

    def __init__(self, classes: int = 1000, width: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        stages, before = [], width
        for place in range(4):
            after = width << place
            first = ResidualBlock(before, after, 1 if place == 0 else 2)
            stages.append(nn.Sequential(first, ResidualBlock(after, after, 1)))
            before = after
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(before, classes)
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                std = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
                nn.init.normal_(module.weight, std=std, generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.1, generator=generator)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)  # type: ignore[arg-type]
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        h = F.max_pool2d(F.relu(self.norm(self.stem(x))), 3, 2, 1)
        return self.head(self.stages(h).mean((2, 3)))
