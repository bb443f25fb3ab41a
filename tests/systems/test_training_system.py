"""Training as a system: the protocol's promises, torch's own training, replays, members, exact cases, refusals."""

import copy
import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from separatrix.ensembles import Stack, glorot, make_members, train
from separatrix.results.errors import ArgumentError
from separatrix.systems import System, adjoint
from separatrix.systems.initial_weights import fresh
from separatrix.systems.optim import Adam, AdamW, GradientDescent, HeavyBall, Nesterov, RMSprop
from separatrix.systems.squared_error import half_squared_error
from separatrix.systems.training import Training
from separatrix.testing import check_system
from separatrix.testing.untouched import untouched

GENERATOR = torch.Generator().manual_seed(11)


def draw(*shape):
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


X, Y = draw(12, 2), draw(12, 1)
CLASSES = torch.randint(0, 3, (12,), generator=GENERATOR)


def small():
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))


def deep():
    return nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.LayerNorm(3), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))


RULES = {
    "gradient descent": GradientDescent(0.2, weight_decay=0.1),
    "heavy ball": HeavyBall(0.1, momentum=0.9, dampening=0.2),
    "nesterov": Nesterov(lambda t: 0.1 / (1 + t), momentum=0.8),
    "adam": Adam(0.02, weight_decay=0.1),
    "adamw": AdamW([0.02, 0.01, 0.03]),
    "rmsprop": RMSprop(0.02, momentum=0.5, centered=True, eps=1e-3),
}


def start(system, members=3):
    """States with a memory, a step on."""
    state = system.initial_state(0, members)
    return system.step(state, 0)


@pytest.mark.parametrize("method", ["blocks", "vmap"])
@pytest.mark.parametrize("name", RULES)
def test_promises_of_the_protocol(name, method):
    system = Training(small(), F.mse_loss, (X, Y), RULES[name], method=method)
    assert isinstance(system, System)
    assert system.method == method
    check_system(system, start(system), steps={"vmap": 1, "blocks": 2}[method] if system.horizon is None else 3)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.last = nn.LSTM(2, 2, batch_first=True), nn.Linear(2, 1)

    def forward(self, x):
        return self.last(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 3, dropout=0.2, batch_first=True)

    def forward(self, x):
        return self.layer(x).mean(1)[:, :1]


@pytest.mark.parametrize(
    ("net", "data", "loss", "method"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 1)), (X, Y), F.mse_loss, "vmap"),
        (
            nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 3)).eval(),
            (X, CLASSES),
            F.cross_entropy,
            "vmap",
        ),
        (
            nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1)),
            [(X[:5], Y[:5]), (X[5:], Y[5:])],
            nn.L1Loss(),
            "vmap",
        ),
        (Recurrent(), (X.view(4, 3, 2), Y[:4]), half_squared_error, "loop"),
        (Attention(), (X.view(2, 3, 4), Y[:2]), half_squared_error, "vmap"),
    ],
    ids=["dropout", "batch norm in eval", "relu in place, two batches", "lstm", "attention with dropout"],
)
def test_promises_with_any_network(net, data, loss, method):
    system = Training(net, loss, data, HeavyBall(0.05))
    assert system.method == method
    check_system(system, start(system), steps=1)


MAKERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": functools.partial(torch.optim.Adam, lr=0.03),
    "adamw": functools.partial(torch.optim.AdamW, lr=0.03, weight_decay=0.1),
    "rmsprop": functools.partial(torch.optim.RMSprop, lr=0.01, centered=True),
}


def by_hand(net, loss, batches, optimizer, steps):
    for t in range(steps):
        x, y = batches[t % len(batches)]
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("factory", [small, deep])
@pytest.mark.parametrize("name", MAKERS)
def test_steps_are_those_of_training_by_hand(name, factory, as_user):
    net = factory().double()
    optimizer = MAKERS[name](net.parameters())
    batches = [(X[:5], Y[:5]), (X[5:9], Y[5:9]), (X[9:], Y[9:])]
    with untouched(net):
        system = Training(net, F.mse_loss, batches, optimizer)
    assert (system.horizon, system.per_epoch) == (None, 3)
    state = system.state_of()
    by_hand(net, F.mse_loss, batches, optimizer, 40)
    for t in range(40):
        state = system.step(state, t)
    # the same weights and the same memory; the system kept a copy of the network as it was
    torch.testing.assert_close(state, system.state_of(net, optimizer), rtol=1e-11, atol=1e-12)
    assert not torch.equal(system.state_of()[0, : system.count], state[0, : system.count])


