"""Bounds that hold in spite of rounding, against exact rational arithmetic."""

from fractions import Fraction

import pytest
import torch

from separatrix.certificates.verified import positive_definite, product, spectral_norm


def exactly_positive(S):
    """Sylvester's criterion by elimination in fractions."""
    A = [[Fraction(float(v)) for v in row] for row in S]
    n = len(A)
    for k in range(n):
        if A[k][k] <= 0:
            return False
        for i in range(k + 1, n):
            ratio = A[i][k] / A[k][k]
            for j in range(k, n):
                A[i][j] -= ratio * A[k][j]
    return True


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_never_accepts_what_is_not_positive_definite(n):
    generator = torch.Generator().manual_seed(n)
    accepted = indefinite = 0
    for trial in range(60):
        A = torch.randn(n, n, generator=generator, dtype=torch.float64)
        S = A @ A.T
        S = (S + S.T) / 2
        least = torch.linalg.eigvalsh(S)[0]
        # on both sides of singular, by as little as the last digits
        S = S - (1 + (-1) ** trial * 10.0 ** -(trial % 17)) * least * torch.eye(n, dtype=torch.float64)
        said, true = bool(positive_definite(S)), exactly_positive(S)
        assert true or not said
        accepted += said
        indefinite += not true
    assert accepted >= 10
    assert indefinite >= 10


def test_scales_and_bad_numbers():
    S = torch.diag(torch.tensor([1e-200, 1.0, 1e200], dtype=torch.float64))
    assert bool(positive_definite(S))
    assert not bool(positive_definite(-S))
    for bad in (torch.nan, torch.inf, 0.0):
        T = torch.eye(2, dtype=torch.float64)
        T[0, 0] = bad
        assert not bool(positive_definite(T))
    assert positive_definite(torch.eye(2, dtype=torch.float64).expand(4, 3, 2, 2)).shape == (4, 3)


def test_radius_is_taken_off():
    S = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)  # least eigenvalue 1
    ones = torch.ones(2, 2, dtype=torch.float64)
    assert bool(positive_definite(S, 0.49 * ones))
    assert not bool(positive_definite(S, 0.51 * ones))


def test_products_hold_what_fractions_give():
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        A, B = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
        B = B.T.contiguous()
        A[:, 0] = 1e8 * A[:, 1]
        B[0] = -1e-8 * B[1] * (1 + 1e-9)
        middle, radius = product(A, None, B, None)
        for i in range(3):
            for j in range(3):
                exact = sum(Fraction(float(A[i, k])) * Fraction(float(B[k, j])) for k in range(4))
                assert abs(exact - Fraction(float(middle[i, j]))) <= Fraction(float(radius[i, j]))
        assert bool((radius <= 1e-14 * (A.abs() @ B.abs()) + 1e-299).all())


def test_norms_are_bounds_and_sharp():
    generator = torch.Generator().manual_seed(1)
    A = torch.randn(200, 4, 6, generator=generator, dtype=torch.float64)
    norm = torch.linalg.matrix_norm(A, 2)
    found = spectral_norm(A)
    assert bool((found >= norm).all())
    assert bool((found <= norm * (1 + 1e-7)).all())
    wide = spectral_norm(A, 0.1 * A.abs())
    for sign in (-1, 1):
        assert bool((wide >= torch.linalg.matrix_norm(A * (1 + 0.1 * sign), 2)).all())
    assert float(spectral_norm(torch.zeros(3, 3, dtype=torch.float64))) <= 1e-99
    assert bool(spectral_norm(torch.full((2, 2), torch.nan, dtype=torch.float64)).isnan())
    # a defective matrix, whose eigenvalues say nothing
    assert float(spectral_norm(torch.tensor([[0.5, 4.0], [0.0, 0.5]]).double())) == pytest.approx(4.0615528, rel=1e-7)
