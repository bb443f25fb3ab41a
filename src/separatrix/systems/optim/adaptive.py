"""Adam, AdamW and RMSprop: steps divided by running sizes of the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.optim.rule import Optimizer, Parts, Rows
from separatrix.systems.optim.settings import Number, add_scaled, setting


@dataclass(frozen=True, eq=False)
class Adam(Optimizer):
    """Adam (Kingma, Ba, 2015): w+ = w - lr m^ / (sqrt(v^) + eps), as in ``torch.optim.Adam``.

    Parameters
    ----------
    lr : float, sequence of float, or callable
        Learning rate: a constant, one for each step, or a function of the step t from 0.
    betas : (float, float)
        Of the running means m of the gradient and v of its square.
    eps : float
        Added to the root, after the correction of the means by 1 - beta^(t + 1).
    weight_decay : float
        Coupled: g + weight_decay w stands for g. See :class:`AdamW` for decoupled decay.
    maximize : bool
        Ascend.

    Raises
    ------
    ArgumentError
        If a setting is no finite number, or out of its range.

    Notes
    -----
    The map depends on t through the corrections. Where v+ = 0 (weights whose gradient has been zero from the start, as
    those of dead units) the root has no derivative; what passes through it counts as zero. That is exact where m = 0 as
    well, as it is there along every orbit that starts with an empty memory.
    """

    lr: Any = 1e-3
    betas: Any = (0.9, 0.999)
    eps: Any = 1e-8
    weight_decay: Any = 0.0
    maximize: Any = False
    parts: ClassVar[tuple[str, ...]] = ("weights", "momentum", "second_moment")

    def __post_init__(self) -> None:
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise ArgumentError("betas", repr(self.betas), "give two numbers, such as (0.9, 0.999)")
        object.__setattr__(self, "betas", tuple(setting("betas", beta, below=1.0) for beta in self.betas))
        object.__setattr__(self, "eps", setting("eps", self.eps))
        self._prepare()

    def _moments(self, parts: Parts, gradient: Tensor) -> tuple[Tensor, Tensor]:
        _, mean, square = parts
        return _mixed(mean, gradient, self.betas[0]), _squared(square, gradient, self.betas[1])

    def _corrections(self, t: int) -> tuple[Number, Number]:
        """Step size, and what the root is divided by."""
        first, second = (1 - beta ** (t + 1) for beta in self.betas)
        return self.rate(t) / first, second**0.5

    def _kept(self, t: int) -> Number:
        """Share of the weights that decoupled decay leaves."""
        return 1.0

    def move(self, parts: Parts, gradient: Tensor, columns: Parts, product: Tensor, t: int = 0) -> None:
        """As :meth:`Optimizer.move`, the memory first and the weights by it, in half as many passes as by rows."""
        size, correction = self._corrections(t)
        kept = self._kept(t)
        others = (*self.betas, self.eps, self._decay, kept)
        if isinstance(size, Tensor) or isinstance(correction, Tensor) or any(isinstance(n, Tensor) for n in others):
            super().move(parts, gradient, columns, product, t)
            return
        vectors, means, squares = columns
        gradient = self._effective(parts[0], gradient)
        product = -product if self.maximize else product
        product = add_scaled(product, vectors, self._decay) if self._adds_decay else product
        mean, square = self._moments(parts, gradient)
        root = square.sqrt_()
        divisor = torch.add(root.new_tensor(self.eps), root, alpha=1 / correction)
        means.lerp_(product, 1 - self.betas[0])
        squares.mul_(self.betas[1]).addcmul_(gradient, product, value=2 * (1 - self.betas[1]))
        # of m / divisor: (dm - m / divisor ddivisor) / divisor, where what passes through a root of 0 is 0
        change = squares / root.masked_fill_(root == 0, torch.inf)
        torch.addcmul(means, mean.div_(divisor), change, value=-0.5 / correction, out=change)
        if kept != 1:
            vectors.mul_(kept)
        vectors.addcdiv_(change, divisor, value=-size)

    def _advance(self, parts: Parts, gradient: Tensor, t: int) -> Parts:
        mean, square = self._moments(parts, gradient)
        size, correction = self._corrections(t)
        weights = parts[0] if self._coupled else parts[0] * self._kept(t)
        return add_scaled(weights, mean / (square.sqrt() / correction + self.eps), -size), mean, square

    def _rows(self, parts: Parts, gradient: Tensor, t: int) -> Rows:
        mean, square = self._moments(parts, gradient)
        size, correction = self._corrections(t)
        first, second = self.betas
        root = square.sqrt()
        divisor = root / correction + self.eps
        by_mean = -size / divisor
        by_square = _guarded(size * mean / (divisor * divisor), 2 * correction * root)
        by_gradient = (1 - first) * by_mean + 2 * (1 - second) * gradient * by_square
        return [
            [self._kept(t), first * by_mean, second * by_square, by_gradient],
            [0.0, first, 0.0, 1 - first],
            [0.0, 0.0, second, 2 * (1 - second) * gradient],
        ]


@dataclass(frozen=True, eq=False)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov, Hutter, 2019), as in ``torch.optim.AdamW``.

    The weights are multiplied by 1 - lr weight_decay, and the gradient is that of the loss alone.

    Parameters
    ----------
    lr, betas, eps, maximize
        As in :class:`Adam`.
    weight_decay : float
        Decoupled.

    Raises
    ------
    ArgumentError
        If a setting is no finite number, or out of its range.
    """

    weight_decay: Any = 1e-2
    _coupled: ClassVar[bool] = False

    def _kept(self, t: int) -> Number:
        return 1 - self.rate(t) * self._decay