def test_only_what_the_optimizer_holds_is_trained_and_each_group_as_it_says():
    net = small().double()
    groups = [{"params": [net[2].weight], "lr": 0.3}, {"params": [net[0].weight, net[0].bias], "momentum": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    system = Training(net, F.mse_loss, (X, Y), optimizer)
    assert list(system.parameters) == ["0.weight", "0.bias", "2.weight"]
    state = start(system)
    check_system(system, state, steps=1)
    state = system.state_of()
    by_hand(net, F.mse_loss, [(X, Y)], optimizer, 10)
    for t in range(10):
        state = system.step(state, t)
    torch.testing.assert_close(
        state[0, : system.count], system.state_of(net)[0, : system.count], rtol=1e-12, atol=1e-13
    )


def test_reshuffled_epochs_are_those_of_ensemble_training():
    settings = {"loss": F.mse_loss, "optimizer": functools.partial(torch.optim.Adam, lr=0.05), "batch_size": 5}

    def factory():
        return small().double()

    trained = train(factory, (X, Y), seeds=[4, 5], epochs=3, shuffle="shared", shuffle_seed=7, **settings)
    system = Training(factory, F.mse_loss, (X, Y), Adam(0.05), batch_size=5, shuffle_seed=7)
    state = system.initial_state(4, members=2)
    assert system.per_epoch == 3
    for t in range(9):
        state = system.step(state, t)
    ended = torch.stack([torch.cat([p.detach().flatten() for p in m.parameters()]) for m in trained.members])
    torch.testing.assert_close(state[:, : system.count], ended, rtol=1e-11, atol=1e-12)


def test_every_step_can_be_replayed_from_anywhere():
    system = Training(small(), F.mse_loss, (X, Y), GradientDescent(0.1), batch_size=5, shuffle_seed=1)
    state = system.initial_state(0)
    times = [0, 250, 3, 96, 97, 95, 250, 0, 96]  # epochs 0, 83, 1, 32, ...
    found = {}
    for t in times:
        found.setdefault(t, []).append(system.gradient(state, t))
    fresh = Training(small(), F.mse_loss, (X, Y), GradientDescent(0.1), batch_size=5, shuffle_seed=1)
    in_order = [fresh.gradient(state, t) for t in range(251)]
    for t, values in found.items():
        for value in values:
            torch.testing.assert_close(value, in_order[t], rtol=0, atol=0)
    assert not torch.equal(in_order[0], in_order[3])
    # an epoch is the whole: batches of 5, 5 and 2 rows
    whole = Training(small(), F.mse_loss, (X, Y), GradientDescent(0.1)).gradient(state)
    weighted = sum(g * n for g, n in zip(in_order[:3], (5, 5, 2), strict=True)) / 12
    torch.testing.assert_close(weighted, whole, rtol=1e-12, atol=1e-14)


def test_masks_belong_to_the_step():
    net = nn.Sequential(nn.Linear(2, 30), nn.Tanh(), nn.Dropout(0.5), nn.Linear(30, 1))
    system = Training(net, F.mse_loss, (X, Y), GradientDescent(0.1))
    states = system.initial_state(0, members=3)
    with untouched(net):
        first, again, other = system.step(states, 0), system.step(states, 0), system.step(states, 1)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(system.step(states[2], 0), first[2], rtol=1e-13, atol=1e-14)
    second_seed = Training(net, F.mse_loss, (X, Y), GradientDescent(0.1), mask_seed=1)
    assert not torch.allclose(second_seed.step(states, 0), first)
    one_by_one = Training(net, F.mse_loss, (X, Y), GradientDescent(0.1), method="loop")
    torch.testing.assert_close(one_by_one.step(states, 0), first, rtol=1e-12, atol=1e-14)
    # in evaluation mode there are none
    still = Training(copy.deepcopy(net).eval(), F.mse_loss, (X, Y), GradientDescent(0.1))
    assert torch.equal(still.step(states, 0), still.step(states, 1))


def test_linear_regression_is_exact():
    net = nn.Linear(2, 1, bias=False)
    rate, steps = 0.3, 25
    system = Training(net, half_squared_error, (X, Y), GradientDescent(rate))
    H = X.T @ X / len(X)
    state = system.initial_state(0)
    torch.testing.assert_close(system.hessian(state)[0], H, rtol=1e-13, atol=1e-14)
    least = torch.linalg.lstsq(X, Y).solution.mT
    M = torch.eye(2, dtype=torch.float64) - rate * H
    V = torch.eye(2, dtype=torch.float64)[:, None]
    wanted = least + (state - least) @ torch.linalg.matrix_power(M, steps)
    for t in range(steps):
        state, V = system.tangent(state, V, t)
    torch.testing.assert_close(state, wanted, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(V[:, 0], torch.linalg.matrix_power(M, steps), rtol=1e-11, atol=1e-14)


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.v = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.w * self.v * x


def test_two_weights_on_their_line_of_minima():
    # c = (w v - 1)^2 / 2: multipliers 1 - lr (w^2 + v^2) and 1 where w v = 1
    rate = 0.37
    one = torch.ones(1, 1)
    system = Training(Product(), half_squared_error, (one, one), GradientDescent(rate))
    (state,) = system.state_of()
    following, M = system.tangent(state, torch.eye(2, dtype=torch.float64), 0)
    torch.testing.assert_close(following, state, rtol=0, atol=0)
    wanted = torch.tensor([1 - rate * 4.25, 1.0], dtype=torch.float64).sort().values
    torch.testing.assert_close(torch.linalg.eigvalsh(M), wanted, rtol=1e-14, atol=1e-14)
    assert system.labels() == ["weights w", "weights v"]


def test_heavy_ball_contracts_volume_and_pairs_for_any_network_and_batch():
    beta = 0.9
    system = Training(deep(), F.mse_loss, (X, Y), HeavyBall(0.05, beta), batch_size=4, shuffle_seed=0)
    state, P = system.initial_state(2), system.count
    identity, zero = torch.eye(P, dtype=torch.float64), torch.zeros(P, P, dtype=torch.float64)
    J = torch.cat([torch.cat([zero, identity], 1), torch.cat([-identity, zero], 1)])
    for t in range(3):
        state, MV = system.tangent(state, torch.eye(2 * P, dtype=torch.float64)[:, None], t)
        M = MV[:, 0].T
        torch.testing.assert_close(M.T @ J @ M, beta * J, rtol=0, atol=1e-11)
        assert torch.linalg.slogdet(M)[1].item() == pytest.approx(P * math.log(beta), rel=1e-9)


@pytest.mark.parametrize("method", ["blocks", "vmap"])
@pytest.mark.parametrize("rule", [GradientDescent(1e4), HeavyBall(1e4), Adam(1e300), RMSprop(1e300)], ids=repr)
def test_exploding_runs_end_in_numbers_that_can_be_flagged(rule, method):
    factory = functools.partial(nn.Sequential, nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    system = Training(factory(), F.mse_loss, (X, Y), rule, method=method)
    state = system.initial_state(0, members=2)
    state[1] = 0.0  # gradient zero but for the last bias: there is nothing to explode through at first
    V = torch.eye(system.dim(), dtype=torch.float64)[:, None].expand(-1, 2, -1).contiguous()
    for t in range(12):
        state, V = system.tangent(state, V, t)
        if torch.isfinite(V).all():
            V = V / V.norm(dim=-1, keepdim=True)
    assert not torch.isfinite(state[0]).all()
    assert not torch.isfinite(V[:, 0]).all()
    assert not torch.isfinite(system.loss(state)[0])
    assert system.hessian(state).shape == (2, system.count, system.count)


def test_initial_states_are_those_of_ensembles():
    model = small()
    system = Training(model, F.mse_loss, (X, Y), HeavyBall(0.1))
    before = torch.get_rng_state()
    found = system.initial_state(5, members=3)
    assert torch.equal(before, torch.get_rng_state())
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in make_members(small, [5, 6, 7])]
    torch.testing.assert_close(found[:, : system.count], torch.stack(weights).detach().double(), rtol=0, atol=0)
    assert not found[:, system.count :].any()
    assert torch.equal(system.initial_state([7, 5])[0], found[2])
    factory = Training(small, F.mse_loss, (X, Y), HeavyBall(0.1))
    assert torch.equal(factory.initial_state(5, 3), found)
    drawn = system.initial_state(5, initialise=glorot)[0]
    (member,) = make_members(small, [5], "glorot")
    torch.testing.assert_close(system.weights(drawn)["0.weight"], member[0].weight.detach().double(), rtol=0, atol=0)


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2, 1))

    def forward(self, x):
        return x @ self.w


def test_a_part_that_cannot_draw_its_weights_is_named():
    system = Training(Bare(), F.mse_loss, (X, Y), GradientDescent(0.1))
    with pytest.raises(ArgumentError, match="Bare"):
        system.initial_state(0)
    assert system.initial_state(0, 4, initialise=lambda net: net.w.normal_()).std() > 0
    assert torch.equal(system.state_of(), torch.ones(1, 2, dtype=torch.float64))
    # here reset_parameters() draws a weight that is computed from others, which stay
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 1)))
    with pytest.raises(ArgumentError, match=r"'0\.parametrizations\.weight'"):
        Training(normed, F.mse_loss, (X, Y), GradientDescent(0.1)).initial_state(0)


