"""The decision boundary of a model in a plane of its input space."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.results.dataset import Entry, build
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import integer
from separatrix.results.memory import parse_bytes
from separatrix.results.progress import Progress, track
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.systems.guest import Guest, Output
from separatrix.tangent.boundary_points import PlaneLines, on_plane, on_the_exact_set
from separatrix.tangent.inputs import Plane
from separatrix.tangent.label_lines import label_lines
from separatrix.tangent.outputs import Outputs, in_best_precision

if TYPE_CHECKING:
    import xarray as xr


class PointStatus(IntEnum):
    """What a point of a boundary is worth."""

    OK = 0
    """On the exact zero."""
    UNREFINED = 1
    """Where linear interpolation between the grid's nodes has the zero."""
    UNCONVERGED = 2
    """The same, because no zero was found within a cell: the output jumps there, or is not finite."""
    FLAT = 3
    """The gradient is zero or not finite, so there is no normal: a crossing of lines, or a plateau."""


def decision_boundary(
    model: nn.Module | Callable[..., Any],
    grid: Plane,
    *,
    level: float = 0.0,
    output: Output = None,
    member: int = 0,
    refine: bool = True,
    memory: int | float | str = "512MB",
    progress: Progress = False,
) -> xr.Dataset:
    """Find the decision boundary of a model in a plane of its input space, as polylines.

    For a scalar output f it is the level set f = level. For several outputs z it is where the two largest tie:
    z_i = z_j >= z_k for every other k; each line belongs to one pair of classes (i, j) with i < j, f stands for
    z_i - z_j, and lines end where three classes meet.

    Parameters
    ----------
    model : nn.Module or callable
        The network, in evaluation mode. It is left exactly as it was. Its output is (batch,), (batch, 1) or
        (batch, classes); a stack of networks has a dimension of members before the batch.
    grid : sx.grid(...) or sx.plane(...)
        Where to look. Features smaller than a cell are not seen.
    level : float
        Level of a scalar output.
    output : callable, str or int, optional
        Applied to what the model returns, as in :func:`separatrix.ftle`.
    member : int
        Which member of a stack, counted from 0.
    refine : bool
        Move the points onto the exact zero in float64. Otherwise they stay where linear interpolation puts them.
    memory : int or str
        Budget in bytes for the model's values, such as ``"512MB"``.
    progress : bool or callable
        A bar on stderr, or a function of (done, total).

    Returns
    -------
    xarray.Dataset
        Points of all lines one after the other: ``position`` (point, axis) in coordinates of the grid or plane;
        ``normal`` (point, axis), the unit vector along which f grows (to the first class); ``gradient``, the length
        of the gradient of f in the plane; ``residual`` = abs(f), in units of the output; ``status``
        (:class:`PointStatus`). Lengths and angles are those of the input space; ``normal`` is in coordinates of the
        plane too. Line l has the points ``start[l]`` to ``start[l] + count[l]``, with the first class on the left;
        ``closed`` is 1 where it returns to its first point (which is not repeated); ``first`` and ``second`` are its
        classes, -1 for a scalar output. Without a boundary in the box there are 0 lines. Attributes count the nodes
        left out because an output was not finite (``nonfinite_nodes``) and the points dropped because they
        coincided with others, or because a third class came out on top (``dropped_points``).

    Raises
    ------
    ArgumentError
        For input that cannot be used; the message names the argument, what it got, and what to do.

    Notes
    -----
    The nodes are labelled by their largest output, lines between labels are drawn through the triangles of the grid
    (linear interpolation), and every point is moved along the gradient by a shortened Newton step until rounding, or,
    where that leads nowhere (saturated outputs, kinks), by bisection along the grid's edge. Cost: one forward pass a
    node and about six passes with gradient for each point, of which there are about three a cell of boundary; the
    values of all nodes are held, 8 bytes each, beside the budget.

    Examples
    --------
    >>> import separatrix as sx
    >>> circle = sx.decision_boundary(lambda x: x.square().sum(1) - 1, sx.grid((-2, 2), (-2, 2), shape=(50, 50)))
    >>> circle.sizes["line"], int(circle.closed[0])
    (1, 1)
    """
    if not isinstance(grid, Plane):
        raise ArgumentError("grid", type(grid).__name__, "give sx.grid(...) or sx.plane(...)")
    if isinstance(level, bool) or not isinstance(level, int | float) or not np.isfinite(level):
        raise ArgumentError("level", repr(level), "give a finite number")
    number = integer(member)
    if number is None:
        raise ArgumentError("member", repr(member), "give a whole number, counted from 0")
    member, budget = number, parse_bytes(memory)
    guest = Guest(model, output=output)
    if guest.dtype is None:
        guest.dtype = torch.float64
    few = torch.tensor([0, len(grid) // 2, len(grid) - 1])
    with guest.visit():

        def make(one: Guest) -> Outputs:
            return Outputs(one, grid.at(few), level=level, member=member, argument="grid")

        coarse, fine = make(guest), in_best_precision(guest, make)
        values = _on_nodes(coarse, grid, budget, progress)
        vertices, lines = label_lines(values.numpy().reshape(*grid.shape, -1))
        found = on_the_exact_set(on_plane(vertices, lines, grid), fine, budget, refine=refine)
    settings: dict[str, Any] = {
        "level": level,
        "output": None if output is None else str(output),
        "member": member,
        "refine": refine,
    }
    settings |= {"memory": memory, "shape": list(grid.shape)}
    settings |= {name: [float(v[0]), float(v[-1])] for name, v in (("x", grid.x), ("y", grid.y))}
    return _dataset(
        found,
        grid,
        coarse.scalar,
        {
            "title": "level set" if coarse.scalar else "where the two largest outputs tie",
            "method": "newton" if refine else "linear",
            "inputs": grid.kind,
            "precision": fine.guest.precision,
            "level": float(level),
            "nonfinite_nodes": int((~torch.isfinite(values).all(1)).sum()),
            "dropped_points": found.dropped,
            "provenance": provenance("decision_boundary", model=model, **settings),
        },
    )


def _on_nodes(outputs: Outputs, grid: Plane, budget: int, progress: Progress) -> Tensor:
    values = torch.empty(len(grid), outputs.columns, dtype=torch.float64)
    chunk = outputs.chunk(budget, gradient=False)
    with torch.no_grad(), track(progress, len(grid), "decision boundary") as advance:
        for begin in range(0, len(grid), chunk):
            part = outputs(grid.points(begin, begin + chunk))
            values[begin : begin + len(part)] = part.cpu()
            advance(len(part))
    return values


def _dataset(found: PlaneLines, grid: Plane, scalar: bool, attrs: dict[str, Any]) -> xr.Dataset:
    basis = torch.stack([grid.e1.flatten(), grid.e2.flatten()])
    # the part of the gradient that lies in the plane, as multiples of its two directions
    inside = torch.linalg.solve(basis @ basis.T, found.gradient.T).T
    size = (found.gradient * inside).sum(1).sqrt()
    normal = inside / size[:, None]
    flat = ~torch.isfinite(normal).all(1)
    normal[flat] = torch.nan
    status = torch.full((len(size),), PointStatus.UNREFINED, dtype=torch.int8)
    if attrs["method"] == "newton":
        status[:] = torch.where(found.solved, int(PointStatus.OK), int(PointStatus.UNCONVERGED))
    status[flat & (status != PointStatus.UNCONVERGED)] = PointStatus.FLAT
    count = np.array([len(line) for line in found.lines], dtype=np.int64)
    pair = np.array(found.pairs, dtype=np.int64).reshape(-1, 2)
    data: dict[str, Entry] = {
        "position": (("point", "axis"), found.position.numpy()),
        "normal": (("point", "axis"), normal.numpy(), {"long_name": "unit normal, along which the difference grows"}),
        "gradient": (("point",), size.numpy(), {"long_name": "length of the gradient across the boundary"}),
        "residual": (("point",), found.value.abs().numpy(), {"long_name": "distance of the output from the tie"}),
        "status": (("point",), status.numpy(), flag_attrs(PointStatus)),
        "start": (("line",), np.cumsum(count) - count, {"long_name": "first point of the line"}),
        "count": (("line",), count, {"long_name": "number of points of the line"}),
        "closed": (("line",), np.array(found.closed, dtype=np.int8)),
        "first": (("line",), np.full(len(count), -1) if scalar else pair[:, 0], {"long_name": "class on the left"}),
        "second": (("line",), np.full(len(count), -1) if scalar else pair[:, 1], {"long_name": "class on the right"}),
    }
    if grid.kind == "plane":
        data["origin"] = (("input",), grid.origin.flatten().numpy())
        data["basis"] = (("axis", "input"), basis.numpy())
        attrs["input_shape"] = np.array(grid.origin.shape, dtype=np.int64)
    return build(data, {}, attrs)
