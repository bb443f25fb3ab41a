"""Rays f^k(x) = s x that grow in positively homogeneous maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.verified import UP
from separatrix.local.basin_cycles import power
from separatrix.local.interval_forms import Enclosed, Enclosure
from separatrix.local.interval_newton import step
from separatrix.systems.lure import Lure
from separatrix.tangent.columns import LureColumns

_UNIT = 2.0**-52
SAME = 1e-9
"""Relative error up to which a direction found in floating point counts as one that comes back."""
LONGEST = 24
"""Most steps in which a ray or a cone comes back."""
_SMALL = 8
"""State components up to which eigenvectors of a thousand matrices take no time."""


def homogeneous(network: Lure) -> bool:
    """Whether f(t x) = t f(x) for all t > 0: no biases, and activations that are linear on either side of 0."""
    return all(
        not bool((block.bias != 0).any()) and (block.curve is None or block.curve.homogeneous)
        for block in network.blocks
    )


def ray(network: Lure, data: dict[str, Any]) -> float:
    """Least growth, less 1, of a ray with f^k(v) = s v that is proved near a direction; 0 where nothing is shown.

    Takes ``point`` (n,) with one component 1 or -1, ``growth`` close to s, ``radius`` and ``period`` k, of a
    homogeneous network. Krawczyk's operator is applied to f^k(v) - s v with that component of v held fixed; then all of
    the ray is carried outwards, which refutes every statement.
    """
    v, s, radius = data["point"], float(data["growth"]), float(data["radius"])
    place = int(v.abs().argmax())
    if (
        not homogeneous(network)
        or not 1 <= int(data["period"]) <= LONGEST
        or float(v[place].abs()) != 1
        or not radius > 0
    ):
        return 0.0
    enclosed = Enclosed(network, int(data["period"]))
    free = torch.full_like(v, radius)
    free[place] = 0.0
    c = v[:, None]
    found = enclosed(c, free[:, None], "slopes")
    # unknowns: v, with s in the place of its fixed component
    y = v.clone()
    y[place] = s
    turned = s * c
    value = y[:, None] + (found.value - turned)
    rounding = _UNIT * (2 * turned.abs() + 2 * (found.value - turned).abs() + value.abs())
    eye = torch.eye(len(v), dtype=v.dtype)[..., None]
    # derivatives of f^k(v) - s v by v, for every s, and by s at v; the operator wants those of a map, with 1 added
    slope = found.slope - s * eye
    spread = found.slope_radius + radius * eye + _UNIT * (slope.abs() + abs(s) * eye)
    slope[:, place], spread[:, place] = -c, 0.0
    everywhere = torch.full_like(c, torch.inf)
    lifted = slope + eye
    enclosure = Enclosure(
        value,
        (found.error + rounding) * UP,
        lifted,
        (spread + _UNIT * (lifted.abs() + eye)) * UP,
        -everywhere,
        everywhere,
        way=[],
        ranges=[],
    )
    verdict = step(enclosure, y[:, None], torch.full_like(c, radius))
    return max(float(verdict.lo[place, 0]) - 1, 0.0) if bool(verdict.holds) else 0.0


def search(network: Lure, longest: int, generator: torch.Generator) -> dict[str, Any] | None:
    """Find a ray that grows, among the eigenvectors of the maps of sampled directions over up to ``longest`` steps."""
    system = LureColumns(network, torch.finfo(torch.float64).eps)
    x = directions(system, network.inputs, generator)
    best: tuple[float, int, Tensor, float] | None = None
    for k in range(1, longest + 1):
        growth, v = returning(system, x, k)
        if len(growth) and (best is None or float(growth.max()) ** (1 / k) > best[0] * (1 + SAME)):
            pick = int(growth.argmax())
            best = (float(growth[pick]) ** (1 / k), k, v[:, pick], float(growth[pick]))
    if best is None:
        return None
    _, k, v, s = best
    v = v / v[v.abs().argmax()].abs()
    for radius in (1e-8, 1e-10, 1e-6, 1e-12, 1e-4):
        data = {"point": v, "growth": s, "radius": radius * max(1.0, s), "period": k}
        if ray(network, data) > 0:
            return data
    return None


def directions(system: LureColumns, n: int, generator: torch.Generator) -> Tensor:
    """Directions at random and along the axes, and where they are turned to."""
    if n == 1:
        return torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    x = torch.randn(n, 96 if n <= _SMALL else 8, generator=generator, dtype=torch.float64)
    eye = torch.eye(n, dtype=torch.float64)[:, :_SMALL]
    x = torch.cat([x / x.norm(dim=0), eye, -eye], 1)
    ends = x
    for t in range(150):
        ends = system.step(ends, t)
        ends = ends / ends.norm(dim=0)
    return torch.cat([ends[:, torch.isfinite(ends).all(0)], x], 1)


def returning(system: LureColumns, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Growth (K,) above 1 and directions (n, K) with f^k(v) = s v to rounding, from the maps at directions x."""
    M = power(system, x, k)[1].permute(2, 0, 1)
    M = M[torch.isfinite(M).all(-1).all(-1)]
    values, vectors = torch.linalg.eig(M)
    real = (values.imag.abs() <= SAME * values.abs()) & (values.real > 1 + SAME)
    which, column = real.nonzero(as_tuple=True)
    v = vectors.real[which, :, column].T
    v = torch.cat([v, -v], 1)
    growth = values.real[which, column].repeat(2)
    y = v
    for t in range(k):
        y = system.step(y, t)
    good = (y - growth * v).abs().amax(0) <= SAME * growth * v.abs().amax(0)
    return growth[good], v[:, good]
