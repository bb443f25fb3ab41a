"""What cannot be believed says so; everything else is computed."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix import Status

METHODS = ["chain-forward", "chain-reverse", "forward", "reverse", "loop"]


@pytest.mark.parametrize("method", METHODS)
def test_points_on_a_kink(method):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    model[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    model[0].bias.data = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    x = torch.tensor([[0.0, 0.5], [0.5, 0.5], [0.3, -1.0]], dtype=torch.float64)
    status = sx.ftle(model, x, layers=["0", "output"], method=method).status[0, :, :, 0]
    assert status[0].values.tolist() == [Status.OK] * 3
    assert status[1].values.tolist() == [Status.NONSMOOTH, Status.OK, Status.NONSMOOTH]


@pytest.mark.parametrize("method", METHODS)
def test_zeros_behind_dead_units_are_no_kinks(method):
    # without biases, everything behind a dead layer is exactly zero, yet the map is constant there
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False), nn.ReLU()).double()
    model[0].weight.data = torch.eye(2, dtype=torch.float64)
    field = sx.ftle(model, torch.tensor([[-1.0, -2.0]], dtype=torch.float64), layers=["1", "output"], method=method)
    assert (field.stretch == -math.inf).all()
    assert (field.status == Status.SINGULAR).all()


class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.pool(x).flatten(1))


def test_ties_of_a_maximum_are_kinks_unless_nothing_moves_them():
    x = torch.arange(48, dtype=torch.float32).reshape(3, 1, 4, 4)
    x[1, 0, 0, 0] = x[1, 0, 1, 1]
    field = sx.ftle(Pool(), x)
    assert field.status.values.ravel().tolist() == [Status.OK, Status.NONSMOOTH, Status.OK]

    class Dead(Pool):
        def forward(self, x):
            return self.head(self.pool(F.relu(x)).flatten(1))

    x[2] = -1.0
    assert sx.ftle(Dead(), x).status.values.ravel().tolist() == [Status.NONSMOOTH, Status.NONSMOOTH, Status.SINGULAR]


@pytest.mark.parametrize("method", ["forward", "reverse", "lanczos"])
@pytest.mark.parametrize(
    "kink",
    [
        lambda x: x.clamp(min=0),
        lambda x: torch.clamp(x, -1, 0.0),
        lambda x: torch.clamp_min(x, 0),
        lambda x: torch.maximum(x, 0.5 * x),
        lambda x: torch.max(2 * x, x),
        lambda x: torch.minimum(x, torch.zeros_like(x)),
    ],
    ids=["clamp", "torch.clamp", "clamp_min", "maximum", "max", "minimum"],
)
def test_clamped_values_and_the_larger_of_two_have_kinks(kink, method):
    # at the second point the first component sits on the kink; what does not move parts nothing
    x = torch.tensor([[0.3, -0.2, 1.0], [0.0, -0.3, 2.0], [-0.4, 0.2, 3.0]], dtype=torch.float64)
    field = sx.ftle(lambda x: kink(x[:, :2]) + x[:, 2:], x, method=method)
    assert field.status.values.ravel().tolist() == [Status.OK, Status.NONSMOOTH, Status.OK]
    field = sx.ftle(lambda x: kink(x[:, :2] - x[:, :2]) + x[:, 2:], x, method=method)
    assert (field.status == Status.OK).all()


def test_bottlenecks_have_missing_indices():
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1), nn.Tanh(), nn.Linear(1, 4)).double()
    field = sx.ftle(model, torch.randn(4, 3, dtype=torch.float64), layers="all", k="all")
    assert field.sizes["index"] == 3
    assert (field.status[0, 0] == Status.OK).all()
    assert (field.status[0, 1, :, 1:] == Status.MISSING).all() and (field.stretch[0, 1, :, 1:] == -math.inf).all()
    # behind the bottleneck the matrix has full size, but rank one
    assert (field.status[0, 2, :, 1:] == Status.MISSING).all() and (field.stretch[0, 2, :, 1:] == -math.inf).all()


class Root(nn.Module):
    """Singular at the origin: NaN there, and an infinite slope nearby is no number either."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.a.weight.data, self.a.bias.data = torch.eye(2), torch.zeros(2)

    def forward(self, x):
        return torch.sqrt(self.a(x)).sum(1, keepdim=True)


