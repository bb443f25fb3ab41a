"""Angles between covariant vectors of training, with a future that ends where the prediction is made, and two nulls."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.systems.training import Training
from separatrix.tangent.angles import pairwise, vector_angle
from separatrix.tangent.ginelli import random_end, step_back
from separatrix.tangent.qr_sweep import orthonormalise

KINDS = ("first_last", "last_rest", "smallest", "volume")
"""Angle of the first and the last vector; of the last one and the span of all others; the smallest of all pairs; and
the mean over vectors of ln sin of the angle to the span of those before it. Angles in radians."""

LOOKS = 5
"""Steps in the middle half of the window at which angles are looked at; their mean is kept."""

BINS = 45
"""Of histograms of angles between 0 and 90 degrees."""

ORDERS = ("run", "frozen", "shuffled")
"""The maps as training makes them; the map of the middle step all the time; and the maps in a random order."""


class Angles(NamedTuple):
    """Means over the looks, (B, kind), and counts of the angles of all pairs by size, (bin,)."""

    mean: Float[Tensor, "B kind"]
    counts: Float[Tensor, " bin"]


@torch.no_grad()
def angles_before(factors: list[Tensor], cut: int, seed: int) -> Angles:
    """Angles in the middle half of the first ``cut`` factors, by a backward pass that begins behind the last of them.

    Nothing after that enters. Ginelli et al., Phys. Rev. Lett. 99, 130601 (2007); conventions as in
    :mod:`separatrix.tangent.ginelli`.

    Parameters
    ----------
    factors : list of (B, n, n) tensor
        R of each step; number i belongs to the step from i to i + 1.
    cut : int
        How many of them are known.
    seed : int
        Of the C from which the pass begins.
    """
    members, n, _ = factors[0].shape
    c = random_end(members, n, seed)
    looks = {round(cut * (0.25 + 0.5 * i / (LOOKS - 1))) for i in range(LOOKS)}
    sums, counts = torch.zeros(members, len(KINDS), dtype=torch.float64), torch.zeros(BINS, dtype=torch.float64)
    for here in range(cut - 1, min(looks) - 1, -1):
        c, _ = step_back(factors[here], c)
        if here in looks:
            pairs = pairwise(c)
            sines = c.diagonal(dim1=-2, dim2=-1).abs().clamp(1e-300, 1.0)
            sums += torch.stack(
                [
                    vector_angle(c[..., 0], c[..., -1]),
                    torch.asin(sines[:, -1]),
                    pairs.amin(-1),
                    sines[:, 1:].log().mean(-1),
                ],
                -1,
            )
            counts += torch.histc(pairs, BINS, 0.0, torch.pi / 2)
    return Angles(sums / len(looks), counts)


class Nulls(NamedTuple):
    """Angles in each of :data:`ORDERS`, and how many members they are of."""

    mean: Float[Tensor, "order B kind"]
    counts: Float[Tensor, "order bin"]


@torch.no_grad()
def nulls(
    system: Training,
    states: Float[Tensor, "B n"],
    frames: Float[Tensor, "B n n"],
    steps: int,
    every: int,
    seed: int,
) -> Nulls:
    """Angles of the run, of its middle map applied again and again, and of its maps in a random order.

    With one symmetric map all vectors are its orthogonal eigenvectors: what is off 90 degrees there is what is left of
    the random beginnings. Members that leave the floating-point numbers are left out.
    """
    path = [states]
    for t in range(steps):
        path.append(system.step(path[-1], t))
    whole = torch.isfinite(torch.stack([p.abs().amax(-1) for p in path])).all(0)
    path, frames = [p[whole] for p in path[:-1]], frames[whole]
    shuffle = torch.randperm(steps, generator=torch.Generator().manual_seed(seed))
    orders = (torch.arange(steps), torch.full((steps,), steps // 2), shuffle)
    found = [angles_before(_factors(system, path, order, frames, every), steps // every, seed) for order in orders]
    return Nulls(torch.stack([one.mean for one in found]), torch.stack([one.counts for one in found]))


def _factors(
    system: Training, path: list[Tensor], order: Int[Tensor, " steps"], q: Float[Tensor, "B n n"], every: int
) -> list[Tensor]:
    """R of every few steps, where step i is linearised at the state number ``order[i]``."""
    found = []
    for start in range(0, len(order), every):
        V = q.permute(2, 0, 1).contiguous()
        for i in order[start : start + every].tolist():
            V = system.tangent(path[i], V, i)[1]
        q, r, _ = orthonormalise(V.permute(1, 2, 0), torch.finfo(torch.float64).eps)
        found.append(r)
    return found
