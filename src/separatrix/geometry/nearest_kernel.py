"""Kernel of the exact nearest neighbours: one row of inner products in, one row of ranks out."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np

from separatrix.geometry.compiling import compiled

BUCKETS = 2048
SAMPLE = 64
CROWDED = 48
"""A bucket with more entries than this is left to a comparison sort."""
UNIT = 2.0**-53


@compiled
@no_type_check
def sort(value: Any, found: Any, begin: int, end: int) -> None:
    """Sort a stretch of two arrays by value, then by what was found: in place, by a heap."""
    at = begin + 1
    while at < end and (value[at - 1] < value[at] or (value[at - 1] == value[at] and found[at - 1] < found[at])):
        at += 1
    if at >= end:
        return
    size = end - begin
    heaped = size // 2
    while size > 1:
        if heaped > 0:
            heaped -= 1
            z = value[begin + heaped]
            j = found[begin + heaped]
        else:
            size -= 1
            z = value[begin + size]
            j = found[begin + size]
            value[begin + size] = value[begin]
            found[begin + size] = found[begin]
        at = heaped
        child = 2 * at + 1
        while child < size:
            p = begin + child
            if child + 1 < size and (value[p] < value[p + 1] or (value[p] == value[p + 1] and found[p] < found[p + 1])):
                child += 1
                p += 1
            if value[p] < z or (value[p] == z and found[p] < j):
                break
            value[begin + at] = value[p]
            found[begin + at] = found[p]
            at = child
            child = 2 * at + 1
        value[begin + at] = z
        found[begin + at] = j


@compiled
@no_type_check
def rank_rows(
    nearness: Any,
    lowest: Any,
    first: int,
    squares: Any,
    X: Any,
    norms: Any,
    k_max: int,
    include: bool,
    order: Any,
    rank: Any,
    counts: Any,
    repeated: Any,
) -> None:
    """Sort the points by their distance from each of a block of points.

    Parameters
    ----------
    nearness : array (b, n)
        |x_j|^2 - 2 <x_i, x_j> of the centred points i = first .. first + b - 1 and all j: the squared distances but for
        a constant in each row.
    lowest : array (b,)
        The least of each row, the point itself left out.
    first : int
    squares : array (n,)
        Squared norms of the centred points.
    X : array (n, d)
        The points as given, for direct differences.
    norms : array (n,)
        Norms of the points as given.
    k_max : int
    include : bool
        Keep all that tie with the neighbour number k_max.
    order, rank : arrays (b, width)
        Filled: neighbours, and the least k at which each counts as one.
    counts : array (b,)
        Filled: how many neighbours the row has.
    repeated : array (b,)
        Filled: whether an earlier point is the same.
    """
    b, n = nearness.shape
    d = X.shape[1]
    bucket = np.empty(n, np.int32)
    start = np.empty(BUCKETS + 2, np.int32)
    value = np.empty(n)
    found = np.empty(n, np.int32)
    sample = np.empty(SAMPLE)
    for row in range(b):
        i = first + row
        near = nearness[row]
        # a guess from a few points of where the neighbour number k_max lies
        size = 0
        step = max(1, n // SAMPLE)
        j = i % step
        while j < n and size < SAMPLE:
            if j != i:
                z = near[j]
                at = size
                while at > 0 and sample[at - 1] > z:
                    sample[at] = sample[at - 1]
                    at -= 1
                sample[at] = z
                size += 1
            j += step
        guess = int(1.3 * size * k_max / (n - 1)) + 3
        low = lowest[row]
        high = sample[guess] if guess < size else np.inf
        centred = np.sqrt(squares[i])

        # sorted as far as needed: further if the neighbour number k_max cannot be told from the last one sorted
        while True:
            if high == np.inf:
                high = low
                for j in range(n):
                    if j != i:
                        high = max(high, near[j])
                everything = True
            else:
                everything = False
            scale = (BUCKETS - 2) / (high - low) if high > low else 0.0
            if not scale < np.inf:
                scale = 0.0
            for j in range(n):
                bucket[j] = np.int32(max(0.0, min((near[j] - low) * scale, BUCKETS - 1.0)))
            bucket[i] = BUCKETS
            start[:] = 0
            for j in range(n):
                start[bucket[j] + 1] += 1
            last = 0
            size = start[1]
            while (everything or size <= k_max) and last < BUCKETS - 1:
                last += 1
                size += start[last + 1]
            if not everything and last == BUCKETS - 1:
                high = np.inf
                continue
            crowd = 0
            for c in range(last + 1):
                crowd = max(crowd, start[c + 1])
            if crowd > CROWDED:
                size = 0
                for j in range(n):
                    if bucket[j] <= last:
                        found[size] = j
                        value[size] = near[j]
                        size += 1
                sort(value, found, 0, size)
            else:
                for c in range(BUCKETS):
                    start[c + 1] += start[c]
                for j in range(n):
                    c = bucket[j]
                    at = start[c]
                    start[c] = at + 1
                    value[at] = near[j]
                    found[at] = j
                for m in range(1, size):
                    z = value[m]
                    if value[m - 1] > z:
                        j = found[m]
                        at = m
                        while at > 0 and value[at - 1] > z:
                            value[at] = value[at - 1]
                            found[at] = found[at - 1]
                            at -= 1
                        value[at] = z
                        found[at] = j
            z = max(value[size - 1] + squares[i], 0.0)
            # rounding of the products, then that of the points; no point so far sorted is further out than this
            far = 2 * centred + np.sqrt(z)
            gap = UNIT * (4 * (d + 4) * far * far + 8 * norms[i] * np.sqrt(z) + (d + 8) * z)
            end = min(k_max, size)
            while end < size and value[end] - value[end - 1] <= gap:
                end += 1
            if end < size or size == n - 1:
                break
            high = np.inf if last > BUCKETS // 2 else low + 2 * (high - low)

        # what the rounding of the products cannot tell apart is measured by direct differences
        begin = 0
        repeat = False
        kept = 0
        while begin < end:
            stop = begin + 1
            while stop < end and value[stop] - value[stop - 1] <= gap:
                stop += 1
            if stop == begin + 1 and begin > 0:
                order[row, begin] = found[begin]
                rank[row, begin] = begin + 1
                kept = stop
                begin = stop
                continue
            for m in range(begin, stop):
                j = found[m]
                z = 0.0
                for c in range(d):
                    difference = X[i, c] - X[j, c]
                    z += difference * difference
                value[m] = z
                repeat = repeat or (z == 0.0 and j < i)
            sort(value, found, begin, stop)
            m = begin
            while m < stop:
                group = m + 1
                tied = True
                while tied and group < stop:
                    z = value[group]
                    tied = z - value[group - 1] <= UNIT * (8 * norms[i] * np.sqrt(z) + (d + 8) * z)
                    group += tied
                value[m:group] = value[m]
                sort(value, found, m, group)
                for at in range(m, group):
                    if at < k_max or (include and m < k_max):
                        order[row, at] = found[at]
                        rank[row, at] = m + 1 if include else at + 1
                        kept = at + 1
                m = group
            begin = stop
        counts[row] = kept
        repeated[row] = repeat
