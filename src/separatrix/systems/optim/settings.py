"""Settings of optimizers: numbers, one number for each weight, and learning rates that change with the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError

Number = float | Tensor
"""One number for all weights, or a tensor (P,) with one for each."""


class Rates:
    """A learning rate for every step: a constant, a list, or a function of t.

    Attributes
    ----------
    horizon : int or None
        Length of the list, where it is one.
    """

    def __init__(self, given: Any) -> None:
        remedy = "give a number, a list with one number for each step, or a function of the step t, from 0"
        self.given = given
        self.horizon: int | None = None
        self._list: list[float] | None = None
        if callable(given) and not isinstance(given, Tensor | type):
            self._of: Callable[[int], Any] | None = given
            return
        self._of = None
        if isinstance(given, Tensor | np.ndarray | Sequence) and not isinstance(given, str) and np.ndim(given) == 1:
            self._list = [number("lr", float(value), least=0.0) for value in given]
            self.horizon = len(self._list)
            if not self._list:
                raise ArgumentError("lr", "an empty list", remedy)
            return
        if isinstance(given, bool | str) or not isinstance(given, int | float | Tensor | np.generic):
            raise ArgumentError("lr", repr(given), remedy)
        self._constant = number("lr", float(given), least=0.0)

    def at(self, t: int) -> Number:
        """Rate of step t.

        Raises
        ------
        ArgumentError
            If t is beyond the list, or the function gives something else than finite numbers of at least 0.
        """
        if self._list is not None:
            if not 0 <= t < len(self._list):
                last = len(self._list) - 1
                raise ArgumentError("t", str(t), f"lr has {last + 1} values, so there are steps 0 to {last}")
            return self._list[t]
        if self._of is None:
            return self._constant
        value = self._of(t)
        if isinstance(value, Tensor) and value.ndim == 1:
            return value
        try:
            return number("lr", float(value), least=0.0)
        except (TypeError, ValueError):
            raise ArgumentError(
                "lr", f"a function that gives {value!r} at t = {t}", "give a finite number >= 0"
            ) from None


class PerWeight:
    """A learning rate of its own for each weight, the same at all steps."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __call__(self, t: int) -> Tensor:
        """Rates of step t, (P,)."""
        return self.values

    def __repr__(self) -> str:
        low, high = self.values.min().item(), self.values.max().item()
        return f"PerWeight({low:g} to {high:g}, {len(self.values)} weights)"


def number(name: str, value: Any, *, least: float = -math.inf, below: float = math.inf) -> float:
    """Check that a setting is a finite number in [least, below)."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or not least <= value < below:
        bounds = "" if least == -math.inf else f" of at least {least:g}"
        bounds += "" if below == math.inf else f" and below {below:g}"
        raise ArgumentError(name, repr(value), f"give a finite number{bounds}")
    return float(value)


def setting(name: str, value: Any, *, least: float = 0.0, below: float = math.inf) -> Number:
    """Check a setting: a number, or a tensor (P,) with one for each weight."""
    if isinstance(value, Tensor) and value.ndim == 1:
        if not bool((torch.isfinite(value) & (value >= least) & (value < below)).all()):
            raise ArgumentError(name, "values out of range", f"give finite numbers of at least {least:g}")
        return value
    return number(name, float(value) if isinstance(value, Tensor) else value, least=least, below=below)


def add_scaled(x: Tensor, y: Tensor, factor: Number) -> Tensor:
    """X + factor y."""
    return torch.addcmul(x, y, factor) if isinstance(factor, Tensor) else torch.add(x, y, alpha=factor)
