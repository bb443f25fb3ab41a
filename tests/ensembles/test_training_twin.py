"""An ensemble equals its members trained one at a time with torch.optim."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx


def chain(width: int, outputs: int, activation: type[nn.Module] = nn.Tanh):
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Linear(3, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, outputs)
        ).double()

    return build


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.double()

    def forward(self, x):
        h = F.gelu(self.first(x))
        return self.last(h + torch.tanh(self.second(h)))


class Tied(nn.Module):
    """One layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(3, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 1)
        self.double()

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.again(torch.tanh(self.again(h)))))


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv1d(1, 4, 2), nn.GroupNorm(2, 4), nn.Linear(8, 3)
        self.double()

    def forward(self, x):
        return self.last(F.silu(self.norm(self.conv(x[:, None]))).flatten(1))


class Recurrent(nn.Module):
    """A recurrent part, which torch.vmap cannot batch, behind batch statistics."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.norm, self.kind, self.last = nn.BatchNorm1d(3), kind(1, 4), nn.Linear(4, 3)
        self.double()

    def forward(self, x):
        steps = self.norm(x).T[..., None]
        if isinstance(self.kind, nn.RNNBase):
            return self.last(self.kind(steps)[0][-1])
        state = None
        for step in steps:
            state = self.kind(step, state)
        return self.last(state[0])


class Unbatchable(nn.Module):
    """An operation without a batching rule that no module tells of."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        inner = nn.GRU(1, 3).double()
        self.weights = nn.ParameterList([nn.Parameter(p.detach()) for p in inner.parameters()])
        self.double()

    def forward(self, x):
        start = x.new_zeros(1, len(x), 3)
        weights = list(self.weights)
        return torch._VF.gru(self.norm(x).T[..., None], start, weights, True, 1, 0.0, False, False, False)[0][-1]


def data(classes: bool, count: int = 70):
    g = torch.Generator().manual_seed(5)
    X = torch.randn(count, 3, generator=g, dtype=torch.float64)
    return X, (X.argmax(1) if classes else (X.prod(1, keepdim=True)).sin())


OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "nesterov": partial(torch.optim.SGD, lr=0.1, momentum=0.8, nesterov=True),
    "adam": partial(torch.optim.Adam, lr=0.01, weight_decay=1e-3),
    "adamw": partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.003, momentum=0.5, centered=True),
    "rprop": partial(torch.optim.Rprop, lr=0.01),
    "radam": partial(torch.optim.RAdam, lr=0.01),
    "asgd": partial(torch.optim.ASGD, lr=0.05),
}

CASES = {
    "tanh": (chain(7, 1), F.mse_loss, False, "products"),
    "sigmoid": (chain(5, 3, nn.Sigmoid), F.cross_entropy, True, "products"),
    "relu": (chain(6, 3, nn.ReLU), nn.CrossEntropyLoss(), True, "products"),
    "softplus": (chain(6, 1, nn.Softplus), nn.SmoothL1Loss(), False, "products"),
    "smoothed": (chain(6, 3, nn.SiLU), nn.CrossEntropyLoss(label_smoothing=0.1), True, "products"),
    "tied": (Tied, F.mse_loss, False, "products"),
    "residual": (Residual, F.cross_entropy, True, "vmap"),
    "convolution": (Convolution, F.cross_entropy, True, "vmap"),
}

APART = {
    "lstm": partial(Recurrent, nn.LSTM),
    "gru": partial(Recurrent, nn.GRU),
    "lstm cell": partial(Recurrent, nn.LSTMCell),
    "no module": Unbatchable,
}


