"""What products of layer norms prove of a network, in the best of the 1-, 2- and infinity-norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from separatrix.studies.drgona2022.networks import Networks

ORDERS = (1.0, 2.0, torch.inf)

ROOM = 1e-12
"""Allowance for rounding in a product of at most nine norms of 2 x 2 matrices."""


@dataclass(frozen=True)
class Products:
    """Verdicts of each network.

    Attributes
    ----------
    norms : Tensor (net, 3)
        Product of the norms of its matrices, in the 1-, 2- and infinity-norm.
    contraction : Tensor (net,), bool
        The product with the largest slope in each layer is below 1 in one of the norms: one fixed point attracts all.
    growth : Tensor (net,)
        Smallest product with the largest chord in each layer, a bound q of norm(A*) everywhere.
    order : Tensor (net,), int
        Which norm that is: 0, 1, 2.
    bounded : Tensor (net,), bool
        q < 1, or the activation is bounded.
    radius : Tensor (net,)
        Where q < 1, no attractor reaches farther than this in that norm: beta / (1 - q); else infinite.
    """

    norms: Float64[Tensor, "net 3"]
    contraction: Bool[Tensor, " net"]
    growth: Float64[Tensor, " net"]
    order: Int64[Tensor, " net"]
    bounded: Bool[Tensor, " net"]
    radius: Float64[Tensor, " net"]


def norm_products(nets: Networks) -> Products:
    """Multiply norms of layers with the largest chord, or slope, of the activation."""
    chord = max(abs(v) for v in nets.curve.chord_range)
    slope = max(abs(v) for v in nets.curve.slope_range)
    layers = torch.stack([torch.stack([matrix_norm(A, p) for p in ORDERS], 1) for A in nets.A])
    depth = len(layers)
    norms = layers.prod(0)
    growth, order = (chord**depth * norms).min(1)
    shrinks = growth < 1 - ROOM
    # size of what the biases add: each one travels through the layers after it
    beta = torch.zeros_like(norms)
    for layer, b in zip(layers, nets.b, strict=True):
        offset = torch.full_like(b, nets.curve.at_zero)
        added = [
            chord * torch.linalg.vector_norm(b, ord=p, dim=(1, 2)) + torch.linalg.vector_norm(offset, ord=p, dim=(1, 2))
            for p in ORDERS
        ]
        beta = chord * layer * beta + torch.stack(added, 1)
    radius = beta.gather(1, order[:, None])[:, 0] / (1 - growth)
    return Products(
        norms,
        (slope**depth * norms).amin(1) < 1 - ROOM,
        growth,
        order,
        shrinks | torch.tensor(nets.curve.bounded is not None),
        torch.where(shrinks, radius, torch.inf),
    )


def matrix_norm(A: Float64[Tensor, "*batch 2 2"], p: float) -> Float64[Tensor, "*batch"]:
    """Induced p-norms for p = 1, 2 and infinity; closed form for p = 2."""
    if p == 2:
        return norm_2(A)
    return A.abs().sum(-2 if p == 1 else -1).amax(-1)


def norm_2(A: Float64[Tensor, "*batch 2 2"]) -> Float64[Tensor, "*batch"]:
    """Largest singular values of 2 x 2 matrices."""
    (a, b), (c, d) = A[..., 0, :].unbind(-1), A[..., 1, :].unbind(-1)
    return (torch.hypot(a + d, b - c) + torch.hypot(a - d, b + c)) / 2
