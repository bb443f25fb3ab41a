"""The table of all cases: runs of the sweep put together, and what is read off it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.studies.drgona2022.cases import ACTIVATIONS, DEPTHS, SETTINGS
from separatrix.studies.drgona2022.measure import column, measure
from separatrix.studies.study import Context
from separatrix.sweeps import sweep

if TYPE_CHECKING:
    import xarray as xr

FILE = "drgona2022-cases.nc"

BEHAVIOURS = (
    "one fixed point",
    "several fixed points",
    "continuum",
    "cycle",
    "quasi-periodic",
    "chaotic",
    "undecided",
    "no attractor",
)
"""What a network does, named after the most complicated attractor that was found."""


def runs(context: Context) -> list[dict[str, Any]]:
    """The 18 runs of the sweep, the longest first."""
    shared = {
        "seeds": tuple(context.seed + i for i in range(context.pick(quick=2, paper=20))),
        "starts": context.pick(quick=64, paper=256),
        "certified_starts": context.pick(quick=128, paper=1000),
        "nodes": 25,
        "plan": context.pick(
            quick={"steps": 512, "longest": 32, "followed": 3, "further": 2048},
            paper={"steps": 4096, "longest": 32, "followed": 8, "further": 16_384},
        ),
    }
    return [{"activation": a, "depth": n, **shared} for n, a in product(sorted(DEPTHS, reverse=True), ACTIVATIONS)]


@dataclass(frozen=True)
class Cases:
    """All cases; arrays are (seed, setting, activation, depth, bias) in the orders of :mod:`.cases`.

    Attributes
    ----------
    data : xarray.Dataset
        Variables (member, point) = (seed, case), with the case's names as coordinates.
    """

    data: xr.Dataset

    @property
    def seeds(self) -> int:
        """How many."""
        return int(self.data.sizes["member"])

    def __getitem__(self, name: str) -> np.ndarray:
        # runs: depth, activation; within one: setting, bias
        shape = (self.seeds, len(DEPTHS), len(ACTIVATIONS), len(SETTINGS), 2)
        return np.asarray(self.data[name].values.reshape(shape)[:, ::-1].transpose(0, 3, 2, 1, 4))

    def where(
        self, setting: object = None, activation: object = None, depth: object = None, bias: object = None
    ) -> np.ndarray:
        """Mask (setting, activation, depth, bias) of cases; each argument is a value, several, or None for all."""
        axes: tuple[list[Any], ...] = ([s.name for s in SETTINGS], [*ACTIVATIONS], [*DEPTHS], [False, True])
        wanted = (setting, activation, depth, bias)
        marks = [_chosen(axis, one) for axis, one in zip(axes, wanted, strict=True)]
        return np.asarray(np.einsum("s,a,d,b->sadb", *marks, dtype=np.int64).astype(bool))

    @cached_property
    def behaviour(self) -> np.ndarray:
        """Index into :data:`BEHAVIOURS`."""
        found = np.full(self["attractors"].shape, BEHAVIOURS.index("undecided"))
        found[(self["attractors"] == 0) & (self["share_undecided"] == 0)] = BEHAVIOURS.index("no attractor")
        fixed = self[column("fixed point")]
        found[fixed == 1] = BEHAVIOURS.index("one fixed point")
        found[fixed > 1] = BEHAVIOURS.index("several fixed points")
        for kind in ("continuum", "cycle", "quasi-periodic", "chaotic"):
            found[self[column(kind)] > 0] = BEHAVIOURS.index(kind)
        return found

    @cached_property
    def leaving(self) -> np.ndarray:
        """Whether some starts escape or still grow."""
        return np.asarray(self["share_escape"] + self["share_growing"] > 0)

    @cached_property
    def single(self) -> np.ndarray:
        """Whether one fixed point attracted every start."""
        return np.asarray(
            (self["attractors"] == 1) & (self[column("fixed point")] == 1) & (self["share_attracted"] > 1 - 1e-9)
        )

    @cached_property
    def known(self) -> np.ndarray:
        """Whether it was told for every start what becomes of it."""
        return np.asarray(self["share_undecided"] == 0)

    @cached_property
    def product(self) -> np.ndarray:
        """Product of layer norms in the best of the three norms."""
        return np.minimum.reduce([self[f"product_{p}"] for p in ("1", "2", "inf")])


def _chosen(axis: list[Any], wanted: object) -> np.ndarray:
    if wanted is None:
        return np.ones(len(axis), dtype=np.int64)
    several = wanted if isinstance(wanted, list | tuple | set) else (wanted,)
    unknown = [one for one in several if one not in axis]
    if unknown:
        raise KeyError(f"{unknown} not among {axis}")
    return np.array([one in several for one in axis], dtype=np.int64)


def cases(context: Context) -> Cases:
    """Run what the store does not have yet, put it together, and save it as one file in the store."""
    import xarray as xr

    wanted = runs(context)
    # starting processes takes longer than all of the quick scale
    workers = 1 if context.quick else min(os.cpu_count() or 1, len(wanted))
    done = sweep(measure, wanted, store=context.store / "cases", workers=workers, progress=context.progress)
    parts = [done.load(run) for run in wanted]
    whole = xr.concat(
        parts, "point", data_vars="all", coords="different", compat="equals", join="override", combine_attrs="override"
    )
    about = "a column's long_name says what it is; every run's own provenance is in the store"
    whole.attrs = {
        "title": "The 828 cases of Drgona et al.",
        "about": about,
        "provenance": parts[0].attrs["provenance"],
    }
    whole.to_netcdf(context.store / FILE)
    return Cases(whole)
