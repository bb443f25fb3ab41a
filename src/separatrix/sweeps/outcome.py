"""What became of one run, and of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config
    from separatrix.sweeps.grids import Grid
    from separatrix.sweeps.runstore import Store

Kind = Literal["done", "present", "failed", "busy", "unwritable", "died"]


@dataclass(frozen=True)
class Job:
    """Everything that another process needs for one run."""

    key: str
    config: Config
    store: str
    sweep: str
    """Name of the sweep's record, by which a worker knows that it sees the same store."""
    task: bytes
    name: str
    version: str
    threads: int
    attempts: int
    """How often the run had failed before this sweep."""
    call: str
    """The call of ``sweep`` that this belongs to."""
    note: str = ""
    """What goes into the lock."""
    parent: int | None = None
    """Process after whose death the worker ends itself."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run, as told by a worker."""

    key: str
    kind: Kind
    error: str = ""
    number: int | None = None
    """Error number of the system, where the store could not be written."""
    aside: str = ""
    """Where a corrupt result was put."""


@dataclass(frozen=True)
class Failure:
    """A run that ended in an error."""

    config: Config
    error: str
    traceback: str
    attempts: int

    @staticmethod
    def from_record(config: Config, record: Mapping[str, Any]) -> Failure:
        """Read what the store holds."""
        return Failure(config, record["error"], record["traceback"], record["attempts"])


@dataclass(frozen=True)
class Sweep:
    """A sweep that has ended: which runs are done, which failed, and the way to their results."""

    store: Store
    grid: Grid = field(repr=False)
    done: tuple[Config, ...] = field(repr=False)
    failed: tuple[Failure, ...]
    computed: int
    """How many results this call computed; the others were there, or came from another sweep at the same time."""
    seconds: float
    """How long this call took."""

    @property
    def path(self) -> Path:
        """Folder of the store."""
        return self.store.path

    def __len__(self) -> int:
        return len(self.grid.configs)

    def load(self, config: Mapping[str, Any]) -> xr.Dataset:
        """The result of one run; see :meth:`Store.load`."""
        return self.store.load(config)

    def __iter__(self) -> Iterator[tuple[Config, xr.Dataset]]:
        for config in self.done:
            yield config, self.store.load(config)

    def collect(self, *, missing: str = "refuse") -> xr.Dataset:
        """All results as one Dataset; see :func:`collect`."""
        from separatrix.sweeps.collecting import collect

        return collect(self, missing=missing)
