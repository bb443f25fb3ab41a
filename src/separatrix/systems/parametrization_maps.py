"""The maps behind :mod:`separatrix.systems.parametrizations`: free parameters to a weight, and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MARGIN = 0.01
"""Share of a range kept free at its ends when a weight is brought into it: a sigmoid's gradient vanishes there."""


def into(fraction: Tensor) -> Tensor:
    """Logit of a fraction of a range, kept off its ends."""
    return torch.logit(fraction.clamp(MARGIN, 1 - MARGIN))


class Spectral(nn.Module):
    """A = U diag(sign s) V', with U and V products of Householder reflections and s = lo + (hi - lo) sigmoid(p).

    A reflection is I - 2 v v' / v'v with v = (0, .., 0, 1, free): its norm is at least 1, so none of them is undefined.
    """

    sign: Tensor

    def __init__(self, weight: Tensor, lo: float, hi: float) -> None:
        super().__init__()
        self.lo, self.hi = lo, hi
        # reflections alone give both factors a determinant of fixed sign
        self.register_buffer("sign", weight.new_ones(min(weight.shape)))

    def forward(self, left: Tensor, right: Tensor, p: Tensor) -> Tensor:
        """The weight (out, in) of p (k,) and reflections (out, k), (in, k), whose entries below the diagonal count."""
        s = self.lo + (self.hi - self.lo) * torch.sigmoid(p)
        return (reflections(left) * (self.sign * s)) @ reflections(right).mT

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reflections of the weight's own singular vectors, and its singular values where they lie in the range."""
        U, s, Vh = torch.linalg.svd(weight, full_matrices=False)
        left, right = below(U), below(Vh.mT)
        signs = [torch.einsum("ij,ij->j", reflections(a), Q).sign() for a, Q in ((left, U), (right, Vh.mT))]
        self.sign.copy_(signs[0] * signs[1])
        width = self.hi - self.lo
        return left, right, into((s - self.lo) / width if width else torch.full_like(s, 0.5))


def reflections(free: Tensor) -> Tensor:
    """Orthonormal columns (n, k) from the entries of (n, k) below its diagonal."""
    v = free.tril(-1)
    return torch.linalg.householder_product(v, 2 / (1 + (v * v).sum(0)))


def below(Q: Tensor) -> Tensor:
    """Entries below the diagonal whose :func:`reflections` are Q (n, k), up to the sign of each column."""
    return torch.geqrf(Q)[0].tril(-1)


class PerronFrobenius(nn.Module):
    """Column j of A is s_j softmax(logits_j), with s = lo + (hi - lo) sigmoid(p)."""

    def __init__(self, lo: float, hi: float) -> None:
        super().__init__()
        self.lo, self.hi = lo, hi

    def forward(self, logits: Tensor, p: Tensor) -> Tensor:
        """The weight (out, in) of logits (out, in) and p (in,)."""
        return (self.lo + (self.hi - self.lo) * torch.sigmoid(p)) * torch.softmax(logits, 0)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitudes of the weight, its column sums brought into the range."""
        size = weight.abs()
        total = size.sum(0)
        share = (size / torch.where(total > 0, total, 1)).clamp(min=MARGIN / len(weight))
        width = self.hi - self.lo
        return share.log(), into((total - self.lo) / width if width else torch.full_like(total, 0.5))


class Gershgorin(nn.Module):
    """Diagonal mean + (r/2) tanh(d), with r = (hi - lo) / 2, and off-diagonal part (r/2) Q / max(1, |Q|_1, |Q|_inf).

    The diagonal of the one parameter matrix holds d, the rest of it Q, of which the symmetric part is taken unless the
    spectrum may be complex.
    """

    def __init__(self, lo: float, hi: float, complex: bool) -> None:
        super().__init__()
        self.mean, self.reach, self.complex = (lo + hi) / 2, (hi - lo) / 4, complex

    def forward(self, free: Tensor) -> Tensor:
        """The weight (n, n) of the parameter matrix (n, n)."""
        Q = free - torch.diag(free.diagonal())
        if not self.complex:
            Q = (Q + Q.mT) / 2
        size = Q.abs()
        most = torch.maximum(size.sum(0).amax(), size.sum(1).amax()).clamp(min=1)
        return torch.diag(self.mean + self.reach * torch.tanh(free.diagonal())) + self.reach / most * Q

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight's own entries, in units of r/2, the diagonal brought into the range."""
        if not self.reach:
            return weight.clone()
        offset = ((weight.diagonal() - self.mean) / self.reach).clamp(2 * MARGIN - 1, 1 - 2 * MARGIN)
        Q = weight / self.reach
        return Q - torch.diag(Q.diagonal()) + torch.diag(torch.atanh(offset))
