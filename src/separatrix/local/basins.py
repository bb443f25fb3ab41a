"""Attractors of a system, found by iteration, and the points that are drawn to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.local.basin_atlas import UNDECIDED, Atlas
from separatrix.local.basin_cycles import Ruler
from separatrix.local.basin_result import dataset
from separatrix.local.basin_search import Search
from separatrix.local.basin_stuck import resolve
from separatrix.local.iterated import as_system
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes, points_per_chunk
from separatrix.results.progress import Progress, track
from separatrix.tangent.columns import Columns, columns
from separatrix.tangent.inputs import Plane, Points, as_inputs

if TYPE_CHECKING:
    import xarray as xr

_SAMPLE = 256
"""Points, taken at random, that are followed first: most attractors are known before the rest begins."""
_CACHE = 2**20
"""Bytes of a core's cache that the numbers of one chunk should fit into."""


def basins(
    system: Any,
    grid: Plane | Tensor | Any,
    *,
    steps: int = 1000,
    transient: int = 500,
    max_period: int = 32,
    tolerance: float | None = None,
    escape: float | None = None,
    seed: int = 0,
    memory: int | float | str = "512MB",
    progress: Progress = False,
) -> xr.Dataset:
    """Find the attractors that points are drawn to by iterating x+ = f(x), and label each point with its own.

    Everything here is an estimate: what finitely many points do in finitely many steps. Attractors with small basins
    may be missed, and long transients taken for attractors. (Equilibria that are proved, and all of them:
    ``sx.equilibria``.)

    Parameters
    ----------
    system : System, nn.Module or callable
        Autonomous: ``sx.Loop(model)``, ``sx.Map(f)``, or a model or function that takes (B, n) to (B, n).
    grid : sx.grid(...), sx.plane(...) or Tensor (points, n)
        Starting points: a grid of a two-dimensional state space, a slice of a larger one, or any points, such as a
        random sample.
    steps : int
        Steps over which orbits that do not repeat themselves are measured (cells, exponents); and for how long points
        are followed after ``transient`` before they are left undecided.
    transient : int
        Steps before an orbit that does not repeat itself may be taken for one on its attractor.
    max_period : int
        Longest period that is looked for.
    tolerance : float, optional
        An orbit has come back when it is this close, relative to the extent of the starting points (or to the state,
        if that is larger). Default: 1e-6, and 64 machine precisions in float32.
    escape : float, optional
        An orbit with a component larger than this has escaped. Default: 1000 times the largest component of the
        starting points, at least 1000.
    seed : int
        Of the sample that begins, and of all trials.
    memory : int or str
        Budget in bytes for everything but points and result.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        ``label`` (x, y), or (point) for points: number of the attractor along ``line``, -1 where it is undecided, -2
        for escape. For each attractor (dimension ``line``, largest share first):

        - ``kind``: fixed-point, cycle, quasi-periodic, chaotic, unresolved, continuum;
        - ``period`` in steps, 0 where there is none;
        - ``exponent`` with ``standard_error``: the largest Lyapunov exponent. For fixed points and cycles the logarithm
          of the largest multiplier over the period; where the derivative has a kink there, the exponent of orbits on
          their way in; for the others from 1 to 32 and more orbits (:func:`separatrix.tangent.largest_exponent`);
        - ``radius``: all of some 20 to 60 states tried around it, and closer, came back to a fixed point or cycle from
          twice this distance; 0 where they left, or were too slow to tell; NaN for other kinds;
        - ``share`` of the points with ``share_lo``, ``share_hi``, its 95 % Clopper-Pearson interval. It is an interval
          for the basin's volume where the points are a random sample; on a grid it treats points as independent, which
          they are not;
        - ``start`` and ``count``: its states in ``position``, all points of a cycle, and samples of other kinds. The
          dimensions of ``position`` are (point, axis); (point, input) on a plane, whose axes are two; (index, axis)
          for points, as ``point`` then numbers the starting points.

    Raises
    ------
    ArgumentError
        If the system depends on time (a driven one has no basins), is none, gives NaN everywhere, or does not take
        points of that size; if points are not finite; if a number cannot be used.

    Notes
    -----
    - An orbit that comes back to itself within ``tolerance`` after p <= ``max_period`` steps is confirmed by Newton's
      method on f^p(x) = x, and its cycle is named by the refined points. It attracts if random states around it come
      back. Points that come into the ball of such a cycle are not followed further.
    - Solutions with a multiplier 1 belong to a *continuum*, such as a line of equilibria; all those of one period are
      counted as one attractor.
    - A point that ends exactly on an equilibrium or cycle that does not attract is undecided, unless its neighbours end
      there too (a saddle that a whole region is mapped onto).
    - Orbits that do not repeat belong to one set where one spends half of its time in the coarse cells of the other
      (48 x 48 for two components, two random directions for more than three). The sign of their exponent names them:
      *chaotic* or *quasi-periodic*, 0 within three standard errors or 2 ln(T)/T; where it is negative or the halves of
      the orbit disagree, *unresolved* (a longer period, or a long transient). Invariant circles that fill a region are
      one set.
    - Points are independent of each other, but which chunk meets an attractor first decides where its ball begins:
      points at the edge of a thin basin may change with ``memory``.

    Cost: a step of all points that are still followed; a few hundred at most, mostly a few dozen.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> found = sx.basins(sx.Map(lambda x: torch.tanh(2 * x)), sx.grid((-2, 2), (-2, 2), shape=50))
    >>> found.sizes["line"], float(found.share.sum())
    (4, 1.0)
    """
    budget = parse_bytes(memory)
    steps, transient = whole("steps", steps, 1), whole("transient", transient, 0)
    max_period, seed = whole("max_period", max_period, 1), whole("seed", seed, 0)
    for name, number in (("tolerance", tolerance), ("escape", escape)):
        real = isinstance(number, int | float | np.number) and not isinstance(number, bool)
        if number is not None and not (real and 0 < number < float("inf")):
            raise ArgumentError(name, repr(number), "give a positive, finite number")
    moving, where = as_system(system), _points(grid)
    starts = where.points().flatten(1).detach().cpu()
    carried = _carried(moving, starts)
    starts = starts.to(carried.dtype).T.contiguous()
    ruler = _ruler(starts, carried, tolerance, escape)
    generator = torch.Generator().manual_seed(seed)
    search = Search(Atlas(carried, ruler, max_period, generator), steps, transient)
    # one step with its tangents, a stretch of the orbit, and what the refinement holds
    width = carried.width + starts.shape[0] * (max_period + 1 + 6 * starts.shape[0])
    chunk = points_per_chunk(width * carried.dtype.itemsize, budget, "a stretch of its orbit and its derivative")
    chunk = min(chunk, max(_SAMPLE, _CACHE // (carried.width * carried.dtype.itemsize)))
    label = torch.full((len(where),), UNDECIDED)
    order = torch.randperm(len(where), generator=generator)
    first, rest = order[:_SAMPLE], order[_SAMPLE:].sort().values
    with torch.no_grad(), track(progress, len(where), "basins") as advance:
        for part in [*first.split(chunk), *rest.split(chunk)]:
            label[part] = search.run(starts[:, part].contiguous())
            advance(len(part))
        label = resolve(search, starts, label)
    settings = {
        "steps": steps,
        "transient": transient,
        "max_period": max_period,
        "seed": seed,
        "memory": str(memory),
        "tolerance": ruler.tolerance,
        "escape": ruler.escape,
    }
    return dataset(moving, where, search.atlas, label, settings)


def _points(grid: Any) -> Plane | Points:
    if isinstance(grid, Tensor | np.ndarray) and not torch.as_tensor(grid).is_floating_point():
        raise ArgumentError("grid", str(grid.dtype), "give states as floating-point numbers, such as grid.double()")
    try:
        where = as_inputs(grid, tokens=False)
    except ArgumentError as error:
        raise ArgumentError("grid", error.got, error.remedy) from None
    if isinstance(where, Plane) and not (torch.isfinite(where.x).all() and torch.isfinite(where.y).all()):
        raise ArgumentError("grid", "coordinates that are NaN or infinite", "lay it with sx.grid or sx.plane")
    return where


def _carried(system: Any, starts: Tensor) -> Columns:
    """Look at a few points before all of them: the system must take them, and be autonomous."""
    if getattr(system, "horizon", None) is not None:
        got = f"a system of {system.horizon} steps that differ"
        raise ArgumentError("system", got, "a driven system has no basins; give a constant input or a policy")
    try:
        n = system.dim(0)
    except (ArgumentError, AttributeError):
        n = starts.shape[1]
    if n != starts.shape[1]:
        raise ArgumentError("grid", f"points of {starts.shape[1]} components", f"the system's states have {n}")
    few = starts[torch.linspace(0, len(starts) - 1, min(64, len(starts))).long()]
    carried = columns(system, few)
    x = few.to(carried.dtype).T.contiguous()
    with torch.no_grad():
        following = carried.step(x)
        later = [system.step(few[:8].to(_own_dtype(carried)), t) for t in (0, 1, 7)]
    if not torch.isfinite(following).any():
        raise ArgumentError("system", "a step that gives NaN or infinity everywhere", "check the model and the points")
    if any(not torch.allclose(one, later[0], rtol=1e-5, equal_nan=True) for one in later[1:]):
        raise ArgumentError("system", "a step that depends on time, or on chance", "only autonomous maps have basins")
    return carried


def _own_dtype(carried: Columns) -> torch.dtype:
    return torch.float64 if carried.epsilon < 1e-9 else torch.float32


def _ruler(starts: Tensor, carried: Columns, tolerance: float | None, escape: float | None) -> Ruler:
    extent = float((starts.amax(1) - starts.amin(1)).max()) / 2
    largest = float(starts.abs().max())
    return Ruler(
        size=extent or max(1.0, largest),
        escape=escape or 1e3 * max(1.0, largest),
        tolerance=tolerance or max(1e-6, 64 * torch.finfo(carried.dtype).eps),
        epsilon=carried.epsilon,
    )
