"""What a prediction is given: histories of runs, their steps and final losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from separatrix.results.errors import ArgumentError


def numbers(argument: str, values: Any, called: str, remedy: str) -> Any:
    """Return an array of real numbers from arrays, sequences or tensors, which are detached.

    Raises
    ------
    ArgumentError
        For text, None, complex numbers, dates, and rows of several lengths.
    """
    parts = [_plain(part) for part in values] if isinstance(values, list | tuple) else _plain(values)
    try:
        found = np.asarray(parts)
        if found.dtype.kind == "O":
            found = found.astype(np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(argument, f"{called} of {type(values).__name__}, no array of numbers", remedy) from None
    if found.dtype.kind not in "biuf" or values is None:
        got = "None" if values is None else f"{called} of type {found.dtype}"
        raise ArgumentError(argument, got, remedy)
    return found


def _plain(values: Any) -> Any:
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return values.double() if values.is_floating_point() else values


def read(history: Any, time: Any) -> tuple[dict[str, Any], Any]:
    """Arrays (member, time) by name, and the steps of their columns.

    Raises
    ------
    ArgumentError
        For what is no mapping, arrays that do not fit each other, names that are made here, and steps that do not rise.
    """
    if not isinstance(history, Mapping) and not hasattr(history, "data_vars"):
        remedy = 'give a mapping such as {"loss": array (member, time)}, or an xarray.Dataset'
        raise ArgumentError("history", type(history).__name__, remedy)
    coords = getattr(history, "coords", {})
    names = list(getattr(history, "data_vars", history))
    if time is None and "time" in coords:
        time = np.asarray(coords["time"])
    arrays = {}
    for name in names:
        dims = getattr(history[name], "dims", None)
        if dims is not None and tuple(dims) != ("member", "time"):
            remedy = "every variable must be (member, time): choose one index, as in lyapunov.history.sel(index=1)"
            raise ArgumentError("history", f"{name} with dimensions {tuple(dims)}", remedy)
        found = numbers("history", history[name], f'"{name}"', "arrays (member, time) of real numbers")
        arrays[str(name)] = found.astype(np.float64)
    made = [name for name in ("power_law", "window_sharpness") if name in arrays]
    if made:
        raise ArgumentError("history", made[0], "that is made here, from the loss or the sharpness: give another name")
    if "loss" not in arrays:
        raise ArgumentError("history", f"{', '.join(arrays) or 'nothing'}", 'it must have "loss", the baseline of all')
    shape = arrays["loss"].shape
    wrong = [name for name, values in arrays.items() if values.ndim != 2 or values.shape != shape]
    if wrong or not all(shape):
        sizes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
        raise ArgumentError("history", sizes, "arrays (member, time) of one shape")
    rising = f"{shape[1]} rising steps, one for each column"
    steps = np.arange(shape[1]) if time is None else numbers("time", time, "steps", rising)
    if steps.shape != shape[1:] or not np.isfinite(steps).all() or (steps[1:] <= steps[:-1]).any():
        raise ArgumentError("time", f"{steps.shape} steps", rising)
    return arrays, steps


def places(at: Any, steps: Any) -> list[int]:
    """Columns of the steps at which to predict.

    Raises
    ------
    ArgumentError
        For no step, and for what is no recorded step.
    """
    remedy = f"steps that were recorded, from {steps[0]} to {steps[-1]}"
    wanted = np.atleast_1d(numbers("at", at, "steps", remedy))
    if wanted.ndim > 1 or wanted.dtype.kind == "b":
        raise ArgumentError("at", f"shape {wanted.shape} of type {wanted.dtype}", remedy)
    found = np.searchsorted(steps, wanted).clip(0, len(steps) - 1)
    missing = wanted[steps[found] != wanted]
    if len(missing) or not len(wanted):
        raise ArgumentError("at", f"step {missing[0]}" if len(missing) else "no step", remedy)
    return [int(place) for place in found]
