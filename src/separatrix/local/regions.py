"""The exact linear regions of a piecewise-linear network in a rectangle of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from separatrix.local.region_affine import input_maps as maps_of_inputs
from separatrix.local.region_affine import plane_maps
from separatrix.local.region_box import allowed, read_box, rectangle, sides, too_many
from separatrix.local.region_edges import edges, pieces
from separatrix.local.region_layers import Layer, layers, restricted
from separatrix.local.region_split import TOLERANCE, Split, TooMany, split
from separatrix.results.dataset import Entry, build
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.results.provenance import provenance
from separatrix.systems.lure import Lure, lure
from separatrix.systems.protocol import System
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr

SLIVER = 1e-12
"""Regions with less than this share of the rectangle's area are counted as slivers."""


NARROW = 1e-9
"""A box narrower than this share of its coordinates is too close to the rounding of its corners."""


def regions(
    model: nn.Module | System | Callable[..., Any] | Lure,
    box: Any,
    *,
    t: int = 0,
    input_maps: bool = True,
    limit: int = 1_000_000,
    memory: int | float | str = "2GB",
    progress: Progress = False,
) -> xr.Dataset:
    """Cut a rectangle of inputs into the polygons on which a piecewise-linear network is one affine map.

    A region is a set of inputs for which every component of every activation stays on one piece (its activation
    pattern). All of them are found, by cutting, and none by sampling. Nothing is merged: neighbours may have different
    patterns and the same affine map (behind a component that nothing reads, say); then they carry the same ``piece``.

    Parameters
    ----------
    model : nn.Module, Loop, callable or Lure
        Affine operations and piecewise-linear activations: ReLU, LeakyReLU, PReLU, ReLU6, Hardtanh, Hardsigmoid,
        Softshrink, abs; joined in any way without loops.
    box : (lo, hi), or Plane
        A box of a two-dimensional input space, from scalars or vectors; or the rectangle of ``sx.grid`` or
        ``sx.plane``, whose numbers of points do not matter.
    t : int
        Step of a driven loop.
    input_maps : bool
        On a plane through a larger space, hold the maps of all inputs too; they are large.
    limit : int
        Most regions.
    memory : int or str
        Budget in bytes, the result included.
    progress : bool or callable
        A bar on stderr, or a function of (done, total), of components.

    Returns
    -------
    xarray.Dataset
        Over ``line``, the regions: ``A`` (line, state, input) and ``b`` (line, state) with f(x) = A x + b there;
        ``area``; ``start`` and ``count`` of its corners; ``pattern`` (line, index), the piece of every component,
        counted from 0 at the left; ``piece``, the connected set of regions with the same map that it belongs to.
        Over ``point``, the corners of the regions one after the other, each region counter-clockwise: ``vertex``
        (point, axis); ``corner``, its number, the same in all regions around it; ``image`` (point, state), f there, so
        that the image of a region is the polygon of its corners' images.
        Over ``edge``, the edges that two regions share: the regions ``first`` < ``second``; ``place``, the point where
        the edge begins in ``first`` (it ends at the next one of the region); ``neuron``, the place along ``index`` of
        the component whose kink it is; ``crossed``, how many components have theirs there; ``jump``, the largest entry
        of the difference of the two A; ``length``.
        Coordinates ``block`` and ``component`` along ``index`` say which layer and which of its components, and
        ``layer`` has the labels. On a plane ``vertex`` and lengths are in its coordinates a; A x + b stands for the
        whole input x (if ``input_maps``), f = b_plane + sum_i a_i A_plane[i] with ``A_plane`` (line, axis, state), and
        ``origin`` and ``basis`` are as in ``sx.ftle``.

    Raises
    ------
    ArgumentError
        For an activation that is not piecewise linear, a model that cannot be seen through or takes another input, a
        box that is empty, upside down or not finite, or more regions than ``limit`` or ``memory`` allow: an incomplete
        answer is never given.

    Notes
    -----
    Every component cuts the regions that its kinks pass through, all of these at once; corners are shared by all
    regions around them, so that areas add up and edges match without a search. Double precision resolves regions down
    to about 1e-12 of the pre-activations' size in width: thinner ones are not seen, and ``attrs["slivers"]`` counts
    those with less than 1e-12 of the area. A component that stays on a kink in a whole region counts as right of it.
    Cost: a pass over the corners for each component; 7,917 regions of 64 and 64 ReLU in about 0.2 s on one core.

    References
    ----------
    Montufar, Pascanu, Cho, Bengio, NeurIPS 2014 (linear regions); Humayun, Balestriero, Balakrishnan, Baraniuk, CVPR
    2023, and Berzins, ICML 2023 (exact subdivisions; cutting shared edges).

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> found = sx.regions(model, (-1, 1))
    >>> round(float(found.area.sum()), 12)
    4.0
    """
    limit = whole("limit", limit, 1)
    plane = box if isinstance(box, Plane) and box.kind != "grid" else None
    lo, hi = sides(box) if isinstance(box, Plane) else read_box(box, 2)
    with np.errstate(over="ignore"):
        bounded = np.isfinite(np.prod(hi - lo))
    if not (bounded and (hi - lo > NARROW * np.maximum(np.abs(lo), np.abs(hi))).all()):
        raise ArgumentError(
            "box", f"({lo}, {hi})", f"its sides must be at least {NARROW:g} of its coordinates, and its area finite"
        )
    network = _network(model, plane, t)
    full = layers(network)
    flat, extra = full, 0
    if plane is not None:
        flat = restricted(full, plane.origin.flatten().numpy(), _basis(plane).T)
        extra = network.inputs if input_maps else 0
    room = allowed(flat, limit, parse_bytes(memory), input_maps=extra)
    with track(progress, sum(layer.width for layer in flat[:-1]), "regions") as advance:
        try:
            found = split(flat, rectangle(lo, hi), room, advance)
        except TooMany:
            raise too_many(limit, room, memory) from None
    A, b = plane_maps(flat, found.pattern)
    data = _polygons(found, A, b) | _neighbours(found, A)
    if plane is None:
        data |= {"A": (("line", "state", "input"), A), "b": (("line", "state"), b)}
    else:
        data |= {"A_plane": (("line", "axis", "state"), A.transpose(0, 2, 1)), "b_plane": (("line", "state"), b)}
        data |= {"origin": (("input",), plane.origin.flatten().numpy()), "basis": (("axis", "input"), _basis(plane))}
        if input_maps:
            A, b = maps_of_inputs(full, found.pattern, network.inputs)
            data |= {"A": (("line", "state", "input"), A), "b": (("line", "state"), b)}
    areas = data["area"][1]
    attrs = {
        "title": "linear regions",
        "method": "cutting of cells with shared corners",
        "inputs": "grid" if plane is None else "plane",
        "merged": "no region is merged; regions with the same map have the same piece",
        "tolerance": TOLERANCE,
        "lo": lo,
        "hi": hi,
        "slivers": int((areas < SLIVER * np.prod(hi - lo)).sum()),
        "provenance": provenance("regions", model=model, limit=limit, memory=memory, t=t),
    }
    return build(data, _components(flat), attrs)