def test_networks_draw_their_weights_as_when_they_were_built():
    factories = [
        Recurrent,
        Attention,
        deep,
        lambda: nn.MultiheadAttention(4, 2),
        lambda: nn.Embedding(5, 3, padding_idx=0),
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.PReLU()),
    ]
    for factory in factories:
        built, copied = fresh(lambda factory=factory: factory(), 9, "torch"), fresh(factory(), 9, "torch")
        for wanted, found in zip(built.parameters(), copied.parameters(), strict=True):
            assert torch.equal(wanted, found)


def test_parts_weights_modules_and_labels():
    system = Training(small(), F.mse_loss, (X, Y), Adam(0.1))
    states = system.step(system.initial_state(0, 3), 0)
    P = system.count
    assert P == 13
    assert system.parts == {"weights": slice(0, P), "momentum": slice(P, 2 * P), "second_moment": slice(2 * P, 3 * P)}
    labels = system.labels()
    assert len(labels) == system.dim() == 3 * P
    assert (labels[0], labels[5], labels[-1]) == (
        "weights 0.weight[0, 0]",
        "weights 0.weight[2, 1]",
        "second_moment 2.bias[0]",
    )
    named = system.weights(states)
    assert named["0.weight"].shape == (3, 3, 2)
    assert named["0.weight"][1, 2, 1] == states[1, 5]
    modules = system.modules(states)
    losses = torch.stack([F.mse_loss(m(X), Y) for m in modules])
    torch.testing.assert_close(system.loss(states), losses.detach(), rtol=1e-13, atol=0)
    assert torch.equal(system.state_of(Stack(modules))[:, :P], states[:, :P])
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(m.parameters()))])
        for loss, m in zip(losses, modules, strict=True)
    ]
    torch.testing.assert_close(system.gradient(states), torch.stack(gradients), rtol=1e-12, atol=1e-14)
    assert "method='blocks'" in repr(system)


