"""Singular values of long matrix products, each with its own precision, however far apart they lie."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.tangent.graded_qr import factorise
from separatrix.tangent.jacobi import orthogonal_rows

SKEW = math.log(1e4)
"""Rows are made orthogonal again when they span this many nats less than r random directions, which span e^(-r/2)."""

ROUNDING = 4.0
"""Rounding of an entry, in units of eps times the magnitude it was summed from."""


@dataclass(frozen=True)
class GradedProduct:
    """A product P = M_l ... M_1 at many points, carried factor by factor and never multiplied out.

    P = q diag(exp(log_scale)) rows, with orthonormal columns ``q`` and rows of length 1. The plain product loses
    every singular value below eps times the largest one and leaves the range of floats; the diagonal of a QR sweep
    is something else (up to nats away from the singular values). Here only differences of log scales are
    exponentiated, and each row keeps its relative precision.

    Each new factor A = M q is factored anew, A diag(exp(log_scale)) = q' diag(exp(s)) C, with the largest remaining
    part of the *product* first, so C is moderate and the new rows C rows are sums in which nothing large is added to
    something small that matters. Starting from q = identity is therefore safe: without it, M = [[0.1, 1], [0, 10]]
    would never change q, and its two rows would become parallel in floats within ten factors. What independence the
    rows lose all the same is bounded, at no cost, by the sum of ln |C_i rows| (the volume they span); a point where
    that passes a limit gets Jacobi sweeps. For Gaussian and orthogonal stacks the errors are those of rounding the
    factors themselves.

    Objects are not changed: every method returns a new one. Gradients are not recorded. A point with NaN or infinity
    gives NaN and disturbs no other point.

    Examples
    --------
    >>> state = GradedProduct.start(2)
    >>> for _ in range(500):
    ...     state = state.multiply(torch.diag(torch.tensor([0.1, 10.0], dtype=torch.float64)))
    >>> (state.singular() / math.log(10)).round(decimals=9)
    tensor([ 500., -500.], dtype=torch.float64)
    """

    _columns: Float[Tensor, "r n points"]
    _scales: Float[Tensor, "r points"]
    _units: Float[Tensor, "r d points"]
    _skew: Float[Tensor, " points"]
    _batch: torch.Size

    @classmethod
    def start(
        cls,
        d: int,
        batch: Iterable[int] = (),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> GradedProduct:
        """Start from the identity, d x d, at every point of a batch.

        ``dtype`` is that of :attr:`q`, for the product with the next factor; all else is float64. The rows take
        8 d^2 bytes a point: for a wide first factor use :meth:`from_matrix`.
        """
        batch = torch.Size(batch)
        eye = torch.eye(d, dtype=torch.float64, device=device)[..., None].expand(d, d, batch.numel())
        zeros = torch.zeros(d, batch.numel(), dtype=torch.float64, device=device)
        return cls(eye.to(dtype), zeros, eye, zeros.sum(0), batch)

    @classmethod
    def from_matrix(cls, matrix: Float[Tensor, "*batch n d"]) -> GradedProduct:
        """Start from a first factor. If it is wide, only min(n, d) rows of length d are ever held."""
        n, d = matrix.shape[-2:]
        if n >= d:
            return cls.start(d, matrix.shape[:-2], matrix.dtype, matrix.device).absorb(matrix)
        # M^T = V diag(exp(s)) C, so that M = C^T diag(exp(s)) V^T: a product that starts from the rows V^T.
        inner = _inside(matrix.mT)
        noise = ROUNDING * torch.finfo(matrix.dtype).eps * inner.abs()
        q, coefficients, scales = factorise(inner, torch.zeros_like(inner[:, 0]), noise)
        eye = torch.eye(n, dtype=matrix.dtype, device=matrix.device)[..., None].expand(n, n, scales.shape[-1])
        state = cls(eye, scales, q, torch.zeros_like(scales[0]), matrix.shape[:-2])
        return state.absorb(coefficients.permute(2, 1, 0).reshape(*matrix.shape[:-1], n).to(matrix.dtype))

    @property
    def q(self) -> Float[Tensor, "*batch n r"]:
        """Orthonormal columns in the space that the last factor maps to, 0 where the row is zero (a view)."""
        return self._outside(self._columns)

    @property
    def rows(self) -> Float[Tensor, "*batch r d"]:
        """Rows of length 1 in the space that the first factor acts on; a zero row is 0 (a view)."""
        return self._outside(self._units).mT

    @property
    def log_scale(self) -> Float[Tensor, "*batch r"]:
        """Natural logarithm of the size of each row; -inf for a zero row. These are not the singular values."""
        return self._scales.mT.reshape(*self._batch, len(self._scales))

    def multiply(self, matrix: Float[Tensor, "*points m n"]) -> GradedProduct:
        """Carry the product on by one factor, to M P.

        Parameters
        ----------
        matrix : (..., m, n) tensor
            The next factor; its leading dimensions broadcast with the batch.

        Raises
        ------
        ArgumentError
            If the shapes do not fit.

        Notes
        -----
        O(points (m n r + m r^2 + r^2 d)) operations.
        """
        n = self._columns.shape[1]
        if matrix.ndim < 2 or matrix.shape[-1] != n:
            raise ArgumentError("matrix", f"shape {tuple(matrix.shape)}", f"the last dimension must be {n}")
        dtype = torch.promote_types(matrix.dtype, self._columns.dtype)
        try:
            matrix, q = matrix.to(dtype), self.q.to(dtype)
            return self.absorb(torch.matmul(matrix, q), torch.matmul(matrix.abs(), q.abs()))
        except RuntimeError as error:
            if "broadcast" not in str(error) and "size of tensor" not in str(error):
                raise
            remedy = f"its leading dimensions must broadcast with the batch {tuple(self._batch)}"
            raise ArgumentError("matrix", f"shape {tuple(matrix.shape)}", remedy) from None

    @torch.no_grad()
    def absorb(
        self, mq: Float[Tensor, "*points m r"], magnitude: Float[Tensor, "*points m r"] | None = None
    ) -> GradedProduct:
        """Carry the product on to M P, for a caller who has already computed M q.

        Parameters
        ----------
        mq : (..., m, r) tensor
            M applied to each column of :attr:`q`, float64 or less. If m < r, r shrinks to m (a bottleneck).
        magnitude : (..., m, r) tensor, optional
            abs(M) @ abs(q), what the entries were summed from: their rounding is eps times that. It tells the zeros of
            a singular factor from noise; without it, entries are taken to be as precise as they are stored.

        Raises
        ------
        ArgumentError
            If the last dimension is not r.
        """
        r = len(self._scales)
        if mq.ndim < 2 or mq.shape[-1] != r:
            raise ArgumentError("mq", f"shape {tuple(mq.shape)}", f"give M @ state.q, whose last dimension is {r}")
        old = self._expand(mq.shape[:-2])
        eps = max(torch.finfo(mq.dtype).eps, torch.finfo(self._columns.dtype).eps)
        inner = _inside(mq)
        noise = ROUNDING * eps * (inner.abs() if magnitude is None else _inside(magnitude))
        columns, coefficients, scales = factorise(inner, old._scales, noise)
        units = coefficients[:, 0, None] * old._units[0]
        for j in range(1, r):
            units.addcmul_(coefficients[:, j, None], old._units[j])
        length = units.square().sum(1).sqrt()
        dead = (length == 0) | (scales == -math.inf)
        units = torch.where(dead[:, None], 0.0, units / torch.where(dead, 1.0, length)[:, None])
        growth = torch.log(torch.where(dead, 1.0, length))
        scales = torch.where(dead, -math.inf, scales + growth)
        if bool(dead.any()):
            columns = torch.where(dead[:, None], 0.0, columns)
        skew = old._skew + growth.sum(0)
        lost = (skew > SKEW + 0.5 * r).nonzero()[:, 0]
        if lost.numel():
            enough = 0.5 / max(1, len(scales) - 1)  # by Gershgorin, the condition of the rows is then below 2
            part = orthogonal_rows(scales[:, lost], units[..., lost], columns[..., lost], cosine=enough)
            scales[:, lost], units[..., lost], columns[..., lost] = part
            skew[lost] = 0.0
        return GradedProduct(columns.to(mq.dtype), scales, units, skew, mq.shape[:-2])

    @overload
    def singular(self, directions: Literal[False] = False) -> Tensor: ...

    @overload
    def singular(self, directions: Literal[True]) -> tuple[Tensor, Tensor, Tensor]: ...

    @torch.no_grad()
    def singular(self, directions: bool = False) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Natural logarithms of the singular values of P, and their directions.

        Parameters
        ----------
        directions : bool
            Whether to return the singular vectors as well.

        Returns
        -------
        values : (..., r) tensor, float64
            Largest first, -inf where a singular value is zero: by structure (a dead unit), or because what was left of
            a column in some single factor is rounding. Values that a bottleneck removed are not listed.
        right : (..., r, d) tensor, float64
            Row i is the right singular vector v_i; 0 where the value is -inf.
        left : (..., r, n) tensor, float64
            Row i is the left singular vector u_i, with the sign of P v_i = exp(value_i) u_i; 0 where that is -inf.

        Notes
        -----
        Two to six Jacobi sweeps, each O(points r^2 (d + n)); one exact rotation for r = 2.
        See :func:`~separatrix.tangent.jacobi.orthogonal_rows`.
        """
        columns = self._columns.to(torch.float64) if directions else self._units[:, :0]
        scales, units, columns = orthogonal_rows(self._scales, self._units, columns)
        values = scales.mT.reshape(*self._batch, len(scales))
        if not directions:
            return values
        columns = torch.where((scales == -math.inf)[:, None], 0.0, columns)
        return values, self._outside(units).mT, self._outside(columns).mT

    def _expand(self, batch: torch.Size) -> GradedProduct:
        if batch == self._batch:
            return self

        def wide(inner: Tensor) -> Tensor:
            lead = inner.shape[:-1]
            ones = (1,) * (len(batch) - len(self._batch))
            return inner.reshape(*lead, *ones, *self._batch).expand(*lead, *batch).reshape(*lead, batch.numel())

        fields = {name: wide(getattr(self, name)) for name in ("_columns", "_scales", "_units", "_skew")}
        return replace(self, **fields, _batch=batch)

    def _outside(self, inner: Tensor) -> Tensor:
        return inner.permute(2, 1, 0).reshape(*self._batch, inner.shape[1], inner.shape[0])


