"""Linear regions in a plane: a convex polygon is cut along the kinks of every component, layer after layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from separatrix.local.region_cells import Cells, flat, roomy
from separatrix.local.region_layers import Layer
from separatrix.results.errors import ArgumentError

TOLERANCE = 1e-12
"""A corner lies on a kink if its pre-activation is this close to it, relative to the sum of the absolute terms."""


class TooMany(Exception):
    """More regions than are allowed."""


@dataclass(frozen=True)
class Split:
    """Regions as loops of shared corners.

    Attributes
    ----------
    corners : array (corners, 2)
        In coordinates of the plane.
    loop : array (total,)
        Corners of the regions, one region after the other, each counter-clockwise.
    start, count : array (regions,)
        Where each region begins in ``loop``, and how many corners it has.
    pattern : array (regions, components)
        Piece of every component of all layers but the last, counted from 0 at the left.
    """

    corners: Float[np.ndarray, "corners 2"]
    loop: Int[np.ndarray, " total"]
    start: Int[np.ndarray, " regions"]
    count: Int[np.ndarray, " regions"]
    pattern: UInt8[np.ndarray, "regions components"]

    @property
    def region(self) -> Int[np.ndarray, " total"]:
        """Region of each place of the loop."""
        return np.repeat(np.arange(len(self.count)), self.count)

    @property
    def following(self) -> Int[np.ndarray, " total"]:
        """Place of the loop that comes after each one in its region."""
        after = np.arange(1, len(self.loop) + 1)
        after[self.start + self.count - 1] = self.start
        return after

    def polygon(self, region: int | np.integer) -> Float[np.ndarray, "n 2"]:
        """Corners of a region."""
        return self.corners[self.loop[self.start[region] : self.start[region] + self.count[region]]]

    def areas(self) -> Float[np.ndarray, " regions"]:
        """Areas of the regions, by the shoelace formula from each region's first corner."""
        if not len(self.start):
            return np.zeros(0)
        at = self.corners[self.loop]
        x, y = (at - np.repeat(at[self.start], self.count, axis=0)).T
        after = self.following
        return np.add.reduceat(x * y[after] - x[after] * y, self.start) / 2


def split(
    layers: list[Layer], polygon: Float[np.ndarray, "n 2"], limit: int, advance: Callable[[int], object] | None = None
) -> Split:
    """Regions of a convex polygon on which every component stays on one piece of its activation.

    Parameters
    ----------
    layers : list of Layer
        Source 0 is the plane; the last is the output, which has no kinks.
    polygon : array (n, 2)
        Counter-clockwise.
    limit : int
        Most regions that are allowed.
    advance : callable, optional
        Called with the number of components done since the last call.

    Raises
    ------
    TooMany
        If there are more regions.
    ArgumentError
        If a pre-activation overflows.

    Notes
    -----
    A region is cut by a component where its pre-activation takes values on both sides of a kink at the region's
    corners, beyond ``TOLERANCE``. Pre-activations at new corners are interpolated along the edge and then put exactly
    onto the kinks that they are within the tolerance of, so that lines that coincide, or meet in one point, do so
    exactly in all later layers too. Regions thinner than the tolerance are not resolved. A component that is on a kink
    in a whole region counts as right of it. Cost: for a component, a pass over the corners of the regions that the
    layer began with, and one over the regions that it can cut.
    """
    cells = Cells(np.ascontiguousarray(polygon.T))
    pattern = np.zeros((1, 0), dtype=np.uint8)
    values = {0: cells.values}
    for place, layer in enumerate(layers[:-1], 1):
        z, slack = _preactivation(layer, values)
        later = {source for other in layers[place:] for source in other.weights}
        kept = [source for source in values if source == 0 or source in later]
        stacked = [values[source] for source in kept]
        sizes = [len(part) for part in stacked]
        cells.settle(np.concatenate([*stacked, z]))
        code = _cut(cells, layer, sum(sizes), slack, limit, advance)
        pattern = np.concatenate([pattern[cells.parent[: cells.cells]], code.T], axis=1)
        if layer.within:
            chosen = np.flatnonzero((code == 1).all(0))
            if not len(chosen):
                return _empty(layers)
            cells.keep(chosen)
            pattern = pattern[chosen]
        parts = np.split(cells.values[:, : cells.corners], np.cumsum(sizes))
        values = dict(zip(kept, parts[:-1], strict=True)) | {place: layer.value(parts[-1])}
    start, count = cells.start[: cells.cells], cells.count[: cells.cells]
    return Split(
        np.ascontiguousarray(cells.values[:2, : cells.corners].T),
        cells.loop[flat(start, count)],
        np.cumsum(count) - count,
        count.copy(),
        pattern,
    )


def _preactivation(layer: Layer, values: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pre-activations (n, corners), put onto the kinks they are close to, and how close that is (n, 1)."""
    with np.errstate(all="ignore"):
        z = layer.preactivation(values)
        size = np.abs(layer.bias)
        for source, weight in layer.weights.items():
            size = size + np.abs(weight) @ np.abs(values[source]).max(1)
    if not np.isfinite(size).all():
        raise ArgumentError("model", f"values that overflow at {layer.label}", "scale the weights or the box")
    slack = TOLERANCE * size[:, None]
    _snap(z, layer, slack)
    return z, slack


def _snap(z: np.ndarray, layer: Layer, slack: np.ndarray) -> None:
    for kink in layer.breaks.T[:, :, None]:
        np.copyto(z, kink, where=np.abs(z - kink) <= slack)


def _cut(
    cells: Cells, layer: Layer, base: int, slack: np.ndarray, limit: int, advance: Callable[[int], object] | None
) -> UInt8[np.ndarray, "n regions"]:
    """Cut along all kinks of a layer whose pre-activations begin at the row ``base``; returns the pieces."""
    code = np.zeros((layer.width, cells.cells), dtype=np.uint8)
    loop, start = cells.loop, cells.start  # of the parents; both are copied when they grow
    loop, start = loop[: cells.used].copy(), start[: cells.cells].copy()
    rows = slice(base, base + layer.width)
    for j, kinks in enumerate(layer.breaks):
        z = cells.values[base + j][loop]
        low, high = np.minimum.reduceat(z, start), np.maximum.reduceat(z, start)
        for at in kinks:
            before, corners = cells.cells, cells.corners
            parent = cells.parent[:before]
            code[j, :before] += (low >= at)[parent]
            candidates = np.flatnonzero(((low < at) & (high > at))[parent])
            if not len(candidates):
                continue
            whole, above, divided = cells.cut(candidates, base + j, at)
            code[j, whole] += above
            if cells.cells > limit:
                raise TooMany
            new = slice(before, cells.cells)
            code = roomy(code, cells.cells)
            code[: j + 1, new] = code[: j + 1, divided]
            code[j, new] += 1
            _snap(cells.values[rows, corners : cells.corners], layer, slack)
        if advance is not None:
            advance(1)
    return code[:, : cells.cells]


def _empty(layers: list[Layer]) -> Split:
    none = np.zeros(0, dtype=int)
    components = sum(layer.width for layer in layers[:-1])
    return Split(np.zeros((0, 2)), none, none, none, np.zeros((0, components), dtype=np.uint8))
