"""Timing that can be compared: contestants take turns, and the median counts.

On a machine with other work, processor time on one thread can be compared where seconds cannot: give ``clock``
:func:`time.process_time`, and take the least of each contestant's rounds.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Clock = Callable[[], float]


def rounds(
    contestants: dict[str, Callable[[], Any]],
    repeats: int,
    sync: Callable[[], None],
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each contestant, all of them in turn in every round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, run in contestants.items():
            sync()
            begin = clock()
            run()
            sync()
            if turn:
                seconds[name].append(clock() - begin)
    return seconds


def once(run: Callable[[], Any], sync: Callable[[], None], clock: Clock = time.perf_counter) -> float:
    """Seconds of a single run, for contestants too slow to repeat."""
    sync()
    begin = clock()
    run()
    sync()
    return clock() - begin


def median(values: list[float]) -> float:
    return statistics.median(values)


def environment() -> dict[str, Any]:
    """What the timings depend on."""
    found = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    return found


def write(name: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows with the environment to bench/results."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    suffix = "-cuda" if torch.cuda.is_available() else ""
    path = folder / f"{name}{suffix}.json"
    path.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")
    return path


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