def _inside(matrix: Float[Tensor, "*batch n r"]) -> Float[Tensor, "r n points"]:
    """Columns first, points last; short columns are copied so that the points are contiguous."""
    inner = matrix.reshape(matrix.shape[:-2].numel(), *matrix.shape[-2:]).permute(2, 1, 0).to(torch.float64)
    return inner.contiguous() if inner.shape[1] < 16 else inner


def product_log_singular_values(
    factors: Iterable[Float[Tensor, ...]], k: int | None = None
) -> Float[Tensor, "*batch k"]:
    """Natural logarithms of the singular values of a product of many matrices.

    Parameters
    ----------
    factors : iterable of (..., n_{l+1}, n_l) tensors
        M_1 first, so that the product is M_L ... M_1; leading dimensions broadcast. May be a generator.
    k : int, optional
        How many of them, largest first; by default all min(n_{L+1}, n_1).

    Returns
    -------
    (..., k) tensor, float64
        -inf for singular values that are zero, those beyond a bottleneck among them.

    Raises
    ------
    ArgumentError
        If there are no factors, their shapes do not chain, or ``k`` is out of range.

    Notes
    -----
    See :class:`GradedProduct`. A factor costs O(points (n^3 + r^2 d)), the end a few Jacobi sweeps.
    """
    state = None
    for matrix in factors:
        state = GradedProduct.from_matrix(matrix) if state is None else state.multiply(matrix)
    if state is None:
        raise ArgumentError("factors", "none", "give at least one matrix")
    full = min(state.q.shape[-2], state.rows.shape[-1])
    if k is not None and not 1 <= k <= full:
        raise ArgumentError("k", repr(k), f"the product has {full} singular values: give 1 to {full}")
    values = state.singular()[..., : k or full]
    missing = values.new_full((*values.shape[:-1], (k or full) - values.shape[-1]), -math.inf)
    return torch.cat([values, missing], -1)
