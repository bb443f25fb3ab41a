"""Forman's curvature on the edges: closed forms, loops, triangles, and the identities of its total."""

import networkx as nx
import numpy as np
import pytest

from separatrix.geometry import edge_total, forman, node_curvature, read_graph, triangles
from separatrix.results.errors import ArgumentError
from separatrix.testing.geometry_twin import dense_forman


def matrix(network):
    return nx.to_scipy_sparse_array(network, dtype=int)


@pytest.mark.parametrize("n", [4, 5, 9, 40])
def test_closed_forms(n):
    for network, each, total in (
        (nx.complete_graph(n), {6 - 2 * n}, n * (n - 1) * (3 - n)),
        (nx.cycle_graph(n), {0}, 0),
        (nx.star_graph(n - 1), {4 - n}, (n - 1) * (4 - n)),
        (nx.path_graph(n), {0, 1}, 2),
    ):
        curvature = forman(matrix(network))
        assert set(curvature.data.tolist()) == each
        assert edge_total(curvature) == total
        assert curvature.nnz == 2 * network.number_of_edges()
    for m in (3, 6):
        assert edge_total(forman(matrix(nx.grid_2d_graph(m, m)))) == -8 * m**2 + 20 * m - 8


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("p", [0.02, 0.1, 0.5])
def test_every_edge_agrees_with_a_loop(p, augmented):
    adjacency = nx.to_numpy_array(nx.gnp_random_graph(90, p, seed=1)).astype(bool)
    curvature = forman(adjacency, augmented)
    expected = dense_forman(adjacency, augmented)
    rows, columns = curvature.nonzero() if (curvature.data != 0).all() else adjacency.nonzero()
    assert curvature.nnz == adjacency.sum()
    assert (curvature.toarray()[rows, columns] == expected[rows, columns]).all()
    assert (curvature != curvature.T).nnz == 0


def test_totals_are_those_of_degrees_and_triangles():
    network = nx.powerlaw_cluster_graph(300, 6, 0.7, seed=2)
    degree = np.array([d for _, d in network.degree])
    count = sum(nx.triangles(network).values()) // 3
    plain = 4 * network.number_of_edges() - (degree**2).sum()
    assert count > 100
    assert edge_total(forman(matrix(network))) == plain
    assert edge_total(forman(matrix(network), augmented=True)) == plain + 9 * count
    assert triangles(read_graph(matrix(network))).sum() == 6 * count


def test_curvature_at_the_vertices():
    network = nx.gnp_random_graph(60, 0.05, seed=4)
    network.add_node(60)
    adjacency = nx.to_numpy_array(network).astype(bool)
    expected = dense_forman(adjacency)
    curvature = forman(adjacency)
    assert not (curvature.data != 0).all()
    assert node_curvature(curvature, "sum") == pytest.approx(np.nansum(expected, 1))
    mean = node_curvature(curvature)
    alone = ~adjacency.any(1)
    assert alone[60] and np.isnan(mean[alone]).all()
    assert mean[~alone] == pytest.approx(np.nanmean(expected[~alone], 1))
    assert node_curvature(curvature, "sum").sum() == 2 * edge_total(curvature)


def test_a_graph_without_edges_has_no_curvature():
    curvature = forman(np.zeros((5, 5)), augmented=True)
    assert curvature.shape == (5, 5) and curvature.nnz == 0 and edge_total(curvature) == 0


def test_bad_arguments_are_named(as_user):
    with pytest.raises(ArgumentError, match=r"^reduce"):
        node_curvature(forman(np.zeros((3, 3))), "median")
    with pytest.raises(ArgumentError, match=r"^adjacency"):
        forman(np.ones((3, 3)))