@pytest.mark.parametrize("method", ["blocks", "vmap"])
def test_the_step_itself_can_be_differentiated(method):
    system = Training(small(), F.mse_loss, (X, Y), Adam(0.05), method=method)
    state = system.step(start(system), 1)
    V, W = draw(*state.shape), draw(*state.shape)
    MV = system.tangent(state, V[None], 2)[1][0]
    torch.testing.assert_close(
        torch.func.jvp(lambda s: system.step(s, 2), (state,), (V,))[1], MV, rtol=1e-9, atol=1e-11
    )
    leaf = state.clone().requires_grad_()
    (pulled,) = torch.autograd.grad(system.step(leaf, 2), leaf, W)
    torch.testing.assert_close(adjoint(system, state, W[None], 2)[0], pulled, rtol=1e-9, atol=1e-11)
    with torch.inference_mode():
        inside = system.tangent(state.clone(), V[None].clone(), 2)
    torch.testing.assert_close(inside[1][0], MV, rtol=1e-12, atol=1e-13)
    assert not system.tangent(leaf, V[None], 2)[1].requires_grad


@pytest.mark.parametrize("method", ["blocks", "vmap"])
def test_a_small_budget_gives_the_same(method):
    rich = Training(small(), F.mse_loss, (X, Y), HeavyBall(0.1), method=method)
    poor = Training(small(), F.mse_loss, (X, Y), HeavyBall(0.1), method=method, memory="40kB")
    states = rich.initial_state(0, members=9)
    V = draw(rich.dim(), *states.shape)
    for a, b in zip(rich.tangent(states, V, 0), poor.tangent(states, V, 0), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(rich.hessian(states), poor.hessian(states), rtol=1e-12, atol=1e-13)
    with pytest.raises(ArgumentError, match="memory"):
        Training(small(), F.mse_loss, (X, Y), HeavyBall(0.1), method=method, memory="100B").hessian(states)


def test_float32_on_request():
    system = Training(small(), F.mse_loss, (X, Y), Adam(0.01), dtype=torch.float32)
    exact = Training(small(), F.mse_loss, (X, Y), Adam(0.01))
    states = system.initial_state(0, members=3)
    assert states.dtype is torch.float32
    check_system(system, system.step(states, 0), steps=1)
    torch.testing.assert_close(system.step(states, 0).double(), exact.step(states.double(), 0), rtol=1e-4, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"state: got torch\.float32"):
        exact.step(states, 0)


def test_no_vectors_and_several_dimensions_of_members():
    system = Training(small(), F.mse_loss, (X, Y), HeavyBall(0.1))
    states = system.initial_state(0, members=6).view(2, 3, -1)
    following, MV = system.tangent(states, states.new_zeros(0, *states.shape), 0)
    assert (following.shape, MV.shape) == (states.shape, (0, *states.shape))
    torch.testing.assert_close(following, system.step(states, 0), rtol=1e-13, atol=1e-14)
    assert system.hessian(states).shape == (2, 3, 13, 13)
    assert system.loss(states).shape == (2, 3)


def test_what_ends_is_a_horizon():
    batches = [(X[:6], Y[:6]), (X[6:], Y[6:])]
    once = Training(small(), F.mse_loss, batches, GradientDescent(0.1), repeat=False)
    assert once.horizon == 2
    state = once.initial_state(0)
    with pytest.raises(ArgumentError, match="steps 0 to 1"):
        once.step(state, 2)
    assert Training(small(), F.mse_loss, batches, GradientDescent([0.1] * 5)).horizon == 5


def batch_norm():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def spectral():
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 3)), nn.Linear(3, 1))


