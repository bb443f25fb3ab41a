"""Untrained weights as the released code draws them, and its range of layers.

That code lets matrices W act on rows, y = x W; here A = W', y = A x. Its draws depend on the order of calls in old
versions, so seeds are labels: the same distributions from generators of our own. One (factorisation, depth, seed) has
one set of draws for all ranges, activations and both biases, so that cases that differ in one of these are paired.
"""

from __future__ import annotations

import numpy as np

from separatrix.studies.drgona2022.cases import Setting

Array = np.ndarray

KINDS = ("softSVD", "gershgorin", "gershgorin complex", "pf", "linear", "spectral", "skew", "damp_skew", "symplectic")


def generator(setting: Setting, depth: int, seed: int) -> np.random.Generator:
    """Source of all draws of a factorisation at a depth."""
    return np.random.default_rng([KINDS.index(setting.kind), depth, seed])


def layers(setting: Setting, depth: int, seed: int, size: int = 2) -> tuple[Array, Array]:
    """Matrices A (depth + 1, size, size) and biases (depth + 1, size).

    Biases are uniform within 1/sqrt(fan-in) on either side of 0, as torch's and the released code's are.
    """
    rng = generator(setting, depth, seed)
    count = depth + 1
    W = _DRAWS[setting.kind](rng, count, size, setting.lo, setting.hi)
    bias = rng.uniform(-1, 1, (count, size)) / np.sqrt(size)
    return np.ascontiguousarray(W.swapaxes(1, 2)), bias


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


def orthogonal(rng: np.random.Generator, count: int, size: int) -> Array:
    """Orthogonal matrices, evenly distributed."""
    Q, R = np.linalg.qr(rng.normal(size=(count, size, size)))
    return np.asarray(Q * np.sign(np.diagonal(R, axis1=1, axis2=2))[:, None, :])


def _soft_svd(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
    """U diag(s) V; training keeps U and V orthogonal by a penalty alone, which breaks the bound."""
    U, V = orthogonal(rng, count, size), orthogonal(rng, count, size)
    s = hi - (hi - lo) * sigmoid(rng.uniform(size=(count, size)))
    return U * s[:, None, :] @ V


def _gershgorin(symmetric: bool):  # type: ignore[no-untyped-def]
    def draw(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
        """Diagonals around the mean; one softmax over all off-diagonal entries, which get one sign."""
        mean, radius = (lo + hi) / 2, (lo - hi) / 2
        w, d = rng.uniform(size=(count, size, size)), rng.normal(size=(count, size))
        w = w + w.swapaxes(1, 2) if symmetric else w
        off = np.where(np.eye(size, dtype=bool), 0.0, np.exp(w))
        off *= radius / 2 / off.sum((1, 2), keepdims=True)
        return np.asarray(off + np.eye(size) * (mean + radius * (sigmoid(d) - 0.5))[:, None, :])

    return draw


def _pf(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
    """Softmax over rows, entries scaled into the range."""
    w = np.exp(rng.uniform(-1, 1, (count, size, size)) / np.sqrt(size))
    scale = hi - (hi - lo) * sigmoid(rng.uniform(size=(count, size, size)))
    return np.asarray(scale * w / w.sum(2, keepdims=True))


def _linear(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
    return rng.uniform(-1, 1, (count, size, size)) / np.sqrt(size)


def _spectral(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
    """Reflections, and singular values in the middle of the range."""
    s = lo + (hi - lo) * sigmoid(0.001 * rng.normal(size=(count, size)))
    return _reflections(rng, count, size) * s[:, None, :] @ _reflections(rng, count, size)


def _reflections(rng: np.random.Generator, count: int, size: int) -> Array:
    Q = np.broadcast_to(np.eye(size), (count, size, size)).copy()
    for first in range(size):
        v = rng.normal(size=(count, size - first))
        part = Q[:, :, first:]
        part -= (part @ v[..., None]) * (2 * v / (v * v).sum(1, keepdims=True))[:, None, :]
    return Q


def _skew(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
    upper = np.triu(rng.uniform(-1, 1, (count, size, size)) / np.sqrt(size))
    return np.asarray(upper - upper.swapaxes(1, 2))


def _damp_skew(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
    return np.asarray(
        _skew(rng, count, size, lo, hi) + (lo + (hi - lo) * rng.uniform(size=(count, 1, 1))) * np.eye(size)
    )


def _symplectic(rng: np.random.Generator, count: int, size: int, lo: float, hi: float) -> Array:
    """[[0, W], [-W', 0]], which is symplectic only if W W' = I."""
    half = size // 2
    W = rng.normal(size=(count, half, half)) * np.sqrt(2 / half)
    zero = np.zeros_like(W)
    return np.block([[zero, W], [-W.swapaxes(1, 2), zero]])


_DRAWS = {
    "softSVD": _soft_svd,
    "gershgorin": _gershgorin(True),
    "gershgorin complex": _gershgorin(False),
    "pf": _pf,
    "linear": _linear,
    "spectral": _spectral,
    "skew": _skew,
    "damp_skew": _damp_skew,
    "symplectic": _symplectic,
}
