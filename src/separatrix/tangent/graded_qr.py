"""QR of graded columns: every column carries its size as a logarithm, and keeps its own precision.

Tensors here are (r, n, points), the points last: r columns of length n at each point.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def factorise(
    columns: Float[Tensor, "r n points"], weights: Float[Tensor, "r points"], noise: Float[Tensor, "r n points"]
) -> tuple[Float[Tensor, "m n points"], Float[Tensor, "m r points"], Float[Tensor, "m points"]]:
    """Factor the matrix with columns exp(weight_j) column_j, the largest part first.

    Parameters
    ----------
    columns : (r, n, points) tensor, float64
        Columns of any sizes.
    weights : (r, points) tensor, float64
        Natural logarithms of further factors of the columns; -inf removes a column.
    noise : (r, n, points) tensor, float64
        Rounding that each entry may have. What is left of a column within it counts as an exact zero.

    Returns
    -------
    q : (m, n, points) tensor
        m = min(n, r) orthonormal columns (where scales is -inf, a column may also be zero).
    coefficients : (m, r, points) tensor
        The triangular factor with each row divided by its pivot, times the column weights: moderate numbers.
    scales : (m, points) tensor
        Logarithms of the pivots: exp(weight_j) column_j = sum over k of q_k exp(scales_k) coefficients_kj.

    Notes
    -----
    On the CPU, Gram-Schmidt done twice (r <= 2, n <= 16) or LAPACK takes every point where no pivot is small and no
    column that comes late is large. The others (fewer than 1 in 100 for Gaussian factors) go through Householder with
    column and row pivoting, which also keeps rows of very different sizes, as saturated units make them (Cox and
    Higham, "Stability of Householder QR factorization for weighted least squares problems", 1998). It is several times
    slower than LAPACK, but a fixed number of elementwise operations: on CUDA it takes all points.
    """
    if columns.is_cuda:
        return _pivoted_householder(columns, weights, noise)
    r, n = columns.shape[:2]
    m = min(n, r)
    if r <= 2 and r <= n <= 16:
        q, upper = _gram_schmidt(columns)
    else:
        q, upper = (part.permute(2, 1, 0) for part in torch.linalg.qr(columns.permute(2, 1, 0)))
        upper = upper.transpose(0, 1).contiguous()
    pivots = upper.diagonal(dim1=0, dim2=1).mT
    q = q * torch.where(pivots < 0, -1.0, 1.0)[:, None]
    scales = torch.log(pivots.abs()) + weights[:m]
    dead = weights == -math.inf
    gaps = torch.where(dead, -math.inf, weights - torch.where(dead, 0.0, weights)[:m, None])
    gaps = torch.where(dead[:m, None] & ~dead, math.inf, gaps).clamp(max=700.0)
    coefficients = upper / torch.where(pivots == 0, 1.0, pivots)[:, None] * torch.exp(gaps)
    size = upper.abs().amax(0)
    small = torch.maximum(1e-3 * size, 1e3 * noise.amax(1))[:m]
    hard = ((pivots.abs() <= small) & ~dead[:m]).any(0)
    hard |= (coefficients.abs() > 10).any(1).any(0) | ~((size > 1e-120) & (size < 1e120) | dead).all(0)
    hard = hard.nonzero()[:, 0]
    if hard.numel():
        part = _pivoted_householder(columns[..., hard], weights[:, hard], noise[..., hard])
        q[..., hard], coefficients[..., hard], scales[:, hard] = part
    return q, coefficients, scales


def _gram_schmidt(columns: Tensor) -> tuple[Tensor, Tensor]:
    """QR of one or two columns; the second projection restores orthogonality to rounding."""
    upper = columns.new_zeros(len(columns), len(columns), columns.shape[-1])
    q: list[Tensor] = []
    for j, x in enumerate(columns):
        for _ in range(2):
            for i in range(j):
                part = (q[i] * x).sum(0)
                x = x - part * q[i]
                upper[i, j] += part
        upper[j, j] = x.square().sum(0).sqrt()
        q.append(x / torch.where(upper[j, j] == 0, 1.0, upper[j, j]))
    return torch.stack(q), upper


def _pivoted_householder(columns: Tensor, weights: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Factor as :func:`graded_qr` does, with care at every point.

    The pivot is the column whose remainder is largest in the product, reflected onto its largest entry. Nothing is
    swapped: used columns and rows are set to zero. The variance of rounding is carried beside the entries, and an entry
    inside it becomes an exact zero, so that a singular factor gives -inf and not the logarithm of noise.
    """
    r, n, points = columns.shape
    m = min(n, r)
    columns = torch.where((columns.abs() <= noise) | (weights == -math.inf)[:, None], 0.0, columns)
    size = columns.abs().amax(1)
    weights = torch.where(size == 0, -math.inf, weights + torch.log(size))
    unit = torch.where(size == 0, 1.0, size)[:, None]
    columns, noise = columns / unit, (noise / unit).square()
    magnitude = columns.abs()
    coefficients, scales = columns.new_empty(m, r, points), columns.new_empty(m, points)
    reflectors = []
    for k in range(m):
        pivot = (weights + torch.log(magnitude.amax(1))).argmax(0)
        x = columns.gather(0, pivot.expand(1, n, points))[0]
        top, row = x.abs().max(0)
        empty = top == 0
        x = x / torch.where(empty, 1.0, top)
        norm = x.square().sum(0).sqrt()
        sign = x.gather(0, row[None])[0]  # 1, -1, or 0 if nothing is left
        v = x.scatter_add(0, row[None], (sign * norm)[None])
        factor = torch.where(empty, 0.0, 1 / (norm * (norm + 1)))  # 2 / |v|^2
        reflectors.append((v, factor, row, -sign))
        columns = columns - v * ((v * columns).sum(1) * factor)[:, None]
        spread = noise.gather(0, pivot.expand(1, n, points)) / torch.where(empty, 1.0, top * norm).square()
        entries = -sign * columns.gather(1, row.expand(r, 1, points))[:, 0]
        scales[k] = torch.log(norm * top) + weights.gather(0, pivot[None])[0]
        logs = torch.log(entries.abs()) + weights - scales[k]
        coefficients[k] = torch.where(empty, 0.0, entries.sign() * torch.exp(logs))
        noise = noise + spread * entries.square()[:, None]
        noise = noise + v.square() * ((v.square() * noise).sum(1) * factor**2)[:, None]
        columns.scatter_(1, row.expand(r, 1, points), 0.0)
        columns.scatter_(0, pivot.expand(1, n, points), 0.0)
        columns = torch.where(columns.abs() <= noise.sqrt(), 0.0, columns)
        magnitude = columns.abs()
    q = columns.new_zeros(m, n, points)
    for k in reversed(range(m)):
        v, factor, row, sign = reflectors[k]
        q[k].scatter_(0, row[None], sign[None])
        q[k:] -= v * ((v * q[k:]).sum(1) * factor)[:, None]
    return q, coefficients, scales
