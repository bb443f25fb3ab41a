"""A piecewise-linear network layer by layer, as linear functions of rays with bounds for what rounding does to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from separatrix.certificates.problem import Problem
from separatrix.certificates.verified import TINY, UNIT, UP, product
from separatrix.local.region_layers import layers
from separatrix.results.errors import ArgumentError
from separatrix.systems.curve_forms import ROUNDING
from separatrix.systems.curves import Curve


class Incomplete(Exception):
    """The map could not be covered; ``reason`` and ``advice`` say why."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


@dataclass(frozen=True)
class Values:
    """Linear functions of rays, for each component and cell (n, cells, 3): intervals, and which numbers are not 0."""

    middle: np.ndarray
    radius: np.ndarray
    live: np.ndarray

    def of(self, cells: np.ndarray) -> Values:
        """Those of some cells."""
        return Values(self.middle[:, cells], self.radius[:, cells], self.live[:, cells])


def require_finite(z: Values) -> None:
    """Raise :class:`Incomplete` where numbers overflow."""
    if not (np.isfinite(z.middle).all() and np.isfinite(z.radius).all()):
        raise Incomplete("values overflow", "scale the weights")


@dataclass(frozen=True)
class Stage:
    """One layer: weights of all sources side by side with the bias, and the pieces of the activation."""

    sources: tuple[int, ...]
    weight: np.ndarray
    breaks: np.ndarray
    slopes: np.ndarray
    slope_radius: np.ndarray
    offsets: np.ndarray
    curve: Curve | None

    @property
    def sixths(self) -> bool:
        """Whether the slopes are 1/6, which is no floating-point number, and the offsets halves."""
        return self.curve is not None and self.curve.name == "hardsigmoid"

    def preactivation(self, values: dict[int, Values], count: int) -> Values:
        """Weights times the values of the sources, plus the bias."""
        one = np.zeros((1, count, 3))
        one[:, :, 2] = 1
        found = [values[source] for source in self.sources] + [Values(one, np.zeros_like(one), one != 0)]
        middle, radius, live = (
            np.concatenate([getattr(v, name) for v in found]).reshape(-1, 3 * count)
            for name in ("middle", "radius", "live")
        )
        weight = torch.from_numpy(self.weight)
        z, error = product(weight, None, torch.from_numpy(middle), torch.from_numpy(radius))
        live = ((self.weight != 0).astype(np.float32) @ live.astype(np.float32)) > 0
        shape = (len(self.weight), count, 3)
        return Values(z.numpy().reshape(shape), (error.numpy() * live).reshape(shape), live.reshape(shape))

    def value(self, z: Values, code: np.ndarray, constant: np.ndarray) -> Values:
        """Slope z + offset on the pieces ``code`` (n, cells); components that are constant in a cell by their value."""
        at = (np.arange(len(code))[:, None], code)
        slope, spread, offset = (part[at][..., None] for part in (self.slopes, self.slope_radius, self.offsets))
        middle = slope * z.middle
        radius = np.abs(slope) * z.radius + spread * (np.abs(z.middle) + z.radius) + 2 * UNIT * np.abs(middle)
        live = z.live & ((slope != 0) | (spread != 0))
        has = offset[..., 0] != 0
        middle[:, :, 2] += offset[..., 0]
        radius[:, :, 2] += has * 2 * UNIT * np.abs(middle[:, :, 2])
        radius[:, :, 2] += (spread[..., 0] != 0) * ROUNDING * np.abs(offset[..., 0])
        live[:, :, 2] |= has
        if constant.any():
            assert self.curve is not None
            least, most = z.middle[:, :, 2] - z.radius[:, :, 2], z.middle[:, :, 2] + z.radius[:, :, 2]
            slack = 2 * UNIT * np.abs(z.middle[:, :, 2])
            bounds = self.curve.value_over(*(torch.from_numpy(v.T.copy()) for v in (least - slack, most + slack)))
            low, high = (v.numpy().T for v in bounds)
            centre = low / 2 + high / 2
            half = np.maximum(high - centre, centre - low) * UP + TINY
            # s(0) itself is exact
            zero = ~z.live[:, :, 2]
            centre, half = np.where(zero, self.curve.at_zero, centre), np.where(zero, 0.0, half)
            last = np.array([0.0, 0.0, 1.0])
            middle = np.where(constant[..., None], centre[..., None] * last, middle)
            radius = np.where(constant[..., None], half[..., None] * last, radius)
            some = (centre != 0) | (half != 0)
            live = np.where(constant[..., None], some[..., None] & (last > 0), live)
        return Values(middle, (radius * UP + TINY) * live, live)


def stages_of(problem: Problem) -> list[Stage]:
    """All layers of a problem; :class:`Incomplete` where its map cannot be cut into regions."""
    network = problem.network
    if problem.n not in (1, 2):
        raise Incomplete(f"regions are cut in one or two dimensions, not in {problem.n}", "another method")
    if problem.driven:
        raise Incomplete("regions are cut for a constant input only", "another method, or a constant input")
    try:
        flat = layers(network)
    except ArgumentError as error:
        raise Incomplete(f"{error.got}", "another method: regions need piecewise-linear activations") from error
    found = []
    for layer, block in zip(flat, network.blocks, strict=True):
        sources = tuple(sorted(layer.weights))
        weight = np.concatenate([*(layer.weights[source] for source in sources), layer.bias[:, None]], axis=1)
        radius = np.zeros_like(layer.slopes)
        if block.curve is not None:
            low, high = (v.numpy().T for v in block.curve.slope_over(*[torch.from_numpy(_within(layer.breaks).T)] * 2))
            radius = np.maximum(high - layer.slopes, layer.slopes - low)
            radius[(layer.slopes == 0) & (radius <= TINY)] = 0  # a flat piece is flat
        found.append(Stage(sources, weight, layer.breaks, layer.slopes, radius, layer.offsets, block.curve))
    return found


def _within(breaks: np.ndarray) -> np.ndarray:
    """A place inside each piece (n, p + 1)."""
    if not breaks.shape[1]:
        return np.zeros((len(breaks), 1))
    ends = (breaks[:, :1] - 1 - np.abs(breaks[:, :1]), breaks[:, -1:] + 1 + np.abs(breaks[:, -1:]))
    return np.concatenate([ends[0], breaks[:, 1:] / 2 + breaks[:, :-1] / 2, ends[1]], axis=1)