RULE = GradientDescent(0.1)


@pytest.mark.parametrize(
    ("make", "argument", "says"),
    [
        (lambda: Training(batch_norm(), F.mse_loss, (X, Y), RULE), "model", "BatchNorm1d '1'"),
        (lambda: Training(spectral(), F.mse_loss, (X, Y), RULE), "model", "buffer"),
        (lambda: Training(nn.LazyLinear(1), F.mse_loss, (X, Y), RULE), "model", "lazy"),
        (lambda: Training(nn.Tanh(), F.mse_loss, (X, Y), RULE), "model", "without"),
        (lambda: Training(nn.Linear, F.mse_loss, (X, Y), RULE), "model", "class Linear"),
        (lambda: Training(lambda: 3, F.mse_loss, (X, Y), RULE), "model", "int"),
        (lambda: Training(small().requires_grad_(False), F.mse_loss, (X, Y), RULE), "model", "unfreeze"),
        (lambda: Training(small(), F.mse_loss, X, RULE), "data", "Tensor"),
        (lambda: Training(small(), F.mse_loss, [], RULE), "data", "list of 0"),
        (lambda: Training(small(), F.mse_loss, (X, Y[:3]), RULE), "data", "shape"),
        (lambda: Training(small(), F.mse_loss, (X * math.nan, Y), RULE), "data", "not finite"),
        (lambda: Training(small(), F.mse_loss, (draw(4, 3), Y[:4]), RULE), "data", "fit"),
        (lambda: Training(small(), F.cross_entropy, (X, CLASSES.float()), RULE), "data", "fit"),
        (lambda: Training(small(), lambda o, y: o - y, (X, Y), RULE), "loss", "one number"),
        (lambda: Training(small(), "mse", (X, Y), RULE), "loss", "function"),
        (lambda: Training(small(), F.mse_loss, (X, Y), "adam"), "optimizer", "sx.optim"),
        (lambda: Training(small(), F.mse_loss, (X, Y), torch.optim.SGD(small().parameters())), "optimizer", "not this"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE, method="fast"), "method", "fast"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE, dtype=torch.float16), "dtype", "float16"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE, shuffle_seed=1), "shuffle_seed", "batch_size"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE, batch_size=0), "batch_size", "at least 1"),
        (lambda: Training(small(), F.mse_loss, [(X, Y)], RULE, batch_size=2), "batch_size", "list"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE, repeat=False), "repeat", "list of batches"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE, memory="much"), "memory", "much"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE).step(X, 0), "state", "13"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE).initial_state(0, 0), "members", "at least 1"),
        (
            lambda: Training(small(), F.mse_loss, (X, Y), RULE).initial_state(0, initialise="glorot"),
            "initialise",
            "glorot",
        ),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE).state_of(deep()), "model", "architecture"),
        (lambda: Training(small(), F.mse_loss, (X, Y), RULE).hessian_product(draw(13), draw(2, 5)), "V", "shape"),
    ],
)
def test_what_cannot_be_used_is_named(make, argument, says, as_user):
    with pytest.raises(ArgumentError, match=says) as error:
        make()
    assert error.value.argument == argument


