"""What a figure reads from a result: one layer, one quantity, and which of its numbers may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.results.errors import ArgumentError
from separatrix.results.status import flag_names

if TYPE_CHECKING:
    import xarray as xr

FORBIDDEN = ("below_precision", "singular", "missing", "nonfinite", "unconverged")
"""Meanings of ``status`` under which a number is not shown."""

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def check_result(ds: Any, *needed: str) -> None:
    """Raise an error unless ``ds`` is a result that holds the variables ``needed``."""
    names = list(getattr(ds, "data_vars", ()))
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise ArgumentError(
            "ds", f"{type(ds).__name__} without {', '.join(lacking)}", "give a Dataset that sx.ftle returned"
        )


def pick_layers(ds: xr.Dataset, layers: str | Sequence[str] | None) -> list[int]:
    """Positions of the named layers (``None``: all)."""
    labels = [str(v) for v in ds["layer"].values]
    names = labels if layers is None else [layers] if isinstance(layers, str) else list(layers)
    for name in names:
        if name not in labels:
            raise ArgumentError("layer", repr(name), f"the result holds {', '.join(labels)}")
    return [labels.index(name) for name in names]


def pick_member(ds: xr.Dataset, member: int) -> xr.Dataset:
    """One member of an ensemble, by position."""
    count = ds.sizes.get("member", 1)
    if not 0 <= member < count:
        raise ArgumentError("member", str(member), f"the result has {count}, counted from 0")
    return ds.isel(member=member) if "member" in ds.dims else ds


def pick_index(ds: xr.Dataset, index: int) -> xr.Dataset:
    """One index, by its number from 1."""
    there = [int(v) for v in ds["index"].values]
    if index not in there:
        raise ArgumentError("index", str(index), f"the result holds {there}; ask sx.ftle for more with k=")
    return ds.sel(index=index)


def meanings(ds: xr.Dataset) -> dict[int, str]:
    """Meaning of each status code, as the result itself states it."""
    return flag_names(ds["status"].attrs)


def forbidden(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Where each forbidding status stands: meaning -> mask in the shape of ``status``, for the meanings that occur."""
    status = np.asarray(ds["status"].values)
    masks = {name: status == code for code, name in meanings(ds).items() if name in FORBIDDEN}
    return {name: mask for name, mask in masks.items() if mask.any()}


def short(label: str, labels: Sequence[str]) -> str:
    """Label of a layer without its call number, where it is called once; ``sx.ftle`` understands it all the same."""
    name, _, call = label.rpartition("#")
    return name if name and call == "1" and f"{name}#2" not in labels else label


def quantity_label(what: str, index: int | None = None, units: str | None = None) -> str:
    """Name of a quantity with its symbol and unit."""
    i = "ᵢ" if index is None else str(index).translate(SUBSCRIPTS)
    name = {"stretch": f"stretch  ln σ{i}", "exponent": f"exponent  λ{i}", "gap": "gap  ln σ₁/σ₂"}[what]
    return f"{name}  ({units or {'exponent': '1/layer'}.get(what, 'nats')})"


def units(ds: xr.Dataset, what: str) -> str | None:
    """Return the unit that the result gives for a variable, where it gives one."""
    found = ds[what].attrs.get("units")
    return None if found in (None, "", "1") else str(found)
