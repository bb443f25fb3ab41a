"""Files that are whole or not there, and Datasets as bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

TEMPORARY = ".tmp"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name in the same folder, force it to the disk, then give it its name.

    Raises
    ------
    OSError
        If the disk does not take it, such as when it is full; nothing is left behind then.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record for people and programs, whole or not at all."""
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """A record, or None if there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def checksum(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def to_bytes(dataset: xr.Dataset) -> bytes:
    """A Dataset as the bytes of a netCDF file, uncompressed and exact.

    Made in memory: a disk that is full is then an ordinary error of an ordinary write, and no file of HDF5 stays open.

    Raises
    ------
    TypeError
        If it holds something that netCDF cannot; the message names it.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    _check_attributes(dataset)
    buffer = io.BytesIO()
    try:
        with h5netcdf.File(buffer, "w") as file:
            dataset.drop_encoding().dump_to_store(H5NetCDFStore(file))
    except Exception as error:
        raise TypeError(f"the Dataset cannot be saved as netCDF: {error}") from error
    return buffer.getvalue()


def from_bytes(data: bytes) -> xr.Dataset:
    """The Dataset of a netCDF file, in memory."""
    import xarray as xr

    with xr.open_dataset(io.BytesIO(data), engine="h5netcdf") as dataset:
        return dataset.load().drop_encoding()


def _check_attributes(dataset: xr.Dataset) -> None:
    owners: dict[str, Mapping[Any, Any]] = {"the Dataset": dataset.attrs}
    owners |= {f"variable {name!r}": variable.attrs for name, variable in dataset.variables.items()}
    for owner, attributes in owners.items():
        for name, value in attributes.items():
            kind = np.asarray(value).dtype.kind if isinstance(value, list | tuple | np.ndarray) else ""
            single = isinstance(value, str | bytes | int | float | np.integer | np.floating)
            if not isinstance(name, str) or isinstance(value, bool) or not (single or (kind and kind in "iufU")):
                raise TypeError(
                    f"attribute {name!r} of {owner} is {type(value).__name__} {value!r:.60}: "
                    "netCDF holds text and numbers only; give int(), a number or JSON text"
                )
