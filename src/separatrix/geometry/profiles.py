"""Sums over the neighbour graphs of every layer of every network, in tables."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from separatrix.geometry.components import connectivity
from separatrix.geometry.geodesics import total_geodesic
from separatrix.geometry.graphs import degrees, graph
from separatrix.geometry.layer_sums import LayerSums, layer_sums
from separatrix.geometry.nearest import neighbours
from separatrix.results.errors import ArgumentError

_COUNTS = ("curvature", "edges", "components", "largest", "diameter", "unreachable")
REMEDY = 'give a larger k, or disconnected="nan", "largest" or "drop-pairs"'


@dataclass(frozen=True)
class Asked:
    """What is to be computed at every layer."""

    ks: np.ndarray
    conventions: tuple[str, ...]
    ties: str
    disconnected: str
    memory: Any
    threads: int | None


@dataclass
class Profiles:
    """Tables (member, convention, k, layer); ``reciprocity`` (member, k, layer), the last two (member, layer)."""

    geodesic: np.ndarray
    curvature: np.ndarray
    edges: np.ndarray
    components: np.ndarray
    largest: np.ndarray
    diameter: np.ndarray
    unreachable: np.ndarray
    reciprocity: np.ndarray
    unique_rows: np.ndarray
    least_connecting_k: np.ndarray

    @classmethod
    def empty(cls, members: int, asked: Asked, layers: int) -> Profiles:
        """Tables that are not filled yet."""
        all_four = (members, len(asked.conventions), len(asked.ks), layers)
        made: dict[str, np.ndarray] = {
            "geodesic": np.full(all_four, np.nan),
            "reciprocity": np.full((members, len(asked.ks), layers), np.nan),
            "unique_rows": np.zeros((members, layers), dtype=np.int64),
            "least_connecting_k": np.zeros((members, layers), dtype=np.int64),
        }
        made |= {name: np.zeros(all_four, dtype=np.int64) for name in _COUNTS}
        return cls(**{f.name: made[f.name] for f in fields(cls)})

    def fill(self, member: int, layer: int, label: str, features: Any, asked: Asked) -> None:
        """Compute one layer of one network.

        Raises
        ------
        ArgumentError
            If features are not finite, or a graph is not connected and that was to be refused.
        """
        try:
            found = layer_sums(
                features,
                asked.ks,
                conventions=asked.conventions,
                ties=asked.ties,
                memory=asked.memory,
                threads=asked.threads,
            )
        except ArgumentError as error:
            if error.argument != "X":
                raise
            raise ArgumentError("X", f"{error.got} at layer {label!r}", error.remedy) from error
        cut = found.components > 1
        if asked.disconnected == "raise" and cut.any():
            c, k = (int(v[0]) for v in np.nonzero(cut))
            raise ArgumentError(
                "k", f"{asked.ks[k]}, with which layer {label!r} falls into {found.components[c, k]} components", REMEDY
            )
        at = (member, slice(None), slice(None), layer)
        self.geodesic[at] = found.geodesic
        for name in _COUNTS:
            getattr(self, name)[at] = getattr(found, name)
        self.reciprocity[member, :, layer] = found.reciprocity
        self.unique_rows[member, layer] = found.unique_rows
        self.least_connecting_k[member, layer] = found.least_connecting_k
        if found.unique_rows == 1:
            # one place holds no geometry: its graphs follow from the numbering of the points
            self.geodesic[at] = np.nan
        elif asked.disconnected == "largest" and cut.any():
            self._of_largest(member, layer, features, found, asked)

    def _of_largest(self, member: int, layer: int, features: Any, found: LayerSums, asked: Asked) -> None:
        """Put the sums over the largest component in the place of those over cut graphs."""
        cut = np.argwhere(found.components > 1)
        near = neighbours(
            features, int(asked.ks[cut[:, 1]].max()), ties=asked.ties, memory=asked.memory, threads=asked.threads
        )
        for c, k in cut:
            convention, count = asked.conventions[c], int(asked.ks[k])
            whole = graph(near, count, convention)
            inside = connectivity(whole).labels == 0
            part = whole.to_scipy()[inside][:, inside]
            degree = degrees(near, count, convention)[inside]
            # arcs and edges lead nowhere but inside a component
            edges = near.counts(count)[inside].sum() if convention == "authors-r" else degree.sum() // 2
            at = (member, c, k, layer)
            self.geodesic[at] = total_geodesic(part, memory=asked.memory, threads=asked.threads).total
            self.curvature[at] = 4 * edges - (degree**2).sum()
            self.edges[at] = edges
