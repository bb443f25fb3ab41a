"""Tangents carried through plain multilayer networks, one matrix product a layer.

Kernels take the points as (member, points, inputs), or (1, points, inputs) where all members share them, and yield what
they find for all pairs of a member and a point, the points of one member after those of another. Layout inside: members
first, then components, points last, so that sums over components and products with slopes run along memory, and a
network by itself takes plain matrix products without copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, overload

import torch
from torch import Tensor

from separatrix.systems.activations import value_and_slope
from separatrix.tangent.chain import Affine, Diagonal, PlainChain, Pointwise
from separatrix.tangent.spectrum import Spectrum, Wanted, from_triangles, is_extreme, spectrum, triangle
from separatrix.tangent.workspace import Workspace

# tangents are rescaled this often, long before float32 could overflow or underflow
_RESCALE_EVERY = 8


class LayerSpectrum(NamedTuple):
    """What a route yields for one layer and one chunk of points, or of pairs of a member and a point."""

    place: int
    """Position among the chosen layers."""
    spectrum: Spectrum
    nonsmooth: Tensor | None
    """Points that lie on a kink which the layer feels; None where there are none."""
    finite: Tensor
    """Points at which the state of the layer is finite."""
    residual: Tensor | None = None
    """Of an iteration: residual of each singular triple, relative to its value, (points, k)."""
    converged: Tensor | None = None
    """Of an iteration: whether the residual is small, (points, k)."""


class Entry(NamedTuple):
    """The perturbations that enter, in as few columns as carry them all.

    The first matrix W (n x m), with n < m, sees only the n-dimensional row space of W diag(scale). With
    W diag(scale) = L Q', Q' having orthonormal rows, singular values of later products are those with L in its place,
    and right directions are turned back by Q.
    """

    first: Tensor | None
    """Columns after the first step, (member, n, r); None when that step is not a matrix."""
    back: Tensor | None
    """Q, (member, m, r); None when nothing was reduced."""

    def of(self, members: slice | Tensor) -> Entry:
        """The entry of some members."""
        return Entry(*(None if part is None else part[members] for part in self))

    def turn_back(self, found: Spectrum) -> Spectrum:
        """Right directions in all inputs."""
        if self.back is None or found.right is None:
            return found
        reduced = found.right.double().unflatten(0, (len(self.back), -1))
        return found._replace(right=torch.matmul(reduced, self.back.mT[:, None]).flatten(0, 1))


def enter(chain: PlainChain, scale: Tensor) -> Entry:
    """Reduce the input perturbations exactly through the first matrix."""
    step = chain.steps[0]
    if not isinstance(step, Affine):
        return Entry(None, None)
    matrix = step.weight * scale
    if matrix.shape[1] >= matrix.shape[2]:
        return Entry(matrix, None)
    q, r = torch.linalg.qr(matrix.mT.double())
    return Entry(r.mT.to(matrix.dtype), q)


def forward_columns(
    chain: PlainChain, entry: Entry, scale: Tensor, points: Tensor, wanted: Wanted, space: Workspace
) -> Iterator[LayerSpectrum]:
    """Carry all columns from layer to layer; yield the spectrum at each chosen end.

    Cost: (1 + d) forward passes for d columns, and the spectra.
    """
    g, count = chain.members, points.shape[1]
    state = points.mT
    # until the first activation all points share their tangents, (member, n, d, 1), until the first matrix all members
    tangents = torch.diag(scale)[None, :, :, None]
    log: Tensor | None = None
    nonsmooth: Tensor | None = None
    matrices = 0
    later: list[tuple[int, Tensor, Tensor, Tensor | None, Tensor]] = []
    for place, step in enumerate(chain.steps, start=1):
        if isinstance(step, Affine):
            matrices += 1
            n = step.weight.shape[1]
            state = product(step.weight, state, space.other("state", state, g, n, count), step.bias)
            if place == 1 and entry.first is not None:
                tangents = entry.first[..., None]
            else:
                carried = space.other("tangents", tangents, g, n, *tangents.shape[2:])
                tangents = product(step.weight, tangents, carried)
            if matrices % _RESCALE_EVERY == 0:
                tangents, grown = _rescaled(tangents)
                log = grown.expand(g, count) if log is None else log + grown
        else:
            if isinstance(step, Diagonal):
                state, slope = scaled(step, state)
            else:
                nonsmooth = met_kink(step, state, tangents, nonsmooth)
                out = space.other("state", state, *state.shape), space.take("slope", *state.shape)
                state, slope = value_and_slope(step.activation, state, out)
            tangents = _times(tangents, slope, space, "tangents")
        if place in chain.ends:
            full = in_columns(tangents.expand(g, -1, -1, count))
            scratch = space.take("scratch", len(full), g * count)
            total, hit = _of_pairs(state.sum(1), g), _of_pairs(nonsmooth, g)
            # a block and the last layer in it end at the same place
            same = [i for i, end in enumerate(chain.ends) if end == place]
            if full.shape[1] == 2 <= len(full) and not wanted.left:
                grown = total.new_zeros(len(total), dtype=torch.float64) if log is None else log.flatten()
                later += [(i, triangle(full, scratch), grown, hit, total) for i in same]
            else:
                found = spectrum(full, wanted, None if log is None else log.flatten(), scratch)
                yield from (LayerSpectrum(i, entry.turn_back(found), hit, torch.isfinite(total)) for i in same)
    for layer in _all_triangles(later, wanted, points.dtype):
        yield layer._replace(spectrum=entry.turn_back(layer.spectrum))


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


def product(weight: Tensor, values: Tensor, out: Tensor, bias: Tensor | None = None) -> Tensor:
    """One product for all members: weight (member, n, m) times values (member or 1, m, ...), plus bias (member, n)."""
    flat = values.flatten(2)
    if len(flat) == 1:
        # members that share the values are rows of one matrix
        weight, into = weight.flatten(0, 1), out.view(-1, flat.shape[2])
        if bias is None:
            torch.mm(weight, flat[0], out=into)
        else:
            torch.addmm(bias.reshape(-1, 1), weight, flat[0], out=into)
    elif bias is None:
        torch.bmm(weight, flat, out=out.flatten(2))
    else:
        torch.baddbmm(bias[:, :, None], weight, flat, out=out.flatten(2))
    return out


def scaled(step: Diagonal, state: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope of a diagonal step."""
    return torch.addcmul(step.shift[:, :, None], step.factor[:, :, None], state), step.factor[:, :, None]


