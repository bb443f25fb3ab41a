"""The smallest rate that a metric and multipliers prove: a generalised eigenvalue problem, by centres and Newton."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Matrix = Float[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Solved:
    """A metric, multipliers, and the smallest rate for which they are feasible, in floating point.

    Attributes
    ----------
    P_in, P_out : ndarray (n, n), (outputs, outputs)
    t : ndarray (K,)
    rate : float
    steps : int
        Newton steps taken.
    ended : str
        "converged", "target", "seconds" or "stalled".
    """

    P_in: Matrix
    P_out: Matrix
    t: Array
    rate: float
    steps: int
    ended: str


class _Free:
    """The same unknown metric at both ends: P symmetric, by its upper triangle."""

    def __init__(self, n: int, outputs: int) -> None:
        self.rows, self.columns = np.triu_indices(n)
        self.n = n
        self.weight = np.where(self.rows == self.columns, 0.5, 1.0)

    def matrices(self, y: Array) -> tuple[Matrix, Matrix]:
        P = np.zeros((self.n, self.n))
        P[self.rows, self.columns] = y
        P = P + P.T - np.diag(np.diag(P))
        return P, P

    def coordinates(self, P: Matrix) -> Array:
        return P[self.rows, self.columns]

    def inner(self, X_in: Array, X_out: Array) -> Array:
        """Product of every direction with symmetric matrices (..., n, n) at both ends."""
        X = X_in + X_out
        return 2 * self.weight * X[..., self.rows, self.columns]

    def squares(self, g: Matrix, h: Matrix, k: Matrix, c: Matrix, rho: float) -> Matrix:
        """Product of every direction with rho (gg' - hh') at the input and kk' - cc' at the output, for all rows."""
        a, b = self.rows, self.columns
        total = rho * (g[:, a] * g[:, b] - h[:, a] * h[:, b]) + k[:, a] * k[:, b] - c[:, a] * c[:, b]
        return 2 * self.weight * total

    def quadratic(self, X: Matrix, where: str) -> Matrix:
        """Product of X B X' with B', for directions B and B' at the input, the output, or one at each."""
        c, d, w = self.rows, self.columns, self.weight
        first = X[np.ix_(c, c)] * X[np.ix_(d, d)] + X[np.ix_(c, d)] * X[np.ix_(d, c)]
        return 2 * np.outer(w, w) * first

    def barrier(self, P: Matrix) -> tuple[float, Array, Matrix]:
        """-log det P with gradient and Hessian."""
        inverse = np.linalg.inv(P)
        value = -2 * np.log(np.diag(np.linalg.cholesky(P))).sum()
        return float(value), -self.inner(inverse, np.zeros_like(inverse)), self.quadratic(inverse, "in")


class _Fixed:
    """Multiples of given metrics at the two ends: one unknown."""

    def __init__(self, P_in: Matrix, P_out: Matrix) -> None:
        self.P_in, self.P_out = P_in, P_out

    def matrices(self, y: Array) -> tuple[Matrix, Matrix]:
        return y[0] * self.P_in, y[0] * self.P_out

    def coordinates(self, P: Matrix) -> Array:
        return np.array([P[0, 0] / self.P_in[0, 0]])

    def inner(self, X_in: Array, X_out: Array) -> Array:
        total = (X_in * self.P_in).sum((-1, -2)) + (X_out * self.P_out).sum((-1, -2))
        return np.asarray(total)[..., None]

    def squares(self, g: Matrix, h: Matrix, k: Matrix, c: Matrix, rho: float) -> Matrix:
        def of(x: Matrix, P: Matrix) -> Array:
            return ((x @ P) * x).sum(-1)

        total = rho * (of(g, self.P_in) - of(h, self.P_in)) + of(k, self.P_out) - of(c, self.P_out)
        return np.asarray(total)[:, None]

    def quadratic(self, X: Matrix, where: str) -> Matrix:
        left = self.P_in if where == "in" else self.P_out
        right = self.P_out if where == "out" else self.P_in
        return np.array([[float((left * (X @ right @ X.T)).sum())]])

    def barrier(self, P: Matrix) -> tuple[float, Array, Matrix]:
        scale = P[0, 0] / self.P_in[0, 0]
        return float(-np.log(scale)), np.array([-1 / scale]), np.array([[1 / scale**2]])


