"""One quadratic norm in which all of many matrices are small: found in floating point, checked with certainty."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.verified import UNIT, positive_definite, product

_ACTIVE = 6
"""Matrices that are added at a time, of those that are largest in the norm at hand."""
_FIRST = 24
"""Matrices to begin with, from all over."""
_LAZY = 0.1
"""How far a squared rate stays above what the last centre reaches."""
_STEEP = 1e13
"""Condition of the metric beyond which floating point is of no use."""
_ROUNDS, _CENTRES, _STEPS = 100, 200, 25

Maps = Float[np.ndarray, "maps n m"]
Square = Float[np.ndarray, "n n"]


def common_metric(
    images: Maps, sources: Maps | None = None, *, seconds: float = 10.0, tolerance: float = 1e-4, enough: float = 0.0
) -> tuple[Square, float]:
    """Find P > 0 for which the largest of |A_i x|_P / |x|_P over i and x is small, with |x|_P^2 = x'Px.

    Parameters
    ----------
    images : array (maps, n, m)
        A_i; or A_i S_i, where x runs over the columns of S_i and their combinations only.
    sources : array (maps, n, m), optional
        S_i, of full rank. Default: the unit matrix, all x.
    seconds : float
        Time allowed. Also where it ends, the metric is the best so far.
    tolerance : float
        Relative gain of the rate that is not looked for any further.
    enough : float
        Rate at which the search ends; metrics of smaller rates are often steep.

    Returns
    -------
    P : array (n, n)
        Its least eigenvalue is 1.
    rate : float
        The largest quotient, in floating point: no proof, see :func:`verify_common`.

    Notes
    -----
    The method of centres (S. Boyd and L. El Ghaoui, Linear Algebra Appl. 188, 63 (1993)) for the generalised eigenvalue
    problem r S_i'P S_i - S_i'A_i'P A_i S_i > 0: the analytic centre of the feasible P for a squared rate r gives a
    metric, its own largest quotient the next r. Coordinates are changed after each centre so that the metric is 1
    again. Few matrices matter in the end: the others join only when they are the largest. Thousands of 2 x 2 matrices
    take tens of milliseconds.
    """
    until = perf_counter() + seconds
    n = images.shape[1]
    if sources is None:
        sources = np.broadcast_to(np.eye(n), (len(images), n, n))
    T = np.eye(n)
    quotients = _quotients(images, sources, T)
    best = (float(quotients.max(initial=0)), T)
    active = np.unique(np.linspace(0, len(images) - 1, _FIRST).astype(int)).tolist()
    for _ in range(_ROUNDS):
        worst = np.argsort(-quotients)[:_ACTIVE].tolist()
        active += [k for k in worst if k not in active]
        if best[0] <= enough or perf_counter() > until:
            break
        T = _centres(images[active], sources[active], best[1], until, tolerance, enough)
        quotients = _quotients(images, sources, T)
        found = float(quotients.max())
        bound = float(quotients[active].max())
        if found < best[0]:
            best = (found, T)
        if found <= bound * (1 + tolerance):
            break
        # a matrix that is far from the largest has no say
        active = [k for k in active if quotients[k] > 0.25 * bound]
    P = best[1].T @ best[1]
    P = (P + P.T) / 2
    return P / np.linalg.eigvalsh(P)[0], best[0]


def verify_common(
    P: Float[Tensor, "n n"], A: Float[Tensor, "*maps n n"], radius: Float[Tensor, "*maps n n"] | None, rate: float
) -> bool:
    """Whether |A x|_P < rate |x|_P for all x != 0 and all matrices within every A +- radius, for certain.

    P and rate^2 P - A'PA are shown to be positive definite, in spite of rounding.
    """
    return bool(each_shrinks(P, A, radius, rate).all())


def each_shrinks(
    P: Float[Tensor, "n n"], A: Float[Tensor, "*maps n n"], radius: Float[Tensor, "*maps n n"] | None, rate: float
) -> Tensor:
    """The same for each A (*maps,) alone; False decides nothing."""
    fits = P.shape == A.shape[-2:] and torch.equal(P, P.mT) and bool(torch.isfinite(P).all()) and 0 < rate < np.inf
    if not fits or not bool(positive_definite(P)):
        return torch.zeros(A.shape[:-2], dtype=torch.bool)
    half, half_radius = product(P.expand_as(A), None, A, radius)
    whole, error = product(A.mT, None if radius is None else radius.mT, half, half_radius)
    first = (rate * rate) * P
    S = first - whole
    # rounding of the square, of its product with P, and of the difference
    error = error + 4 * UNIT * (first.abs() + S.abs())
    return positive_definite(S, error)


def _quotients(images: np.ndarray, sources: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Largest |T A x| / |T S x| of each pair."""
    R = np.linalg.qr(T @ sources)[1]
    with np.errstate(all="ignore"):
        found = np.linalg.norm(np.linalg.solve(R.swapaxes(1, 2), (T @ images).swapaxes(1, 2)), 2, axis=(1, 2))
    return np.nan_to_num(found, nan=np.inf)


