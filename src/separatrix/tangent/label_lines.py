"""Lines between the labels of a grid's nodes: where the largest of several linearly interpolated values changes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_NO_LABEL = -1


class Vertices(NamedTuple):
    """Places where two labels meet, in units of cells: node (i, j) lies at (i, j).

    Attributes
    ----------
    position : array, shape (points, 2)
        On an edge of the triangulation, where linear interpolation has the tie; inside a triangle for three labels.
    pair : array, shape (points, 2)
        The two labels, the smaller one first.
    third : array, shape (points,)
        The third label at a triple point, else -1.
    ends : array, shape (points, 2, 2)
        The two nodes of the edge, the one with the first label first; twice the position for a triple point.
    """

    position: np.ndarray
    pair: np.ndarray
    third: np.ndarray
    ends: np.ndarray

    def at(self, index: np.ndarray) -> Vertices:
        """Choose vertices."""
        return Vertices(*(array[index] for array in self))


class Line(NamedTuple):
    """A polyline as numbers of vertices; a closed one does not repeat its first."""

    points: np.ndarray
    closed: bool


def label_lines(values: Float[np.ndarray, "nx ny c"]) -> tuple[Vertices, list[Line]]:
    """Lines along which the largest of c values given at the nodes of a grid changes.

    Every cell is cut into two triangles. A triangle whose nodes have two labels (places of the largest value; of equal
    ones the first) holds one segment, one with three labels a triple point and three segments to it. A line keeps its
    pair of labels, is closed, or ends at triple points, at the border, or where nodes are not finite: these are left
    out with all of their triangles. Features smaller than a cell are not seen.

    Notes
    -----
    Ties are broken by the same rule at every node, so that a plateau of ties has one clean outline and no line crosses
    itself or another. Cost: linear in nodes times values, and a Python step for each vertex.
    """
    nx, ny = values.shape[:2]
    flat = values.reshape(nx * ny, -1)
    finite = np.isfinite(flat).all(1)
    label = np.where(finite, flat.argmax(1), _NO_LABEL)
    corners = _triangles(nx, ny)
    seen = label[corners]
    different = (seen[:, [0, 1, 2]] != seen[:, [1, 2, 0]]).sum(1)  # 0, 2 or 3 edges with a change
    keep = (different > 0) & (seen != _NO_LABEL).all(1)
    corners, different = corners[keep], different[keep]

    # edges with a change, each once
    sides = np.sort(np.stack([corners[:, [0, 1, 2]], corners[:, [1, 2, 0]]], -1), -1)
    changes = label[sides[..., 0]] != label[sides[..., 1]]
    key = sides[..., 0] * (nx * ny) + sides[..., 1]
    edges, numbers = np.unique(key[changes], return_inverse=True)
    number = np.full(key.shape, -1)
    number[changes] = numbers
    crossings = _crossings(flat, label, edges // (nx * ny), edges % (nx * ny), ny)

    two = number[different == 2]
    segments = two[two >= 0].reshape(-1, 2)
    three = number[different == 3]
    # a triple point ends three lines: a vertex for each
    centre = crossings.position[three].mean(1)
    slots = len(edges) + np.arange(three.size).reshape(three.shape)
    segments = np.concatenate([segments, np.stack([three, slots], -1).reshape(-1, 2)])
    labels = np.sort(label[corners[different == 3]], axis=1)
    position = np.repeat(centre, 3, axis=0)
    pair = crossings.pair[three].reshape(-1, 2)
    third = np.repeat(labels.sum(1), 3) - pair.sum(1)
    points = Vertices(position, pair, third, np.repeat(position[:, None], 2, axis=1))
    vertices = Vertices(*(np.concatenate(both) for both in zip(crossings, points, strict=True)))
    return vertices, _walk(segments, len(vertices.position))


def _triangles(nx: int, ny: int) -> Int[np.ndarray, "t 3"]:
    """Nodes of the triangles; the diagonals alternate, so that no direction is preferred."""
    node = np.arange(nx * ny).reshape(nx, ny)
    a, b, c, d = node[:-1, :-1], node[1:, :-1], node[1:, 1:], node[:-1, 1:]
    even = (np.add.outer(np.arange(nx - 1), np.arange(ny - 1)) % 2 == 0)[..., None, None]
    one = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], -2)
    other = np.stack([np.stack([a, b, d], -1), np.stack([b, c, d], -1)], -2)
    return np.where(even, one, other).reshape(-1, 3)


def _crossings(flat: np.ndarray, label: np.ndarray, low: np.ndarray, high: np.ndarray, ny: int) -> Vertices:
    """Place of the tie on each edge between two nodes with different labels."""
    swap = label[low] > label[high]
    low, high = np.where(swap, high, low), np.where(swap, low, high)
    pair = np.stack([label[low], label[high]], -1)
    # positive or zero at the first node, negative at the second, because of equal values the first label wins
    ahead, behind = (flat[n, pair[:, 0]] - flat[n, pair[:, 1]] for n in (low, high))
    ends = np.stack([np.stack([n // ny, n % ny], -1) for n in (low, high)], 1).astype(float)
    share = (ahead / (ahead - behind))[:, None]
    return Vertices(ends[:, 0] + share * (ends[:, 1] - ends[:, 0]), pair, np.full(len(pair), -1), ends)


def _walk(segments: Int[np.ndarray, "s 2"], count: int) -> list[Line]:
    """Join segments to lines; no vertex has more than two."""
    neighbours = np.full((count, 2), -1)
    ends, others = np.concatenate([segments, segments[:, ::-1]]).T
    order = np.argsort(ends, kind="stable")
    ends, others = ends[order], others[order]
    second = np.r_[False, ends[1:] == ends[:-1]] if len(ends) else np.zeros(0, dtype=bool)
    neighbours[ends, second.astype(int)] = others
    table = neighbours.tolist()
    done = [False] * count
    lines = []
    loose = np.flatnonzero((neighbours[:, 0] >= 0) & (neighbours[:, 1] < 0))
    for begin in [*loose.tolist(), *ends.tolist()]:
        if done[begin]:
            continue
        path, previous, here = [], -1, begin
        while here >= 0 and not done[here]:
            done[here] = True
            path.append(here)
            a, b = table[here]
            previous, here = here, b if a == previous else a
        lines.append(Line(np.array(path), closed=here == begin and len(path) > 2))
    return lines
