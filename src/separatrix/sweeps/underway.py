"""A sweep under way: hands runs to an engine, takes note of what becomes of them, waits for those of others."""

from __future__ import annotations

import shlex
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from separatrix.results.errors import SeparatrixWarning
from separatrix.results.progress import Progress, track
from separatrix.sweeps import files
from separatrix.sweeps.attempt import record_failure, run_record
from separatrix.sweeps.engines import Engine, open_engine
from separatrix.sweeps.folder import Folder
from separatrix.sweeps.grids import Grid
from separatrix.sweeps.index import write_index
from separatrix.sweeps.locks import Lock, is_held
from separatrix.sweeps.outcome import Failure, Job, Outcome, Sweep
from separatrix.sweeps.runstore import Store

INDEX_EVERY = 30.0
"""Seconds between two indices while a sweep runs."""


def attempts(folder: Folder, key: str) -> int:
    """How often a run has failed."""
    return (files.read_json(folder.failure(key)) or {"attempts": 0})["attempts"]


class _Unwritable(Exception):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Run:
    """One sweep under way."""

    def __init__(self, store: Store, grid: Grid, jobs: dict[str, Job], retry: bool) -> None:
        self.store, self.folder, self.grid, self.jobs, self.retry = store, store.folder, grid, jobs, retry
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        self.computed = 0
        self.indexed = time.monotonic()

    def complete(self, engine: Any, workers: int | None, threads: int, progress: Progress) -> Sweep:
        """Compute what is missing; see :func:`separatrix.sweeps.sweep`."""
        began = time.perf_counter()
        try:
            with track(progress, len(self.jobs), "runs") as advance:
                todo = [job for job in self.jobs.values() if not self._is_settled(job, advance)]
                if todo:
                    with open_engine(engine, workers, threads, self.folder) as opened:
                        self._work(todo, opened, advance)
        except _Unwritable as stop:
            # said here, where all workers have ended and what is stored can be counted
            text = f"the store cannot be written ({stop.outcome.error}); {self._how_to_go_on()}"
            raise OSError(stop.outcome.number, text) from None
        except KeyboardInterrupt:
            print(f"\nseparatrix: interrupted; {self._how_to_go_on()}", file=sys.stderr)
            raise
        finally:
            with suppress(OSError):  # a full disk must not hide what went wrong
                self.folder.sweep_up()
                write_index(self.folder)
        return self._ended(time.perf_counter() - began)

    def _is_settled(self, job: Job, advance: Callable[[int], None]) -> bool:
        if self.store.has(job.config):
            self.done.add(job.key)
        elif job.attempts and not self.retry:
            self.failed[job.key] = ""
        else:
            return False
        advance(1)
        return True

    def _work(self, todo: list[Job], engine: Engine, advance: Callable[[int], None]) -> None:
        elsewhere: list[Job] = []
        pause = 0.05
        while todo or elsewhere:
            if todo:
                with closing(engine.outcomes(todo)) as outcomes:
                    elsewhere += [self.jobs[o.key] for o in outcomes if not self._settle(o, advance)]
            todo = [job for job in elsewhere if not is_held(self.folder.lock(job.key))]
            elsewhere = [job for job in elsewhere if job not in todo]
            todo = [job for job in todo if not self._settled_elsewhere(job, advance)]
            if elsewhere and not todo:
                time.sleep(pause)
                pause = min(2 * pause, 2.0)

    def _settled_elsewhere(self, job: Job, advance: Callable[[int], None]) -> bool:
        if self.store.has(job.config):
            return self._settle(Outcome(job.key, "present"), advance)
        if attempts(self.folder, job.key) > job.attempts:
            return self._settle(Outcome(job.key, "failed"), advance)
        return False

    def _settle(self, outcome: Outcome, advance: Callable[[int], None]) -> bool:
        """Take note of an outcome; False if the run is another process's and has to be waited for."""
        if outcome.kind == "busy":
            return False
        if outcome.kind == "unwritable":
            raise _Unwritable(outcome)
        if outcome.aside:
            text = f"a result was corrupt and is computed again; the file is set aside as {outcome.aside}"
            warnings.warn(text, SeparatrixWarning, stacklevel=6)
        if outcome.kind == "died":
            self._bury(self.jobs[outcome.key], outcome.error)
        if outcome.kind in ("failed", "died"):
            self.failed[outcome.key] = outcome.error
        else:
            self.done.add(outcome.key)
            self.computed += outcome.kind == "done"
        advance(1)
        if time.monotonic() - self.indexed > INDEX_EVERY:
            write_index(self.folder)
            self.indexed = time.monotonic()
        return True

    def _bury(self, job: Job, error: str) -> None:
        with Lock.wait_for(self.folder.lock(job.key)):
            record_failure(self.folder, run_record(job), error, "", 0.0)

    def _how_to_go_on(self) -> str:
        stored = sum(self.folder.result(key).exists() for key in self.jobs)
        return (
            f"{stored} of {len(self.jobs)} runs are stored; go on with the same call, or\n"
            f"    separatrix sweep resume {shlex.quote(str(self.store.path))}"
        )

    def _ended(self, seconds: float) -> Sweep:
        failures = []
        for job in (job for key, job in self.jobs.items() if key in self.failed):
            record = files.read_json(self.folder.failure(job.key))
            record = record or {"error": self.failed[job.key], "traceback": "", "attempts": job.attempts + 1}
            failures.append(Failure.from_record(job.config, record))
        if failures:
            text = (
                f"{len(failures)} of {len(self.jobs)} runs failed, the first with {failures[0].error}; "
                f"tracebacks are in .failed and in {self.store.path / 'runs'}; the next sweep tries them again"
            )
            warnings.warn(text, SeparatrixWarning, stacklevel=4)
        done = tuple(job.config for job in self.jobs.values() if job.key in self.done)
        return Sweep(self.store, self.grid, done, tuple(failures), self.computed, seconds)
