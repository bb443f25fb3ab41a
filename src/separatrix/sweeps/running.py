"""Run a task over a grid, once for every config, whatever happens on the way."""

from __future__ import annotations

import hashlib
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from separatrix.results.errors import SeparatrixWarning
from separatrix.results.integers import whole
from separatrix.results.progress import Progress
from separatrix.sweeps import files
from separatrix.sweeps.config import Config
from separatrix.sweeps.engines import check_engine
from separatrix.sweeps.folder import Folder, stamp
from separatrix.sweeps.grids import Grid, read_grid
from separatrix.sweeps.outcome import Job, Sweep
from separatrix.sweeps.runstore import Store
from separatrix.sweeps.tasks import Source, describe, load, pickled, refuse_in_imports, version_of
from separatrix.sweeps.underway import Run, attempts

if TYPE_CHECKING:
    import xarray as xr


def sweep(
    task: Callable[[Config], xr.Dataset],
    grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]] | Grid,
    *,
    store: str | Path,
    engine: Any = "local",
    workers: int | None = None,
    version: str | int | None = None,
    threads: int = 1,
    progress: Progress = False,
    retry: bool = True,
) -> Sweep:
    """Compute a task for every config of a grid that the store does not hold yet.

    Parameters
    ----------
    task : function
        Takes one :class:`Config` and returns an ``xarray.Dataset``. It is at the top of a module or script, since other
        processes import it. Same config, same result: seeds belong into the config.
    grid : mapping of str to list, or iterable of mappings
        Values by name, of which every combination is wanted; or the configs themselves. What is there twice is
        computed once. See :class:`Config` for the values.
    store : str or Path
        Folder of the run store; made if there is none. Several sweeps, tasks and versions can share one.
    engine : str, distributed.Client or cluster
        ``"local"``: joblib's worker processes; ``"dask"``: a Dask cluster on this machine; or the address of a Dask
        scheduler, a client or a cluster.
    workers : int, optional
        Processes of ``"local"`` and ``"dask"``; by default as many as there are cores for their threads. One local
        worker is the calling process itself.
    version : str or int, optional
        Version of the task's code; by default that of :func:`separatrix.sweeps.task`, or ``"1"``.
    threads : int
        Threads of BLAS, OpenMP and torch in each worker.
    progress : bool or callable
        False, True for a bar, or a function called with (done, total).
    retry : bool
        Whether runs that failed in an earlier sweep are tried again.

    Returns
    -------
    Sweep
        ``done``, ``failed``, ``computed``, ``seconds``; ``load(config)``, iteration, ``collect()``, ``store``.

    Raises
    ------
    ArgumentError
        For a task that cannot be imported, an empty grid, a value that no config can hold, an unknown engine.
    OSError
        If the store cannot be written, such as when the disk is full. What is stored stays; nothing half-written is
        left; the same call goes on from there.

    Warns
    -----
    SeparatrixWarning
        If runs failed (their tracebacks are in the store and in ``failed``), or a corrupt result was set aside.

    Notes
    -----
    A run's identity is the SHA-256 of its config, its task's name and version. Sweeps on one store at the same time,
    also from several machines, exclude each other run by run with ``flock``, and each returns the whole grid.
    Cost, beside the runs: every result of the grid is read once, for its checksum.
    """
    refuse_in_imports()
    check_engine(engine)
    workers, threads = None if workers is None else whole("workers", workers, 1), whole("threads", threads, 1)
    source, named, wanted = describe(task), version_of(task, version), read_grid(grid)
    code = pickled(task)
    folder = Folder.open(store, create=True)
    folder.sweep_up()
    record = _record(folder, source, named, wanted, threads)
    handle = Store(folder.path, task=task, version=named)
    call = uuid.uuid4().hex
    jobs = {
        key: Job(
            key=key,
            config=config,
            store=str(folder.path),
            sweep=record,
            task=code,
            name=source.name,
            version=named,
            threads=threads,
            attempts=attempts(folder, key),
            call=call,
        )
        for config, key in ((config, handle.key(config)) for config in wanted.configs)
    }
    return Run(handle, wanted, jobs, retry).complete(engine, workers, threads, progress)


def resume(
    store: str | Path,
    *,
    engine: Any = "local",
    workers: int | None = None,
    threads: int | None = None,
    progress: Progress = False,
) -> list[Sweep]:
    """Complete every sweep that a store has a record of; tasks are imported from where they were.

    Parameters
    ----------
    store : str or Path
        Folder of the run store.
    engine, workers, progress
        See :func:`sweep`.
    threads : int, optional
        By default as in each sweep before.

    Returns
    -------
    list of Sweep
        In the order in which they were started. Sweeps of a version that the task does not have any more are left out,
        with a warning.

    Raises
    ------
    ArgumentError
        If there is no store, or a task cannot be imported any more.
    """
    refuse_in_imports()
    ended = []
    for record in Folder.open(store, create=False).sweeps().values():
        source = Source.from_json(record["task"])
        task = load(source)
        now = getattr(task, "sweep_version", record["version"])
        if now != record["version"]:
            text = f"{source.name} is version {now} now; its sweep of version {record['version']} cannot go on"
            warnings.warn(text, SeparatrixWarning, stacklevel=2)
            continue
        ended.append(
            sweep(
                task,
                Grid.from_json(record["grid"]),
                store=store,
                engine=engine,
                workers=workers,
                version=record["version"],
                threads=threads or record["threads"],
                progress=progress,
            )
        )
    return ended


def _record(folder: Folder, source: Source, version: str, grid: Grid, threads: int) -> str:
    text = "\n".join((source.name, version, grid.text()))
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    entry = {"task": source.to_json(), "version": version, "threads": threads, "started": stamp()["written"]}
    with folder.shared():
        files.write_json(folder.sweep(name), {**entry, "grid": grid.to_json()})
    return name
