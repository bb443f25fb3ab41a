"""Singular values and directions of many small Jacobians at once."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Wanted(NamedTuple):
    """How many leading singular vectors to compute, and whether the left ones too."""

    vectors: int = 0
    left: bool = False


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
    edge = math.log(torch.finfo(columns.dtype).tiny) / 2 + 8
    extreme = ~(found.log[:, 0].abs() < -edge)
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
    """Closed form: orthogonalise b against a (an exact QR), then the singular values of a 2x2 triangle."""
    a, b = columns[:, 0], columns[:, 1]
    aa = torch.mul(a, a, out=scratch).sum(0)
    share = torch.mul(a, b, out=scratch).sum(0) / aa
    share = torch.where(aa == 0, torch.zeros((), dtype=share.dtype, device=share.device), share)
    rest = torch.addcmul(b, a, share, value=-1, out=scratch)
    r11 = aa.double().sqrt()
    r12 = share.double() * r11
    r22 = rest.square_().sum(0).double().sqrt()
    first = (torch.hypot(r11 + r22, r12) + torch.hypot(r11 - r22, r12)) / 2
    log1 = first.log()
    log2 = torch.where(first == 0, log1, r11.log() + r22.log() - log1)
    log = torch.stack([log1, log2], dim=1)
    if not wanted.vectors:
        return Spectrum(log, None, None)
    angle = torch.atan2(2 * r11 * r12, (r11 - r22) * (r11 + r22) - r12 * r12) / 2
    c, s = angle.cos(), angle.sin()
    right = torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], dim=1)[:, : wanted.vectors]
    if not wanted.left:
        return Spectrum(log, right, None)
    left = torch.einsum("pvd,ndp->pvn", right, columns.double())
    return Spectrum(log, right, left / log.exp()[:, : right.shape[1], None])


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
