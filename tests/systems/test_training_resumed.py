"""States read from a training under way, and batches of more than one shape."""

import pytest
import torch
from torch import nn

import separatrix as sx

MSE = nn.functional.mse_loss
GENERATOR = torch.Generator().manual_seed(0)
X, Y = (torch.randn(12, n, generator=GENERATOR, dtype=torch.float64) for n in (2, 1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        MSE(model(X), Y).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.05),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.5),
        lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    ],
    ids=["adam", "dampened", "rmsprop"],
)
def test_the_next_step_is_that_of_torch(make):
    model = network()
    optimizer = make(model.parameters())
    train(model, optimizer, 7)
    system = sx.Training(model, MSE, (X, Y), optimizer, first_step=7)
    state = system.state_of(model, optimizer)
    train(model, optimizer, 3)
    for t in range(3):
        state = system.step(state, t)
    torch.testing.assert_close(state, system.state_of(model, optimizer), rtol=0, atol=1e-12)


def test_all_methods_count_from_the_first_step():
    batches = [(X[i : i + 3], Y[i : i + 3]) for i in range(0, 12, 3)]
    options = {"optimizer": sx.optim.Adam([0.1, 0.2, 0.3, 0.4]), "repeat": False}
    whole, late = (sx.Training(network(), MSE, batches, first_step=n, **options) for n in (0, 3))
    assert late.horizon == 1 and whole.horizon == 4
    state = whole.initial_state(0, 2)
    V, W = torch.randn(2, 2, 2, whole.dim(), generator=GENERATOR, dtype=torch.float64)
    for a, b in zip(late.tangent(state, V, 0), whole.tangent(state, V, 3), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(late.adjoint(state, W, 0), whole.adjoint(state, W, 3))
    assert torch.equal(late.step(state, 0), whole.step(state, 3))
    for name in ("loss", "gradient", "hessian"):
        assert torch.equal(getattr(late, name)(state, 0), getattr(whole, name)(state, 3))
    v = V[..., : whole.count].contiguous()
    assert torch.equal(late.hessian_product(state, v, 0), whole.hessian_product(state, v, 3))
    with pytest.raises(sx.ArgumentError, match=r"^t: got 1; this system has steps 0 to 0"):
        late.step(state, 1)
    with pytest.raises(sx.ArgumentError, match=r"^first_step: got 4; batches or learning rates end after 4"):
        sx.Training(network(), MSE, batches, first_step=4, **options)
    with pytest.raises(sx.ArgumentError, match=r"^first_step: got -1"):
        sx.Training(network(), MSE, (X, Y), sx.optim.Adam(), first_step=-1)


def test_memory_of_another_optimizer_is_refused():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, 2)
    system = sx.Training(model, MSE, (X, Y), optimizer)
    assert system.state_of(model, optimizer)[0, system.parts["momentum"]].abs().max() > 0
    with pytest.raises(sx.ArgumentError, match=r"^optimizer: got one that does not hold the network's .*model="):
        system.state_of(optimizer=optimizer)  # of the copy that the system has made
    with pytest.raises(sx.ArgumentError, match=r"^optimizer: got one that does not hold"):
        system.state_of(network(), optimizer)
    adam = sx.Training(model, MSE, (X, Y), sx.optim.Adam())
    with pytest.raises(
        sx.ArgumentError, match=r"^optimizer: got SGD, which keeps weights, momentum; the system's keeps"
    ):
        adam.state_of(model, optimizer)


def test_batches_whose_targets_have_other_shapes_go_through_autograd():
    plain = sx.Training(network(), MSE, [(X, Y), (X[:5], Y[:5])], sx.optim.Adam())
    assert plain.method == "blocks"
    mixed = sx.Training(network(), MSE, [(X, Y), (X, Y[:, 0])], sx.optim.Adam())
    assert mixed.method == "vmap"
    state = mixed.initial_state(0, 2)
    with pytest.warns(UserWarning, match="broadcast"):
        found = mixed.loss(state, 1)
    with pytest.warns(UserWarning, match="broadcast"):
        wanted = [MSE(net(X), Y[:, 0]) for net in mixed.modules(state)]
    torch.testing.assert_close(found, torch.stack(wanted).detach(), rtol=1e-12, atol=0)