@dataclass(frozen=True, eq=False)
class RMSprop(Optimizer):
    """RMSprop: w+ = w - lr g / (sqrt(v+) + eps), as in ``torch.optim.RMSprop``, with its momentum and centring.

    Parameters
    ----------
    lr, weight_decay, maximize
        As in :class:`Adam`; weight decay is coupled.
    alpha : float
        Of the running mean v of the squared gradient.
    eps : float
        Added to the root.
    momentum : float
        Where it is not 0: b+ = momentum b + g / (sqrt(v+) + eps), w+ = w - lr b+.
    centered : bool
        Take the running mean of the gradient, squared, off v.

    Raises
    ------
    ArgumentError
        If a setting is no finite number, or out of its range.

    Notes
    -----
    Where the root is zero, what passes through its derivative counts as zero, as in :class:`Adam`.
    """

    lr: Any = 1e-2
    alpha: Any = 0.99
    eps: Any = 1e-8
    weight_decay: Any = 0.0
    momentum: Any = 0.0
    centered: Any = False
    maximize: Any = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", setting("alpha", self.alpha, below=1.0))
        object.__setattr__(self, "eps", setting("eps", self.eps))
        object.__setattr__(self, "momentum", setting("momentum", self.momentum))
        if not isinstance(self.centered, bool):
            raise ArgumentError("centered", repr(self.centered), "give True or False")
        names = ["weights", "second_moment"]
        names += ["mean_gradient"] if self.centered else []
        names += ["momentum"] if isinstance(self.momentum, Tensor) or self.momentum else []
        object.__setattr__(self, "parts", tuple(names))
        self._prepare()

    def _means(self, parts: Parts, gradient: Tensor) -> tuple[Tensor, Parts, Tensor]:
        """Square, mean gradient if there is one, and the root that divides."""
        square = _squared(parts[1], gradient, self.alpha)
        if not self.centered:
            return square, (), square.sqrt()
        mean = _mixed(parts[2], gradient, self.alpha)
        return square, (mean,), torch.addcmul(square, mean, mean, value=-1).sqrt()

    def _advance(self, parts: Parts, gradient: Tensor, t: int) -> Parts:
        square, mean, root = self._means(parts, gradient)
        scaled = gradient / (root + self.eps)
        if "momentum" not in self.parts:
            return add_scaled(parts[0], scaled, -self.rate(t)), square, *mean
        memory = self.momentum * parts[-1] + scaled
        return add_scaled(parts[0], memory, -self.rate(t)), square, *mean, memory

    def _rows(self, parts: Parts, gradient: Tensor, t: int) -> Rows:
        _, mean, root = self._means(parts, gradient)
        alpha, rate = self.alpha, self.rate(t)
        divisor = root + self.eps
        # of g / (root + eps): root^2 = v+ - mean+^2
        by_square = -_guarded(gradient / (divisor * divisor), 2 * root)
        square_row: list[Number] = [0.0, alpha, 2 * (1 - alpha) * gradient]
        scaled_row: list[Number] = [0.0, alpha * by_square, 1 / divisor + 2 * (1 - alpha) * gradient * by_square]
        rows = [square_row]
        if mean:
            by_mean = -2 * mean[0] * by_square
            square_row.insert(2, 0.0)
            scaled_row[2:] = [alpha * by_mean, scaled_row[-1] + (1 - alpha) * by_mean]
            rows.append([0.0, 0.0, alpha, 1 - alpha])
        if "momentum" in self.parts:
            for row in (*rows, scaled_row):
                row.insert(-1, 0.0)
            scaled_row[-2] = self.momentum
            rows.append(scaled_row)
        return [[1.0, *(-rate * factor for factor in scaled_row[1:])], *rows]


def _mixed(mean: Tensor, gradient: Tensor, beta: Number) -> Tensor:
    """Running mean beta mean + (1 - beta) g, computed as torch does."""
    return torch.lerp(mean, gradient, 1 - beta)


def _squared(square: Tensor, gradient: Tensor, beta: Number) -> Tensor:
    """Running mean of the squared gradient."""
    if isinstance(beta, Tensor):
        return beta * square + (1 - beta) * gradient * gradient
    return torch.addcmul(beta * square, gradient, gradient, value=1 - beta)


def _guarded(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient, with 0 where the denominator is 0."""
    return torch.where(denominator == 0, 0.0, numerator / torch.where(denominator == 0, 1.0, denominator))
