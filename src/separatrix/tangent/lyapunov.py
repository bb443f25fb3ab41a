"""Lyapunov exponents of the orbits of any system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import torch

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.tangent.exponent_dataset import dataset
from separatrix.tangent.exponent_runs import by_qr, by_singular_values
from separatrix.tangent.exponent_windows import windows
from separatrix.tangent.orbit_arguments import choose
from separatrix.tangent.orbits import Orbits, first_states

if TYPE_CHECKING:
    import xarray as xr

FORMS = {"qr": "QR", "svd": "singular-value"}


def lyapunov(
    system: Any,
    state: Any = None,
    *,
    steps: SupportsIndex,
    k: Any = "all",
    transient: SupportsIndex = 0,
    form: str = "qr",
    which: str = "largest",
    every: SupportsIndex = 1,
    window: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
    seeds: SupportsIndex = 1,
    memory: int | float | str = "1GB",
    progress: Progress = False,
) -> xr.Dataset:
    """Compute Lyapunov exponents, or finite-time ones, of the orbit from each state.

    With M_n the derivative of step n along the orbit and Q_{n+1} R_{n+1} = M_n Q_n, diag R > 0, the exponents in QR
    form after T steps are (1/T) sum over n of ln (R_n)_ii (Benettin et al., Meccanica 15, 9 (1980)); in singular-value
    form (1/T) ln sigma_i(M_{T-1} ... M_0). For T to infinity both have the same limit. At finite T the QR form depends
    on the first frame Q_0 until that is forgotten, the singular-value form does not; the sum of the first k is never
    larger in QR form, and both sums over all indices are the mean of ln |det M_n|.

    Parameters
    ----------
    system : System
        Anything that moves: :class:`separatrix.Map`, ``Flow``, ``Loop``, ``Depth``, a training run, or an object of
        one's own with the members of :class:`separatrix.systems.System`.
    state : Tensor (n,) or (*members, n), optional
        Where the orbits start; the system's own ``initial_state(seed, 1)`` where it has one: for an
        :class:`separatrix.Training` these are fresh weights, those that the network has are ``run.state_of()``. All
        members are carried together.
    steps : int
        Steps T that are averaged.
    k : int or "all"
        How many exponents.
    transient : int
        Steps before them: the orbit settles and, in QR form, the frame forgets where it began. For optimizers that
        divide by their memory some tens: the first step divides by an empty one, and its 20 to 30 nats would be all
        that is seen, with a standard error so large that the halves seem to agree.
    form : {"qr", "svd"}
        ``"svd"`` carries all n directions whatever k is.
    which : {"largest", "smallest"}
        The k smallest come from all n where these fit (n <= 2,000, and the memory), otherwise from pairing,
        lambda_i + lambda_{n+1-i} = c per step, where the system says so by an attribute ``pairing``, or its optimizer
        by ``pair_sum()`` (heavy ball: c = ln beta; exact in singular-value form, in the limit in QR form).
    every : int
        Steps between entries of the history.
    window : int, optional
        Also the exponents of sliding windows of this many steps; a multiple of ``every``.
    seed : int
        Of the first frames.
    seeds : int
        How many first frames, in QR form. The exponents are then means over them, and ``spread`` is their standard
        deviation: what is left of Q_0.
    memory : int or str
        Budget in bytes for everything that is held, results included, but not for what the system itself takes.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        ``exponent`` (member, index), in 1/step or 1/time, ``stretch`` (nat, the same times the duration),
        ``history`` (member, time, index): the exponents of the first ``time`` steps; ``window_exponent`` likewise, NaN
        before the first full window. At each time they are sorted by themselves, largest first, so no value depends on
        what comes after it. ``standard_error`` (member, index), by batch means (QR form): NaN where the two halves of
        the orbit disagree (status ``transient``) or there are fewer than 8 steps (``short``); in
        singular-value form there is none, and the status of every finite exponent is ``short``. ``spread`` over first
        frames, NaN for one. ``singular_steps``: how often a pivot was at rounding level; such a step counts
        64 eps times the largest entry of R, and the status says ``singular``. In singular-value form such values are
        -inf, and counted once.
        ``last_step`` (member): steps until the orbit left the floating-point numbers (status ``nonfinite``; history up
        to there, exponent NaN). Indices lost at a bottleneck are -inf (``missing``).

    Raises
    ------
    ArgumentError
        If an argument cannot be used, the run would go beyond the system's horizon, the memory does not suffice, or the
        smallest exponents are out of reach.

    Notes
    -----
    Each step costs one tangent step with ``seeds`` k tangents and a QR factorisation of (n, k) for each member (about
    4 n k^2 operations), in float64 whatever the system computes in. In singular-value form the factors are never
    multiplied out (:class:`separatrix.tangent.product.GradedProduct`), and each entry of a history takes a few Jacobi
    sweeps over (n, n).

    The exponents of a chaotic orbit with a twist or a slow passage approach their limit slowly; no standard error shows
    that. In float32 exponents below about 1e-7 per step mean nothing.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> cat = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> found = sx.lyapunov(sx.Map(lambda x: (x @ cat.T) % 1), torch.rand(3, 2).double(), steps=50, transient=30)
    >>> found.exponent.values.round(6)[0]
    array([ 0.962424, -0.962424])
    """
    steps, transient, every = whole("steps", steps, 1), whole("transient", transient, 0), whole("every", every, 1)
    seed, seeds = whole("seed", seed, 0), whole("seeds", seeds, 1)
    if form not in FORMS:
        raise ArgumentError("form", repr(form), f"choose one of {', '.join(map(repr, FORMS))}")
    if form == "svd" and seeds > 1:
        raise ArgumentError(
            "seeds", repr(seeds), 'the singular-value form has no first frame; leave it at 1, or form="qr"'
        )
    spans = windows(steps, every, window)
    states = first_states(system, state, seed)
    orbits = Orbits(system, states, transient + steps)
    budget = parse_bytes(memory)
    choice = choose(orbits, states, k, which, form, seeds, spans, budget)
    with torch.no_grad(), track(progress, transient + steps, "lyapunov") as tell:
        if form == "qr":
            run = by_qr(orbits, states, choice.carried, transient, spans, seed, seeds, tell)
        else:
            run = by_singular_values(orbits, states, choice.carried, transient, spans, tell)
    settings = {
        "steps": steps, "k": k if k == "all" else choice.wanted, "transient": transient, "form": form, "which": which,
        "every": every, "window": spans.window, "seed": seed, "seeds": seeds, "memory": memory,
    }  # fmt: skip
    return dataset(run, choice, orbits, system, spans, transient, FORMS[form], settings)
