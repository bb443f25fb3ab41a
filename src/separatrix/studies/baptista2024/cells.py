"""All cells of the study: runs of the sweep put together, and what is read off them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from separatrix.geometry.coefficients import aggregate, halves, ricci_coefficient, select_k
from separatrix.results.progress import weighed
from separatrix.studies.baptista2024.measure import CONVENTIONS, SUMS, measure
from separatrix.studies.baptista2024.problems import PROBLEMS, Setting, available
from separatrix.studies.baptista2024.runs import cost, runs
from separatrix.studies.study import Context
from separatrix.sweeps import sweep

Key = tuple[str, str, int]
"""Problem, widths, depth."""

PAPERS = "authors-r"
"""The convention of the authors' code, which made the paper's figures; all claims are judged by it."""


class HeldOut(NamedTuple):
    """Sums of each network at a k that others chose."""

    g: np.ndarray
    """Geodesic sums (member, layer); NaN where there is no such k, or the graph is not connected."""
    ric: np.ndarray
    """Curvatures (member, layer)."""
    pooled: list[float]
    """Aggregated coefficient of each half at the k that the other one chose."""


@dataclass(frozen=True)
class Cell:
    """The networks of one problem, width pattern and depth.

    Attributes
    ----------
    problem : Setting
    widths : str
    depth : int
    ks : array (k,)
    accuracy : array (member,)
    values : dict
        Variables of :func:`separatrix.studies.baptista2024.measure.measure` by name.
    training_seconds, geometry_seconds : float
        What it took, on one core.
    points, training_points : int
        Of the test set, and of the training set (with what is held back of it).
    threshold : float
        Accuracy above which networks are used.
    """

    problem: Setting
    widths: str
    depth: int
    ks: np.ndarray
    accuracy: np.ndarray
    values: dict[str, np.ndarray] = field(repr=False)
    training_seconds: float
    geometry_seconds: float
    points: int
    training_points: int
    threshold: float

    @property
    def key(self) -> Key:
        """Problem, widths, depth."""
        return self.problem.name, self.widths, self.depth

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.problem.name}, {self.widths} {self.depth}"

    @property
    def near_perfect(self) -> np.ndarray:
        """Which networks are above the paper's threshold of accuracy."""
        return self.accuracy > self.problem.threshold

    @property
    def used(self) -> np.ndarray:
        """Which networks the paper's statistics are made of here: above the threshold that is used."""
        return self.accuracy > self.threshold

    @property
    def range(self) -> np.ndarray:
        """Which k are looked at: from the least one that connects the inputs, as in the paper."""
        least = int(self.values["input_least_connecting_k"])
        return self.ks >= (least if least > 0 else self.ks[-1] + 1)

    def share(self, place: int) -> float:
        """A k in per cent of the points."""
        return 100 * float(self.ks[place]) / self.points

    def sums(self, convention: str = PAPERS, kind: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Geodesic sums, and curvatures, (k, member, layer).

        Sums are NaN where a graph is not connected, and where all points coincide, as behind dead units: one place
        holds no geometry, and its graph follows from the numbering of the points.
        ``kind`` is empty for the trained networks, ``"_untrained"`` for the same ones before.
        """
        at = CONVENTIONS.index(convention)
        whole, cut, curvature = (
            self.values[f"{name}{kind}"][:, at].swapaxes(0, 1)
            for name in ("geodesic_connected", "unreachable", "curvature")
        )
        there = (cut == 0) & (self.values[f"unique_rows{kind}"] > 1)
        return np.where(there, whole, np.nan).astype(np.float64), curvature.astype(np.float64)

    def curve(self, convention: str = PAPERS, kind: str = "", *, centred: bool = False) -> np.ndarray:
        """Aggregated coefficient of the networks used, (k,); NaN outside of the range of k."""
        g, ric = self.sums(convention, kind)
        found = aggregate(g, ric, centred=centred, weights=self.used).rho
        return np.where(self.range, found, np.nan)

    def best(self, convention: str = PAPERS, kind: str = "") -> int:
        """Place of k*, the k with the least aggregated coefficient; -1 without any."""
        curve = self.curve(convention, kind)
        return -1 if np.isnan(curve).all() else int(np.nanargmin(curve))

    def at(self, place: int, convention: str = PAPERS, kind: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Geodesic sums and curvatures at one k, (member, layer), of the networks used."""
        g, ric = self.sums(convention, kind)
        return g[place, self.used], ric[place, self.used]

    def rho(self, place: int, convention: str = PAPERS, kind: str = "", *, spearman: bool = False) -> np.ndarray:
        """Each used network's own coefficient at one k; NaN where a layer's graph is not connected."""
        return ricci_coefficient(*self.at(place, convention, kind), kind="spearman" if spearman else "pearson").rho

    def held_out(self, convention: str = PAPERS, kind: str = "", seed: int = 0) -> HeldOut:
        """The networks used, each half at the k that the other half chose."""
        g, ric = (v[:, self.used][self.range] for v in self.sums(convention, kind))
        members, layers = g.shape[1:]
        found = HeldOut(np.full((members, layers), np.nan), np.full((members, layers), np.nan), [])
        if members < 2 or not len(g):
            return found
        half = halves(members, seed)
        for on in (half, ~half):
            chosen = select_k(g, ric, on=on)
            if chosen.place >= 0:
                found.g[~on], found.ric[~on] = g[chosen.place][~on], ric[chosen.place][~on]
                found.pooled.append(float(chosen.held_out))
        return found

    def bootstrap(self, draws: int, convention: str = PAPERS, seed: int = 0) -> np.ndarray:
        """Places of k* over bootstrap samples of the networks used, (draws,); -1 where a sample has none."""
        g, ric = (v[:, self.used][self.range] for v in self.sums(convention))
        count = g.shape[1]
        if count == 0 or not len(g):
            return np.full(draws, -1)
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=draws)
        curves = aggregate(g, ric, weights=weights[:, None, :]).rho
        least = np.where(np.isnan(curves), np.inf, curves).argmin(1)
        first = int(np.argmax(self.range))
        return np.where(np.isnan(curves).all(1), -1, least + first)


