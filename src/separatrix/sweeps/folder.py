"""The files of a run store: which run is in which, and whether it can be believed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from separatrix.results.errors import ArgumentError
from separatrix.sweeps import files
from separatrix.sweeps.locks import Lock, is_held

if TYPE_CHECKING:
    import xarray as xr

FORMAT = {"format": "separatrix run store", "format_version": 1}
RUN = "sweep_run"
"""Attribute of every result: the run's record as JSON text."""

_ABOUT = """Run store of separatrix.
index.tsv   all runs, for people and spreadsheets (written from the files below)
runs/       KEY.nc: one result; KEY.json: its config and checksum; KEY.failed.json: an error with its traceback
sweeps/     what was asked for: task, version, grid
locks/      runs being computed right now
"""


class CorruptRun(Exception):
    """A result file is not what was written."""


@dataclass(frozen=True)
class Folder:
    """A run store on disk. Knows files and keys, nothing of tasks."""

    path: Path

    @staticmethod
    def open(path: str | Path, *, create: bool) -> Folder:
        """Open a run store, or make one in a new or empty folder.

        Raises
        ------
        ArgumentError
            If there is none, or the folder holds something else.
        """
        folder = Folder(Path(path).expanduser().resolve())
        marker = folder.path / "store.json"
        found = files.read_json(marker)
        if found is None and create:
            if folder.path.exists() and not folder.path.is_dir():
                raise ArgumentError("store", f"the file {folder.path}", "give a folder")
            folder.path.mkdir(parents=True, exist_ok=True)
            if not marker.exists() and any(not entry.name.endswith(files.TEMPORARY) for entry in folder.path.iterdir()):
                raise ArgumentError("store", f"{folder.path}, a folder of other things", "give a new folder")
            files.write_json(marker, FORMAT)
            files.write_whole(folder.path / "README.txt", _ABOUT.encode())
        elif found is None:
            raise ArgumentError("store", f"{folder.path}, which is no run store", "give the folder of a sweep")
        elif found != FORMAT:
            raise ArgumentError("store", f"{folder.path} of format {found}", "use the version that wrote it")
        for name in ("runs", "sweeps", "locks") if create else ():
            (folder.path / name).mkdir(exist_ok=True)
        return folder

    def result(self, key: str) -> Path:
        """The netCDF file of a run."""
        return self.path / "runs" / f"{key}.nc"

    def record(self, key: str) -> Path:
        """Config and checksum beside the result."""
        return self.path / "runs" / f"{key}.json"

    def failure(self, key: str) -> Path:
        """The record of an error."""
        return self.path / "runs" / f"{key}.failed.json"

    def lock(self, key: str) -> Path:
        """The lock of a run."""
        return self.path / "locks" / f"{key}.lock"

    def sweep(self, name: str) -> Path:
        """The record of what was asked for."""
        return self.path / "sweeps" / f"{name}.json"

    def verified(self, key: str) -> bytes | None:
        """The bytes of a result after a check against its checksum, or None if there is no result.

        A result without a readable record (its writer was killed between the two) is opened and read to its end
        instead, and gets its record.

        Raises
        ------
        CorruptRun
            If the file is not what was written.
        """
        record = files.read_json(self.record(key))
        try:
            data = self.result(key).read_bytes()
        except FileNotFoundError:
            return None
        if record is not None and "sha256" in record:
            if files.checksum(data) == record["sha256"]:
                return data
            raise CorruptRun(f"{self.result(key)} differs from its checksum")
        try:
            run = json.loads(files.from_bytes(data).attrs[RUN])
        except Exception as error:
            raise CorruptRun(f"{self.result(key)} cannot be read ({error})") from error
        if run["key"] != key:
            raise CorruptRun(f"{self.result(key)} is the result of run {run['key']}")
        self._write_record(key, run, data)
        return data

    def packed(self, run: dict[str, Any], dataset: xr.Dataset) -> bytes:
        """A result as bytes, with its run's record in it.

        Raises
        ------
        TypeError
            If netCDF cannot hold it.
        """
        return files.to_bytes(dataset.assign_attrs({RUN: json.dumps(run)}))

    def write_result(self, key: str, run: dict[str, Any], data: bytes) -> None:
        """Store a result; whoever calls holds the run's lock.

        Raises
        ------
        OSError
            If the disk does not take it; nothing is left behind.
        """
        self.record(key).unlink(missing_ok=True)  # a record beside another file than its own would condemn the file
        files.write_whole(self.result(key), data)
        self._write_record(key, run, data)
        self.failure(key).unlink(missing_ok=True)

    def _write_record(self, key: str, run: dict[str, Any], data: bytes) -> None:
        # the result carries all of it but the checksum, and counts without
        with suppress(OSError):
            files.write_json(self.record(key), {**run, "sha256": files.checksum(data), "bytes": len(data)})

    def set_aside(self, key: str) -> Path | None:
        """Rename a corrupt result and return its new place; whoever calls holds the run's lock."""
        result = self.result(key)
        names = (f"{key}.nc.{f'{n}.' if n else ''}corrupt" for n in count())
        aside = next(place for place in map(result.with_name, names) if not place.exists())
        try:
            os.rename(result, aside)
        except FileNotFoundError:
            return None
        self.record(key).unlink(missing_ok=True)
        return aside

    def ended(self) -> list[str]:
        """Every run that has left a result or a failure."""
        names = os.listdir(self.path / "runs") if (self.path / "runs").is_dir() else []
        return sorted({n.split(".")[0] for n in names if n.endswith((".nc", ".failed.json"))})

    def sweeps(self) -> dict[str, dict[str, Any]]:
        """What was asked for, by name; the sweep that was started last comes last."""
        found = {path.stem: files.read_json(path) for path in (self.path / "sweeps").glob("*.json")}
        return dict(sorted(((n, r) for n, r in found.items() if r), key=lambda item: item[1]["started"]))

    def running(self) -> set[str]:
        """Runs whose lock is held right now."""
        paths = (self.path / "locks").glob("*.lock")
        return {path.stem for path in paths if path.stem != "store" and is_held(path)}

    def shared(self) -> Lock:
        """Wait for the lock of the files that belong to no run."""
        return Lock.wait_for(self.path / "locks" / "store.lock")

    def sweep_up(self) -> None:
        """Remove what killed processes left half-written."""
        with self.shared():
            for pattern in (f"index.tsv.*{files.TEMPORARY}", f"sweeps/*{files.TEMPORARY}"):
                for path in self.path.glob(pattern):
                    path.unlink(missing_ok=True)
        halves: dict[str, list[Path]] = {path.stem: [] for path in (self.path / "locks").glob("*.lock")}
        for path in self.path.glob(f"runs/*{files.TEMPORARY}"):
            halves.setdefault(path.name.split(".")[0], []).append(path)
        for key, paths in halves.items():
            lock = Lock.take(self.lock(key))
            if lock is not None:
                with lock:
                    for path in paths:
                        path.unlink(missing_ok=True)

    def notes(self, keys: list[str]) -> Iterator[tuple[str, str]]:
        """The notes in the locks of runs, where there is a lock."""
        for key in keys:
            with suppress(OSError):
                yield key, self.lock(key).read_text()


def stamp() -> dict[str, Any]:
    """When and where, for records."""
    return {
        "written": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "host": platform.node(),
        "process": os.getpid(),
    }
