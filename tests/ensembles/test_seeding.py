from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from separatrix.ensembles import gaussian, glorot, make_members


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(100, 400), nn.LayerNorm(400), nn.Linear(400, 300))


@pytest.mark.parametrize(
    ("scheme", "deviations", "bias"),
    [
        ("gaussian", (100**-0.5, 400**-0.5), 0.0),
        (partial(gaussian, gain=4.0, bias_std=0.5, first_fan=400), (2 * 400**-0.5, 2 * 400**-0.5), 0.5),
        ("glorot", ((2 / 500) ** 0.5, (2 / 700) ** 0.5), 0.0),
        ("torch", ((1 / 300) ** 0.5, (1 / 1200) ** 0.5), None),
    ],
)
def test_moments_of_initial_weights(scheme, deviations, bias):
    (member,) = make_members(net, [4], scheme)
    for layer, deviation in zip((member[0], member[2]), deviations, strict=True):
        count = layer.weight.numel()
        # five standard errors of a Gaussian's mean and deviation
        assert abs(layer.weight.mean()) < 5 * deviation / count**0.5
        assert layer.weight.std().item() == pytest.approx(deviation, rel=5 / (2 * count) ** 0.5)
        if bias is not None:
            assert layer.bias.std().item() == pytest.approx(bias, rel=5 / (2 * layer.bias.numel()) ** 0.5)
    assert torch.equal(member[1].weight, torch.ones(400))


def test_glorot_is_uniform_within_its_limit():
    (member,) = make_members(net, [0], glorot)
    limit = (6 / 500) ** 0.5
    assert limit * 0.999 < member[0].weight.abs().max() <= limit


def test_a_seed_gives_the_same_member_whoever_else_there_is():
    several = make_members(net, [5, 2, 9], "gaussian")
    (alone,) = make_members(net, [2], "gaussian")
    assert torch.equal(several[1][2].weight, alone[2].weight)
    assert not torch.equal(several[0][2].weight, alone[2].weight)
    torch.manual_seed(2)
    assert torch.equal(make_members(net, [2])[0][0].weight, (torch.manual_seed(2), net())[1][0].weight)
