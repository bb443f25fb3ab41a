"""Proved bounds of the spectral radius: never beyond the truth, and close to it where that is possible."""

import math
from fractions import Fraction

import mpmath
import pytest
import torch

from separatrix.certificates.refutation.eigenvalues import spectral_radius_above, spectral_radius_below

mpmath.mp.dps = 50


def none(n):
    return torch.zeros(n, n, dtype=torch.float64)


def exact_radius(A):
    """Spectral radius with 50 digits of the matrix as stored."""
    if len(A) == 1:  # mpmath's form of the answer is another one then
        return mpmath.mpf(abs(float(A[0, 0])))
    M = mpmath.matrix([[mpmath.mpf(float(v)) for v in row] for row in A])
    return max(abs(v) for v in mpmath.eig(M, left=False, right=False))


def unimodular(n, generator):
    """An integer matrix of determinant 1 and its integer inverse."""
    T, S = torch.eye(n, dtype=torch.int64), torch.eye(n, dtype=torch.int64)
    for _ in range(2 * n):
        i, j = torch.randperm(n, generator=generator)[:2].tolist()
        k = int(torch.randint(-2, 3, (1,), generator=generator))
        E, F = torch.eye(n, dtype=torch.int64), torch.eye(n, dtype=torch.int64)
        E[i, j], F[i, j] = k, -k
        T, S = E @ T, S @ F
    assert torch.equal(T @ S, torch.eye(n, dtype=torch.int64))
    return T.double(), S.double()


def similar(block, seed):
    """T block T^-1, free of rounding: entries are multiples of 2^-6 that stay small."""
    T, S = unimodular(len(block), torch.Generator().manual_seed(seed))
    A = T @ block @ S
    first, second, third = ([[Fraction(v) for v in row] for row in M] for M in (T.tolist(), block.tolist(), S.tolist()))
    n, total = len(block), range(len(block))
    exact = [
        [sum(first[i][k] * second[k][m] * third[m][j] for k in total for m in total) for j in range(n)]
        for i in range(n)
    ]
    assert [[Fraction(v) for v in row] for row in A.tolist()] == exact
    return A


@pytest.mark.parametrize("seed", range(8))
def test_known_spectra(seed):
    pair = torch.tensor([[0.75, 1.0], [-1.0, 0.75]], dtype=torch.float64)  # modulus 1.25
    block = torch.block_diag(pair, torch.diag(torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)))
    found = spectral_radius_above(similar(block, seed), none(5))
    assert found is not None and 1.25 - 1e-9 <= found <= 1.25
    assert 1.25 <= spectral_radius_below(similar(block, seed), none(5)) <= 1.25 + 1e-7


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_jordan_blocks(n):
    block = 1.015625 * torch.eye(n, dtype=torch.float64) + torch.diag(torch.ones(n - 1, dtype=torch.float64), 1)
    A = similar(block, n) if n > 1 else block
    found = spectral_radius_above(A, none(n))
    assert found is not None and 1.015625 - 1e-6 <= found <= 1.015625
    assert spectral_radius_below(A, none(n)) >= 1.015625


@pytest.mark.parametrize(("last", "tight"), [(0.25, 1e-12), (0.5, 1e-7)])
def test_companion_of_known_roots(last, tight):
    """A double root costs half the digits: its eigenvectors are almost the same."""
    roots = [1.125, -1.0, 0.5, last]
    coefficients = [Fraction(1)]
    for root in roots:
        moved = [*coefficients, Fraction(0)]
        coefficients = [a - Fraction(root) * b for a, b in zip(moved, [Fraction(0), *coefficients], strict=True)]
    A = torch.diag(torch.ones(3, dtype=torch.float64), -1)
    A[0] = torch.tensor([float(-c) for c in coefficients[1:]], dtype=torch.float64)
    assert all(Fraction(float(-c)) == -c for c in coefficients)
    found = spectral_radius_above(A, none(4))
    assert found is not None and 1.125 - tight < found <= 1.125


@pytest.mark.parametrize(
    "A",
    [
        torch.eye(3),
        torch.tensor([[0.0, -1.0], [1.0, 0.0]]),
        torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
        torch.tensor([[1.0, 1.0], [0.0, 1.0]]),
        torch.tensor([[1.0, 5.0], [0.0, -1.0]]),
        torch.tensor([[0.5, 4.0], [0.0, 0.5]]),
        torch.tensor([[0.5, 1e8], [0.0, 0.999]]),
        torch.zeros(2, 2),
    ],
)
def test_no_radius_above_one_is_claimed(A):
    A = A.double()
    assert spectral_radius_above(A, none(len(A))) is None
    assert spectral_radius_below(A, none(len(A))) >= float(exact_radius(A)) * (1 - 1e-15)


@pytest.mark.parametrize("above", [1e-3, 1e-6, 1e-9])
def test_little_above_one(above):
    c, s = math.cos(1.0) * (1 + above), math.sin(1.0) * (1 + above)
    A = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    true = exact_radius(A)
    found = spectral_radius_above(A, none(2))
    assert found is not None and 1 < found <= true
    assert spectral_radius_above(A, none(2), one=1 + 2 * above) is None


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("wide", [0.0, 1e-9, 1e-3, 0.1])
def test_every_matrix_of_the_interval(n, wide):
    generator = torch.Generator().manual_seed(n)
    for _ in range(6):
        A = torch.randn(n, n, generator=generator, dtype=torch.float64)
        a = wide * torch.rand(n, n, generator=generator, dtype=torch.float64)
        low, high = spectral_radius_above(A, a, one=0.0), spectral_radius_below(A, a)
        for _ in range(4):
            # corners of the interval, and the midpoint
            sign = torch.randint(-1, 2, (n, n), generator=generator)
            true = exact_radius(A + a * sign)
            assert (low or 0.0) <= true * (1 + mpmath.mpf(10) ** -14)
            assert high >= true * (1 - mpmath.mpf(10) ** -14)
        if wide <= 1e-9:
            assert low is not None and low > 0.999 * float(true) and high < 1.001 * float(true)


def test_eigenvectors_of_little_use():
    A = torch.tensor([[1.5, 1e6, 0.0], [0.0, 1.5, 1e6], [0.0, 0.0, 1.5]], dtype=torch.float64)
    found = spectral_radius_above(A, none(3))
    assert found is not None and 1.49 < found <= 1.5


def test_nothing_comes_of_nothing():
    A = 2 * torch.eye(2, dtype=torch.float64)
    assert spectral_radius_above(A, none(2)) is not None
    for bad in (math.nan, math.inf):
        B = A.clone()
        B[0, 1] = bad
        assert spectral_radius_above(B, none(2)) is None and spectral_radius_above(A, B.abs()) is None
        assert spectral_radius_below(B, none(2)) == math.inf
    assert spectral_radius_above(A, none(2) - 1) is None
    assert spectral_radius_above(A, none(2) + 5.0) is None
