"""What may be asked of a user's function before it is run: its arguments, its mode."""

from __future__ import annotations

import inspect
import math
from typing import Any

from torch import nn

from separatrix.results.errors import ArgumentError


def positive(value: object, argument: str) -> float:
    """Return a finite positive number as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ArgumentError(argument, repr(value), "give a positive, finite number")
    return float(value)


def signature_of(f: object, argument: str) -> inspect.Signature | None:
    """Return the signature of a function or module; None for built-in functions, which tell nothing of themselves."""
    if isinstance(f, type) or not callable(f):
        got = f"the class {f.__name__}" if isinstance(f, type) else type(f).__name__
        raise ArgumentError(argument, got, "give a function of a batch, or an instance of nn.Module")
    target: Any = getattr(f, "forward", None) if isinstance(f, nn.Module) else f
    if target is None:
        # torch.jit hides the forward of a module with several signatures, such as its recurrent ones
        kind = getattr(f, "original_name", type(f).__name__)
        raise ArgumentError(argument, f"a scripted {kind}", "give the nn.Module that it was made of")
    try:
        return inspect.signature(target)
    except (ValueError, TypeError):
        return None


def takes_time(f: object, argument: str) -> str:
    """Tell how f wants the time: "positional", "keyword" or "" (not at all)."""
    signature = signature_of(f, argument)
    if signature is None:
        return ""
    parameters = signature.parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in places if p.default is p.empty]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and (p.name == "t" or p.default is p.empty)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    by_name = [p.name for p in named] == ["t"]
    if len(needed) > 2 or (not places and not variadic) or (named and not (by_name and len(needed) <= 1)):
        wants = ", ".join(p.name for p in [*needed, *named]) or "nothing"
        raise ArgumentError(
            argument, f"a function of ({wants})", "it must take (x) or (x, t); bind the rest with a lambda"
        )
    if by_name:
        return "keyword"
    timed = len(needed) == 2 or (len(places) > 1 and places[1].name == "t")
    return "positional" if timed else ""


def refuse_training(module: nn.Module, argument: str) -> None:
    """Refuse a module whose value depends on chance, or on the rest of the batch."""
    for name, part in module.named_modules():
        batch_norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        if not part.training and not (batch_norm and part.running_mean is None):
            continue
        statistics = batch_norm or getattr(part, "track_running_stats", False)
        chance = part.p if isinstance(part, nn.modules.dropout._DropoutNd) else getattr(part, "dropout", 0.0)
        random = isinstance(part, nn.RReLU) or (isinstance(chance, float) and chance > 0)
        if statistics or random:
            what = "batch statistics" if statistics else "random numbers"
            got = f"a module whose {type(part).__name__} {name!r} uses {what}"
            more = "; without running statistics it cannot be used" if statistics else ""
            raise ArgumentError(argument, got, f"call .eval() on it{more}")
