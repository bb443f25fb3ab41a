"""Kernel of the hop distances: breadth-first search from many sources at once, a bit for each.

Sources are taken in blocks of :data:`SOURCES`. For a vertex v, the words ``reach[v]`` hold the sources within t hops.
The sources within t + 1 hops are those of v and of its neighbours, so that a level costs one "or" of a few words for
each neighbour, and none once v is reached from everywhere.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np

from separatrix.geometry.bit_vectors import WORDS, load, population, store, union
from separatrix.geometry.compiling import compiled

SOURCES = 64 * WORDS
ONE = np.uint64(1)


@compiled
@no_type_check
def rows(n: int) -> Any:
    """A matrix (n, WORDS) whose rows begin where the processor's cache lines do."""
    room = np.empty(n * WORDS + 8, np.uint64)
    skip = (-(room.ctypes.data // 8)) % 8
    return room[skip : skip + n * WORDS].reshape(n, WORDS)


@compiled
@no_type_check
def lowest(word: Any) -> Any:
    """The place of the lowest bit that is set."""
    x = (word & (~word + ONE)) - ONE
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
@no_type_check
def search(starts: Any, ends: Any, indices: Any, labels: Any, sources: Any, hops: Any, sums: Any) -> Any:
    """Hops from a block of sources to everywhere, in nested undirected graphs without loops.

    Parameters
    ----------
    starts : array (n,), int64
    ends : array (n, K), int64
    indices : array, uint32
        Neighbours of v in graph c are ``indices[starts[v]:ends[v, c]]``: each graph contains the one before.
    labels : array (n, K), int32
        Number below n of each vertex's component.
    sources : array (m,), int64
        At most :data:`SOURCES` different vertices.
    hops : array (m, n), int16, or (0, 0)
        Filled with the distances in the last graph, where there is room; -1 is left where nothing leads.
    sums : array (m,), int64, or (0,)
        Filled with each source's sum of distances in the last graph, where there is room.

    Returns
    -------
    totals, reached, depths : arrays (K,), int64
        Sum of hops over the pairs (source, vertex) that are connected, their number (a vertex reaches itself), and the
        largest of them.
    """
    n, K = ends.shape
    m = len(sources)
    reach = rows(n)
    fresh = rows(n)
    second = rows(n)
    count = np.empty(n, np.int64)
    following = np.empty(n, np.int64)
    need = np.empty(n, np.int64)
    members = np.empty(n, np.int64)
    moved = np.empty(n, np.int64)
    marked = np.empty(n, np.int64)
    changed = np.empty(n, np.int64)
    candidates = np.empty(n, np.int64)
    totals = np.zeros(K, np.int64)
    reached = np.zeros(K, np.int64)
    depths = np.zeros(K, np.int64)
    settled = False
    for c in range(K):
        record = c == K - 1 and (len(hops) > 0 or len(sums) > 0)
        members[:] = 0
        for b in range(m):
            members[labels[sources[b], c]] += 1
        expected = 0
        for v in range(n):
            need[v] = members[labels[v, c]]
            expected += need[v]
        edges = 0
        for b in range(m):
            edges += ends[sources[b], c] - starts[sources[b]]
        now = m + edges
        if settled and not record:
            # within two hops of each other at a smaller k already
            totals[c] = edges + 2 * (expected - now)
            reached[c] = expected
            depths[c] = 2 if now < expected else min(edges, 1)
            continue

        # one hop: the edges
        reach[:] = 0
        count[:] = 0
        moved[:] = -1
        marked[:] = -1
        for b in range(m):
            s = sources[b]
            bit = ONE << np.uint64(b & 63)
            w = b >> 6
            reach[s, w] |= bit
            count[s] += 1
            for p in range(starts[s], ends[s, c]):
                u = indices[p]
                reach[u, w] |= bit
                count[u] += 1
                moved[u] = 1
                if record:
                    if len(hops) > 0:
                        hops[b, u] = 1
                    if len(sums) > 0:
                        sums[b] += 1
            if record and len(hops) > 0:
                hops[b, s] = 0
        size = 0
        for v in range(n):
            if moved[v] == 1:
                changed[size] = v
                size += 1
        level = 1
        total = edges

        # each further hop: the union of what the neighbours have
        while now < expected:
            few = 8 * size < n
            many = 0
            if few:
                for q in range(size):
                    u = changed[q]
                    for p in range(starts[u], ends[u, c]):
                        v = np.int64(indices[p])
                        if marked[v] != level and count[v] < need[v]:
                            marked[v] = level
                            candidates[many] = v
                            many += 1
            else:
                for v in range(n):
                    if count[v] < need[v]:
                        candidates[many] = v
                        many += 1
            size = 0
            for q in range(many):
                v = candidates[q]
                near = load(reach, v)
                if level == 1 and c > 0:
                    near = union(near, load(second, v))
                p = starts[v]
                end = ends[v, c]
                if few:
                    while p < end:
                        u = indices[p]
                        p += 1
                        if moved[u] == level:
                            near = union(near, load(reach, u))
                else:
                    while p + 8 <= end and population(near) < need[v]:
                        one = union(load(reach, indices[p]), load(reach, indices[p + 1]))
                        two = union(load(reach, indices[p + 2]), load(reach, indices[p + 3]))
                        three = union(load(reach, indices[p + 4]), load(reach, indices[p + 5]))
                        four = union(load(reach, indices[p + 6]), load(reach, indices[p + 7]))
                        near = union(near, union(union(one, two), union(three, four)))
                        p += 8
                    if p + 8 > end:
                        while p < end:
                            near = union(near, load(reach, indices[p]))
                            p += 1
                store(fresh, v, near)
                got = population(near)
                if got > count[v]:
                    following[v] = got
                    changed[size] = v
                    size += 1
            if size == 0:
                break
            level += 1
            before = now
            for q in range(size):
                v = changed[q]
                if record:
                    for w in range(WORDS):
                        new = fresh[v, w] & ~reach[v, w]
                        while new:
                            b = 64 * w + lowest(new)
                            new &= new - ONE
                            if len(hops) > 0:
                                hops[b, v] = level
                            if len(sums) > 0:
                                sums[b] += level
                store(reach, v, load(fresh, v))
                now += following[v] - count[v]
                count[v] = following[v]
                moved[v] = level
            total += level * (now - before)
            if level == 2 and c < K - 1:
                for v in range(n):
                    store(second, v, load(reach, v))
        if level == 1:
            for v in range(n):
                store(second, v, load(reach, v))
        settled = level <= 2 and expected == m * n
        totals[c] = total
        reached[c] = now
        depths[c] = level if edges > 0 else 0
    return totals, reached, depths


def workspace(n: int) -> int:
    """Bytes that one search takes beside its graph."""
    return n * (3 * 8 * WORDS + 8 * 8)
