"""The affine map that a network is at each point: chords multiplied along the network, from either end."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.systems.curves import Curve
from separatrix.systems.lure import Lure
from separatrix.tangent.workspace import Workspace

Factors = Callable[[int, Curve, Float[Tensor, "batch n"]], tuple[Tensor, Tensor]]
"""(block, curve, z) -> slope and offset of each component: s(z) = slope z + offset."""


class Affine(NamedTuple):
    """y = A x + b at each point.

    Attributes
    ----------
    A : Tensor, shape (*batch, outputs, inputs)
    b : Tensor, shape (*batch, outputs)
    """

    A: Tensor
    b: Tensor


def chords(curve: Curve, z: Tensor) -> tuple[Tensor, Tensor]:
    """Secants through (0, s(0)); where s is positively homogeneous they are the tangents."""
    return (curve.slope if curve.homogeneous else curve.chord)(z), torch.full_like(z, curve.at_zero)


def raw_chords(curve: Curve, z: Tensor) -> tuple[Tensor, Tensor]:
    """Secants through the origin, s(z)/z; infinite at z = 0 where s(0) is not 0."""
    if curve.at_zero == 0:
        return chords(curve, z)
    return curve.value(z) / z, torch.zeros_like(z)


def tangents(curve: Curve, z: Tensor) -> tuple[Tensor, Tensor]:
    """Tangent lines."""
    slope = curve.slope(z)
    return slope, curve.value(z) - slope * z


def centred_chords(curve: Curve, z: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Secants through (centre, s(centre))."""
    slope = curve.centred(z, centre.expand_as(z))
    return slope, curve.value(centre) - slope * centre


def backward(network: Lure, x: Float[Tensor, "batch inputs"], factors: Factors, space: Workspace) -> Affine:
    """Carry the outputs' rows back to the input: a pass of the network for each output, and one for the offsets.

    A may lie in the memory of ``space``.
    """
    count, blocks = len(x), network.blocks
    steps = _steps(network, x, factors)
    rows: dict[int, Tensor] = {}
    eye = torch.eye(network.outputs, dtype=x.dtype, device=x.device)
    for place in range(len(blocks), 0, -1):
        block = blocks[place - 1]
        if block.curve is None:
            at_z = eye[:, None, :]  # (outputs, 1, n): the same for all points
        elif place in rows:
            at_v, slope = rows.pop(place), steps[place - 1][0]
            wide = space.other("rows", at_v, len(eye), count, at_v.shape[2])
            at_z = at_v.mul_(slope) if at_v.shape[1] == count else torch.mul(at_v, slope, out=wide)
        else:
            continue
        alone = list(block.weights) == [place - 1] and not rows and at_z.shape[1] == count
        for source, weight in block.weights.items():
            if alone:  # a chain: in the buffers that the last layer but one used
                share = space.other("rows", at_z, len(eye), count, weight.shape[1])
                torch.mm(at_z.flatten(0, 1), weight.to(x), out=share.flatten(0, 1))
            else:
                share = at_z @ weight.to(x)
            rows[source] = rows[source] + share if source in rows else share
    A = rows.get(0, torch.zeros(network.outputs, 1, network.inputs, dtype=x.dtype, device=x.device))
    return Affine(A.expand(-1, count, -1).transpose(0, 1), _offsets(network, x, steps)[-1])


def forward(network: Lure, x: Float[Tensor, "batch inputs"], factors: Factors) -> list[Affine]:
    """Carry the inputs' columns to every block's value: a pass of the network for each input. One map per block."""
    count, steps, found = len(x), _steps(network, x, factors), []
    eye = torch.eye(network.inputs, dtype=x.dtype, device=x.device)[:, None, :]
    columns: list[Tensor] = [eye]  # (inputs, batch or 1, n) for each source
    for block, (slope, _), b in zip(network.blocks, steps, _offsets(network, x, steps), strict=True):
        A = torch.zeros(network.inputs, 1, len(block.bias), dtype=x.dtype, device=x.device)
        for source, weight in block.weights.items():
            A = A + columns[source] @ weight.to(x).T
        if block.curve is not None:
            A = A * slope
        columns.append(A)
        found.append(Affine(A.expand(-1, count, -1).permute(1, 2, 0), b))
    return found


def local(network: Lure, x: Float[Tensor, "batch inputs"], factors: Factors) -> list[Affine]:
    """Map of each block from the block before it; the network must be a chain."""
    found = []
    for block, (slope, offset) in zip(network.blocks, _steps(network, x, factors), strict=True):
        (weight,), bias = block.weights.values(), block.bias.to(x)
        if block.curve is None:
            found.append(Affine(weight.to(x).expand(len(x), -1, -1), bias.expand(len(x), -1)))
        else:
            found.append(Affine(slope[:, :, None] * weight.to(x), slope * bias + offset))
    return found


def _offsets(network: Lure, x: Tensor, steps: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Offset b (batch, n) of the map from the input to every block's value."""
    found = [torch.zeros_like(x)]
    for block, (slope, offset) in zip(network.blocks, steps, strict=True):
        b = block.bias.to(x).expand(len(x), -1)
        for source, weight in block.weights.items():
            if source:
                b = b + found[source] @ weight.to(x).T
        found.append(b if block.curve is None else slope * b + offset)
    return found[1:]


def _steps(network: Lure, x: Tensor, factors: Factors) -> list[tuple[Tensor, Tensor]]:
    """Slope and offset of every block's components; ones and zeros for the output."""
    return [
        (torch.ones_like(z), torch.zeros_like(z)) if block.curve is None else factors(place, block.curve, z)
        for place, (block, z) in enumerate(zip(network.blocks, network.preactivations(x), strict=True))
    ]
