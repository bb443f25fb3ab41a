"""Orbits that do not repeat themselves: whether they are late, drift, fill a torus, or are chaotic."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from separatrix.local.basin_atlas import ESCAPE, UNDECIDED, Atlas
from separatrix.local.basin_cycles import Cycle
from separatrix.local.basin_sets import SHARED, CellSet, grouped, shadow_of
from separatrix.results.status import Status
from separatrix.tangent.largest_exponent import LargestExponent, follow

_PROBED = 32
"""Orbits of which exponents are computed at a time."""
_SETS = 256
"""Orbits beyond which no new sets are made."""
_NUMBERS = 2**23
"""Numbers that the paths of these orbits may take."""
_FAR = 0.2
"""How far from the middle of an orbit its fixed point may be, in units of the region's size."""


def explore(
    atlas: Atlas, trail: list[Tensor], label: Int[Tensor, " K"], wandering: Bool[Tensor, " K"], steps: int
) -> None:
    """Follow some of the orbits that match nothing, with a tangent, and make sets of those that never repeat.

    ``label`` is filled in where an orbit has been named; ``trail`` are the last states of the orbits.
    """
    place = (wandering & (label == UNDECIDED)).nonzero()[:, 0]
    sets = [a for a in atlas.attractors if isinstance(a, CellSet)]
    if not len(place) or len(sets) >= _SETS:
        return
    n = len(trail[-1])
    count = min(_PROBED, max(2, _NUMBERS // (steps * n)))
    chosen = place[torch.randperm(len(place), generator=atlas.generator)[:count]]
    shadow = sets[0].shadow if sets else shadow_of(n, atlas.generator, trail[-1].dtype)
    least = 2 * atlas.ruler.size
    path, found = _paths(atlas, trail[-1][:, chosen], steps)
    late = atlas.periods(found.state.T.contiguous())[1]
    new: list[CellSet] = []
    for i, at in enumerate(chosen.tolist()):
        if found.status[i] == Status.NONFINITE:
            label[at] = ESCAPE
            continue
        drawn = int(late[i]) if late[i] != UNDECIDED else _drawn_in(atlas, path[:, :, i].T)
        if drawn is not None:
            label[at] = drawn
            continue
        orbit = path[:, :, i].T
        one = CellSet("", shadow, orbit, [_exponent(found, i)], least)
        one.kind = _kind(one)
        new.append(one)
        atlas.attractors.append(one)
        label[at] = len(atlas.attractors) - 1
    grouped([one for one in sets if one.merged is None], new)
    atlas.match(trail, label, wandering)


def _paths(atlas: Atlas, x: Float[Tensor, "n C"], steps: int) -> tuple[Float[Tensor, "T n C"], LargestExponent]:
    """Orbits with their exponents, NaN from where they escape."""
    path = torch.full((steps, *x.shape), torch.nan, dtype=x.dtype)
    taken = iter(range(steps))

    def record(alive: Tensor, state: Tensor) -> None:
        path[next(taken)][:, alive] = state

    v = torch.randn(*x.shape, generator=atlas.generator, dtype=torch.float64)
    return path, follow(atlas.system, x, v, steps=steps, escape=atlas.ruler.escape, record=record)


def _exponent(found: LargestExponent, i: int) -> tuple[float, float]:
    """Exponent and error of one orbit; where its halves disagree, half of their difference."""
    error = float(found.standard_error[i])
    first, second = found.halves[:, i].tolist()
    return float(found.exponent[i]), error if math.isfinite(error) else abs(first - second) / 2


def _kind(one: CellSet) -> str:
    """Name the orbit that is all of a set."""
    (exponent, error), path = one.exponents[0], one.states
    steps = path.shape[1]
    middle = steps // 2
    if middle and CellSet("", one.shadow, path[:, :middle], [], one.least).shared(path[:, middle:]) < SHARED:
        return "unresolved"  # it does not come back to where it was, but drifts
    # a tangent that grows like a power of time, as on a torus, has an exponent of the order ln(T)/T
    zero = max(3 * error, 2 * math.log(max(steps, 2)) / steps)
    return "chaotic" if exponent > zero else "quasi-periodic" if exponent >= -zero else "unresolved"


def _drawn_in(atlas: Atlas, path: Float[Tensor, "n T"]) -> int | None:
    """Number of the attracting fixed point that an orbit slowly spirals into, if it does."""
    quarter = path.shape[1] // 4
    middle = path[:, -2 * quarter :].mean(1, keepdim=True)
    number = int(atlas.cycles(middle, 1, _FAR)[0]) if quarter else UNDECIDED
    one = atlas.attractors[number] if number >= 0 else None
    if not isinstance(one, Cycle):
        return None
    distance = (path - one.points[:, :1]).abs().amax(0)
    return number if distance[-quarter:].mean() < 0.95 * distance[:quarter].mean() else None
