"""How far covariant vectors have converged: steps times gap, and groups that only have a meaning together."""

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
        Steps times gap, the smaller of both sides: what is left of the first frame and of the last C is about
        exp(-nats), relative to the vector, at the ends of the window.
    converged : Tensor (B, k)
        Whether that is at most the tolerance.
    group : Tensor (B, k)
        Number of the group, from 1: neighbours whose gap is too small for these numbers of steps share one.
    """

    gap: Float[Tensor, "B k"]
    nats: Float[Tensor, "B k"]
    converged: Bool[Tensor, "B k"]
    group: Int[Tensor, "B k"]


def convergence(
    exponents: Float[Tensor, "B carried"], k: int, n: int, spinup: int, spindown: int, tolerance: float
) -> Convergence:
    """Judge k vectors from the exponents (per step) of the k or k + 1 directions that were carried.

    The span of the first i columns of Q converges as exp(-(l_i - l_{i+1}) spinup), and within it vector i as
    exp(-(l_{i-1} - l_i) spindown) backwards (Noethen, Physica D 396, 18 (2019); Ginelli et al., J. Phys. A 46, 254005
    (2013)). Nothing lies above the first and below the last of all n (0 where the state
    changes its size).
    """
    members = len(exponents)
    below = exponents[:, :-1] - exponents[:, 1:]
    endless = exponents.new_full((members, 1), torch.inf)
    if exponents.shape[1] == k:
        # nothing lies below the last of all n; below a last one that is not, nothing is known
        below = torch.cat([below, endless if k == n else torch.full_like(endless, torch.nan)], 1)
    below = below[:, :k]
    above = torch.cat([endless, below[:, : k - 1]], 1)
    nats = torch.minimum(_times(below, spinup), _times(above, spindown))
    needed = -torch.tensor(tolerance, dtype=torch.float64).log()
    apart = _times(below[:, : k - 1], min(spinup, spindown)) >= needed
    group = torch.cat([torch.zeros_like(apart[:, :1]), apart], 1) if k > 1 else torch.zeros_like(nats, dtype=torch.bool)
    gap = torch.where(torch.isinf(below), torch.nan, below)
    return Convergence(gap, nats, nats >= needed, 1 + group.long().cumsum(1))


def _times(gap: Tensor, steps: int) -> Tensor:
    return torch.where(torch.isinf(gap), gap, gap * steps)