def _centres(
    images: np.ndarray, sources: np.ndarray, T: np.ndarray, until: float, tolerance: float, enough: float
) -> np.ndarray:
    """A better metric T'T for few matrices, by the method of centres."""
    n = len(T)
    directions = _traceless(n)
    best = (float(_quotients(images, sources, T).max()), T)
    r, quiet = best[0] ** 2 * 1.5, 0
    for _ in range(_CENTRES):
        basis, R = np.linalg.qr(T @ sources)
        C = np.linalg.solve(R.swapaxes(1, 2), (T @ images).swapaxes(1, 2)).swapaxes(1, 2)
        # the trace of T'QT stays what it was: one normalisation for all centres
        K = T @ T.T
        kept = directions - (np.tensordot(directions, K, 2) / np.trace(K))[:, None, None] * np.eye(n)
        Q = _centre(C, basis, r, kept)
        T = np.linalg.cholesky(Q).T @ T
        T /= np.sqrt(np.abs(T.T @ T).max())
        own = float(_quotients(images, sources, T).max())
        if not np.isfinite(own) or np.linalg.cond(T) ** 2 > _STEEP:
            break
        if own < best[0]:
            best = (own, T)
        # the squared rate falls from centre to centre, even where the metric's own does not at first
        quiet = quiet + 1 if r - own**2 < tolerance * r else 0
        if quiet > 3 or own <= enough or perf_counter() > until:
            break
        r = own**2 + _LAZY * max(r - own**2, 1e-12 * own**2)
    return best[1]


def _centre(C: np.ndarray, S: np.ndarray, r: float, directions: np.ndarray) -> np.ndarray:
    """Analytic centre of r S'QS - C'QC > 0 and Q > 0 among 1 + combinations of directions, by Newton's method."""
    n = S.shape[1]
    eye = np.eye(n)
    triple = "ipa,kpq,iqb->ikab"
    slopes = r * np.einsum(triple, S, directions, S) - np.einsum(triple, C, directions, C)
    constant = r * S.swapaxes(1, 2) @ S - C.swapaxes(1, 2) @ C
    x = np.zeros(len(directions))
    value = _barrier(constant, eye)
    if not np.isfinite(value) or not len(x):
        return eye
    for _ in range(_STEPS):
        Q = eye + np.tensordot(x, directions, 1)
        M = constant + np.einsum("k,ikab->iab", x, slopes)
        inner = np.linalg.solve(M[:, None], slopes)
        outer = np.linalg.solve(Q, directions)
        gradient = -np.trace(inner, axis1=2, axis2=3).sum(0) - np.trace(outer, axis1=1, axis2=2)
        H = np.einsum("ikab,ilba->kl", inner, inner) + np.einsum("kab,lba->kl", outer, outer)
        step = -np.linalg.lstsq(H, gradient, rcond=None)[0]
        decrement = float(np.sqrt(max(-gradient @ step, 0.0)))
        if not np.isfinite(decrement) or decrement < 1e-3:
            break
        length = 1.0 if decrement < 0.25 else 1 / (1 + decrement)
        # a longer step than the damped one is often feasible, and then much better
        for reach in (min(1.0, 4 * length), length, length / 4, length / 64):
            other = x + reach * step
            at = _barrier(constant + np.einsum("k,ikab->iab", other, slopes), eye + np.tensordot(other, directions, 1))
            if at < value:
                x, value = other, at
                break
        else:
            break
    return eye + np.tensordot(x, directions, 1)


def _barrier(M: np.ndarray, Q: np.ndarray) -> float:
    """-log det of all matrices; infinite where one is not positive definite."""
    try:
        diagonals = [np.diagonal(np.linalg.cholesky(part), axis1=-2, axis2=-1) for part in (M, Q)]
    except np.linalg.LinAlgError:
        return np.inf
    return -2 * float(sum(np.log(d).sum() for d in diagonals))


def _traceless(n: int) -> np.ndarray:
    """A basis (n (n + 1) / 2 - 1, n, n) of the symmetric matrices with trace 0."""
    found = []
    for i in range(n):
        for j in range(i):
            B = np.zeros((n, n))
            B[i, j] = B[j, i] = 1
            found.append(B)
        if i:
            B = np.diag([1.0 / i] * i + [-1.0] + [0.0] * (n - i - 1))
            found.append(B)
    return np.array(found).reshape(-1, n, n)