def smallest_rate(
    C: Matrix,
    N: Matrix,
    block: Array,
    n: int,
    *,
    metrics: tuple[Matrix, Matrix] | None = None,
    target: float = 0.0,
    tolerance: float = 1e-3,
    seconds: float = 60.0,
    start: Matrix | None = None,
) -> Solved:
    """Minimise r such that diag(r^2 P_in, t) - C' P_out C - N' diag(t) N is positive definite for some P and t.

    Parameters
    ----------
    C, N : ndarray (outputs, n + K), (K, n + K)
    block : ndarray (K,)
        N is strictly lower triangular, block by block.
    n : int
        Columns of the state.
    metrics : (P_in, P_out), optional
        Norms at the two ends. Default: one metric P, which is unknown.
    target : float
        A rate below which the search ends.
    tolerance : float
        Relative gain of r in one round below which the search ends.
    seconds : float
        Time, looked at between Newton steps.
    start : ndarray (n, n), optional
        A metric to start from.

    Notes
    -----
    The method of centres (S. Boyd and L. El Ghaoui, Linear Algebra Appl. 188, 63 (1993)): the analytic centre of what
    is feasible for a rate gives a metric and multipliers, their own smallest rate the next one. All iterates are
    strictly feasible, the first one by construction: from the last block to the first, each takes multipliers that
    dominate what follows. Multipliers enter by a difference of two squares, so that the Hessian consists of
    elementwise squares of four products: a step costs a few products and factorisations of size n + K.
    """
    began = perf_counter()
    free = _Free(n, len(C)) if metrics is None else _Fixed(*metrics)
    P0 = np.eye(n) if start is None else start
    y = free.coordinates(P0 if metrics is None else metrics[0])
    t, rho = _first(C, N, block, n, *free.matrices(y))
    y, t = y.copy(), t.copy()
    steps, ended, quiet = 0, "converged", 0
    best = _own_rate(C, N, n, free.matrices(y), t)
    kept = (best, y.copy(), t.copy())
    while True:
        y, t, taken, ok = _centre(C, N, n, free, y, t, rho, began + seconds)
        steps += taken
        own = _own_rate(C, N, n, free.matrices(y), t)
        gain = 1 - own / kept[0] if kept[0] > 0 else 0.0
        if own < kept[0]:
            kept = (own, y.copy(), t.copy())
        if not ok or not np.isfinite(own):
            ended = "stalled"
            break
        if perf_counter() - began > seconds:
            ended = "seconds"
            break
        if kept[0] < target**2:
            ended = "target"
            break
        quiet = quiet + 1 if gain < 2 * tolerance else 0
        if quiet >= 2 or kept[0] < 1e-24:
            break
        rho = own + _LAZY * (rho - own)
    rho, y, t = kept
    P_in, P_out = free.matrices(y)
    scale = 1 / np.abs(P_in).max()
    return Solved(P_in * scale, P_out * scale, t * scale, float(np.sqrt(max(rho, 0.0))), steps, ended)


_LAZY = 0.1
"""How far a rate stays above what the last centre reaches."""
_NEWTON = 12
"""Steps towards one centre; what is missing is made up at the next."""


def _first(C: Matrix, N: Matrix, block: Array, n: int, P_in: Matrix, P_out: Matrix) -> tuple[Array, float]:
    """Multipliers, and a squared rate, that are strictly feasible for a metric."""
    t = np.zeros(len(N))
    R = C.T @ P_out @ C
    floor = 1e-9 * max(np.trace(R), 1e-6)
    for k in np.unique(block)[::-1]:
        index = n + np.flatnonzero(block == k)
        rest = np.arange(index[0])
        own = R[np.ix_(index, index)]
        tau = 2 * np.linalg.eigvalsh(own)[-1] + floor
        t[index - n] = tau
        cross = R[np.ix_(rest, index)]
        rows = N[index - n][:, rest]
        R = R[np.ix_(rest, rest)] + cross @ np.linalg.solve(tau * np.eye(len(index)) - own, cross.T)
        R = R + tau * rows.T @ rows
    return t, 1.1 * _largest(R, P_in) + 1e-12


def _largest(R: Matrix, P: Matrix) -> float:
    from scipy.linalg import eigh

    return float(eigh((R + R.T) / 2, P, eigvals_only=True, subset_by_index=(len(P) - 1, len(P) - 1))[0])


def _own_rate(C: Matrix, N: Matrix, n: int, metrics: tuple[Matrix, Matrix], t: Array) -> float:
    """Smallest squared rate for which a metric and multipliers are feasible; infinite if there is none."""
    P_in, P_out = metrics
    R = C.T @ P_out @ C + N.T @ (t[:, None] * N)
    S = np.diag(t) - R[n:, n:]
    try:
        factor = np.linalg.cholesky(S) if len(S) else S
        half = np.linalg.solve(factor, R[n:, :n]) if len(S) else R[n:, :n]
        return max(_largest(R[:n, :n] + half.T @ half, P_in), 0.0)
    except (np.linalg.LinAlgError, ValueError):
        return np.inf


