"""All cells of the study: runs of the sweep, and what is read off them at a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from separatrix.results.progress import Progress, weighed
from separatrix.studies.sharafi2025.measure import measure
from separatrix.studies.sharafi2025.settings import BEYOND, GRID, SMOOTH, Run, cells, cost, name_of
from separatrix.studies.study import Context
from separatrix.sweeps import sweep

EXPANDING = 1e-4
"""Rate per step above which a direction counts as expanding."""

EXPONENTS = {
    "l1": "λ₁",
    "l2": "λ₂",
    "lmin": "λ_min",
    "sum": "Σλ",
    "expanding": "number expanding",
    "late_l1": "λ₁, later half",
    "late_lmin": "λ_min, later half",
    "late_sum": "Σλ, later half",
    "late_expanding": "number expanding, later half",
}
"""Indicators at a step t: of the window from 0 to t, and of its later half."""


@dataclass(frozen=True)
class Cell:
    """The networks of one cell of settings.

    Attributes
    ----------
    group : str
    run : dict
        Its settings.
    data : dict
        Variables and coordinates of :func:`separatrix.studies.sharafi2025.measure.measure` by name.
    seconds : float
        What it took, on one core.
    """

    group: str
    run: Run
    data: dict[str, np.ndarray] = field(repr=False)
    seconds: float

    @cached_property
    def name(self) -> str:
        """For tables."""
        return name_of(self.run)

    @property
    def counts(self) -> bool:
        """Whether verdicts rest on it: a cell of the grid with a smooth activation."""
        return self.group == GRID and self.run["activation"] in SMOOTH

    @property
    def alike(self) -> tuple[Any, ...]:
        """What must agree where only the activation may differ."""
        return tuple(self.run[key] for key in ("hidden", "target", "rate", "distribution", "scale", "points"))

    @property
    def final(self) -> np.ndarray:
        """Final loss of each run; infinity where it diverged."""
        return self.data["final"]

    @property
    def at(self) -> tuple[int, ...]:
        """Steps of predictions."""
        return tuple(int(t) for t in self.data["at"])

    def place(self, t: int) -> int:
        """Column of step t."""
        return int(np.flatnonzero(self.data["time"] == t)[0])

    def exponents(self, t: int, start: int = 0) -> np.ndarray:
        """Exponents of the window from ``start`` to t, (member, index), largest first."""
        grown, before = (self.data["stretch"][:, self.place(s)] for s in (t, start))
        with np.errstate(invalid="ignore"):
            rates = (grown - before) / (t - start)
        return -np.sort(-np.where(np.isnan(rates), np.inf, rates), axis=1)

    def indicators(self, t: int) -> dict[str, np.ndarray]:
        """:data:`EXPONENTS` at step t, each (member,)."""
        whole, late = self.exponents(t), self.exponents(t, t // 2)
        return indicators_of(whole) | {
            f"late_{name}": values for name, values in indicators_of(late).items() if name != "l2"
        }

    def baselines(self, t: int) -> dict[str, np.ndarray]:
        """Loss, gradient norm and sharpness up to step t, (member, time)."""
        upto = self.place(t) + 1
        return {name: self.data[name][:, :upto] for name in ("loss", "gradient_norm", "sharpness")}

    def angles(self, t: int) -> dict[str, np.ndarray]:
        """Angles of covariant vectors that know nothing after step t, by kind."""
        found = self.data["angle"][:, :, self.at.index(t)]
        return {str(kind): found[:, i] for i, kind in enumerate(self.data["angle_kind"])}


def indicators_of(exponents: np.ndarray) -> dict[str, np.ndarray]:
    """Indicators of sorted exponents (member, index)."""
    return {
        "l1": exponents[:, 0],
        "l2": exponents[:, 1],
        "lmin": exponents[:, -1],
        "sum": exponents.sum(1),
        "expanding": (exponents > EXPANDING).sum(1).astype(np.float64),
    }


@dataclass(frozen=True)
class Cells:
    """All cells that were measured, and why there are no verdicts (empty if there are)."""

    cells: tuple[Cell, ...]
    short: str

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def where(self, test: Callable[[Cell], Any]) -> Cells:
        """Cells that pass a test."""
        return Cells(tuple(cell for cell in self.cells if test(cell)), self.short)


def measured(context: Context, *, beyond: bool = False) -> Cells:
    """Compute what the store does not have yet; cells of other optimizers, or all the others."""
    wanted = [(g, run) for g, runs in cells(context).items() if (g == BEYOND) == beyond for run in runs]
    short = "the quick scale trains too few networks, and not to the end" if context.quick else ""
    workers = 1 if context.quick else min(os.cpu_count() or 1, len(wanted))
    return Cells(computed(wanted, context.store / "cells", workers, context.progress), short)


def computed(
    wanted: Sequence[tuple[str, Run]], store: Path, workers: int = 1, progress: Progress = False
) -> tuple[Cell, ...]:
    """Cells of runs, each with its group; those that the store does not have are computed.

    Raises
    ------
    RuntimeError
        If one of them fails.
    """
    # the longest first, so that no core waits at the end
    order = sorted((run for _, run in wanted), key=cost, reverse=True)
    with weighed(progress, [cost(run) for run in order], "cells") as shown:
        done = sweep(measure, order, store=store, workers=workers, progress=shown)
    if done.failed:
        raise RuntimeError(f"{len(done.failed)} of {len(order)} cells failed, the first with {done.failed[0].error}")
    return tuple(cell_of(group, run, done.load(run)) for group, run in wanted)


def cell_of(group: str, run: Run, data: Any) -> Cell:
    """A cell from the result of its run."""
    return Cell(group, run, {str(k): np.asarray(v.values) for k, v in data.variables.items()}, data.attrs["seconds"])
