"""Cones of directions in which a positively homogeneous map keeps orbits, or some of them, while they grow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.refutation.rays import LONGEST, directions, homogeneous, returning
from separatrix.certificates.verified import UP, product, spectral_norm
from separatrix.local.basin_cycles import power
from separatrix.local.interval_forms import Enclosed
from separatrix.systems.lure import Lure
from separatrix.tangent.columns import LureColumns

_UNIT = 2.0**-52
_STRICT = 1e-9
"""What has to hold strictly does so by this much."""
_WIDTHS = (0.3, 0.1, 0.01, 1e-3, 1e-4, 1e-6, 1e-8)


def cone(network: Lure, data: dict[str, Any]) -> float:
    """Least growth, less 1, in a cone of directions in which orbits stay while they grow; 0 where nothing is shown.

    Takes ``basis`` X (n, n), its ``inverse`` Y, sizes 1 or 2 of ``blocks`` of components, of which the first has size
    1, how many of those that follow are ``leaving``, ``width`` and ``period`` k, of a homogeneous network. The cone is
    that of y = Y x with norm(y_b) <= width y_1 for every other block b. f^k(x) = S x with a matrix S among the slopes
    over a zone that holds all x of the cone with y_1 = 1. There y -> Y S x must enlarge y_1, bring the blocks that do
    not leave closer to 0 in proportion to y_1, and drive those that leave apart: then the cone covers itself, and some
    orbit stays in it for ever, any one that starts there if nothing leaves (P. Zgliczynski and M. Gidea, J. Differ.
    Equ. 202, 32 (2004)). All of this holds by a margin, so that there are such orbits far away of all maps that differ
    from this one by something bounded.

    Notes
    -----
    The matrix of a complex pair on the real and imaginary part of an eigenvector turns and stretches, by the modulus.
    """
    X, Y, width, period = data["basis"], data["inverse"], float(data["width"]), int(data["period"])
    sizes, leaving, n = [int(k) for k in data["blocks"].tolist()], int(data["leaving"]), len(X)
    if not homogeneous(network) or not 1 <= period <= LONGEST or not 0 < width <= 1:
        return 0.0
    if sum(sizes) != n or sizes[0] != 1 or not {*sizes} <= {1, 2} or not 0 <= leaving < len(sizes):
        return 0.0
    off = _beside(Y, X)
    if not off < 0.25:
        return 0.0
    # x = Y^-1 y differs from X y by no more than this, for abs(y) <= 1
    wrong = X.abs().sum(1) * (2 * off) * UP
    r = (width * X[:, 1:].abs().sum(1) + wrong) * UP + 1e-300
    found = Enclosed(network, period)(X[:, :1].contiguous(), r[:, None], "slopes")
    left = product(Y, None, found.slope[..., 0], found.slope_radius[..., 0])
    M, m = product(*left, X, None)
    belongs = torch.eye(len(sizes), dtype=X.dtype).repeat_interleave(torch.tensor(sizes), 0)
    # norms of blocks, by Frobenius
    between = (belongs.T @ (M.abs() + m).square() @ belongs).sqrt() * UP
    slack = (((left[0].abs() + left[1]) @ wrong).square() @ belongs).sqrt() * UP
    others = between.clone()
    others.fill_diagonal_(0.0)
    # what all blocks but the first and its own add to each
    aside = (width * others[:, 1:].sum(1) + slack) * UP
    growth = float(M[0, 0] - m[0, 0]) - float(aside[0]) * UP - 1e-15 * float(between[0, 0])
    most = float(between[0, 0] + aside[0]) * UP
    own, own_radius = (_diagonal_blocks(part, sizes) for part in (M, m))
    kept = (width * spectral_norm(own, own_radius) + between[:, 0] + aside)[1 + leaving :] * UP
    if not growth > 1 or not bool((kept <= width * growth * (1 - _STRICT)).all()):
        return 0.0
    for b in range(1, 1 + leaving):
        away = width * (_least_stretch(own[b, : sizes[b], : sizes[b]]) - float(own_radius[b].sum()))
        if not away - float(between[b, 0] + aside[b]) * UP >= width * most * (1 + _STRICT):
            return 0.0
    return growth - 1


def search(network: Lure, longest: int, generator: torch.Generator) -> dict[str, Any] | None:
    """Find a cone around a ray that grows, at first around those that grow fastest."""
    system = LureColumns(network, torch.finfo(torch.float64).eps)
    x = directions(system, network.inputs, generator)
    for k in range(1, longest + 1):
        growth, v = returning(system, x, k)
        for pick in growth.argsort(descending=True)[:3].tolist():
            data = _split(power(system, v[:, pick : pick + 1], k)[1][..., 0], v[:, pick], float(growth[pick]))
            for width in _WIDTHS if data is not None else ():
                found = (data or {}) | {"width": width, "period": k}
                if cone(network, found) > 0:
                    return found
    return None


def _split(M: Tensor, v: Tensor, s: float) -> dict[str, Any] | None:
    """A basis of a ray v, of the eigenvectors that leave it and of those that come to it."""
    values, vectors = torch.linalg.eig(M)
    own = int((vectors.mH @ v.to(vectors)).abs().argmax())
    leave: list[Tensor] = []
    come: list[Tensor] = []
    for j, value in enumerate(values.tolist()):
        if j == own or value.imag < 0:
            continue
        pair = torch.view_as_real(vectors[:, j])
        (leave if abs(value) > s else come).append(pair if value.imag else pair[:, :1])
    blocks = [(v / v.norm())[:, None], *leave, *come]
    X = torch.cat(blocks, 1)
    if X.shape[1] != len(v):
        return None
    Y, info = torch.linalg.inv_ex(X)
    sizes = torch.tensor([block.shape[1] for block in blocks])
    return None if bool(info) else {"basis": X, "inverse": Y, "blocks": sizes, "leaving": len(leave)}


def _beside(B: Tensor, A: Tensor) -> float:
    """Upper bound of the largest row sum of I - B A."""
    F, f = product(B, None, A, None)
    off = (F - torch.eye(len(A), dtype=A.dtype)).abs()
    return float((off + f + _UNIT * off).sum(1).max()) * UP


def _diagonal_blocks(M: Tensor, sizes: list[int]) -> Tensor:
    """Blocks on the diagonal (K, 2, 2), those of size 1 with zeros around."""
    found = M.new_zeros(len(sizes), 2, 2)
    start = 0
    for k, size in enumerate(sizes):
        found[k, :size, :size] = M[start : start + size, start : start + size]
        start += size
    return found


def _least_stretch(A: Tensor) -> float:
    """Lower bound of norm(A u) over all u of norm 1; 0 where none is shown."""
    B, info = torch.linalg.inv_ex(A)
    # of two rows at most
    off = 1.5 * _beside(B, A)
    if bool(info) or not off < 0.5:
        return 0.0
    return (1 - off) / float(spectral_norm(B)) * (1 - 2.0**-40)
