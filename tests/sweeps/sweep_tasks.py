"""Tasks that keep a log of what they did, in whatever process they are.

xarray is imported where it is used: a process that only hands out runs starts a second earlier.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np

from separatrix.sweeps.tasks import task

PATIENCE = 150


def note(config, word):
    with open(Path(config.log) / word, "a") as file:
        file.write(f"{config.n} {os.getpid()}\n")


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def answer(config):
    import xarray as xr

    return xr.Dataset(
        {"y": ("x", config.n * np.arange(3.0)), "count": ((), config.n)},
        coords={"x": [10, 20, 30]},
        attrs={"about": "an answer"},
    )


def simple(config):
    note(config, "begun")
    return answer(config)


def gated(config):
    """From the second run on, wait until the test opens the gate."""
    note(config, "begun")
    if config.n >= 2:
        wait_for((Path(config.log) / "open").exists, "the gate")
    note(config, "ended")
    return answer(config)


def large(config):
    import xarray as xr

    note(config, "begun")
    return xr.Dataset({"y": ("x", np.random.default_rng(config.n).random(config.size))})


def deadly(config):
    """Run 3 takes its worker with it whenever it is tried."""
    note(config, "begun")
    if config.n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(config)


def failing(config):
    """Odd runs fail until there is a file called "repaired"."""
    note(config, "begun")
    if config.n % 2 and not (Path(config.log) / "repaired").exists():
        raise RuntimeError(f"run {config.n} has gone wrong")
    return answer(config)


def leaving(config):
    raise SystemExit("enough")


def limits(config):
    import sys

    import threadpoolctl
    import xarray as xr

    np.ones((2, 2)) @ np.ones((2, 2))
    blas = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    torch = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else -1
    return xr.Dataset({"omp": int(os.environ.get("OMP_NUM_THREADS", -1)), "most": max(blas), "torch": torch})


WRONG = {
    "array": lambda xr: np.zeros(3),
    "variable": lambda xr: xr.DataArray([1.0], dims="x"),
    "none": lambda xr: None,
    "attribute": lambda xr: xr.Dataset({"y": ("x", [1.0], {"unit": None})}),
    "flag": lambda xr: xr.Dataset(attrs={"converged": True}),
    "objects": lambda xr: xr.Dataset({"y": ("x", np.array([{}], dtype=object))}),
}


def wrong(config):
    import xarray as xr

    return WRONG[config.kind](xr)


def various(config):
    """What a result may hold, and shapes that depend on the config where it says so."""
    import xarray as xr

    n = config.n if config.ragged else 2
    return xr.Dataset(
        {
            "whole": ("x", np.arange(n)),
            "text": ("x", np.array([f"{'long' * config.n}{i}" for i in range(n)])),
            "flag": ("x", np.ones(n, dtype=bool)),
            "half": ("x", np.full(n, config.n / 3, dtype=np.float32)),
            "nothing": ("x", np.full(n, np.nan)),
            "time": ("x", np.arange(n).astype("datetime64[ns]")),
        },
        coords={"x": np.arange(n) / 3, "same": ("x", np.arange(n)), "other": ((), float(config.n))},
        attrs={"same": 1, "other": config.n},
    )


@task(version="7")
def marked(config):
    return answer(config)
