"""Hop distances by bits: closed forms, networkx and rustworkx, blocks, samples, and what does not connect."""

import networkx as nx
import numpy as np
import pytest
import rustworkx as rx
from hypothesis import given, settings
from hypothesis import strategies as st

from separatrix.geometry import hops, read_graph, total_geodesic
from separatrix.results.errors import ArgumentError
from separatrix.testing.geometry_twin import dense_hops


def matrix(network):
    return nx.to_scipy_sparse_array(network, dtype=int)


def rustworkx_hops(adjacency):
    graph = rx.PyGraph()
    graph.add_nodes_from(range(adjacency.shape[0]))
    upper = np.transpose(adjacency.nonzero())
    graph.add_edges_from_no_data([(int(i), int(j)) for i, j in upper if i < j])
    return rx.distance_matrix(graph, null_value=np.inf)


@pytest.mark.parametrize("n", [3, 7, 63, 64, 65, 130])
@pytest.mark.parametrize(
    "make, total, diameter",
    [
        (nx.complete_graph, lambda n: n * (n - 1), lambda n: 1),
        (nx.cycle_graph, lambda n: n**3 // 4 if n % 2 == 0 else n * (n * n - 1) // 4, lambda n: n // 2),
        (lambda n: nx.star_graph(n - 1), lambda n: 2 * (n - 1) ** 2, lambda n: 2),
        (nx.path_graph, lambda n: n * (n * n - 1) // 3, lambda n: n - 1),
    ],
)
def test_closed_forms(make, total, diameter, n):
    found = total_geodesic(matrix(make(n)))
    assert (found.total, found.diameter) == (total(n), diameter(n))
    assert found.unreachable_pairs == 0 and found.standard_error == 0 and found.sources == n


@pytest.mark.parametrize("m", [3, 8, 20])
def test_grid(m):
    assert total_geodesic(matrix(nx.grid_2d_graph(m, m))).total == 2 * m**3 * (m * m - 1) // 3


def test_long_path_beyond_one_block_of_sources():
    n = 1500
    found = total_geodesic(matrix(nx.path_graph(n)))
    assert (found.total, found.diameter) == (n * (n * n - 1) // 3, n - 1)


@pytest.mark.parametrize("n", [200, 1111, 2000])
@pytest.mark.parametrize("share", [0.6, 3, 20])
def test_random_graphs_agree_with_rustworkx(n, share):
    adjacency = matrix(nx.fast_gnp_random_graph(n, share / n, seed=n))
    expected = rustworkx_hops(adjacency)
    reachable = np.isfinite(expected)
    found = hops(adjacency, threads=2)
    assert (found[reachable] == expected[reachable]).all() and (found[~reachable] == -1).all()
    total = total_geodesic(adjacency)
    assert total.total == expected[reachable].sum()
    assert total.unreachable_pairs == (~reachable).sum()
    assert total.diameter == expected[reachable].max()


def test_dense_random_graph_agrees_with_networkx():
    network = nx.gnp_random_graph(300, 0.3, seed=0)
    expected = sum(sum(lengths.values()) for _, lengths in nx.all_pairs_shortest_path_length(network))
    assert total_geodesic(matrix(network)).total == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.data())
def test_any_graph_agrees_with_the_twin(n, data):
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] != pair[1])
    adjacency = np.zeros((n, n), bool)
    for i, j in data.draw(st.lists(pairs, max_size=3 * n) if n > 1 else st.just([])):
        adjacency[i, j] = adjacency[j, i] = True
    expected = dense_hops(adjacency)
    assert (hops(adjacency) == expected).all()
    found = total_geodesic(adjacency)
    assert (found.total, found.diameter) == (expected[expected > 0].sum(), expected.max())
    assert found.unreachable_pairs == (expected < 0).sum()
    source = data.draw(st.integers(0, n - 1))
    assert (hops(adjacency, sources=[source]) == expected[[source]]).all()


def test_complete_graphs_that_hang_together_by_a_path():
    # few vertices change at most levels: the search follows them, and must not lose any
    network = nx.barbell_graph(30, 200)
    expected = dense_hops(nx.to_numpy_array(network).astype(bool))
    assert (hops(matrix(network)) == expected).all()
    assert total_geodesic(matrix(network)).total == expected.sum()


def test_order_of_the_vertices_does_not_matter():
    adjacency = matrix(nx.random_regular_graph(6, 700, seed=2)).tocsr()
    shuffle = np.random.default_rng(0).permutation(700)
    one, other = hops(adjacency), hops(adjacency[shuffle][:, shuffle])
    assert (other == one[shuffle][:, shuffle]).all()
    assert total_geodesic(adjacency) == total_geodesic(adjacency[shuffle][:, shuffle])


def test_sampled_sources_estimate_the_total_within_their_error():
    # hubs make the sums of distances differ from source to source
    adjacency = matrix(nx.barabasi_albert_graph(900, 2, seed=3))
    exact = total_geodesic(adjacency).total
    draws = [total_geodesic(adjacency, sources=60, seed=seed) for seed in range(60)]
    errors = np.array([(draw.total - exact) / draw.standard_error for draw in draws])
    # a normal variate of variance 1: its mean over 60 draws is within 4 / sqrt(60)
    assert abs(errors.mean()) < 0.52 and 0.7 < errors.std() < 1.4
    assert draws[0].sources == 60 and "60 of 900" in draws[0].method
    assert draws[0] == total_geodesic(adjacency, sources=60, seed=0) != draws[1]
    assert np.isnan(total_geodesic(adjacency, sources=1).standard_error)
    assert total_geodesic(adjacency, sources=900) == total_geodesic(adjacency)


def test_sampled_sources_say_exactly_what_does_not_connect():
    network = nx.disjoint_union(nx.cycle_graph(30), nx.path_graph(12))
    found = total_geodesic(matrix(network), sources=10)
    assert found.unreachable_pairs == 2 * 30 * 12


def test_budget_threads_and_progress_change_nothing():
    adjacency = matrix(nx.fast_gnp_random_graph(1300, 0.01, seed=5))
    seen = []
    tight = total_geodesic(
        adjacency, memory=400_000, threads=4, progress=lambda done, total: seen.append((done, total))
    )
    assert tight == total_geodesic(adjacency)
    assert seen == [(512, 1300), (1024, 1300), (1300, 1300)]
    some = np.array([1299, 0, 640])
    assert (hops(adjacency, sources=some) == hops(adjacency)[some]).all()


def test_graph_is_read_once():
    graph = read_graph(matrix(nx.cycle_graph(9)))
    assert total_geodesic(graph).total == 9 * 80 // 4 and hops(graph).max() == 4


def test_bad_arguments_are_named(as_user):
    adjacency = matrix(nx.cycle_graph(9))
    for call, argument in (
        (lambda: total_geodesic(adjacency, sources=0), "sources"),
        (lambda: total_geodesic(adjacency, sources=2.5), "sources"),
        (lambda: total_geodesic(adjacency, memory=10), "memory"),
        (lambda: total_geodesic(adjacency, threads=0), "threads"),
        (lambda: hops(adjacency, sources=[9]), "sources"),
        (lambda: hops(adjacency, sources=[1, 1]), "sources"),
        (lambda: hops(adjacency, sources=[0.5]), "sources"),
        (lambda: hops(adjacency, memory=100), "memory"),
    ):
        with pytest.raises(ArgumentError) as error:
            call()
        assert error.value.argument == argument
