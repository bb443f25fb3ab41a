"""A state, and the pre-activations there, from which chords are taken; with what rounding leaves between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.gains.layer_norms import spread
from separatrix.certificates.gains.sectors import slope_sectors
from separatrix.certificates.problem import Problem, with_constant_input
from separatrix.certificates.verified import TINY, UNIT, UP, product
from separatrix.tangent.columns import LureColumns


@dataclass(frozen=True)
class Reference:
    """Pre-activations z that belong to a state c but for rounding.

    A network with slightly shifted biases has exactly the pre-activations z at c, and the chords from them are exact
    for it. The map differs from that network by a bounded amount everywhere.

    Attributes
    ----------
    preactivations : list of Tensor (n_l,)
        Of every block but the last.
    shift : list of Tensor (n_l,)
        Bounds of the biases' shifts, of every block; the last is zero.
    error : Tensor (n,)
        Bound of |f(x) - c - A (x - c)| for all x, with A of the chords from z.
    """

    preactivations: list[Tensor]
    shift: list[Tensor]
    error: Float[Tensor, " n"]


def reference(problem: Problem, centre: Float[Tensor, " n"]) -> Reference:
    """Pre-activations at a state, under the first input of the input box."""
    network = problem.network
    start = torch.cat([centre, problem.u_box[0]])
    values, radii = [start], [torch.zeros_like(start)]
    found, shift = [], []
    for k, block in enumerate(network.blocks):
        z, error = block.bias[:, None], UNIT * block.bias.abs()[:, None]
        for source, weight in block.weights.items():
            part, radius = product(weight, None, values[source][:, None], radii[source][:, None])
            z, error = z + part, (error + radius + 2 * UNIT * (z.abs() + part.abs())) * UP
        z, error = z[:, 0], error[:, 0] * UP + TINY
        if k == len(network.blocks) - 1:
            break
        assert block.curve is not None
        found.append(z)
        shift.append(error)
        low, high = block.curve.value_over(z, z)
        middle = low / 2 + high / 2
        values.append(middle)
        radii.append(torch.maximum(high - middle, middle - low) * UP + TINY)
    # the residual of the shifted network at the centre, and how far the map is from that network anywhere
    residual = ((z - centre).abs() + error + UNIT * (z.abs() + centre.abs())) * UP
    none = torch.zeros(network.inputs, dtype=torch.float64)
    shift.append(torch.zeros_like(residual))
    apart = spread(network, slope_sectors(network).largest, none, shift)
    return Reference(found, shift, (residual + apart) * UP + TINY)


def rest_point(problem: Problem, at: Float[Tensor, " n"] | None = None) -> Float[Tensor, " n"] | None:
    """An equilibrium in floating point: where Newton's method ends from a state, or from where an orbit leads."""
    carried = LureColumns(with_constant_input(problem, problem.u_box[0]), 2 * UNIT)
    n = problem.n
    eye = torch.eye(n, dtype=torch.float64)
    x = torch.zeros(n, dtype=torch.float64) if at is None else at.clone()
    for _ in range(300 if at is None else 0):
        following = carried.step(x[:, None])[:, 0]
        if not bool(torch.isfinite(following).all()) or float(following.abs().max()) > 1e12:
            x = torch.zeros_like(x)
            break
        x = following
    for _ in range(60):
        image, J = carried.tangent(x[:, None], eye[:, :, None])
        step = torch.linalg.lstsq(eye - J[:, :, 0], image - x[:, None]).solution[:, 0]
        if not bool(torch.isfinite(step).all()):
            return None
        x = x + step
        if float(step.abs().max()) <= 4 * UNIT * float(x.abs().max() + 1e-300):
            break
    off = float((carried.step(x[:, None])[:, 0] - x).abs().max())
    return x if off <= 1e-9 * (1 + float(x.abs().max())) else None
