"""Search, in floating point, for an equilibrium and for quadratic functions that fall around it."""

from __future__ import annotations

from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.attraction.cell_walk import Cells, Walk
from separatrix.certificates.attraction.check import NAME
from separatrix.certificates.attraction.shapes import Candidate, Search, room_around
from separatrix.certificates.problem import Failure, Problem

SHAPED = 3
"""State components up to which the shape of the ellipsoid is improved."""
_VERGE = 1e-9
_NEAR = 0.1
_NOTHING = 1e-16
"""Levels below this share of what there is room for are rounding."""


def equilibrium_near(problem: Problem, walk: Walk, at: Float[Tensor, " n"]) -> Tensor | Failure:
    """Newton's method from a point, or from where the orbit of the point ends."""
    at = at.double()
    size = 1 + float(at.abs().max())
    far: Tensor | None = None
    for end in (False, True):
        found, off = _newton(walk, _orbit_end(problem, at) if end else at)
        if not off <= 1e-9 * (1 + float(found.abs().max())):
            continue
        if float((found - at).abs().max()) <= _NEAR * size:
            return found
        far = found
    where = f"; the one that Newton's method finds is at {_words(far)}" if far is not None else ""
    return Failure(NAME, f"there is no equilibrium near {_words(at)}{where}", "sx.equilibria finds all that there are")


def _newton(walk: Walk, x: Tensor) -> tuple[Tensor, float]:
    """The best of a few iterates, and the largest component of f(x) - x there."""
    best, least = x, float("inf")
    eye = torch.eye(len(x), dtype=x.dtype)
    for _ in range(20):
        cells = walk.step(walk.around(x[:, None], torch.zeros_like(x)[:, None]), "slopes")
        g = cells.value[:, 0] - x
        off = float(g.abs().max())
        if not off < least:
            break
        best, least = x, off
        x = x + torch.linalg.lstsq(eye - cells.slope[..., 0], g[:, None]).solution[:, 0]
    return best, least


def _orbit_end(problem: Problem, at: Tensor) -> Tensor:
    x = torch.cat([at, problem.u_box[0]])[None]
    with torch.no_grad():
        for _ in range(2000):
            x = torch.cat([problem.network(x), x[:, problem.n :]], 1)
    return x[0, : problem.n]


def candidates(problem: Problem, walk: Walk, centre: Float[Tensor, " n"], seconds: float) -> list[Candidate] | Failure:
    """Quadratic functions that may fall around an equilibrium, the most promising first."""
    matrices = _jacobians(walk, centre)
    modulus = float(torch.linalg.eigvals(matrices[0]).abs().max())
    if len(matrices) == 1 and modulus >= 1 - _VERGE:
        if modulus > 1 + _VERGE:
            reason = f"the equilibrium at {_words(centre)} is unstable: spectral radius {modulus:.9g}"
            return Failure(NAME, reason)
        reason = f"the equilibrium at {_words(centre)} has an eigenvalue of modulus 1 to rounding: undecided"
        return Failure(NAME, reason)
    room = room_around(problem, centre)
    if not bool((room > 0).all()):
        return Failure(NAME, f"the equilibrium at {_words(centre)} is on or outside the border of the box")
    share = 0.005 * max(1 - modulus**2, 1e-6) if len(matrices) == 1 else 5e-4
    shares = (share, 10 * share) if len(matrices) == 1 else (2 * share, 2 * share)
    search = Search(problem, centre, room, shares, perf_counter() + seconds)
    starts = [P for P in _lyapunov(matrices, room, modulus) if bool(torch.linalg.eigvalsh(P)[0] > 0)]
    if len(matrices) > 1 and len(centre) <= SHAPED:
        starts.append(torch.diag(1 / room**2))
    if not starts:
        return Failure(NAME, f"no quadratic function falls around the equilibrium at {_words(centre)}")
    if len(centre) > SHAPED:
        return [search.met_along_rays(P) for P in starts]
    starts = sorted((search.met(P) for P in starts), key=lambda P: -search.volume(P, search.first(P)))
    found = [search.shaped(P) for P in starts[:2]]
    found = [one for one in found if one.level > _NOTHING * search.cap(one.P)]
    if not found:
        reason = f"no quadratic function was found that falls around the equilibrium at {_words(centre)}"
        return Failure(NAME, reason, "its stability may depend on the slopes on all sides of a kink")
    return sorted(found, key=lambda one: -search.volume(one.P, one.level))


def _jacobians(walk: Walk, centre: Tensor) -> Float[Tensor, "k n n"]:
    """The Jacobian at the equilibrium; where it jumps there, those of many states close to it."""

    def at(c: Tensor) -> Cells:
        return walk.step(walk.around(c, torch.zeros_like(c)), "slopes")

    size = 1e-9 * (1 + float(centre.abs().max()))
    whole = walk.around(centre[:, None], torch.full_like(centre, size)[:, None])
    if float(walk.step(whole, "slopes").slope_radius.max()) < 1e-4:
        return at(centre[:, None]).slope.permute(2, 0, 1)
    generator = torch.Generator().manual_seed(0)
    near = centre[:, None] + size * torch.randn(len(centre), 256, generator=generator, dtype=torch.float64)
    return torch.unique(at(near).slope.permute(2, 0, 1).contiguous(), dim=0)


def _lyapunov(matrices: Tensor, room: Tensor, modulus: float) -> list[Tensor]:
    """Solutions of P - A'PA/g^2 = Q for the mean matrix, a few g, and Q of two kinds."""
    A = matrices.mean(0)
    modulus = float(torch.linalg.eigvals(A).abs().max()) if len(matrices) > 1 else modulus
    found = []
    for square in (1.0, 0.5 + 0.5 * modulus**2, 0.1 + 0.9 * modulus**2):
        for Q in (torch.diag(1 / room**2), torch.eye(len(A), dtype=A.dtype) / float(room.max()) ** 2):
            P, power = Q.clone(), A / max(square, 1e-6) ** 0.5
            for _ in range(50):  # twice as many terms of the series each time
                P = P + power.T @ P @ power
                power = power @ power
            P = (P + P.T) / 2
            if modulus**2 < square and bool(torch.isfinite(P).all()):
                found.append(P)
    return found


def _words(x: Tensor) -> str:
    shown = ", ".join(f"{float(v):.6g}" for v in x[:4])
    return f"({shown}{', ...' if len(x) > 4 else ''})"
