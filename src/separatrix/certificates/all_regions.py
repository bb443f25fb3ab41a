"""What the maps of all linear regions together say of a piecewise-linear map: contraction, and boundedness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.common_metric import common_metric, each_shrinks
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.certificates.region_cover import Cover, Incomplete, region_cover
from separatrix.certificates.verified import TINY, UNIT, UP, positive_definite

CONTRACTION = "contraction by regions"
BOUNDEDNESS = "boundedness by regions"

FAR = 2.0**-36
"""Rays with a smaller tau, relative to y, count as directions: two parallel lines meet there but for rounding."""
_PARTS = 64
"""Parts that a cone of directions is cut into."""
_ROOM = 1.001
"""The ball that is entered is larger by this than the one that is approached."""
_LEAST_RATE = 1e-9
_ENOUGH = 0.5
"""A rate far from the origin that is small enough: a smaller one takes a steeper metric, and a larger ball."""
_SMALL = 1e-6
"""Radius of the ball where all orbits go to 0."""
_CHECK_SECONDS = 3600.0


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
        """What :func:`_gauge` needs."""
        return {"norm": self.name} | ({} if self.P is None else {"P": torch.from_numpy(self.P)})


def prove_contraction_by_regions(
    problem: Problem, *, norm: str = "best", seconds: float = 60.0, limit: int = 20_000
) -> Proof | Failure:
    """|f(x) - f(y)| <= q |x - y| for all x and y of the box, or of all space, if every region's A_i shrinks by q.

    A segment from x to y is cut by the regions into parts on each of which f is affine, so that f(x) - f(y) is a mean
    of A_i (x - y).

    Parameters
    ----------
    problem : Problem
        Piecewise linear, with one or two components.
    norm : str
        "P" for one quadratic norm, which is looked for; "1", "2" or "inf" for that one; "best" for a quadratic one,
        and the others if there is none.
    seconds : float
        Time for the regions, and once more for the norm.
    limit : int
        Most regions.

    Returns
    -------
    Proof or Failure
        With a box the rate is a bound between states of the box; that orbits stay in it is another question.
    """
    cover = _covered(problem, CONTRACTION, limit, seconds)
    if isinstance(cover, Failure):
        return cover
    radius = float(np.abs(np.linalg.eigvals(cover.A)).max())
    if not radius < 1:
        reason = f"a region has spectral radius {radius:.6g}: no norm shrinks there"
        return Failure(CONTRACTION, reason, "where orbits stay in part of the space, a box")
    tried = []
    for name in ("P", "1", "inf") if norm == "best" else (norm,):
        P = common_metric(cover.A, seconds=seconds)[0] if name == "P" else None
        gauge = Gauge(name, P)
        found = float(gauge.rates(cover.A).max())
        for raised in (0.0, 1e-9, 1e-7, 1e-5, 1e-3):
            rate = max(found, _LEAST_RATE) * (1 + raised)
            if rate < 1 and gauge.shrinks(cover.A, cover.A_radius, rate).all():
                # some room for the rounding of another machine
                rate = min(rate * (1 + 1e-10 + raised), rate + (1 - rate) / 2)
                proof = _contraction(problem, cover, {**gauge.data(), "rate": rate, "regions": len(cover.A)})
                if isinstance(proof, Proof):
                    return proof
        tried.append(f"{'best norm |x|_P that was found' if name == 'P' else name + '-norm'}: {found:.6g}")
    return Failure(CONTRACTION, f"rates of {len(cover.A):,} regions: " + "; ".join(tried), "another norm, or a box")


def verify_contraction_by_regions(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: all regions, and that each map shrinks in the norm that was found."""
    cover = _covered(problem, CONTRACTION, _limit(data), _CHECK_SECONDS)
    return cover if isinstance(cover, Failure) else _contraction(problem, cover, data)


def _contraction(problem: Problem, cover: Cover, data: dict[str, Any]) -> Proof | Failure:
    gauge, rate = _gauge(data, problem.n), _number(data, "rate")
    if gauge is None or not 0 < rate < 1 or not gauge.shrinks(cover.A, cover.A_radius, rate).all():
        return Failure(CONTRACTION, "the rate does not hold")
    notes = () if problem.box is None else ("between any two states of the box",)
    return Proof(CONTRACTION, rate, gauge.name, None, 1 - rate, data, notes)


