"""A network along depth is a system: its steps compose to the forward pass."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.testing import check_system


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.c(F.gelu(self.b(torch.tanh(self.a(x)))))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x):
        return x + torch.tanh(self.a(x))


def conv():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    ).eval()


@pytest.mark.parametrize(
    ("model", "shape", "labels"),
    [
        (
            nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 1)),
            None,
            ["1#1", "3#1", "output"],
        ),
        (Functional(), None, ["tanh#1", "gelu#1", "output"]),
        (nn.Sequential(Residual(), Residual(), nn.Linear(3, 2)), None, ["0#1", "1#1", "output"]),
        (conv(), (1, 6, 6), ["3#1", "output"]),
    ],
    ids=["sequential", "functional", "residual", "convolution"],
)
def test_chains_are_systems(model, shape, labels, as_user):
    torch.manual_seed(0)
    model = model.double()
    depth = sx.Depth(model, input_shape=shape)
    assert depth.labels == labels and depth.horizon == len(labels)
    x = torch.randn(4, *(shape or (depth.dim(0),)), dtype=torch.float64)
    state = x.flatten(1)
    for t in range(depth.horizon):
        state = depth.step(state, t)
    torch.testing.assert_close(state, model(x).detach())
    check_system(depth, x.flatten(1), steps=depth.horizon)


def test_products_of_steps_are_the_exponents_of_ftle():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x = torch.randn(7, 2, dtype=torch.float64)
    field = sx.ftle(model, x, layers="all", k=2)
    depth = sx.Depth(model)
    state, tangents = x, torch.eye(2, dtype=torch.float64)[:, None].expand(2, 7, 2)
    for t in range(depth.horizon):
        state, tangents = depth.tangent(state, tangents, t)
        logs = torch.linalg.svdvals(tangents.permute(1, 2, 0)).log()
        torch.testing.assert_close(torch.from_numpy(field.stretch[0, t].values), logs, atol=1e-12, rtol=0)


def test_layers_can_be_chosen():
    model = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
    depth = sx.Depth(model, layers=["3#1"])
    assert depth.labels == ["3#1", "output"] and [depth.dim(t) for t in range(3)] == [2, 5, 1]


def test_a_branching_network_is_refused_with_a_way_out():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.b(x + torch.tanh(self.a(x)))

    with pytest.raises(sx.ArgumentError, match="ftle handles any module"):
        sx.Depth(Root())


def test_an_addition_in_place_is_not_overlooked():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            h = self.a(x)
            h += x
            return self.b(h)

    with pytest.raises(sx.ArgumentError, match="branches"):
        sx.Depth(InPlace())


def test_a_shape_that_cannot_be_guessed_is_asked_for():
    with pytest.raises(sx.ArgumentError, match="input_shape"):
        sx.Depth(conv())
    with pytest.raises(sx.ArgumentError, match="input_shape"):
        sx.Depth(conv(), input_shape=(3, 6, 6))
