"""The affine map of each region, from the pieces of its activations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from separatrix.local.region_layers import Layer

CHUNK = 2**16
"""Numbers that one layer's maps may take at once, so that they stay in the cache."""


def plane_maps(
    layers: list[Layer], pattern: UInt8[np.ndarray, "regions components"], inputs: int = 2
) -> tuple[Float[np.ndarray, "regions outputs inputs"], Float[np.ndarray, "regions outputs"]]:
    """A and b of the output A x + b in each region, by carrying the columns of few inputs forward.

    Cost: inputs + 1 forward passes a region.
    """
    found = [_forward(layers, part, inputs) for part in _chunks(layers, pattern, inputs + 1)]
    A, b = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return A, b


def input_maps(
    layers: list[Layer], pattern: UInt8[np.ndarray, "regions components"], inputs: int = 2
) -> tuple[Float[np.ndarray, "regions outputs inputs"], Float[np.ndarray, "regions outputs"]]:
    """The same by carrying the rows of few outputs back.

    Cost: outputs + 1 passes a region.
    """
    found = [_backward(layers, part, inputs) for part in _chunks(layers, pattern, layers[-1].width + 1)]
    A, b = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return A, b


def _chunks(layers: list[Layer], pattern: np.ndarray, columns: int) -> Iterator[np.ndarray]:
    widest = max(layer.width for layer in layers)
    size = max(1, CHUNK // (widest * columns))
    return (pattern[at : at + size] for at in range(0, max(1, len(pattern)), size))


def _pieces(layers: list[Layer], pattern: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Slope and offset (n, regions) of every component of all layers but the last."""
    widths = np.cumsum([layer.width for layer in layers[:-1]])
    parts = np.split(pattern.T, widths[:-1]) if len(widths) else []
    return [layer.on(part) for layer, part in zip(layers, parts, strict=False)]


def _forward(layers: list[Layer], pattern: np.ndarray, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    count, columns = len(pattern), inputs + 1
    start = np.zeros((inputs, columns, count))
    start[range(inputs), range(inputs)] = 1
    values = {0: start}
    pieces = _pieces(layers, pattern)
    for place, layer in enumerate(layers, 1):
        z = np.zeros((layer.width, columns, count))
        for source, weight in layer.weights.items():
            z += (weight @ values[source].reshape(weight.shape[1], -1)).reshape(z.shape)
        z[:, -1] += layer.bias[:, None]
        if place <= len(pieces):
            slope, offset = pieces[place - 1]
            z *= slope[:, None]
            z[:, -1] += offset
        values[place] = z
    maps = z.transpose(2, 0, 1)
    return np.ascontiguousarray(maps[:, :, :-1]), np.ascontiguousarray(maps[:, :, -1])


def _backward(layers: list[Layer], pattern: np.ndarray, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    count, outputs = len(pattern), layers[-1].width
    pieces = _pieces(layers, pattern)
    rows: dict[int, np.ndarray] = {}
    b = np.zeros((count, outputs))
    for place in range(len(layers), 0, -1):
        layer = layers[place - 1]
        if place == len(layers):
            at_z = np.broadcast_to(np.eye(outputs), (count, outputs, outputs))
        elif place in rows:
            slope, offset = pieces[place - 1]
            at_v = rows.pop(place)
            b += np.einsum("rob,br->ro", at_v, offset)
            at_z = at_v * slope.T[:, None]
        else:
            continue
        b += at_z @ layer.bias
        for source, weight in layer.weights.items():
            share = at_z @ weight
            rows[source] = rows[source] + share if source in rows else share
    return rows.get(0, np.zeros((count, outputs, inputs))), b
