"""Singular values of long products against arithmetic of 500 digits, exact answers, invariants and dense twins."""

import math
from itertools import pairwise

import mpmath as mp
import pytest
import torch

from separatrix.results.errors import ArgumentError
from separatrix.tangent import graded_qr
from separatrix.tangent.graded_qr import factorise
from separatrix.tangent.jacobi import orthogonal_rows
from separatrix.tangent.product import GradedProduct, product_log_singular_values

DIGITS = 500
F64 = torch.float64


def exact(factors, digits=DIGITS):
    """Log singular values (and U, V) of the product of float64 factors, in many digits."""
    with mp.workdps(digits):
        product = mp.matrix(factors[0].tolist())
        for factor in factors[1:]:
            product = mp.matrix(factor.tolist()) * product
        tall = product if product.rows >= product.cols else product.T
        values = mp.svd_r(tall, compute_uv=False)
        return torch.tensor([float(mp.log(s)) for s in values], dtype=F64), product


def stack(kind, depth, shapes, seed):
    """Factors, first one first; ``shapes`` is n for square ones or the list of widths."""
    g = torch.Generator().manual_seed(seed)
    widths = [shapes] * (depth + 1) if isinstance(shapes, int) else [shapes[i % len(shapes)] for i in range(depth + 1)]
    factors = [torch.randn(m, n, generator=g, dtype=F64) / n**0.5 for n, m in pairwise(widths)]
    if kind == "gaussian":
        return factors
    factors = [torch.linalg.qr(f)[0] for f in factors]
    if kind == "orthogonal":
        return factors
    return [f + 1e-3 * torch.randn(f.shape, generator=g, dtype=F64) for f in factors]


def plain_qr(factors):
    """What a QR sweep gives: the logs of the products of the diagonals."""
    q, total = torch.eye(factors[0].shape[1], dtype=F64), 0.0
    for factor in factors:
        q, upper = torch.linalg.qr(factor @ q)
        total = total + upper.diagonal().abs().log()
    return total.sort(descending=True)[0]


CASES = [
    ("gaussian", 8, 2, 4),
    ("gaussian", 8, 3, 4),
    ("gaussian", 8, 6, 6),
    ("gaussian", 500, 2, 4),
    ("gaussian", 500, 6, 4),
    ("near-orthogonal", 8, 2, 2),
    ("near-orthogonal", 8, 6, 4),
    ("near-orthogonal", 500, 2, 2),
    ("near-orthogonal", 500, 6, 3),
    ("orthogonal", 8, 6, 2),
    ("orthogonal", 500, 2, 2),
    ("orthogonal", 500, 6, 2),
]


@pytest.mark.parametrize(("kind", "depth", "n", "seeds"), CASES, ids=lambda v: str(v))
def test_against_500_digits(kind, depth, n, seeds):
    for seed in range(seeds):
        factors = stack(kind, depth, n, seed)
        error = product_log_singular_values(factors) - exact(factors)[0]
        assert error.abs().max() <= 1e-10, (seed, error)


def test_the_diagonal_of_a_qr_sweep_is_something_else():
    # why the kernel is needed: on the same stacks the sweep is wrong by a large part of a nat and more
    for depth, n in ((8, 6), (500, 6)):
        errors, ours = [], []
        for seed in range(3):
            factors = stack("gaussian", depth, n, seed)
            truth = exact(factors)[0]
            errors.append((plain_qr(factors) - truth).abs().max().item())
            ours.append((product_log_singular_values(factors) - truth).abs().max().item())
        assert min(errors) > 0.3, errors
        assert max(ours) <= 1e-10, ours


@pytest.mark.parametrize("depth", [8, 500])
@pytest.mark.parametrize("widths", [[6, 3], [2, 7, 4], [5, 2, 6]], ids=str)
def test_bottleneck(depth, widths):
    factors = stack("gaussian", depth, widths, 3)
    rank = min(min(f.shape) for f in factors)
    got = product_log_singular_values(factors)
    assert got.shape == (min(factors[0].shape[1], factors[-1].shape[0]),)
    assert (got[rank:] == -math.inf).all()
    assert torch.isfinite(got[:rank]).all()
    # 700 digits: the zero singular values of the exact product must stay far below the smallest one
    assert (got[:rank] - exact(factors, 700)[0][:rank]).abs().max() <= 1e-10


