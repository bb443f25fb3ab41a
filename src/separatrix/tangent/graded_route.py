"""Tangents through a plain network as a product that is never multiplied out, so that small values keep all digits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from separatrix.systems.activations import value_and_slope
from separatrix.tangent.chain import Affine, Diagonal, PlainChain
from separatrix.tangent.chain_routes import Entry, LayerSpectrum, met_kink, product, scaled
from separatrix.tangent.product import GradedProduct
from separatrix.tangent.spectrum import Spectrum, Wanted
from separatrix.tangent.workspace import Workspace


def graded(
    chain: PlainChain, entry: Entry, scale: Tensor, points: Tensor, wanted: Wanted, space: Workspace
) -> Iterator[LayerSpectrum]:
    """As :func:`forward_columns`, but orthogonalised after every matrix, so that small singular values keep all digits.

    See :class:`separatrix.tangent.product.GradedProduct`. Meant for float64, and for deep stacks.
    """
    batch = (chain.members, points.shape[1])
    state = points.mT
    columns = entry.first.shape[2] if entry.first is not None else len(scale)
    factors = GradedProduct.start(columns, batch, dtype=points.dtype, device=points.device)
    # the part since the last orthogonalisation, (member, points, n, r), and what its entries were summed from
    pending = size = torch.diag(scale).expand(*batch, -1, -1)
    nonsmooth: Tensor | None = None
    for place, step in enumerate(chain.steps, start=1):
        if isinstance(step, Affine):
            out = space.other("state", state, batch[0], step.weight.shape[1], batch[1])
            state = product(step.weight, state, out, step.bias)
            if place == 1 and entry.first is not None:
                pending = entry.first[:, None].expand(*batch, -1, -1)
                size = pending.abs()
            else:
                factors = factors.absorb(pending, size)
                pending, size = _applied(step.weight, factors.q), _applied(step.weight.abs(), factors.q.abs())
        else:
            if isinstance(step, Diagonal):
                state, slope = scaled(step, state)
            else:
                nonsmooth = met_kink(step, state, pending.permute(0, 2, 3, 1), nonsmooth)
                state, slope = value_and_slope(step.activation, state)
            pending, size = pending * slope.mT[..., None], size * slope.abs().mT[..., None]
        if place in chain.ends:
            factors = factors.absorb(pending, size)
            found = entry.turn_back(_spectrum(factors, wanted))
            finite = torch.isfinite(state.sum(1)).expand(batch).flatten()
            hit = None if nonsmooth is None else nonsmooth.expand(batch).flatten()
            same = [i for i, end in enumerate(chain.ends) if end == place]
            yield from (LayerSpectrum(i, found, hit, finite) for i in same)
            pending, size = factors.q, factors.q.abs()


def _applied(weight: Tensor, q: Tensor) -> Tensor:
    """Matrices (member, n, m) applied to columns (member, points, m, r)."""
    return torch.einsum("gnm,gpmr->gpnr", weight, q)


def _spectrum(factors: GradedProduct, wanted: Wanted) -> Spectrum:
    if not wanted.vectors:
        return Spectrum(factors.singular().flatten(0, 1), None, None)
    log, right, left = (part.flatten(0, 1) for part in factors.singular(directions=True))
    return Spectrum(log, right[:, : wanted.vectors], left[:, : wanted.vectors])
