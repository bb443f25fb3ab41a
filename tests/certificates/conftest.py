"""Maps in Lur'e form, as problems."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from separatrix.certificates.problem import Problem
from separatrix.systems.lure import lure


@pytest.fixture(scope="session")
def problem():
    """Make a Problem from a function or model, its number of components, and perhaps a box."""

    def make(f, n, box=None):
        none = torch.zeros(0, dtype=torch.float64)
        corners = None
        if box is not None:
            corners = tuple(torch.full((n,), float(side), dtype=torch.float64) for side in box)
        return Problem(lure(f, (n,)), n, 0, corners, (none, none))

    return make


@pytest.fixture(scope="session")
def net():
    """Make a network of given widths with normal weights of a given gain, in float64."""

    def make(widths, activation=nn.ReLU, gain=1.0, seed=0, bias=0.3):
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for a, b in pairwise(widths):
            layer = nn.Linear(a, b).double().requires_grad_(False)
            layer.weight.copy_(gain * torch.randn(b, a, generator=generator, dtype=torch.float64) / a**0.5)
            layer.bias.copy_(bias * torch.randn(b, generator=generator, dtype=torch.float64))
            layers += [layer, activation()]
        return nn.Sequential(*layers[:-1])

    return make
