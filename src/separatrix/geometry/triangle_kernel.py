"""Kernel of the triangles: how many neighbours the two ends of an edge have in common."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np

from separatrix.geometry.compiling import compiled


@compiled
@no_type_check
def common_neighbours(indptr: Any, indices: Any) -> Any:
    """Number of common neighbours along ``indices``, int64; the neighbours of each vertex ascend."""
    n = len(indptr) - 1
    found = np.zeros(len(indices), np.int64)
    mark = np.zeros(n, np.int64)
    unread = indptr[:-1].copy()
    for i in range(n):
        for p in range(indptr[i], indptr[i + 1]):
            mark[indices[p]] = 1
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            if j > i:
                common = 0
                for q in range(indptr[j], indptr[j + 1]):
                    common += mark[indices[q]]
                found[p] = common
                # i comes after the smaller neighbours of j, all of which had their turn
                found[unread[j]] = common
                unread[j] += 1
        for p in range(indptr[i], indptr[i + 1]):
            mark[indices[p]] = 0
    return found
