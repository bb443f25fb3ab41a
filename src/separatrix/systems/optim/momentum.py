"""Gradient descent, heavy ball and Nesterov's method, as in ``torch.optim.SGD``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from separatrix.systems.optim.rule import Optimizer, Parts, Rows
from separatrix.systems.optim.settings import Number, add_scaled, setting


@dataclass(frozen=True, eq=False)
class GradientDescent(Optimizer):
    """Gradient descent: w+ = w - lr g. Its derivative is I - lr H.

    Parameters
    ----------
    lr : float, sequence of float, or callable
        Learning rate: a constant, one for each step, or a function of the step t from 0.
    weight_decay : float
        Coupled, as in ``torch.optim.SGD``: g + weight_decay w stands for g.
    maximize : bool
        Ascend.

    Raises
    ------
    ArgumentError
        If a setting is no finite number, or out of its range.
    """

    lr: Any
    weight_decay: Any = 0.0
    maximize: Any = False

    def __post_init__(self) -> None:
        _unfreeze(self)

    def _advance(self, parts: Parts, gradient: Tensor, t: int) -> Parts:
        return (add_scaled(parts[0], gradient, -self.rate(t)),)

    def _rows(self, parts: Parts, gradient: Tensor, t: int) -> Rows:
        return [[1.0, -self.rate(t)]]


@dataclass(frozen=True, eq=False)
class HeavyBall(Optimizer):
    """Heavy ball (Polyak, 1964), ``torch.optim.SGD`` with momentum: m+ = beta m + (1 - dampening) g, w+ = w - lr m+.

    Parameters
    ----------
    lr, weight_decay, maximize
        As in :class:`GradientDescent`.
    momentum : float
        beta.
    dampening : float
        Left out at t = 0, as torch does.

    Raises
    ------
    ArgumentError
        If a setting is no finite number, or out of its range.

    Notes
    -----
    Whatever the loss, the rates and the batches, det M = beta^P at every step, and M^T J M = beta J with J the
    symplectic form: exponents add up to ln beta in pairs, i and 2 P + 1 - i, and to P ln beta in all.
    """

    lr: Any
    momentum: Any = 0.9
    dampening: Any = 0.0
    weight_decay: Any = 0.0
    maximize: Any = False
    parts: ClassVar[tuple[str, ...]] = ("weights", "momentum")

    def __post_init__(self) -> None:
        _unfreeze(self)

    def pair_sum(self) -> float | None:
        """Return ln(momentum), the sum of the exponents i and 2 P + 1 - i, per step."""
        if isinstance(self.momentum, Tensor) or isinstance(self.dampening, Tensor) or self.momentum <= 0:
            return None
        return math.log(self.momentum)

    def _share(self, t: int) -> Number:
        return 1.0 - self.dampening if t else 1.0

    def _advance(self, parts: Parts, gradient: Tensor, t: int) -> Parts:
        weights, memory = parts
        memory = add_scaled(self.momentum * memory, gradient, self._share(t))
        return add_scaled(weights, memory, -self.rate(t)), memory

    def _rows(self, parts: Parts, gradient: Tensor, t: int) -> Rows:
        rate, beta, share = self.rate(t), self.momentum, self._share(t)
        return [[1.0, -rate * beta, -rate * share], [0.0, beta, share]]


@dataclass(frozen=True, eq=False)
class Nesterov(Optimizer):
    """Nesterov's accelerated gradient, as in ``torch.optim.SGD``: m+ = beta m + g, w+ = w - lr (g + beta m+).

    Parameters
    ----------
    lr, weight_decay, maximize
        As in :class:`GradientDescent`.
    momentum : float
        beta.

    Raises
    ------
    ArgumentError
        If a setting is no finite number, or out of its range.

    Notes
    -----
    det M = beta^P det(I - lr H).
    """

    lr: Any
    momentum: Any = 0.9
    weight_decay: Any = 0.0
    maximize: Any = False
    parts: ClassVar[tuple[str, ...]] = ("weights", "momentum")

    def __post_init__(self) -> None:
        _unfreeze(self)

    def _advance(self, parts: Parts, gradient: Tensor, t: int) -> Parts:
        weights, memory = parts
        memory = self.momentum * memory + gradient
        return add_scaled(weights, add_scaled(gradient, memory, self.momentum), -self.rate(t)), memory

    def _rows(self, parts: Parts, gradient: Tensor, t: int) -> Rows:
        rate, beta = self.rate(t), self.momentum
        return [[1.0, -rate * beta * beta, -rate * (1.0 + beta)], [0.0, beta, 1.0]]


def _unfreeze(rule: Any) -> None:
    """Check the settings of a frozen rule, and bring numbers to floats."""
    for name in ("momentum", "dampening"):
        if hasattr(rule, name):
            object.__setattr__(rule, name, setting(name, getattr(rule, name)))
    rule._prepare()