@dataclass(frozen=True)
class Cells:
    """All cells that were measured, and why there are no verdicts (empty if there are)."""

    cells: tuple[Cell, ...]
    short: str

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def where(self, test: Callable[[Cell], Any]) -> list[Cell]:
        """Cells that pass a test."""
        return [cell for cell in self.cells if test(cell)]


def cells(context: Context) -> Cells:
    """Compute what the store does not have yet, and put it together in the order of the paper's tables."""
    names, missing = available(context)
    wanted = runs(context, names)
    # starting processes takes longer than all of the quick scale
    workers = 1 if context.quick else min(os.cpu_count() or 1, len(wanted))
    with weighed(context.progress, [cost(run) for run in wanted], "cells") as progress:
        done = sweep(measure, wanted, store=context.store / "cells", workers=workers, progress=progress)
    if done.failed:
        raise RuntimeError(f"{len(done.failed)} of {len(wanted)} cells failed, the first with {done.failed[0].error}")
    # the quick scale trains no network to the end: all are used there
    found = [cell_of(run, done.load(run), -1.0 if context.quick else PROBLEMS[run["problem"]].used) for run in wanted]
    places = {name: i for i, name in enumerate(PROBLEMS)}
    found.sort(key=lambda cell: (places[cell.problem.name], cell.depth, cell.widths))
    short = "the quick scale trains too few networks, on too few points" if context.quick else missing
    return Cells(tuple(found), short)


def cell_of(run: dict[str, Any], data: Any, threshold: float) -> Cell:
    """A cell from the result of its run; networks of an accuracy above ``threshold`` are used."""
    names = [str(name) for name in data.data_vars if name != "weights"]
    return Cell(
        PROBLEMS[run["problem"]],
        run["widths"],
        run["depth"],
        np.asarray(data["k"].values),
        np.asarray(data["accuracy"].values),
        {name: np.asarray(data[name].values) for name in names},
        float(data.attrs["training_seconds"]),
        float(data.attrs["geometry_seconds"]),
        int(data.attrs["points"]),
        int(data.attrs["training_points"]),
        threshold,
    )


def about_columns() -> str:
    """One sentence on what the store keeps."""
    return "; ".join(f"{name}: {about}" for name, about in SUMS.items())
