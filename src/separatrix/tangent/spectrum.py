"""Singular values and directions of many small Jacobians at once."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Wanted(NamedTuple):
    """How many leading singular vectors to compute, whether the left ones too, and how many values will do (0: all)."""

    vectors: int = 0
    left: bool = False
    values: int = 0


class Spectrum(NamedTuple):
    """Singular values of one Jacobian per point, and singular vectors where they were asked for.

    Attributes
    ----------
    log : Tensor, shape (points, r), float64
        Natural logarithms, largest first; r is the smaller side of the Jacobian. Exact zeros give -inf.
    right : Tensor or None, shape (points, vectors, inputs)
    left : Tensor or None, shape (points, vectors, outputs)
    """

    log: Tensor
    right: Tensor | None
    left: Tensor | None


def spectrum(
    columns: Float[Tensor, "n d points"], wanted: Wanted, scale_log: Tensor | None = None, scratch: Tensor | None = None
) -> Spectrum:
    """Spectrum of Jacobians given with the points in the last dimension.

    Parameters
    ----------
    columns : Tensor, shape (outputs, inputs, points)
        One Jacobian per point.
    wanted : Wanted
        Which singular vectors to return.
    scale_log : Tensor or None, shape (points,)
        Added to the logarithms: the Jacobians are ``exp(scale_log) * columns``.
    scratch : Tensor or None, shape (outputs, points)
        Memory that may be overwritten.

    Notes
    -----
    One or two columns (or rows) have closed forms, through an orthogonalisation of the two columns rather than their
    Gram matrix, which would square the condition number. Anything larger goes through LAPACK in float64. NaN stays NaN.
    """
    found = _by_size(columns, wanted, scratch)
    # squares over- and underflow long before the numbers themselves: these points are scaled first
    extreme = is_extreme(found.log[:, 0], columns.dtype)
    if min(columns.shape[:2]) <= 2 and bool(extreme.any()):
        found = _with_scaled(found, columns[..., extreme], extreme, wanted)
    return found if scale_log is None else found._replace(log=found.log + scale_log[:, None].double())


def _by_size(columns: Tensor, wanted: Wanted, scratch: Tensor | None = None) -> Spectrum:
    n, d, _ = columns.shape
    if min(n, d) > 2:
        return _general(columns, wanted)
    small = _one_column if min(n, d) == 1 else partial(_two_columns, scratch=scratch if d <= n else None)
    if d <= n:
        return small(columns, wanted)
    # the right vectors of the Jacobian are the left ones of its transpose
    turned = small(columns.transpose(0, 1), wanted._replace(left=wanted.vectors > 0))
    return Spectrum(turned.log, turned.left, turned.right)


def _with_scaled(found: Spectrum, columns: Tensor, where: Tensor, wanted: Wanted) -> Spectrum:
    size = columns.abs().amax((0, 1)).double()
    size = torch.where((size > 0) & torch.isfinite(size), size, torch.ones_like(size))
    again = _by_size(columns.double() / size, wanted)
    for held, new in zip(found, again._replace(log=again.log + size.log()[:, None]), strict=True):
        if held is not None and new is not None:
            held[where] = new.to(held.dtype)
    return found


def _one_column(columns: Tensor, wanted: Wanted) -> Spectrum:
    size = columns[:, 0].double().square().sum(0).sqrt()
    right = left = None
    if wanted.vectors:
        right = torch.ones(len(size), 1, 1, dtype=torch.float64, device=size.device)
    if wanted.left:
        left = (columns[:, 0] / size).T[:, None, :]
    return Spectrum(size.log()[:, None], right, left)


def _two_columns(columns: Tensor, wanted: Wanted, scratch: Tensor | None = None) -> Spectrum:
    found = from_triangles(triangle(columns, scratch), wanted.vectors)
    if not wanted.left or found.right is None:
        return found
    left = torch.einsum("pvd,ndp->pvn", found.right, columns.double())
    return found._replace(left=left / found.log.exp()[:, : found.right.shape[1], None])


def triangle(columns: Float[Tensor, "n 2 points"], scratch: Tensor | None = None) -> Float[Tensor, "3 points"]:
    """QR of two columns a and b: a.a, a.b / a.a, and the square of what is left of b when that share of a is taken off.

    The squares over- and underflow where a number exceeds the square root of its type's range.
    """
    a, b = columns[:, 0], columns[:, 1]
    found = columns.new_empty(3, columns.shape[2])
    torch.sum(torch.mul(a, a, out=scratch), 0, out=found[0])
    torch.sum(torch.mul(a, b, out=scratch), 0, out=found[1])
    found[1].div_(found[0].clamp_min(torch.finfo(found.dtype).tiny))
    rest = torch.addcmul(b, a, found[1], value=-1, out=scratch)
    torch.sum(rest.square_(), 0, out=found[2])
    return found


def from_triangles(parts: Tensor, vectors: int) -> Spectrum:
    """Closed form for the singular values and right directions of 2x2 triangles, shape (..., 3, points)."""
    parts = parts.double()
    r11, r22 = parts[..., 0, :].sqrt(), parts[..., 2, :].sqrt()
    r12 = parts[..., 1, :] * r11
    first = (torch.hypot(r11 + r22, r12) + torch.hypot(r11 - r22, r12)) / 2
    log1 = first.log()
    log2 = torch.where(first == 0, log1, (r11 * (r22 / first)).log())
    log = torch.stack([log1, log2], dim=-1)
    if not vectors:
        return Spectrum(log, None, None)
    angle = torch.atan2(2 * r11 * r12, (r11 - r22) * (r11 + r22) - r12 * r12) / 2
    c, s = angle.cos(), angle.sin()
    right = torch.stack([c, s], -1)[..., None, :]
    if vectors > 1:
        right = torch.cat([right, torch.stack([-s, c], -1)[..., None, :]], dim=-2)
    return Spectrum(log, right, None)


def is_extreme(log: Tensor, dtype: torch.dtype) -> Tensor:
    """Whether squares in this precision may have lost the number whose logarithm this is."""
    return ~(log.abs() < -(math.log(torch.finfo(dtype).tiny) / 2 + 8))


def _general(columns: Tensor, wanted: Wanted) -> Spectrum:
    jacobian = columns.permute(2, 0, 1).to(torch.float64, memory_format=torch.contiguous_format)
    finite = torch.isfinite(jacobian.flatten(1).sum(1))
    jacobian = torch.where(
        finite[:, None, None], jacobian, torch.zeros((), dtype=torch.float64, device=jacobian.device)
    )
    right = left = None
    if wanted.vectors:
        u, values, vh = torch.linalg.svd(jacobian, full_matrices=False)
        right, left = vh[:, : wanted.vectors], u.mT[:, : wanted.vectors]
    else:
        values = torch.linalg.svdvals(jacobian)
    log = torch.where(finite[:, None], values.log(), torch.nan)
    return Spectrum(log, right, left)
