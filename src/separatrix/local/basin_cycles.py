"""Fixed points and cycles that orbits come to: their exact place, their multiplier, and how far around they attract."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from separatrix.tangent.columns import Columns
from separatrix.tangent.largest_exponent import follow

States = Float[Tensor, "n K"]

_RADII = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-5)
"""Distances at which attraction is tried, in units of the region's size (or the state's, if that is larger)."""
REACH = 0.02
"""How far the refinement may move a point, in the same unit."""
_SLOW = 0.97
"""Multiplier above which an attracting cycle may fail the trial for want of time."""


@dataclass(frozen=True)
class Ruler:
    """Lengths of the problem, in the largest component.

    ``size`` is half the extent of the starting points; orbits have escaped beyond ``escape``; ``tolerance`` is the
    relative distance at which an orbit has come back, ``epsilon`` the model's own relative precision.
    """

    size: float
    escape: float
    tolerance: float
    epsilon: float

    def scale(self, x: States) -> Float[Tensor, " K"]:
        """Length that small distances at a state are measured by."""
        return x.abs().amax(0).clamp(min=self.size)

    def same(self, x: States) -> float:
        """Distance within which two refined points are one."""
        return 10 * self.tolerance * float(self.scale(x).max())

    def rounding(self, x: States) -> Float[Tensor, " K"]:
        """What the model's own precision leaves undecided of a state."""
        return 64 * self.epsilon * self.scale(x)

    @property
    def neutral(self) -> float:
        """Distance of a multiplier from 1 that counts as none."""
        return max(1e-6, 100 * self.epsilon)


@dataclass(eq=False)
class Cycle:
    """A fixed point (period 1) or cycle.

    ``points`` is (n, period); ``multiplier`` the largest modulus of an eigenvalue of the derivative along it;
    ``radius`` the distance within which all points that were tried came back to it, halved, and 0 where there is none;
    ``exponent`` with ``error`` is per step.
    """

    points: Float[Tensor, "n p"]
    multiplier: float
    radius: float
    attracting: bool
    exponent: float
    error: float

    @property
    def period(self) -> int:
        """Number of points."""
        return self.points.shape[1]

    def near(self, x: States, distance: float) -> Bool[Tensor, " K"]:
        """Which states are within a distance of one of its points."""
        found = torch.zeros(x.shape[1], dtype=torch.bool)
        for point in self.points.T:
            found |= (x - point[:, None]).abs().amax(0) <= distance
        return found


def power(system: Columns, x: States, period: int) -> tuple[States, Float[Tensor, "n n K"]]:
    """f^p and its derivative; [i, j] is that of component i by component j."""
    n = len(x)
    M = torch.eye(n, dtype=x.dtype)[:, :, None].expand(n, n, x.shape[1]).contiguous()
    for t in range(period):
        x, M = system.tangent(x, M, t)
    return x, M


def refine(
    system: Columns, x: States, period: int, ruler: Ruler, reach: float = REACH
) -> tuple[States, Bool[Tensor, " K"], Float[Tensor, "n n K"]]:
    """Solve f^p(x) = x near each state by Newton's method.

    Returns
    -------
    x : Tensor (n, K)
    good : Tensor (K,)
        Where the equation holds to rounding and the solution is near the state.
    M : Tensor (n, n, K)
        Derivative of f^p there.

    Notes
    -----
    Levenberg's damping keeps points on a line of solutions from being moved along it.
    """
    start, eye = x, torch.eye(len(x), dtype=x.dtype)
    damping = max(1e-9, 10 * ruler.epsilon) ** 2
    best, least = x, torch.full((x.shape[1],), torch.inf, dtype=x.dtype)
    for _ in range(50):
        y, M = power(system, x, period)
        error = (y - x).abs().amax(0)
        better = error < least
        best, least = torch.where(better, x, best), torch.where(better, error, least)
        going = (error > ruler.rounding(x)) & torch.isfinite(error) & torch.isfinite(M).all(0).all(0)
        if not going.any():
            break
        A = (M[:, :, going] - eye[:, :, None]).permute(2, 0, 1)
        right = A.mT @ (x - y)[:, going].T[:, :, None]
        moved, _ = torch.linalg.solve_ex(A.mT @ A + damping * eye, right)
        x = x.clone()
        x[:, going] += moved[:, :, 0].T
    good = (least <= 16 * ruler.rounding(best)) & ((best - start).abs().amax(0) <= reach * ruler.scale(start))
    return best, good, power(system, best, period)[1]


def multipliers(M: Float[Tensor, "n n K"]) -> Tensor:
    """Eigenvalues (K, n) of derivatives."""
    return torch.linalg.eigvals(M.permute(2, 0, 1).double().nan_to_num())


