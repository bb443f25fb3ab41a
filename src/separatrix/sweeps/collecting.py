"""The results of a sweep as one Dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.results.errors import ArgumentError
from separatrix.sweeps.config import Config, canonical, plain
from separatrix.sweeps.folder import RUN
from separatrix.sweeps.grids import Grid, read_grid
from separatrix.sweeps.outcome import Sweep
from separatrix.sweeps.runstore import Store

if TYPE_CHECKING:
    import xarray as xr

ITERATE = "iterate instead: for config, dataset in sweep"


def collect(
    source: Sweep | Store | str | Path,
    grid: Grid | Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]] | None = None,
    *,
    missing: str = "refuse",
) -> xr.Dataset:
    """Combine results along the names of the grid.

    Parameters
    ----------
    source : Sweep, Store, str or Path
        A sweep, its store, or the folder of a store that holds one task.
    grid : grid, optional
        Which runs; by default those of the sweep, or of the last sweep of the store.
    missing : str
        ``"refuse"``, or ``"nan"``: runs without a result become NaN (integers become floats then, text becomes "").

    Returns
    -------
    xarray.Dataset
        Every variable with one dimension more for each name of the grid, in front, with the values as coordinates (as
        JSON text where they are not all numbers or all text). For a grid of configs, one dimension ``run`` with the
        names as coordinates along it. Coordinates that are the same in all runs stay as they are. Attributes that are
        the same in all runs are kept. The attribute ``provenance`` says where it came from. Where runs are missing,
        ``collected`` (int8) is 0.

    Raises
    ------
    ArgumentError
        If runs are missing, or the results differ in variables, shapes, types or dimension coordinates, or use a name
        of the grid themselves.
    """
    from separatrix.results.provenance import provenance

    if missing not in ("refuse", "nan"):
        raise ArgumentError("missing", repr(missing), 'give "refuse" or "nan"')
    store = source if isinstance(source, Store) else source.store if isinstance(source, Sweep) else Store(source)
    wanted = read_grid(grid) if grid is not None else source.grid if isinstance(source, Sweep) else store.grid()
    absent = set(store.missing(wanted))
    if absent and (missing == "refuse" or len(absent) == len(wanted.configs)):
        raise ArgumentError(
            "grid",
            f"{len(absent)} of {len(wanted.configs)} runs without a result, such as {next(iter(absent))!r}",
            'resume the sweep, give missing="nan" (with at least one result), or iterate over what is done',
        )
    runs = [None if config in absent else store.load(config) for config in wanted.configs]
    first = next(run for run in runs if run is not None)
    coords = _coordinates(wanted)
    names = tuple(wanted.axes) if wanted.axes is not None else ("run",)
    _check_names({*names, *coords}, first)
    for config, run in zip(wanted.configs, runs, strict=True):
        if run is not None:
            _check_alike(config, run, first)
    import xarray as xr

    data: dict[str, Any] = {}
    for name in map(str, first.variables):
        each = [None if run is None else run[name].values for run in runs]
        dims, attrs = first[name].dims, first[name].attrs
        if name in first.coords and all(v is None or _same(v, first[name].values) for v in each):
            coords[name] = (dims, first[name].values, attrs)
        elif name in first.indexes:
            raise ArgumentError("grid", f"runs that differ in the coordinate {name!r}", ITERATE)
        else:
            stacked = np.stack(_filled(each)).reshape(*wanted.shape, *first[name].shape)
            (coords if name in first.coords else data)[name] = ((*names, *dims), stacked, attrs)
    if absent:
        there = np.array([run is not None for run in runs], dtype=np.int8).reshape(wanted.shape)
        data["collected"] = (names, there, {"long_name": "1 where there is a result, 0 where it is missing"})
    found = xr.Dataset(data, coords=coords, attrs=_common([run.attrs for run in runs if run is not None]))
    found.attrs["provenance"] = provenance("sweeps.collect", task=store.task, version=store.version, runs=len(runs))
    return found


def _coordinates(grid: Grid) -> dict[str, Any]:
    if grid.axes is not None:
        return {name: ((name,), _values(values)) for name, values in grid.axes.items()}
    names = list(dict.fromkeys(name for config in grid.configs for name in config))
    return {name: (("run",), _values([config.get(name) for config in grid.configs])) for name in names}


def _values(values: Iterable[Any]) -> np.ndarray:
    kept = list(values)
    kinds = {type(value) for value in kept}
    if kinds == {str} or kinds == {bool} or kinds <= {int, float}:
        array = np.array(kept)
        if array.dtype.kind != "O":
            return array
    return np.array([value if isinstance(value, str) else canonical(plain(value)) for value in kept])


def _check_names(names: set[str], dataset: xr.Dataset) -> None:
    clash = names & {*map(str, dataset.variables), *map(str, dataset.dims)}
    if clash:
        name = sorted(clash)[0]
        raise ArgumentError("grid", f"the name {name!r}, which the results use themselves", f"rename it, or {ITERATE}")


def _check_alike(config: Config, run: xr.Dataset, first: xr.Dataset) -> None:
    def form(dataset: xr.Dataset) -> dict[str, str]:
        # text is padded to its longest, so that its length is no difference
        kinds = {n: "text" if v.dtype.kind in "OUT" else v.dtype for n, v in dataset.variables.items()}
        return {str(n): f"{kinds[n]} {dict(v.sizes)}" for n, v in dataset.variables.items()}

    here, there = form(run), form(first)
    if here != there:
        name = sorted(here.items() ^ there.items())[0][0]
        raise ArgumentError(
            "grid",
            f"results of different form: {name!r} is {here.get(name, 'absent')} for {config!r} and "
            f"{there.get(name, 'absent')} for another",
            ITERATE,
        )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM")


def _filled(each: list[np.ndarray | None]) -> list[np.ndarray]:
    sample = next(values for values in each if values is not None)
    if all(values is not None for values in each):
        return [values for values in each if values is not None]
    kind = sample.dtype.kind
    dtype = sample.dtype if kind in "fcmMOUT" else np.dtype(np.float64)
    empty: Any = "" if kind in "OUT" else np.array("NaT", dtype) if kind in "mM" else np.nan
    return [np.full(sample.shape, empty, dtype) if values is None else values.astype(dtype) for values in each]


def _common(attributes: list[dict[Any, Any]]) -> dict[Any, Any]:
    first = attributes[0]
    return {
        name: value
        for name, value in first.items()
        if name not in (RUN, "provenance") and all(name in a and np.array_equal(a[name], value) for a in attributes)
    }
