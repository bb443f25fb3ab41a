"""Where a result came from: versions, machine, model and settings, as JSON text."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import nn


@cache
def package_version() -> str:
    """Version of the installed package, or ``"unknown"`` when it runs uninstalled."""
    try:
        return version("separatrix")
    except PackageNotFoundError:
        return "unknown"


def environment() -> dict[str, Any]:
    """Versions and hardware that a number may depend on."""
    found: dict[str, Any] = {
        "separatrix": package_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    return found


def describe_model(model: object) -> dict[str, Any]:
    """Class, parameter count, dtypes and devices of a model."""
    if not isinstance(model, nn.Module):
        return {"class": getattr(model, "__qualname__", type(model).__qualname__)}
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "class": type(model).__qualname__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": sorted({str(p.dtype).removeprefix("torch.") for p in tensors}),
        "device": sorted({str(p.device) for p in tensors}),
    }


def provenance(function: str, *, model: object = None, **settings: Any) -> str:
    """Provenance of one call as JSON text; settings that JSON cannot hold are stored by their text."""
    record = {
        "function": function,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "settings": settings,
    }
    if model is not None:
        record["model"] = describe_model(model)
    return json.dumps(record, default=_plain)


def _plain(value: Any) -> int | float | bool | str:
    """Numbers of NumPy as Python's, anything else by its text."""
    for kind, plain in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, kind):
            return plain(value)
    return str(value)
