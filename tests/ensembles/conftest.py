"""The twin of ensemble training: one network at a time, by torch alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from separatrix.ensembles import make_members


def train_alone(
    factory: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor],
    seed: int,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: Callable,
    epochs: int,
    batch_size: int,
    order_seed: int,
    initialise: str = "torch",
    schedule: Callable | None = None,
) -> tuple[nn.Module, list[float]]:
    (network,) = make_members(factory, [seed], initialise)
    network = copy.deepcopy(network)
    moved = optimizer(list(network.parameters()))
    scheduler = schedule(moved) if schedule else None
    generator = torch.Generator().manual_seed(order_seed)
    X, y = data
    history = []
    for _ in range(epochs):
        order = torch.randperm(len(X), generator=generator)
        total = 0.0
        for rows in order.split(batch_size):
            moved.zero_grad()
            value = loss(network(X[rows]), y[rows])
            value.backward()
            moved.step()
            total += float(value.detach()) * len(rows)
        if scheduler:
            scheduler.step()
        history.append(total / len(X))
    return network, history


@pytest.fixture
def alone() -> Callable:
    return train_alone
