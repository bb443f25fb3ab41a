"""The run store as its user sees it: results by config."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from separatrix.results.errors import ArgumentError
from separatrix.sweeps import files
from separatrix.sweeps.config import Config, canonical, plain
from separatrix.sweeps.folder import CorruptRun, Folder
from separatrix.sweeps.grids import Grid, read_grid
from separatrix.sweeps.locks import Lock
from separatrix.sweeps.outcome import Failure
from separatrix.sweeps.tasks import Source, describe, version_of

if TYPE_CHECKING:
    import xarray as xr

AnyGrid = Grid | Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]]


class Store:
    """The results of sweeps, read from their folder.

    Parameters
    ----------
    path : str or Path
        Folder of the store.
    task : function or str, optional
        Whose results: the task, or its name as ``module:name``. Needed only if the store holds several tasks.
    version : str or int, optional
        Version of the task. By default that of the function; else the one that was run last.

    Raises
    ------
    ArgumentError
        If the folder is no run store, or does not say which task is meant.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        task: Callable[..., Any] | str | None = None,
        version: str | int | None = None,
    ) -> None:
        self.folder = Folder.open(path, create=False)
        if callable(task):
            self.task, self.version = describe(task).name, version_of(task, version)
        else:
            self.task, self.version = self._find(task, None if version is None else str(version))

    @property
    def path(self) -> Path:
        """Folder of the store."""
        return self.folder.path

    def _find(self, task: str | None, version: str | None) -> tuple[str, str]:
        known = [(Source.from_json(r["task"]).name, r["version"]) for r in self.folder.sweeps().values()]
        fitting = [(t, v) for t, v in known if task in (None, t) and version in (None, v)]
        if len({t for t, _ in fitting}) != 1:
            names = ", ".join(f"{t} version {v}" for t, v in dict.fromkeys(known)) or "no sweep"
            raise ArgumentError("task", f"{task!r} version {version!r}", f"the store holds {names}; name one")
        return fitting[-1]

    def key(self, config: Mapping[str, Any]) -> str:
        """Identity of a run: the first 24 hexadecimal digits of the SHA-256 of config, task and version."""
        return identity(config, self.task, self.version)

    def load(self, config: Mapping[str, Any]) -> xr.Dataset:
        """The result of one run, checked against its checksum.

        Raises
        ------
        ArgumentError
            If there is none; the message says whether it failed, and with what. A corrupt file is set aside first.
        """
        config = Config(config)
        key = self.key(config)
        data = self._verified(config, key)
        if data is None:
            failure = files.read_json(self.folder.failure(key))
            why = f"failed with {failure['error']}" if failure else "not in the store"
            raise ArgumentError("config", f"{config!r}, {why}", f"run or resume the sweep into {self.path}")
        return files.from_bytes(data)

    def _verified(self, config: Config, key: str) -> bytes | None:
        try:
            return self.folder.verified(key)
        except CorruptRun:
            with Lock.wait_for(self.folder.lock(key)):
                try:  # somebody may have put a good file there meanwhile
                    return self.folder.verified(key)
                except CorruptRun as error:
                    aside = self.folder.set_aside(key)
                    raise ArgumentError(
                        "config", f"{config!r} ({error})", f"set aside as {aside}; resume the sweep to compute it again"
                    ) from error

    def grid(self) -> Grid:
        """The grid of the last sweep of this task and version.

        Raises
        ------
        ArgumentError
            If there was none.
        """
        for record in reversed(self.folder.sweeps().values()):
            if (Source.from_json(record["task"]).name, record["version"]) == (self.task, self.version):
                return Grid.from_json(record["grid"])
        raise ArgumentError("grid", "none", f"the store holds no sweep of {self.task} version {self.version}; give one")

    def missing(self, grid: AnyGrid | None = None) -> list[Config]:
        """The grid minus the store: configs without a good result, in order. By default of the last sweep's grid.

        Cost: every result is read once, for its checksum.
        """
        return [config for config in self._grid(grid).configs if not self.has(config)]

    def has(self, config: Mapping[str, Any]) -> bool:
        """Whether there is a result, and it is what was written."""
        try:
            return self.folder.verified(self.key(config)) is not None
        except CorruptRun:
            return False

    def failed(self, grid: AnyGrid | None = None) -> list[Failure]:
        """The runs of a grid that ended in an error and have no result, with tracebacks."""
        found = []
        for config in self._grid(grid).configs:
            key = self.key(config)
            record = files.read_json(self.folder.failure(key))
            if record is not None and not self.folder.result(key).exists():
                found.append(Failure.from_record(config, record))
        return found

    def _grid(self, grid: AnyGrid | None) -> Grid:
        return self.grid() if grid is None else read_grid(grid)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, task={self.task!r}, version={self.version!r})"


def identity(config: Mapping[str, Any], task: str, version: str) -> str:
    """Identity of a run; see :meth:`Store.key`."""
    text = canonical({"config": plain(Config(config)), "task": task, "version": version})
    return hashlib.sha256(text.encode()).hexdigest()[:24]
