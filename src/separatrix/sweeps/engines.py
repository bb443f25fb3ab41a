"""Who computes the runs: this process, joblib's worker processes, or a Dask cluster."""

from __future__ import annotations

import uuid
import warnings
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from os import getpid
from typing import Any, Protocol, runtime_checkable

from separatrix.results.errors import ArgumentError
from separatrix.sweeps.attempt import attempt
from separatrix.sweeps.folder import Folder
from separatrix.sweeps.outcome import Job, Outcome

DEATHS = 3
"""A run is given up when so many of its workers have died; the last of them worked for it alone."""


@runtime_checkable
class Engine(Protocol):
    """Computes runs, in any order. A run whose workers die again and again has the outcome ``died``."""

    def outcomes(self, jobs: list[Job]) -> Generator[Outcome, None, None]:
        """One outcome for every job, as they come."""
        ...


class InProcess:
    """One run after the other, in the calling process."""

    def outcomes(self, jobs: list[Job]) -> Generator[Outcome, None, None]:
        """One outcome for every job, as they come."""
        yield from map(attempt, jobs)


class Local:
    """Worker processes of this machine, by joblib (loky).

    loky ends all workers when one dies. The runs that were under way are given back to it, and after a second death
    one at a time, so that a run that kills its worker is found out and takes no other down with it.
    """

    def __init__(self, workers: int, threads: int, folder: Folder) -> None:
        self.workers = workers
        self.threads = threads
        self.folder = folder

    def outcomes(self, jobs: list[Job]) -> Generator[Outcome, None, None]:
        """One outcome for every job, as they come."""
        waiting = {job.key: job for job in jobs}
        deaths: Counter[str] = Counter()
        silent = 0
        while waiting:
            together = [job for job in waiting.values() if deaths[job.key] < DEATHS - 1]
            batch = together or [next(iter(waiting.values()))]
            note = uuid.uuid4().hex
            try:
                for outcome in self._parallel([replace(job, note=note, parent=getpid()) for job in batch]):
                    del waiting[outcome.key]
                    yield outcome
            except BrokenProcessPool:
                # whoever was killed has left its lock file behind
                killed = [key for key, found in self.folder.notes(list(waiting)) if found == note]
                silent = 0 if killed else silent + 1
                if silent == DEATHS:
                    raise
                deaths.update(killed)
                for key in killed:
                    if deaths[key] >= DEATHS:
                        del waiting[key]
                        yield Outcome(key, "died", f"worker died ({DEATHS} times, the last time with this run alone)")

    def _parallel(self, jobs: list[Job]) -> Iterator[Outcome]:
        import joblib

        # joblib would run a single worker's jobs in this process
        with joblib.parallel_config("loky", inner_max_num_threads=self.threads):
            pool = joblib.Parallel(max(2, self.workers), return_as="generator_unordered", batch_size=1)
        found = pool(joblib.delayed(attempt)(job) for job in jobs)
        try:
            yield from found
        finally:
            with warnings.catch_warnings():  # of jobs that are cancelled, when the caller stops early
                warnings.simplefilter("ignore", UserWarning)
                found.close()


class Dask:
    """The workers of a Dask cluster. Dask itself gives the runs of a dead worker to another one."""

    def __init__(self, client: Any, folder: Folder) -> None:
        self.client = client
        self.folder = folder

    def outcomes(self, jobs: list[Job]) -> Generator[Outcome, None, None]:
        """One outcome for every job, as they come."""
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        note = uuid.uuid4().hex
        strays: Counter[str] = Counter()
        futures = {self._submit(job, note): job for job in jobs}
        arriving = as_completed(futures)
        try:
            for future in arriving:
                job = futures.pop(future)
                try:
                    outcome = future.result()
                except KilledWorker as error:
                    begun = dict(self.folder.notes([job.key])).get(job.key) == note
                    strays[job.key] += 1
                    if begun or strays[job.key] == DEATHS:
                        yield Outcome(job.key, "died", f"worker died ({error})")
                        continue
                    again = self._submit(job, note)  # it had only waited in the queue of a worker that died
                    futures[again] = job
                    arriving.add(again)
                else:
                    yield outcome
        finally:
            self.client.cancel(list(futures))

    def _submit(self, job: Job, note: str) -> Any:
        key = f"separatrix-{job.key}-{uuid.uuid4().hex[:8]}"
        return self.client.submit(attempt, replace(job, note=note), key=key, pure=False)


def open_engine(engine: Any, workers: int | None, threads: int, folder: Folder) -> AbstractContextManager[Engine]:
    """Start an engine, or connect to one that runs; leaving the context ends what was started.

    Raises
    ------
    ArgumentError
        If there is no such engine, or it cannot be reached.
    """
    if engine == "local":
        count = workers if workers is not None else max(1, _cores() // threads)
        return nullcontext(InProcess() if count == 1 else Local(count, threads, folder))
    from separatrix.sweeps.clusters import connected

    return connected(engine, workers, threads, folder)


def check_engine(engine: object) -> None:
    """Refuse what is no engine, before anything is begun.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    named = isinstance(engine, str) and (engine in ("local", "dask") or "://" in engine)
    if not named and (
        isinstance(engine, str) or not (hasattr(engine, "submit") or hasattr(engine, "scheduler_address"))
    ):
        raise ArgumentError(
            "engine",
            f"{type(engine).__name__} {engine!r:.60}",
            'give "local", "dask", the address of a scheduler ("tcp://host:8786"), a distributed.Client or a cluster',
        )


def _cores() -> int:
    import joblib

    return joblib.cpu_count()
