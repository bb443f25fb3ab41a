"""Squared losses: which ones are known in closed form, and one with the factor that papers on dynamics use."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError

Factor = Callable[[int, int], float]
"""s of (rows, outputs), where the loss is s / 2 times the sum of all squared errors."""


def half_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Half the squared error of a row, averaged over rows: (1 / 2N) sum_n |y_n - t_n|^2.

    For one output, half of ``torch.nn.functional.mse_loss``; with it learning rates are those of papers in which the
    gradient of the loss is error times slope. ``mse_loss`` divides by the number of outputs as well.

    Raises
    ------
    ArgumentError
        If output and target differ in shape: (n, 1) against (n,) would be broadcast to the errors of all pairs of rows.
    """
    if output.shape != target.shape:
        got = f"shape {tuple(target.shape)} for an output of shape {tuple(output.shape)}"
        raise ArgumentError("target", got, "give targets of the output's shape, such as y[:, None]")
    return (output - target).square().sum() / (2 * len(output))


def _of_mean(rows: int, outputs: int) -> float:
    return 2 / (rows * outputs)


def _of_sum(rows: int, outputs: int) -> float:
    return 2.0


def _of_half(rows: int, outputs: int) -> float:
    return 1 / rows


_FACTORS: dict[str, Factor] = {"mean": _of_mean, "sum": _of_sum, "half": _of_half}


def squared_factor(loss: Any) -> Factor | None:
    """Read a loss as s / 2 times the sum of squared errors; None where it is not known to be that."""
    if loss is half_squared_error:
        return _FACTORS["half"]
    if type(loss) is nn.MSELoss:
        return _FACTORS.get(loss.reduction)
    if isinstance(loss, functools.partial) and loss.func is F.mse_loss and not loss.args:
        return None if set(loss.keywords) - {"reduction"} else _FACTORS.get(loss.keywords.get("reduction", "mean"))
    return _FACTORS["mean"] if loss is F.mse_loss else None