def _centre(
    C: Matrix, N: Matrix, n: int, free: _Free | _Fixed, y: Array, t: Array, rho: float, until: float
) -> tuple[Array, Array, int, bool]:
    """Damped Newton steps towards the minimum of -log det S - log det P + a linear scale, S the slack at rho.

    The function is homogeneous but for the scale, which is taken from the point where the steps start.
    """
    from scipy.linalg import cho_factor, cho_solve

    wide = n + len(t)
    scale_y = free.inner(np.linalg.inv(free.matrices(y)[0]), np.zeros((len(C), len(C)))) * 1.0
    scale_t = 1 / t
    value, taken = np.inf, 0
    for _ in range(_NEWTON):
        if perf_counter() > until:
            break
        state = _value(C, N, n, free, y, t, rho, scale_y, scale_t)
        if state is None:
            return y, t, taken, False
        value, factor = state
        G = cho_solve((factor, True), np.eye(wide))
        gradient, H = _derivatives(C, N, n, free, y, t, rho, G)
        gradient = gradient + np.concatenate([scale_y, scale_t])
        # unknowns of very different sizes
        size = 1 / np.sqrt(np.diag(H))
        try:
            step = -size * cho_solve(cho_factor(H * np.outer(size, size) + 1e-13 * np.eye(len(H))), size * gradient)
        except np.linalg.LinAlgError:
            return y, t, taken, False
        decrement = float(np.sqrt(max(-gradient @ step, 0.0)))
        taken += 1
        if not np.isfinite(decrement):
            return y, t, taken, False
        length = 1.0 if decrement < 0.25 else 1 / (1 + decrement)
        moved = False
        # a longer step than the damped one is often feasible, and then much better
        for factor_ in (8.0, 3.0, 1.0, 0.3, 0.1, 0.01):
            reach = min(1.0, factor_ * length)
            other = _value(C, N, n, free, y + reach * step[: len(y)], t + reach * step[len(y) :], rho, scale_y, scale_t)
            if other is not None and other[0] <= value - 0.1 * reach * decrement**2 * (reach <= length):
                y, t, moved = y + reach * step[: len(y)], t + reach * step[len(y) :], True
                break
        if not moved or decrement < 0.1:
            break
    return y, t, taken, True


def _value(
    C: Matrix, N: Matrix, n: int, free: _Free | _Fixed, y: Array, t: Array, rho: float, scale_y: Array, scale_t: Array
) -> tuple[float, Matrix] | None:
    if not (t > 0).all():
        return None
    P_in, P_out = free.matrices(y)
    S = -(C.T @ P_out @ C) - N.T @ (t[:, None] * N)
    S[:n, :n] += rho * P_in
    S[n:, n:] += np.diag(t)
    try:
        factor = np.linalg.cholesky(S)
        logarithm = free.barrier(P_in)[0]
    except np.linalg.LinAlgError:
        return None
    value = -2 * np.log(np.diag(factor)).sum() + logarithm + scale_y @ y + scale_t @ t
    return (float(value), factor) if np.isfinite(value) else None


def _derivatives(
    C: Matrix, N: Matrix, n: int, free: _Free | _Fixed, y: Array, t: Array, rho: float, G: Matrix
) -> tuple[Array, Matrix]:
    GN, GC = G @ N.T, G @ C.T
    own, cross, both = G[n:, n:], GN[n:], N @ GN
    g, c, h, k = G[:n, n:].T, GC[n:], GN[:n].T, (C @ GN).T
    by_t = np.diag(both) - np.diag(own)
    H_tt = own**2 - cross**2 - cross.T**2 + both**2
    H_yt = free.squares(g, h, k, c, rho).T
    Y, Z, X = GC[:n].T, C @ GC, G[:n, :n]
    by_y = free.inner(-rho * X, Z)
    H_yy = rho**2 * free.quadratic(X, "in") + free.quadratic(Z, "out")
    mixed = free.quadratic(Y, "mixed")
    H_yy = H_yy - rho * (mixed + mixed.T)
    _, first, second = free.barrier(free.matrices(y)[0])
    gradient = np.concatenate([by_y + first, by_t])
    return gradient, np.block([[H_yy + second, H_yt], [H_yt.T, H_tt]])
