"""Leading exponents of networks with many inputs and many outputs, without ever writing a Jacobian down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.modes import NoRouteError, pairs_up, plain_kernels, probe
from separatrix.tangent.chain_routes import LayerSpectrum
from separatrix.tangent.lanczos import leading
from separatrix.tangent.routes import Task
from separatrix.tangent.spectrum import Spectrum

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
"""Residual, relative to its singular value, at which a number has converged: so many nats at most."""
_FAILURES = (RuntimeError, NotImplementedError, ValueError, KeyError, NoRouteError)


class Rule(NamedTuple):
    """How Jacobians are multiplied: by reverse mode twice or by forward mode, with or without fused kernels."""

    twice: bool
    plain: bool


_RULES = [Rule(twice=True, plain=False), Rule(twice=False, plain=False), Rule(True, True), Rule(False, True)]
"""In this order: reverse mode twice runs the network once for all products, forward mode once for each."""


class NoProductsError(ArgumentError, RuntimeError):
    """The model allows no products with its Jacobian."""


class JacobianProducts:
    """Products with the Jacobians of one layer at many points, all of them in one batch.

    The batch holds every point ``block`` times, so that a product is one pass for all points and all rows. The network
    is run once; its graph, and that of its reverse pass, are kept.

    See :class:`separatrix.tangent.lanczos.Products`.
    """

    def __init__(self, task: Task, x: Tensor, block: int, rule: Rule) -> None:
        self.task, self.rule, self.block = task, rule, block
        self.points, self.inputs = len(x), len(task.scale)
        self.epsilon = torch.finfo(task.scale.dtype).eps
        self.device = task.scale.device
        self._x = x.repeat_interleave(block, 0)
        with torch.enable_grad(), self._kernels():
            self._leaf = task.guest.entry(self._x).detach().clone().requires_grad_()
            self._value = self._task_value(self._leaf)
            self.outputs = self._value.shape[1]
            self.finite = torch.isfinite(self._value.detach()).all(1)[::block]
            self._connected = self._value.requires_grad
            if self._connected and rule.twice:
                self._weight = torch.zeros_like(self._value, requires_grad=True)
                (self._pulled,) = torch.autograd.grad(
                    self._value, self._leaf, self._weight, create_graph=True, materialize_grads=True
                )

    def apply(self, rows: Tensor) -> Tensor:
        """J diag(scale) times rows (points, block, inputs)."""
        if not self._connected:
            return rows.new_zeros(self.points, self.block, self.outputs)
        pushed = (rows.flatten(0, 1).to(self.task.scale) * self.task.scale).reshape(self._leaf.shape)
        with self._kernels():
            if not self.rule.twice:
                with torch.no_grad():
                    found = torch.func.jvp(self._task_value, (self._leaf.detach(),), (pushed,))[1]
            elif self._pulled.requires_grad:
                (found,) = torch.autograd.grad(
                    self._pulled, self._weight, pushed, retain_graph=True, materialize_grads=True
                )
            else:
                raise NoRouteError("a backward function is not differentiable")
        return found.detach().double().unflatten(0, (self.points, self.block))

    def transpose(self, rows: Tensor) -> Tensor:
        """diag(scale) J' times rows (points, block, outputs)."""
        if not self._connected:
            return rows.new_zeros(self.points, self.block, self.inputs)
        with self._kernels():
            (found,) = torch.autograd.grad(
                self._value,
                self._leaf,
                rows.flatten(0, 1).to(self._value),
                retain_graph=True,
                materialize_grads=True,
            )
        return (found.flatten(1) * self.task.scale).double().unflatten(0, (self.points, self.block))

    def _task_value(self, entry: Tensor) -> Tensor:
        return self.task.values(self._x, entry)[0]

    def _kernels(self) -> Any:
        return plain_kernels() if self.rule.plain else nullcontext()


