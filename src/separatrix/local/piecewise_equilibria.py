"""All equilibria and short cycles of a piecewise-linear map of the plane, from its linear regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int

from separatrix.local.piecewise_search import ROOM, Level, level, nothing, shrunk
from separatrix.local.piecewise_stability import UNDECIDED
from separatrix.local.region_box import allowed, read_box
from separatrix.local.region_layers import Layer, composed, evaluate, layers
from separatrix.local.region_split import TooMany
from separatrix.local.spectrum import eigenvalues
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes
from separatrix.systems.lure import Lure


@dataclass(frozen=True)
class PiecewiseEquilibria:
    """Equilibria and cycles of a piecewise-linear map of the plane in a closed box.

    Attributes
    ----------
    position : array (points, 2)
        Every point of every cycle; the points of a cycle follow one another in the order in which it runs.
    period : array (points,)
        Least period of the point; 1 for an equilibrium.
    cycle : array (points,)
        Number of the cycle that the point belongs to.
    eigenvalues : array (points, 2)
        Of the derivative of the map applied ``period`` times, largest modulus first; where several regions meet, of one
        of them.
    stability : array (points,)
        Position in ``separatrix.local.piecewise_stability.STABILITY``: attracting, repelling, saddle, undecided.
    boundary : array (points,)
        Whether regions with different maps meet there (for a cycle: regions of the iterated map). Stability is then
        decided by a common quadratic function, or undecided.
    residual : array (points,)
        Largest component of f^period(x) - x, from a forward pass.
    slack : array (points,)
        How far the position may be off by rounding.
    segments : array (segments, 2, 2)
        Ends of segments that consist of equilibria or of points of the period in ``segment_period``, region by region.
    segment_period : array (segments,)
    segment_eigenvalue : array (segments,)
        The eigenvalue across; along the segment it is 1.
    polygons : tuple of arrays (n, 2)
        Polygons that consist of such points (the iterated map is the identity there).
    polygon_period : array (polygons,)
    unresolved_lo, unresolved_hi : array (boxes, 2)
        Boxes in which rounding does not let it be said whether there are more: cells with an almost singular I - A
        whose solution is close to their border. The whole box if a period was given up.
    notes : tuple of str
        Why something is unresolved.
    """

    position: Float[np.ndarray, "points 2"]
    period: Int[np.ndarray, " points"]
    cycle: Int[np.ndarray, " points"]
    eigenvalues: Complex[np.ndarray, "points 2"]
    stability: Int[np.ndarray, " points"]
    boundary: Bool[np.ndarray, " points"]
    residual: Float[np.ndarray, " points"]
    slack: Float[np.ndarray, " points"]
    segments: Float[np.ndarray, "segments 2 2"]
    segment_period: Int[np.ndarray, " segments"]
    segment_eigenvalue: Float[np.ndarray, " segments"]
    polygons: tuple[np.ndarray, ...]
    polygon_period: Int[np.ndarray, " polygons"]
    unresolved_lo: Float[np.ndarray, "boxes 2"]
    unresolved_hi: Float[np.ndarray, "boxes 2"]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is unresolved: up to rounding, there are no others in the box."""
        return not self.notes


def piecewise_equilibria(
    network: Lure,
    lo: Any,
    hi: Any,
    *,
    period: int = 1,
    limit: int = 1_000_000,
    memory: int | float | str = "2GB",
) -> PiecewiseEquilibria:
    """Find all equilibria, and all cycles up to a period, of a piecewise-linear map of the plane in a closed box.

    Every linear region of the map applied p times gives one linear equation, whose solution counts if it lies in the
    region. A cycle counts if all its points are in the box.

    Parameters
    ----------
    network : Lure
        With two inputs and two outputs, and piecewise-linear activations.
    lo, hi : float or array (2,)
    period : int
        Largest period.
    limit : int
        Most regions of an iterated map. Where it is reached, that period and those beyond are given up, and the result
        says so in ``notes``.
    memory : int or str
        Budget in bytes, which limits the regions too.

    Returns
    -------
    PiecewiseEquilibria
        Complete up to rounding if ``complete``: maps, regions and solutions are computed in float64, regions thinner
        than 1e-12 of the pre-activations' size are not resolved, and points closer to each other or to a border between
        regions than their ``slack`` are not told apart.

    Raises
    ------
    ArgumentError
        If the map is not one of the plane, an activation is not piecewise linear, or the box or the period is none.

    Notes
    -----
    For cycles the box is first shrunk to one that holds B and f(B), again and again. The regions of f^p are those of
    the network repeated p times, without those that leave the box; in an expanding map their number grows
    exponentially with p. Cost: that of the regions, and a 2x2 system for each.
    """
    if (network.inputs, network.outputs) != (2, 2):
        raise ArgumentError("system", f"a map from {network.inputs} to {network.outputs} components", "two are needed")
    period = whole("period", period, 1)
    box = read_box((lo, hi), 2)
    once = layers(network)
    pad = ROOM * float(np.abs(box).max())
    search: tuple[np.ndarray, np.ndarray] | None = (box[0] - pad, box[1] + pad)
    found: list[Level] = []
    notes: list[str] = []
    given_up = False
    for p in range(1, period + 1):
        room = allowed(composed(once, p, *box), limit, parse_bytes(memory))
        try:
            if p == 2 and search is not None:
                search = shrunk(once, search, room)
            if search is not None:
                found.append(level(once, p, box, search, room, [one for one in found if p % one.period == 0]))
        except TooMany:
            notes.append(
                f"periods {p} to {period}: more than {room:,} regions, of {limit:,} allowed and {memory} memory"
            )
            found.append(nothing(p))
            given_up = True
            break
    return _assemble(once, found, box, notes, given_up)


