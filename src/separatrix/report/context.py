"""What a section is given to work with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from separatrix.data.record import Problem
from separatrix.results.progress import Progress

if TYPE_CHECKING:
    import xarray as xr


TRAINING = ("loss", "optimizer", "rate", "steps", "batch")
"""Options of the section on training."""


@dataclass(frozen=True)
class Options:
    """Settings of a report; every section prints those that it used.

    Attributes
    ----------
    layers : str or list of str
        Layers to look at, as in :func:`separatrix.ftle`.
    output, start : optional
        Output to look at, and where perturbations enter, as in :func:`separatrix.ftle`.
    k : int
        Exponents by layer, as far as there are so many.
    resolution : int or None
        Points along each side of a field; by default 200 in the plane itself and 100 on a plane through a larger space.
    points : int
        Test points at most.
    seconds : float
        Time that a field, and that the sample, may take; models too slow for it are looked at in fewer points. A
        ``resolution`` that is given is kept.
    verify : int
        Points that are checked by central differences.
    memory : int or str
        Budget in bytes.
    seed : int
        Seed of data, training, and every choice of points.
    loss : str or callable, optional
        Of (output, target), as in :func:`separatrix.report.load_loss`. With one, a copy of the model is trained on, and
        the page has a section on that training.
    optimizer : str, optional
        One of "sgd" (the default), "heavy-ball", "nesterov", "adam", "adamw" and "rmsprop".
    rate : float, optional
        Learning rate; by default 0.01, for Adam and AdamW 0.001.
    steps : int, optional
        Steps of that training; by default as many as there is time for, 500 at most.
    batch : int, optional
        Rows of a step; by default all of them, or as many as time and memory ask for.
    """

    layers: str | list[str] = "all"
    output: Callable[..., Any] | str | int | None = None
    start: str | None = None
    k: int = 5
    resolution: int | None = None
    points: int = 400
    seconds: float = 45.0
    verify: int = 3
    memory: int | str = "512MB"
    seed: int = 0
    loss: Any = None
    optimizer: Any = None
    rate: Any = None
    steps: Any = None
    batch: Any = None

    def ftle(self) -> dict[str, Any]:
        """Arguments for :func:`separatrix.ftle`."""
        return {name: getattr(self, name) for name in ("layers", "output", "start", "verify", "memory")}

    def rows(self) -> list[tuple[str, str]]:
        """Settings as text; those of training only where it is asked for."""
        names = [one.name for one in fields(self) if self.loss is not None or one.name not in TRAINING]
        return [(name, _text(getattr(self, name))) for name in names]


@dataclass
class Context:
    """One model on one data set, and what its sections share.

    Attributes
    ----------
    name : str
        A word for file names and anchors.
    model : nn.Module or callable
        In evaluation mode.
    problem : Problem
        Inputs have the shape that the model takes.
    options : Options
    folder, stem : Path, str
        Where the page lies, and its name without the ending.
    progress : bool or callable
        See :mod:`separatrix.results.progress`.
    files : list of str
        Names of the files written so far.
    """

    name: str
    model: nn.Module | Callable[..., Any]
    problem: Problem
    options: Options
    folder: Path
    stem: str
    progress: Progress = False
    files: list[str] = field(default_factory=list)

    def save(self, ds: xr.Dataset, kind: str) -> str:
        """Write a result beside the page; returns the file's name."""
        name = f"{self.stem}-{self.name}-{kind}.nc"
        ds.to_netcdf(self.folder / name)
        self.files.append(name)
        return name

    def say(self, text: str) -> None:
        """Tell what is being done, where progress is shown."""
        say(self.progress, f"{self.name}: {text}")


def name_of(value: Any) -> str:
    """Return what a function, or an instance of a class, is called."""
    return str(getattr(value, "__name__", type(value).__name__))


def _text(value: Any) -> str:
    if value is None:
        return "default"
    return name_of(value) if callable(value) else str(value)


def say(progress: Progress, text: str) -> None:
    """Print a line on stderr if progress is shown there."""
    if progress is True:
        print(text, file=sys.stderr, flush=True)
