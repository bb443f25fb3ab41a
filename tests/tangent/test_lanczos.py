"""Leading singular values from products alone: exact answers, clusters, exhausted spaces, residuals."""

import math

import pytest
import torch

from separatrix.tangent.lanczos import leading

EPS = torch.finfo(torch.float64).eps


class Matrices:
    """Known matrices (p, n, d) behind products, which are counted."""

    epsilon = EPS
    device = "cpu"

    def __init__(self, matrices):
        self.matrices, self.count, self.sizes = matrices, 0, []
        self.points, self.outputs, self.inputs = matrices.shape

    def apply(self, rows):
        self.count += 1
        return rows @ self.matrices.mT

    def transpose(self, rows):
        return rows @ self.matrices

    def __call__(self, places):
        self.sizes.append(self.points if places is None else len(places))
        if places is None:
            return self
        other = Matrices(self.matrices[places])
        other.sizes = self.sizes
        return other


def with_values(values, n, d, seed=0):
    """Matrices with given singular values (p, r)."""
    gen = torch.Generator().manual_seed(seed)
    p, r = values.shape
    u, v = (torch.linalg.qr(torch.randn(p, size, r, generator=gen, dtype=torch.float64))[0] for size in (n, d))
    return u @ torch.diag_embed(values) @ v.mT


def solve(matrices, k, **options):
    options = {"block": k, "tolerance": 1e-8, "floor": 1e-12, **options}
    return leading(Matrices(matrices), k, **options)


@pytest.mark.parametrize(("n", "d"), [(90, 70), (70, 90), (3, 40), (40, 3), (5, 5)])
@pytest.mark.parametrize("block", [1, 3])
def test_agrees_with_the_dense_answer(n, d, block):
    gen = torch.Generator().manual_seed(1)
    matrices = torch.randn(4, n, d, generator=gen, dtype=torch.float64)
    found = solve(matrices, 3, block=block)
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    torch.testing.assert_close(found.values, s[:, :3], rtol=1e-12, atol=0)
    assert found.converged.all() and (found.residual <= 1e-8 * found.values).all()
    for have, exact in ((found.right, vh), (found.left, u.mT)):
        torch.testing.assert_close(
            (have * exact[:, :3]).sum(2).abs(), torch.ones(4, 3, dtype=torch.float64), rtol=1e-9, atol=0
        )


def test_residuals_are_those_of_the_vectors_and_hold_what_they_say():
    # stopped far too early: the values are wrong by per cents, and each has a singular value within its residual
    gen = torch.Generator().manual_seed(2)
    matrices = torch.randn(20, 120, 100, generator=gen, dtype=torch.float64)
    found = solve(matrices, 3, block=1, steps=6)
    s = torch.linalg.svdvals(matrices)
    assert not found.converged.any()
    pushed = torch.einsum("pnd,pkd->pkn", matrices, found.right) - found.values[..., None] * found.left
    pulled = torch.einsum("pnd,pkn->pkd", matrices, found.left) - found.values[..., None] * found.right
    size = ((pushed.square().sum(2) + pulled.square().sum(2)) / 2).sqrt()
    torch.testing.assert_close(found.residual, size, rtol=1e-10, atol=1e-12)
    nearest = (found.values[..., None] - s[:, None]).abs().amin(2)
    assert (nearest <= found.residual).all() and nearest.max() > 1e-3
    # and none exceeds the singular value of its index
    assert (found.values <= s[:, :3] * (1 + 1e-12)).all()
    assert ((s[:, :3] - found.values) / s[:, :3]).max() > 0.02


def test_equal_values_are_all_found():
    values = torch.tensor([[2.0, 2.0, 2.0, 1.0, 0.5], [3.0, 2.0, 2.0, 2.0, 0.1]], dtype=torch.float64)
    matrices = with_values(values, 60, 50)
    found = solve(matrices, 3)
    torch.testing.assert_close(found.values, values[:, :3], rtol=1e-12, atol=0)
    assert found.converged.all()
    # one row at a time sees each value once, and cannot know: its residuals are as small
    alone = solve(matrices[:1], 2, block=1)
    torch.testing.assert_close(alone.values, torch.tensor([[2.0, 1.0]], dtype=torch.float64), rtol=1e-12, atol=0)
    assert alone.converged.all()


def test_orthogonal_maps_have_nothing_but_equal_values():
    gen = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(2, 30, 30, generator=gen, dtype=torch.float64))[0]
    found = solve(5 * q, 4)
    torch.testing.assert_close(found.values, torch.full((2, 4), 5.0, dtype=torch.float64), rtol=1e-13, atol=0)
    gram = found.right @ found.right.mT
    torch.testing.assert_close(gram, torch.eye(4, dtype=torch.float64).expand(2, 4, 4), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(60, 50), (50, 60)])
