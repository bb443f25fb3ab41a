"""Search, in floating point, for quadratic functions that fall around an equilibrium, and up to which level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.problem import Problem

FAR = 1e3
"""How far a region may reach where no box is given, in units of 1 + the size of the equilibrium."""
_FLAT = 1e-12
"""Ratio of the axes' squares below which an ellipsoid is too flat to be of use."""


@dataclass(frozen=True)
class Samples:
    """Offsets e = x - c of states (n, B), and of what they are mapped to."""

    e: Tensor
    y: Tensor

    def falls(self, P: Tensor) -> tuple[Tensor, Tensor]:
        """V of every sample, and by what share of itself it falls."""
        V = (self.e * (P @ self.e)).sum(0)
        W = (self.y * (P @ self.y)).sum(0)
        return V, 1 - W / V.clamp(min=1e-300)

    def level(self, P: Tensor, shares: tuple[float, float]) -> float:
        """The least V of a sample that does not fall by a share; and well within that level, by another share."""
        V, fall = self.falls(P)
        rim, core = (torch.where(fall > share, torch.inf, V).min() for share in shares)
        return float(torch.minimum(rim, 4 * core))


@dataclass(frozen=True)
class Candidate:
    """A P, and the largest level that may hold."""

    P: Tensor
    level: float
    samples: Samples

    def fall(self, level: float) -> float:
        """A share by which V may be shown to fall: half of what the samples do."""
        V, fall = self.samples.falls(self.P)
        inside = fall[level >= V]
        least = float(inside.min()) if len(inside) else 0.0
        return min(max(least / 2, 1e-9), 0.5)


class Search:
    """Levels and shapes around one equilibrium."""

    def __init__(
        self, problem: Problem, centre: Tensor, room: Tensor, shares: tuple[float, float], deadline: float
    ) -> None:
        self.problem, self.centre, self.room = problem, centre, room
        self.shares, self.deadline = shares, deadline
        self.generator = torch.Generator().manual_seed(0)

    def volume(self, P: Tensor, level: float) -> float:
        """Logarithm of the volume, but for a constant."""
        return float(0.5 * len(P) * torch.tensor(max(level, 1e-300)).double().log() - 0.5 * torch.logdet(P))

    def cap(self, P: Tensor) -> float:
        """The largest level that the room holds."""
        return _cap(self.room, P)

    def met_along_rays(self, P: Tensor) -> Candidate:
        """A P as it is, with a rough level."""
        level = min(self.first(P), self.cap(P))
        return Candidate(P, level, self._samples(P, level, 2_000))

    def measured(self, P: Tensor) -> Candidate:
        """The level of one P, by many samples, which need to fall by half as much as those that shaped it."""
        half = (self.shares[0] / 2, self.shares[0] / 2)
        level = min(self.cap(P), 4 * self.first(P, half))
        samples = self._samples(P, level, 40_000)
        level = min(level, samples.level(P, half))
        samples = self._samples(P, min(1.1 * level, self.cap(P)), 60_000)
        return Candidate(P, min(level, samples.level(P, half), self.cap(P)), samples)

    def shaped(self, P: Tensor) -> Candidate:
        """The level of a P of another shape, which gives a larger ellipsoid; of itself where nothing limits it."""
        if self.problem.box is None and self.first(P) >= self.cap(P):
            return self.measured(P)
        for room, count in ((16.0, 8_000), (4.0, 20_000)):
            level = min(room * self.first(P), self.cap(P))
            samples = self._samples(P, level, count)
            P = _nelder_mead(partial(self._score, samples), P, self.deadline)
        return self.measured(P)

    def met(self, P: Tensor) -> Tensor:
        """P itself, or one that falls close to the equilibrium, also where the slopes jump there."""
        size = 1e-5 * min(1.0, float(self.room.min()))
        e = self._sphere(torch.eye(len(P), dtype=P.dtype), 64 * 4 ** len(P))
        near = self._mapped(size * e)

        def rise(Q: Tensor) -> float:
            return -float(near.falls(Q)[1].min())

        return P if rise(P) < -self.shares[1] else _nelder_mead(rise, P, self.deadline)

    def _score(self, samples: Samples, P: Tensor) -> float:
        level = min(samples.level(P, self.shares), self.cap(P))
        return -self.volume(P, level)

    def first(self, P: Tensor, shares: tuple[float, float] | None = None) -> float:
        """Roughly the least level at which V does not fall: along some rays, at sizes that double."""
        cap = self.cap(P)
        e = self._sphere(P, 256)[:, :, None] * (cap * 0.25 ** torch.arange(0, 40).double()).sqrt()
        return min(self._mapped(e.flatten(1)).level(P, shares or self.shares), cap)

    def _samples(self, P: Tensor, level: float, count: int) -> Samples:
        """Half of them spread over the ellipsoid evenly, and half over its logarithmic sizes."""
        share = torch.rand(count, generator=self.generator, dtype=torch.float64)
        even = share ** (1 / len(P))
        size = torch.where(torch.arange(count) % 2 == 0, even, 10.0 ** (-4 * share))
        e = self._sphere(P, count) * size * level**0.5
        return self._mapped(e[:, (e.abs() <= self.room[:, None]).all(0)])

    def _sphere(self, P: Tensor, count: int) -> Tensor:
        way = torch.randn(len(P), count, generator=self.generator, dtype=torch.float64)
        L = torch.linalg.cholesky(P)
        return torch.linalg.solve_triangular(L.T, way / way.norm(dim=0), upper=True)

    def _mapped(self, e: Tensor) -> Samples:
        x = torch.cat([(self.centre[:, None] + e).T, self.problem.u_box[0].expand(e.shape[1], -1)], 1)
        with torch.no_grad():
            return Samples(e, self.problem.network(x).T - self.centre[:, None])


