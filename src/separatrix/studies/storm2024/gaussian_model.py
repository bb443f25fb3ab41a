"""Gaussian classes: the best networks, and their stretch in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from separatrix.tangent.ftle import ftle

TURN = 0.4
"""Angle of the normal to the first axis, so that nothing is right by symmetry alone."""

NORMAL = torch.tensor([math.cos(TURN), math.sin(TURN)], dtype=torch.float64)
CRITICAL = (math.sqrt(57) - 3) / 12
"""Posterior on a facet of three classes above which it is a ridge."""

# weights of the eighth-order central difference for a second derivative, from the middle outwards
_STENCIL = (-205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560)


@dataclass(frozen=True)
class Optimum:
    """Best map for two Gaussian classes, at one endpoint and for one loss.

    Attributes
    ----------
    name : str
        Endpoint and loss.
    tail : nn.Module
        What follows the linear function ``gain * alpha * r``.
    gain : float
    curvature : float
        Second derivative of ln sigma across the boundary, over alpha^2.
    """

    name: str
    tail: nn.Module
    gain: float
    curvature: float

    def network(self, alpha: float) -> nn.Module:
        """Best network; the boundary runs through the origin, ``alpha`` is the distance of the means over s^2."""
        line = nn.Linear(2, 1, dtype=torch.float64)
        with torch.no_grad():
            line.weight.copy_(self.gain * alpha * NORMAL)
            line.bias.zero_()
        return nn.Sequential(line, self.tail)

    def log_stretch(self, r: Tensor, alpha: float) -> Tensor:
        """Closed form of ln sigma at the signed distance r from the boundary."""
        flat = math.log(alpha) + torch.zeros_like(r)
        if not self.curvature:
            return flat
        factor = self.gain if isinstance(self.tail, nn.Tanh) else 0.25
        z = (alpha * r / 2).abs()
        # ln cosh without overflow
        return flat + math.log(factor) - 2 * (z + torch.log1p(torch.exp(-2 * z)) - math.log(2))


OPTIMA = (
    Optimum("logit, cross entropy", nn.Identity(), 1.0, 0.0),
    Optimum("probability, cross entropy", nn.Sigmoid(), 1.0, -0.5),
    Optimum("output, squared error on ±1", nn.Tanh(), 0.5, -0.5),
)


@dataclass(frozen=True)
class Triangle:
    """Three Gaussian classes with means at the corners of an equilateral triangle around the origin.

    Attributes
    ----------
    alpha : float
        Distance of two means over s^2, with s = 1.
    """

    alpha: float

    @property
    def means(self) -> Tensor:
        """The means, shape (3, 2); the facet of the first two is the upper half of the second axis."""
        half = math.sqrt(3) / 2
        corners = torch.tensor([[-half, 0.5], [half, 0.5], [0.0, -1.0]], dtype=torch.float64)
        return self.alpha / math.sqrt(3) * corners

    def network(self) -> nn.Module:
        """Best network at the probability endpoint."""
        line = nn.Linear(2, 3, dtype=torch.float64)
        with torch.no_grad():
            line.weight.copy_(self.means)
            line.bias.copy_(-self.means.square().sum(1) / 2)
        return nn.Sequential(line, nn.Softmax(dim=-1))

    def on_facet(self, a: Tensor) -> Tensor:
        """Points where the first two classes tie at the posterior a > 1/3, shape (len(a), 2)."""
        height = -torch.log(1 / a - 2) / (math.sqrt(3) / 2 * self.alpha)
        return torch.stack([torch.zeros_like(a), height], dim=1)

    def log_stretch(self, a: Tensor) -> Tensor:
        """Closed form of ln sigma_1 on the facet."""
        return torch.log(a * self.alpha / math.sqrt(2))

    def curvature(self, a: Tensor) -> Tensor:
        """Closed form of the second derivative of ln sigma_1 across the facet."""
        return self.alpha**2 / 4 * (2 - 3 * a - 6 * a**2) / (3 * a - 1)


def stretch(model: nn.Module, points: Tensor) -> Tensor:
    """Leading ln sigma from the input to the output, shape (points,)."""
    return torch.from_numpy(ftle(model, points)["stretch"].values[0, 0, :, 0])


def direction(model: nn.Module, points: Tensor) -> Tensor:
    """Leading right singular vectors, shape (points, 2); they have no sign."""
    return torch.from_numpy(ftle(model, points, directions=True)["right"].values[0, 0, :, 0])


def curvature(model: nn.Module, points: Tensor, normal: Tensor, step: float) -> Tensor:
    """Second derivative of ln sigma along ``normal`` by an eighth-order central difference, shape (points,)."""
    shifts = torch.arange(-4, 5, dtype=torch.float64)
    values = stretch(model, (points + (step * shifts)[:, None, None] * normal).reshape(-1, points.shape[-1]))
    weights = torch.tensor([*_STENCIL[:0:-1], *_STENCIL], dtype=torch.float64)
    return weights @ values.reshape(len(shifts), len(points)) / step**2


def turning_point(triangle: Triangle) -> float:
    """Posterior on the facet where the measured curvature changes its sign."""
    from scipy.optimize import brentq

    model, normal = triangle.network(), torch.tensor([1.0, 0.0], dtype=torch.float64)

    def bend(a: float) -> float:
        point = triangle.on_facet(torch.tensor([a], dtype=torch.float64))
        return float(curvature(model, point, normal, 0.003 / triangle.alpha))

    return float(brentq(bend, 0.35, 0.45, xtol=1e-12))
