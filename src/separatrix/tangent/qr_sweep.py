"""Orthonormal frames carried along orbits: M_n Q_n = Q_{n+1} R_{n+1} with positive diagonals, in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from separatrix.tangent.orbits import Orbits

ROUNDING = 64.0
"""A pivot below this many eps times the largest entry of R is rounding."""


class Frames(NamedTuple):
    """Where a sweep stands before step t; tensors are never changed in place, so that one may be kept and returned to.

    Attributes
    ----------
    x : Tensor (B, n)
        States; those of orbits that have ended stand in for them and mean nothing.
    q : Tensor (S, B, n, k), float64
        S orthonormal frames at each state.
    alive : Tensor (B,)
        False once a state or a tangent was not finite.
    t : int
        Number of the next step.
    """

    x: Float[Tensor, "B n"]
    q: Float[Tensor, "S B n k"]
    alive: Bool[Tensor, " B"]
    t: int


class Factor(NamedTuple):
    """What one step gave: R (S, B, k', k') with k' = min(k, n'), its diagonal at least the floor, and where it was."""

    r: Float[Tensor, "S B m m"]
    floored: Bool[Tensor, "S B m"]


def orthonormalise(
    columns: Float[Tensor, "*batch n k"], eps: float
) -> tuple[Float[Tensor, "*batch n m"], Float[Tensor, "*batch m m"], Bool[Tensor, "*batch m"]]:
    """QR with a positive diagonal, by Householder reflections, so that Q is orthonormal whatever the columns are.

    Parameters
    ----------
    columns : (..., n, k) tensor, float64
        If n < k, the last k - n columns have no part of their own, and are left out of R.
    eps : float
        Relative precision of the entries.

    Returns
    -------
    q : (..., n, m) tensor
        m = min(n, k) orthonormal columns.
    r : (..., m, m) tensor
        Upper triangular. A diagonal entry below the floor, 64 eps times the largest entry of R (times 1 if R is zero),
        is the rounding of a zero; it is set to the floor, so that logarithms and triangular solves stay finite.
    floored : (..., m) tensor of bool
        Where that happened.
    """
    q, r = torch.linalg.qr(columns)
    m = r.shape[-2]
    r = r[..., :m]
    pivots = r.diagonal(dim1=-2, dim2=-1)
    # rows of R and columns of Q by sign(R_jj), where 0 counts as +1: plain logarithms, and a unique factorisation
    sign = torch.where(pivots < 0, -1.0, 1.0)
    q.mul_(sign[..., None, :])
    r.mul_(sign[..., :, None])
    size = r.abs().amax((-2, -1))[..., None]
    floor = ROUNDING * eps * torch.where(size == 0, 1.0, size)
    floored = pivots.abs() < floor
    if bool(floored.any()):
        r = r + torch.diag_embed(torch.where(floored, floor - pivots.abs(), 0.0))
    return q, r, floored


def random_frames(seeds: int, members: int, n: int, k: int, seed: int) -> Float[Tensor, "seeds members n k"]:
    """Orthonormal frames, uniformly distributed; a member's own depend on the seed and its place, not on who follows.

    NumPy's numbers come one after the other, whereas torch's last ones depend on how many are drawn.
    """
    draws = [np.random.default_rng((seed, place)).standard_normal((members, n, k)) for place in range(seeds)]
    columns = torch.from_numpy(np.stack(draws))
    return orthonormalise(columns, torch.finfo(torch.float64).eps)[0]


def begin(orbits: Orbits, states: Tensor, k: int, seed: int, seeds: int = 1) -> Frames:
    """Stand at the first states with random frames."""
    members, n = states.shape
    x = states.to(orbits.device, orbits.dtype)
    q = random_frames(seeds, members, n, k, seed).to(orbits.device)
    return Frames(x, q, torch.ones(members, dtype=torch.bool, device=orbits.device), 0)


def carry(orbits: Orbits, x: Tensor, V: Tensor, alive: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor]:
    """Carry states (B, n) and tangents (k, B, n) a step; orbits that end are held at a finite state.

    The batch keeps its shape when orbits end: products of matrices round differently in batches of another size, and
    a replay must give the same bits.
    """
    following, MV = orbits.tangent(x, V, t)
    # one pass tells that all are finite; that not all are, or that a sum overflows, is looked into
    if bool(torch.isfinite(following.sum() + MV.sum())):
        return following, MV, alive
    good = torch.isfinite(following).all(-1) & torch.isfinite(MV).all(-1).all(0)
    if not bool(good.all()):
        same = following.shape == x.shape
        following = torch.where(good[:, None], following, x if same else torch.zeros_like(following))
        unit = torch.eye(MV.shape[-1], dtype=MV.dtype, device=MV.device)
        unit = unit.repeat(-(-len(MV) // len(unit)), 1)[: len(MV), None]
        MV = torch.where(good[:, None], MV, unit)
    return following, MV, alive & good


def advance(orbits: Orbits, frames: Frames) -> tuple[Frames, Factor]:
    """Take a step and factorise: Q_{n+1} R_{n+1} = M_n Q_n for every frame.

    Cost: one tangent step with S k tangents, and about 4 B S n k^2 operations for the factorisation.
    """
    seeds, members, n, k = frames.q.shape
    V = frames.q.permute(0, 3, 1, 2).reshape(seeds * k, members, n)
    x, MV, alive = carry(orbits, frames.x, V, frames.alive, frames.t)
    columns = MV.reshape(seeds, k, members, -1).permute(0, 2, 3, 1)
    q, r, floored = orthonormalise(columns, torch.finfo(orbits.dtype).eps)
    return Frames(x, q, alive, frames.t + 1), Factor(r, floored)


def logarithms(factor: Factor, alive: Tensor, k: int) -> Float[Tensor, "S B k"]:
    """Natural logarithms of the diagonal; -inf for indices that a bottleneck removed, NaN for orbits that ended."""
    logs = factor.r.diagonal(dim1=-2, dim2=-1).log()
    if logs.shape[-1] < k:
        missing = logs.new_full((*logs.shape[:-1], k - logs.shape[-1]), -torch.inf)
        logs = torch.cat([logs, missing], -1)
    return logs if bool(alive.all()) else logs.masked_fill(~alive[:, None], torch.nan)
