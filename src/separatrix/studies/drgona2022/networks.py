"""Many small networks stepped at once: matrices and biases stacked over networks, states over networks and starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from separatrix.studies.drgona2022.cases import Setting, known
from separatrix.studies.drgona2022.weights import layers
from separatrix.systems.activations import tanh
from separatrix.systems.curves import Curve

States = Float64[Tensor, "net n start"]
Matrices = Float64[Tensor, "net start n n"]

MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}


@dataclass(frozen=True)
class Networks:
    """Networks of one activation and depth, h -> s(A_l h + b_l) in each layer l.

    Attributes
    ----------
    A : tuple of Tensor (net, n, n), float64
        One for each layer.
    b : tuple of Tensor (net, n, 1), float64
    curve : Curve
        The activation, on every layer, the last one too.
    """

    A: tuple[Tensor, ...]
    b: tuple[Tensor, ...]
    curve: Curve

    def __len__(self) -> int:
        return len(self.A[0])

    def take(self, nets: Tensor) -> Networks:
        """Some of the networks, in any order and as often as asked for."""
        return Networks(tuple(A[nets] for A in self.A), tuple(b[nets] for b in self.b), self.curve)

    def step(self, x: States) -> States:
        """Next states."""
        value = tanh if self.curve.name == "tanh" else self.curve.value
        for A, b in zip(self.A, self.b, strict=True):
            x = value(torch.baddbmm(b, A, x))
        return x

    def push(self, x: States, V: Float64[Tensor, "k net n start"]) -> tuple[States, Float64[Tensor, "k net n start"]]:
        """Next states and the derivative applied to k tangents of each."""
        return self._carry(x, V, self.curve.slope)

    def jacobian(self, x: States) -> Matrices:
        """Df(x)."""
        return self._matrices(x, self.curve.slope)

    def chords(self, x: States) -> Matrices:
        """A*(x), where f(x) = A*(x) x + b*(x): secants through (0, s(0)), with the slope s'(0) at z = 0."""
        return self._matrices(x, self.curve.chord)

    def nearest_kink(self, x: States) -> Float64[Tensor, "net start"]:
        """Smallest magnitude of a pre-activation: at 0 the slope of ReLU and SELU jumps."""
        least = x.new_full((x.shape[0], x.shape[2]), torch.inf)
        for A, b in zip(self.A, self.b, strict=True):
            z = torch.baddbmm(b, A, x)
            least = torch.minimum(least, z.abs().amin(1))
            x = self.curve.value(z)
        return least

    def _matrices(self, x: Tensor, factor: Callable[[Tensor], Tensor]) -> Tensor:
        eye = torch.eye(x.shape[1], dtype=x.dtype)[:, None, :, None].expand(-1, x.shape[0], -1, x.shape[2])
        columns = self._carry(x, eye, factor)[1]
        return columns.permute(1, 3, 2, 0)

    def _carry(self, x: Tensor, V: Tensor, factor: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        for A, b in zip(self.A, self.b, strict=True):
            z = torch.baddbmm(b, A, x)
            V = factor(z) * torch.matmul(A, V)
            x = self.curve.value(z)
        return x, V

    def module(self, net: int) -> nn.Sequential:
        """One of them as a torch module."""
        parts: list[nn.Module] = []
        for A, b in zip(self.A, self.b, strict=True):
            linear = nn.Linear(A.shape[2], A.shape[1], dtype=torch.float64)
            linear.weight.data, linear.bias.data = A[net].clone(), b[net, :, 0].clone()
            parts += [linear, MODULES[self.curve.name]()]
        return nn.Sequential(*parts).requires_grad_(False).eval()


def stacked(setting: Setting, activation: str, depth: int, seeds: Sequence[int], biases: Sequence[bool]) -> Networks:
    """Networks of a setting, ordered by bias and then seed; those without bias have the weights of those with it."""
    drawn = [layers(setting, depth, seed) for seed in seeds]
    A = np.stack([one[0] for one in drawn] * len(biases))
    b = np.concatenate([np.stack([one[1] * bias for one in drawn]) for bias in biases])
    split = [torch.from_numpy(np.ascontiguousarray(part)) for part in (A, b[..., None])]
    return Networks(tuple(split[0].unbind(1)), tuple(split[1].unbind(1)), known(activation))


def joined(several: Sequence[Networks]) -> Networks:
    """Networks of one activation and depth, one after another."""
    layers = range(len(several[0].A))
    return Networks(
        tuple(torch.cat([one.A[layer] for one in several]) for layer in layers),
        tuple(torch.cat([one.b[layer] for one in several]) for layer in layers),
        several[0].curve,
    )
