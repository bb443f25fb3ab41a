"""Where training starts: fresh weights of a network by seed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from separatrix.results.errors import ArgumentError

_RESETS = ("reset_parameters", "_reset_parameters")


def fresh(model: nn.Module | Callable[[], nn.Module], seed: int, initialise: Any) -> nn.Module:
    """Build a network with weights of its own, after ``torch.manual_seed(seed)``; the caller's generators are put back.

    Parameters
    ----------
    model : nn.Module or callable
        A function that builds one is called; a network is copied, and each of its parts draws its weights anew.
    seed : int
    initialise : {"torch"} or callable
        What is done with a network afterwards: nothing, or a function that changes it in place, such as
        ``sx.ensembles.glorot``.

    Raises
    ------
    ArgumentError
        If a part of the network has parameters and no ``reset_parameters``; if ``initialise`` is neither.
    """
    if initialise != "torch" and not callable(initialise):
        raise ArgumentError(
            "initialise", repr(initialise), 'give "torch", or a function of a module such as sx.ensembles.glorot'
        )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        if isinstance(model, nn.Module):
            network = copy.deepcopy(model).cpu()
            _reset(network, "", strict=not callable(initialise))
        else:
            network = model()
        if callable(initialise):
            initialise(network)
    return network


def _reset(part: nn.Module, name: str, *, strict: bool) -> None:
    """Draw the weights of a module anew, those of its parts first, as when it was built."""
    for inner, child in part.named_children():
        _reset(child, f"{name}.{inner}" if name else inner, strict=strict)
    own = [p for p in part.parameters(recurse=False) if p.is_floating_point()]
    if strict:
        for parameter in own:
            parameter.fill_(torch.nan)  # what is still there afterwards has not been drawn
    found = next((getattr(part, reset) for reset in _RESETS if callable(getattr(part, reset, None))), None)
    if found is not None:
        found()
    if strict and any(bool(parameter.isnan().any()) for parameter in own):
        raise ArgumentError(
            "model",
            f"{type(part).__name__} {name!r}, which has parameters that no reset_parameters() of its own draws",
            "give a function that builds the network instead of the network, or initialise=",
        )
