"""The times of a history, and the windows that slide along it."""

from __future__ import annotations

from typing import NamedTuple, SupportsIndex

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole


class Windows(NamedTuple):
    """Times that are recorded, and how long the sliding windows that end at them are."""

    steps: int
    every: int
    times: tuple[int, ...]
    window: int | None

    def start_of(self, time: int) -> int | None:
        """Return where the sliding window that ends at a recorded time begins; None if it has not filled yet."""
        if self.window is None or time < self.window or (time - self.window) % self.every:
            return None
        return time - self.window


def windows(steps: int, every: int, window: SupportsIndex | None) -> Windows:
    """Every ``every`` steps, and the last one.

    Raises
    ------
    ArgumentError
        If the windows do not begin and end at recorded times, or are longer than the run.
    """
    if window is not None:
        window = whole("window", window, 1)
        if window % every or window > steps:
            remedy = f"give a multiple of every = {every}, at most steps = {steps}"
            raise ArgumentError("window", repr(window), remedy)
    times = [*range(every, steps + 1, every)]
    if not times or times[-1] != steps:
        times.append(steps)
    return Windows(steps, every, tuple(times), window)
