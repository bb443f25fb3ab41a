"""The Dataset that a field of one or more networks becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.dataset import Entry, build
from separatrix.results.provenance import provenance
from separatrix.results.status import Status, flag_attrs
from separatrix.tangent.field import Field
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr


def dataset(
    field: Field,
    model: object,
    *,
    method: str,
    recomputed: int,
    checked: tuple[int, float] | None,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Name everything, and check it against the schema."""
    problem, where = field.problem, field.where
    shape = where.shape
    names = ("x", "y") if isinstance(where, Plane) else ("point",)
    dims = ("member", "layer", *names)

    def array(values: Tensor) -> np.ndarray:
        return values.unflatten(1, (problem.members, *shape)).transpose(0, 1).numpy()

    divisor = torch.tensor(field.durations, dtype=torch.float64)[:, None, None]
    data: dict[str, Entry] = {
        "stretch": (
            (*dims, "index"),
            array(field.log),
            {"long_name": "ln of singular value", "units": "nat"},
        ),
        "exponent": (
            (*dims, "index"),
            array(field.log / divisor),
            {"long_name": "finite-time Lyapunov exponent", "units": "1/layer"},
        ),
        "status": (
            (*dims, "index"),
            array(field.status),
            flag_attrs(Status, "status of the stretch"),
        ),
    }
    optional = {
        "gap": (field.gap, (), "difference of the two largest stretches"),
        "direction": (
            field.direction,
            ("axis",),
            "leading right singular direction in the coordinates of the plane; it has no sign",
        ),
        "right": (field.right, ("index", "input"), "right singular direction"),
        "left": (field.left, ("index", "state"), "left singular direction"),
        "residual": (field.residual, ("index",), "residual of the singular triple, relative to its singular value"),
        "converged": (field.converged, ("index",), "whether the residual is small, or the value rounding; 0 where NaN"),
    }
    for name, (values, more, text) in optional.items():
        if values is not None:
            units = {"units": "nat"} if name == "gap" else {}
            data[name] = ((*dims, *more), array(values), {"long_name": text, **units})
    coords: dict[str, Entry] = {
        "member": (("member",), np.arange(problem.members)),
        "layer": (("layer",), np.array(problem.labels, dtype=object)),
        "duration": (
            ("layer",),
            np.array(field.durations),
            {"long_name": "divisor of the exponent", "units": "layer"},
        ),
        "cut": (("layer",), np.array([layer.cut for layer in problem.chosen], dtype=np.int8)),
        "width": (("layer",), np.array(problem.widths)),
        "index": (("index",), np.arange(1, field.count + 1)),
    }
    if isinstance(where, Plane):
        coords |= {"x": (("x",), where.x.numpy()), "y": (("y",), where.y.numpy())}
        if where.kind == "plane":
            basis = torch.stack([where.e1.flatten(), where.e2.flatten()])
            data["origin"] = (("input",), where.origin.flatten().numpy())
            data["basis"] = (("axis", "input"), basis.numpy())
    else:
        coords["point"] = (("point",), np.arange(len(where)))
    attrs: dict[str, Any] = {
        "title": "finite-time Lyapunov exponents along depth",
        "form": "singular-value",
        "method": method,
        "inputs": where.kind,
        "precision": problem.guest.precision,
        "recomputed_points": recomputed,
        "provenance": provenance("ftle", model=model, **settings),
    }
    if checked is not None:
        attrs |= {"verify_points": checked[0], "verify_worst": checked[1]}
    return build(data, coords, attrs)