def _times(carried: Tensor, slope: Tensor, space: Workspace, name: str) -> Tensor:
    """Columns or rows (member, n, d, points) times slopes (member, n, points); either may be 1 member or point wide."""
    shape = torch.broadcast_shapes(carried.shape, slope[:, :, None].shape)
    return torch.mul(carried, slope[:, :, None], out=space.other(name, carried, *shape))


def in_columns(jacobians: Tensor) -> Tensor:
    """Jacobians (member, n, d, points) as (n, d, pairs), which is a copy where there are several members."""
    return jacobians.permute(1, 2, 0, 3).flatten(2)


@overload
def _of_pairs(values: Tensor, members: int) -> Tensor: ...


@overload
def _of_pairs(values: None, members: int) -> None: ...


def _of_pairs(values: Tensor | None, members: int) -> Tensor | None:
    """Numbers (member or 1, points) of all pairs of a member and a point."""
    return None if values is None else values.expand(members, -1).flatten()


def _rescaled(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """Tangents divided by their largest entry at each point, and its logarithm."""
    size = tangents.abs().amax((1, 2))
    size = torch.where((size > 0) & torch.isfinite(size), size, torch.ones_like(size))
    return tangents.div_(size[:, None, None]), size.double().log()


def backward_rows(
    chain: PlainChain, entry: Entry, scale: Tensor, points: Tensor, wanted: Wanted, space: Workspace
) -> Iterator[LayerSpectrum]:
    """Carry rows back from each chosen end; yield its spectrum. Cost: 1 forward pass, and m per end with m outputs."""
    g, count = chain.members, points.shape[1]
    state = points.mT
    slopes: list[Tensor | None] = []
    suspect: Tensor | None = None
    finite: dict[int, Tensor] = {}
    for place, step in enumerate(chain.steps):
        slope = None
        if isinstance(step, Affine):
            out = space.other("state", state, g, step.weight.shape[1], count)
            state = product(step.weight, state, out, step.bias)
        elif isinstance(step, Diagonal):
            state, slope = scaled(step, state)
        else:
            for at in step.kinks:
                on = (state == at).any(1)
                suspect = on if suspect is None else suspect | on
            outs = space.other("state", state, *state.shape), space.take(f"slope {place}", *state.shape)
            state, slope = value_and_slope(step.activation, state, outs)
        slopes.append(slope)
        if place + 1 in chain.ends:
            finite[place + 1] = torch.isfinite(_of_pairs(state.sum(1), g))
    nonsmooth: list[Tensor | None] = [None] * len(chain.ends)
    if suspect is not None and bool(suspect.any()):
        # whether a perturbation moves the component off its kink is seen by the columns only
        which = suspect.any(0)
        for layer in forward_columns(chain, entry, scale, points[:, which], Wanted(), Workspace(scale)):
            if layer.nonsmooth is not None:
                hit = torch.zeros(g, count, dtype=torch.bool, device=points.device)
                hit[:, which] = layer.nonsmooth.unflatten(0, (g, -1)) & suspect[:, which]
                nonsmooth[layer.place] = hit.flatten()
    for place, end in enumerate(chain.ends):
        rows = _rows_from(chain, slopes, end, entry, scale, space).expand(g, -1, -1, count)
        found = entry.turn_back(spectrum(in_columns(rows.transpose(1, 2)), wanted))
        yield LayerSpectrum(place, found, nonsmooth[place], finite[end])


def _rows_from(
    chain: PlainChain, slopes: list[Tensor | None], end: int, entry: Entry, scale: Tensor, space: Workspace
) -> Tensor:
    """Transposed Jacobians (member, inputs or reduced inputs, outputs, points) of the first ``end`` steps."""
    # until the first activation all points share their rows, (member, n, m, 1), until the first matrix all members
    rows = torch.eye(chain.width_before(end), dtype=scale.dtype, device=scale.device)[None, :, :, None]
    for place in range(end - 1, -1, -1):
        step = chain.steps[place]
        if isinstance(step, Affine):
            weight = step.weight.mT if place or entry.first is None else entry.first.mT
            rows = product(weight, rows, space.other("rows", rows, chain.members, weight.shape[1], *rows.shape[2:]))
        else:
            slope = step.factor[:, :, None] if isinstance(step, Diagonal) else slopes[place]
            assert slope is not None
            rows = _times(rows, slope, space, "rows")
    return rows if entry.first is not None else rows * scale[:, None, None]


def met_kink(step: Pointwise, state: Tensor, tangents: Tensor, before: Tensor | None) -> Tensor | None:
    """Points where a component sits exactly on a kink and a perturbation moves it, together with earlier ones."""
    for at in step.kinks:
        on = state == at
        if bool(on.any()):
            moved = (tangents != 0).any(2)
            hit = (on & moved).any(1)
            before = hit if before is None else before | hit
    return before
