"""Equilibria and cycles of a map in a box: all of them where that can be proved."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.local.equilibrium_points import dataset
from separatrix.local.equilibrium_routes import Found, by_intervals, by_regions, by_starts
from separatrix.local.iterated import as_system, built_from, components
from separatrix.local.newton_starts import orbit_ends, spread
from separatrix.local.region_box import read_box
from separatrix.local.spectrum import check_square
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import integer, whole
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress
from separatrix.results.provenance import provenance
from separatrix.systems.lure import Lure, lure
from separatrix.tangent.columns import Columns, LureColumns, columns
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr

METHODS = ("auto", "regions", "krawczyk", "newton")


def equilibria(
    system: Any,
    box: Any,
    *,
    period: int = 1,
    method: str = "auto",
    starts: int | Tensor = 256,
    seed: int = 0,
    max_boxes: int | None = None,
    memory: int | float | str = "512MB",
    progress: Progress = False,
) -> xr.Dataset:
    """Find the equilibria x = f(x) of a map in a closed box, and its cycles up to a period.

    Parameters
    ----------
    system : System, nn.Module or callable
        Autonomous: ``sx.Loop(model)``, ``sx.Map(f)``, or a model or function that takes (B, n) to (B, n).
    box : (lo, hi), or the rectangle of ``sx.grid``
        Scalars or n-vectors. Where both are scalars, n must be known from the system: from its ``dim``, or the inputs
        of the first linear layer.
    period : int
        Longest least period of cycles; those count whose points are all in the box.
    method : "auto", "regions", "krawczyk" or "newton"
        "auto" takes regions for piecewise-linear maps of the plane, Krawczyk's operator for all others that can be seen
        through (:func:`separatrix.systems.lure.lure`), and Newton's method for the rest.
    starts : int or Tensor (K, n)
        Starts of Newton's method: how many, half on a lattice in the box and half at random, and as many ends of
        orbits; or the starts themselves.
    seed : int
        Of random starts.
    max_boxes : int, optional
        Boxes that interval Newton looks at for each period. Default: what takes 5e9 multiplications, at most 200,000
        for up to four components and 20,000 for more, where a search rarely ends.
    memory : int or str
        Budget in bytes for regions, or for the boxes of one pass.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        For each point, sorted by period and position, the points of a cycle one after another:

        - ``position`` (point, axis); ``period``; ``cycle``, the number of the cycle that it belongs to;
        - ``proved``: 1 where it is proved that a fixed point of f^period is within ``slack`` of it (largest
          component); the position of a point that is not proved has an infinite ``slack``, or by regions an estimate;
        - ``residual``: largest component of f^period(x) - x;
        - ``eigenvalue_real``, ``eigenvalue_imag`` (point, index) of the derivative of f^period, largest modulus first;
        - ``stability``: attracting, repelling, saddle, or undecided where a modulus is 1 to rounding or the derivative
          jumps at the point and no common norm decides.

        ``unresolved_lo``, ``unresolved_hi`` (line, axis) are boxes outside which nothing is missing:
        ``unresolved_kind`` tells those that could not be decided from segments (with their ends) and polygons that
        consist of fixed points.

        Attributes: ``method``; ``complete``, "proved" if there are no other points in the box than those listed, else
        "not proved"; ``arithmetic``, in which that holds; ``notes``, why not; ``boxes``, how many were looked at.

    Raises
    ------
    ArgumentError
        If the box is none, or not of the system's dimension; if f returns another shape than it takes, depends on time
        or gives NaN everywhere; if a method is asked for that does not fit the map.

    Notes
    -----
    - *krawczyk*: branch and bound (E. Hansen and G. W. Walster, *Global Optimization Using Interval Analysis*, 2004,
      chapter 11) over boxes that are enclosed by centred forms through the network, in outward-rounded float64
      (:mod:`separatrix.local.interval_forms`). Proofs are about the network in float64 with merged affine layers, and
      softplus without torch's jump of 2e-9 at its threshold; a float32 model is analysed through an exact copy. Cost
      grows with the box, the steepness of the map and, exponentially, with n and the period; a bifurcation point or a
      continuum leaves boxes.
    - *regions*: see :func:`separatrix.local.piecewise_equilibria.piecewise_equilibria`. Complete up to the rounding of
      float64; ``proved`` is by Krawczyk's operator at each point all the same.
    - *newton*: what is found is a lower bound of what there is.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> found = sx.equilibria(sx.Map(lambda x: torch.tanh(2 * x)), ([-2.0], [2.0]))
    >>> found.position.values.round(4).ravel().tolist(), found.attrs["complete"]
    ([-0.9575, 0.0, 0.9575], 'proved')
    """
    settings = {"period": period, "method": method, "seed": seed, "max_boxes": max_boxes, "memory": str(memory)}
    budget = parse_bytes(memory)
    period, seed = whole("period", period, 1), whole("seed", seed, 0)
    max_boxes = None if max_boxes is None else whole("max_boxes", max_boxes, 1)
    if method not in METHODS:
        raise ArgumentError("method", repr(method), f"one of {', '.join(METHODS)}")
    moving = _autonomous(system)
    n = _dimension(moving, system, box)
    lo, hi = (torch.from_numpy(side) for side in read_box(box, n))
    network, reason = _seen_through(moving, n) if method != "newton" else (None, "")
    carried = _carried(moving, lo, hi, network)
    route = _route(method, network, reason)
    generator = torch.Generator().manual_seed(seed)
    first = _starts(starts, carried, lo, hi, generator)
    if route == "regions" and network is not None:
        found = by_regions(network, lo, hi, period, memory if isinstance(memory, str) else int(memory))
    elif route == "krawczyk" and network is not None:
        found = by_intervals(network, lo, hi, period, first, max_boxes=max_boxes, budget=budget, progress=progress)
    else:
        found = by_starts(carried, lo, hi, period, first, reason)
    return dataset(found.points, found.left, _attrs(found, route, lo, hi, system, settings))


def _autonomous(system: Any) -> Any:
    moving = as_system(system)
    if getattr(moving, "horizon", None) is not None:
        got = f"a system of {moving.horizon} steps that differ"
        raise ArgumentError("system", got, "give an autonomous one: with a constant input, or a policy")
    return moving


def _dimension(moving: Any, system: Any, box: Any) -> int:
    sizes: list[int] = []
    if isinstance(box, Plane) and box.kind == "grid":
        return 2
    with suppress(TypeError):  # read_box has the words for it
        sizes = [np.asarray(side).size for side in box]
    n = components(moving, system, sizes)
    if n is not None:
        return n
    if not sizes or any(np.ndim(side) == 1 for side in box):
        return 1
    raise ArgumentError("box", repr(box), "give vectors, one number for each component, or sx.Loop(f, dim=n)")


def _seen_through(moving: Any, n: int) -> tuple[Lure | None, str]:
    try:
        network = lure(moving, (n,))
    except ArgumentError as error:
        return None, str(error)
    check_square(network)
    blocks = [
        replace(block, weights={k: w.cpu() for k, w in block.weights.items()}, bias=block.bias.cpu())
        for block in network.blocks
    ]
    return replace(network, blocks=tuple(blocks)), ""


def _carried(moving: Any, lo: Tensor, hi: Tensor, network: Lure | None) -> Columns:
    """Try a few states; the map must take them, give states, and not depend on time."""
    share = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    few = lo + (hi - lo) * share
    carried = columns(moving, few) if network is None else LureColumns(network, torch.finfo(torch.float64).eps)
    x = few.T.contiguous().to(carried.dtype)
    first, later = carried.step(x, 0), carried.step(x, 7)
    if not bool(torch.isfinite(first).any()):
        raise ArgumentError("system", "a step that gives NaN or infinity everywhere", "check the model and the box")
    if not torch.allclose(first, later, rtol=1e-4, equal_nan=True):
        raise ArgumentError(
            "system", "a step that depends on time, or on chance", "only autonomous maps have equilibria"
        )
    return carried


def _route(method: str, network: Lure | None, reason: str) -> str:
    if method == "newton" or (method == "auto" and network is None):
        return "newton"
    if network is None:
        raise ArgumentError("method", repr(method), f"the map cannot be seen through ({reason}); use 'newton'")
    linear = all(block.curve is None or block.curve.pieces is not None for block in network.blocks)
    flat = linear and network.inputs == 2
    if method == "regions" and not flat:
        what = f"a map of {network.inputs} components" if linear else "a map that is not piecewise linear"
        raise ArgumentError("method", f"'regions' for {what}", "regions are for piecewise-linear maps of the plane")
    return "regions" if flat and method != "krawczyk" else "krawczyk"


def _starts(starts: Any, carried: Columns, lo: Tensor, hi: Tensor, generator: torch.Generator) -> Tensor:
    count = integer(starts)
    if count is not None and count >= 0:
        x = spread(lo, hi, count, generator).to(carried.dtype)
        return torch.cat([x, orbit_ends(carried, x)], 1).double() if count else x.double()
    try:
        given = torch.as_tensor(starts, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        given = torch.zeros(0)
    if given.ndim != 2 or given.shape[1] != len(lo) or not bool(torch.isfinite(given).all()):
        raise ArgumentError("starts", repr(starts), f"give a number of at least 0, or finite points (K, {len(lo)})")
    return given.T.contiguous()


def _attrs(found: Found, route: str, lo: Tensor, hi: Tensor, system: Any, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": route,
        "complete": "proved" if found.complete else "not proved",
        "arithmetic": found.arithmetic,
        "notes": "; ".join(found.notes),
        "boxes": found.boxes,
        "provenance": provenance("equilibria", model=built_from(system), box=[lo.tolist(), hi.tolist()], **settings),
    }
