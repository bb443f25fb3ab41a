"""The Dataset that fields of one or more networks become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.dataset import Entry, build
from separatrix.results.provenance import provenance
from separatrix.results.status import status_attrs
from separatrix.tangent.field import Field
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr


def dataset(
    fields: list[Field],
    model: object,
    *,
    method: str,
    recomputed: int,
    checked: tuple[int, float] | None,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Name everything, and check it against the schema."""
    first = fields[0]
    problem, where = first.problem, first.where
    shape = where.shape
    names = ("x", "y") if isinstance(where, Plane) else ("point",)
    dims = ("member", "layer", *names)

    def array(parts: list[Tensor]) -> np.ndarray:
        values = torch.stack(parts)
        return values.reshape(len(fields), len(problem.chosen), *shape, *values.shape[3:]).numpy()

    divisor = torch.tensor(first.durations, dtype=torch.float64)[:, None, None]
    data: dict[str, Entry] = {
        "stretch": (
            (*dims, "index"),
            array([f.log for f in fields]),
            {"long_name": "ln of singular value", "units": "nat"},
        ),
        "exponent": (
            (*dims, "index"),
            array([f.log / divisor for f in fields]),
            {"long_name": "finite-time Lyapunov exponent", "units": "1/layer"},
        ),
        "status": (
            (*dims, "index"),
            array([f.status for f in fields]),
            {"long_name": "status of the stretch", **status_attrs()},
        ),
    }
    optional = {
        "gap": ([f.gap for f in fields], (), "difference of the two largest stretches"),
        "direction": (
            [f.direction for f in fields],
            ("axis",),
            "leading right singular direction in the coordinates of the plane; it has no sign",
        ),
        "right": ([f.right for f in fields], ("index", "input"), "right singular direction"),
        "left": ([f.left for f in fields], ("index", "state"), "left singular direction"),
    }
    for name, (parts, more, text) in optional.items():
        known = [part for part in parts if part is not None]
        if known:
            units = {"units": "nat"} if name == "gap" else {}
            data[name] = ((*dims, *more), array(known), {"long_name": text, **units})
    coords: dict[str, Entry] = {
        "member": (("member",), np.arange(len(fields))),
        "layer": (("layer",), np.array(problem.labels, dtype=object)),
        "duration": (
            ("layer",),
            np.array(first.durations),
            {"long_name": "divisor of the exponent", "units": "layer"},
        ),
        "cut": (("layer",), np.array([layer.cut for layer in problem.chosen], dtype=np.int8)),
        "width": (("layer",), np.array(problem.widths)),
        "index": (("index",), np.arange(1, first.count + 1)),
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