def prove_boundedness_by_regions(
    problem: Problem, *, norm: str = "best", seconds: float = 60.0, limit: int = 20_000
) -> Proof | Failure:
    """|f(x)| <= r |x| + beta for all x with r < 1, from the unbounded regions and the directions in which they extend.

    Every ball |x| <= R with R >= beta / (1 - r) is then mapped into itself, and every orbit enters it in finite time if
    R > beta / (1 - r). The proof's bound is such an R, a thousandth above: the ball about 0 is entered by every orbit
    and never left again.

    Parameters
    ----------
    problem : Problem
        Piecewise linear, with one or two components, without a box.
    norm : str
        As for :func:`prove_contraction_by_regions`.
    seconds : float
        Time for the regions, and once more for the norm.
    limit : int
        Most regions.

    Notes
    -----
    A point x of a cell is p + d, p a mean of the cell's vertices v_k and d of its directions, so that
    |f(x)| <= max |f(v_k)| + |A d| <= r |x| + max |f(v_k)| + r max |v_k| where |A d| <= r |d| in the cone of
    directions; also |f(x)| <= r |x| + |b| where |A| <= r. Only directions matter for r: between two saturated pieces
    of an activation, A may be large across a strip.
    """
    if problem.box is not None:
        return Failure(BOUNDEDNESS, "it is a statement about all of space", "leave the box out")
    cover = _covered(problem, BOUNDEDNESS, limit, seconds)
    if isinstance(cover, Failure):
        return cover
    cones = _cones(cover)
    found: list[tuple[float, dict[str, Any]]] = []
    tried = []
    for gauge in _gauges(cover, cones, norm, seconds):
        inside = _cone_rates(cover, cones, gauge)
        least = np.where(inside >= 0, np.minimum(inside, gauge.rates(cover.A)), 0.0)
        lowest = max(float(least.max()) * (1 + 1e-9), _LEAST_RATE)
        tried.append(f"{gauge.name}-norm: {lowest:.6g}")
        for share in (0.001, 0.1, 0.3, 0.6) if lowest < 1 else ():
            rate = lowest + share * (1 - lowest)
            radius = max(_ROOM * _offset(cover, cones, inside, gauge, rate) / (1 - rate), _SMALL)
            data = {**gauge.data(), "rate": rate, "radius": radius, "regions": len(cover.A)}
            data["centre"] = torch.zeros(problem.n, dtype=torch.float64)
            # a metric's least eigenvalue is 1: in all norms but the last, a radius bounds the 2-norm
            found.append((radius * (problem.n**0.5 if gauge.name == "inf" else 1.0), data))
    for _, data in sorted(found, key=lambda one: one[0]):
        proof = _boundedness(problem, cover, cones, data)
        if isinstance(proof, Proof):
            return proof
    return Failure(BOUNDEDNESS, "rates far from the origin: " + "; ".join(tried), "another norm or method")


def _gauges(cover: Cover, cones: _Cones, norm: str, seconds: float) -> Iterator[Gauge]:
    """Norms in which the map may shrink far from the origin."""
    if norm in ("1", "2", "inf"):
        yield Gauge(norm)
        return
    if norm == "best":
        yield from (Gauge("2"), Gauge("1"), Gauge("inf"))
    wide = np.unique(cones.cell)
    yield Gauge("P", common_metric(cover.A[wide], seconds=seconds, enough=_ENOUGH)[0])
    # a metric for directions alone, and once more for those that are one angle apart as it sees them
    gauge = Gauge("2")
    images, y = _directions(cover, cones, gauge)
    for _ in range(2):
        gauge = Gauge("P", common_metric(images, y, seconds=seconds, enough=_ENOUGH)[0])
        yield gauge
        more = _directions(cover, cones, gauge)
        images, y = np.concatenate([images, more[0]]), np.concatenate([y, more[1]])


def verify_boundedness_by_regions(problem: Problem, data: dict[str, Any]) -> Proof | Failure:
    """Show it again: all regions, the rate in their directions, and the offset that is left."""
    if problem.box is not None:
        return Failure(BOUNDEDNESS, "it is a statement about all of space", "leave the box out")
    cover = _covered(problem, BOUNDEDNESS, _limit(data), _CHECK_SECONDS)
    return cover if isinstance(cover, Failure) else _boundedness(problem, cover, _cones(cover), data)


def _boundedness(problem: Problem, cover: Cover, cones: _Cones, data: dict[str, Any]) -> Proof | Failure:
    gauge, rate, radius = _gauge(data, problem.n), _number(data, "rate"), _number(data, "radius")
    if gauge is None or not 0 < rate < 1 or not 0 < radius < np.inf:
        return Failure(BOUNDEDNESS, "the rate does not hold")
    beta = _offset(cover, cones, _cone_rates(cover, cones, gauge), gauge, rate)
    if not beta * UP < radius * (1 - rate) * (1 - 2.0**-40):
        return Failure(BOUNDEDNESS, "the rate, or the radius, does not hold")
    return Proof(BOUNDEDNESS, rate, gauge.name, radius, 1 - rate, data, ("the ball is about 0",))