@pytest.mark.parametrize("method", ["auto", "loop"])
def test_a_loss_of_more_than_the_output_is_refused(method, as_user):
    """A penalty on the parameters of the network that was given would never change, and have no derivative."""
    net, free = small(), nn.Parameter(torch.ones(()))

    def penalised(output, y):
        return F.mse_loss(output, y) + 0.5 * sum(p.square().sum() for p in net.parameters())

    for loss in (penalised, lambda output, y: free * F.mse_loss(output, y)):
        with pytest.raises(ArgumentError, match=r"^loss: got one that depends on parameters .*weight_decay"):
            Training(net, loss, (X, Y), RULE, method=method)
    fixed = free.detach()
    Training(net, lambda output, y: fixed * F.mse_loss(output, y), (X, Y), RULE, method=method)
    weighed = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    Training(nn.Linear(2, 3), weighed, (X, CLASSES), RULE, method=method)


def test_batch_statistics_are_fine_once_they_stay(as_user):
    net = batch_norm().eval()
    with untouched(net):
        system = Training(net, F.mse_loss, (X, Y), RULE)
        system.tangent(system.initial_state(0, 2), draw(3, 2, system.dim()), 0)


def test_an_exception_in_the_network_comes_through():
    net = deep()
    system = Training(net, F.mse_loss, (X, Y), RULE)
    state = system.initial_state(0)

    def interrupt(*_):
        raise RuntimeError("stop here")

    handle = system._network[4].register_forward_hook(interrupt)
    with untouched(net), pytest.raises(RuntimeError, match="stop here"):
        system.tangent(state, state[None], 0)
    handle.remove()
    assert torch.isfinite(system.step(state, 0)).all()


def test_the_own_loss_is_not_broadcast():
    """(n, 1) against (n,) would be the mean over all pairs of rows, with derivatives that look as good as any."""
    X = torch.randn(5, 3, dtype=torch.float64)
    for net in (nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))):
        with pytest.raises(ArgumentError, match=r"target: got shape \(5,\) for an output of shape \(5, 1\)"):
            Training(net, half_squared_error, (X, X.sum(1)), GradientDescent(0.1))
    out, y = X[:, :1], X[:, 1:2]
    assert float(half_squared_error(out, y)) == pytest.approx(float(((out - y) ** 2).mean()) / 2)