def test_wide_first_factor_holds_few_rows():
    g = torch.Generator().manual_seed(0)
    factors = [torch.randn(4, 300, generator=g, dtype=F64), *stack("gaussian", 30, 4, 1)]
    state = GradedProduct.from_matrix(factors[0])
    assert state.rows.shape == (4, 300)
    # the same product with the 300 inputs reduced exactly, M M^T = L L^T, in many digits
    with mp.workdps(DIGITS):
        wide = mp.matrix(factors[0].tolist())
        product = mp.cholesky(wide * wide.T)
        for factor in factors[1:]:
            product = mp.matrix(factor.tolist()) * product
        truth = torch.tensor([float(mp.log(s)) for s in mp.svd_r(product, compute_uv=False)], dtype=F64)
    assert (product_log_singular_values(factors) - truth).abs().max() <= 1e-10


DIAGONALS = [[0.1, 10.0], [10.0, 0.1], [1e-200, 1.0, 1e200], [3.0, 3.0, 3.0], [0.5, 8.0, 0.5, 2.0, 8.0]]


@pytest.mark.parametrize("diagonal", DIAGONALS, ids=str)
def test_diagonal_to_the_500(diagonal):
    # increasing scales from q = identity; 1e-100000 and 1e100000 are far outside of floats
    d = torch.tensor(diagonal, dtype=F64)
    truth = 500 * d.log().sort(descending=True)[0]
    got = product_log_singular_values([torch.diag(d)] * 500)
    assert (got - truth).abs().max() <= 1e-10 * max(1.0, truth.abs().max().item() / 1e3)


def test_product_that_goes_out_and_comes_back():
    d = torch.tensor([0.1, 10.0], dtype=F64)
    factors = [torch.diag(d)] * 250 + [torch.diag(1 / d)] * 250
    assert product_log_singular_values(factors).abs().max() <= 1e-10


SHEARS = {
    "shear": [[1.0, 1.0], [0.0, 1.0]],
    "shear transposed": [[1.0, 0.0], [1.0, 1.0]],
    "hidden small value": [[0.1, 1.0], [0.0, 10.0]],
    "row that leans on the next": [[1e-3, 1.0], [0.0, 0.9]],
    "row that leans a little each time": [[0.2, 1.0], [0.0, 1.0]],
    "jordan block": [[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 2.0]],
    "leaning, three": [[0.1, 1.0, 1.0], [0.0, 1.0, 5.0], [0.0, 0.0, 10.0]],
}


@pytest.mark.parametrize("name", SHEARS)
@pytest.mark.parametrize("power", [8, 500])
def test_powers_of_shears(name, power):
    # triangular factors leave q = identity in a QR sweep: rows become parallel unless they are reordered
    factors = [torch.tensor(SHEARS[name], dtype=F64)] * power
    truth = exact(factors, 2500 if power == 500 else DIGITS)[0]
    assert (product_log_singular_values(factors) - truth).abs().max() <= 1e-10


def test_shear_that_hides_a_contraction_in_a_large_row():
    # M q has columns (eps, 0) and (1, 0.9) at every step: row norms alone cannot tell that row 1 is lost
    g = torch.Generator().manual_seed(5)
    frames = [torch.linalg.qr(torch.randn(2, 2, generator=g, dtype=F64))[0] for _ in range(101)]
    core = torch.tensor([[1e-2, 1.0], [0.0, 0.9]], dtype=F64)
    factors = [b @ core @ a.mT for a, b in pairwise(frames)]
    assert (product_log_singular_values(factors) - exact(factors, 1000)[0]).abs().max() <= 1e-10


def test_saturated_units():
    # a saturated sigmoid multiplies its row by 1e-60; the values below eps of the layer are still right
    for seed in range(3):
        factors = stack("gaussian", 6, 6, seed)
        gains = torch.tensor([1.0, 1e-60, 0.3, 1e-25, 1e-180, 2.0], dtype=F64)
        factors = [torch.diag(gains.roll(i)) @ f for i, f in enumerate(factors)]
        truth = exact(factors, 2000)[0]
        got = product_log_singular_values(factors)
        assert (got - truth).abs().max() <= 1e-10