def _assemble(
    once: list[Layer], found: list[Level], box: tuple[np.ndarray, np.ndarray], notes: list[str], given_up: bool
) -> PiecewiseEquilibria:
    orders, cycles, stabilities = [], [], []
    number = 0
    for one in found:
        order, lost = _orbits(once, one, float(np.abs(box).max()))
        if lost:
            notes.append(f"period {one.period}: {lost} points whose images were not found among the others")
        if len(one.unsure):
            notes.append(f"period {one.period}: {len(one.unsure)} regions in which I - A is almost singular")
        orders.append(order.ravel())
        cycles.append(number + np.repeat(np.arange(len(order)), one.period))
        stabilities.append(np.repeat(_agreed(one.stability[order]), one.period))
        number += len(order)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(one, name)[order] for one, order in zip(found, orders, strict=True)])

    position, derivative = joined("position"), joined("derivative")
    period = np.concatenate([np.full(len(order), one.period) for one, order in zip(found, orders, strict=True)])
    unsure = np.concatenate([*(one.unsure for one in found), *([np.stack(box)[None]] if given_up else [])])
    return PiecewiseEquilibria(
        position,
        period,
        np.concatenate(cycles),
        eigenvalues(torch.from_numpy(derivative)).numpy(),
        np.concatenate(stabilities),
        joined("boundary"),
        _residuals(once, position, period),
        joined("slack"),
        np.concatenate([one.segments for one in found]),
        np.concatenate([np.full(len(one.segments), one.period) for one in found]),
        np.concatenate([one.across for one in found]),
        tuple(polygon for one in found for polygon in one.polygons),
        np.array([one.period for one in found for _ in one.polygons], dtype=int),
        unsure[:, 0],
        unsure[:, 1],
        tuple(notes),
    )


def _orbits(once: list[Layer], one: Level, size: float) -> tuple[Int[np.ndarray, "cycles period"], int]:
    """Points of each cycle in the order in which it runs, and the number of points that belong to none."""
    x = one.position
    if one.period == 1 or not len(x):
        return np.arange(len(x)).reshape(-1, one.period), 0
    apart = np.linalg.norm(evaluate(once, x.T).T[:, None] - x, axis=2)
    following, close = apart.argmin(1), apart.min(1) <= 1e-6 * size
    done, cycles = np.zeros(len(x), dtype=bool), []
    for start in range(len(x)):
        path = [start]
        while len(path) < one.period and close[path[-1]]:
            path.append(int(following[path[-1]]))
        whole = len(path) == one.period and close[path[-1]] and following[path[-1]] == start
        if whole and len(set(path)) == one.period and not done[path].any():
            cycles.append(path)
            done[path] = True
    return np.array(cycles, dtype=int).reshape(-1, one.period), int((~done).sum())


def _agreed(stability: Int[np.ndarray, "cycles period"]) -> Int[np.ndarray, " cycles"]:
    """Stability of a cycle from that of its points: what is proved at one holds for all."""
    decided = [set(row[row != UNDECIDED].tolist()) for row in stability]
    return np.array([one.pop() if len(one) == 1 else UNDECIDED for one in decided], dtype=int)


def _residuals(once: list[Layer], x: np.ndarray, period: np.ndarray) -> Float[np.ndarray, " points"]:
    found = np.zeros(len(x))
    y = x.T
    for p in range(1, int(period.max(initial=0)) + 1):
        y = evaluate(once, y)
        found = np.where(period == p, np.abs(y.T - x).max(1), found)
    return found
