"""A piecewise-linear network restricted to a plane of its inputs, as arrays: what the splitting into regions needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from separatrix.results.errors import ArgumentError
from separatrix.systems.lure import Block, Lure

PIECEWISE_LINEAR = "ReLU, LeakyReLU, PReLU, ReLU6, Hardtanh, Hardsigmoid, Softshrink, abs, identity"


@dataclass(frozen=True)
class Layer:
    """v = slopes[piece] z + offsets[piece] for z = bias + sum of weights[source] v_source.

    Attributes
    ----------
    label : str
        Label of the block.
    weights : dict of int to array (n, n_source)
        Source 0 is the input, source k the value of the k-th layer.
    bias : array (n,)
    breaks : array (n, p)
        Where the pieces of each component meet, ascending; p = 0 for the identity.
    slopes, offsets : array (n, p + 1)
    within : bool
        Keep only where every component is in its middle piece: a clipping box, not an activation.
    """

    label: str
    weights: dict[int, Float[np.ndarray, "n m"]]
    bias: Float[np.ndarray, " n"]
    breaks: Float[np.ndarray, "n p"]
    slopes: Float[np.ndarray, "n q"]
    offsets: Float[np.ndarray, "n q"]
    within: bool = False

    @property
    def width(self) -> int:
        """Number of components."""
        return len(self.bias)

    def preactivation(self, values: dict[int, np.ndarray]) -> Float[np.ndarray, "n points"]:
        """Z (n, points) from the values (n_source, points) of the sources."""
        z = np.broadcast_to(self.bias[:, None], (self.width, next(iter(values.values())).shape[1]))
        for source, weight in self.weights.items():
            z = z + weight @ values[source]
        return z

    def value(self, z: Float[np.ndarray, "n points"]) -> Float[np.ndarray, "n points"]:
        """s(z)."""
        piece = np.zeros(z.shape, dtype=np.uint8)
        for kink in self.breaks.T:
            piece += z >= kink[:, None]
        slope, offset = self.on(piece)
        return slope * z + offset

    def on(self, piece: UInt8[np.ndarray, "n points"]) -> tuple[np.ndarray, np.ndarray]:
        """Slope and offset (n, points) of each component on a piece of its activation."""
        place = piece + np.arange(self.width)[:, None] * self.slopes.shape[1]
        return self.slopes.ravel()[place], self.offsets.ravel()[place]


def layers(network: Lure) -> list[Layer]:
    """Arrays of a network whose activations are all piecewise linear; the last is the output.

    Raises
    ------
    ArgumentError
        If an activation is smooth or jumps, or a weight is not finite.
    """
    return [_layer(block) for block in network.blocks]


def restricted(found: list[Layer], origin: Float[np.ndarray, " n"], basis: Float[np.ndarray, "n 2"]) -> list[Layer]:
    """The network on the plane ``origin + basis a``, as a function of a."""
    made = []
    for layer in found:
        weights, bias = dict(layer.weights), layer.bias
        if 0 in weights:
            bias = bias + weights[0] @ origin
            weights[0] = weights[0] @ basis
        made.append(Layer(layer.label, weights, bias, layer.breaks, layer.slopes, layer.offsets, layer.within))
    return made


def composed(once: list[Layer], period: int, lo: Float[np.ndarray, " n"], hi: Float[np.ndarray, " n"]) -> list[Layer]:
    """The network applied ``period`` times, restricted to inputs whose images stay in the box until then.

    The last of the layers is the output; between two rounds the state is a layer of its own.
    """
    made: list[Layer] = []
    start = 0
    for turn in range(period):
        base = len(made)
        for layer in once:
            weights = {start if source == 0 else base + source: weight for source, weight in layer.weights.items()}
            made.append(Layer(layer.label, weights, layer.bias, layer.breaks, layer.slopes, layer.offsets))
        if turn < period - 1:
            made[-1] = _clip(made[-1], lo, hi)
            start = len(made)
    return made


def _clip(output: Layer, lo: np.ndarray, hi: np.ndarray) -> Layer:
    n = output.width
    return Layer(
        "state", output.weights, output.bias, np.stack([lo, hi], 1), np.ones((n, 3)), np.zeros((n, 3)), within=True
    )


def _layer(block: Block) -> Layer:
    weights = {source: np.ascontiguousarray(w.detach().cpu().numpy()) for source, w in block.weights.items()}
    bias = np.ascontiguousarray(block.bias.detach().cpu().numpy())
    if not (np.isfinite(bias).all() and all(np.isfinite(w).all() for w in weights.values())):
        raise ArgumentError("model", f"weights that are NaN or infinite before {block.label}", "repair the model")
    n = len(bias)
    if block.curve is None:
        return Layer(block.label, weights, bias, np.zeros((n, 0)), np.ones((n, 1)), np.zeros((n, 1)))
    pieces = block.curve.pieces
    if pieces is None:
        raise ArgumentError(
            "model",
            f"the activation {block.curve.name} at {block.label}, which is not piecewise linear",
            f"linear regions exist for {PIECEWISE_LINEAR}; for others see sx.affine and sx.spectrum at points",
        )
    breaks = np.broadcast_to(pieces.breakpoints.detach().cpu().numpy(), (n, len(pieces.breakpoints)))
    slopes, offsets = (_by_component(v.detach().cpu().numpy(), n) for v in (pieces.slopes, pieces.offsets))
    jump = np.abs(np.diff(slopes, axis=1) * breaks + np.diff(offsets, axis=1))
    if jump.size and jump.max() > 1e-9 * max(1.0, np.abs(offsets).max()):
        raise ArgumentError("model", f"the activation {block.curve.name}, which jumps", "regions need a continuous one")
    return Layer(block.label, weights, bias, np.ascontiguousarray(breaks), slopes, offsets)


def _by_component(values: np.ndarray, n: int) -> np.ndarray:
    """Numbers of the pieces (p + 1,) or (p + 1, n), one row for each component."""
    wide = values.T if values.ndim == 2 else values[None, :]
    return np.ascontiguousarray(np.broadcast_to(wide, (n, wide.shape[1])))


def evaluate(found: list[Layer], x: Float[np.ndarray, "n points"]) -> Float[np.ndarray, "m points"]:
    """Outputs (m, points) at inputs (n, points)."""
    values = {0: x}
    for place, layer in enumerate(found, 1):
        values[place] = layer.value(layer.preactivation(values))
    return values[len(found)]
