"""The graphs of all k on the same points, held once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from separatrix.geometry.nearest import Neighbours


@dataclass(frozen=True)
class Nested:
    """Undirected graphs, each contained in the next.

    Attributes
    ----------
    starts : array (n,), int64
    ends : array (n, K), int64
        Neighbours of v in graph c are ``indices[starts[v]:ends[v, c]]``.
    indices : array, int32
    """

    starts: np.ndarray
    ends: np.ndarray
    indices: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        """Degrees in each graph, shape (n, K), int64."""
        return self.ends - self.starts[:, None]


@dataclass(frozen=True)
class Family:
    """The neighbour graphs of the same points at ascending k.

    Attributes
    ----------
    union, mutual : Nested
        Joined are two points of which one is the other's neighbour, or which both are.
    leaving, arriving : arrays (n, K), int64
        How many neighbours a point has, and how many points have it as theirs.
    """

    union: Nested
    mutual: Nested
    leaving: np.ndarray
    arriving: np.ndarray


def family(neighbours: Neighbours, ks: np.ndarray) -> Family:
    """The graphs at all k of a strictly ascending array, none beyond ``neighbours.k_max``.

    Notes
    -----
    Cost: O(n k) steps for the largest k, and none beside for the others.
    """
    from separatrix.geometry.nested_kernel import nest

    step = np.searchsorted(ks, np.arange(neighbours.k_max + 2)).astype(np.int64)
    *both, leaving, arriving = nest(neighbours.order, neighbours.rank, step)
    return Family(Nested(*both[:3]), Nested(*both[3:]), leaving, arriving)
