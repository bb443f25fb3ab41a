"""Where to look for points that refute: solutions of f^p(x) = x, and points whose Jacobians expand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.problem import Corners, Problem
from separatrix.certificates.refutation.points import zone_of
from separatrix.local.basin_cycles import power
from separatrix.local.interval_forms import Enclosed
from separatrix.local.interval_newton import polish, prove
from separatrix.local.newton_starts import fixed_points, orbit_ends
from separatrix.systems.lure import Lure
from separatrix.tangent.columns import LureColumns

States = Float[Tensor, "n _"]

_SCALES = (0.5, 3.0, 20.0, 200.0)
_EACH = 48
_SMALL = 8
"""State components up to which eigenvalues of a thousand matrices take no time."""
_ROUNDS = 6
_KEPT = 40
_LENGTH = 4
_SHARP = 2.0**-30
"""Relative size of the zones in which Jacobians are looked at: free of kinks in most cases, and far above rounding."""


def starts(network: Lure, box: Corners | None, generator: torch.Generator) -> States:
    """Points at several scales, or all over the box, and where their orbits go."""
    n = network.inputs
    each = _EACH if n <= _SMALL else _EACH // 4
    if box is None:
        parts = [scale * torch.randn(n, each, generator=generator, dtype=torch.float64) for scale in _SCALES]
        x = torch.cat([torch.zeros(n, 1, dtype=torch.float64), *parts], 1)
    else:
        share = torch.rand(n, 4 * each, generator=generator, dtype=torch.float64)
        x = box[0][:, None] + (box[1] - box[0])[:, None] * share
    ends = orbit_ends(columns_of(network), x, 60)
    if box is not None:
        ends = ends[:, ((ends >= box[0][:, None]) & (ends <= box[1][:, None])).all(0)]
    # many end in the same place
    _, first = np.unique((ends * 1e4).round().numpy(), axis=1, return_index=True)
    return torch.cat([x, ends[:, torch.from_numpy(first)]], 1)


def furthest_out(problem: Problem, generator: torch.Generator) -> dict[str, Any]:
    """The point of the box, with an input, that is carried furthest out of it: among corners and points at random."""
    lo, hi = (torch.cat(pair) for pair in zip(problem.box or (), problem.u_box, strict=True))
    share = torch.rand(4096, len(lo), generator=generator, dtype=torch.float64)
    share[:1024] = share[:1024].round()
    x = torch.minimum(torch.maximum(lo + (hi - lo) * share, lo), hi)
    y = problem.network(x)
    n = problem.n
    out = torch.maximum(y - hi[:n], lo[:n] - y).amax(1).nan_to_num(-torch.inf)
    best = x[int(out.argmax())]
    return {"points": best[None, :n].clone()} | ({"input": best[n:].clone()} if problem.m else {})


def solutions(network: Lure, x: States, period: int, box: Corners | None) -> States:
    """Solutions of f^p(x) = x by Newton's method, at two scales where there is no box."""
    system = columns_of(network)
    x = x[:, :: 1 if network.inputs <= _SMALL else 4]
    if box is not None:
        return fixed_points(system, x, period, *box)
    found, least = [], -1.0
    for size in (20.0, 2000.0):
        edge = torch.full((network.inputs,), size, dtype=torch.float64)
        reach = x.abs().amax(0)
        found.append(fixed_points(system, x[:, (reach > least) & (reach <= size)], period, -edge, edge))
        least = size
    x = torch.cat(found, 1)
    kept = x[:, :0]
    while x.shape[1]:
        kept = torch.cat([kept, x[:, :1]], 1)
        x = x[:, (x - x[:, :1]).abs().amax(0) > 1e-6 * (1 + x[:, 0].abs().max())]
    return kept


def proved(enclosed: Enclosed, x: States) -> list[dict[str, Any]]:
    """Points, with the radius of a box that Krawczyk's operator accepts and that of the largest one."""
    if not x.shape[1]:
        return []
    size = float(1 + x.abs().max())
    proof = prove(enclosed, polish(enclosed, x, size), size)
    found = []
    for k in proof.proved.nonzero()[:, 0].tolist():
        point, slack = proof.point[:, k], float(proof.slack[k])
        widest = float((proof.hi[:, k] - proof.lo[:, k]).max()) / 2 * (1 - 2.0**-40)
        radius = next((r for j in range(1, 9) if zone_of(enclosed, point, r := slack * 2.0**j) is not None), None)
        if radius is not None:
            found.append({"point": point, "radius": radius, "reach": max(widest, radius)})
    return found


