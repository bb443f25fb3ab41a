"""The one schema of all results, and the builder that holds every instrument to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

DIMENSIONS = (
    "member",
    "convention",
    "indicator",
    "k",
    "layer",
    "time",
    "line",
    "point",
    "edge",
    "x",
    "y",
    "index",
    "pair",
    "axis",
    "state",
    "input",
)
"""Every dimension a result may have, in the order in which it must appear."""

Entry = tuple[tuple[str, ...], Any] | tuple[tuple[str, ...], Any, Mapping[str, Any]]
"""``(dims, values)`` or ``(dims, values, attrs)``."""


def build(data: Mapping[str, Entry], coords: Mapping[str, Entry], attrs: Mapping[str, Any]) -> xr.Dataset:
    """Build a result and check it against the schema.

    Parameters
    ----------
    data, coords : mapping of name to (dims, values[, attrs])
        Dimensions must be in the order of :data:`DIMENSIONS`.
    attrs : mapping
        Text and numbers only: netCDF has no None, bool or dict.

    Returns
    -------
    xarray.Dataset
        Safe to save with ``to_netcdf(path)`` and no options.
    """
    import xarray as xr

    for name, entry in {**data, **coords}.items():
        _check_dims(name, entry[0])
        _check_attrs(name, entry[2] if len(entry) == 3 else {})
    _check_attrs("dataset", attrs)
    return xr.Dataset(dict(data), coords=dict(coords), attrs=dict(attrs))


def _check_dims(name: str, dims: tuple[str, ...]) -> None:
    unknown = [d for d in dims if d not in DIMENSIONS]
    order = [DIMENSIONS.index(d) for d in dims if d in DIMENSIONS]
    if unknown or order != sorted(set(order)):
        raise ValueError(f"{name}: dimensions {dims} do not follow the schema's order {DIMENSIONS}")


def _check_attrs(name: str, attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        plain = isinstance(value, str | int | float | np.number) and not isinstance(value, bool)
        array = isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
        if not (plain or array):
            raise ValueError(f"{name}: attribute {key!r} is {type(value).__name__}; only text and numbers can be saved")