@pytest.mark.parametrize("method", ["forward", "reverse", "loop"])
def test_nan_from_the_model_is_a_status_and_the_rest_is_computed(method):
    x = torch.tensor([[1.0, 4.0], [-1.0, 1.0], [0.0, 1.0], [4.0, 1.0]])
    field = sx.ftle(Root(), x, method=method)
    assert field.status.values.ravel().tolist() == [Status.OK, Status.NONFINITE, Status.NONFINITE, Status.OK]
    stretch = field.stretch.values.ravel()
    assert np.isnan(stretch[[1, 2]]).all()
    np.testing.assert_allclose(stretch[[0, 3]], math.log(math.hypot(0.5, 0.25)), atol=1e-6)


def test_chains_report_nan_too():
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    model[2].weight.data[0, 0] = math.nan
    field = sx.ftle(model, torch.randn(3, 2), layers="all")
    assert (field.status[0, 0] == Status.OK).all() and (field.status[0, 1] == Status.NONFINITE).all()


def test_a_layer_beside_the_path_is_computed_and_marked():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(3, 2)

        def forward(self, x):
            return x + self.b(torch.tanh(self.a(x)))

    field = sx.ftle(Block().double(), torch.randn(3, 2, dtype=torch.float64), layers="all")
    assert field.layer.values.tolist() == ["tanh#1", "output"]
    assert (field.status[0, 0] == Status.NOT_A_CUT).all() and (field.status[0, 1] == Status.OK).all()
    assert np.isfinite(field.stretch).all() and field.cut.values.tolist() == [0, 1]


def test_what_float32_cannot_resolve_is_computed_in_float64():
    class Squeeze(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.a.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1e-6]])

        def forward(self, x):
            return {"y": self.a(self.a(x))}

    field = sx.ftle(Squeeze(), torch.zeros(3, 2), k=2, output="y")
    assert field.recomputed_points == 3 and (field.status == Status.OK).all()
    np.testing.assert_allclose(field.stretch[0, 0, :, 1], 2 * math.log(1e-6), atol=1e-6)


def test_what_float64_cannot_resolve_has_a_status():
    model = nn.Sequential(*[nn.Linear(2, 2, bias=False, dtype=torch.float64) for _ in range(4)])
    rotation = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    for layer in model:
        layer.weight.data = rotation @ torch.diag(torch.tensor([1.0, 1e-6], dtype=torch.float64)) @ rotation.T
    field = sx.ftle(model, torch.zeros(1, 2, dtype=torch.float64), k=2, method="forward")
    assert field.status[0, 0, 0, 1] == Status.BELOW_PRECISION
    graded = sx.ftle(model, torch.zeros(1, 2, dtype=torch.float64), k=2)
    assert graded.status[0, 0, 0, 1] == Status.OK
    # the stored matrices carry 1e-6 with 10 digits only
    np.testing.assert_allclose(graded.stretch[0, 0, 0, 1], 4 * math.log(1e-6), atol=1e-8)


def test_a_bottleneck_beside_a_layer_takes_nothing_from_it():
    class Aside(nn.Module):
        """A bottleneck on the way to the output, and a layer that does not lead there."""

        def __init__(self):
            super().__init__()
            self.narrow, self.aside, self.head = nn.Linear(3, 1), nn.Linear(3, 3), nn.Linear(1, 2)

        def forward(self, x):
            h = self.narrow(x)
            self.aside(x)
            return self.head(h)

    torch.manual_seed(0)
    model = Aside().double()
    field = sx.ftle(model, torch.zeros(1, 3, dtype=torch.float64), layers=["aside", "output"], k=3)
    exact = torch.linalg.svdvals(model.aside.weight).log().detach()
    np.testing.assert_allclose(field.stretch.sel(layer="aside#1")[0, 0], exact, atol=1e-12)
    assert field.status.sel(layer="output")[0, 0].values.tolist() == [Status.OK, Status.MISSING, Status.MISSING]


def test_values_with_the_batch_elsewhere_limit_no_rank_and_cannot_be_chosen():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(2, 3), nn.Linear(18, 20)

        def forward(self, x):
            return self.head(self.rnn(x.transpose(0, 1))[0].transpose(0, 1).flatten(1))

    torch.manual_seed(0)
    model, x = TimeFirst().double(), torch.randn(4, 6, 2, dtype=torch.float64)
    field = sx.ftle(model, x, layers="all", k="all")
    assert field.layer.values.tolist() == ["output"] and field.sizes["index"] == 12
    assert (field.status == Status.OK).all()
    with pytest.raises(sx.ArgumentError, match="not the batch"):
        sx.ftle(model, x, layers=["rnn"])
