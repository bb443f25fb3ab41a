"""Exponents along orbits in either form, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.tangent.batch_means import batch_means, pieces
from separatrix.tangent.exponent_windows import Windows
from separatrix.tangent.orbit_status import OrbitStatus
from separatrix.tangent.orbits import Orbits
from separatrix.tangent.product import GradedProduct
from separatrix.tangent.qr_sweep import ROUNDING, advance, begin, carry, logarithms


class ExponentRun(NamedTuple):
    """Stretches in nats, sorted at each time by themselves; k is the number of directions that were carried.

    Attributes
    ----------
    history, sliding : Tensor (B, T, k)
        ln of growth from the start, and over the sliding window that ends at each time.
    error, spread : Tensor (B, k)
        Standard error per step, and standard deviation of the total over first frames; NaN where there is none.
    status, singular : Tensor (B, k)
        :class:`OrbitStatus`, and steps whose pivot was rounding.
    last : Tensor (B,)
        Steps after the transient that each orbit took; negative if it ended within the transient.
    """

    history: Float[Tensor, "B T k"]
    sliding: Float[Tensor, "B T k"] | None
    error: Float[Tensor, "B k"]
    spread: Float[Tensor, "B k"]
    status: Int[Tensor, "B k"]
    singular: Int[Tensor, "B k"]
    last: Int[Tensor, " B"]


def by_qr(
    orbits: Orbits,
    states: Float[Tensor, "B n"],
    k: int,
    transient: int,
    spans: Windows,
    seed: int,
    seeds: int,
    tell: Callable[[int], None],
) -> ExponentRun:
    """Sum ln R_ii along the orbits."""
    members = len(states)
    frames = begin(orbits, states, k, seed, seeds)
    last = torch.full((members,), spans.steps, device=frames.x.device)
    total = torch.zeros(seeds, members, k, dtype=torch.float64, device=frames.x.device)
    count = pieces(spans.steps)
    sums = total.new_zeros(max(count, 1), seeds, members, k)
    lengths = total.new_zeros(max(count, 1))
    singular = torch.zeros(seeds, members, k, dtype=torch.int64, device=total.device)
    at: dict[int, Tensor] = {0: total}
    for t in range(-transient, spans.steps):
        alive = frames.alive
        frames, factor = advance(orbits, frames)
        last = torch.where(alive & ~frames.alive, t, last)
        if t >= 0:
            logs = logarithms(factor, frames.alive, k)
            total = total + logs
            piece = t * len(sums) // spans.steps
            sums[piece] += logs
            lengths[piece] += 1
            singular[..., : factor.floored.shape[-1]] += factor.floored
            if (t + 1) % spans.every == 0 or t + 1 == spans.steps:
                at[t + 1] = total
        tell(1)
        if not bool(frames.alive.any()):
            break
    nothing = torch.full_like(total, torch.nan)
    kept = torch.stack([at.get(time, nothing) for time in spans.times], 2)
    history = _sorted(kept).mean(0)
    sliding = None
    if spans.window is not None:
        begins = [spans.start_of(time) for time in spans.times]
        before = torch.stack([nothing if b is None else at.get(b, nothing) for b in begins], 2)
        # -inf since a bottleneck stays -inf
        sliding = _sorted(torch.where(torch.isneginf(kept) & ~torch.isnan(before), -torch.inf, kept - before)).mean(0)
    order = _order(kept[:, :, -1])
    singular = singular.gather(-1, order).amax(0)
    sums = sums.gather(-1, order.expand_as(sums)).mean(1)
    error, settled = torch.full_like(sums[0], torch.nan), torch.ones_like(sums[0], dtype=torch.bool)
    if count:
        error, settled = batch_means(sums, lengths)
    spread = _sorted(kept[:, :, -1]).std(0) if seeds > 1 else torch.full_like(error, torch.nan)
    ended = ~frames.alive if frames.alive.any() else torch.ones_like(frames.alive)
    status = torch.full_like(singular, int(OrbitStatus.OK if count else OrbitStatus.SHORT))
    status[~settled] = OrbitStatus.TRANSIENT
    return ExponentRun(history, sliding, error, spread, _status(status, singular, history, ended), singular, last)


def by_singular_values(
    orbits: Orbits,
    states: Float[Tensor, "B n"],
    k: int,
    transient: int,
    spans: Windows,
    tell: Callable[[int], None],
) -> ExponentRun:
    """Carry products of the derivatives that are never multiplied out: one from the start, and one for each window."""
    members, n = states.shape
    x, alive = states.to(orbits.device, orbits.dtype), torch.ones(members, dtype=torch.bool, device=orbits.device)
    last = torch.full((members,), spans.steps, device=x.device)
    still = x.new_zeros(0, members, n, dtype=torch.float64)
    opened: dict[int, GradedProduct] = {}
    from_start: list[Tensor] = []
    sliding: list[Tensor] = []
    nothing = torch.full((members, k), torch.nan, dtype=torch.float64, device=x.device)
    for t in range(-transient, spans.steps):
        before = alive
        if t == 0 or (spans.window is not None and 0 <= t <= spans.steps - spans.window and t % spans.every == 0):
            opened[t] = GradedProduct.start(x.shape[1], (members,), device=x.device)
        if t < 0:
            x, _, alive = carry(orbits, x, still, alive, t + transient)
        else:
            V = torch.cat([product.q.permute(2, 0, 1) for product in opened.values()])
            x, MV, alive = carry(orbits, x, V, alive, t + transient)
            place = 0
            for begun, product in opened.items():
                width = product.q.shape[-1]
                columns = MV[place : place + width].permute(1, 2, 0)
                # rounding of a factor's entries is eps times its largest column, as in the QR form
                size = torch.linalg.vector_norm(columns, dim=1).amax(-1)[:, None, None] * (ROUNDING / 4)
                size = size * (torch.finfo(orbits.dtype).eps / torch.finfo(torch.float64).eps)
                opened[begun] = product.absorb(columns, size.expand_as(columns))
                place += width
        last = torch.where(before & ~alive, t, last)
        if t >= 0 and ((t + 1) % spans.every == 0 or t + 1 == spans.steps):
            from_start.append(_values(opened[0], k, alive))
            first = spans.start_of(t + 1)
            sliding.append(nothing if first is None else _values(opened[first], k, alive))
            if first:
                del opened[first]
        tell(1)
        if not bool(alive.any()):
            break
    missing = len(spans.times) - len(from_start)
    history = torch.stack(from_start + [nothing] * missing, 1)
    slid = None if spans.window is None else torch.stack(sliding + [nothing] * missing, 1)
    status = torch.full((members, k), int(OrbitStatus.SHORT), device=x.device)
    singular = torch.zeros_like(status)
    final = _status(status, torch.isneginf(history[:, -1]).long(), history, ~alive)
    narrowest = n if orbits.fixed else min(orbits.widths[transient:])
    final[:, narrowest:] = torch.where(alive[:, None], OrbitStatus.MISSING, OrbitStatus.NONFINITE)
    return ExponentRun(history, slid, nothing, nothing, final, singular, last)


def _values(product: GradedProduct, k: int, alive: Tensor) -> Tensor:
    values = product.singular()[..., :k]
    missing = values.new_full((len(values), k - values.shape[-1]), -torch.inf)
    return torch.cat([values, missing], -1).masked_fill(~alive[:, None], torch.nan)


def _status(status: Tensor, singular: Tensor, history: Tensor, ended: Tensor) -> Tensor:
    status[singular > 0] = OrbitStatus.SINGULAR
    status[torch.isneginf(history[:, -1]) & (singular == 0)] = OrbitStatus.MISSING
    status[ended] = OrbitStatus.NONFINITE
    return status


def _order(values: Tensor) -> Tensor:
    return values.argsort(dim=-1, descending=True, stable=True)


def _sorted(values: Tensor) -> Tensor:
    return values.sort(dim=-1, descending=True, stable=True).values
