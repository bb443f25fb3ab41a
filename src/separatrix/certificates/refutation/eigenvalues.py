"""Proved bounds of the spectral radius, for every matrix in an interval matrix."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.verified import TINY, UP, product

Square = Float[Tensor, "n n"]

_DOWN = 1 - 2.0**-44
_POWERS = 12
"""Powers whose traces are looked at one by one; after them come squares of the last."""
_SQUARES = 3


def spectral_radius_above(middle: Square, radius: Square, one: float = 1.0) -> float | None:
    """Lower bound of the spectral radius of every matrix within ``middle`` +- ``radius``.

    Parameters
    ----------
    middle, radius : Tensor (n, n), float64
    one : float
        What the bound is to exceed.

    Returns
    -------
    float or None
        None where no bound above ``one`` could be shown, which says nothing of the matrices.

    Notes
    -----
    The better one of two bounds. By discs: for Y close to the inverse of approximate eigenvectors X, eigenvalues of A
    are those of the pencil Y A X - lambda Y X, which is nearly diagonal; discs around its diagonal hold them all, and
    each group of overlapping discs as many as it has members (S. Gershgorin, Izv. Akad. Nauk SSSR 7, 749 (1931); G. W.
    Stewart, Linear Algebra Appl. 13, 37 (1975), for pencils). By traces: abs(trace A^k) <= n rho^k for every k, which
    needs no eigenvectors, and serves where they coincide. Cost: some 40 products of matrices of twice the size.
    """
    if not (bool(torch.isfinite(middle).all()) and bool(torch.isfinite(radius).all())) or bool((radius < 0).any()):
        return None
    best = _from_traces(middle, radius)
    discs = _discs(middle, radius)
    if discs is not None:
        best = max(best, _furthest_group(*discs))
    return best if best > one else None


def spectral_radius_below(middle: Square, radius: Square) -> float:
    """Upper bound of the spectral radius of every matrix within ``middle`` +- ``radius``; infinite where there is none.

    The best one of the reach of the discs of :func:`spectral_radius_above`, and of the k-th roots of the largest row
    sums of A^k.
    """
    if not (bool(torch.isfinite(middle).all()) and bool(torch.isfinite(radius).all())) or bool((radius < 0).any()):
        return torch.inf
    best = torch.inf
    for k, scale, power, error in _powers(middle, radius):
        size = float(((power.abs() + error) * UP).sum(1).max()) * UP
        best = min(best, scale * size ** (1 / k) * UP)
    discs = _discs(middle, radius)
    if discs is not None:
        centre, reach = discs
        best = min(best, float((centre.abs() * UP + reach).max()) * UP)
    return best


def _discs(middle: Square, radius: Square) -> tuple[Tensor, Tensor] | None:
    """Centres (n,), complex, and radii of discs; None where eigenvectors are too close to each other.

    lambda is an eigenvalue just if R - lambda F is singular, with R = Y A X and F = Y X. Then there is a row with
    abs(R_ii - lambda F_ii) <= sum over j != i of abs(R_ij - lambda F_ij). Along the straight way from their diagonals,
    and from 1, to R and F all eigenvalues stay within ``most``, so that the discs keep their numbers.
    """
    n = len(middle)
    X = torch.linalg.eig(middle)[1]
    Y, info = torch.linalg.inv_ex(X)
    if bool(info) or not bool(torch.isfinite(torch.view_as_real(Y)).all()):
        return None
    left, right = _real(Y), _real(X)
    F, f = product(left, None, right, None)
    A, a = (torch.block_diag(part, part) for part in (middle, radius))
    R, r = product(*product(left, None, A, a), right, None)
    eye = torch.eye(2 * n, dtype=F.dtype)
    off = _modulus(F - eye, f + 2.0**-52 * (F - eye).abs(), n)
    size = _modulus(R, r, n)
    beside = float(off.sum(1).max()) * UP
    if not beside < 0.5:
        return None
    most = float(size.sum(1).max()) / (1 - beside) * UP
    centre = torch.complex(R.diagonal()[:n], R[n:].diagonal())
    error = torch.hypot(r.diagonal()[:n], r[n:].diagonal())
    reach = (size - torch.diag(size.diagonal())).sum(1) + error + most * off.sum(1)
    return centre, reach * UP


def _real(M: Tensor) -> Float[Tensor, "m m"]:
    """A complex matrix as a real one of twice the size."""
    return torch.cat([torch.cat([M.real, -M.imag], 1), torch.cat([M.imag, M.real], 1)])


def _modulus(M: Tensor, m: Tensor, n: int) -> Square:
    """Upper bounds of the moduli of the entries of a complex matrix that is held as a real one."""
    size = M.abs() + m
    return torch.hypot(size[:n, :n], size[n:, :n]) * UP


def _furthest_group(centre: Tensor, reach: Tensor) -> float:
    """Modulus that an eigenvalue of some group of overlapping discs certainly has."""
    n = len(centre)
    joined = (centre[:, None] - centre).abs() * _DOWN <= (reach[:, None] + reach) * UP
    for _ in range(n.bit_length()):
        joined = (joined.double() @ joined.double()) > 0
    least = centre.abs() * _DOWN - reach
    return float(torch.where(joined, least[None], torch.inf).amin(1).max())


def _from_traces(middle: Square, radius: Square) -> float:
    best, n = 0.0, len(middle)
    for k, scale, power, error in _powers(middle, radius):
        # the sum of n numbers is off by less than n units of the sum of their sizes
        off = float(error.diagonal().sum() + n * 2.0**-52 * power.diagonal().abs().sum()) * UP
        least = abs(float(power.diagonal().sum())) - off
        if least > 0:
            best = max(best, scale * (least / n) ** (1 / k) * _DOWN)
    return best


def _powers(middle: Square, radius: Square) -> list[tuple[int, float, Tensor, Tensor]]:
    """(k, scale, power, error): (A / scale)^k within power +- error, with scale a power of two near the norm."""
    size = float((middle.abs() + radius).sum(1).max())
    if size == 0:
        return [(1, 1.0, middle, radius)]
    scale = 2.0 ** round(min(max(torch.tensor(size).log2().item(), -900), 900))
    A, a = middle / scale, radius / scale * UP + TINY
    found = [(1, scale, A, a)]
    for k in range(2, _POWERS + 1):
        found.append((k, scale, *product(found[-1][2], found[-1][3], A, a)))
    for _ in range(_SQUARES):
        k, _, power, error = found[-1]
        found.append((2 * k, scale, *product(power, error, power, error)))
    return found