def steepest(network: Lure, x: States, box: Corners | None, generator: torch.Generator) -> tuple[States, Tensor]:
    """Points (n, K) with large spectral radii of their Jacobians, the largest first, and the Jacobians (K, n, n)."""
    system = columns_of(network)
    x, M, size = _radii(system, x)
    best = 16 if len(x) <= _SMALL else 3
    for turn in range(_ROUNDS):
        near = x[:, size.argsort(descending=True)[:best]].repeat(1, 8)
        way = torch.randn(near.shape, generator=generator, dtype=torch.float64) * 0.5 * 0.4**turn
        more = near + way * (0.3 + near.abs())
        if box is not None:  # with room for the zones
            room = 2 * radii_of(more)
            more = torch.minimum(torch.maximum(more, box[0][:, None] + room), box[1][:, None] - room)
        also = _radii(system, more)
        x, M, size = torch.cat([x, also[0]], 1), torch.cat([M, also[1]]), torch.cat([size, also[2]])
    order = size.argsort(descending=True)
    return x[:, order], M[order]


def clear(network: Enclosed, x: States) -> Tensor:
    """Which points (K,) are far enough from kinks for the Jacobian near them to be almost one matrix."""
    found = network(x, radii_of(x).expand_as(x), "slopes")
    size = found.slope.abs().sum(1).amax(0) + 1
    return found.slope_radius.sum(1).amax(0) <= 1e-4 * size


def radii_of(x: States) -> Tensor:
    """Radii of the zones around points."""
    return _SHARP * (1 + x.abs().amax(0))


def products(M: Float[Tensor, "K n n"]) -> list[list[int]]:
    """Words over matrices whose products have spectral radii above 1, the best first; the first letter acts first.

    A beam search over words of up to four letters, from the matrices with the largest norms and some at random.
    """
    norms = torch.linalg.matrix_norm(M, 2)
    most = _KEPT if M.shape[-1] <= _SMALL else _KEPT // 4
    some = torch.cat([norms.argsort(descending=True)[: most // 2], torch.arange(0, len(M), 1 + 2 * len(M) // most)])
    letters = torch.unique(some)
    M = M[letters]
    words, P, found = [[k] for k in range(len(M))], M, []
    for length in range(2, _LENGTH + 1):
        Q = (M[:, None] @ P[None]).flatten(0, 1)
        size = _spectral_radius(Q)
        best = size.argsort(descending=True)[:6].tolist()
        count = len(words)
        named = [words[k % count] + [k // count] for k in best]
        found += [(float(size[k]) ** (1 / length), word) for k, word in zip(best, named, strict=True) if size[k] > 1]
        grow = torch.linalg.matrix_norm(Q).argsort(descending=True)[: most // 2]
        keep = torch.unique(torch.cat([grow, size.argsort(descending=True)[: most // 2]]))
        words, P = [words[k % count] + [k // count] for k in keep.tolist()], Q[keep]
    found.sort(key=lambda pair: -pair[0])
    return [[int(letters[k]) for k in word] for _, word in found]


def columns_of(network: Lure) -> LureColumns:
    """The network as columns of states."""
    return LureColumns(network, torch.finfo(torch.float64).eps)


def _radii(system: LureColumns, x: States) -> tuple[States, Tensor, Tensor]:
    y, M = power(system, x, 1)
    M = M.permute(2, 0, 1)
    good = torch.isfinite(M).all(-1).all(-1) & torch.isfinite(y).all(0)
    x, M = x[:, good], M[good]
    return x, M, _spectral_radius(M)


def _spectral_radius(M: Float[Tensor, "K n n"]) -> Float[Tensor, " K"]:
    if M.shape[-1] == 1:
        return M[:, 0, 0].abs()
    if M.shape[-1] == 2:
        half = (M[:, 0, 0] + M[:, 1, 1]) / 2
        det = M[:, 0, 0] * M[:, 1, 1] - M[:, 0, 1] * M[:, 1, 0]
        square = half * half - det
        return torch.where(square >= 0, half.abs() + square.clamp(min=0).sqrt(), det.clamp(min=0).sqrt())
    return torch.linalg.eigvals(M).abs().amax(-1)
