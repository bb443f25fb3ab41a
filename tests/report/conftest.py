"""Small models and data for pages."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from separatrix.data import disc
from separatrix.report.context import Context, Options


def _net(*sizes):
    torch.manual_seed(0)
    parts = []
    for a, b in pairwise(sizes[:-1]):
        parts += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*parts, nn.Linear(*sizes[-2:]))


@pytest.fixture
def net():
    """A function of widths that returns a perceptron with fixed weights."""
    return _net


@pytest.fixture
def quick():
    """Options that take no time, whatever the machine."""
    return Options(resolution=16, points=30, seconds=math.inf)


@pytest.fixture
def context(tmp_path, quick):
    return Context("disc", _net(2, 6, 6, 1).eval(), disc(400), quick, tmp_path, "page")
