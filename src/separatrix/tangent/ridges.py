"""Ridges of a field of finite-time exponents, as lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes
from separatrix.results.provenance import provenance
from separatrix.systems.guest import Output
from separatrix.tangent.ridge_field import read_field
from separatrix.tangent.ridge_result import RidgeLines
from separatrix.tangent.ridge_search import search
from separatrix.tangent.ridge_verdict import OK, exact_field, verdict

if TYPE_CHECKING:
    import xarray as xr


def ridges(
    field: xr.Dataset,
    *,
    model: nn.Module | Callable[..., Any] | None = None,
    layer: str | None = None,
    member: int = 0,
    definition: Literal["c-ridge", "height"] = "c-ridge",
    smooth: float = 0.0,
    gap: float = 1e-3,
    join: float = 3.0,
    shortest: int = 3,
    output: Output = None,
    input_shape: Sequence[int] | None = None,
    memory: int | float | str = "512MB",
) -> xr.Dataset:
    """Find the lines along which the largest finite-time exponent has a maximum across itself.

    With f = ln sigma_1, H its Hessian and v_1 the leading right singular direction, a C-ridge is where
    grad f . v_1 = 0 and v_1' H v_1 < 0 (Schindler, Peikert, Fuchs, Theisel, in Topological Methods in Data Analysis and
    Visualization II, 2012). Exponents may be negative: there is no threshold on f. Where the field's direction is not
    across the line, ``alignment`` is below 1, as for a shear.

    Parameters
    ----------
    field : xarray.Dataset
        What :func:`separatrix.ftle` returned on a grid or a plane, or its file.
    model : nn.Module or callable, optional
        The model that the field was made of. Ridge points are then moved onto the ridge of the model itself by Newton's
        iteration with exact derivatives in float64; without it they are good to second order in the grid's spacing.
    layer : str, optional
        Which layer of the field, by its label; ``"hidden"`` is the last one before the output. By default the last.
    member : int
        Which member of the field.
    definition : str
        ``"c-ridge"``; or ``"height"``, maxima across the direction of the most negative curvature (Eberly), as a check.
    smooth : float
        Standard deviation, in cells, of a Gaussian that field and directions are averaged with beforehand.
    gap : float
        Least ln sigma_1/sigma_2: where the two meet, v_1 is not defined.
    join : float
        Largest distance, in cells, over which the ends of two lines are joined.
    shortest : int
        Lines of fewer points are dropped, and counted.
    output : callable, str or int, optional
        As it was given to :func:`separatrix.ftle`, if it was; used with ``model``.
    input_shape : sequence of int, optional
        Shape of one input, if ``model`` takes other than flat vectors on a plane.
    memory : int or str
        Budget in bytes for the derivatives of the model.

    Returns
    -------
    xarray.Dataset
        Over ``point``, line after line in the order in which each is passed through: ``position`` (point, axis) in the
        coordinates of the grid or plane; ``stretch`` (nat); ``strength`` -v_1' H v_1 (nat per squared unit of length of
        the input space); ``prominence`` (nat), how far the stretch falls on both sides along v_1, on the grid, before
        it rises above the ridge; ``alignment`` |cos(v_1, normal of the ridge)|, on a plane that of the part of v_1 in
        it; ``residual``, the length of the last Newton step, NaN without a model; ``status``, see
        :class:`~separatrix.tangent.ridge_newton.RidgeStatus`. Over ``line``, the longest first: ``start`` and ``count``
        of its points, and ``closed``, whether it ends where it starts. ``attrs["method"]`` is ``"newton"`` or
        ``"sub-pixel"``, ``attrs["status"]`` says why there is nothing, if there cannot be, and further attributes count
        the nodes and points that were left out, by reason.

    Raises
    ------
    ArgumentError
        For a field at points, a grid of fewer than 7 nodes a side, an unknown layer or member, a field without numbers,
        or a model that does not fit the field.

    Notes
    -----
    At each node, with q = v'Hv and Q = q + grad f . (v.grad)v by central differences, the nearest point of the ridge is
    the node less (grad f . v / Q) v, if that lies in the node's cell (Steger, IEEE Trans. PAMI 20, 113 (1998), with the
    term that accounts for the turning of v). Nodes are left out within 2 of the border, next to a node that cannot be
    used, where sigma_1 and sigma_2 meet, and where v turns by more than 45 degrees to a neighbour. Curvatures below six
    standard deviations of the rounding or other noise count as none. Points that do not converge keep their sub-pixel
    position and say so. A field of a piecewise-linear network has no ridge, and ``attrs["status"]`` says that.
    Cost: about 100 passes over the grid, and about 200 forward passes for each ridge point with a model.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 10), torch.nn.Tanh(), torch.nn.Linear(10, 1), torch.nn.Tanh())
    >>> field = sx.ftle(model, sx.grid((-1, 1), (-1, 1), shape=(50, 50)))
    >>> lines = sx.ridges(field, model=model)
    >>> lines.position.dims
    ('point', 'axis')
    """
    if definition not in ("c-ridge", "height"):
        raise ArgumentError("definition", repr(definition), 'choose "c-ridge" or "height"')
    if definition == "height" and model is not None:
        raise ArgumentError("definition", "'height' with a model", "height ridges are found on the grid; omit model=")
    numbers = {"smooth": (smooth, 0), "gap": (gap, 0), "join": (join, 0), "shortest": (shortest, 1)}
    for name, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
            raise ArgumentError(name, repr(value), f"give a finite number of at least {least}")
    budget = parse_bytes(memory)
    one = read_field(field, layer, member)
    if smooth > 0 and model is None:
        one = one.smoothed(smooth)
    exact = None if model is None else exact_field(one, model, output, input_shape, budget)
    status = verdict(one, exact)
    if smooth > 0 and model is not None:
        one = one.smoothed(smooth)
    if status.startswith(OK):
        lines, counts = search(one, exact, definition, gap, join, int(shortest))
    else:
        lines, counts = RidgeLines.none(), {"nodes": one.f.size}
    settings = {name: value for name, (value, _) in numbers.items()}
    return lines.dataset(
        {
            "title": "ridges of the largest stretch",
            "method": "sub-pixel" if exact is None else "newton",
            "definition": definition,
            "status": status,
            "inputs": str(field.attrs.get("inputs", "grid")),
            "layer": one.label,
            "member": member,
            "smooth": float(smooth),
            **counts,
            "provenance": provenance(
                "ridges",
                model=model,
                **settings,
                output=None if output is None else str(output),
                memory=memory,
                field=one.settings,
            ),
        }
    )
