"""Naive twins of the neighbour graphs: full distance matrices, loops over edges, one search per vertex."""

from __future__ import annotations

from collections import deque

import numpy as np


def dense_arcs(X: np.ndarray, k: int, ties: str = "break") -> np.ndarray:
    """Which points are among the k nearest of each, bool (n, n): row i holds the neighbours of i.

    Distances are direct differences in float64, and equal only if all digits are. Cost: n^2 d.
    """
    X = np.asarray(X, np.float64)
    n = len(X)
    arcs = np.zeros((n, n), bool)
    for i in range(n):
        squared = ((X - X[i]) ** 2).sum(1)
        others = np.array([j for j in range(n) if j != i])
        nearest = others[np.lexsort((others, squared[others]))]
        if ties == "break":
            arcs[i, nearest[:k]] = True
        else:
            arcs[i, others[squared[others] <= squared[nearest[k - 1]]]] = True
    return arcs


def dense_graph(arcs: np.ndarray, convention: str) -> np.ndarray:
    """Adjacency matrix in which geodesics are measured, bool (n, n)."""
    return arcs & arcs.T if convention == "mutual" else arcs | arcs.T


def dense_curvature(arcs: np.ndarray, convention: str) -> int:
    """Sum of 4 - d_i - d_j, edge by edge: over arcs with their ends' arcs in ``authors-r``."""
    if convention == "authors-r":
        degree = arcs.sum(0) + arcs.sum(1)
        edges = np.argwhere(arcs)
    else:
        adjacency = dense_graph(arcs, convention)
        degree = adjacency.sum(1)
        edges = np.argwhere(np.triu(adjacency))
    return sum(4 - int(degree[i]) - int(degree[j]) for i, j in edges)


def dense_hops(adjacency: np.ndarray) -> np.ndarray:
    """Hop distances, int (n, n), -1 where no path leads: a queue for each vertex."""
    n = len(adjacency)
    neighbours = [np.flatnonzero(row).tolist() for row in adjacency]
    hops = np.full((n, n), -1)
    for source in range(n):
        hops[source, source] = 0
        queue = deque([source])
        while queue:
            v = queue.popleft()
            for u in neighbours[v]:
                if hops[source, u] < 0:
                    hops[source, u] = hops[source, v] + 1
                    queue.append(u)
    return hops


def dense_forman(adjacency: np.ndarray, augmented: bool = False) -> np.ndarray:
    """Forman curvature, (n, n), NaN where there is no edge."""
    curvature = np.full(adjacency.shape, np.nan)
    for i, j in np.argwhere(adjacency):
        common = np.sum(adjacency[i] & adjacency[j]) if augmented else 0
        curvature[i, j] = 4 - adjacency[i].sum() - adjacency[j].sum() + 3 * common
    return curvature


def dense_ollivier(adjacency: np.ndarray) -> np.ndarray:
    """Ollivier curvature with idleness 0, (n, n), NaN where there is no edge: a linear program for each."""
    from scipy.optimize import linprog

    hops = dense_hops(adjacency)
    curvature = np.full(adjacency.shape, np.nan)
    for i, j in np.argwhere(np.triu(adjacency)):
        near, far = np.flatnonzero(adjacency[i]), np.flatnonzero(adjacency[j])
        leave = np.kron(np.eye(len(near)), np.ones(len(far)))
        arrive = np.kron(np.ones(len(near)), np.eye(len(far)))
        masses = np.concatenate([np.full(len(near), 1 / len(near)), np.full(len(far), 1 / len(far))])
        solved = linprog(hops[np.ix_(near, far)].ravel(), A_eq=np.concatenate([leave, arrive]), b_eq=masses)
        curvature[i, j] = curvature[j, i] = 1 - solved.fun
    return curvature