def _network(model: Any, plane: Plane | None, t: int) -> Lure:
    shape = (2,) if plane is None else tuple(plane.origin.shape)
    try:
        network = model if isinstance(model, Lure) else lure(model, shape, t=t)
    except ArgumentError as error:
        if plane is not None or not error.got.startswith("a failure on an input of shape"):
            raise
        remedy = f"{error.remedy} (regions are cut in two dimensions: through a larger space lay a plane with "
        remedy += "sx.plane(origin, e1, e2))"
        raise ArgumentError(error.argument, error.got, remedy) from error
    given = int(np.prod(shape))
    if network.inputs != given:
        raise ArgumentError(
            "box",
            f"one in {given} dimensions for a network of {network.inputs} inputs",
            "lay a plane through the larger space with sx.plane(origin, e1, e2)",
        )
    return network


def _basis(plane: Plane) -> np.ndarray:
    return np.stack([plane.e1.flatten().numpy(), plane.e2.flatten().numpy()])


def _polygons(found: Split, A: np.ndarray, b: np.ndarray) -> dict[str, Entry]:
    vertex, region = found.corners[found.loop], found.region
    image = np.einsum("poi,pi->po", A[region], vertex) + b[region]
    return {
        "area": (("line",), found.areas(), {"long_name": "area of the region"}),
        "start": (("line",), found.start, {"long_name": "first point of the region"}),
        "count": (("line",), found.count, {"long_name": "corners of the region"}),
        "pattern": (("line", "index"), found.pattern, {"long_name": "piece of each component, from the left"}),
        "vertex": (("point", "axis"), vertex, {"long_name": "corner of the region, counter-clockwise"}),
        "corner": (("point",), found.loop, {"long_name": "number of the corner"}),
        "image": (("point", "state"), image, {"long_name": "image of the corner"}),
    }


def _neighbours(found: Split, A: np.ndarray) -> dict[str, Entry]:
    shared = edges(found)
    jump = np.abs(A[shared.first] - A[shared.second]).max((1, 2), initial=0)
    same = jump <= TOLERANCE * np.abs(A).max(initial=0)
    joined = pieces(shared, same, len(found.count))
    return {
        "piece": (("line",), joined, {"long_name": "connected set of regions with the same map"}),
        "first": (("edge",), shared.first, {"long_name": "region on the left of the edge"}),
        "second": (("edge",), shared.second, {"long_name": "region on the right of the edge"}),
        "place": (("edge",), shared.place, {"long_name": "point where the edge begins in its first region"}),
        "neuron": (("edge",), shared.component, {"long_name": "component whose kink the edge is, along index"}),
        "crossed": (("edge",), shared.crossed, {"long_name": "number of components whose kink the edge is"}),
        "jump": (("edge",), jump, {"long_name": "largest entry of the difference of the two A"}),
        "length": (("edge",), np.hypot(*shared.vectors(found).T), {"long_name": "length of the edge"}),
    }


def _components(flat: list[Layer]) -> dict[str, Entry]:
    widths = [layer.width for layer in flat[:-1]]
    return {
        "layer": (("layer",), np.array([layer.label for layer in flat[:-1]], dtype=object)),
        "width": (("layer",), np.array(widths, dtype=int)),
        "block": (("index",), np.repeat(np.arange(len(widths)), widths), {"long_name": "layer, counted from 0"}),
        "component": (("index",), np.concatenate([np.arange(w) for w in [0, *widths]]).astype(int)),
    }
