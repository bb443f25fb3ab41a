"""Networks of linear layers and elementwise activations, told from all others."""

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.nn.utils import parametrize

import separatrix as sx
from separatrix.systems.pairs import pair
from separatrix.systems.plain_layers import Activation, Linear, plain_layers
from separatrix.systems.row_orders import RowOrders

X = torch.linspace(-1, 1, 12).reshape(6, 2)
Y = X.sum(1, keepdim=True)


class Half(nn.Module):
    """A weight is half of what is stored."""

    def forward(self, w):
        return w / 2


def bent(part):
    """A network of three layers whose first weight or bias is made of another parameter."""
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    parametrize.register_parametrization(net[0], part, Half())
    return net


def test_names_and_functions_in_order():
    net = nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Identity(), nn.Linear(3, 1)).train()
    assert plain_layers(net, X) is None  # dropout that is at work
    net[0].eval()
    assert plain_layers(net, X) == [Linear("1.weight", None), Activation(net[2]), Linear("4.weight", "4.bias")]
    assert [m.training for m in net] == [False, True, True, True, True]
    # read in another precision than the network's
    assert plain_layers(net, X.double(), torch.float64) == plain_layers(net, X)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_what_is_made_of_a_parameter_is_none(part):
    assert plain_layers(bent(part), X) is None
    run = sx.Training(bent(part), mse_loss, (X, Y), sx.optim.GradientDescent(lr=0.1))
    assert run.method == "vmap"
    state = run.state_of()
    assert bool(torch.isfinite(run.step(state, 0)).all())
    trained = sx.ensembles.train(
        lambda: bent(part), (X, Y), seeds=[0], loss=mse_loss, optimizer=torch.optim.SGD, epochs=1, batch_size=6
    )
    assert trained.history.method == "vmap"


def test_orders_are_those_of_one_generator_wherever_one_begins():
    generator = torch.Generator().manual_seed(4)
    naive = [torch.randperm(11, generator=generator) for _ in range(100)]
    drawn = [order for _, order in zip(range(100), RowOrders(11, 4), strict=False)]
    assert all(torch.equal(a, b) for a, b in zip(naive, drawn, strict=True))
    orders = RowOrders(11, 4)
    for epoch in (0, 99, 3, 31, 32, 64, 63, 5):
        assert torch.equal(orders.at(epoch), naive[epoch])
        # who iterates in between gets them from the first on, and disturbs nothing
        assert torch.equal(next(iter(orders)), naive[0])


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (X, "Tensor"),
        ((X, Y, Y), "a tuple of 3"),
        ((X, Y[:3]), "y of shape (3, 1)"),
        ((X[:0], Y[:0]), "X of shape (0, 2)"),
        ((X / 0, Y), "X with values that are not finite"),
        ((X, [object()] * 6), "Tensor, list"),
    ],
)
def test_what_is_no_pair_is_refused(data, got):
    with pytest.raises(sx.ArgumentError) as caught:
        pair("data", data)
    assert caught.value.argument == "data" and got in str(caught.value)
