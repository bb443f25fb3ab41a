"""V(e) = e'Pe over boxes, and along a map: bounds that hold in spite of rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.attraction.cell_walk import Cells
from separatrix.certificates.verified import UNIT, UP, Matrices, positive_definite, product, spectral_norm

Columns = Float[Tensor, "n B"]

_SWEEPS = 4
_SLACK = 2.0**-42
"""Share of the sum of the sizes of all terms that a form of n components may be off by, over n + 4."""


@dataclass(frozen=True)
class Metric:
    """A symmetric positive definite P, the norm |x|_P = sqrt(x'Px), and V = |x|_P^2.

    Attributes
    ----------
    P : Tensor (n, n), float64
    L, T : Tensor (n, n)
        Nearly P = LL' and T'PT = I.
    off : float
        Bound of the 2-norm of P - LL'.
    share : float
        T'PT >= share I, which is positive.
    """

    P: Tensor
    L: Tensor
    T: Tensor
    off: float
    share: float

    @property
    def slack(self) -> float:
        """Relative allowance for rounding."""
        return _SLACK * (len(self.P) + 4)

    def of(self, e: Columns) -> Float[Tensor, " B"]:
        """V of vectors, in floating point."""
        return (e * (self.P @ e)).sum(0)

    def above(self, e: Columns) -> Float[Tensor, " B"]:
        """V of all vectors whose components are at most e >= 0 in size, from above."""
        return (e * (self.P.abs() @ e)).sum(0) * UP

    def norm(self, A: Matrices, radius: Matrices) -> Float[Tensor, "*batch"]:
        """Bounds of |Ax|_P / |x|_P over all matrices within A +- radius.

        With x = Ty: |Ax|_P^2 <= |L'ATy|^2 + off |ATy|^2, and |x|_P^2 >= share |y|^2.
        """
        H, h = product(A, radius, self.T, None)
        K, k = product(self.L.T, None, H, h)
        most = spectral_norm(K, k) ** 2 + self.off * (H.abs() + h).square().sum((-1, -2))
        return (most / self.share).sqrt() * UP

    def reach(self, level: float) -> Float[Tensor, " n"]:
        """Half widths of a box that holds V <= level: e = Ty with |y|^2 <= level / share."""
        rows = self.T.norm(dim=1) * (1 + 4 * UNIT * (len(self.T) + 4))
        return rows * ((level / self.share) ** 0.5 * UP)

    def most(self, lo: Columns, hi: Columns) -> Float[Tensor, " B"]:
        """Upper bounds of V over boxes: the largest of the corners' values."""
        corners = _corners(lo, hi)
        value = (corners * torch.einsum("ij,sjb->sib", self.P, corners)).sum(1).amax(0)
        return value + self.slack * self.above(torch.maximum(lo.abs(), hi.abs()))

    def least(self, lo: Columns, hi: Columns) -> Float[Tensor, " B"]:
        """Lower bounds of V over boxes: V is above its tangent at any point, here close to where it is least."""
        w = torch.zeros_like(lo).clamp(lo, hi)
        for _ in range(_SWEEPS):
            for i in range(len(w)):
                rest = self.P[i] @ w - self.P[i, i] * w[i]
                w[i] = (-rest / self.P[i, i]).clamp(lo[i], hi[i])
        g = self.P @ w
        value = self.of(w) + 2 * torch.minimum(g * (lo - w), g * (hi - w)).sum(0)
        return value - 4 * self.slack * self.above(torch.maximum(lo.abs(), hi.abs()))

    def after(self, cells: Cells, centre: Float[Tensor, " n"]) -> Float[Tensor, " B"]:
        """Upper bounds of V(y - centre) over the images y of cells."""
        v = cells.value - centre[:, None]
        corners = v + torch.einsum("ijb,sjb->sib", cells.slope, _corners(-cells.r, cells.r))
        linear = (corners * torch.einsum("ij,sjb->sib", self.P, corners)).sum(1).amax(0).clamp(min=0)
        size = self.above(v.abs() + torch.einsum("ijb,jb->ib", cells.slope.abs(), cells.r))
        rest = self.above(_rest(cells))
        centred = ((linear + self.slack * size).sqrt() + rest.sqrt()) ** 2 * UP
        plain = self.most(cells.lo - centre[:, None], cells.hi - centre[:, None])
        # NaN in one leaves the other, which holds alone
        return torch.fmin(centred, plain)

    def rise(self, cells: Cells, centre: Float[Tensor, " n"], enough: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Upper bounds of V(f(x) - centre) - V(x - centre) over cells that were carried one step.

        Bounds below ``enough`` are not sharpened.

        With f(x) - centre = v + S d + h and x - centre = e + d, where |h| is bounded, the difference without h is
        a + 2 b'd + d'Md with M = S'PS - P. It is bounded by the sizes of its terms; or, sharply where M is negative
        definite, by its tangent at a point w close to the largest value, and (d - w)'M(d - w) <= t V(d - w) with
        t = max(|S|_P^2 - 1, 0).
        """
        P, S, r = self.P, cells.slope, cells.r
        e, v, h = cells.c - centre[:, None], cells.value - centre[:, None], _rest(cells)
        PS = torch.einsum("ij,jkb->ikb", P, S)
        a = self.of(v) - self.of(e)
        b = torch.einsum("jib,jb->ib", S, P @ v) - P @ e
        M = torch.einsum("jib,jkb->ikb", S, PS) - P[:, :, None]
        far = v.abs() + torch.einsum("ijb,jb->ib", S.abs(), r)
        extra = 2 * (h * ((P @ v).abs() + torch.einsum("ijb,jb->ib", PS.abs(), r))).sum(0) + self.above(h)
        extra = (extra + 16 * self.slack * (self.above(far + h) + self.above(e.abs() + r))) * UP
        size = M.abs()
        diagonal = M.diagonal().T
        size.diagonal().T.copy_(diagonal.clamp(min=0))
        curved = (r * torch.einsum("ijb,jb->ib", size, r)).sum(0)
        rough = a + 2 * (b.abs() * r).sum(0) + curved + extra
        hard = ~(rough <= enough)
        if bool(hard.any()):
            sharp = self._tangent(*(part[..., hard] for part in (a, b, M, r, S))) + extra[hard]
            rough[hard] = torch.fmin(rough[hard], sharp)
        return rough

    def _tangent(self, a: Tensor, b: Columns, M: Tensor, r: Columns, S: Tensor) -> Float[Tensor, " B"]:
        w = torch.zeros_like(r)
        for _ in range(_SWEEPS):
            for i in range(len(w)):
                own = M[i, i]
                slope = b[i] + (M[i] * w).sum(0) - own * w[i]
                top = torch.where(own < 0, -slope / own, torch.sign(slope) * torch.inf).nan_to_num(0.0)
                w[i] = torch.maximum(torch.minimum(top, r[i]), -r[i])
        Mw = torch.einsum("ijb,jb->ib", M, w)
        g = b + Mw
        value = a + ((2 * b + Mw) * w).sum(0) + 2 * (g.abs() * r - g * w).sum(0)
        A = S.permute(2, 0, 1)
        steep = (self.norm(A, torch.zeros_like(A)) ** 2 - 1).clamp(min=0) * UP
        return value + torch.where(steep <= 0, 0.0, steep * self.most(-r - w, r - w))


def metric(P: Float[Tensor, "n n"]) -> Metric | None:
    """Look at a matrix; None if it is not shown to be symmetric and positive definite."""
    P = P.double()
    if not bool(torch.isfinite(P).all()) or not bool((P == P.T).all()):
        return None
    L, failed = torch.linalg.cholesky_ex(P)
    if bool(failed) or not bool(positive_definite(P)):
        return None
    T = torch.linalg.solve_triangular(L.T, torch.eye(len(P), dtype=P.dtype), upper=True)
    back, spread = product(L, None, L.T, None)
    off = float(((P - back).abs() + spread + UNIT * P.abs()).sum(-1).max()) * UP
    PT, error = product(P, None, T, None)
    B, around = product(T.T, None, PT, error)
    eye = torch.eye(len(P), dtype=P.dtype)
    share = 1 - float(((B - eye).abs() + around + UNIT * eye).sum(-1).max()) * UP
    return Metric(P, L, T, off, share * (1 - 2.0**-50)) if share > 0 else None


def _rest(cells: Cells) -> Columns:
    """Bounds of what the linear part of an image leaves out."""
    return (torch.einsum("ijb,jb->ib", cells.slope_radius, cells.r) + cells.error) * UP


def _corners(lo: Columns, hi: Columns) -> Float[Tensor, "corners n B"]:
    n = len(lo)
    upper = (torch.arange(2**n)[:, None] >> torch.arange(n)) % 2 == 1
    return torch.where(upper[:, :, None], hi, lo)
