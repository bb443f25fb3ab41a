"""One-sided Jacobi on graded rows: every row carries its size as a logarithm, and keeps its own precision.

Tensors here are (r, n, points), the points last: r rows of length n at each point. Every operation is elementwise in
the points, so a million small problems cost a few hundred tensor operations.
"""

from __future__ import annotations

import math
import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.results.errors import SeparatrixWarning

SWEEPS = 30
"""Cap on Jacobi sweeps; convergence is quadratic, and graded rows up to 20 need two to six."""

Rows = tuple[Float[Tensor, "r points"], Float[Tensor, "r d points"], Float[Tensor, "r n points"]]
"""Log scales, unit rows, and the columns that are turned with them."""


def orthogonal_rows(
    scales: Float[Tensor, "r points"],
    units: Float[Tensor, "r d points"],
    columns: Float[Tensor, "r n points"],
    cosine: float | None = None,
) -> Rows:
    """Rotate rows exp(scale_i) unit_i among themselves until they are orthogonal.

    One-sided Jacobi with the angle computed from the difference of two log scales, so that rows of any sizes
    can stand beside each other: the error of a log scale is about eps times the condition of the *unit* rows,
    whatever the scales are (Demmel and Veselic, SIAM J. Matrix Anal. Appl. 13, 1204 (1992)).

    Parameters
    ----------
    scales : (r, points) tensor, float64
        Natural logarithms of the row lengths; -inf for a zero row.
    units : (r, d, points) tensor, float64
        Rows of length 1, or 0 where the scale is -inf.
    columns : (r, n, points) tensor, float64
        Turned by the same rotations, so that the sum over i of columns_i exp(scale_i) unit_i stays what it was.
        Give n = 0 where they are not wanted.
    cosine : float, optional
        Stop when no two rows of a point have a larger cosine; by default rounding, 4 eps sqrt(d).

    Returns
    -------
    scales, units, columns : tensors
        New tensors, sorted by falling scale. A point with NaN stays NaN.

    Warns
    -----
    SeparatrixWarning
        If rows are still not orthogonal after 30 sweeps.

    Notes
    -----
    A sweep takes 2r - 3 vectorised rotations (one for r = 2, which is then exact), O(points r^2 (d + n)) operations.
    Points that are done drop out.
    """
    if cosine is None:
        cosine = 4 * torch.finfo(units.dtype).eps * math.sqrt(units.shape[1])
    scales, units, columns = _by_scale(scales, units, columns)
    active = _oblique(units, cosine)
    for _ in range(SWEEPS):
        if active.numel() == 0:
            return scales, units, columns
        if active.numel() == scales.shape[-1]:
            scales, units, columns = part = _by_scale(*_sweep(scales, units, columns))
        else:
            part = _by_scale(*_sweep(scales[:, active], units[..., active], columns[..., active]))
            scales[:, active], units[..., active], columns[..., active] = part
        active = active[_oblique(part[1], cosine)]
    if active.numel():
        text = f"{active.numel()} points have rows with a cosine above {cosine:.1e} after {SWEEPS} Jacobi sweeps"
        warnings.warn(text, SeparatrixWarning, stacklevel=2)
    return scales, units, columns


def _by_scale(scales: Tensor, units: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sort rows by falling scale, into new tensors."""
    order = scales.argsort(dim=0, descending=True, stable=True)
    return (
        scales.gather(0, order),
        units.gather(0, order[:, None].expand_as(units)),
        columns.gather(0, order[:, None].expand_as(columns)),
    )


def _oblique(units: Float[Tensor, "r d points"], cosine: float) -> Int[Tensor, " active"]:
    """Find the points where two rows have a larger cosine."""
    found = torch.zeros(units.shape[-1], dtype=torch.bool, device=units.device)
    for i in range(units.shape[0] - 1):
        found |= ((units[i] * units[i + 1 :]).sum(1).abs() > cosine).any(0)
    return found.nonzero()[:, 0]


def _sweep(scales: Tensor, units: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One row-cyclic sweep, in place. Pairs with the same i + j are disjoint and are turned together.

    Grouped by i + j, every pair still comes after the pairs that precede it in row-cyclic order. On strongly graded
    rows that order is Gram-Schmidt from the largest row down, and one sweep ends it.
    """
    r = len(scales)
    for total in range(1, 2 * r - 2):
        first, stop = max(0, total - r + 1), (total + 1) // 2
        _rotate(scales, units, columns, slice(first, stop), slice(total - stop + 1, total - first + 1))
    return scales, units, columns


def _rotate(scales: Tensor, units: Tensor, columns: Tensor, ahead: slice, behind: slice) -> None:
    """Make rows ``ahead`` orthogonal to rows ``behind`` (read backwards), in place, by the smaller of the two angles.

    For rows a t_i and b t_j with a >= b, q = b / a and rho = t_i . t_j, the rotation row_i' = c (row_i + t row_j),
    row_j' = c (row_j - t row_i) makes them orthogonal if (1 - t^2) rho q = t (1 - q^2). With t = tau q,

        tau = 2 rho / ((1 - q^2) + sqrt((1 - q^2)^2 + 4 rho^2 q^2)),    |tau| <= 1,
        row_i' = c a (t_i + tau q^2 t_j),    row_j' = c b (t_j - tau t_i),    c = 1 / sqrt(1 + t^2):

    nothing is divided by a small number, and q may underflow to 0 (then it is a Gram-Schmidt step).
    """
    t_i, t_j = units[ahead], units[behind].flip(0)
    d_i, d_j = scales[ahead], scales[behind].flip(0)
    gap = torch.where(d_i == d_j, 0.0, d_i - d_j)  # also for -inf beside -inf
    straight = gap >= 0  # row i is the larger of the two; otherwise their roles are exchanged
    rho = (t_i * t_j).sum(1)
    decay = -2 * gap.abs()
    q2, spread = torch.exp(decay), -torch.expm1(decay)  # q^2, and 1 - q^2 without cancellation
    below = spread + torch.sqrt(spread**2 + 4 * rho**2 * q2)
    tau = 2 * rho / torch.where(below == 0, 1.0, below)
    small = tau * q2
    tan = torch.where(straight, tau, -tau) * torch.sqrt(q2)
    new_i = torch.addcmul(t_i, torch.where(straight, small, -tau)[:, None], t_j)
    new_j = torch.addcmul(t_j, torch.where(straight, -tau, small)[:, None], t_i)
    shrink = -0.5 * torch.log1p(tan**2)
    size_i, size_j = new_i.square().sum(1).sqrt(), new_j.square().sum(1).sqrt()
    scales[ahead] = d_i + (torch.log(size_i) + shrink)
    scales[behind] = (d_j + (torch.log(size_j) + shrink)).flip(0)
    units[ahead] = new_i / torch.where(size_i == 0, 1.0, size_i)[:, None]
    units[behind] = (new_j / torch.where(size_j == 0, 1.0, size_j)[:, None]).flip(0)
    if columns.shape[1]:
        cos, tan = torch.exp(shrink)[:, None], tan[:, None]
        c_i, c_j = columns[ahead], columns[behind].flip(0)
        columns[ahead], columns[behind] = cos * (c_i + tan * c_j), (cos * (c_j - tan * c_i)).flip(0)
