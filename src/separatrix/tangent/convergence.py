"""How far covariant vectors have converged: separation in nats, and groups that only have a meaning together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Convergence(NamedTuple):
    """For each of k vectors.

    Attributes
    ----------
    gap : Tensor (B, k)
        Per step of the window, to the exponent below; NaN where there is none.
    nats : Tensor (B, k)
        Separation from the directions below since the first frame and from those above until the last C, whichever is
        smaller, at the step of the window where it is least: what is left of the two is about exp(-nats), relative to
        the vector.
    converged : Tensor (B, k)
        Whether that is at most the tolerance.
    group : Tensor (B, k)
        Number of the group, from 1: neighbours that were separated too little on either side share one.
    """

    gap: Float[Tensor, "B k"]
    nats: Float[Tensor, "B k"]
    converged: Bool[Tensor, "B k"]
    group: Int[Tensor, "B k"]


class Separation:
    """Running sums of ln R_jj - ln R_mm over the steps themselves, for all pairs j < m of the directions carried.

    Rates change along an orbit that is a transient, so that those of the window tell nothing of the steps around it.
    Pairs and not only neighbours, since sums over some steps need not be in the order of the exponents.

    Attributes
    ----------
    ahead : Tensor (B, carried, carried)
        From the first step until a step of the window, the least of all of them. Entries below the diagonal mean
        nothing.
    behind : Tensor (B, carried, carried)
        From a step of the window until the last step, the least of all of them.
    """

    def __init__(self, members: int, carried: int, device: torch.device) -> None:
        shape = (members, carried, carried)
        self._gained = torch.zeros(shape, dtype=torch.float64, device=device)
        self.ahead = torch.full_like(self._gained, torch.inf)
        self.behind = torch.full_like(self._gained, torch.inf)

    def add(self, logs: Float[Tensor, "B c"], floored: Bool[Tensor, "B c"]) -> None:
        """Add a step, given the logarithms of the diagonal of its R, and where a pivot was at rounding level."""
        apart = logs[:, :, None] - logs[:, None, :]
        self._gained += apart
        self.behind += apart
        if bool(floored.any()):
            # the frame's direction after such a pivot is rounding: it begins anew
            self._gained.masked_fill_(floored[:, :, None], 0.0)

    def mark(self) -> None:
        """Take the place reached as one of the window."""
        self.ahead = torch.minimum(self.ahead, self._gained)
        self.behind.clamp_(max=0.0)


def convergence(
    exponents: Float[Tensor, "B carried"],
    ahead: Float[Tensor, "B carried carried"],
    behind: Float[Tensor, "B carried carried"],
    k: int,
    n: int,
    tolerance: float,
) -> Convergence:
    """Judge k vectors from the k or k + 1 directions that were carried: exponents per step, and :class:`Separation`.

    The span of the first i columns of Q converges as exp(-(l_j - l_m) steps) with the steps before, of all j <= i < m,
    and within it vector i as exp(-(l_j - l_i) steps) with the steps after, of all j < i (Noethen, Physica D 396, 18
    (2019); Ginelli et al., J. Phys. A 46, 254005 (2013)); steps times difference of rates is the sum in
    :class:`Separation`. Nothing lies above the first and below the last of all n (0 where the state changes its size).
    """
    members, carried = exponents.shape
    endless = exponents.new_full((members, 1), torch.inf)
    below, forward = exponents[:, :-1] - exponents[:, 1:], _split(ahead)
    if carried == k:
        # nothing lies below the last of all n; below a last one that is not, nothing is known
        last = endless.masked_fill(exponents[:, -1:].isnan(), torch.nan) if k == n else endless * torch.nan
        below, forward = torch.cat([below, last], 1), torch.cat([forward, last], 1)
    own = behind[:, :k, :k].cummin(-2).values.diagonal(1, -2, -1)
    nats = torch.minimum(forward[:, :k], torch.cat([endless, own], 1))
    needed = -torch.tensor(tolerance, dtype=torch.float64).log()
    apart = torch.minimum(forward[:, : k - 1], _split(behind[:, :k, :k])) >= needed
    group = torch.cat([torch.zeros_like(nats[:, :1], dtype=torch.bool), apart], 1)
    gap = torch.where(torch.isinf(below), torch.nan, below)[:, :k]
    return Convergence(gap, nats, nats >= needed, 1 + group.long().cumsum(1))


def _split(pairs: Float[Tensor, "B c c"]) -> Float[Tensor, "B _"]:
    """Least of all pairs j <= i < m, for each i but the last."""
    least = pairs.cummin(-2).values.flip(-1).cummin(-1).values.flip(-1)
    return least.diagonal(1, -2, -1)
