"""Classes as communities, against networkx and by hand."""

import math

import networkx as nx
import numpy as np
import pytest
from networkx.algorithms.community import modularity as nx_modularity

from separatrix.geometry.communities import curvature_gap, modularity, normalised_cut
from separatrix.geometry.forman_curvature import forman
from separatrix.results.errors import ArgumentError


def adjacency(graph):
    return nx.to_numpy_array(graph, dtype=int, weight=None)


def parts(y):
    return [set(np.flatnonzero(np.asarray(y) == c).tolist()) for c in np.unique(y)]


@pytest.mark.parametrize("classes", [2, 4])
def test_random_graphs_against_networkx(classes):
    rng = np.random.default_rng(classes)
    graph = nx.gnp_random_graph(60, 0.2, seed=classes)
    y = rng.integers(0, classes, 60)
    assert modularity(adjacency(graph), y) == pytest.approx(nx_modularity(graph, parts(y)), abs=1e-12)
    half = sum(nx.cut_size(graph, part) / nx.volume(graph, part) for part in parts(y)) / 2
    assert normalised_cut(adjacency(graph), y) == pytest.approx(half, abs=1e-12)
    if classes == 2:
        assert 2 * half == pytest.approx(nx.normalized_cut_size(graph, *parts(y)))


def test_two_cliques_and_a_bridge():
    graph = nx.barbell_graph(4, 0)
    y, A = np.array([0] * 4 + [1] * 4), adjacency(graph)
    # 6 edges in each, 1 between; both ends of the bridge have degree 4, the others 3
    assert modularity(A, y) == pytest.approx(2 * (6 / 13 - 0.25))
    assert normalised_cut(A, y) == pytest.approx(1 / 13)
    # curvatures 4 - d - d': within, three edges of -2 and three of -3 each; the bridge -4
    gap = (-2.5 + 4) / math.sqrt(0.25 / 2)
    assert curvature_gap(forman(A), y) == pytest.approx(gap)
    assert curvature_gap(forman(A), [str(v) for v in y]) == pytest.approx(gap)


def test_zero_curvature_is_an_edge_too():
    # a ring, all of whose edges have curvature 0, with one chord
    A = adjacency(nx.cycle_graph(6))
    A[0, 3] = A[3, 0] = 1
    y = [0, 0, 0, 1, 1, 1]
    within, between = [-1, 0, 0, -1], [-1, -1, -2]
    spread = math.sqrt((np.var(within) + np.var(between)) / 2)
    assert curvature_gap(forman(A), y) == pytest.approx((np.mean(within) - np.mean(between)) / spread)


def test_what_does_not_exist_is_nan():
    A = adjacency(nx.complete_graph(4))
    assert math.isnan(curvature_gap(forman(A), [0, 0, 0, 0])) and math.isnan(curvature_gap(forman(A), [0, 0, 1, 1]))
    assert modularity(A, [0] * 4) == 0 and normalised_cut(A, [0] * 4) == 0
    lonely = np.zeros((4, 4), dtype=int)
    lonely[0, 1] = lonely[1, 0] = 1
    assert math.isnan(normalised_cut(lonely, [0, 0, 1, 1])) and math.isnan(modularity(0 * A, [0, 0, 1, 1]))
    with pytest.raises(ArgumentError, match="one class for each of the 4 points"):
        modularity(A, [0, 1])