@pytest.mark.parametrize("n", [2, 3, 6, 20])
@pytest.mark.parametrize("defect", [1, 2])
def test_singular_factor_gives_exactly_minus_infinity(n, defect):
    # integer matrices of known rank inside Gaussian stacks: rank is exact, entries of M q are rounded
    g = torch.Generator().manual_seed(n)
    rank, batch = max(0, n - defect), 200
    low = torch.randint(-9, 10, (batch, n, rank), generator=g) @ torch.randint(-9, 10, (batch, rank, n), generator=g)
    low = low.to(F64)
    before, after = (torch.randn(batch, n, n, generator=g, dtype=F64) for _ in range(2))
    expected = torch.linalg.matrix_rank(low)
    got = product_log_singular_values([before, before, low, after, after])
    assert torch.equal((got > -math.inf).sum(-1), expected)
    assert not got.isnan().any()


def test_dead_units_are_exact_zeros():
    for dead in range(4):
        factors = stack("gaussian", 8, 4, dead)
        factors[3][:dead] = 0
        got = product_log_singular_values(factors)
        assert (got[4 - dead :] == -math.inf).all()
        kept = [*factors[:3], factors[3][dead:], factors[4][:, dead:], *factors[5:]]
        if dead < 4:
            assert (got[: 4 - dead] - exact(kept, 700)[0][: 4 - dead]).abs().max() <= 1e-10


def test_zero_rows_have_zero_columns():
    # LAPACK completes q with arbitrary columns; nothing is carried along them, and they must not seem to move anything
    dead = torch.diag(torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=F64))
    state = GradedProduct.start(4).multiply(dead)
    for factor in stack("gaussian", 3, 4, 0):
        state = state.multiply(factor)
        zero = state.log_scale == -math.inf
        assert zero.sum() == 2
        assert (state.q[:, zero] == 0).all()
        assert (state.rows[zero] == 0).all()


def test_zero_product():
    state = GradedProduct.start(3).multiply(torch.zeros(3, 3, dtype=F64)).multiply(torch.eye(3, dtype=F64))
    values, right, left = state.singular(directions=True)
    assert (values == -math.inf).all()
    assert (right == 0).all()
    assert (left == 0).all()


def test_ill_conditioned_is_not_taken_for_singular():
    g = torch.Generator().manual_seed(1)
    for n in (2, 6, 30):
        u, _, v = torch.linalg.svd(torch.randn(50, n, n, generator=g, dtype=F64))
        s = torch.ones(n, dtype=F64)
        s[-1] = 1e-12
        got = product_log_singular_values([u @ torch.diag(s) @ v])
        assert (got[:, -1] - math.log(1e-12)).abs().max() < 0.05
        assert got[:, :-1].abs().max() < 1e-12


def test_sum_is_the_log_determinant():
    for kind in ("gaussian", "near-orthogonal"):
        factors = stack(kind, 500, 6, 11)
        logdet = sum(torch.linalg.slogdet(f)[1] for f in factors)
        assert abs(product_log_singular_values(factors).sum() - logdet) <= 1e-10


def test_rotation_from_either_side_changes_nothing():
    factors = stack("gaussian", 40, 5, 2)
    a, b = (torch.linalg.qr(f)[0] for f in stack("gaussian", 2, 5, 3))
    turned = [factors[0] @ a, *factors[1:-1], b @ factors[-1]]
    scaled = [1e150 * f for f in factors]
    plain = product_log_singular_values(factors)
    assert (product_log_singular_values(turned) - plain).abs().max() <= 1e-11
    assert (product_log_singular_values(scaled) - plain - 40 * math.log(1e150)).abs().max() <= 1e-10


def test_transpose_has_the_same_singular_values():
    factors = stack("gaussian", 60, [6, 4, 5], 8)
    turned = [f.mT for f in reversed(factors)]
    rank = 4
    difference = product_log_singular_values(factors)[:rank] - product_log_singular_values(turned)[:rank]
    assert difference.abs().max() <= 1e-10


