"""What becomes of members that diverge, stop early or are frozen; and arguments that cannot be used."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.ensembles import Outcome

ADAM = partial(torch.optim.Adam, lr=0.02)
DISC = sx.data.disc(600, seed=1)
PAIR = (DISC.X_train, DISC.y_train[:, None])
COMMON = {"loss": F.mse_loss, "optimizer": ADAM, "epochs": 4, "batch_size": 100}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1), nn.Tanh())


class Sick(nn.Module):
    """Goes NaN as soon as its one bias exceeds a limit that its seed decides."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.line, self.limit = nn.Linear(2, 1), limit

    def forward(self, x):
        y = self.line(x)
        return torch.where(y.abs().amax() > self.limit, torch.nan, y)


def same(a: nn.Module, b: nn.Module, atol: float = 0.0) -> None:
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=atol)


@pytest.mark.parametrize("method", ["products", "vmap"])
def test_a_member_that_diverges_is_marked_and_the_others_do_not_notice(method):
    scales = {0: 1.0, 1: 1e19, 2: 1.0}

    def uneven() -> nn.Module:
        network = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1))
        with torch.no_grad():
            # float32 overflows in the squared error of the second member
            network[2].weight *= scales[torch.initial_seed()]
        return network

    common = COMMON | {"method": method}
    trained = sx.ensembles.train(uneven, PAIR, seeds=[0, 1, 2], **common)
    healthy = sx.ensembles.train(uneven, PAIR, seeds=[0, 2], **common)
    assert trained.history.outcome.values.tolist() == [Outcome.FINISHED, Outcome.DIVERGED, Outcome.FINISHED]
    assert trained.history.epochs.values.tolist() == [4, 1, 4]
    assert np.isnan(trained.history.loss.values[1, 1:]).all()
    for mine, theirs in zip((trained.members[0], trained.members[2]), healthy.members, strict=True):
        same(mine, theirs, 1e-6)
    # it never had a finite epoch: it is as it was made
    (born,) = sx.ensembles.make_members(uneven, [1])
    same(trained.members[1], born)


def test_a_member_that_diverges_late_keeps_its_last_finite_weights():
    # plain gradient descent on a line: unstable, so the loss grows geometrically until float32 overflows
    def line() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 1, bias=False))

    trained = sx.ensembles.train(
        line,
        PAIR,
        seeds=range(2),
        loss=F.mse_loss,
        optimizer=partial(torch.optim.SGD, lr=50.0),
        epochs=60,
        batch_size=540,
    )
    history = trained.history
    assert (history.outcome == Outcome.DIVERGED).all()
    for i, member in enumerate(trained.members):
        last = int(history.epochs[i]) - 1
        assert last > 3 and np.isfinite(history.loss.values[i, :last]).all()
        assert all(torch.isfinite(p).all() for p in member.parameters())


@pytest.mark.parametrize("shuffle", ["shared", "private"])
def test_members_that_are_good_enough_stop_and_are_as_if_alone(shuffle):
    common = COMMON | {
        "epochs": 25,
        "until_accuracy": 0.9,
        "shuffle": shuffle,
        "validation": (DISC.X_test, DISC.y_test[:, None]),
    }
    trained = sx.ensembles.train(net, PAIR, seeds=range(4), **common)
    epochs = trained.history.epochs.values
    assert len(set(epochs)) > 2, "the test needs members that stop at different times"
    for i, member in enumerate(trained.members):
        alone = sx.ensembles.train(net, PAIR, seeds=[i], **common)
        assert alone.history.epochs.item() == epochs[i]
        same(member, alone.members[0], 1e-4)
        accuracy = trained.history.validation_accuracy.values[i]
        stopped = trained.history.outcome.values[i] == Outcome.STOPPED
        assert stopped == (accuracy[epochs[i] - 1] >= 0.9)
        assert (accuracy[: epochs[i] - 1] < 0.9).all()
        right = (member(DISC.X_test)[:, 0] * DISC.y_test > 0).double().mean()
        assert accuracy[epochs[i] - 1] == pytest.approx(float(right))


def test_patience_counts_epochs_without_a_new_least_loss():
    trained = sx.ensembles.train(
        net,
        PAIR,
        seeds=range(4),
        **(COMMON | {"epochs": 80, "patience": 3, "optimizer": partial(torch.optim.Adam, lr=0.2)}),
    )
    for loss, epochs, outcome in zip(
        trained.history.loss.values, trained.history.epochs.values, trained.history.outcome.values, strict=True
    ):
        best = int(np.nanargmin(loss))
        assert outcome == (Outcome.STOPPED if epochs < 80 or epochs - 1 - best >= 3 else Outcome.FINISHED)
        if outcome == Outcome.STOPPED:
            assert epochs - 1 - best == 3


