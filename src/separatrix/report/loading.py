"""Models, weights and losses, by name or from files."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.data.references import FORMS, resolve
from separatrix.data.sources import required_arguments
from separatrix.results.errors import ArgumentError

PREFIXES = {
    "module.": "save model.module.state_dict()",
    "_orig_mod.": "save the state dict of the model before torch.compile, or model._orig_mod.state_dict()",
}
"""What wrappers put before the names of weights, and how to save without."""

LOSSES: dict[str, type[nn.Module]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "nll_loss": nn.NLLLoss,
    "mse_loss": nn.MSELoss,
    "l1_loss": nn.L1Loss,
    "smooth_l1_loss": nn.SmoothL1Loss,
    "huber_loss": nn.HuberLoss,
    "binary_cross_entropy": nn.BCELoss,
    "binary_cross_entropy_with_logits": nn.BCEWithLogitsLoss,
}
"""Losses of ``torch.nn.functional`` that have a name here, and their modules."""


def load_model(reference: str, weights: str | Path | None = None) -> nn.Module:
    """Load a model by reference, and its weights.

    Parameters
    ----------
    reference : str
        ``file.py:name`` or ``package.module:name`` of an ``nn.Module``, a class of one that takes no arguments, or a
        callable that returns one.
    weights : str or Path, optional
        A safetensors file, or a ``.pt`` or ``.pth`` state dict. It is read without running code from it.

    Returns
    -------
    nn.Module
        In the mode in which the reference gave it.

    Raises
    ------
    ArgumentError
        If the reference names no model, or the weights are missing, unreadable or of another model.
    """
    found = resolve(reference, argument="model")
    if not isinstance(found, nn.Module) and callable(found):
        needed = required_arguments(found)
        if needed:
            raise ArgumentError(
                "model",
                f"{reference}, which needs the arguments {', '.join(needed)}",
                "name a function that needs none, such as one that calls this one",
            )
        found = found()
    if not isinstance(found, nn.Module):
        raise ArgumentError(
            "model",
            f"{type(found).__name__} from {reference}",
            "name a torch.nn.Module, or a callable that returns one",
        )
    if weights is not None:
        load_weights(found, weights)
    return found


def load_weights(model: nn.Module, weights: str | Path) -> None:
    """Put the weights of a file into a model; all names and shapes must agree.

    Raises
    ------
    ArgumentError
        If the file is missing, unreadable, or holds something else than this model's weights.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ArgumentError("weights", repr(str(weights)), "no such file; give a .safetensors file or a .pt state dict")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    expected = model.state_dict()
    missing, unexpected = [n for n in expected if n not in state], [n for n in state if n not in expected]
    if missing or unexpected:
        words = [f"{kind} {_some(names)}" for kind, names in (("without", missing), ("with", unexpected)) if names]
        hints = [f" (the names begin with '{p}': {hint})" for p, hint in PREFIXES.items() if _prefixed(unexpected, p)]
        remedy = f"give the state dict of this {type(model).__name__}{''.join(hints)}"
        raise ArgumentError("weights", f"{path.name} {' and '.join(words)}", remedy)
    wrong = [n for n in expected if isinstance(expected[n], Tensor) and state[n].shape != expected[n].shape]
    if wrong:
        sizes = ", ".join(f"{n} {tuple(state[n].shape)} instead of {tuple(expected[n].shape)}" for n in wrong[:3])
        raise ArgumentError("weights", f"{path.name} with {sizes}", "build the model as it was when it was trained")
    model.load_state_dict(state)


def load_loss(reference: Any) -> Callable[[Any, Tensor], Tensor]:
    """Find a loss of (output, target), with one number as its value.

    Parameters
    ----------
    reference : str or callable
        One of ``LOSSES`` of ``torch.nn.functional``; ``file.py:name`` or ``package.module:name`` of a function, of a
        module such as ``nn.HuberLoss(delta=0.1)``, or of a module's class that takes no arguments; or the function or
        module itself.

    Raises
    ------
    ArgumentError
        If it names nothing of the kind.
    """
    found: Any = reference
    if isinstance(reference, str):
        if reference in LOSSES:
            named: Callable[[Any, Tensor], Tensor] = getattr(F, reference)
            return named
        if ":" not in reference:
            remedy = f"choose from {', '.join(LOSSES)}, or write {FORMS} of a function of (output, target)"
            raise ArgumentError("loss", repr(reference), remedy)
        found = resolve(reference, argument="loss")
    if isinstance(found, type) and issubclass(found, nn.Module) and not required_arguments(found):
        found = found()
    if not callable(found) or isinstance(found, type):
        remedy = f"give a function of (output, target) that returns one number, or one of {', '.join(LOSSES)}"
        raise ArgumentError("loss", repr(reference), remedy)
    return found


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ArgumentError("weights", f"{path.name} ({error})", "it is no safetensors file; write it again") from error


def _read_pickle(path: Path) -> dict[str, Any]:
    remedy = "save model.state_dict() with torch.save, or better as safetensors; whole models are not unpickled"
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArgumentError("weights", f"{path.name}, which holds more than tensors", remedy) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ArgumentError("weights", f"{path.name} ({type(error).__name__}: {error})", remedy) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ArgumentError("weights", f"{type(found).__name__} in {path.name}", remedy)
    return dict(found)


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _prefixed(names: list[str], prefix: str) -> bool:
    return bool(names) and all(name.startswith(prefix) for name in names)