def test_batched_equals_looped():
    stacks = [stack(kind, 30, 4, seed) for seed in range(4) for kind in ("gaussian", "orthogonal", "near")]
    stacks[3][7][1] = 0
    stacks[5][0] = torch.diag(torch.tensor([1e-9, 1.0, 1e9, 1.0], dtype=F64))
    factors = [torch.stack(f).reshape(3, 4, 4, 4) for f in zip(*stacks, strict=True)]
    batched = product_log_singular_values(factors).reshape(12, 4)
    for got, single in zip(batched, stacks, strict=True):
        looped = product_log_singular_values(single)
        assert torch.equal(got == -math.inf, looped == -math.inf)
        alive = looped > -math.inf
        assert (got - looped)[alive].abs().max() <= 1e-11


def test_leading_dimensions_broadcast():
    factors = stack("gaussian", 6, 3, 0)
    many = torch.stack([factors[2], factors[3]])[:, None].expand(2, 5, 3, 3)
    mixed = [factors[0], factors[1].expand(5, 3, 3), many, factors[4]]
    got = product_log_singular_values(mixed)
    assert got.shape == (2, 5, 3)
    for i, middle in enumerate((factors[2], factors[3])):
        single = product_log_singular_values([factors[0], factors[1], middle, factors[4]])
        assert (got[i] - single).abs().max() <= 1e-13


def test_nan_stays_at_its_point():
    factors = [torch.stack([f, f]) for f in stack("gaussian", 10, 3, 0)]
    factors[4][0, 1, 1] = math.nan
    factors[6][0, 2, 1] = math.inf
    got = product_log_singular_values(factors)
    assert got[0].isnan().all()
    assert (got[1] - product_log_singular_values([f[1] for f in factors])).abs().max() <= 1e-13


@pytest.mark.parametrize("widths", [[2, 2], [2, 30], [6, 6], [6, 3, 8], [3, 7]], ids=str)
def test_directions_against_the_dense_svd(widths):
    factors = [torch.stack([stack("gaussian", 4, widths, s)[i] for s in range(5)]) for i in range(4)]
    product = factors[3] @ factors[2] @ factors[1] @ factors[0]
    state = GradedProduct.from_matrix(factors[0])
    for factor in factors[1:]:
        state = state.absorb(factor @ state.q)
    values, right, left = state.singular(directions=True)
    r = values.shape[-1]
    _, _, dense_right = torch.linalg.svd(product, full_matrices=False)
    assert ((right * dense_right[..., :r, :]).sum(-1).abs() - 1).abs().max() < 1e-9
    assert (right @ product.mT - values.exp()[..., None] * left).abs().max() < 1e-13 * product.abs().max() * 10
    for vectors in (right, left):
        assert (vectors @ vectors.mT - torch.eye(r, dtype=F64)).abs().max() < 1e-13
    # the state itself is the product
    again = state.q @ (state.log_scale.exp()[..., None] * state.rows)
    assert (again - product).abs().max() < 1e-13 * product.abs().max() * 10


def test_directions_of_a_deep_stack_in_many_digits():
    # u_i of the smallest value cannot come from M v_i in floats; in 500 digits, M^T u_i = sigma_i v_i fixes each pair
    factors = stack("gaussian", 120, 4, 7)
    state = GradedProduct.start(4)
    for factor in factors:
        state = state.multiply(factor)
    values, right, left = state.singular(directions=True)
    _, product = exact(factors)
    with mp.workdps(DIGITS):
        u, s, v = mp.svd_r(product)
        for i in range(4):
            assert abs(mp.log(s[i]) - values[i].item()) <= 1e-10
            cos_left = sum(u[a, i] * left[i, a].item() for a in range(4))
            cos_right = sum(v[i, a] * right[i, a].item() for a in range(4))
            assert abs(abs(cos_left) - 1) < 1e-12
            assert abs(abs(cos_right) - 1) < 1e-12
            assert cos_left * cos_right > 0


