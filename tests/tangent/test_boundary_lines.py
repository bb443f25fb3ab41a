"""Lines between labels: against contourpy, and what must hold for any labels at all."""

import contourpy
import numpy as np
import pytest

from separatrix.tangent.label_lines import label_lines


def smooth(rng, shape, waves=4):
    """A random sum of plane waves; contours close and end, but are wider apart than a cell."""
    i, j = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    total = np.zeros(shape)
    for _ in range(waves):
        k, phase = rng.uniform(-12, 12, 2), rng.uniform(0, 6.3)
        total += rng.normal() * np.sin(k[0] * i + k[1] * j + phase)
    return total


def length(paths):
    return sum(np.hypot(*np.diff(p, axis=0).T).sum() for p in paths)


@pytest.mark.parametrize("seed", range(4))
def test_two_labels_make_the_contours_that_contourpy_makes(seed):
    rng = np.random.default_rng(seed)
    f = smooth(rng, (90, 70))
    vertices, lines = label_lines(np.stack([f, 0 * f], -1))
    theirs = contourpy.contour_generator(z=f.T).lines(0.0)
    ours = [vertices.position[line.points] for line in lines]
    ours = [np.concatenate([p, p[:1]]) if line.closed else p for p, line in zip(ours, lines, strict=True)]
    assert len(ours) == len(theirs)
    assert sum(line.closed for line in lines) == sum(np.array_equal(p[0], p[-1]) for p in theirs)
    assert length(ours) == pytest.approx(length(theirs), rel=5e-3)
    # every vertex of theirs, on an edge of the grid, is one of ours
    for p in np.concatenate(theirs):
        assert np.linalg.norm(vertices.position - p, axis=1).min() < 1e-9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_any_labels_at_all(seed, classes):
    """Noise in every node, holes, ties: each vertex is on one line, and a line ends only where it may."""
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 3, (12, 11, classes)).astype(float)  # full of ties
    z[rng.random(z.shape[:2]) < 0.1] = np.nan
    vertices, lines = label_lines(z)
    used = np.concatenate([line.points for line in lines])
    assert len(np.unique(used)) == len(used)
    ends = np.concatenate([line.points[[0, -1]] for line in lines if not line.closed])
    for line in lines:
        assert len(line.points) >= 2
        pairs = vertices.pair[line.points]
        assert (pairs == pairs[0]).all() and pairs[0, 0] < pairs[0, 1]
        assert np.abs(np.diff(vertices.position[line.points], axis=0)).max() <= 1  # within one triangle
    triple = np.flatnonzero(vertices.third >= 0)
    assert set(triple) <= set(ends) and len(triple) % 3 == 0
    finite = np.isfinite(z).all(-1)
    for end in set(ends) - set(triple):
        p = vertices.position[end]
        border = (p == 0).any() or (p == np.array(z.shape[:2]) - 1).any()
        low = np.floor(p).astype(int)
        around = finite[max(0, low[0] - 1) : low[0] + 3, max(0, low[1] - 1) : low[1] + 3]
        assert border or not around.all()
    # the tie is where linear interpolation has it
    on_edge = np.flatnonzero(vertices.third < 0)
    nodes = vertices.ends[on_edge].astype(int)
    i, j = vertices.pair[on_edge].T
    at = [z[nodes[:, s, 0], nodes[:, s, 1]] for s in (0, 1)]
    d = np.stack([v[np.arange(len(v)), i] - v[np.arange(len(v)), j] for v in at])
    assert (d[0] >= 0).all() and (d[1] <= 0).all()
    share = np.abs(vertices.position[on_edge] - nodes[:, 0]).max(1)
    np.testing.assert_allclose(d[0] + share * (d[1] - d[0]), 0, atol=1e-12)


def test_three_sectors_meet_in_one_point():
    i, j = np.meshgrid(np.arange(20.0), np.arange(20.0), indexing="ij")
    angles = np.array([0.3, 2.4, 4.5])
    z = (i - 9.4)[..., None] * np.cos(angles) + (j - 9.7)[..., None] * np.sin(angles)
    vertices, lines = label_lines(z)
    assert sorted(tuple(vertices.pair[line.points[0]]) for line in lines) == [(0, 1), (0, 2), (1, 2)]
    triple = vertices.at(np.flatnonzero(vertices.third >= 0))
    assert sorted(triple.third) == [0, 1, 2]
    assert np.abs(triple.position - [9.4, 9.7]).max() < 1
    # off the triple point, the interpolation of a linear function is exact
    rest = vertices.at(np.flatnonzero(vertices.third < 0))
    value = (rest.position[:, 0] - 9.4)[:, None] * np.cos(angles) + (rest.position[:, 1] - 9.7)[:, None] * np.sin(
        angles
    )
    np.testing.assert_allclose(*(value[np.arange(len(value)), rest.pair[:, k]] for k in (0, 1)), atol=1e-12)


def test_nothing_to_tell_apart():
    for z in (np.zeros((4, 5, 3)), np.full((4, 5, 2), np.nan), np.ones((2, 2, 2))):
        vertices, lines = label_lines(z)
        assert len(vertices.position) == 0 and lines == []


def test_no_direction_is_preferred():
    """The mirror image of a circle is cut in the mirror image of its vertices."""
    i, j = np.meshgrid(np.arange(21.0) - 10, np.arange(21.0) - 10, indexing="ij")
    vertices, _ = label_lines(np.stack([i**2 + j**2 - 40.3, 0 * i], -1))
    places = vertices.position - 10
    for mirror in ([-1, 1], [1, -1]):
        distance = np.linalg.norm((places * mirror)[:, None] - places, axis=-1)
        assert distance.min(1).max() < 1e-12