def rule_for(task: Task, x: Tensor, foreign: bool) -> Rule:
    """First rule that the model allows, and whose products with Jacobian and transpose fit each other.

    Raises
    ------
    NoProductsError
        If there is none.
    """
    reasons: list[str] = []
    for rule in _RULES:
        if foreign and not rule.twice:
            continue  # an operation from outside PyTorch loses its tangent there without a word
        try:
            maps = JacobianProducts(task, x[:4], 1, rule)
            V = probe(torch.zeros(maps.points, 1, maps.inputs, dtype=torch.float64, device=maps.device), 0)
            W = probe(torch.zeros(maps.points, 1, maps.outputs, dtype=torch.float64, device=maps.device), 1)
            MV, MtW = maps.apply(V), maps.transpose(W)
        except torch.OutOfMemoryError:
            raise
        except _FAILURES as error:
            reasons.append(str(error).strip().splitlines()[0][:160] or type(error).__name__)
            continue
        known = torch.isfinite(MV).flatten(1).all(1) & torch.isfinite(MtW).flatten(1).all(1)
        low = task.scale.dtype
        if pairs_up(W[known].to(low), MV[known][None].to(low), MtW[known].to(low), V[known][None].to(low)):
            return rule
        reasons.append("products with the Jacobian and with its transpose contradict each other")
    raise NoProductsError(
        "method",
        f"'lanczos', for a model whose Jacobian cannot be multiplied ({'; '.join(dict.fromkeys(reasons))})",
        "use method='reverse'",
    )


def leading_few(
    task: Task, ranks: list[int], count: int, columns: int, floor: float, foreign: bool
) -> Callable[[Tensor], Iterator[LayerSpectrum]]:
    """Route that finds the ``count`` largest singular values of each layer by block Lanczos.

    Parameters
    ----------
    task : Task
        The layers.
    ranks : list of int
        The rank that each layer's Jacobian can have.
    count : int
        How many values; as many rows are multiplied at once, so that equal values are told apart.
    columns : int
        Rows kept for each point.
    floor : float
        Relative size below which a value is rounding.
    foreign : bool
        Whether the model has operations from outside PyTorch.
    """
    rules: dict[int, Rule] = {}

    def run(x: Tensor) -> Iterator[LayerSpectrum]:
        for place, label in enumerate(task.labels):
            alone, k = replace(task, labels=[label]), min(count, ranks[place])
            if place not in rules:
                rules[place] = rule_for(alone, x, foreign)
            yield _layer(alone, x, place, k, min(columns, k + max(32, 8 * k)), floor, rules[place])

    return run


def _layer(task: Task, x: Tensor, place: int, k: int, columns: int, floor: float, rule: Rule) -> LayerSpectrum:
    finite: list[Tensor] = []

    def products(places: Tensor | None) -> JacobianProducts:
        maps = JacobianProducts(task, x if places is None else x[places.to(x.device)], k, rule)
        finite.append(maps.finite)
        return maps

    tolerance = _TOLERANCE[task.scale.dtype]
    found = leading(products, k, block=k, tolerance=tolerance, floor=floor, columns=columns)
    wanted = task.wanted
    spectrum = Spectrum(
        found.values.log(),
        found.right[:, : wanted.vectors] if wanted.vectors else None,
        found.left[:, : wanted.vectors] if wanted.left else None,
    )
    return LayerSpectrum(place, spectrum, None, finite[0], found.residual / found.values, found.converged)


def pays(count: int, layers: int, dense: int) -> bool:
    """Whether so many dense rows or columns cost more than the iteration is likely to."""
    return count <= 8 and dense > max(512, 160 * count * layers)


@dataclass(frozen=True)
class Need:
    """What the memory of one point depends on.

    Attributes
    ----------
    activations : int
        Numbers in all values that the model computes for one point.
    inputs, widest : int
        Components of the input, and of the widest layer.
    count : int
        Values asked for, which is how many copies of a point are run at once.
    itemsize : int
        Bytes of the model's numbers.
    """

    activations: int
    inputs: int
    widest: int
    count: int
    itemsize: int

    def columns(self, budget: int) -> int:
        """Rows to keep for each point: few enough that those of one point take half of the budget, if possible."""
        most, least = self.count + max(32, 8 * self.count), 4 * self.count
        return max(least, min(most, budget // (32 * (self.inputs + self.widest))))

    def bytes(self, columns: int) -> int:
        """Working memory of one point: graphs of both passes, rows kept, and rows on their way."""
        graphs = 4 * self.activations * self.itemsize * self.count
        rows = 8 * (self.inputs + self.widest) * (2 * columns + 8 * self.count)
        return graphs + rows + 48 * columns**2