def test_equal_singular_values_and_parallel_rows():
    # clusters, repeated values, almost parallel rows and unsorted scales in one call; the sum of columns x rows is kept
    g = torch.Generator().manual_seed(0)
    units = torch.randn(5, 7, 60, generator=g, dtype=F64)
    units[1, :, :20] = units[0, :, :20] + 1e-6 * units[1, :, :20]
    units /= units.norm(dim=1, keepdim=True)
    scales = torch.randn(5, 60, generator=g, dtype=F64)
    scales[:, 20:40] = 0.0
    scales[3, ::7], units[3, :, ::7] = -math.inf, 0.0
    columns = torch.eye(5, dtype=F64)[..., None].expand(5, 5, 60)
    before = torch.einsum("rnp,rp,rdp->pnd", columns, scales.exp(), units)
    new_scales, new_units, new_columns = orthogonal_rows(scales, units, columns)
    after = torch.einsum("rnp,rp,rdp->pnd", new_columns, new_scales.exp(), new_units)
    assert (after - before).abs().max() < 1e-14 * 50
    cosines = torch.einsum("idp,jdp->pij", new_units, new_units).tril(-1)
    assert cosines.abs().max() < 4e-15
    assert (new_scales[:-1] >= new_scales[1:]).all()
    dense = torch.linalg.svdvals(before)
    alive = new_scales.mT > -math.inf
    assert ((new_scales.mT.exp() - dense)[alive]).abs().max() < 1e-13
    assert (dense[~alive] < 1e-14).all()


@pytest.mark.parametrize(("r", "n"), [(1, 4), (2, 2), (2, 40), (5, 5), (4, 9), (6, 3)])
def test_fast_and_careful_qr_agree(r, n):
    g = torch.Generator().manual_seed(r)
    columns, weights = torch.randn(r, n, 50, generator=g, dtype=F64), torch.randn(r, 50, generator=g, dtype=F64)
    noise = 1e-15 * columns.abs()
    truth = columns * weights.exp()[:, None]
    results = [factorise(columns, weights, noise), graded_qr._pivoted_householder(columns, weights, noise)]
    for q, coefficients, scales in results:
        assert q.shape == (min(n, r), n, 50)
        back = torch.einsum("knp,kp,krp->rnp", q, scales.exp(), coefficients)
        assert (back - truth).abs().max() < 1e-13
        gram = torch.einsum("inp,jnp->pij", q, q) - torch.eye(min(n, r), dtype=F64)
        assert gram.abs().max() < 1e-14
        assert coefficients.abs().max() <= 10 * (1 + 1e-12)


def test_float32_tangents_keep_float64_scales():
    factors = stack("gaussian", 20, 4, 0)
    state = GradedProduct.start(4, dtype=torch.float32)
    for factor in factors:
        state = state.multiply(factor.float())
    assert state.q.dtype == torch.float32
    assert state.log_scale.dtype == F64
    assert (state.singular() - exact([f.float() for f in factors])[0]).abs().max() < 1e-4


def test_k_takes_the_largest():
    factors = stack("gaussian", 5, 4, 0)
    every = product_log_singular_values(f for f in factors)
    assert torch.equal(product_log_singular_values(factors, k=2), every[:2])


def test_arguments_are_named():
    square = torch.eye(3, dtype=F64)
    with pytest.raises(ArgumentError, match="factors: got none"):
        product_log_singular_values([])
    with pytest.raises(ArgumentError, match="k: got 4"):
        product_log_singular_values([square], k=4)
    with pytest.raises(ArgumentError, match=r"matrix: .* must be 3"):
        GradedProduct.start(3).multiply(torch.eye(4, dtype=F64))
    with pytest.raises(ArgumentError, match=r"matrix: .* broadcast with the batch \(2,\)"):
        GradedProduct.start(3, (2,)).multiply(square.expand(5, 3, 3))
    with pytest.raises(ArgumentError, match=r"mq: .* is 3"):
        GradedProduct.start(3).absorb(torch.eye(4, dtype=F64))


@pytest.mark.gpu
def test_cuda_agrees():
    factors = [torch.stack([stack("gaussian", 30, 5, s)[i] for s in range(8)]) for i in range(30)]
    got = product_log_singular_values([f.cuda() for f in factors])
    assert got.is_cuda
    assert (got.cpu() - product_log_singular_values(factors)).abs().max() <= 1e-10
