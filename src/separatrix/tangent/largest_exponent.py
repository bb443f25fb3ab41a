"""Largest Lyapunov exponent of each of many orbits, by one renormalised tangent vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.status import Status
from separatrix.tangent.columns import Columns, columns

_BATCHES = 16
"""Pieces of an orbit whose means give the standard error."""
_DISAGREE = 5.0
"""Difference of the means of both halves, in its standard error, from which an orbit is not stationary."""


class LargestExponent(NamedTuple):
    """What :func:`largest_exponent` returns; one entry for each of B orbits.

    Attributes
    ----------
    exponent : Tensor (B,), float64
        In the unit of the system: per step, or per time where it has a ``dt``. NaN for an orbit that escaped, -inf for
        one that is superstable.
    standard_error : Tensor (B,), float64
        NaN where the two halves of the orbit disagree by more than five standard errors, and where there is none.
    state : Tensor (B, n)
        Where the orbit ends; for an orbit that escaped, its last state within bounds.
    status : Tensor (B,), int8
        :class:`separatrix.results.status.Status`: OK, SINGULAR (the tangent vanished), NONFINITE (the orbit escaped).
    halves : Tensor (2, B), float64
        The exponent of the first and of the second half.
    """

    exponent: Float[Tensor, " B"]
    standard_error: Float[Tensor, " B"]
    state: Float[Tensor, "B n"]
    status: Int8[Tensor, " B"]
    halves: Float[Tensor, "2 B"]


def largest_exponent(
    system: Any,
    states: Float[Tensor, "B n"],
    *,
    steps: int = 1000,
    transient: int = 200,
    seed: int = 0,
    escape: float = math.inf,
) -> LargestExponent:
    """Estimate the largest Lyapunov exponent of the orbit from each state.

    lambda_1 = lim (1/T) ln |M_T ... M_1 v| for almost every v (Benettin et al., Meccanica 15, 9 (1980)): a random
    tangent is carried along and brought back to length 1 at every step, and the logarithms of its growth are added in
    float64.

    Parameters
    ----------
    system : System
        Any system whose states keep their size.
    states : Tensor, shape (B, n)
        Where the orbits start.
    steps : int
        Steps that are averaged.
    transient : int
        Steps before them, in which the orbit settles and the tangent turns to the fastest direction.
    seed : int
        Of the tangents.
    escape : float
        An orbit with a component beyond this, or not finite, has escaped and is followed no further.

    Returns
    -------
    LargestExponent
        Named tuple of exponent, standard_error, state, status and halves.

    Raises
    ------
    ArgumentError
        If a number of steps or ``escape`` cannot be used, the states are no finite (B, n), the system rejects them, or
        its horizon is shorter than ``transient + steps``.

    Notes
    -----
    The standard error is that of the means of 16 consecutive pieces of the orbit: it is right once a piece is longer
    than the orbit's memory, and it says nothing about a limit that is approached slowly (a twist map's exponent, which
    is 0, comes out as ln(T)/T). At a kink the derivative is one-sided. A contraction below 1e-150 in one step counts as
    superstable.

    Networks that can be seen through are run by their blocks with slopes in closed form
    (:func:`separatrix.tangent.columns.columns`); any other system costs two steps and some overhead for each step.
    """
    _check(system, states, steps, transient, escape)
    carried = columns(system, states)
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(states.shape[1], len(states), generator=generator, dtype=torch.float64)
    found = follow(carried, states.T.cpu(), v, steps=steps, transient=transient, escape=escape)
    dt = float(getattr(system, "dt", 1.0))
    return found._replace(
        exponent=found.exponent / dt,
        standard_error=found.standard_error / dt,
        halves=found.halves / dt,
        state=found.state.to(states),
    )


def follow(
    system: Columns,
    x: Float[Tensor, "n B"],
    v: Float[Tensor, "n B"],
    *,
    steps: int,
    transient: int = 0,
    escape: float = math.inf,
    record: Callable[[Tensor, Tensor], None] | None = None,
) -> LargestExponent:
    """Carry states and one tangent each, as columns; exponents per step.

    ``record`` is told, at every step after the transient, the numbers (B',) of the orbits that are still followed and
    their states (n, B').
    """
    count = x.shape[1]
    x, v = x.to(system.dtype).contiguous(), (v / v.norm(dim=0)).to(system.dtype)
    state, start = x.clone(), v
    alive = torch.arange(count)
    sums = torch.zeros(_pieces(steps), count, dtype=torch.float64)
    lengths = torch.zeros(len(sums), 1, dtype=torch.float64)
    for t in range(transient + steps):
        following, MV = system.tangent(x, v[:, None], t)
        size = torch.linalg.vector_norm(MV[:, 0].double(), dim=0)
        good = (following.abs() <= escape).all(0) & torch.isfinite(following).all(0) & torch.isfinite(size)
        if not good.all():
            state[:, alive[~good]] = x[:, ~good]
            alive, following, size, MV = alive[good], following[:, good], size[good], MV[:, :, good]
            if not len(alive):
                break
        vanished = size == 0
        v = torch.where(vanished, start[:, alive], (MV[:, 0] / size.clamp(min=1e-300)).to(system.dtype))
        x = following
        if t >= transient:
            piece = (t - transient) * len(sums) // steps
            sums[piece, alive] += size.log()
            lengths[piece] += 1
            if record is not None:
                record(alive, x)
    state[:, alive] = x
    return _estimate(sums, lengths, alive, state.T)


def _pieces(steps: int) -> int:
    """An even number, so that the halves are made of whole pieces."""
    return max(1, min(_BATCHES, 2 * (steps // 4)))


def _estimate(
    sums: Float[Tensor, "pieces B"], lengths: Float[Tensor, "pieces 1"], alive: Tensor, state: Float[Tensor, "B n"]
) -> LargestExponent:
    pieces, count = sums.shape
    means = sums / lengths.clamp(min=1)
    exponent = sums.sum(0) / lengths.sum().clamp(min=1)
    half = pieces // 2
    if half:
        parts = means.split(half)
        halves = torch.stack([part.mean(0) for part in parts])
        error = means.std(0) / math.sqrt(pieces)
        # of the difference; from within the halves, so that a drift does not excuse itself
        doubt = torch.sqrt(sum(part.var(0) / half for part in parts)) if half > 1 else math.inf
        # rounding of exponents that are constant along the orbit is no disagreement
        settled = (halves[0] - halves[1]).abs() <= _DISAGREE * doubt + 1e-12
        error = torch.where(settled & torch.isfinite(error), error, torch.nan)
    else:
        halves, error = exponent.expand(2, -1).clone(), torch.full_like(exponent, torch.nan)
    status = torch.full((count,), int(Status.NONFINITE), dtype=torch.int8)
    status[alive] = torch.where(torch.isneginf(exponent[alive]), int(Status.SINGULAR), int(Status.OK)).to(torch.int8)
    escaped = status == Status.NONFINITE
    exponent, error = exponent.masked_fill(escaped, torch.nan), error.masked_fill(escaped, torch.nan)
    return LargestExponent(exponent, error, state, status, halves.masked_fill(escaped, torch.nan))


def _check(system: Any, states: Tensor, steps: int, transient: int, escape: float) -> None:
    whole("steps", steps, 1)
    whole("transient", transient, 0)
    if not escape > 0:
        raise ArgumentError("escape", repr(escape), "give a positive number, or infinity")
    if states.ndim != 2 or states.numel() == 0 or not states.is_floating_point():
        got = f"shape {tuple(states.shape)} of {states.dtype}"
        raise ArgumentError("states", got, "give floating-point states (B, n), at least one")
    if not torch.isfinite(states).all():
        raise ArgumentError("states", "values that are NaN or infinite", "start from finite values")
    horizon = getattr(system, "horizon", None)
    if horizon is not None and transient + steps > horizon:
        got = f"{transient} + {steps} steps"
        raise ArgumentError("steps", got, f"transient + steps must be within the horizon of {horizon}")
