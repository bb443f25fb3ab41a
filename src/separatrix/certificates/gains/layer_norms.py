"""Norms of layers put together: what each block may stretch by, for any joining of the blocks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.gains.sectors import Sectors
from separatrix.certificates.gains.small_gain import Gains
from separatrix.certificates.verified import TINY, UP, spectral_norm
from separatrix.systems.lure import Lure


def spread(
    network: Lure, slopes: list[Tensor], start: Tensor, added: list[Tensor] | None = None
) -> Float[Tensor, "outputs ..."]:
    """Bounds of |dy|, component by component, for |dx| <= start; ``added`` to the pre-activations of each block.

    |W dx| <= |W| |dx|, and a slope of at most s in size takes |dz| to at most s |dz|. Columns of ``start`` (inputs, k)
    are carried side by side.
    """
    return spreads(network, slopes, start, added)[-1]


def spreads(network: Lure, slopes: list[Tensor], start: Tensor, added: list[Tensor] | None = None) -> list[Tensor]:
    """Bounds of |dz| of every block, the output last."""
    values, found = [start], []
    for k, block in enumerate(network.blocks):
        z = torch.zeros((len(block.bias), *start.shape[1:]), dtype=torch.float64)
        for source, weight in block.weights.items():
            z = z + weight.abs() @ values[source]
        if added is not None:
            z = z + added[k]
        found.append(z * UP + TINY)
        if k < len(slopes):
            slope = slopes[k] if start.ndim == 1 else slopes[k][:, None]
            values.append(slope * found[-1] * UP + TINY)
    return found


def comparison(network: Lure, sectors: Sectors, gains: Gains) -> Float[Tensor, "outputs n"]:
    """A matrix M with |dy| <= M |dx|, component by component, rounded upwards.

    The smaller of two: through the sizes of all slopes; and through the middles of the sectors, which keeps the signs
    of the linear part of x + dt net(x).
    """
    n = gains.n
    start = torch.zeros(network.inputs, n, dtype=torch.float64)
    start[:n] = torch.eye(n, dtype=torch.float64)
    first = spread(network, sectors.largest, start)
    size = gains.N.abs() + gains.N_radius
    d = torch.zeros(len(size), n, dtype=torch.float64)
    for k in torch.unique(gains.block):
        rows = gains.block == k
        d[rows] = (size[rows, :n] + size[rows, n:] @ d) * UP
    end = gains.C.abs() + gains.C_radius
    second = (end[:, :n] + end[:, n:] @ d) * UP
    return torch.minimum(first, second)


def euclidean(network: Lure, sectors: Sectors, n: int) -> float:
    """Lipschitz constant in the 2-norm: for a chain the product of the layers' norms and largest slopes."""
    bounds = [torch.ones((), dtype=torch.float64)]
    for k, block in enumerate(network.blocks):
        total = torch.zeros((), dtype=torch.float64)
        for source, weight in block.weights.items():
            total = total + _times(spectral_norm(weight[:, :n] if source == 0 else weight), bounds[source])
        if k == len(network.blocks) - 1:
            return float(total * UP)
        slope = sectors.largest[k]
        bounds.append(_times(total, slope.max()) if len(slope) else torch.zeros_like(total))
    raise AssertionError


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Product of numbers of at least 0, rounded upwards; it is 0 only where one of them is."""
    return torch.where((a == 0) | (b == 0), 0.0, a * b * UP + TINY)


def perron(M: Float[Tensor, "n n"]) -> tuple[Float[Tensor, " n"], float]:
    """Weights w > 0 and a rate r, close to the least, with M w <= r w for certain.

    The least rate is the spectral radius of M; where M is reducible it is approached.
    """
    n = len(M)
    lifted = M + 1e-9 * (M.abs().max() + 1e-30)
    w = torch.ones(n, dtype=torch.float64)
    best = (w, weighted_rate(M, w))
    for _ in range(200):
        w = lifted @ w + 0.1 * lifted.sum() / n * w
        w = w / w.max()
        rate = weighted_rate(M, w)
        if rate < best[1]:
            best = (w, rate)
    return best


def weighted_rate(M: Float[Tensor, "n n"], w: Float[Tensor, " n"]) -> float:
    """Largest component of M w / w, rounded upwards; weights whose products underflow make it large."""
    return float(((M @ w + TINY) / w).max()) * UP + TINY
