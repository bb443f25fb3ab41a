"""Which regions share an edge, and which component's kink it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from separatrix.local.region_split import Split

CHUNK = 2**22
"""Bytes of patterns that are compared at once."""


@dataclass(frozen=True)
class Edges:
    """Edges between two regions; those on the border of the polygon are left out.

    Attributes
    ----------
    first, second : array (edges,)
        The two regions; ``first < second``.
    place : array (edges,)
        Place of the split's loop at which the edge begins in the first region; it ends at the next corner there.
    component : array (edges,)
        The first component whose pieces differ in the two regions, counted through all layers.
    crossed : array (edges,)
        How many components' pieces differ: more than 1 where kinks coincide.
    border : int
        Number of edges that were left out.
    """

    first: Int[np.ndarray, " edges"]
    second: Int[np.ndarray, " edges"]
    place: Int[np.ndarray, " edges"]
    component: Int[np.ndarray, " edges"]
    crossed: Int[np.ndarray, " edges"]
    border: int

    def vectors(self, split: Split) -> Float[np.ndarray, "edges 2"]:
        """From the beginning of each edge to its end."""
        loop = split.loop
        return split.corners[loop[split.following[self.place]]] - split.corners[loop[self.place]]


def edges(split: Split) -> Edges:
    """Pair the sides of all regions: neighbours share corners, so a side of one is a side of the other, reversed."""
    here, there = split.loop, split.loop[split.following]
    key = np.minimum(here, there) * len(split.corners) + np.maximum(here, there)
    order = np.argsort(key, kind="stable")
    key = key[order]
    pair = np.flatnonzero(key[1:] == key[:-1])
    region = split.region
    # the sort is stable and the loop goes by region: the first of a pair is the lower region
    place, other = order[pair], order[pair + 1]
    first, second = region[place], region[other]
    component, crossed = np.zeros_like(first), np.zeros_like(first)
    components = split.pattern.shape[1]
    size = max(1, CHUNK // max(1, components))
    for at in range(0, len(first), size):
        part = slice(at, at + size)
        differ = split.pattern[first[part]] != split.pattern[second[part]]
        component[part], crossed[part] = differ.argmax(1), differ.sum(1)
    return Edges(first, second, place, component, crossed, len(key) - 2 * len(pair))


def pieces(found: Edges, same: np.ndarray, regions: int) -> Int[np.ndarray, " regions"]:
    """Number the connected sets of regions that are joined by edges where ``same`` holds."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = coo_array((np.ones(int(same.sum())), (found.first[same], found.second[same])), shape=(regions, regions))
    return connected_components(joined, directed=False)[1].astype(int)
