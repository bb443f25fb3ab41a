"""Points that refute a statement: equilibria, cycles, unstable equilibria, and points whose Jacobians expand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.problem import Corners, Problem, with_constant_input
from separatrix.certificates.refutation.eigenvalues import spectral_radius_above
from separatrix.certificates.verified import product
from separatrix.local.interval_forms import UP, Enclosed, Enclosure
from separatrix.local.interval_newton import step
from separatrix.systems.lure import Lure

Zone = tuple[Tensor, Tensor]

_LONGEST = 24
"""Steps of a cycle, beyond which nothing is proved."""

NEAR = 0.1
"""Distance, relative to 1 + abs(at), within which an equilibrium is the one near a point."""

KINKS: dict[str, tuple[float, ...]] = dict.fromkeys(
    (
        "celu",
        "gelu",
        "gelu_tanh",
        "logsigmoid",
        "mish",
        "sigmoid",
        "silu",
        "sin",
        "softplus",
        "softsign",
        "tanh",
        "tanhshrink",
    ),
    (),
) | {"elu": (0.0,), "selu": (0.0,), "hardswish": (-3.0, 3.0)}
"""Where the slope of an activation that is not piecewise linear may jump; one that is not listed may jump anywhere."""


def inside(box: Corners | None, zone: Zone) -> bool:
    """Whether a zone lies in the box of the problem."""
    return box is None or bool(((zone[0] >= box[0]) & (zone[1] <= box[1])).all())


def zone_of(network: Enclosed, point: Tensor, radius: float) -> Zone | None:
    """A box that holds a fixed point for certain, by Krawczyk's operator on point +- radius."""
    c = point[:, None]
    r = torch.full_like(c, radius)
    verdict = step(network(c, r, "slopes"), c, r)
    return (verdict.lo[:, 0], verdict.hi[:, 0]) if bool(verdict.holds) else None


def column(zone: Zone) -> tuple[Tensor, Tensor]:
    """Midpoint and radius (n, 1) of a box that holds the zone."""
    c = zone[0] / 2 + zone[1] / 2
    return c[:, None], (torch.maximum(zone[1] - c, c - zone[0]) * UP + 1e-300)[:, None]


def two_equilibria(network: Lure, problem: Problem, data: dict[str, Any]) -> float:
    """Distance of the zones of two equilibria; 0 where nothing is shown. Takes points (2, n) and radii (2,)."""
    enclosed = Enclosed(network)
    zones = [zone_of(enclosed, point, float(r)) for point, r in zip(data["points"], data["radii"], strict=True)]
    first, second = zones
    if first is None or second is None or not (inside(problem.box, first) and inside(problem.box, second)):
        return 0.0
    return _apart(first, second)


def cycle(network: Lure, problem: Problem, data: dict[str, Any]) -> float:
    """How far a point of a proved cycle is from its next ones. Takes points (1, n), radii (1,) and the least period."""
    period = int(data["period"])
    if not 2 <= period <= _LONGEST:
        return 0.0
    iterated = Enclosed(network, period)
    zone = zone_of(iterated, data["points"][0], float(data["radii"][0]))
    if zone is None:
        return 0.0
    way = [zone, *((lo[:, 0], hi[:, 0]) for lo, hi in iterated(*column(zone)).way)]
    if not all(inside(problem.box, part) for part in way):
        return 0.0
    return min(_apart(zone, way[d]) for d in range(1, period) if period % d == 0)


def unstable_equilibrium(network: Lure, problem: Problem, data: dict[str, Any], at: Tensor | None = None) -> float:
    """Spectral radius, less 1, of the derivative at a proved equilibrium. Takes points (1, n) and radii (1,).

    The derivative exists: no kink is within the zone; or n = 1, and every slope in the zone exceeds 1 in size. With
    ``at``, which must be near, a box of the radius ``reach`` around it, twice as far as ``at`` is, must have no other
    equilibrium: none is nearer to ``at`` then, in the largest component.
    """
    enclosed, point, radius = Enclosed(network), data["points"][0], float(data["radii"][0])
    zone = zone_of(enclosed, point, radius)
    if zone is None or not inside(problem.box, zone):
        return 0.0
    if at is not None:
        reach = float(data["reach"])
        far = float((at - point).abs().max())
        if not far <= min((reach - radius) / 2 * (1 - 2.0**-50), NEAR * (1 + float(at.abs().max()))):
            return 0.0
        if zone_of(enclosed, point, reach) is None:
            return 0.0
    found = enclosed(*column(zone), "slopes")
    if len(point) > 1 and not _smooth(network, found):
        return 0.0
    return (spectral_radius_above(found.slope[..., 0], found.slope_radius[..., 0]) or 1.0) - 1


def expanding_product(network: Lure, problem: Problem, data: dict[str, Any]) -> float:
    """Spectral radius, less 1, of the product of Jacobians at points near those given, the last one leftmost.

    Takes points (k, n) and radii (k,). If norm_P(f(x) - f(y)) <= q norm_P(x - y) for all x, y, then the norm of a
    product of k Jacobians is at most q^k, and so is its spectral radius. f is differentiable almost everywhere, and its
    Jacobian within the bounds of all slopes, so that each zone has a point where it is among the matrices that are
    looked at here.
    """
    enclosed = Enclosed(network)
    total: tuple[Tensor, Tensor] | None = None
    for point, radius in zip(data["points"], data["radii"], strict=True):
        r = float(radius)
        zone = (point - r, point + r)
        # as computed, it has points in its inside
        if not bool((zone[0] < zone[1]).all()) or not inside(problem.box, zone):
            return 0.0
        found = enclosed(*column(zone), "slopes")
        own = (found.slope[..., 0], found.slope_radius[..., 0])
        total = own if total is None else product(*own, *total)
    if total is None:
        return 0.0
    return (spectral_radius_above(*total) or 1.0) - 1


def leaving_point(problem: Problem, data: dict[str, Any]) -> float:
    """How far a point of the box is carried out of it in one step.

    Takes points (1, n) and, with inputs, ``input`` (m,). Against boundedness on a box, which is that orbits stay in it.
    """
    x, box = data["points"][0], problem.box
    if box is None or not inside(box, (x, x)):
        return 0.0
    u = data["input"] if problem.m else None
    if u is not None and (u.shape != problem.u_box[0].shape or not inside(problem.u_box, (u, u))):
        return 0.0
    c = x[:, None]
    found = Enclosed(with_constant_input(problem, u))(c, torch.zeros_like(c))
    return _apart((found.lo[:, 0], found.hi[:, 0]), box)


def _smooth(network: Lure, found: Enclosure) -> bool:
    """Whether no activation has a kink where its arguments can be."""
    for block, (lo, hi) in zip(network.blocks, found.ranges, strict=False):
        assert block.curve is not None
        kinks = block.curve.pieces.breakpoints.tolist() if block.curve.pieces else KINKS.get(block.curve.name)
        if kinks is None or not all(bool(((lo > kink) | (hi < kink)).all()) for kink in kinks):
            return False
    return True


def _apart(a: Zone, b: Zone) -> float:
    return max(float(torch.maximum(a[0] - b[1], b[0] - a[1]).max()), 0.0)
