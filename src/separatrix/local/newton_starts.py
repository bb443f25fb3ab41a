"""Fixed points of f^p by Newton's method from many starts: what is found is not all, and nothing is proved."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.local.basin_cycles import power
from separatrix.tangent.columns import Columns

States = Float[Tensor, "n _"]

_STEPS = 60
_HALVINGS = 10


def spread(lo: Float[Tensor, " n"], hi: Float[Tensor, " n"], count: int, generator: torch.Generator) -> States:
    """Half of the starts on a lattice in the box, its border included, as far as it has room; the others at random."""
    n = len(lo)
    side = int((count / 2) ** (1 / n))
    lattice = torch.zeros(n, 0, dtype=torch.float64)
    if side > 1:
        ticks = torch.linspace(0, 1, side, dtype=torch.float64)
        lattice = torch.cartesian_prod(*[ticks] * n).view(-1, n).T
    free = torch.rand(n, count - lattice.shape[1], generator=generator, dtype=torch.float64)
    return lo[:, None] + (hi - lo)[:, None] * torch.cat([lattice, free], 1)


def orbit_ends(system: Columns, x: States, steps: int = 200) -> States:
    """Where starts are after some steps, without those that grow beyond all bounds."""
    first = x
    for t in range(steps):
        x = system.step(x, t)
    kept = torch.isfinite(x).all(0) & (x.abs().amax(0) <= 1e3 * first.abs().max().clamp(min=1.0))
    return x[:, kept]


def fixed_points(
    system: Columns, starts: States, period: int, lo: Float[Tensor, " n"], hi: Float[Tensor, " n"]
) -> States:
    """Distinct solutions of f^p(x) = x in the closed box.

    Newton's method with Levenberg's damping, which falls with the residual, and steps halved until the residual falls;
    starts are given up when they do not come to rest.

    Notes
    -----
    Cost: at most 60 tangent steps of f^p for all starts, and up to 10 steps each where the residual does not fall.
    """
    n = len(starts)
    x = starts.to(system.dtype)
    eye = torch.eye(n, dtype=torch.float64)
    room = (hi - lo)[:, None]
    rounding = 64 * torch.finfo(system.dtype).eps
    best = x
    for _ in range(_STEPS):
        if not x.shape[1]:
            break
        y, M = power(system, x, period)
        g = (y - x).double()
        error = g.square().sum(0).sqrt()
        alive = torch.isfinite(error) & torch.isfinite(M).all(0).all(0)
        alive &= ((x.double() > lo[:, None] - room) & (x.double() < hi[:, None] + room)).all(0)
        x, M, g, error = x[:, alive], M[:, :, alive], g[:, alive], error[alive]
        best = x
        if not x.shape[1]:
            break
        scale = x.double().abs().amax(0).clamp(min=float(room.max()) * 1e-3)
        going = error > rounding * scale
        if not bool(going.any()):
            break
        A = M[:, :, going].permute(2, 0, 1).double() - eye
        damping = torch.minimum(error[going] ** 2, torch.tensor(1e-4, dtype=torch.float64)) * 1e-2
        right = A.mT @ g[:, going].T[:, :, None]
        moved = torch.linalg.solve_ex(A.mT @ A + (damping[:, None, None] + 1e-18) * eye, -right)[0][..., 0].T
        moved = moved.nan_to_num()
        x = x.clone()
        x[:, going] = _falling(system, x[:, going], moved, error[going], period)
    return _distinct(system, best, period, lo, hi, rounding)


def _falling(system: Columns, x: States, moved: States, error: Tensor, period: int) -> States:
    """Steps halved until the residual falls; where it never does, the smallest of them."""
    share = torch.ones_like(error)
    waiting = torch.ones_like(error, dtype=torch.bool)
    for _ in range(_HALVINGS):
        y = tried = (x[:, waiting].double() + share[waiting] * moved[:, waiting]).to(x.dtype)
        for t in range(period):
            y = system.step(y, t)
        worse = ~((y - tried).double().square().sum(0).sqrt() < error[waiting])
        place = waiting.nonzero()[:, 0]
        share[place[worse]] /= 2
        waiting[place[~worse]] = False
        if not bool(waiting.any()):
            break
    return (x.double() + share * moved).to(x.dtype)


def _distinct(
    system: Columns, x: States, period: int, lo: Float[Tensor, " n"], hi: Float[Tensor, " n"], rounding: float
) -> States:
    """Those that solve the equation and lie in the box, each once."""
    if not x.shape[1]:
        return x.double()
    y, M = power(system, x, period)
    x, error = x.double(), (y - x).double().abs().amax(0)
    size = float((hi - lo).max())
    scale = x.abs().amax(0).clamp(min=size * 1e-3)
    # rounding in the step counts for as much as its derivative magnifies
    steep = M.double().abs().sum(1).amax(0).clamp(min=1.0)
    slack = 1e-9 * size if rounding < 1e-12 else 1e-5 * size
    inside = ((x >= lo[:, None] - slack) & (x <= hi[:, None] + slack)).all(0)
    good = (error <= 16 * rounding * scale * steep) & inside
    x, error = x[:, good], error[good]
    x = x[:, error.argsort()]
    apart = max(1e-6, math.sqrt(rounding)) * size
    kept = torch.zeros(len(x), 0, dtype=torch.float64)
    while x.shape[1]:
        kept = torch.cat([kept, x[:, :1]], 1)
        x = x[:, (x - x[:, :1]).abs().amax(0) > apart]
    return kept
