"""The backward pass to covariant Lyapunov vectors, in the coordinates of the frames.

Ginelli, Poggi, Turchi, Chate, Livi, Politi, Phys. Rev. Lett. 99, 130601 (2007). The convention of all indices here:

    M_n maps step n to n + 1, and M_n Q_n = Q_{n+1} R_{n+1} was made by that step.
    V_n = Q_n C_n, with C_n upper triangular and columns of length 1, and M_n V_n = V_{n+1} D_n with D_n diagonal.
    So R_{n+1} C_n = C_{n+1} D_n, and the pass from n + 1 back to n is

        C_n = R_{n+1}^{-1} C_{n+1}, and then the columns are normalised.

    D_n = 1 / (length of a column before that): vector i grows by -ln(that length) over the step n -> n + 1.

The R that belongs to C_n -> C_{n+1} is the one made *after* Q_n. With the one before it, vectors still look right on a
smooth flow with small steps, and are wrong on a map.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def random_end(members: int, k: int, seed: int) -> Float[Tensor, "members k k"]:
    """Upper-triangular C with unit columns to start from: random, since the identity can be a special choice."""
    # apart from the numbers of the first frames, and for each member its own
    c = torch.from_numpy(np.random.default_rng((seed, 0, 1)).standard_normal((members, k, k))).triu()
    return c / torch.linalg.vector_norm(c, dim=-2, keepdim=True)


def step_back(r: Float[Tensor, "B k k"], c: Float[Tensor, "B k k"]) -> tuple[Tensor, Tensor]:
    """C_n and ln D_n from R_{n+1} and C_{n+1}.

    Returns
    -------
    c : (B, k, k) tensor
        Exactly triangular.
    growth : (B, k) tensor
        Of each vector over the step n -> n + 1, in nats.
    """
    # LAPACK's triangular solve keeps the zeros below the diagonal
    x = torch.linalg.solve_triangular(r, c, upper=True)
    scale: Tensor | float = 0.0
    if not bool(torch.isfinite(x.sum())):
        x, scale = _solve_scaled(r, c)
    # before squaring, as columns may be very long
    size = x.abs().amax(-2, keepdim=True)
    x = x / size
    # down columns, norms are slower than what they are made of
    length = x.square().sum(-2, keepdim=True).sqrt()
    return x / length, -(size.log() + length.log() + scale)[:, 0]


def _solve_scaled(r: Float[Tensor, "B k k"], c: Float[Tensor, "B k k"]) -> tuple[Tensor, Tensor]:
    """R^{-1} C divided by exp(scale) (B, 1, k), column by column: pivots at the floor, one after another, overflow."""
    x, scale = c.clone(), torch.zeros_like(c[:, :1])
    for i in reversed(range(r.shape[-1])):
        x[:, i] /= r[:, i, i, None]
        size = x[:, i:].abs().amax(-2, keepdim=True).clamp(min=1.0)
        x, scale = x / size, scale + size.log()
        x[:, :i] -= r[:, :i, i, None] * x[:, i, None]
    return x, scale
