"""Which runs are wanted: the product of lists of values, or configs one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from separatrix.results.errors import ArgumentError
from separatrix.sweeps.config import Config, canonical, freeze, plain

_FORMS = "give a mapping of name to a list of values, or configs one by one"


@dataclass(frozen=True)
class Grid:
    """Distinct configs, in order; the last name varies fastest."""

    configs: tuple[Config, ...]
    axes: dict[str, tuple[Any, ...]] | None
    """Values by name, where the configs are their whole product."""

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each name has."""
        return tuple(map(len, self.axes.values())) if self.axes is not None else (len(self.configs),)

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        if self.axes is not None:
            return {"axes": plain(self.axes)}
        return {"configs": [plain(config) for config in self.configs]}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Grid:
        """The grid that was written by :meth:`to_json`."""
        return read_grid(record["axes"] if "axes" in record else record["configs"])

    def text(self) -> str:
        """Canonical text of what is asked for."""
        return canonical(self.to_json())


def read_grid(grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]] | Grid) -> Grid:
    """Read what a caller gave as grid; what is asked for twice is kept once.

    Raises
    ------
    ArgumentError
        If the grid is empty, or a name or value cannot be part of a config.
    """
    if isinstance(grid, Grid):
        return grid
    if isinstance(grid, str | bytes) or not isinstance(grid, Iterable):
        raise ArgumentError("grid", f"{type(grid).__name__} {grid!r:.60}", _FORMS)
    if isinstance(grid, Mapping):
        axes = {name: _axis(name, values) for name, values in grid.items()}
        if not axes:
            raise ArgumentError("grid", "a mapping without names", _FORMS)
        configs = tuple(Config(dict(zip(axes, values, strict=True))) for values in product(*axes.values()))
        assert len(configs) == prod(map(len, axes.values()))
        return Grid(configs, axes)
    distinct: dict[Config, None] = {}
    for position, config in enumerate(grid):
        if not isinstance(config, Mapping):
            raise ArgumentError(f"grid[{position}]", f"{type(config).__name__} {config!r:.60}", _FORMS)
        distinct[Config(config, _where=f"grid[{position}]")] = None
    if not distinct:
        raise ArgumentError("grid", "no configs", _FORMS)
    return Grid(tuple(distinct), None)


def _axis(name: str, values: object) -> tuple[Any, ...]:
    where = f"grid[{name!r}]"
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
        raise ArgumentError(where, f"{type(values).__name__} {values!r:.60}", "give a list of values")
    distinct: dict[str, Any] = {}
    for position, value in enumerate(values):
        frozen = freeze(value, f"{where}[{position}]")
        distinct.setdefault(canonical(plain(frozen)), frozen)
    kept = tuple(distinct.values())
    if not kept:
        raise ArgumentError(where, "no values", "give at least one value, or leave the name out")
    for i, value in enumerate(kept):
        twin = next((other for other in kept[:i] if other == value), None)
        if twin is not None:
            raise ArgumentError(
                where, f"{twin!r} and {value!r}", "they are equal but not the same value; write both in one way"
            )
    return kept
