"""What every optimizer is here: an elementwise map of (weights, memory, gradient), and its derivative."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.optim.settings import Number, Rates, add_scaled, setting

Product = Callable[[Tensor], Tensor]
"""V -> H V for tangents of the weights (k, *batch, P), with H the Hessian of the step's loss."""

Parts = tuple
"""Tensors (*batch, P): the weights, then each part of the memory."""

Rows = list
"""Lists, one for each new part: its derivative by every old part and, last, by the gradient, as a number or a tensor
(*batch, P)."""


class Optimizer:
    """An optimizer as a pure map on packed states, (*batch, r P): the weights, then each part of its memory.

    Every weight is moved by itself, given its gradient: x+ = F_t(x, g). With H the Hessian of the loss, the derivative
    of a step is therefore M = dF/dx + dF/dg H, one Hessian-vector product for each vector, and so is its transpose.

    Attributes
    ----------
    parts : tuple of str
        What a state is made of, in this order: "weights", then the memory.
    horizon : int or None
        Number of steps for which a learning rate was given, where that was a list.

    Notes
    -----
    A subclass gives ``parts``, ``_advance`` and ``_rows``. Steps follow ``torch.optim`` to rounding.
    """

    parts: ClassVar[tuple[str, ...]] = ("weights",)
    _coupled: ClassVar[bool] = True
    lr: Any
    weight_decay: Any
    maximize: Any
    _rates: Rates
    _decay: Number
    _adds_decay: bool

    def _prepare(self) -> None:
        """Check the settings that all optimizers have."""
        if not isinstance(self.maximize, bool):
            raise ArgumentError("maximize", repr(self.maximize), "give True or False")
        # settings are frozen: a system must not change under those who measure it
        decay = setting("weight_decay", self.weight_decay)
        object.__setattr__(self, "_rates", Rates(self.lr))
        object.__setattr__(self, "_decay", decay)
        object.__setattr__(self, "_adds_decay", self._coupled and (isinstance(decay, Tensor) or decay != 0))

    @property
    def horizon(self) -> int | None:
        """Number of steps that a list of learning rates serves; None where there is no end."""
        return self._rates.horizon

    def rate(self, t: int) -> Number:
        """Learning rate of step t: a number, or (P,) where weights have their own."""
        return self._rates.at(t)

    def pair_sum(self) -> float | None:
        """Sum of two paired exponents per step, where the map is conformally symplectic; None where it is not."""
        return None

    def start(self, weights: Float[Tensor, "*batch p"]) -> Float[Tensor, "*batch n"]:
        """Pack weights with a memory of zeros, as a new optimizer of torch has it."""
        return torch.cat([weights, *[torch.zeros_like(weights)] * (len(self.parts) - 1)], -1)

    def split(self, state: Tensor) -> Parts:
        """Views of the parts of states (or tangents) (..., r P), each (..., P), in the order of ``parts``."""
        count, left = divmod(state.shape[-1], len(self.parts))
        if left or not count:
            raise ArgumentError(
                "state",
                f"{state.shape[-1]} components",
                f"{type(self).__name__} has {len(self.parts)} parts ({', '.join(self.parts)}) of equal size",
            )
        return state.split(count, -1)

    def step(
        self, state: Float[Tensor, "*batch n"], gradient: Float[Tensor, "*batch p"], t: int = 0
    ) -> Float[Tensor, "*batch n"]:
        """Take step t.

        Parameters
        ----------
        state : Tensor, shape (*batch, r P)
        gradient : Tensor, shape (*batch, P)
            Of the step's loss, at the state's weights.
        t : int
            Number of the step, from 0, since the memory was empty; torch's own counter is t + 1.

        Returns
        -------
        Tensor, shape (*batch, r P)
        """
        parts = self.split(state)
        return torch.cat(self._advance(parts, self._effective(parts[0], gradient), t), -1).to(state.dtype)

    def tangent(self, state: Tensor, gradient: Tensor, V: Tensor, product: Product, t: int = 0) -> Tensor:
        """Apply the derivative of step t to k tangents.

        Parameters
        ----------
        state, gradient, t
            As in :meth:`step`.
        V : Tensor, shape (k, *batch, r P)
        product : callable
            Called once, with the tangents' weights (k, *batch, P): gives the Hessian times these.

        Returns
        -------
        Tensor, shape (k, *batch, r P)
            M V.
        """
        parts = self.split(state)
        vectors = self.split(V)
        columns = (*vectors, product(vectors[0]))
        rows = self.derivative(parts, gradient, t)
        return torch.cat([combined(row, columns) for row in rows], -1).to(state.dtype)

    def adjoint(self, state: Tensor, gradient: Tensor, W: Tensor, product: Product, t: int = 0) -> Tensor:
        """Apply the transpose of the derivative of step t to k covectors (k, *batch, r P); one product, too."""
        rows = self.derivative(self.split(state), gradient, t)
        covectors = self.split(W)
        pulled = [combined(list(column), covectors) for column in zip(*rows, strict=True)]
        # the Hessian is symmetric
        return torch.cat([pulled[0] + product(pulled[-1]), *pulled[1:-1]], -1).to(state.dtype)

    def move(self, parts: Parts, gradient: Tensor, columns: Parts, product: Tensor, t: int = 0) -> None:
        """Apply the derivative of step t to tangents where they lie, given the Hessian's products with their weights.

        Parameters
        ----------
        parts : tuple of Tensor (n,)
            Of the state, which is left alone.
        gradient : Tensor, shape (n,)
        columns : tuple of Tensor (k, n)
            The same parts of k tangents, which are overwritten.
        product : Tensor, shape (k, n)
            Hessian times the first of them.
        t : int
            As in :meth:`step`.
        """
        new = [combined(row, (*columns, product)) for row in self.derivative(parts, gradient, t)]
        for column, values in zip(columns, new, strict=True):
            column.copy_(values)

    def _effective(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with its sign for maximisation, and with coupled weight decay."""
        gradient = -gradient if self.maximize else gradient
        return add_scaled(gradient, weights, self._decay) if self._adds_decay else gradient

    def derivative(self, parts: Parts, gradient: Tensor, t: int) -> Rows:
        """Derivatives of the new parts by the old ones and by the loss's gradient, weight for weight: :data:`Rows`."""
        rows = self._rows(parts, self._effective(parts[0], gradient), t)
        if self._adds_decay:
            rows = [[row[0] + self._decay * row[-1], *row[1:]] for row in rows]
        return [[*row[:-1], -row[-1]] for row in rows] if self.maximize else rows

    @abstractmethod
    def _advance(self, parts: Parts, gradient: Tensor, t: int) -> Parts:
        """New parts; the gradient is the effective one."""
        raise NotImplementedError

    @abstractmethod
    def _rows(self, parts: Parts, gradient: Tensor, t: int) -> Rows:
        """Derivatives of the new parts by the old ones and by the effective gradient."""
        raise NotImplementedError


def combined(factors: Rows, vectors: Parts) -> Tensor:
    """Sum of factor times vector; factors that are the number zero cost nothing."""
    total: Tensor | None = None
    for factor, vector in zip(factors, vectors, strict=True):
        if isinstance(factor, float) and factor == 0:
            continue
        if total is None:
            total = vector if isinstance(factor, float) and factor == 1 else factor * vector
        else:
            total = add_scaled(total, vector, factor)
    return torch.zeros_like(vectors[0]) if total is None else total
