"""How far covariant vectors have converged: nats of separation, and groups that only have a meaning together."""

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
        Per step, to the exponent below; NaN where there is none.
    nats : Tensor (B, k)
        Steps times gap as they were in the spin-up and in the spin-down, the smaller of both sides: what is left of the
        first frame and of the last C is about exp(-nats), relative to the vector, at the ends of the window.
    converged : Tensor (B, k)
        Whether that is at most the tolerance.
    group : Tensor (B, k)
        Number of the group, from 1: neighbours that separate too little on either side share one.
    """

    gap: Float[Tensor, "B k"]
    nats: Float[Tensor, "B k"]
    converged: Bool[Tensor, "B k"]
    group: Int[Tensor, "B k"]


def convergence(
    exponents: Float[Tensor, "B carried"],
    before: Float[Tensor, "B carried"],
    after: Float[Tensor, "B carried"],
    k: int,
    n: int,
    tolerance: float,
) -> Convergence:
    """Judge k vectors from the growth of the k or k + 1 directions that were carried.

    The span of the first i columns of Q converges as exp of minus the sum of ln R_ii - ln R_{i+1,i+1} over the steps
    before the window, and within it vector i, backwards, as that of i - 1 and i over the steps after it (Noethen,
    Physica D 396, 18 (2019); Ginelli et al., J. Phys. A 46, 254005 (2013); there gaps times steps). In a transient the
    gaps of the window say nothing of these, and sums need not fall: the least of those up to i is held against the
    largest of those from i + 1 on. Nothing lies above the first and below the last of all n.

    Parameters
    ----------
    exponents : Tensor (B, carried)
        Per step of the window.
    before, after : Tensor (B, carried)
        Sums of ln R_ii over the spin-up and the spin-down, in nats.
    k : int
    n : int
        Components of a state; 0 where that changes.
    tolerance : float
    """
    gap = _below(exponents, exponents, k, n)
    below, later = (_below(sums.cummin(1).values, _from_right(sums), k, n) for sums in (before, after))
    above = torch.cat([torch.full_like(gap[:, :1], torch.inf), later[:, : k - 1]], 1)
    nats = torch.minimum(below, above)
    needed = -torch.tensor(tolerance, dtype=torch.float64).log()
    apart = torch.minimum(below, later)[:, : k - 1] >= needed
    group = torch.cat([torch.zeros_like(apart[:, :1]), apart], 1) if k > 1 else torch.zeros_like(nats, dtype=torch.bool)
    gap = torch.where(torch.isinf(gap), torch.nan, gap)
    return Convergence(gap, nats, nats >= needed, 1 + group.long().cumsum(1))


def _from_right(sums: Tensor) -> Tensor:
    return sums.flip(1).cummax(1).values.flip(1)


def _below(upper: Tensor, lower: Tensor, k: int, n: int) -> Tensor:
    """Of each of k to the next; where none was carried, infinite for the last of all n and otherwise unknown."""
    below = upper[:, :-1] - lower[:, 1:]
    if upper.shape[1] == k:
        below = torch.cat([below, upper.new_full((len(upper), 1), torch.inf if k == n else torch.nan)], 1)
    return below[:, :k]
