"""The naive twins against exact answers: they are what everything else is compared with."""

import pytest
import torch
from torch import nn

from separatrix.testing import dense_jacobian, dense_stretches
from separatrix.testing.untouched import untouched


def linear(matrix):
    layer = nn.Linear(matrix.shape[1], matrix.shape[0])
    with torch.no_grad():
        layer.weight.copy_(matrix)
    return layer


A = torch.tensor([[3.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
B = torch.tensor([[0.0, 2.0, 0.0]])
X = torch.tensor([[0.3, -0.2], [1.5, 0.7]])


def test_linear_layers():
    net = nn.Sequential(linear(A), linear(B))
    jacobian = dense_jacobian(net, X)
    assert jacobian.dtype == torch.float64
    torch.testing.assert_close(jacobian, (B @ A).double().expand(2, 1, 2))
    torch.testing.assert_close(dense_jacobian(net, X, "0#1"), A.double().expand(2, 3, 2))
    torch.testing.assert_close(dense_stretches(net, X, "0#1").exp(), torch.tensor([3.0, 0.5]).double().expand(2, 2))
    torch.testing.assert_close(dense_stretches(net, X).exp(), torch.ones(2, 1).double())


def test_scale_is_the_unit_of_the_inputs():
    stretches = dense_stretches(linear(A), X, scale=torch.tensor([0.1, 4.0]))
    torch.testing.assert_close(stretches.exp(), torch.tensor([2.0, 0.3]).double().expand(2, 2))
    torch.testing.assert_close(dense_stretches(linear(A), X, scale=2.0).exp()[0], torch.tensor([6.0, 1.0]).double())


def test_in_place_activation_does_not_reach_back():
    net = nn.Sequential(linear(A), nn.ReLU(inplace=True), linear(B))
    point = torch.tensor([[-1.0, -1.0]])
    torch.testing.assert_close(dense_jacobian(net, point, "0#1")[0], A.double())
    with torch.no_grad():
        net[0].bias.fill_(0.0)
    assert not dense_jacobian(net, point, "1#1").any()


def test_model_that_works_in_place_on_its_input():
    points = X.clone()
    torch.testing.assert_close(dense_jacobian(nn.Sequential(nn.ReLU(inplace=True), linear(A)), points)[1], A.double())
    assert torch.equal(points, X)


def test_calls_are_counted():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = linear(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))

        def forward(self, x):
            return self.shared(self.shared(x))

    torch.testing.assert_close(dense_stretches(Twice(), X, "shared#1").exp()[0], torch.tensor([5.0, 2.0]).double())
    torch.testing.assert_close(dense_stretches(Twice(), X, "shared#2").exp()[0], torch.tensor([25.0, 4.0]).double())
    with pytest.raises(KeyError, match="shared#3 is not called"):
        dense_jacobian(Twice(), X, "shared#3")
    with pytest.raises(KeyError, match="other"):
        dense_jacobian(Twice(), X, "other#1")


def test_output_and_start():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(5, 2)
            self.head = linear(A)

        def forward(self, tokens):
            return {"logits": self.head(self.embed(tokens).sum(1)), "other": None}

    tokens = torch.tensor([[0, 1], [4, 4]])
    for start in ("embed", "embed#1"):
        jacobian = dense_jacobian(Tokens(), tokens, output="logits", start=start)
        torch.testing.assert_close(jacobian, torch.cat([A, A], 1).double().expand(2, 3, 4))
    doubled = dense_jacobian(Tokens(), tokens, output=lambda out: 2 * out["logits"], start="embed")
    torch.testing.assert_close(doubled, 2 * jacobian)


def test_singular_and_disconnected():
    assert dense_stretches(linear(torch.zeros(2, 2)), X).tolist() == [[-torch.inf] * 2] * 2
    net = nn.Sequential(linear(A), nn.Threshold(1e9, 0.0))
    assert not dense_jacobian(net, X).any()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = kind(2, 3, batch_first=True)

        def forward(self, x):
            return self.cell(x)[0][:, -1]

    torch.manual_seed(0)
    net, points = Last(), torch.randn(2, 4, 2)
    found = dense_jacobian(net, points)
    double = net.double()
    for i, point in enumerate(points.double()):
        h = 1e-6
        for j in range(8):
            step = torch.zeros(8, dtype=torch.float64)
            step[j] = h
            step = step.reshape(4, 2)
            difference = (double((point + step)[None]) - double((point - step)[None]))[0] / (2 * h)
            torch.testing.assert_close(found[i, :, j], difference.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_model_is_left_alone(dtype):
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Linear(3, 2)).eval().to(dtype)
    with untouched(net):
        dense_stretches(net, X.to(dtype), "1#1")
    assert next(net.parameters()).dtype == dtype
