"""Exponents of a model from a file, written to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from separatrix.data.sources import load
from separatrix.report.answers import evaluating, shaped
from separatrix.report.context import Options
from separatrix.report.loading import load_model
from separatrix.results.errors import ArgumentError
from separatrix.results.progress import Progress
from separatrix.tangent.ftle import ftle
from separatrix.tangent.inputs import grid as make_grid


@dataclass(frozen=True)
class Written:
    """The file, and the lines that describe what is in it."""

    path: Path
    lines: list[str]


def write_field(
    model: str,
    *,
    weights: str | None = None,
    data: str | None = None,
    points: int | None = None,
    grid: Sequence[float] | None = None,
    shape: int = 200,
    layers: Sequence[str] = ("output",),
    k: str = "1",
    output: str | None = None,
    start: str | None = None,
    directions: bool = False,
    memory: str = "512MB",
    verify: int = 3,
    seed: int = 0,
    out: str | Path = "field.nc",
    progress: Progress = False,
) -> Written:
    """Compute exponents at test inputs or on a grid, and write them as netCDF.

    Parameters
    ----------
    model, weights : str
        See :func:`load_model`.
    data : str, optional
        See :func:`separatrix.data.load`; the exponents are computed at its test inputs.
    points : int, optional
        At most so many test inputs, the first ones; by default all.
    grid : (x0, x1, y0, y1), optional
        Rectangle, for models of two inputs; ``shape`` points to a side. Give either this or ``data``.
    layers, k, output, start, directions, memory, verify
        See :func:`separatrix.ftle`. A single layer may be ``"output"``, ``"hidden"`` or ``"all"``.
    seed : int
        Seed of the data, where it is sampled or split.
    out : str or Path
        The file.
    progress : bool or callable
        See :mod:`separatrix.results.progress`.

    Raises
    ------
    ArgumentError
        If an argument cannot be used.
    """
    path = Path(out).expanduser()
    if not path.parent.is_dir():
        raise ArgumentError("out", repr(str(out)), f"the folder {path.parent} does not exist; make it first")
    if (data is None) == (grid is None):
        got = "neither" if data is None else "both"
        raise ArgumentError("data", f"{got} of --data and --grid", "give one of them")
    if k != "all" and not k.isdigit():
        raise ArgumentError("k", repr(k), 'give a number from 1, or "all"')
    network = load_model(model, weights)
    options = Options(output=output_key(output), start=start, seed=seed)
    with evaluating(network) as switched:
        inputs: Any
        if grid is not None:
            x0, x1, y0, y1 = grid
            inputs = make_grid((x0, x1), (y0, y1), shape=(shape, shape))
        else:
            assert data is not None
            inputs = shaped(load(data, seed=seed), network, options).X_test[:points]
        ds = ftle(
            network,
            inputs,
            layers=selection(layers),
            output=options.output,
            start=start,
            k="all" if k == "all" else int(k),
            directions=directions,
            memory=memory,
            verify=verify,
            progress=progress,
        )
    ds.to_netcdf(path)
    sizes = ", ".join(f"{name} {size}" for name, size in ds.sizes.items())
    lines = [f"wrote {path}: {sizes}; method {ds.attrs['method']}"]
    if verify:
        count, worst = ds.attrs["verify_points"], ds.attrs["verify_worst"]
        lines.append(f"checked {count} points by central differences: largest deviation {worst:.1e} nat")
    if switched:
        lines.append("the model was put in evaluation mode")
    return Written(path, lines)


def selection(layers: Sequence[str]) -> str | list[str]:
    """Layers as typed on a command line: a word for many, or labels."""
    return layers[0] if len(layers) == 1 and layers[0] in ("output", "hidden", "all") else list(layers)


def output_key(output: str | None) -> str | int | None:
    """Key of a dict or position in a tuple, as typed on a command line."""
    return int(output) if output is not None and output.lstrip("-").isdigit() else output
