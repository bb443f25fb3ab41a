"""The first steps of training with all tangents: orthonormal frames carried along, and what the loss shows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.systems.training import Training
from separatrix.tangent.orbits import Orbits
from separatrix.tangent.qr_sweep import Factor, carry, logarithms, orthonormalise


def chunk(n: int, factors: int) -> int:
    """Members that are carried together: their tangents stay in a core's cache, and the R that are kept in 256 MB."""
    kept = 32_000_000 // (factors * n * n) if factors else 125
    return max(16, min(125, 60_000 // (n * n), kept))


class Early(NamedTuple):
    """What the first steps gave for a chunk of members; an orbit that left the floating-point numbers has infinity.

    Attributes
    ----------
    loss, gradient_norm, sharpness : Tensor (B, T)
        At each recorded step; sharpness is the largest eigenvalue of the Hessian.
    stretch : Tensor (S, B, T, n)
        Sums of ln R_ii from the first step, for each first frame, in the order of the frame's vectors.
    singular : Tensor (B,)
        Factorisations in which a pivot was rounding.
    factors : list of Tensor (B, n, n)
        R of each factorisation, of the first frame; empty if not asked for.
    states : Tensor (B, n)
        After the last step.
    """

    loss: Float[Tensor, "B T"]
    gradient_norm: Float[Tensor, "B T"]
    sharpness: Float[Tensor, "B T"]
    stretch: Float[Tensor, "S B T n"]
    singular: Int[Tensor, " B"]
    factors: list[Tensor]
    states: Float[Tensor, "B n"]


@torch.no_grad()
def early(
    system: Training,
    states: Float[Tensor, "B n"],
    frames: Float[Tensor, "S B n n"],
    steps: int,
    *,
    every: int,
    record: int,
    keep: bool,
) -> Early:
    """Carry full frames along training: M ... M Q = Q' R with positive diagonals, over ``every`` steps at a time.

    Parameters
    ----------
    system : Training
    states : (B, n) tensor
    frames : (S, B, n, n) tensor
        First frames.
    steps, every, record : int
        In all, between factorisations and between records; each divides the one before in size. R is that of the map
        of ``every`` steps, and the sums of logarithms are the same as with one factorisation a step.
    keep : bool
        Keep all R, for the backward pass to covariant vectors.
    """
    orbits = Orbits(system, states, steps)
    seeds, members, n, _ = frames.shape
    alive = torch.ones(members, dtype=torch.bool)
    x, q = states, frames
    total = torch.zeros(seeds, members, n, dtype=torch.float64)
    singular = torch.zeros(members, dtype=torch.int64)
    factors: list[Tensor] = []
    seen = [_look(system, x, alive)]
    sums = [total]
    for start in range(0, steps, every):
        V = q.permute(0, 3, 1, 2).reshape(seeds * n, members, n)
        for t in range(start, start + every):
            x, V, alive = carry(orbits, x, V, alive, t)
        columns = V.reshape(seeds, n, members, n).permute(0, 2, 3, 1)
        q, r, floored = orthonormalise(columns, torch.finfo(torch.float64).eps)
        total = total + logarithms(Factor(r, floored), alive, n)
        singular += floored.any(-1).any(0)
        if keep:
            factors.append(r[0])
        if (start + every) % record == 0:
            seen.append(_look(system, x, alive))
            sums.append(total)
    loss, gradient, sharpness = (torch.stack(column, 1) for column in zip(*seen, strict=True))
    stretch = torch.stack(sums, 2)
    stretch = stretch.masked_fill(stretch.isnan(), torch.inf)
    # runs that ended stay ended, whatever stood in for them
    ended = torch.where(alive[:, None], x, torch.full_like(x, torch.nan))
    return Early(loss, gradient, sharpness, stretch, singular, factors, ended)


def _look(system: Training, x: Tensor, alive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    loss, gradient = system.loss(x), torch.linalg.vector_norm(system.gradient(x), dim=-1)
    hessian = system.hessian(x)
    fine = torch.isfinite(hessian).all(-1).all(-1)
    sharpness = torch.linalg.eigvalsh(torch.where(fine[:, None, None], hessian, 0.0))[..., -1]
    known = alive & fine & torch.isfinite(loss) & torch.isfinite(gradient)
    return (
        loss.masked_fill(~known, torch.inf),
        gradient.masked_fill(~known, torch.inf),
        sharpness.masked_fill(~known, torch.inf),
    )


@torch.no_grad()
def onward(
    system: Training, states: Float[Tensor, "B n"], start: int, marks: tuple[int, ...]
) -> Float[Tensor, "B marks"]:
    """Train on without tangents, and return the loss after each of the rising numbers of steps; infinity for NaN."""
    found = []
    x, t = states, start
    for mark in marks:
        for step in range(t, mark):
            x = system.step(x, step)
        t = mark
        loss = system.loss(x)
        found.append(loss.masked_fill(loss.isnan(), torch.inf))
    return torch.stack(found, 1)