def test_frozen_parameters_and_batch_statistics():
    def mixed() -> nn.Module:
        network = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1)).double()
        network[0].requires_grad_(False)
        return network

    X, y = PAIR[0].double(), PAIR[1].double()
    trained = sx.ensembles.train(mixed, (X, y), seeds=range(3), **COMMON)
    generator = torch.Generator().manual_seed(0)
    twins = sx.ensembles.make_members(mixed, range(3))
    moved = [ADAM([p for p in twin.parameters() if p.requires_grad]) for twin in twins]
    for _ in range(4):
        for rows in torch.randperm(len(X), generator=generator).split(100):
            for twin, optimizer in zip(twins, moved, strict=True):
                optimizer.zero_grad()
                F.mse_loss(twin(X[rows]), y[rows]).backward()
                optimizer.step()
    for member, twin in zip(trained.members, twins, strict=True):
        assert not member.training
        for (name, mine), theirs in zip(member.state_dict().items(), twin.state_dict().values(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10, msg=name)


def test_dropout_draws_masks_of_its_own_and_is_repeatable():
    def dropped() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 40), nn.Tanh(), nn.Dropout(0.5), nn.Linear(40, 1))

    first = sx.ensembles.train(dropped, PAIR, seeds=range(2), **COMMON)
    again = sx.ensembles.train(dropped, PAIR, seeds=range(2), **COMMON)
    assert first.history.attrs["method"] == "vmap"
    np.testing.assert_array_equal(first.history.loss, again.history.loss)
    stack = copy.deepcopy(first.stack).train()
    zero = [(stack.network[2](torch.ones(2, 40)) == 0).float().mean() for _ in range(5)]
    assert min(zero) > 0.2
    twins = sx.ensembles.Stack([first.members[0], first.members[0]]).train()
    one, two = twins(torch.ones(4, 2))
    assert not torch.equal(one, two)


def test_nothing_of_the_callers_changes(as_user):
    X, y = PAIR[0].clone(), PAIR[1].clone()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    sx.ensembles.train(net, (X, y), seeds=range(3), **COMMON)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert torch.equal(X, PAIR[0]) and torch.equal(y, PAIR[1])


def test_progress_ends_at_the_total():
    seen = []
    sx.ensembles.train(
        net,
        PAIR,
        seeds=range(3),
        **(COMMON | {"until_accuracy": 0.0}),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (12, 12)


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"shuffle": "often"}, "shuffle"),
        ({"method": "fast"}, "method"),
        ({"initialise": "he"}, "initialise"),
        ({"patience": 0}, "patience"),
        ({"accuracy": "top5"}, "accuracy"),
        ({"memory": 100}, "memory"),
        ({"accuracy": None, "until_accuracy": 0.5}, "until_accuracy"),
        ({"loss": lambda output, target: (output - target).square()}, "loss"),
        ({"loss": F.nll_loss}, "loss"),
        ({"optimizer": torch.optim.LBFGS}, "optimizer"),
    ],
)
def test_arguments_that_cannot_be_used(changed, argument):
    with pytest.raises(sx.ArgumentError, match=rf"^{argument}"):
        sx.ensembles.train(net, PAIR, **({"seeds": [0]} | COMMON | changed))


@pytest.mark.parametrize(
    ("data", "argument"),
    [
        ((PAIR[0], DISC.y_train), "loss"),
        ((PAIR[0], PAIR[1][:5]), "data"),
        ((PAIR[0] * torch.nan, PAIR[1]), "data"),
        ((PAIR[0][:0], PAIR[1][:0]), "data"),
        ((torch.zeros(5, 3), torch.ones(5, 1)), "data"),
        (PAIR[0], "data"),
    ],
)
def test_data_that_cannot_be_used(data, argument, as_user):
    with pytest.raises(sx.ArgumentError, match=rf"^{argument}"):
        sx.ensembles.train(net, data, seeds=[0], **COMMON)


def test_factories_that_cannot_be_used(as_user):
    one = net()
    with pytest.raises(sx.ArgumentError, match="one module twice"):
        sx.ensembles.train(lambda: one, PAIR, seeds=[0, 1], **COMMON)
    with pytest.raises(sx.ArgumentError, match="returns int"):
        sx.ensembles.train(lambda: 3, PAIR, seeds=[0], **COMMON)
    with pytest.raises(sx.ArgumentError, match="trainable"):
        sx.ensembles.train(lambda: net().requires_grad_(False), PAIR, seeds=[0], **COMMON)