def _covered(problem: Problem, method: str, limit: int, seconds: float) -> Cover | Failure:
    if problem.network.outputs != problem.n:
        return Failure(method, "the map does not stay in its space")
    try:
        return region_cover(problem, limit=limit, seconds=seconds)
    except Incomplete as incomplete:
        return Failure(method, incomplete.reason, incomplete.advice)


def _limit(data: dict[str, Any]) -> int:
    # on another machine rounding may keep a few more cells
    regions = data.get("regions")
    return (2 * regions if isinstance(regions, int) else 0) + 1000


def _number(data: dict[str, Any], name: str) -> float:
    value = data.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def _gauge(data: dict[str, Any], n: int) -> Gauge | None:
    name, P = data.get("norm"), data.get("P")
    if name in ("1", "2", "inf") and P is None:
        return Gauge(name)
    if name != "P" or not isinstance(P, Tensor) or P.shape != (n, n) or not bool(torch.isfinite(P).all()):
        return None
    if P.dtype != torch.float64 or not torch.equal(P, P.mT) or not bool(positive_definite(P)):
        return None
    return Gauge("P", P.numpy())


@dataclass(frozen=True)
class _Cones:
    """Directions in which the cells extend.

    Attributes
    ----------
    far : array (total,)
        Which rays count as directions.
    cell, first, second : array (pairs,)
        Rays whose cones together cover the directions of each cell.
    """

    far: np.ndarray
    cell: np.ndarray
    first: np.ndarray
    second: np.ndarray


def _cones(cover: Cover) -> _Cones:
    """All neighbours among a cell's directions, by angle: in whatever order, a path that visits all spans all."""
    far = cover.rays[:, 2] <= FAR * np.abs(cover.rays[:, :2]).max(1)
    rays, cell = np.flatnonzero(far), cover.cell[far]
    # a cell lies in one quadrant, where this grows, or falls, with the angle
    size = np.abs(cover.rays[rays, :2])
    angle = size[:, 1] / size.sum(1)
    order = np.lexsort((angle, cell))
    rays, cell = rays[order], cell[order]
    same = cell[1:] == cell[:-1]
    alone = np.concatenate([[True], ~same]) & np.concatenate([~same, [True]])
    first = np.concatenate([rays[:-1][same], rays[alone]])
    second = np.concatenate([rays[1:][same], rays[alone]])
    return _Cones(far, np.concatenate([cell[1:][same], cell[alone]]), first, second)


