"""The constant matrix that a network is seen through: linear maps joined with slopes between -1 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.gains.sectors import Sectors
from separatrix.certificates.verified import TINY, UNIT, UP, positive_definite, product
from separatrix.systems.lure import Lure

Matrix = Float[Tensor, "_ _"]

_LARGEST = 1e150
"""Rates from here on, whose squares overflow, are not looked at."""


@dataclass(frozen=True)
class Gains:
    """dy = C (dx, d) and z = N (dx, d) with d_i = k_i z_i for some k_i in [-1, 1].

    Differences dx of states and dy of outputs are related in this way with slopes in given sectors
    v = (middle + half k) z. Components with a sector of a single slope are part of the linear maps.

    Attributes
    ----------
    n : int
        Components of dx, the first columns.
    C, N : Tensor (outputs, n + K), (K, n + K)
        N is strictly lower triangular in d, block by block.
    C_radius, N_radius : Tensor
        What rounding may have done to C and N.
    block : Tensor (K,), int
        The block that each component of d belongs to.
    """

    n: int
    C: Matrix
    C_radius: Matrix
    N: Matrix
    N_radius: Matrix
    block: Tensor

    def slack(self, P_in: Matrix, P_out: Matrix, t: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Diag(rate^2 P_in, t) - C' P_out C - N' diag(t) N as midpoint and radius."""
        n = self.n
        PC, PC_radius = product(P_out, None, self.C, self.C_radius)
        first, first_radius = product(self.C.mT, self.C_radius.mT, PC, PC_radius)
        TN = t[:, None] * self.N
        TN_radius = t[:, None] * self.N_radius + UNIT * TN.abs() + TINY
        second, second_radius = product(self.N.mT, self.N_radius.mT, TN, TN_radius)
        S = -first - second
        size = first.abs() + second.abs()
        S[:n, :n] += rate**2 * P_in
        size[:n, :n] += rate**2 * P_in.abs()
        S[n:, n:] += torch.diag(t)
        size[n:, n:] += torch.diag(t)
        return S, (first_radius + second_radius + 4 * UNIT * size) * UP + TINY

    def proves(self, P_in: Matrix, P_out: Matrix, t: Tensor, rate: float) -> bool:
        """Whether |dy|_P_out <= rate |dx|_P_in holds for certain for all d.

        From slack >= 0 by the S-procedure: |dy|^2 <= rate^2 |dx|^2 + sum_i t_i (d_i^2 - z_i^2), and no term of the
        sum is positive. With sectors of slopes this is the semidefinite program of Fazlyab, Robey, Hassani, Morari,
        Pappas, NeurIPS 2019, with a free metric, in the form of a scaled small-gain condition (J. Doyle, IEE Proc. D
        129, 242 (1982)).
        """
        if not (bool(torch.isfinite(t).all()) and bool((t >= 0).all()) and 0 <= rate < _LARGEST):
            return False
        S, radius = self.slack(P_in, P_out, t, rate)
        return bool(positive_definite(P_in)) and bool(positive_definite(P_out)) and bool(positive_definite(S, radius))


def gains(network: Lure, sectors: Sectors, n: int) -> Gains:
    """See the network through its sectors; inputs beyond the first n are the same for both points of a difference."""
    middle, half = [], []
    for a, b in zip(sectors.lo, sectors.hi, strict=True):
        m = (a + b) / 2
        middle.append(m)
        # both ends lie within m +- h in spite of rounding
        half.append(torch.where(a == b, 0.0, torch.maximum(b - m, m - a) * (1 + 4 * UNIT) + TINY))
    active = [h > 0 for h in half]
    K = int(sum(mask.sum() for mask in active))
    wide = n + K
    start = torch.zeros(network.inputs, wide, dtype=torch.float64)
    start[:n, :n] = torch.eye(n, dtype=torch.float64)
    values = [(start, torch.zeros_like(start))]
    rows, radii, owner, place = [], [], [], n
    for k, block in enumerate(network.blocks):
        z = torch.zeros(len(block.bias), wide, dtype=torch.float64)
        radius = torch.zeros_like(z)
        for source, weight in block.weights.items():
            part, error = product(weight, None, *values[source])
            z, radius = z + part, radius + error + UNIT * (z.abs() + part.abs())
        radius = radius * UP
        if k == len(network.blocks) - 1:
            break
        on = active[k]
        rows.append(z[on])
        radii.append(radius[on])
        owner.append(torch.full((int(on.sum()),), k))
        v = middle[k][:, None] * z
        v_radius = middle[k].abs()[:, None] * radius + 2 * UNIT * v.abs()
        index = torch.nonzero(on)[:, 0]
        v[index, place + torch.arange(len(index))] += half[k][index]
        place += len(index)
        values.append((v, v_radius * UP + TINY))
    empty = torch.zeros(0, wide, dtype=torch.float64)
    N = torch.cat([empty, *rows])
    return Gains(n, z, radius, N, torch.cat([empty, *radii]), torch.cat([torch.zeros(0, dtype=torch.long), *owner]))
