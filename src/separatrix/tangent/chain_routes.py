"""Tangents carried through a plain multilayer network, one matrix product a layer.

Layout: components first, points last, so that sums over components and products with slopes run along memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from separatrix.systems.activations import value_and_slope
from separatrix.tangent.chain import Affine, Diagonal, PlainChain, Pointwise
from separatrix.tangent.product import GradedProduct
from separatrix.tangent.spectrum import Spectrum, Wanted, from_triangles, is_extreme, spectrum, triangle
from separatrix.tangent.workspace import Workspace

# tangents are rescaled this often, long before float32 could overflow or underflow
_RESCALE_EVERY = 8


class LayerSpectrum(NamedTuple):
    """What a route yields for one layer and one chunk of points."""

    place: int
    """Position among the chosen layers."""
    spectrum: Spectrum
    nonsmooth: Tensor | None
    """Points that lie on a kink which the layer feels; None where there are none."""
    finite: Tensor
    """Points at which the state of the layer is finite."""


class Entry(NamedTuple):
    """The perturbations that enter, in as few columns as carry them all.

    The first matrix W (n x m), with n < m, sees only the n-dimensional row space of W diag(scale). With
    W diag(scale) = L Q', Q' having orthonormal rows, singular values of later products are those with L in its place,
    and right directions are turned back by Q.
    """

    first: Tensor | None
    """Columns after the first step, (n, r); None when that step is not a matrix."""
    back: Tensor | None
    """Q, (m, r); None when nothing was reduced."""


def enter(chain: PlainChain, scale: Tensor) -> Entry:
    """Reduce the input perturbations exactly through the first matrix."""
    step = chain.steps[0]
    if not isinstance(step, Affine):
        return Entry(None, None)
    matrix = step.weight * scale
    if matrix.shape[0] >= matrix.shape[1]:
        return Entry(matrix, None)
    q, r = torch.linalg.qr(matrix.mT.double())
    return Entry(r.mT.to(matrix.dtype), q)


def _turn_back(found: Spectrum, entry: Entry) -> Spectrum:
    if entry.back is None or found.right is None:
        return found
    return found._replace(right=found.right.double() @ entry.back.mT)


def forward_columns(
    chain: PlainChain, entry: Entry, scale: Tensor, points: Tensor, wanted: Wanted, space: Workspace
) -> Iterator[LayerSpectrum]:
    """Carry all columns from layer to layer; yield the spectrum at each chosen end.

    Cost: (1 + d) forward passes for d columns, and the spectra.
    """
    count = len(points)
    state = points.mT
    # until the first activation all points share their tangents, (n, d, 1)
    tangents = torch.diag(scale)[:, :, None]
    log: Tensor | None = None
    nonsmooth: Tensor | None = None
    matrices = 0
    later: list[tuple[int, Tensor, Tensor, Tensor | None, Tensor]] = []
    for place, step in enumerate(chain.steps, start=1):
        n = step.weight.shape[0] if isinstance(step, Affine) else len(state)
        if isinstance(step, Affine):
            matrices += 1
            state = _affine(step, state, space.other("state", state, n, count))
            if place == 1 and entry.first is not None:
                tangents = entry.first[:, :, None]
            else:
                m, d, b = tangents.shape
                carried = space.other("tangents", tangents, n, d, b)
                torch.mm(step.weight, tangents.reshape(m, d * b), out=carried.view(n, d * b))
                tangents = carried
            if matrices % _RESCALE_EVERY == 0:
                tangents, grown = _rescaled(tangents)
                log = grown.expand(count) if log is None else log + grown
        else:
            if isinstance(step, Diagonal):
                state = torch.addcmul(step.shift[:, None], step.factor[:, None], state)
                slope = step.factor[:, None]
            else:
                nonsmooth = _on_kink(step, state, tangents, nonsmooth)
                out = space.other("state", state, n, count), space.take("slope", n, count)
                state, slope = value_and_slope(step.activation, state, out)
            d = tangents.shape[1]
            tangents = torch.mul(tangents, slope[:, None], out=space.other("tangents", tangents, n, d, count))
        if place in chain.ends:
            full = tangents.expand(-1, -1, count)
            scratch = space.take("scratch", n, count)
            # a block and the last layer in it end at the same place
            same = [i for i, end in enumerate(chain.ends) if end == place]
            if full.shape[1] == 2 <= n and not wanted.left:
                grown = log if log is not None else state.new_zeros(count, dtype=torch.float64)
                later += [(i, triangle(full, scratch), grown, nonsmooth, state.sum(0)) for i in same]
            else:
                found = _turn_back(spectrum(full, wanted, log, scratch), entry)
                yield from (LayerSpectrum(i, found, nonsmooth, torch.isfinite(state.sum(0))) for i in same)
    for layer in _all_triangles(later, wanted, points.dtype):
        yield layer._replace(spectrum=_turn_back(layer.spectrum, entry))


def _all_triangles(
    later: list[tuple[int, Tensor, Tensor, Tensor | None, Tensor]], wanted: Wanted, dtype: torch.dtype
) -> Iterator[LayerSpectrum]:
    """Spectra of all layers at once, since on small chunks the number of operations counts, and not their size."""
    if not later:
        return
    places, parts, grown, nonsmooth, sums = zip(*later, strict=True)
    found = from_triangles(torch.stack(parts), wanted.vectors)
    # an exact zero stays; what squaring may have lost becomes NaN, and is computed again in float64
    lost = is_extreme(found.log[..., :1], dtype) & (found.log[..., :1] != -torch.inf)
    logs = torch.where(lost, torch.nan, found.log) + torch.stack(grown)[..., None]
    finite = torch.isfinite(torch.stack(sums))
    for i, place in enumerate(places):
        right = None if found.right is None else found.right[i]
        yield LayerSpectrum(place, Spectrum(logs[i], right, None), nonsmooth[i], finite[i])


def _affine(step: Affine, state: Tensor, out: Tensor | None = None) -> Tensor:
    if step.bias is None:
        return torch.mm(step.weight, state, out=out)
    return torch.addmm(step.bias[:, None], step.weight, state, out=out)


def _rescaled(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """Tangents divided by their largest entry at each point, and its logarithm."""
    size = tangents.abs().amax((0, 1))
    size = torch.where((size > 0) & torch.isfinite(size), size, torch.ones_like(size))
    return tangents.div_(size), size.double().log()


def backward_rows(
    chain: PlainChain, entry: Entry, scale: Tensor, points: Tensor, wanted: Wanted, space: Workspace
) -> Iterator[LayerSpectrum]:
    """Carry rows back from each chosen end; yield its spectrum. Cost: 1 forward pass, and m per end with m outputs."""
    count = len(points)
    state = points.mT
    slopes: list[Tensor | None] = []
    suspect: Tensor | None = None
    finite: dict[int, Tensor] = {}
    for place, step in enumerate(chain.steps):
        slope = None
        n = step.weight.shape[0] if isinstance(step, Affine) else len(state)
        if isinstance(step, Affine):
            state = _affine(step, state, space.other("state", state, n, count))
        elif isinstance(step, Diagonal):
            state = torch.addcmul(step.shift[:, None], step.factor[:, None], state)
        else:
            for at in step.kinks:
                on = (state == at).any(0)
                suspect = on if suspect is None else suspect | on
            out = space.other("state", state, n, count), space.take(f"slope {place}", n, count)
            state, slope = value_and_slope(step.activation, state, out)
        slopes.append(slope)
        if place + 1 in chain.ends:
            finite[place + 1] = torch.isfinite(state.sum(0))
    nonsmooth: list[Tensor | None] = [None] * len(chain.ends)
    if suspect is not None and bool(suspect.any()):
        # whether a perturbation moves the component off its kink is seen by the columns only
        for layer in forward_columns(chain, entry, scale, points[suspect], Wanted(), Workspace(scale)):
            if layer.nonsmooth is not None:
                nonsmooth[layer.place] = torch.zeros_like(suspect).masked_scatter(suspect, layer.nonsmooth)
    for place, end in enumerate(chain.ends):
        columns = _rows_from(chain, slopes, end, entry, scale, count, space).transpose(0, 1)
        found = _turn_back(spectrum(columns, wanted), entry)
        yield LayerSpectrum(place, found, nonsmooth[place], finite[end])


def _rows_from(
    chain: PlainChain,
    slopes: list[Tensor | None],
    end: int,
    entry: Entry,
    scale: Tensor,
    count: int,
    space: Workspace,
) -> Tensor:
    """Transposed Jacobians (inputs or reduced inputs, outputs, points) of the first ``end`` steps."""
    last = chain.steps[end - 1]
    outputs = len(last.weight) if isinstance(last, Affine) else chain.width_before(end)
    # until the first activation all points share their rows, (n, m, 1)
    rows = torch.eye(outputs, dtype=scale.dtype, device=scale.device)[:, :, None]
    for place in range(end - 1, -1, -1):
        step = chain.steps[place]
        n, m, b = rows.shape
        if isinstance(step, Affine):
            weight = step.weight.mT if place or entry.first is None else entry.first.mT
            carried = space.other("rows", rows, len(weight), m, b)
            torch.mm(weight, rows.reshape(n, m * b), out=carried.view(len(weight), m * b))
            rows = carried
        else:
            factor = step.factor[:, None] if isinstance(step, Diagonal) else slopes[place]
            assert factor is not None
            wide = max(b, factor.shape[1])
            rows = torch.mul(rows, factor[:, None], out=space.other("rows", rows, n, m, wide))
    rows = rows.expand(-1, -1, count)
    return rows if entry.first is not None else rows * scale[:, None, None]


def graded(
    chain: PlainChain, entry: Entry, scale: Tensor, points: Tensor, wanted: Wanted, space: Workspace
) -> Iterator[LayerSpectrum]:
    """As :func:`forward_columns`, but orthogonalised after every matrix, so that small singular values keep all digits.

    See :class:`separatrix.tangent.product.GradedProduct`. Meant for float64, and for deep stacks.
    """
    del space
    count = len(points)
    state = points.mT
    columns = entry.first.shape[1] if entry.first is not None else len(scale)
    product = GradedProduct.start(columns, (count,), dtype=points.dtype, device=points.device)
    # the part of the product since the last orthogonalisation, (points, n, r), and what its entries were summed from
    pending = size = torch.diag(scale).expand(count, -1, -1)
    nonsmooth: Tensor | None = None
    for place, step in enumerate(chain.steps, start=1):
        if isinstance(step, Affine):
            state = _affine(step, state)
            if place == 1 and entry.first is not None:
                pending, size = entry.first.expand(count, -1, -1), entry.first.abs().expand(count, -1, -1)
            else:
                product = product.absorb(pending, size)
                pending, size = step.weight @ product.q, step.weight.abs() @ product.q.abs()
        else:
            if isinstance(step, Diagonal):
                state = torch.addcmul(step.shift[:, None], step.factor[:, None], state)
                slope = step.factor[:, None]
            else:
                nonsmooth = _on_kink(step, state, pending.permute(1, 2, 0), nonsmooth)
                state, slope = value_and_slope(step.activation, state)
            pending, size = pending * slope.mT[:, :, None], size * slope.abs().mT[:, :, None]
        if place in chain.ends:
            product = product.absorb(pending, size)
            found = _turn_back(_spectrum_of(product, wanted), entry)
            finite = torch.isfinite(state.sum(0))
            same = [i for i, end in enumerate(chain.ends) if end == place]
            yield from (LayerSpectrum(i, found, nonsmooth, finite) for i in same)
            pending, size = product.q, product.q.abs()


def _spectrum_of(product: GradedProduct, wanted: Wanted) -> Spectrum:
    if not wanted.vectors:
        return Spectrum(product.singular(), None, None)
    log, right, left = product.singular(directions=True)
    return Spectrum(log, right[:, : wanted.vectors], left[:, : wanted.vectors])


def _on_kink(step: Pointwise, state: Tensor, tangents: Tensor, before: Tensor | None) -> Tensor | None:
    """Points where a component sits exactly on a kink and a perturbation moves it, together with earlier ones."""
    for at in step.kinks:
        on = state == at
        if bool(on.any()):
            moved = (tangents != 0).any(1)
            hit = (on & moved).any(0)
            before = hit if before is None else before | hit
    return before
