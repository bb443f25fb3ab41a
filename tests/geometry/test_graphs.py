"""Neighbour graphs of the three conventions, their degrees and components, against loops and networkx."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from separatrix.geometry import (
    connectivity,
    degrees,
    graph,
    least_connecting_k,
    neighbours,
    read_graph,
    reciprocity,
    total_curvature,
)
from separatrix.geometry.graphs import CONVENTIONS
from separatrix.results.errors import ArgumentError
from separatrix.testing.geometry_twin import dense_arcs, dense_curvature, dense_graph

RNG = np.random.default_rng(0)
CLOUD = RNG.standard_normal((90, 3))
CLOUDS = {
    "normal": CLOUD,
    "two far apart": np.concatenate([CLOUD[:50], CLOUD[50:] + 40]),
    "lattice": RNG.integers(0, 4, (80, 3)).astype(float),
    "repeated": CLOUD[RNG.integers(0, 40, 90)],
}


@pytest.mark.parametrize("ties", ["break", "include"])
@pytest.mark.parametrize("name", CLOUDS)
def test_graphs_degrees_and_curvature_agree_with_loops(name, ties):
    X = CLOUDS[name]
    found = neighbours(X, 20, ties=ties)
    for k in (1, 3, 20):
        arcs = dense_arcs(X, k, ties)
        for convention in CONVENTIONS:
            adjacency = dense_graph(arcs, convention)
            assert (graph(found, k, convention).to_scipy().toarray() == adjacency).all()
            degree = arcs.sum(0) + arcs.sum(1) if convention == "authors-r" else adjacency.sum(0)
            assert (degrees(found, k, convention) == degree).all()
            assert total_curvature(found, k, convention) == dense_curvature(arcs, convention)
        assert reciprocity(found, k) == (arcs & arcs.T).sum() / arcs.sum()


def test_curvature_of_authors_r_is_the_variance_of_the_in_degree():
    n, k = 400, 12
    found = neighbours(RNG.standard_normal((n, 5)), k)
    arriving = degrees(found, k, "authors-r") - k
    expected = 4 * n * k - n * (4 * k**2 + arriving.var())
    assert total_curvature(found, k, "authors-r") == pytest.approx(expected, rel=1e-14)
    # without ties the union graph has n k edges less the mutual pairs
    assert graph(found, k, "union").edges == n * k - graph(found, k, "mutual").edges


def test_all_neighbours_make_the_complete_graph():
    n = 70
    found = neighbours(RNG.standard_normal((n, 2)), n - 1)
    for convention in CONVENTIONS:
        assert graph(found, n - 1, convention).edges == n * (n - 1) // 2
    assert total_curvature(found, n - 1, "authors-r") == 4 * n * (n - 1) * (2 - n)
    assert total_curvature(found, n - 1, "union") == total_curvature(found, n - 1, "mutual") == n * (n - 1) * (3 - n)
    assert reciprocity(found, n - 1) == 1


def test_fully_mutual_graph_has_the_same_curvature_in_union_and_mutual():
    # a ring: the two nearest of each are each other's
    angle = 2 * np.pi * np.arange(50) / 50
    found = neighbours(np.stack([np.cos(angle), np.sin(angle)], 1), 2, ties="include")
    degree = degrees(found, 2, "union")
    assert (degree == 2).all() and reciprocity(found, 2) == 1
    assert total_curvature(found, 2, "union") == total_curvature(found, 2, "mutual") == 0
    assert total_curvature(found, 2, "authors-r") == 8 * 50 - 4 * (degree**2).sum()


@pytest.mark.parametrize("m", [3, 5, 8])
def test_grid_with_ties(m):
    X = 0.1 * np.stack(np.meshgrid(np.arange(m), np.arange(m), indexing="ij"), -1).reshape(-1, 2)
    found = neighbours(X, 2, ties="include")
    lattice = nx.to_numpy_array(nx.grid_2d_graph(m, m))
    for k in (1, 2):
        assert (graph(found, k).to_scipy().toarray() == lattice).all()
        assert total_curvature(found, k) == -8 * m**2 + 20 * m - 8


@pytest.mark.parametrize("name", CLOUDS)
def test_components_and_the_least_connecting_k_agree_with_networkx(name):
    found = neighbours(CLOUDS[name], 60)
    connected = []
    for k in range(1, 61):
        here = graph(found, k)
        expected = sorted(len(c) for c in nx.connected_components(nx.from_scipy_sparse_array(here.to_scipy())))[::-1]
        parts = connectivity(here)
        assert parts.sizes.tolist() == expected and parts.count == len(expected)
        assert (np.bincount(parts.labels) == parts.sizes).all()
        rows = np.repeat(np.arange(here.n), here.degrees)
        assert (parts.labels[rows] == parts.labels[here.indices]).all()
        if parts.count == 1:
            connected.append(k)
    assert least_connecting_k(found) == (connected[0] if connected else -1)


def test_least_connecting_k_of_clusters_that_only_meet_when_one_is_exhausted():
    X = np.concatenate([CLOUD[:50], CLOUD[50:] + 1e3])
    assert least_connecting_k(neighbours(X, 60)) == 40
    assert least_connecting_k(neighbours(X, 39)) == -1
    assert least_connecting_k(neighbours(X, 60, ties="include")) == 40


def test_isolated_vertices_are_components():
    parts = connectivity(np.zeros((70, 70)))
    assert parts.count == 70 and (parts.sizes == 1).all()


def test_adjacency_is_read_from_anything_and_returned_as_it_is():
    adjacency = nx.to_numpy_array(nx.gnp_random_graph(40, 0.2, seed=1))
    ways = [
        adjacency,
        adjacency.astype(bool),
        torch.tensor(adjacency),
        sp.coo_matrix(adjacency),
        sp.csc_array(adjacency),
    ]
    for given in ways:
        here = read_graph(given)
        assert here.n == 40 and here.edges == adjacency.sum() / 2
        assert (here.to_scipy().toarray() == adjacency).all()
    assert read_graph(here) is here


@pytest.mark.parametrize(
    "adjacency",
    [
        np.ones((3, 4)),
        np.triu(np.ones((4, 4)), 1),
        np.ones((4, 4)),
        -(np.ones((4, 4)) - np.eye(4)),
        2 * (np.ones((4, 4)) - np.eye(4)),
        np.array([[0, np.nan], [np.nan, 0]]),
        np.zeros((0, 0)),
        "matrix",
        np.zeros((2, 2, 2)),
    ],
)
def test_matrices_that_are_no_graph_are_refused(as_user, adjacency):
    with pytest.raises(ArgumentError, match=r"^adjacency"):
        read_graph(adjacency)


def test_unknown_convention_and_k_are_named(as_user):
    found = neighbours(CLOUD, 5)
    for call, argument in (
        (lambda: graph(found, 5, "or"), "convention"),
        (lambda: total_curvature(found, 5, "and"), "convention"),
        (lambda: graph(found, 6), "k"),
        (lambda: degrees(found, 0, "authors-r"), "k"),
    ):
        with pytest.raises(ArgumentError) as error:
            call()
        assert error.value.argument == argument
