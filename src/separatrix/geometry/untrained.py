"""Untrained twins: a network's architecture with fresh weights, which training never touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from separatrix.results.errors import ArgumentError


def untrained_twin(model: nn.Module, seed: int = 0, factory: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Make a copy of a network with weights as they might have been before training.

    Parameters
    ----------
    model : nn.Module
        Left as it was, mode included.
    seed : int
        Of the draw; the caller's random numbers are left alone.
    factory : callable, optional
        Builds a network with fresh weights, for initialisations of one's own. Without it every module of a copy that
        has ``reset_parameters`` draws its weights again, which is the initialisation of torch's own layers; running
        statistics of batch normalisations start again at mean 0 and variance 1.

    Returns
    -------
    nn.Module
        In the mode of ``model``, without gradients.

    Raises
    ------
    ArgumentError
        If there is no factory, and parameters belong to modules that cannot draw them again, or are computed from
        others (parametrisations).
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        if factory is not None:
            twin = factory()
            if not isinstance(twin, nn.Module):
                raise ArgumentError("factory", f"a function that returns {type(twin).__name__}", "return an nn.Module")
        else:
            twin = copy.deepcopy(model)
            _draw_again(twin)
    twin.requires_grad_(False)
    for mine, theirs in zip(twin.modules(), model.modules(), strict=False):
        mine.training = theirs.training
    return twin


def resettable(model: nn.Module) -> list[str]:
    """Names of the classes that draw their own parameters again."""
    return sorted({type(part).__name__ for part in model.modules() if _reset(part) is not None})


def _draw_again(twin: nn.Module) -> None:
    drawn: set[int] = set()
    # children first, so that what a module does to its children comes last
    for part in reversed(list(twin.modules())):
        reset = _reset(part)
        if reset is not None:
            reset()
            drawn |= {id(p) for p in part.parameters(recurse=False)}
    for name, parameter in twin.named_parameters():
        if id(parameter) not in drawn:
            raise ArgumentError(
                "untrained",
                f"the parameter {name!r}, which no reset_parameters draws again",
                "give factory=, a function that builds the network with fresh weights",
            )


def _reset(part: nn.Module) -> Any:
    found = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
    return found if callable(found) else None
