"""Dask clusters: started here, or somewhere else already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from separatrix.results.errors import ArgumentError
from separatrix.sweeps.folder import Folder
from separatrix.sweeps.threads import VARIABLES

if TYPE_CHECKING:
    from separatrix.sweeps.engines import Dask


@contextmanager
def connected(engine: Any, workers: int | None, threads: int, folder: Folder) -> Iterator[Dask]:
    """A Dask engine on a cluster of this machine (``"dask"``), at an address, or of a client or cluster object.

    Raises
    ------
    ArgumentError
        If Dask is not installed, nothing answers at the address, or `workers` is given for a cluster that has its own.
    """
    from separatrix.sweeps.engines import Dask

    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ArgumentError("engine", repr(engine), "install Dask: pip install 'separatrix[dask]'") from error
    if workers is not None and engine != "dask":
        raise ArgumentError("workers", repr(workers), "the cluster has its own workers; scale it there")
    with ExitStack() as stack:
        if engine == "dask":
            environment = dict.fromkeys(VARIABLES, str(threads))
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                    env=environment,
                )
            )
            client = stack.enter_context(Client(cluster))
        elif hasattr(engine, "submit"):
            if getattr(engine, "asynchronous", False):
                raise ArgumentError("engine", "an asynchronous client", "give an ordinary distributed.Client")
            client = engine
        else:
            try:
                client = stack.enter_context(Client(engine))
            except (OSError, TimeoutError, ValueError) as error:
                raise ArgumentError("engine", f"{engine!r} ({error})", "start the scheduler there first") from error
        yield Dask(client, folder)
