"""What cannot be used is refused with the argument's name and a remedy."""

import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.tangent.boundary import decision_boundary
from separatrix.tangent.boundary_scores import boundary_scores

SQUARE = sx.grid((-1, 1), (-1, 1), shape=8)


def linear(outputs, inputs=2):
    return nn.Linear(inputs, outputs)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()[:, 0]


class Coupled(nn.Module):
    def forward(self, x):
        return x[:, 0] - x[:, 0].mean()


def stacked(x):
    return torch.stack([x[:, 0], x[:, 1]])


CASES = [
    ("grid", (linear(1), torch.zeros(3, 2)), {}, "sx.grid"),
    ("grid", (linear(1, inputs=3), SQUARE), {}, "rejects"),
    ("model", (lambda x: x[:, None, :, None], SQUARE), {}, "(batch, classes)"),
    ("model", (lambda x: x.sum(), SQUARE), {}, "batch"),
    ("model", (Detached(), SQUARE), {}, "detach"),
    ("model", (Coupled(), SQUARE), {}, "depends on the batch"),
    ("model", (nn.Sequential(linear(4), nn.Dropout(0.5)), SQUARE), {}, "eval"),
    ("model", (nn.Linear, SQUARE), {}, "instance"),
    ("output", (lambda x: {"a": x[:, 0]}, SQUARE), {}, "output="),
    ("level", (linear(3), SQUARE), {"level": 0.5}, "compared with one another"),
    ("level", (linear(1), SQUARE), {"level": float("nan")}, "finite"),
    ("level", (linear(1), SQUARE), {"level": "0"}, "finite"),
    ("member", (linear(1), SQUARE), {"member": 1}, "one network"),
    ("member", (stacked, SQUARE), {"member": 2}, "2 members"),
    ("member", (stacked, SQUARE), {"member": -1}, "2 members"),
    ("member", (stacked, SQUARE), {"member": True}, "whole number"),
    ("memory", (linear(1), SQUARE), {"memory": "1B"}, "one point needs"),
]


@pytest.mark.parametrize(
    ("argument", "positional", "keywords", "words"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_a_boundary_cannot_be_found(argument, positional, keywords, words, as_user):
    with pytest.raises(sx.ArgumentError, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        decision_boundary(*positional, **keywords)
    assert caught.value.argument == argument


BOUNDARY = decision_boundary(lambda x: torch.stack([x[:, 0], x[:, 1], -x.sum(1)], dim=1), SQUARE)
SCORES = [
    ("at", (linear(1), [[0.0, 0.0]]), {}, "tensor"),
    ("at", (linear(1), BOUNDARY.drop_vars("first")), {}, "first"),
    ("at", (linear(1), BOUNDARY), {}, "one output"),
    ("at", (linear(2), BOUNDARY), {}, "2 outputs"),
    ("at", (linear(3, inputs=4), BOUNDARY), {}, "rejects"),
    ("distance", (linear(3), BOUNDARY), {"distance": 0}, "positive"),
    ("layer", (linear(3), BOUNDARY), {"layer": "all"}, "give one"),
    ("layers", (linear(3), BOUNDARY), {"layer": "body"}, "there are"),
    ("level", (linear(3), BOUNDARY), {"level": 1.0}, "compared"),
]


@pytest.mark.parametrize(
    ("argument", "positional", "keywords", "words"), SCORES, ids=[f"{i}-{c[0]}" for i, c in enumerate(SCORES)]
)
def test_scores_cannot_be_given(argument, positional, keywords, words, as_user):
    with pytest.raises(sx.ArgumentError, match=words) as caught:
        boundary_scores(*positional, **keywords)
    assert caught.value.argument in (argument, "inputs")
