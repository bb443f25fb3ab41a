"""Curvature and geodesic sums of all k and conventions at once, against loops and rustworkx, and their invariances."""

import dataclasses

import networkx as nx
import numpy as np
import pytest
import rustworkx as rx
import torch

from separatrix.geometry.layer_sums import layer_sums
from separatrix.results.errors import ArgumentError
from separatrix.testing.geometry_twin import dense_arcs, dense_curvature, dense_graph, dense_hops

RNG = np.random.default_rng(7)
CLOUD = RNG.standard_normal((80, 4))
CLOUDS = {
    "normal": CLOUD,
    "two far apart": np.concatenate([CLOUD[:50], CLOUD[50:] + 50]),
    "lattice": RNG.integers(0, 4, (75, 3)).astype(float),
    "repeated": CLOUD[RNG.integers(0, 30, 70)],
    "all equal": np.zeros((65, 3)),
    "rectified": np.maximum(CLOUD @ RNG.standard_normal((4, 3)) - 0.5, 0),
    "line": np.cumsum(RNG.random((70, 1)) + 0.1, 0),
    "two points": np.array([[0.0], [1.0]]),
}


def same(one, other):
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


@pytest.mark.parametrize("ties", ["break", "include"])
@pytest.mark.parametrize("name", CLOUDS)
def test_every_number_agrees_with_the_twin(name, ties):
    X = CLOUDS[name]
    ks = sorted({min(k, len(X) - 1) for k in (1, 2, 7, 40)})
    found = layer_sums(X, ks, ties=ties)
    assert found.unique_rows == len(np.unique(X, axis=0))
    for c, k in enumerate(ks):
        arcs = dense_arcs(X, k, ties)
        assert found.reciprocity[c] == pytest.approx((arcs & arcs.T).sum() / arcs.sum(), rel=1e-15)
        for row, convention in enumerate(found.conventions):
            adjacency = dense_graph(arcs, convention)
            hops = dense_hops(adjacency)
            parts = [len(part) for part in nx.connected_components(nx.from_numpy_array(adjacency))]
            assert found.geodesic_connected[row, c] == hops[hops > 0].sum()
            assert found.unreachable[row, c] == (hops < 0).sum()
            assert found.diameter[row, c] == hops.max()
            assert found.curvature[row, c] == dense_curvature(arcs, convention)
            assert (found.components[row, c], found.largest[row, c]) == (len(parts), max(parts))
            assert found.edges[row, c] == (arcs.sum() if convention == "authors-r" else adjacency.sum() // 2)
            whole = found.geodesic_connected[row, c] if len(parts) == 1 else np.nan
            np.testing.assert_equal(found.geodesic[row, c], float(whole))


@pytest.mark.parametrize("n", [600, 1100])
def test_many_blocks_of_sources_agree_with_rustworkx(n):
    X = np.random.default_rng(n).standard_normal((n, 6))
    ks = [6, n // 5]
    found = layer_sums(X, ks, threads=2)
    for c, k in enumerate(ks):
        arcs = dense_arcs(X, k)
        for row, convention in ((1, "union"), (2, "mutual")):
            graph = rx.PyGraph()
            graph.add_nodes_from(range(n))
            graph.add_edges_from_no_data(
                [(int(i), int(j)) for i, j in np.argwhere(np.triu(dense_graph(arcs, convention)))]
            )
            hops = rx.distance_matrix(graph, null_value=np.inf)
            reachable = np.isfinite(hops)
            assert found.geodesic_connected[row, c] == hops[reachable].sum()
            assert found.unreachable[row, c] == (~reachable).sum()
            assert found.diameter[row, c] == hops[reachable].max()


def test_what_one_k_leaves_for_the_next_changes_nothing():
    X = np.random.default_rng(1).standard_normal((700, 3))
    X[350:] += 6
    ks = [2, 5, 9, 20, 60, 150, 351, 699]
    together = layer_sums(X, ks)
    assert together.components[1, 0] > 1 and together.diameter[1, -2] == 2 and together.diameter[1, -1] == 1
    for c, k in enumerate(ks):
        alone = layer_sums(X, k)
        for name in ("geodesic", "geodesic_connected", "unreachable", "curvature", "components", "diameter", "edges"):
            np.testing.assert_array_equal(getattr(alone, name)[:, 0], getattr(together, name)[:, c], name)


def test_within_two_hops_only_edges_are_left():
    n = 300
    found = layer_sums(np.random.default_rng(2).standard_normal((n, 2)), [150, 220])
    two = found.diameter <= 2
    assert two[1].any()
    expected = 2 * n * (n - 1) - 2 * found.edges
    assert (found.geodesic[1:][two[1:]] == expected[1:][two[1:]]).all()
    assert (found.geodesic[0] == found.geodesic[1]).all()


def test_complete_graph():
    n = 66
    found = layer_sums(np.random.default_rng(3).standard_normal((n, 5)), n - 1)
    assert (found.geodesic == n * (n - 1)).all() and (found.diameter == 1).all()
    assert found.curvature[:, 0].tolist() == [4 * n * (n - 1) * (2 - n)] + 2 * [n * (n - 1) * (3 - n)]


def test_grid_with_ties():
    m = 9
    X = 0.1 * np.stack(np.meshgrid(np.arange(m), np.arange(m), indexing="ij"), -1).reshape(-1, 2)
    found = layer_sums(X, [1, 2], ties="include")
    assert (found.geodesic == 2 * m**3 * (m * m - 1) // 3).all()
    assert (found.curvature[1:] == -8 * m**2 + 20 * m - 8).all()
    assert found.least_connecting_k == 1 and (found.reciprocity == 1).all()


def test_scale_rotation_translation_and_permutation():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((400, 7))
    ks = [3, 30, 120]
    found = layer_sums(X, ks)
    rotation = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    for moved in (3e-150 * X, 1e150 * X, X @ rotation, X - 1e3, X[rng.permutation(400)]):
        same(layer_sums(moved, ks), found)


def test_rescaling_of_a_rectified_network_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    W, V = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((8, 3), (8, 8)))
    for scale in (0.3, 17.0):
        hidden = torch.relu(scale * X @ W.T)
        same(layer_sums(hidden, [5, 40]), layer_sums(torch.relu(X @ W.T), [5, 40]))
        same(layer_sums(torch.relu(hidden @ V.T / scale), [5]), layer_sums(torch.relu(torch.relu(X @ W.T) @ V.T), [5]))


def test_order_of_k_shares_and_conventions_are_as_asked_for():
    found = layer_sums(CLOUD, [40, 0.2, 40, 3], conventions=["mutual", "authors-r"])
    assert found.ks.tolist() == [40, 16, 40, 3] and found.conventions == ("mutual", "authors-r")
    every = layer_sums(CLOUD, [3, 16, 40])
    for name in ("geodesic", "curvature", "edges", "diameter", "largest"):
        np.testing.assert_array_equal(getattr(found, name), getattr(every, name)[[2, 0]][:, [2, 1, 2, 0]], name)
    np.testing.assert_array_equal(found.reciprocity, every.reciprocity[[2, 1, 2, 0]])
    same(layer_sums(CLOUD, 3, conventions="union"), layer_sums(CLOUD, [3], conventions=("union",)))


def test_threads_and_budget_change_nothing():
    X = np.random.default_rng(5).standard_normal((1100, 3))
    found = layer_sums(X, [8, 90])
    same(layer_sums(X, [8, 90], threads=3), found)
    same(layer_sums(X, [8, 90], memory="400kB"), found)


def test_least_connecting_k():
    # clusters of 50 and 30: the smaller one has to look beyond itself
    found = layer_sums(CLOUDS["two far apart"], [5, 20, 30])
    assert found.least_connecting_k == 30
    assert (found.components[1] == [2, 2, 1]).all() and np.isnan(found.geodesic[1, :2]).all()
    assert layer_sums(CLOUDS["two far apart"], [5, 20]).least_connecting_k == -1


def test_bad_arguments_are_named(as_user):
    X = np.eye(6)
    for call, argument in (
        (lambda: layer_sums(X, 6), "k"),
        (lambda: layer_sums(X, 0), "k"),
        (lambda: layer_sums(X, []), "k"),
        (lambda: layer_sums(X, 2, conventions="directed"), "convention"),
        (lambda: layer_sums(X, 2, conventions=()), "conventions"),
        (lambda: layer_sums(X[:1], 1), "X"),
        (lambda: layer_sums(X * np.nan, 1), "X"),
        (lambda: layer_sums(None, 1), "X"),
        (lambda: layer_sums(X, 1, ties="all"), "ties"),
        (lambda: layer_sums(X, 1, memory="1B"), "memory"),
    ):
        with pytest.raises(ArgumentError) as error:
            call()
        assert error.value.argument == argument
