"""A common quadratic norm: known rates, an independent solver's, and a check that is not fooled."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from separatrix.certificates.planar.common_metric import common_metric, each_shrinks, verify_common


def proved(P, A, rate, radius=None):
    return verify_common(
        torch.from_numpy(P), torch.from_numpy(A), None if radius is None else torch.from_numpy(radius), rate
    )


def holds_exactly(P, A, rate):
    """Whether rate^2 P - A'PA and P are positive definite, 2 x 2, in rational arithmetic."""
    P, A = ([[Fraction(float(v)) for v in row] for row in M] for M in (P, A))
    r = Fraction(rate) ** 2
    PA = [[sum(P[i][k] * A[k][j] for k in range(2)) for j in range(2)] for i in range(2)]
    S = [[r * P[i][j] - sum(A[k][i] * PA[k][j] for k in range(2)) for j in range(2)] for i in range(2)]
    return all(M[0][0] > 0 and M[0][0] * M[1][1] > M[0][1] * M[1][0] for M in (P, S))


def test_one_map_shrinks_by_its_spectral_radius():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3):
        A = rng.normal(size=(1, n, n))
        P, rate = common_metric(A)
        radius = np.abs(np.linalg.eigvals(A)).max()
        assert radius * (1 - 1e-12) <= rate <= radius * (1 + 2e-4)
        assert proved(P, A, rate * (1 + 1e-9))
        assert abs(np.linalg.eigvalsh(P)[0] - 1) <= 1e-9


def test_a_defective_map_is_approached():
    A = np.array([[[0.5, 4.0], [0.0, 0.5]]])
    P, rate = common_metric(A)
    assert 0.5 < rate < 0.501
    assert proved(P, A, 0.501)
    assert not proved(P, A, 0.5)


def test_two_nilpotent_maps_by_hand():
    """|A_1|_P |A_2|_P is at least |A_1 A_2|'s spectral radius 5 x 0.1, and P = diag(1, 50) makes both equal."""
    A = np.array([[[0.0, 5.0], [0.0, 0.0]], [[0.0, 0.0], [0.1, 0.0]]])
    P, rate = common_metric(A)
    assert abs(rate - np.sqrt(0.5)) <= 1e-4
    assert abs(P[1, 1] / P[0, 0] - 50) <= 0.1
    # two of norm 1 whose product is one: none is smaller
    assert abs(common_metric(np.array([[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]))[1] - 1) <= 1e-4


def test_zero_maps_and_a_single_direction():
    assert common_metric(np.zeros((3, 2, 2)))[1] == 0
    # only what happens to e1 counts: it goes to e2 / 10, which may be as short as the metric makes it
    assert common_metric(np.array([[[0.0], [0.1]]]), np.array([[[1.0], [0.0]]]))[1] <= 0.1


@pytest.mark.parametrize(("n", "maps"), [(2, 2), (2, 10), (2, 60), (3, 8), (4, 8)])
def test_an_independent_solver_finds_no_smaller_rate(n, maps):
    import cvxpy as cp

    rng = np.random.default_rng(100 * n + maps)
    A = 0.4 * np.eye(n) + 0.25 * rng.normal(size=(maps, n, n))
    rate = common_metric(A)[1]

    def feasible(r):
        P = cp.Variable((n, n), symmetric=True)
        slacks = [P - np.eye(n)] + [r**2 * P - a.T @ P @ a for a in A]
        problem = cp.Problem(cp.Minimize(cp.trace(P)), [(s + s.T) / 2 >> 0 for s in slacks])
        problem.solve(solver="CLARABEL")
        return problem.status == "optimal"

    assert feasible(rate * (1 + 1e-6))
    assert not feasible(rate * (1 - 5e-4))


def test_the_rate_does_not_depend_on_coordinates():
    rng = np.random.default_rng(4)
    A = 0.3 * rng.normal(size=(30, 2, 2))
    T = np.array([[3.0, 1.0], [0.0, 0.02]])
    rate, other = common_metric(A)[1], common_metric(T @ A @ np.linalg.inv(T))[1]
    assert abs(rate - other) <= 3e-4 * rate


def test_thousands_of_maps_are_seen():
    rng = np.random.default_rng(5)
    A = 0.2 * rng.normal(size=(4000, 2, 2))
    P, rate = common_metric(A)
    assert proved(P, A, rate * (1 + 1e-9))
    T = np.linalg.cholesky(P).T
    norms = np.linalg.norm(T @ A @ np.linalg.inv(T), 2, axis=(1, 2))
    assert abs(norms.max() - rate) <= 1e-9
    assert rate < np.linalg.norm(A, 2, axis=(1, 2)).max() - 0.01


def test_enough_ends_the_search_early():
    A = np.array([[[0.5, 4.0], [0.0, 0.5]]])
    P, rate = common_metric(A, enough=0.9)
    assert rate <= 0.9
    assert np.linalg.cond(P) < 0.01 * np.linalg.cond(common_metric(A)[0])


def test_the_check_agrees_with_rational_arithmetic():
    """True only where it holds exactly, also within a few units of the border; and soon beyond it."""
    rng = np.random.default_rng(6)
    right = 0
    for _ in range(80):
        L = rng.normal(size=(2, 2)) @ np.diag([1, 10.0 ** rng.uniform(-4, 0)])
        P = L @ L.T
        P = (P + P.T) / 2
        A = rng.normal(size=(2, 2))
        T = np.linalg.cholesky(P).T
        border = np.linalg.norm(T @ A @ np.linalg.inv(T), 2)
        for off in (-1e-9, -1e-15, -2e-16, 0.0, 2e-16, 1e-15, 1e-12):
            rate = float(border * (1 + off))
            assert not proved(P, A[None], rate) or holds_exactly(P, A, rate)
        right += proved(P, A[None], float(border * (1 + 1e-6)))
    assert right >= 76


def test_radii_count():
    eye, none, half = np.eye(2), np.zeros((1, 2, 2)), np.full((1, 2, 2), 0.5)
    assert not proved(eye, none, 0.999, half)
    assert not proved(eye, none, 1.0, half)
    assert proved(eye, none, 1.01, half)
    assert proved(eye, none, 1e-3)


def test_equality_is_no_proof():
    assert not proved(np.eye(2), 0.5 * np.eye(2)[None], 0.5)
    assert proved(np.eye(2), 0.5 * np.eye(2)[None], 0.5 + 1e-12)


def test_what_is_no_norm_proves_nothing():
    A = np.zeros((1, 2, 2))
    for P in ([[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.1], [0.0, 1.0]], [[np.nan, 0], [0, 1.0]], [[0.0, 0], [0, 1.0]]):
        assert not proved(np.array(P), A, 0.5)
    for rate in (0.0, -1.0, np.nan, np.inf):
        assert not proved(np.eye(2), A, rate)


def test_each_map_is_judged_alone():
    A = torch.stack([0.5 * torch.eye(2), 1.5 * torch.eye(2), torch.zeros(2, 2)]).double()
    assert each_shrinks(torch.eye(2).double(), A, None, 0.9).tolist() == [True, False, True]
    A[0, 0, 0] = torch.nan
    assert each_shrinks(torch.eye(2).double(), A, None, 0.9).tolist() == [False, False, True]
