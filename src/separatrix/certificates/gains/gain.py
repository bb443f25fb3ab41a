"""By how much a map with slopes in given sectors stretches, in the norm in which that is shown to be least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.gains.barrier import smallest_rate
from separatrix.certificates.gains.layer_norms import comparison, euclidean, perron, weighted_rate
from separatrix.certificates.gains.sectors import Sectors
from separatrix.certificates.gains.small_gain import Gains, gains
from separatrix.certificates.verified import TINY, UP, positive_definite
from separatrix.systems.lure import Lure

WAYS = ("comparison", "transposed comparison", "layer norms", "metric")
"""Cheapest first."""
WIDEST = 1024
"""Activation components up to which a metric is looked for."""
_FULL = 48
"""State components up to which the metric has no structure."""


@dataclass(frozen=True)
class Gain:
    """|dy| <= rate |dx| in one norm, for all slopes in the sectors.

    Attributes
    ----------
    way : str
        One of :data:`WAYS`.
    norm : str
        "weighted inf", "weighted 1", "2" or "P".
    rate : float
    weights : Tensor (n,) or None
        |x| = max |x_i| / w_i, or sum w_i |x_i|.
    P : Tensor (n, n) or None
        |x|^2 = x'Px.
    t : Tensor (K,) or None
        Multipliers of the sectors.
    """

    way: str
    norm: str
    rate: float
    weights: Tensor | None = None
    P: Tensor | None = None
    t: Tensor | None = None

    @property
    def plain(self) -> str | None:
        """Its name if it is the 1-, 2- or infinity-norm."""
        if self.norm == "P" or (self.weights is not None and bool((self.weights != 1).any())):
            return None
        return self.norm.removeprefix("weighted ")

    def size(self, bound: Float[Tensor, " n"]) -> float:
        """Largest norm of a vector that is bounded component by component."""
        if self.norm == "weighted inf":
            assert self.weights is not None
            return float((bound / self.weights).max()) * UP + TINY
        if self.norm == "weighted 1":
            assert self.weights is not None
            return float((bound * self.weights).sum()) * UP + TINY
        P = torch.eye(len(bound), dtype=torch.float64) if self.P is None else self.P
        largest = bound.max().clamp(min=TINY)  # so that squares do not underflow
        share = bound / largest
        return float((share @ P.abs() @ share).sqrt() * largest) * UP + TINY

    def reach(self, n: int) -> Float[Tensor, " n"]:
        """Bounds of the components of a vector of norm 1."""
        if self.norm == "weighted inf":
            assert self.weights is not None
            return self.weights * UP
        if self.norm == "weighted 1":
            assert self.weights is not None
            return UP / self.weights
        if self.P is None:
            return torch.ones(n, dtype=torch.float64)
        return ellipsoid_reach(self.P)

    def of(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
        """The norm itself, in floating point."""
        if self.norm == "weighted inf":
            assert self.weights is not None
            return (x.abs() / self.weights).amax(-1)
        if self.norm == "weighted 1":
            assert self.weights is not None
            return (x.abs() * self.weights).sum(-1)
        P = torch.eye(x.shape[-1], dtype=torch.float64) if self.P is None else self.P
        return (x @ P * x).sum(-1).sqrt()

    def data(self) -> dict[str, Any]:
        """What :func:`verified_gain` needs."""
        found: dict[str, Any] = {"way": self.way, "rate": self.rate}
        found |= {k: v for k in ("weights", "P", "t") if (v := getattr(self, k)) is not None}
        return found


def ellipsoid_reach(P: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """Bounds of the components of x with x'Px <= 1: sqrt of a bound of the diagonal of P's inverse.

    r^2 P - e e' > 0 for a unit vector e says e'x <= r |x|_P.
    """
    n = len(P)
    guess = torch.linalg.inv(P).diagonal().clamp(min=TINY) * (1 + 1e-9)
    eye = torch.eye(n, dtype=torch.float64)
    for _ in range(12):
        parts = guess[:, None, None] * P - eye[:, :, None] * eye[:, None, :]
        good = positive_definite(parts, 2.0**-51 * parts.abs())
        if bool(good.all()):
            return guess.sqrt() * UP
        guess = torch.where(good, guess, guess * (1 + 1e-6) * 1.5)
    return torch.full((n,), torch.inf, dtype=torch.float64)


def find_gain(
    network: Lure, sectors: Sectors, n: int, *, norm: str, seconds: float, target: float = 1.0
) -> tuple[Gain | None, list[str]]:
    """The least gain that is found in the norms that are asked for, and what was tried.

    Parameters
    ----------
    norm : str
        "best" for all; "1", "2" or "inf" for the plain ones; "P" for the free metric.
    seconds : float
        For the metric.
    target : float
        A rate that is needed.
    """
    seen = gains(network, sectors, n)
    found: list[Gain] = []
    tried: list[str] = []
    square = network.outputs == n
    M = comparison(network, sectors, seen)
    if not bool(torch.isfinite(M).all()):
        return None, ["slopes of an activation have no bound"]
    if norm in ("1", "inf") or (norm == "best" and not square):
        ones = torch.ones(n, dtype=torch.float64)
        for name, way in (("inf", "comparison"), ("1", "transposed comparison")):
            if norm in (name, "best"):
                found.append(Gain(way, f"weighted {name}", _plain(M, way), ones))
    elif norm == "best":
        w, rate = perron(M)
        found.append(Gain("comparison", "weighted inf", rate, w))
        w, rate = perron(M.mT.contiguous())
        found.append(Gain("transposed comparison", "weighted 1", rate, w))
    tried += [f"{gain.norm}-norm: {gain.rate:.4g}" for gain in found]
    if norm in ("2", "best"):
        found.append(Gain("layer norms", "2", euclidean(network, sectors, n)))
        tried.append(f"2-norms of layers: {found[-1].rate:.4g}")
    if norm in ("2", "P", "best") and (norm != "best" or square):
        K = len(seen.N)
        enough = bool(found) and min(gain.rate for gain in found) < target and K > 64
        if K > WIDEST:
            tried.append(f"metric: {K} activation components are more than {WIDEST}")
        elif not enough:
            gain, words = _by_metric(seen, n, network.outputs, plain=norm == "2", seconds=seconds)
            tried.append(words)
            found += [gain] if gain is not None else []
    # of rates that are equal but for rounding, the one by the simpler argument
    return min(found, key=lambda gain: gain.rate * (1 + 1e-6 * WAYS.index(gain.way)), default=None), tried


def _plain(M: Float[Tensor, "outputs n"], way: str) -> float:
    return float((M if way == "comparison" else M.mT).sum(-1).max()) * UP


def _by_metric(seen: Gains, n: int, outputs: int, *, plain: bool, seconds: float) -> tuple[Gain | None, str]:
    """Solve, then raise the rate until it is proved."""
    import numpy as np

    metrics = (np.eye(n), np.eye(outputs)) if plain or n > _FULL else None
    C, N, block, columns = seen.C.numpy(), seen.N.numpy(), seen.block.numpy(), n
    if metrics is not None and n > len(C) + len(N):
        # only what the first layers see of x counts, and in the 2-norm any orthonormal basis of that will do
        Q = np.linalg.qr(np.concatenate([C, N])[:, :n].T)[0]
        C, N = (np.concatenate([part[:, :n] @ Q, part[:, n:]], 1) for part in (C, N))
        columns, metrics = Q.shape[1], (np.eye(Q.shape[1]), metrics[1])
    try:
        solved = smallest_rate(C, N, block, columns, metrics=metrics, seconds=seconds)
    except (np.linalg.LinAlgError, ValueError, OverflowError) as error:
        return None, f"metric: {error}"
    if columns < n:
        solved = replace(solved, P_in=solved.P_in[0, 0] * np.eye(n))
    P_in, P_out = (torch.from_numpy(P).contiguous() for P in (solved.P_in, solved.P_out))
    t = torch.from_numpy(solved.t).contiguous()
    for raised in (0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3):
        rate = (solved.rate + 1e-12) * (1 + raised)
        if seen.proves(P_in, P_out, t, rate):
            found = f"{'2-norm' if metrics else 'free metric'} with multipliers: {rate:.4g} ({solved.ended})"
            if metrics is not None:
                t = t / P_in[0, 0]
                if not seen.proves(torch.eye(n).double(), torch.eye(outputs).double(), t, rate * (1 + 1e-12)):
                    continue
                return Gain("metric", "2", rate * (1 + 1e-12), t=t), found
            return Gain("metric", "P", rate, P=P_in, t=t), found
    return None, f"metric: {solved.rate:.4g} was found, and does not hold in spite of rounding"


def verified_gain(network: Lure, sectors: Sectors, n: int, data: dict[str, Any]) -> Gain | None:
    """Show a gain again from its weights, metric and multipliers; None if that fails."""
    way, rate = data.get("way"), float(data.get("rate", torch.nan))
    if way == "layer norms":
        found = euclidean(network, sectors, n)
        return Gain("layer norms", "2", found) if found <= rate * UP else None
    seen = gains(network, sectors, n)
    if way in ("comparison", "transposed comparison"):
        w = data["weights"]
        if not (w.shape == (n,) and bool((w > 0).all()) and bool(torch.isfinite(w).all())):
            return None
        M = comparison(network, sectors, seen)
        if len(M) != n and bool((w != 1).any()):
            return None
        sides = M if way == "comparison" else M.mT
        found = _plain(M, way) if len(M) != n else weighted_rate(sides, w)
        norm = "weighted inf" if way == "comparison" else "weighted 1"
        return Gain(way, norm, found, w) if found <= rate * UP else None
    if way == "metric":
        P, t = data.get("P"), data["t"]
        outputs = network.outputs
        eyes = (torch.eye(n, dtype=torch.float64), torch.eye(outputs, dtype=torch.float64))
        if P is not None and (P.shape != (n, n) or outputs != n):
            return None
        if t.shape != (len(seen.N),):
            return None
        P_in, P_out = (P, P) if P is not None else eyes
        if not seen.proves(P_in, P_out, t, rate):
            return None
        return Gain("metric", "2" if P is None else "P", rate, P=P, t=t)
    return None
