"""Ollivier's curvature: transport edge by edge, closed forms, and the bounds of Jost and Liu."""

import sys

import networkx as nx
import numpy as np
import pytest

from separatrix.geometry import edge_total, forman, node_curvature, ollivier, ollivier_bounds
from separatrix.results.errors import ArgumentError
from separatrix.testing.geometry_twin import dense_forman, dense_ollivier


def matrix(network):
    return nx.to_scipy_sparse_array(network, dtype=int)


GRAPHS = {
    "sparse": nx.gnp_random_graph(40, 0.08, seed=1),
    "dense": nx.gnp_random_graph(24, 0.5, seed=2),
    "clustered": nx.powerlaw_cluster_graph(40, 3, 0.8, seed=3),
    "tree": nx.balanced_tree(3, 3),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_edge_agrees_with_a_linear_program_and_lies_between_the_bounds(name):
    adjacency = nx.to_numpy_array(GRAPHS[name]).astype(bool)
    expected = dense_ollivier(adjacency)
    curvature = ollivier(adjacency)
    rows, columns = adjacency.nonzero()
    assert curvature.nnz == len(rows)
    values = curvature.toarray()[rows, columns]
    assert values == pytest.approx(expected[rows, columns], abs=1e-9)
    lower, upper = ollivier_bounds(adjacency)
    assert (lower.toarray()[rows, columns] <= values + 1e-9).all()
    assert (values <= upper.toarray()[rows, columns] + 1e-9).all()
    middle = ollivier(adjacency, method="bounds").toarray()
    assert middle == pytest.approx((lower + upper).toarray() / 2)


def test_closed_forms():
    # Jost, Liu (2014): complete graphs (n - 2) / (n - 1), trees 2 / a + 2 / b - 2 between inner vertices, long cycles 0
    for n in (3, 6, 11):
        assert ollivier(matrix(nx.complete_graph(n))).data == pytest.approx((n - 2) / (n - 1))
        assert ollivier_bounds(matrix(nx.complete_graph(n))).lower.data == pytest.approx((n - 2) / (n - 1))
    for n in (6, 7, 12):
        assert ollivier(matrix(nx.cycle_graph(n))).data == pytest.approx(0, abs=1e-12)
    assert ollivier(matrix(nx.star_graph(7))).data == pytest.approx(0, abs=1e-12)
    tree = nx.balanced_tree(4, 3)
    curvature = ollivier(matrix(tree)).toarray()
    assert curvature[1, 5] == pytest.approx(2 / 5 + 2 / 5 - 2)
    assert curvature[0, 1] == pytest.approx(2 / 4 + 2 / 5 - 2)


def test_bounds_of_trees_are_attained():
    tree = matrix(nx.balanced_tree(3, 3))
    assert ollivier_bounds(tree).lower.data == pytest.approx(ollivier(tree).data, abs=1e-12)


def test_vertices_and_totals():
    adjacency = matrix(GRAPHS["clustered"])
    curvature = ollivier(adjacency)
    assert edge_total(curvature) == pytest.approx(np.nansum(dense_ollivier(adjacency.toarray().astype(bool))) / 2)
    assert node_curvature(curvature, "sum").sum() == pytest.approx(2 * edge_total(curvature))


def test_forman_of_the_follow_up_is_the_augmented_one():
    adjacency = nx.to_numpy_array(GRAPHS["dense"]).astype(bool)
    expected = dense_forman(adjacency, augmented=True)
    assert node_curvature(forman(adjacency, augmented=True)) == pytest.approx(np.nanmean(expected, 1))


def test_without_the_package_the_bounds_remain(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    adjacency = matrix(nx.cycle_graph(6))
    with pytest.raises(ArgumentError, match=r"separatrix\[ollivier\]"):
        ollivier(adjacency)
    assert ollivier(adjacency, method="bounds").nnz == 12


def test_progress_counts_edges_and_unknown_methods_are_refused(as_user):
    seen = []
    ollivier(matrix(nx.cycle_graph(5)), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 5) for i in range(1, 6)]
    with pytest.raises(ArgumentError, match=r"^method"):
        ollivier(matrix(nx.cycle_graph(5)), method="sinkhorn")
