"""Positive definiteness, products and norms of matrices that hold in spite of rounding.

Intervals are midpoint and radius. A sum of k products, in any order, is off by less than k + 1 units of the sum of its
terms' sizes; every bound here is a little larger than that, which covers the rounding of its own computation.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context

import torch
from jaxtyping import Bool, Float
from torch import Tensor

UNIT = 2.0**-53
UP = 1 + 2.0**-30
"""Factor on radii: covers the rounding of their own computation, which is less by far."""
TINY = 1e-300
"""Covers what underflows."""

Matrices = Float[Tensor, "*batch rows columns"]
Left = Float[Tensor, "*#batch rows inner"]
Right = Float[Tensor, "*#batch inner columns"]


def product(A: Left, a: Left | None, B: Right, b: Right | None) -> tuple[Tensor, Tensor]:
    """Interval product of A +- a and B +- b as midpoint and radius; None is a radius of zero."""
    middle = A @ B
    gamma = 2 * (A.shape[-1] + 2) * UNIT
    radius = gamma * (A.abs() @ B.abs())
    if a is not None:
        radius = radius + a @ (B.abs() if b is None else B.abs() + b)
    if b is not None:
        radius = radius + A.abs() @ b
    return middle, radius * UP + TINY


def positive_definite(S: Matrices, radius: Matrices | None = None) -> Bool[Tensor, "*batch"]:
    """Whether every symmetric matrix within S +- radius is positive definite for certain; False decides nothing.

    Both are scaled by powers of two to a diagonal near 1. Then S - c I has a Cholesky factor in floating point with c
    the norm of the radius and what rounding may do (S. M. Rump, BIT 46, 433 (2006), theorem 2.3).
    """
    n = S.shape[-1]
    S = (S + S.mT) / 2
    diagonal = S.diagonal(dim1=-2, dim2=-1)
    good = (torch.isfinite(S).all(-1).all(-1)) & (diagonal > 0).all(-1)
    S = torch.where(good[..., None, None], S, torch.eye(n, dtype=S.dtype))
    scale = torch.exp2(-torch.round(torch.log2(S.diagonal(dim1=-2, dim2=-1).clamp(min=TINY)) / 2))
    both = scale[..., :, None] * scale[..., None, :]
    S = S * both
    # forming the mean of S and its transpose rounds once
    spread = 2 * UNIT * S.abs()
    if radius is not None:
        spread = spread + torch.maximum(radius, radius.mT) * both
    size = spread.sum(-1).amax(-1) * UP
    trace = S.diagonal(dim1=-2, dim2=-1).sum(-1)
    gamma = 2 * (n + 2) * UNIT
    shift = size + 2 * gamma * trace + 1e-280
    shifted = S - shift[..., None, None] * torch.eye(n, dtype=S.dtype)
    info = torch.linalg.cholesky_ex(shifted)[1]
    return good & torch.isfinite(shift) & (info == 0)


def spectral_norm(A: Matrices, radius: Matrices | None = None) -> Float[Tensor, "*batch"]:
    """Upper bounds of the 2-norms of all matrices within A +- radius.

    The computed norm r, a little raised, where r^2 I - A'A is shown to be positive definite; else, and never more than,
    the root of the product of 1-norm and infinity-norm.
    """
    crude = _root_of_sums(A.abs() if radius is None else A.abs() + radius)
    if A.shape[-1] > A.shape[-2]:
        A, radius = A.mT, None if radius is None else radius.mT
    gram, error = product(A.mT, None, A, None)
    square = torch.linalg.eigvalsh(gram.nan_to_num())[..., -1].clamp(min=0) * (1 + 2.0**-36) + 1e-200
    shifted = square[..., None, None] * torch.eye(A.shape[-1], dtype=A.dtype) - gram
    fine = torch.where(positive_definite(shifted, error + UNIT * shifted.abs()), square.sqrt() * UP, torch.inf)
    if radius is not None:
        fine = fine + _root_of_sums(radius)
    # fmin: NaN in one leaves the other; NaN in the matrix stays NaN in the crude bound
    return torch.where(crude.isnan(), crude, torch.fmin(crude, fine + TINY))


def _root_of_sums(size: Matrices) -> Float[Tensor, "*batch"]:
    # roots before the product, which may underflow where the norm does not
    return size.sum(-1).amax(-1).sqrt() * size.sum(-2).amax(-1).sqrt() * UP + TINY


def at_most(value: float) -> str:
    """A number of at least 0 in words, with six digits or more: never less than it, and below 1 if it is."""
    for digits in range(6, 18):
        text = f"{value:.{digits}g}"
        if float(text) < value:
            up = Context(prec=digits, rounding=ROUND_CEILING).create_decimal_from_float(value)
            text = f"{float(up):.{digits}g}"
        if float(text) >= value and (value >= 1 or float(text) < 1):
            return text
    return repr(value)