def test_a_rank_below_k_ends_the_search(n, d):
    values = torch.tensor([[4.0, 1.0], [4.0, 4.0]], dtype=torch.float64)
    operator = Matrices(with_values(values, n, d))
    found = leading(operator, 4, block=4, tolerance=1e-8, floor=1e-12)
    torch.testing.assert_close(found.values[:, :2], values, rtol=1e-12, atol=0)
    assert (found.values[:, 2:] <= 1e-13).all() and found.converged.all()
    assert found.residual[:, 2:].isnan().all() and found.right[:, 2:].isnan().all()
    assert operator.count <= 4


def test_zero_is_exactly_zero_and_nan_stays_with_its_point():
    gen = torch.Generator().manual_seed(0)
    matrices = torch.randn(4, 20, 15, generator=gen, dtype=torch.float64)
    exact = torch.linalg.svdvals(matrices)
    matrices[1] = 0
    matrices[2, 3, 4] = math.nan
    matrices[3, :, 5:] = 0
    found = solve(matrices, 2)
    torch.testing.assert_close(found.values[0], exact[0, :2], rtol=1e-12, atol=0)
    assert (found.values[1] == 0).all() and found.converged[1].all()
    assert found.values[2].isnan().all() and not found.converged[2].any() and found.right[2].isnan().all()
    torch.testing.assert_close(found.values[3], torch.linalg.svdvals(matrices[3])[:2], rtol=1e-12, atol=0)


@pytest.mark.parametrize("block", [1, 2])
def test_restarts_keep_what_was_found(block):
    # a slowly decaying spectrum takes many more rows than are kept
    values = (1 - torch.arange(200, dtype=torch.float64) / 400).expand(2, 200)
    operator = Matrices(with_values(values, 220, 210))
    found = leading(operator, 2, block=block, tolerance=1e-8, columns=14)
    assert operator.count > 3 * 14 / block
    torch.testing.assert_close(found.values, values[:, :2], rtol=1e-12, atol=0)
    assert found.converged.all()


def test_points_that_are_done_are_left_out_and_results_do_not_depend_on_neighbours():
    easy = with_values(torch.tensor([[5.0, 1.0, 0.1]], dtype=torch.float64).expand(3, 3), 80, 80)
    hard = with_values((1 - torch.arange(80, dtype=torch.float64) / 160).expand(1, 80), 80, 80, seed=1)
    operator = Matrices(torch.cat([easy, hard]))
    found = leading(operator, 1, block=1, tolerance=1e-8)
    assert operator.sizes == [4, 1, 4]
    alone = solve(hard, 1)
    torch.testing.assert_close(found.values[3:], alone.values, rtol=1e-13, atol=0)
    torch.testing.assert_close(found.values[:, 0], torch.tensor([5.0, 5.0, 5.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_sizes_whose_squares_are_no_numbers(size):
    values = torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64)
    found = solve(with_values(values, 30, 20) * size, 2)
    torch.testing.assert_close(found.values / size, values[:, :2], rtol=1e-12, atol=0)


def test_an_iteration_cut_short_says_so():
    values = (1 - torch.arange(80, dtype=torch.float64) / 800).expand(1, 80)
    found = solve(with_values(values, 80, 80), 1, steps=5)
    assert not found.converged.any() and found.residual[0, 0] > 1e-8
    assert 0.5 < found.values[0, 0] < 1


@pytest.mark.parametrize(("n", "d"), [(60, 50), (50, 60)])
def test_a_low_rank_with_restarts(n, d):
    # twelve values, and room for ten rows: restarts happen before the space is exhausted
    values = (1 - torch.arange(12, dtype=torch.float64) / 40).expand(2, 12)
    operator = Matrices(with_values(values, n, d))
    found = leading(operator, 2, block=2, tolerance=1e-12, columns=10)
    torch.testing.assert_close(found.values, values[:, :2], rtol=1e-13, atol=0)
    assert operator.count > 7 and found.converged.all()


def test_a_start_that_sees_little_of_the_leading_direction():
    # the random start is nearly orthogonal to v_1, whose value is a hundred times the others
    start = torch.linalg.qr(torch.randn(40, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    other = torch.randn(40, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    v = other - start * (start.mT @ other) * (1 - 1e-10)
    v = v / v.norm()
    rest = with_values(torch.linspace(1, 0.1, 30, dtype=torch.float64)[None], 45, 40, seed=5)[0]
    u = torch.randn(45, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    matrix = rest @ (torch.eye(40, dtype=torch.float64) - v @ v.mT) + 100 * (u / u.norm()) @ v.mT
    found = solve(matrix[None], 1)
    torch.testing.assert_close(found.values[0, 0], torch.linalg.svdvals(matrix)[0], rtol=1e-12, atol=0)
