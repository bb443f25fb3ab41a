"""What becomes of points that end on a fixed point or cycle that does not attract."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.local.basin_atlas import STUCK, UNDECIDED, Continuum
from separatrix.local.basin_search import Search

_TRIED = 64
"""Neighbours of such points that are followed, and places that are looked at."""
_ASIDE = 1e-3
"""How far aside they start, in units of the region's size."""
_BESIDE = 0.02
"""Distance from a continuum, in the same unit, within which a point is its end."""


def resolve(search: Search, starts: Float[Tensor, "n N"], label: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Give the points on each such place to a continuum beside it, or to the place itself if neighbours end there too.

    A network that maps a whole region onto a saddle (a dead layer) makes it an attractor in Milnor's sense; a point
    that lies exactly on a separatrix does not.
    """
    label = label.clone()
    places, counts = torch.unique(label[label <= STUCK], return_counts=True)
    for place in places[counts.argsort(descending=True)][:_TRIED].tolist():
        members = (label == place).nonzero()[:, 0]
        label[members] = _owner(search, starts, members, place)
    label[label <= STUCK] = UNDECIDED
    return label


def _owner(search: Search, starts: Tensor, members: Tensor, place: int) -> int:
    atlas = search.atlas
    cycle = atlas.unstable[STUCK - place]
    point = cycle.points[:, :1]
    for number, one in enumerate(atlas.attractors):
        if isinstance(one, Continuum) and bool(one.near(point, _BESIDE * float(atlas.ruler.scale(point))).all()):
            return number
    some = members[torch.randperm(len(members), generator=atlas.generator)[:_TRIED]]
    aside = 2 * torch.rand(len(starts), len(some), generator=atlas.generator, dtype=torch.float64) - 1
    found = search.run(starts[:, some] + _ASIDE * atlas.ruler.size * aside.to(starts.dtype))
    ends = int(found.mode().values)
    if ends >= 0 and isinstance(atlas.attractors[ends], Continuum):
        return ends
    if ends != place or int((found == place).sum()) < len(some) / 2:
        return UNDECIDED
    atlas.attractors.append(cycle)
    return len(atlas.attractors) - 1
