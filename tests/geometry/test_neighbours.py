"""Exact neighbours of all k from one pass: order, ties, duplicates, and what it refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from separatrix.geometry import neighbour_counts, neighbours
from separatrix.results.errors import ArgumentError
from separatrix.testing.geometry_twin import dense_arcs


def arcs_of(found, k):
    arcs = np.zeros((found.n, found.n), bool)
    present = (found.rank <= k) & (found.order >= 0)
    arcs[np.nonzero(present)[0], found.order[present]] = True
    return arcs


@pytest.mark.parametrize("n, d, k", [(2, 1, 1), (40, 3, 39), (300, 2, 40), (700, 30, 350), (130, 784, 20)])
def test_sorted_neighbours_are_those_of_scikit_learn(n, d, k):
    X = np.random.default_rng(n).standard_normal((n, d))
    found = neighbours(X, k)
    order = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(X).kneighbors(return_distance=False)
    assert (found.order == order).all()
    assert (found.rank == np.arange(1, k + 1)).all()
    assert (found.counts(k) == k).all() and found.unique_rows == n


@pytest.mark.parametrize("ties", ["break", "include"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_lattice_points_with_ties_and_duplicates_agree_with_the_twin(ties, data):
    n, d = data.draw(st.integers(2, 30)), data.draw(st.integers(1, 3))
    cells = st.lists(st.integers(-3, 3), min_size=d, max_size=d)
    X = np.array(data.draw(st.lists(cells, min_size=n, max_size=n)), float)
    k_max = data.draw(st.integers(1, n - 1))
    found = neighbours(X, k_max, ties=ties)
    assert found.unique_rows == len(np.unique(X, axis=0))
    for k in {1, (k_max + 1) // 2, k_max}:
        expected = dense_arcs(X, k, ties)
        assert (arcs_of(found, k) == expected).all()
        assert (found.counts(k) == expected.sum(1)).all()


def test_grid_degrees_with_ties_are_those_of_the_lattice():
    m = 7
    # not whole numbers, so that equal distances differ in their last digits
    X = 0.1 * np.stack(np.meshgrid(np.arange(m), np.arange(m), indexing="ij"), -1).reshape(-1, 2)
    for k in (1, 2):
        counts = neighbours(X, 2, ties="include").counts(k)
        assert np.bincount(counts).tolist() == [0, 0, 4, 4 * (m - 2), (m - 2) ** 2]
    assert (neighbours(X, 2).counts(2) == 2).all()


@pytest.mark.parametrize("distance", [1e2, 1e5, 1e7])
def test_tight_clusters_far_apart_are_told_apart_by_direct_differences(distance):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.standard_normal((70, 5)), rng.standard_normal((80, 5)) + distance])
    for k in (1, 20, 79, 149):
        assert (arcs_of(neighbours(X, k), k) == dense_arcs(X, k)).all()


def test_one_outlier_and_a_heavy_tail():
    rng = np.random.default_rng(1)
    X = rng.standard_cauchy((400, 3)) ** 3
    assert np.abs(X).max() > 1e6 * np.median(np.abs(X))
    for k in (1, 30, 399):
        assert (arcs_of(neighbours(X, k), k) == dense_arcs(X, k)).all()


def test_all_rows_equal():
    found = neighbours(np.full((70, 4), 0.3), 5)
    assert found.unique_rows == 1
    expected = [[j for j in range(70) if j != i][:5] for i in range(70)]
    assert found.order.tolist() == expected
    assert (neighbours(np.full((70, 4), 0.3), 5, ties="include").counts(1) == 69).all()


def test_repeated_rows_are_each_others_neighbours_and_never_their_own():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((50, 3))[rng.integers(0, 50, 200)]
    found = neighbours(X, 30)
    assert found.unique_rows == len(np.unique(X, axis=0)) < 200
    assert (found.order != np.arange(200)[:, None]).all()
    for k in (1, 4, 30):
        assert (arcs_of(found, k) == dense_arcs(X, k)).all()


def test_scale_rotation_translation_and_permutation():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 6))
    found = neighbours(X, 50).order
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    for moved in (1e-200 * X, 3e150 * X, X @ rotation, X + 1e3, torch.tensor(X), X.reshape(300, 2, 3)):
        assert (neighbours(moved, 50).order == found).all()
    shuffle = rng.permutation(300)
    assert (shuffle[neighbours(X[shuffle], 50).order] == found[shuffle]).all()


def test_blocks_and_threads_change_nothing():
    X = np.random.default_rng(4).standard_normal((400, 4))
    whole = neighbours(X, 20, ties="include")
    for more in ({"memory": 40_000}, {"threads": 3}):
        part = neighbours(X, 20, ties="include", **more)
        assert (part.order == whole.order).all() and (part.rank == whole.rank).all()


def test_points_are_left_as_they_were():
    X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    before = X.detach().clone()
    neighbours(X, 3)
    assert torch.equal(X.detach(), before) and X.grad is None


@pytest.mark.parametrize(
    "X, k, argument",
    [
        (np.array([[0.0], [np.nan], [1.0]]), 1, "X"),
        (np.array([[0.0], [np.inf], [1.0]]), 1, "X"),
        (np.zeros((1, 3)), 1, "X"),
        (np.zeros((5, 0)), 1, "X"),
        (np.zeros(5), 1, "X"),
        ("points", 1, "X"),
        (np.eye(5), 0, "k_max"),
        (np.eye(5), 5, "k_max"),
        (np.eye(5), 2.5, "k_max"),
    ],
)
def test_bad_points_and_bad_k_are_named(as_user, X, k, argument):
    with pytest.raises(ArgumentError) as error:
        neighbours(X, k)
    assert error.value.argument == argument


def test_other_bad_arguments_are_named(as_user):
    X = np.eye(5)
    for call, argument in (
        (lambda: neighbours(X, 2, ties="drop"), "ties"),
        (lambda: neighbours(X, 2, threads=0), "threads"),
        (lambda: neighbours(X, 2, memory=10), "memory"),
        (lambda: neighbours(X, 2).counts(3), "k"),
        (lambda: neighbours(X, 2).counts(True), "k"),
    ):
        with pytest.raises(ArgumentError) as error:
            call()
        assert error.value.argument == argument


def test_numbers_and_shares_of_neighbours():
    assert neighbour_counts([1, 10, 0.25, 0.001, 3.0], 200).tolist() == [1, 10, 50, 1, 3]
    assert neighbour_counts(0.5, 9).shape == () and neighbour_counts(0.5, 10) == 5
    for bad in (0, -1, 10, 1.5, [], "ten", float("nan"), 0.99, None, True):
        with pytest.raises(ArgumentError):
            neighbour_counts(bad, 10)
