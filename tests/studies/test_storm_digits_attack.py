"""Attacks on models whose margins are known exactly."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.studies.storm2024.attack import PIXELS, Search, log_odds, margins, nearest_classes, uphill, walk
from separatrix.studies.storm2024.predictor_scores import slopes


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Linear(12, 4).double()


def exact(model, X, y):
    """Distance to the nearest of the planes on which another logit catches up, without a box."""
    logits, W = model(X).detach(), model.weight.detach()
    gaps = logits.gather(1, y[:, None]) - logits
    norms = (W[y][:, None] - W).norm(dim=2)
    return (gaps / norms).scatter(1, y[:, None], torch.inf).amin(1)


def test_margins_of_a_linear_classifier_are_its_distances(linear):
    X = torch.rand(40, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = linear(X).argmax(1)
    far, at = margins(linear, X, y, Search(), box=None)
    # the last bisection of the line ends 2^-12 behind the change
    torch.testing.assert_close(far, exact(linear, X, y), rtol=2**-11, atol=1e-9)
    assert (linear(at).argmax(1) != y).all()
    torch.testing.assert_close((at - X).norm(dim=1), far)


def test_margin_of_a_curved_boundary_is_the_distance_to_it():
    """Two logits that tie on a sphere: from inside and outside the margin is the distance to the sphere."""

    class Ball(nn.Module):
        def forward(self, X):
            depth = 0.25 - (X - 0.5).square().sum(1)
            return torch.stack([depth, -depth], 1)

    way = torch.randn(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    r = torch.linspace(0.1, 0.9, 20, dtype=torch.float64)
    X = 0.5 + r[:, None] * way / way.norm(dim=1, keepdim=True)
    far, _ = margins(Ball(), X, (r > 0.5).long(), Search(halvings=8), box=None)
    torch.testing.assert_close(far, (r - 0.5).abs(), rtol=5e-3, atol=0)
    assert (far >= (r - 0.5).abs() - 1e-12).all()


def test_nearest_classes_of_a_linear_classifier(linear):
    X = torch.rand(15, 12, dtype=torch.float64)
    y = linear(X).argmax(1)
    classes, distances = nearest_classes(linear, X, y, 5)
    assert classes.shape == (15, 3)
    assert (classes != y[:, None]).all()
    assert (distances.diff(dim=1) >= 0).all()
    torch.testing.assert_close(distances[:, 0], exact(linear, X, y))


def test_pixels_stay_in_their_box_which_makes_margins_no_smaller(linear):
    X = torch.rand(40, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).round()
    y = linear(X).argmax(1)
    far, at = margins(linear, X, y, Search())
    assert at.min() >= PIXELS[0]
    assert at.max() <= PIXELS[1]
    assert (far >= exact(linear, X, y) - 1e-9).all()


def test_images_that_are_wrong_already_have_no_margin_and_constant_models_an_infinite_one(linear):
    X = torch.rand(6, 12, dtype=torch.float64)
    far, at = margins(linear, X, (linear(X).argmax(1) + 1) % 4, Search(steps=2))
    assert (far == 0).all()
    assert torch.equal(at, X)
    constant = nn.Sequential(nn.Linear(12, 4).double(), nn.Hardtanh(0, 1e-9))
    for p in constant.parameters():
        nn.init.zeros_(p)
    far, at = margins(constant, X, torch.zeros(6, dtype=torch.int64), Search(steps=2))
    assert far.isinf().all()
    assert torch.equal(at, X)


def test_walks_go_uphill_in_steps_of_one_length(linear):
    X = torch.full((3, 12), 0.5, dtype=torch.float64)
    path = walk(linear, X, 2, step=0.01, count=20)
    lengths = (path[1:] - path[:-1]).norm(dim=2)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.01))
    target = torch.full((3,), 2)
    odds = torch.stack([log_odds(linear(x).detach(), target) for x in path])
    assert (odds[1:] > odds[:-1]).all()


def test_log_odds_do_not_saturate():
    logits = torch.tensor([[60.0, 0.0, 0.0]])
    assert log_odds(logits, torch.tensor([0])).item() == pytest.approx(60 - math.log(2))
    assert log_odds(logits, torch.tensor([1])).item() == pytest.approx(-60)


def test_uphill_is_the_direction_of_finite_differences():
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    X, y, h = torch.rand(5, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1]), 1e-6
    steps = torch.eye(6, dtype=torch.float64) * h
    with torch.no_grad():
        slope = torch.stack([(log_odds(net(X + s), y) - log_odds(net(X - s), y)) / (2 * h) for s in steps], 1)
    np.testing.assert_allclose(
        uphill(net, X, lambda z: log_odds(z, y)), slope / slope.norm(dim=1, keepdim=True), atol=1e-8
    )


def test_slopes_of_a_linear_classifier_are_those_of_its_weights(linear):
    X = torch.rand(9, 12, dtype=torch.float64)
    logits = linear(X).detach()
    top = logits.topk(2, dim=1).indices
    loss, gap, slope = slopes(linear, X, top)
    W = linear.weight.detach()
    torch.testing.assert_close(slope, (W[top[:, 0]] - W[top[:, 1]]).norm(dim=1))
    torch.testing.assert_close(gap, logits.gather(1, top).diff(dim=1)[:, 0].neg())
    P = logits.softmax(1)
    torch.testing.assert_close(loss, ((P - nn.functional.one_hot(top[:, 0], 4)) @ W).norm(dim=1))