def room_for(problem: Problem, centre: Float[Tensor, " n"], P: Float[Tensor, "n n"]) -> float:
    """The largest level that the box holds; where there is none, the largest that is looked at."""
    return _cap(room_around(problem, centre), P)


def _cap(room: Tensor, P: Tensor) -> float:
    return float((room**2 / torch.linalg.inv(P).diagonal()).min()) * (1 - 1e-7)


def room_around(problem: Problem, centre: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """How far a region may reach along each component."""
    if problem.box is None:
        return torch.full_like(centre, FAR * (1 + float(centre.abs().max())))
    lo, hi = problem.box
    return torch.minimum(centre - lo, hi - centre)


def _nelder_mead(loss: Callable[[Tensor], float], P: Tensor, deadline: float) -> Tensor:
    """Change the shape of P for a smaller loss; its size is kept."""
    from scipy.optimize import minimize

    n = len(P)
    if n == 1:
        return P
    L = torch.linalg.cholesky(P)
    rows, columns = torch.tril_indices(n, n, -1)

    # a factor L K with a lower triangular K whose first entry is 1: small numbers are small changes of shape
    def shape(z: Any) -> Tensor:
        z = torch.as_tensor(z, dtype=torch.float64)
        K = torch.diag(torch.cat([torch.zeros(1, dtype=torch.float64), z[: n - 1]]).clamp(-9, 9).exp())
        K[rows, columns] = z[n - 1 :]
        K = L @ K
        return K @ K.T

    def value(z: Any) -> float:
        if perf_counter() > deadline:
            return 1e300
        Q = shape(z)
        return float(loss(Q)) if _round(Q) else 1e200

    count = n - 1 + len(rows)
    simplex = torch.cat([torch.zeros(1, count), 0.5 * torch.eye(count)]).numpy()
    options = {"initial_simplex": simplex, "maxfev": 120 * count, "xatol": 1e-3, "fatol": 1e-4}
    best = minimize(value, simplex[0], method="Nelder-Mead", options=options)
    Q = shape(best.x)
    return (Q + Q.T) / 2 if _round(Q) else P


def _round(P: Tensor) -> bool:
    axes = torch.linalg.eigvalsh(P)
    return bool(axes[0] > _FLAT * axes[-1])
