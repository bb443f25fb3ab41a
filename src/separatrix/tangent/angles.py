"""Angles between vectors and between subspaces, precise also where they are nearly tangent."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def vector_angle(u: Float[Tensor, "*batch n"], v: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Angle in [0, pi/2] between the lines along unit vectors.

    2 atan2(|u - v|, |u + v|), after a sign flip if u . v < 0 (Kahan): arccos of u . v would lose half of the digits
    near 0, which is where tangencies are.
    """
    return _angle(u, v, -1)


def _angle(u: Tensor, v: Tensor, axis: int) -> Tensor:
    v = v * torch.where((u * v).sum(axis, keepdim=True) < 0, -1.0, 1.0)
    apart, along = ((w * w).sum(axis).sqrt() for w in (u - v, u + v))
    return 2 * torch.atan2(apart, along)


def subspace_angle(u: Float[Tensor, "*batch n a"], v: Float[Tensor, "*batch n b"]) -> Float[Tensor, "*batch"]:
    """Smallest principal angle in [0, pi/2] between the spans of the columns; 0 where they meet in more than a point.

    Its cosine is the largest singular value of Q_u^T Q_v, its sine the smallest of (1 - Q_u Q_u^T) Q_v, with
    orthonormal bases Q (Bjorck and Golub, Math. Comp. 27, 579 (1973)); the quotient of the two is precise at both ends.
    """
    u, v = torch.linalg.qr(u)[0], torch.linalg.qr(v)[0]
    shared = u.mT @ v
    apart = v - u @ shared
    apart = apart - u @ (u.mT @ apart)
    sine = torch.linalg.svdvals(apart)[..., -1]
    return torch.atan2(sine, torch.linalg.svdvals(shared)[..., 0])


def pairs(k: int) -> list[tuple[int, int]]:
    """All pairs i < j of k indices counted from 0, in the order of the ``pair`` dimension."""
    return [(i, j) for i in range(k) for j in range(i + 1, k)]


def pairwise(c: Float[Tensor, "*batch n k"]) -> Float[Tensor, "*batch pairs"]:
    """Angles between all pairs of unit columns."""
    k = c.shape[-1]
    # components first: operations on few numbers at many places are many times slower the other way around
    columns = c.movedim((-2, -1), (0, 1)).contiguous()
    parts = [_angle(columns[:, i : i + 1], columns[:, i + 1 :], 0) for i in range(k - 1)]
    return torch.cat(parts).movedim(0, -1) if parts else c.new_zeros(*c.shape[:-2], 0)


def between_groups(c: Float[Tensor, "*batch n k"], group: tuple[int, ...]) -> Float[Tensor, "*batch pairs"]:
    """For each pair of columns the smallest principal angle between the spans of their groups; NaN within a group.

    Parameters
    ----------
    c : (..., n, k) tensor
    group : tuple of k int
        Number of each column's group; columns of a group are neighbours.
    """
    members = {g: [i for i, other in enumerate(group) if other == g] for g in set(group)}
    found: dict[tuple[int, int], Tensor] = {}
    nothing = c.new_full(c.shape[:-2], torch.nan)
    out = []
    for i, j in pairs(len(group)):
        key = (group[i], group[j])
        if key[0] == key[1]:
            out.append(nothing)
            continue
        if key not in found:
            found[key] = subspace_angle(c[..., members[key[0]]], c[..., members[key[1]]])
        out.append(found[key])
    return torch.stack(out, -1) if out else c.new_zeros(*c.shape[:-2], 0)
