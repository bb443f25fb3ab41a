"""One run, in whatever process an engine calls it: lock, look again, compute, store."""

from __future__ import annotations

import errno
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from separatrix.sweeps import files
from separatrix.sweeps.config import plain
from separatrix.sweeps.folder import CorruptRun, Folder, stamp
from separatrix.sweeps.locks import Lock
from separatrix.sweeps.outcome import Job, Outcome
from separatrix.sweeps.tasks import unpickled
from separatrix.sweeps.threads import limited

if TYPE_CHECKING:
    import xarray as xr

PATIENCE = 10.0
"""Seconds that a network file system gets to show the store to a worker on another machine."""

_busy = threading.Lock()
_watched: set[int] = set()


def attempt(job: Job) -> Outcome:
    """Compute one run, unless somebody else does or has.

    Returns
    -------
    Outcome
        ``done``, ``present`` (stored already), ``failed`` (recorded, with its traceback), ``busy`` (locked by another
        process) or ``unwritable`` (the store cannot be written; nothing of the run is left in it).
    """
    if job.parent is None or job.parent == os.getpid():  # joblib may stay in the process that asks, where it must
        return _attempt(job)
    _leave_with(job.parent)
    with _busy:
        if os.getppid() != job.parent:
            os._exit(0)  # nobody asks for it any more
        return _attempt(job)


def _attempt(job: Job) -> Outcome:
    folder = Folder(Path(job.store))
    if not _visible(folder.sweep(job.sweep)):
        text = f"process {os.getpid()} on {stamp()['host']} does not see it; it must be a shared folder"
        return Outcome(job.key, "unwritable", text, errno.ENOENT)
    try:
        lock = Lock.take(folder.lock(job.key), job.note)
        if lock is None:
            return Outcome(job.key, "busy")
        with lock:
            return _locked(job, folder)
    except OSError as error:
        return Outcome(job.key, "unwritable", _text(error), error.errno or errno.EIO)


def _locked(job: Job, folder: Folder) -> Outcome:
    aside = ""
    try:
        if folder.verified(job.key) is not None:
            record = files.read_json(folder.record(job.key)) or {}
            # computed for this very call, if word of it got lost with a worker that died
            return Outcome(job.key, "done" if record.get("call") == job.call else "present")
    except CorruptRun:
        aside = str(folder.set_aside(job.key))
    before = files.read_json(folder.failure(job.key)) or {"attempts": 0, "error": ""}
    if before["attempts"] > job.attempts:  # failed in another sweep, since this one began
        return Outcome(job.key, "failed", before["error"], aside=aside)
    run = run_record(job)
    began = time.perf_counter()
    try:
        with limited(job.threads):
            task: Callable[..., Any] = unpickled(job.task)
            began = time.perf_counter()
            dataset = task(job.config)
            run |= {"seconds": time.perf_counter() - began, "threads": job.threads, **stamp()}
        data = folder.packed(run, _checked(dataset))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        record_failure(folder, run, _text(error), traceback.format_exc(), time.perf_counter() - began)
        return Outcome(job.key, "failed", _text(error), aside=aside)
    folder.write_result(job.key, run, data)
    return Outcome(job.key, "done", aside=aside)


def _checked(found: Any) -> xr.Dataset:
    import xarray as xr

    if not isinstance(found, xr.Dataset):
        hint = "; use .to_dataset(name=...)" if isinstance(found, xr.DataArray) else ""
        raise TypeError(f"the task returned {type(found).__name__}; it must return an xarray.Dataset{hint}")
    return found


def run_record(job: Job) -> dict[str, Any]:
    """What identifies a run, for its records."""
    return {"key": job.key, "task": job.name, "version": job.version, "config": plain(job.config), "call": job.call}


def record_failure(folder: Folder, run: dict[str, Any], error: str, trace: str, seconds: float) -> None:
    """Store the record of a failure; whoever calls holds the run's lock.

    Raises
    ------
    OSError
        If the disk does not take it.
    """
    before = files.read_json(folder.failure(run["key"])) or {"attempts": 0}
    record = {**run, **stamp(), "seconds": seconds, "attempts": before["attempts"] + 1, "error": error}
    files.write_json(folder.failure(run["key"]), {**record, "traceback": trace})


def _text(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _visible(path: Path) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _leave_with(parent: int) -> None:
    # workers whose parent was killed would take more runs from its queue, and then stay for minutes
    if parent in _watched:
        return
    _watched.add(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        with _busy:
            os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