def _between(cover: Cover, cones: _Cones, gauge: Gauge, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions y (pairs, parts + 1, n) in each cone, from end to end, with their errors."""
    n = cover.A.shape[-1]
    a, b = cover.rays[cones.first, :n], cover.rays[cones.second, :n]
    T = np.eye(n) if gauge.P is None else np.linalg.cholesky(gauge.P).T
    # steps of one angle each, as the norm sees it
    long = [np.linalg.norm(x @ T.T, axis=1)[:, None] for x in (a, b)]
    cosine = ((a @ T.T) * (b @ T.T)).sum(1, keepdims=True) / (long[0] * long[1])
    angle = np.arccos(np.clip(cosine, -1, 1))
    share = np.linspace(0, 1, parts + 1)
    narrow = angle < 1e-6
    safe = np.where(narrow, 1.0, angle)
    alpha = np.where(narrow, 1 - share, np.abs(np.sin((1 - share) * safe))) / long[0]
    beta = np.where(narrow, share, np.abs(np.sin(share * safe))) / long[1]
    alpha[:, -1], beta[:, 0] = 0, 0
    middle = alpha[..., None] * a[:, None] + beta[..., None] * b[:, None]
    error = np.maximum(cover.error[cones.first], cover.error[cones.second])[:, None, None] + 4 * UNIT
    return middle, error * np.abs(middle) * UP


def _directions(cover: Cover, cones: _Cones, gauge: Gauge) -> tuple[np.ndarray, np.ndarray]:
    """Images (K, n, 1) of directions, and these, from which a norm is looked for."""
    y = _between(cover, cones, gauge, 8)[0]
    images = np.einsum("kij,kpj->kpi", cover.A[cones.cell], y)
    n = y.shape[-1]
    return images.reshape(-1, n, 1), y.reshape(-1, n, 1)


def _cone_rates(cover: Cover, cones: _Cones, gauge: Gauge) -> Float[np.ndarray, " cells"]:
    """Bounds of |A y + b tau| / |y| over the directions of each cell; -1 for a cell that has none.

    |A y| is convex, and |y| at least a linear function, in each of the parts that a cone is cut into; tau is at most
    the largest share that it has in a ray of the cell, of the 1-norm of y, which is additive in a quadrant.
    """
    y, dy = _between(cover, cones, gauge, _PARTS)
    image, error = _apply(cover.A[cones.cell], cover.A_radius[cones.cell], y, dy)
    rays, own = cover.rays[cones.far], cover.error[cones.far]
    share = np.zeros(len(cover.A))
    np.maximum.at(share, cover.cell[cones.far], rays[:, 2] / np.abs(rays[:, :2]).sum(1) * (1 + 4 * own) * UP)
    offset = (share * gauge.upper(cover.b, cover.b_radius))[cones.cell, None]
    size = (gauge.upper(image, error) + (np.abs(y) + dy).sum(-1) * offset) * UP
    middle = y[:, 1:] + y[:, :-1]
    found = np.full(len(cover.A), -1.0)
    for end in (slice(1, None), slice(None, -1)):
        least = gauge.along(middle, y[:, end], dy[:, end])
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(least > 0, size[:, end] / least * UP, np.inf)
        np.maximum.at(found, cones.cell, rate.max(1))
    return found


def _apply(A: np.ndarray, radius: np.ndarray, x: np.ndarray, dx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A x (maps, points, n) for matrices and vectors that are known to within radii, and how far it may be off."""
    middle = x @ A.swapaxes(1, 2)
    size = np.abs(x) @ np.abs(A).swapaxes(1, 2)
    error = (np.abs(x) + dx) @ radius.swapaxes(1, 2) + dx @ np.abs(A).swapaxes(1, 2)
    return middle, (error + 4 * (x.shape[-1] + 2) * UNIT * size) * UP + TINY


def _offset(cover: Cover, cones: _Cones, inside: np.ndarray, gauge: Gauge, rate: float) -> float:
    """The least beta that is found with |f(x)| <= rate |x| + beta for all x; infinite if there is none.

    Three ways for each cell: by its vertices and directions apart, by its map as a whole, and by vertices and
    directions together with one linear function w(x) <= |x| in place of the norm.
    """
    n, cell, far = cover.A.shape[-1], cover.cell, cones.far
    # points, and directions as they are
    scale = np.where(far, 1.0, cover.rays[:, 2])[:, None]
    x, tau, own = cover.rays[:, :n] / scale, cover.rays[:, 2:] / scale, cover.error[:, None]
    dx = np.abs(x) * (2 * own + 4 * UNIT) * UP + TINY
    image, error = _apply(cover.A[cell], cover.A_radius[cell], x[:, None], dx[:, None])
    shift = tau * cover.b[cell]
    value = image[:, 0] + shift
    error = error[:, 0] + tau * cover.b_radius[cell] * (1 + 2 * own)
    error = (error + np.abs(shift) * (2 * own + 8 * UNIT) + 2 * UNIT * np.abs(value)) * UP
    images, sizes = gauge.upper(value, error), gauge.upper(x, dx)
    largest, longest, together = np.zeros((3, len(cover.A)))
    np.maximum.at(largest, cell[~far], images[~far])
    np.maximum.at(longest, cell[~far], sizes[~far])
    shrinks = gauge.shrinks(cover.A, cover.A_radius, rate)
    straight = np.ones(len(cover.A), dtype=bool)
    np.logical_and.at(straight, cell[far], cover.rays[far, 2] == 0)
    apart = np.where((inside <= rate) | (shrinks & straight), (largest + rate * longest) * UP, np.inf)
    apart = np.where(inside < 0, largest, apart)
    whole = np.where(shrinks, gauge.upper(cover.b, cover.b_radius), np.inf)
    middle = np.zeros((len(cover.A), n))
    np.add.at(middle, cell, np.where((inside[cell] < 0) == far, 0.0, 1 / sizes)[:, None] * x)
    least = rate * gauge.along(middle[cell], x, dx)
    excess = images - least + 2.0**-40 * (images + np.abs(least))
    # directions have no end, and may not exceed at all
    np.maximum.at(together, cell, np.where(far & (excess > 0), np.inf, excess))
    return max(float(np.minimum(np.minimum(apart, whole), together).max()), 0.0) * UP
