"""Kernels that turn ranked neighbours into the graphs of all k, each a prefix of the next."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np

from separatrix.geometry.compiling import compiled


@compiled
@no_type_check
def nest(order: Any, rank: Any, step: Any) -> Any:
    """Union and mutual graphs on ranked neighbours, for several k at once.

    Parameters
    ----------
    order, rank : arrays (n, width)
        Neighbours of each point, -1 for none, and the least k at which they are neighbours.
    step : array (k_max + 2,), int64
        For each rank, the first of the wanted k that reaches it; K, their number, for ranks beyond the last.

    Returns
    -------
    starts, ends, indices
        The union graphs: neighbours of v in graph c are ``indices[starts[v]:ends[v, c]]``.
    starts, ends, indices
        The mutual graphs.
    leaving, arriving : arrays (n, K), int64
        How many neighbours v has, and how many points have v as theirs, at each k.
    """
    n, width = order.shape
    K = step[-1]
    leaving = np.zeros((n, K), np.int64)
    arriving = np.zeros((n, K), np.int64)
    out = np.zeros(n, np.int64)
    into = np.zeros(n + 1, np.int64)
    for i in range(n):
        size = 0
        while size < width and order[i, size] >= 0 and step[rank[i, size]] < K:
            into[order[i, size] + 1] += 1
            leaving[i, step[rank[i, size]]] += 1
            size += 1
        out[i] = size
    starts = np.empty(n, np.int64)
    mutual_starts = np.empty(n, np.int64)
    room = 0
    mutual_room = 0
    for v in range(n):
        starts[v] = room
        mutual_starts[v] = mutual_room
        room += into[v + 1] + out[v]
        mutual_room += min(into[v + 1], out[v])
        into[v + 1] += into[v]
    # the arcs that arrive at each point: where from, and from which k on
    arcs = np.empty(into[n], np.int64)
    free = into.copy()
    for i in range(n):
        for m in range(out[i]):
            j = order[i, m]
            arcs[free[j]] = (i << 32) | step[rank[i, m]]
            free[j] += 1
    indices = np.empty(room, np.int32)
    mutual_indices = np.empty(mutual_room, np.int32)
    ends = np.zeros((n, K), np.int64)
    mutual_ends = np.zeros((n, K), np.int64)
    away = np.full(n, K, np.int64)
    joined = np.empty(n + 1, np.int32)
    level = np.empty(n + 1, np.int32)
    mutual_joined = np.empty(n + 1, np.int32)
    mutual_level = np.empty(n + 1, np.int32)
    place = np.empty(K + 1, np.int64)
    mutual_place = np.empty(K + 1, np.int64)
    for v in range(n):
        for m in range(out[v]):
            away[order[v, m]] = step[rank[v, m]]
        place[:] = 0
        mutual_place[:] = 0
        size = 0
        mutual_size = 0
        for p in range(into[v], into[v + 1]):
            u = arcs[p] >> 32
            here = arcs[p] & 0xFFFFFFFF
            there = away[u]
            away[u] = K
            arriving[v, here] += 1
            first = min(here, there)
            both = max(here, there)
            joined[size] = u
            level[size] = first
            place[first] += 1
            size += 1
            # without a branch: overwritten by the next if the arc is not returned
            mutual_joined[mutual_size] = u
            mutual_level[mutual_size] = both
            mutual_place[both] += 1
            mutual_size += there < K
        for m in range(out[v]):
            u = order[v, m]
            joined[size] = u
            level[size] = away[u]
            place[away[u]] += 1
            size += away[u] < K
            away[u] = K
        at = starts[v]
        mutual_at = mutual_starts[v]
        for c in range(K):
            room = place[c]
            place[c] = at
            at += room
            ends[v, c] = at
            room = mutual_place[c]
            mutual_place[c] = mutual_at
            mutual_at += room
            mutual_ends[v, c] = mutual_at
            if c > 0:
                leaving[v, c] += leaving[v, c - 1]
                arriving[v, c] += arriving[v, c - 1]
        for m in range(size):
            c = level[m]
            indices[place[c]] = joined[m]
            place[c] += 1
        for m in range(mutual_size):
            c = mutual_level[m]
            mutual_indices[mutual_place[c]] = mutual_joined[m]
            mutual_place[c] += 1
    return starts, ends, indices, mutual_starts, mutual_ends, mutual_indices, leaving, arriving


@compiled
@no_type_check
def components(starts: Any, ends: Any, indices: Any) -> Any:
    """Components of nested graphs.

    Returns
    -------
    counts, largest : arrays (number of k,), int64
        Number of components, and size of the largest.
    labels : array (n, number of k), int32
        A point of the component, the same for all of it.
    """
    n, K = ends.shape
    parent = np.arange(n).astype(np.int32)
    size = np.ones(n, np.int64)
    counts = np.empty(K, np.int64)
    largest = np.empty(K, np.int64)
    labels = np.empty((n, K), np.int32)
    remaining = n
    most = 1
    for c in range(K):
        if remaining > 1:
            for v in range(n):
                root = v
                while parent[root] != root:
                    parent[root] = parent[parent[root]]
                    root = parent[root]
                for p in range(starts[v] if c == 0 else ends[v, c - 1], ends[v, c]):
                    u = indices[p]
                    if u > v:
                        continue
                    while parent[u] != u:
                        parent[u] = parent[parent[u]]
                        u = parent[u]
                    if u != root:
                        if size[u] > size[root]:
                            u, root = root, u
                        parent[u] = root
                        size[root] += size[u]
                        most = max(most, size[root])
                        remaining -= 1
                if remaining == 1:
                    break
        counts[c] = remaining
        largest[c] = most
        for v in range(n):
            root = v
            while parent[root] != root:
                parent[root] = parent[parent[root]]
                root = parent[root]
            labels[v, c] = root
    return counts, largest, labels


@compiled
@no_type_check
def connecting_rank(order: Any, rank: Any, k_max: int) -> int:
    """The least k at which the union graph is connected, or -1 if it is not at k_max."""
    n, width = order.shape
    parent = np.arange(n).astype(np.int32)
    at = np.zeros(n, np.int64)
    remaining = n
    for k in range(1, k_max + 1):
        for v in range(n):
            root = v
            while parent[root] != root:
                parent[root] = parent[parent[root]]
                root = parent[root]
            while at[v] < width and rank[v, at[v]] <= k:
                u = order[v, at[v]]
                at[v] += 1
                if u < 0:
                    break
                while parent[u] != u:
                    parent[u] = parent[parent[u]]
                    u = parent[u]
                if u != root:
                    parent[u] = root
                    remaining -= 1
        if remaining == 1:
            return k
    return -1