def worst(trained, alone_ones) -> float:
    return max(
        float((mine - theirs).abs().max())
        for network, (other, _) in zip(trained.members, alone_ones, strict=True)
        for mine, theirs in zip(network.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("shuffle", ["shared", "private"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("case", CASES)
def test_members_equal_training_alone(alone, case, optimizer, shuffle):
    factory, loss, classes, method = CASES[case]
    common = {"loss": loss, "optimizer": OPTIMIZERS[optimizer], "epochs": 6, "batch_size": 16}
    seeds = [3, 1, 11]
    trained = sx.ensembles.train(factory, data(classes), seeds=seeds, shuffle=shuffle, shuffle_seed=9, **common)
    ones = [alone(factory, data(classes), s, order_seed=s if shuffle == "private" else 9, **common) for s in seeds]
    assert trained.history.attrs["method"] == method
    assert worst(trained, ones) < 1e-10
    np.testing.assert_allclose(trained.history.loss, [h for _, h in ones], rtol=1e-10)
    x = data(classes)[0]
    expected = torch.stack([network(x) for network, _ in ones])
    torch.testing.assert_close(trained.stack(x), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shuffle", ["shared", "private"])
@pytest.mark.parametrize("name", APART)
def test_networks_that_cannot_be_vectorised_are_trained_in_turn(alone, name, shuffle):
    common = {"loss": F.cross_entropy, "optimizer": OPTIMIZERS["adam"], "epochs": 2, "batch_size": 16}
    trained = sx.ensembles.train(
        APART[name], data(True, 40), seeds=[3, 1], shuffle=shuffle, shuffle_seed=9, validation=data(True, 20), **common
    )
    seeds = [(3, 3), (1, 1)] if shuffle == "private" else [(3, 9), (1, 9)]
    ones = [alone(APART[name], data(True, 40), seed, order_seed=order, **common) for seed, order in seeds]
    assert trained.history.attrs["method"] == "members in turn"
    assert worst(trained, ones) < 1e-10
    for network, (other, _) in zip(trained.members, ones, strict=True):
        for mine, theirs in zip(network.buffers(), other.buffers(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", sorted(set(OPTIMIZERS) - {"sgd", "adam", "rmsprop"}))
def test_other_optimizers_of_single_numbers(alone, optimizer):
    common = {"loss": F.mse_loss, "optimizer": OPTIMIZERS[optimizer], "epochs": 8, "batch_size": 16}
    trained = sx.ensembles.train(chain(5, 1), data(False), seeds=range(3), initialise="glorot", **common)
    ones = [alone(chain(5, 1), data(False), s, order_seed=0, initialise="glorot", **common) for s in range(3)]
    assert worst(trained, ones) < 1e-10


def test_both_methods_agree_with_a_schedule(alone):
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.3)
    common = {"loss": F.mse_loss, "optimizer": OPTIMIZERS["adam"], "epochs": 6, "batch_size": 16, "schedule": schedule}
    ones = [alone(chain(5, 1), data(False), s, order_seed=0, **common) for s in range(3)]
    for method in ("products", "vmap"):
        trained = sx.ensembles.train(chain(5, 1), data(False), seeds=range(3), method=method, **common)
        assert worst(trained, ones) < 1e-10


def test_blocks_of_members_and_rows(alone, monkeypatch):
    # tiny blocks, so that every gradient is a sum over several
    monkeypatch.setattr("separatrix.ensembles.products._BLOCK_NUMBERS", 600)
    monkeypatch.setattr("separatrix.ensembles.products._WORTH_THREADS", 0)
    common = {"loss": F.mse_loss, "optimizer": OPTIMIZERS["sgd"], "epochs": 2, "batch_size": 700}
    big = data(False, count=900)
    trained = sx.ensembles.train(chain(5, 1), big, seeds=range(5), **common)
    ones = [alone(chain(5, 1), big, s, order_seed=0, **common) for s in range(5)]
    assert worst(trained, ones) < 1e-10


def test_a_small_budget_trains_members_after_one_another():
    common = {"loss": F.mse_loss, "optimizer": OPTIMIZERS["adam"], "epochs": 3, "batch_size": 16, "seeds": range(7)}
    together = sx.ensembles.train(chain(5, 1), data(False), **common)
    apart = sx.ensembles.train(chain(5, 1), data(False), memory=20_000, **common)
    for a, b in zip(together.members, apart.members, strict=True):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-12)
    np.testing.assert_allclose(together.history.loss, apart.history.loss, rtol=1e-12)
