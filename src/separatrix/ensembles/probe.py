"""Looks before training: whether network, data and loss fit together, and how many members fit into the budget."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from separatrix.ensembles.losses import Loss
from separatrix.results.errors import ArgumentError


def probe(network: nn.Module, X: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Output and target of a few rows.

    Raises
    ------
    ArgumentError
        If the network rejects the inputs, or the loss its outputs and targets, or broadcasts one of them.
    """
    x, target = X[:4], y[: len(X[:4])]
    # a copy, whose batch statistics may change
    network = copy.deepcopy(network).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            output = network(x)
        except (RuntimeError, TypeError, IndexError) as error:
            raise ArgumentError(
                "data", f"X with rows of shape {tuple(X.shape[1:])}", f"the network rejects them: {error}"
            ) from error
        shapes = f"output {tuple(getattr(output, 'shape', ()))} and target {tuple(target.shape)} {target.dtype}"
        if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != len(x):
            raise ArgumentError("factory", "a network whose output is no batch", "return one tensor, batch first")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Using a target size")
            try:
                value = loss(output, target)
            except (RuntimeError, TypeError, IndexError, ValueError, UserWarning) as error:
                raise ArgumentError("loss", shapes, f"they do not fit the loss: {error}") from error
    if not isinstance(value, Tensor) or value.ndim:
        raise ArgumentError("loss", f"a value of shape {tuple(getattr(value, 'shape', ()))}", "return one number")
    return output, target


def members_per_chunk(network: nn.Module, X: Tensor, batch: int, budget: int) -> int:
    """How many members fit into a budget of bytes side by side.

    Raises
    ------
    ArgumentError
        If not even one does.
    """
    seen: list[Tensor] = []

    def note(module: nn.Module, args: Any, value: Any) -> None:
        seen.extend(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))

    network = copy.deepcopy(network).eval()
    for part in network.modules():
        part.register_forward_hook(note)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network(X[:1])
    values = sum(t.numel() * t.element_size() for t in seen)
    stored = sum(p.numel() * p.element_size() for p in [*network.parameters(), *network.buffers()])
    # weights, gradients, what they end with, and up to three of the optimizer; activations and what goes back through
    need = 6 * stored + 2 * batch * values
    if need > budget:
        raise ArgumentError(
            "memory",
            f"a budget of {budget:,} bytes",
            f"one member needs about {need:,}: raise it, or use smaller batches",
        )
    return int(budget // need)
