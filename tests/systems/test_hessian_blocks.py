"""Gradient and Hessian of three-layer networks, written out, against autograd; when they are used, and when not."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from separatrix.results.errors import ArgumentError
from separatrix.systems.activation_bends import _by_autograd, value_slope_bend
from separatrix.systems.optim import GradientDescent
from separatrix.systems.squared_error import half_squared_error
from separatrix.systems.training import Training

GENERATOR = torch.Generator().manual_seed(5)


def draw(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(2, 4), nn.Linear(4, 2), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def network(inputs, hidden, outputs, activation, *readout, bias=(True, True)):
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=bias[0]), activation, nn.Linear(hidden, outputs, bias=bias[1]), *readout
    )


def naive(net, loss, X, y, vector):
    """Loss, gradient and Hessian of one network, by torch.func."""
    names = {name: p.shape for name, p in net.named_parameters()}

    def of(weights):
        parts = weights.split([shape.numel() for shape in names.values()])
        state = {name: part.view(shape) for (name, shape), part in zip(names.items(), parts, strict=True)}
        return loss(functional_call(net, state, (X,)), y)

    return of(vector), torch.func.grad(of)(vector), torch.func.jacrev(torch.func.jacrev(of))(vector)


CASES = {
    "tanh": (network(1, 4, 1, nn.Tanh()), F.mse_loss),
    "two by three": (network(2, 5, 3, nn.Tanh()), half_squared_error),
    "sigmoid output": (network(2, 4, 3, nn.Sigmoid(), nn.Sigmoid()), half_squared_error),
    "tanh output": (network(3, 2, 2, nn.Softplus(), nn.Tanh()), nn.MSELoss(reduction="sum")),
    "relu": (network(2, 5, 1, nn.ReLU()), nn.MSELoss()),
    "softplus of beta": (network(2, 3, 1, nn.Softplus(beta=3.0, threshold=2.0)), F.mse_loss),
    "gelu": (network(2, 3, 2, nn.GELU()), functools.partial(F.mse_loss, reduction="sum")),
    "silu in silu out": (network(2, 3, 2, nn.SiLU(), nn.SiLU()), F.mse_loss),
    "elu": (network(2, 3, 1, nn.ELU(0.7, inplace=True)), functools.partial(F.mse_loss)),
    "no biases": (network(2, 4, 3, nn.Tanh(), bias=(False, False)), F.mse_loss),
    "one bias": (network(2, 4, 1, nn.Tanh(), bias=(False, True)), F.mse_loss),
    "other bias": (network(2, 4, 2, nn.Sigmoid(), nn.Tanh(), bias=(True, False)), F.mse_loss),
    "function": (Functional(torch.tanh), half_squared_error),
    "sine": (Functional(torch.sin), F.mse_loss),
    "one node": (network(1, 1, 1, nn.Tanh()), half_squared_error),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_are_the_derivatives(name):
    net, loss = CASES[name]
    net = net.double()
    inputs = next(net.parameters()).shape[1]
    X = draw(7, inputs)
    y = draw(*net(X).shape)
    system = Training(net, loss, (X, y), GradientDescent(0.1))
    assert system.method == "blocks"
    states = system.state_of() + 0.5 * draw(3, system.count)
    found = system.loss(states), system.gradient(states), system.hessian(states)
    wanted = [torch.stack(parts) for parts in zip(*(naive(net, loss, X, y, s) for s in states), strict=True)]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(found[2], found[2].mT, rtol=0, atol=1e-12)
    many = max(2, system.count)
    V = draw(many, 3, system.count)
    products = torch.einsum("bij,kbj->kbi", wanted[2], V)
    # through the dense matrix, and one by one
    torch.testing.assert_close(system.hessian_product(states, V), products, rtol=1e-10, atol=1e-10)
    one = system.hessian_product(states, V[:1])
    torch.testing.assert_close(one, products[:1], rtol=1e-10, atol=1e-10)


def test_the_three_ways_agree():
    net = network(2, 6, 2, nn.Tanh(), nn.Sigmoid())
    data = draw(9, 2), draw(9, 2)
    systems = [Training(net, F.mse_loss, data, GradientDescent(0.3), method=m) for m in ("blocks", "vmap", "loop")]
    assert [s.method for s in systems] == ["blocks", "vmap", "loop"]
    states = systems[0].initial_state(3, members=4)
    V = draw(5, *states.shape)
    results = [(s.loss(states), *s.tangent(states, V, 0), s.adjoint(states, V, 0), s.hessian(states)) for s in systems]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_hessian_against_differences_of_the_gradient():
    system = Training(
        network(2, 4, 3, nn.Tanh(), nn.Sigmoid()), half_squared_error, (draw(8, 2), draw(8, 3)), GradientDescent(1)
    )
    (state,) = system.initial_state(1)
    H = system.hessian(state)
    h = 1e-5
    eye = torch.eye(system.count, dtype=torch.float64)
    differences = (system.gradient(state + h * eye) - system.gradient(state - h * eye)) / (2 * h)
    torch.testing.assert_close(H, differences, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "activation", [nn.Tanh(), nn.Sigmoid(), nn.ReLU(), nn.Softplus(2.0, 5.0), torch.sin, nn.Identity()]
)
def test_closed_forms_of_second_derivatives(activation):
    z = torch.cat([torch.linspace(-8, 8, 97, dtype=torch.float64), draw(20)])
    for a, b in zip(value_slope_bend(activation, z), _by_autograd(activation, z), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_members_do_not_touch_each_other():
    system = Training(network(1, 4, 1, nn.Tanh()), F.mse_loss, (draw(6, 1), draw(6, 1)), GradientDescent(0.1))
    states = system.initial_state(0, members=3)
    ill = states.clone()
    ill[1, 2] = torch.nan
    ill[2] = torch.inf
    V = draw(system.count, *states.shape)
    (after, MV), (after_ill, MV_ill) = system.tangent(states, V, 0), system.tangent(ill, V, 0)
    torch.testing.assert_close(after_ill[0], after[0], rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(MV_ill[:, 0], MV[:, 0], rtol=1e-14, atol=1e-14)
    assert not torch.isfinite(after_ill[1:]).all(-1).any()
    alone = system.tangent(states[1], V[:, 1], 0)
    torch.testing.assert_close(alone[1], MV[:, 1], rtol=1e-12, atol=1e-14)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)) + x)


class Scaled(Residual):
    def forward(self, x):
        return 2 * self.last(torch.tanh(self.first(x)))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)

    def forward(self, x):
        return self.first(torch.tanh(self.first(x)))


def frozen():
    net = network(2, 3, 2, nn.Tanh())
    net[0].bias.requires_grad_(False)
    return net


def hooked():
    net = network(2, 3, 2, nn.Tanh())
    net[2].register_forward_hook(lambda module, args, value: value**3)
    return net


OTHERS = {
    "deep": nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)),
    "linear": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)),
    "residual": Residual(),
    "scaled": Scaled(),
    "shared": Shared(),
    "frozen": frozen(),
    "hook": hooked(),
    "dropout": nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 2)),
    "normalised": nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Tanh(), nn.Linear(3, 2)),
    "softmax": nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2), nn.Softmax(-1)),
    "prelu": nn.Sequential(nn.Linear(2, 3), nn.PReLU(), nn.Linear(3, 2)),
    "parametrized": nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)), nn.Tanh(), nn.Linear(3, 2)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_go_through_autograd(name):
    net, data = OTHERS[name], (draw(5, 2), draw(5, 2))
    assert Training(net, F.mse_loss, data, GradientDescent(0.1)).method == "vmap"
    with pytest.raises(ArgumentError, match="method: got 'blocks'"):
        Training(net, F.mse_loss, data, GradientDescent(0.1), method="blocks")


def test_other_losses_go_through_autograd():
    net, (X, y) = network(2, 3, 2, nn.Tanh()), (draw(5, 2), draw(5, 2))
    for loss in (F.l1_loss, nn.HuberLoss(), lambda a, b: F.mse_loss(a, b), functools.partial(F.mse_loss, weight=y)):
        assert Training(net, loss, (X, y), GradientDescent(0.1)).method == "vmap"
    dropping = nn.Sequential(net[0], net[1], nn.Dropout(0.5), nn.Identity(), net[2])
    assert Training(dropping.eval(), F.mse_loss, (X, y), GradientDescent(0.1)).method == "blocks"
