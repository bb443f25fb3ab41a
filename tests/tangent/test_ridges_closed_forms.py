"""Two and three Gaussian classes: when a decision boundary is a ridge, and how strong, in closed form."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.tangent.ridge_exact import ExactField
from separatrix.tangent.ridges import ridges

SPREAD = 0.6
MEANS = torch.tensor([[0.4, -0.2], [-0.5, 0.7]], dtype=torch.float64)
NORMAL = (MEANS[1] - MEANS[0]) / SPREAD**2
ALPHA = float(NORMAL.norm())


class Half(nn.Module):
    """tanh(z/2)."""

    def forward(self, z):
        return torch.tanh(z / 2)


def two_classes(*end):
    """The optimal map for two classes N(mu_k, s^2 I): a function of alpha r, r the distance to the mid plane."""
    model = nn.Sequential(nn.Linear(2, 1, dtype=torch.float64), *end)
    model[0].weight.data = NORMAL[None]
    model[0].bias.data = -(NORMAL @ MEANS.mean(0))[None]
    return model


@pytest.mark.parametrize("end, slope", [(nn.Sigmoid(), ALPHA / 4), (Half(), ALPHA / 2)], ids=["probability", "squared"])
def test_the_boundary_of_two_classes_is_a_ridge(end, slope):
    model = two_classes(end)
    found = ridges(sx.ftle(model, sx.grid((-1.5, 1.5), (-1, 2), shape=(61, 64))), model=model)
    assert found.sizes["line"] == 1 and found.sizes["point"] > 60 and (found.status == 0).all()
    distance = (torch.from_numpy(found.position.values) - MEANS.mean(0)) @ NORMAL / ALPHA
    assert distance.abs().max() < 1e-12
    np.testing.assert_allclose(found.stretch, math.log(slope), atol=1e-12)
    np.testing.assert_allclose(found.strength, ALPHA**2 / 2, rtol=1e-12)
    np.testing.assert_allclose(found.alignment, 1, atol=1e-12)


def test_the_logit_of_cross_entropy_has_no_ridge():
    for model in (two_classes(), two_classes().float()):
        field = sx.ftle(model, sx.grid((-1.5, 1.5), (-1, 2), shape=61))
        for given in (None, model):
            assert ridges(field, model=given).sizes["point"] == 0


def three_classes():
    """Posterior of three classes with equidistant means; alpha of each pair, and where facet 0 | 1 runs to."""
    angles = torch.arange(3, dtype=torch.float64) * 2 * math.pi / 3 + 0.3
    means = 0.8 * torch.stack([angles.cos(), angles.sin()], 1)
    model = nn.Sequential(nn.Linear(2, 3, dtype=torch.float64), nn.Softmax(dim=1))
    model[0].weight.data = means / 0.25
    model[0].bias.data = -means.square().sum(1) / 0.5
    return model, float((means[0] - means[1]).norm()) / 0.25, (means[0] + means[1]) / (means[0] + means[1]).norm()


CRITICAL = (math.sqrt(57) - 3) / 12


def curvature(a, alpha):
    return alpha**2 / 4 * (2 - 3 * a - 6 * a**2) / (3 * a - 1)


def test_the_facet_of_three_classes_turns_from_minimum_to_maximum():
    model, alpha, along = three_classes()
    exact = ExactField(model, None, "output", None, torch.zeros(2), torch.eye(2), False, 10**8)

    def at(distance):
        points = distance[:, None] * along
        return model(points).detach()[:, 0], exact.at(points)

    a, local = at(torch.linspace(0.05, 3, 40, dtype=torch.float64))
    assert a.min() < 0.36 and 0.4999 < a.max() < 0.5
    np.testing.assert_allclose(local.f, np.log(a * alpha / math.sqrt(2)), atol=1e-12)
    np.testing.assert_allclose(local.curvature, curvature(a, alpha), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(local.slope, 0, atol=1e-12)
    np.testing.assert_allclose((local.direction @ along).abs(), 0, atol=1e-12)
    np.testing.assert_allclose(local.curvature[-1], -(alpha**2) / 2, rtol=1e-3)
    # where the third class vanishes from the tie, a = 1/2
    np.testing.assert_allclose(at(torch.tensor([20.0]).double())[1].curvature, -(alpha**2) / 2, rtol=1e-12)
    low, high = torch.tensor([0.05]).double(), torch.tensor([0.5]).double()
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle)[1].curvature > 0 else (low, middle)
    assert abs(float(at(low)[0]) - CRITICAL) < 1e-12


def test_the_facet_of_three_classes_is_a_ridge_above_the_critical_posterior_only():
    model, alpha, _ = three_classes()
    field = sx.ftle(model, sx.grid((-1.5, 1.5), (-1.5, 1.5), shape=201))
    found = ridges(field, model=model)
    assert (found.status == 0).all() and found.masked_gap + found.masked_turning > 0
    posterior = np.sort(model(torch.from_numpy(found.position.values)).detach(), axis=1)
    tied = posterior[:, 2] - posterior[:, 1] < 1e-6
    a = posterior[tied, 2]
    assert np.abs(posterior[tied, 2] - posterior[tied, 1]).max() < 1e-12
    assert tied.sum() > 300 and a.min() > CRITICAL and a.max() > 0.4999
    np.testing.assert_allclose(found.stretch[tied], np.log(a * alpha / math.sqrt(2)), atol=1e-12)
    np.testing.assert_allclose(found.strength[tied], -curvature(a, alpha), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.alignment[tied], 1, atol=1e-12)
    # they begin where the curvature along the turning lines of v_1 is a quarter of that along v_1
    exact = ExactField(model, None, "output", None, torch.zeros(2), torch.eye(2), False, 10**8)
    local = exact.at(torch.from_numpy(found.position.values[tied]))
    ratio = (local.normal * local.direction).sum(1) / local.curvature
    assert 0.25 < ratio.min() < 0.5 and a.min() < 0.395