def make_cycle(
    system: Columns, x: Float[Tensor, "n 1"], period: int, ruler: Ruler, generator: torch.Generator
) -> Cycle:
    """The cycle through a refined point, with its least period, and whether it attracts."""
    x = _polished(system, x, period, ruler)
    points = [x]
    for t in range(period - 1):
        points.append(system.step(points[-1], t))
        if period % (t + 1) == 0 and bool((points[-1] - x).abs().amax() <= ruler.same(x)):
            points = points[: t + 1]
            break
    cycle = torch.cat(points, dim=1)
    M = power(system, x, cycle.shape[1])[1]
    multiplier = float(multipliers(M).abs().max())
    if multiplier <= (64 * ruler.epsilon) ** cycle.shape[1]:
        multiplier = 0.0  # what is left of a slope that is 0
    radius, probes = _captured(system, cycle, multiplier, ruler, generator)
    attracting = radius > 0 or _SLOW < multiplier < 1 - ruler.neutral
    exponent, error = math.log(multiplier) / cycle.shape[1] if multiplier > 0 else -math.inf, 0.0
    if radius > 0 and _kinked(system, cycle, M, ruler, generator):
        exponent, error = _along(system, cycle, probes)
    return Cycle(cycle, multiplier, radius / 2, attracting, exponent, error)


def _polished(system: Columns, x: Float[Tensor, "n 1"], period: int, ruler: Ruler) -> Float[Tensor, "n 1"]:
    """Newton's method down to the rounding of the arithmetic, which may be finer than the model's own."""
    for _ in range(4):
        y, M = power(system, x, period)
        if bool(((multipliers(M) - 1).abs() <= ruler.neutral).any()):
            break  # on a line of solutions there is no exact place
        moved = x + torch.linalg.solve_ex(torch.eye(len(x), dtype=x.dtype) - M[:, :, 0], y - x)[0]
        if not (power(system, moved, period)[0] - moved).abs().max() < (y - x).abs().max():
            break
        x = moved
    return x


def _captured(
    system: Columns, cycle: Float[Tensor, "n p"], multiplier: float, ruler: Ruler, generator: torch.Generator
) -> tuple[float, States]:
    """Largest distance from which random states come back to half of it, none leaving from less; and such states."""
    n, p = cycle.shape
    directions = torch.randn(min(64, 16 + 8 * n), n, generator=generator, dtype=torch.float64)
    directions = (directions / directions.abs().amax(1, keepdim=True)).to(cycle.dtype)
    radii = torch.tensor(_RADII, dtype=cycle.dtype)[: len(_RADII) if ruler.epsilon < 1e-9 else -1]
    radii = radii * ruler.scale(cycle).max()
    offsets = torch.einsum("r,dn->nrd", radii, directions)
    target = cycle[:, :, None, None].expand(n, p, *offsets.shape[1:])
    x = (target + offsets[:, None]).flatten(1)
    start = x
    slow = 0 < multiplier < 1 - ruler.neutral
    rounds = 64 if not slow else math.ceil(math.log(1e-3) / math.log(multiplier)) + 8
    rounds = max(min(rounds, 2000 // p), 64 // p, 1)
    for _ in range(2):
        for t in range(rounds * p):
            x = system.step(x, t)
        distance = (x - target.flatten(1)).abs().amax(0).view(p, len(radii), -1).nan_to_num(nan=torch.inf)
        farthest = (distance / radii[:, None]).amax(2).amax(0)
        if bool(farthest[-1] <= 0.5) or bool(farthest[-1] > 2):
            break
        rounds = max(1, min(8 * rounds, 2000 // p))
    # close to a point where the slope is 1 states come back too slowly to be seen, but they do not leave
    held = (farthest <= 1.01).flip(0).int().cumprod(0).flip(0).bool()
    places = (held & (farthest <= 0.5)).nonzero()[:, 0]
    if not len(places):
        return 0.0, start[:, :0]
    return float(radii[places[0]]), start.view(n, p, len(radii), -1)[:, 0, places[0]]


def _kinked(system: Columns, cycle: Float[Tensor, "n p"], M: Tensor, ruler: Ruler, generator: torch.Generator) -> bool:
    """Whether the derivative differs on the sides of a point of the cycle."""
    n, p = cycle.shape
    offsets = torch.randn(n, 16, generator=generator, dtype=torch.float64).to(cycle.dtype)
    around = cycle[:, :1] + torch.finfo(cycle.dtype).eps ** 0.5 * float(ruler.scale(cycle).max()) * offsets
    other = power(system, around, p)[1]
    return bool((other - M).abs().max() > 1e-2 * max(1.0, float(M.abs().max())))


def _along(system: Columns, cycle: Float[Tensor, "n p"], probes: States) -> tuple[float, float]:
    """Exponent along orbits that come in, before they are so close that only rounding is left."""
    p = cycle.shape[1]
    x, rounds = probes, 0
    first = (probes - cycle[:, :1]).abs().amax()
    while rounds * p < 500 and bool((x - cycle[:, :1]).abs().amax(0).min() > 1e-9 * first):
        for t in range(p):
            x = system.step(x, t)
        rounds += 1
    steps = max(2, rounds * p)
    v = torch.ones_like(probes).double()
    found = follow(system, probes, v, steps=steps - steps // 4, transient=steps // 4)
    values = found.exponent[torch.isfinite(found.exponent)]
    if not len(values):
        return -math.inf, 0.0
    return float(values.max()), float(values.std()) if len(values) > 1 else math.nan
