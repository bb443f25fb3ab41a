"""Covariant Lyapunov vectors of the orbits of any system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import torch

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.tangent.checkpoints import Sizes, segment_length
from separatrix.tangent.covariant_dataset import dataset
from separatrix.tangent.covariant_run import BLOCK, Phases, run_covariant
from separatrix.tangent.orbit_arguments import how_many
from separatrix.tangent.orbits import Orbits, first_states

if TYPE_CHECKING:
    import xarray as xr


def covariant(
    system: Any,
    state: Any = None,
    *,
    steps: SupportsIndex,
    k: Any = "all",
    spinup: SupportsIndex | None = None,
    spindown: SupportsIndex | None = None,
    vectors: SupportsIndex | None = None,
    every: SupportsIndex | None = None,
    tolerance: float = 1e-6,
    seed: SupportsIndex = 0,
    memory: int | float | str = "1GB",
    progress: Progress = False,
) -> xr.Dataset:
    """Compute covariant Lyapunov vectors, their growth, and the angles between them.

    Vector i at step n is the direction v_i(n) with M_n v_i(n) parallel to v_i(n+1) that grows at the rate of exponent i
    forwards and shrinks at that rate backwards. It is found by the method of Ginelli et al., Phys. Rev. Lett. 99,
    130601 (2007): frames M_n Q_n = Q_{n+1} R_{n+1} forward, then C_n = R_{n+1}^{-1} C_{n+1} with columns of length 1
    backward, and V_n = Q_n C_n.

    Parameters
    ----------
    system : System
        As in :func:`separatrix.lyapunov`.
    state : Tensor (n,) or (*members, n), optional
        Where the orbits start; the system's own ``initial_state(seed, 1)`` where it has one.
    steps : int
        Steps of the window in which the vectors are wanted.
    k : int or "all"
        How many vectors, those of the k largest exponents. One direction more is carried, if there is one, to know the
        gap below the last.
    spinup, spindown : int, optional
        Steps before the window, in which the frames forget where they began, and after it, in which the backward pass
        forgets where it began; a quarter of ``steps`` each if not given. With ``spindown=0`` the vectors at the end of
        the window are random combinations, and nothing after the window is used.
    vectors : int, optional
        Keep the vectors themselves, every so many steps. Angles and growth need no vectors.
    every : int, optional
        Steps between the times of the result; ``vectors`` where that is given, otherwise 1.
    tolerance : float
        What may be left of the random beginnings for a vector to count as converged.
    seed : int
        Of the first frame and of the last C.
    memory : int or str
        Budget in bytes for everything that is held, results included, but not for what the system itself takes.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        ``exponent`` (member, index): mean of ln R_ii over the window, with ``standard_error`` by batch means;
        ``covariant_exponent``: mean growth of the vectors over the window. ``local_growth`` (member, time, index):
        growth rate of each vector over the ``every`` steps from each time. ``angle`` (member, time, pair), in
        [0, pi/2], and ``smallest_angle`` (member, pair) over all steps of the window; coordinates ``first`` and
        ``second`` are the indices of a pair. ``gap`` (member, index) to the exponent below, ``steps_times_gap`` in
        nats: ln R_jj - ln R_mm summed over the steps before (from all below) and after (from all above), the smaller
        of the two sides, at the step of the window where it is least; where rates change along the orbit it is not the
        gap times a number of steps. ``converged``: exp(-steps_times_gap) is at most the tolerance, an estimate.
        ``group``: neighbours that separate too little on either side share a number; of them only the span
        has a meaning, and ``subspace_angle`` (member, time, pair) is the smallest principal angle between the groups
        of a pair (NaN within a group; there only if a group has several). With ``vectors``: ``vector`` (member, time,
        index, state), of length 1 and without sign. ``singular_steps`` and ``status`` as in
        :func:`separatrix.lyapunov`; a vector that has not converged has the status ``unconverged``, an orbit that left
        the floating-point numbers ``nonfinite``, with NaN everywhere.

    Raises
    ------
    ArgumentError
        If an argument cannot be used, k is larger than the smallest state on the way (a bottleneck has no more
        vectors), the run would go beyond the system's horizon, or the memory does not suffice.

    Notes
    -----
    Forward, the cost is that of :func:`separatrix.lyapunov` with k + 1 exponents; backward, a triangular solve of
    (k, k) for each member and step. Where the triangular factors of all steps do not fit into the memory, states and
    frames are kept about every sqrt(steps) steps and the factors between them are computed again, bit for bit the same:
    twice the time, and memory that grows with the square root of the number of steps (besides the result, for which
    there is ``every``). Angles and growth come from C alone, as Q is orthonormal.

    A vector needs many times 1/gap steps on both sides. Training is a transient: gaps are small, and much of it may be
    unconverged; that is a property of the run and not of the method. A vector at a step is made of the steps after it:
    nothing may be predicted from it that lies within them.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> cat = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> system = sx.Map(lambda x: (x @ cat.T) % 1)
    >>> found = sx.covariant(system, torch.rand(2).double(), steps=40, spinup=30, spindown=30)
    >>> found.angle.values[0, 0].round(6)
    array([1.570796])
    """
    steps, seed = whole("steps", steps, 1), whole("seed", seed, 0)
    spinup, spindown = _phase("spinup", spinup, steps), _phase("spindown", spindown, steps)
    vectors = None if vectors is None else whole("vectors", vectors, 1)
    every = None if every is None else whole("every", every, 1)
    if vectors is not None and every is not None and vectors != every:
        remedy = "a result has one set of times: leave every out, or give it the value of vectors"
        raise ArgumentError("every", f"{every} with vectors={vectors}", remedy)
    if not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        raise ArgumentError("tolerance", repr(tolerance), "give a number between 0 and 1, such as 1e-6")
    states = first_states(system, state, seed)
    phases = Phases(spinup, steps, spindown, every or vectors or 1)
    orbits = Orbits(system, states, phases.total)
    count = how_many(k, min(orbits.widths))
    length = segment_length(_sizes(states.shape, orbits, count, phases, vectors is not None), parse_bytes(memory))
    with torch.no_grad(), track(progress, phases.total + steps + spindown, "covariant") as tell:
        run = run_covariant(orbits, states, count, phases, length, vectors is not None, seed, float(tolerance), tell)
    settings = {
        "steps": steps, "k": k if k == "all" else count, "spinup": spinup, "spindown": spindown, "vectors": vectors,
        "every": phases.every, "tolerance": tolerance, "seed": seed, "memory": memory,
    }  # fmt: skip
    return dataset(run, orbits, system, phases, length, tolerance, settings)


def _phase(name: str, value: SupportsIndex | None, steps: int) -> int:
    return -(-steps // 4) if value is None else whole(name, value, 0)


def _sizes(shape: torch.Size, orbits: Orbits, k: int, phases: Phases, vectors: bool) -> Sizes:
    members, widest = shape[0], max(orbits.widths)
    frame = 8 * members * widest * (k + 1)
    square = 8 * members * k * k
    result = 8 * members * phases.records * (k + k * k + (k * widest if vectors else 0))
    pairs = 8 * members * (k + 1) ** 2
    step = square + (-(-frame // phases.every) if vectors else 0)
    work, most = (6 * square, max(6 * square, 48 * BLOCK)) if k > 1 else (0, 0)
    total = phases.steps + phases.spindown
    return Sizes(frame + 8 * members * widest, step, work, most, 8 * frame + 6 * pairs + result, total)
