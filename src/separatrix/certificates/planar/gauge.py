"""Norms in which all linear regions shrink, with bounds that hold in spite of rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.planar.common_metric import each_shrinks
from separatrix.certificates.verified import TINY, UNIT, UP, positive_definite


@dataclass(frozen=True)
class Gauge:
    """A norm of vectors: "1", "2", "inf", or "P" with |x|^2 = x'Px; bounds hold in spite of rounding."""

    name: str
    P: Float[np.ndarray, "n n"] | None = None

    def upper(self, x: np.ndarray, dx: np.ndarray) -> np.ndarray:
        """Bounds of the norms of all vectors within x +- dx (..., n)."""
        if self.name == "1":
            return (np.abs(x) + dx).sum(-1) * UP + TINY
        if self.name == "inf":
            return (np.abs(x) + dx).max(-1) * UP + TINY
        square, error = self._square(x)
        rest = ((dx @ np.abs(self._metric(x))) * dx).sum(-1)  # d'Pd <= |d|'|P||d|
        return (np.sqrt(np.maximum(square, 0) + error) + np.sqrt(rest)) * UP + TINY**0.5

    def along(self, c: np.ndarray, x: np.ndarray, dx: np.ndarray) -> np.ndarray:
        """Least values over x +- dx of w(x), for a linear w with w(x) <= |x| that is sharp near c.

        It depends on c alone, so that the norm of a sum of vectors is at least the sum of their values.
        """
        if self.name == "1":
            w = np.sign(c)
        elif self.name == "inf":
            w = np.where(np.abs(c) == np.abs(c).max(-1, keepdims=True), np.sign(c), 0.0)
            w = w * (np.cumsum(np.abs(w), -1) == 1)
        else:
            w = c @ self._metric(c)
        n = x.shape[-1]
        found = (w * x).sum(-1) - (np.abs(w) * (dx + 4 * (n + 2) * UNIT * np.abs(x))).sum(-1) * UP - TINY
        if self.name in ("1", "inf"):
            return found
        # w is c'P but for rounding, and c'Px <= |c| |x|
        slack = 4 * (n + 2) * UNIT * np.abs(c) @ np.abs(self._metric(c))
        found = found - (slack * (np.abs(x) + dx)).sum(-1) * UP
        square, error = self._square(c)
        most, least = np.sqrt(np.maximum(square, 0) + error) * UP, np.sqrt(np.maximum(square - error, 0)) / UP
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(found > 0, found / most, found / least)
        return np.where(least > 0, found - 2.0**-40 * np.abs(found), -np.inf)

    def _square(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """X'Px, and what rounding does to it."""
        P, size = np.abs(self._metric(x)), np.abs(x)
        error = 4 * (x.shape[-1] + 2) * UNIT * ((size @ P) * size).sum(-1) * UP
        return ((x @ self._metric(x)) * x).sum(-1), error

    def shrinks(self, A: np.ndarray, radius: np.ndarray, rate: float) -> np.ndarray:
        """Whether |A x| <= rate |x| for all x and all matrices within A +- radius (maps,)."""
        if self.name in ("1", "inf"):
            return (np.abs(A) + radius).sum(-2 if self.name == "1" else -1).max(-1) * UP <= rate
        P = torch.from_numpy(self._metric(A).copy())
        return each_shrinks(P, torch.from_numpy(A), torch.from_numpy(radius), rate).numpy()

    def rates(self, A: np.ndarray) -> np.ndarray:
        """Norms of matrices (maps,), in floating point and a little more."""
        if self.name in ("1", "inf"):
            return np.abs(A).sum(-2 if self.name == "1" else -1).max(-1) * (1 + 1e-9)
        T = np.linalg.cholesky(self._metric(A)).T
        return np.linalg.norm(T @ A @ np.linalg.inv(T), 2, axis=(1, 2)) * (1 + 1e-9)

    def _metric(self, x: np.ndarray) -> np.ndarray:
        return np.eye(x.shape[-1]) if self.P is None else self.P

    def data(self) -> dict[str, Any]:
        """What :func:`gauge_from` needs."""
        return {"norm": self.name} | ({} if self.P is None else {"P": torch.from_numpy(self.P)})


def gauge_from(data: dict[str, Any], n: int) -> Gauge | None:
    """The norm that a proof names; None where it is none."""
    name, P = data.get("norm"), data.get("P")
    if name in ("1", "2", "inf") and P is None:
        return Gauge(name)
    if name != "P" or not isinstance(P, Tensor) or P.shape != (n, n) or not bool(torch.isfinite(P).all()):
        return None
    if P.dtype != torch.float64 or not torch.equal(P, P.mT) or not bool(positive_definite(P)):
        return None
    return Gauge("P", P.numpy())


def number(data: dict[str, Any], name: str) -> float:
    """A number of a proof; NaN where there is none."""
    value = data.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")
