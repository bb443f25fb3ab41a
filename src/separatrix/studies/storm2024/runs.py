"""Which disc networks each part of the study needs, at each scale."""

from __future__ import annotations

from itertools import product
from typing import Any

from separatrix.studies.storm2024.networks import DECLARED
from separatrix.studies.study import Scale

DEPTHS = (2, 4, 8, 12)

Runs = list[dict[str, Any]]


def _runs(widths: tuple[int, ...], depths: tuple[int, ...], seeds: tuple[int, ...], **changed: Any) -> Runs:
    return [
        {**DECLARED, **changed, "width": width, "depth": depth, "seeds": seeds}
        for width, depth in product(widths, depths)
    ]


_SHORT = {"epochs": 40, "points": 10_000, "batch": 1024}
"""The quick scale: fewer points, and as many steps in fewer epochs."""


def field_runs(scale: Scale) -> Runs:
    """Fig. 2: three widths and four depths; fewer seeds, and for 250 units fewer epochs, where training is long."""
    if scale == "quick":
        return _runs((10, 50), (2, 8), (0,), **_SHORT)
    return [
        *_runs((10,), DEPTHS, (0, 1, 2, 3, 4)),
        *_runs((50,), DEPTHS, (0, 1, 2)),
        *_runs((250,), DEPTHS, (0,), epochs=120),
    ]


def trained_runs(scale: Scale) -> Runs:
    """Fig. 3(a), full training."""
    if scale == "quick":
        return _runs((5, 22, 103), (2,), (0, 1), **_SHORT)
    return _runs((5, 7, 10, 15, 22, 33, 48, 70, 103, 150), (2,), (0, 1, 2))


def width_runs(scale: Scale) -> Runs:
    """Fig. 3(b): seven widths, four depths, ten seeds; the longest first, so that no core waits for it at the end."""
    if scale == "quick":
        return _runs((5, 16), (2, 8), (0, 1), **_SHORT)
    return _runs((150, 95, 52, 29, 16, 9, 5), DEPTHS[::-1], tuple(range(10)))


OPEN_SETTINGS: dict[str, dict[str, Any]] = {
    "first layer 1/fan-in": {"first": "fan-in"},
    "raw inputs": {"inputs": "raw"},
    "no momentum": {"momentum": 0.0},
    "batch 512, no momentum": {"batch": 512, "momentum": 0.0},
}
"""Settings that the letter leaves open, each changed alone."""

SMALL_BATCH = {"batch 64, rate 0.01, no momentum": {"batch": 64, "rate": 0.01, "momentum": 0.0}}
"""The setting of a later data set of the authors; 113 times the steps, so for small networks only."""


def open_runs(scale: Scale) -> dict[str, Runs]:
    """Three seeds in each open setting."""
    if scale == "quick":
        return {}
    three = (0, 1, 2)
    found = {name: _runs((5, 16, 52), DEPTHS, three, **change) for name, change in OPEN_SETTINGS.items()}
    return found | {name: _runs((16,), (2, 4), three, **change) for name, change in SMALL_BATCH.items()}


def variance_runs(scale: Scale) -> dict[float, Runs]:
    """Supplemental Fig. S1: the variance of the initial weights, in units of 1/fan-in."""
    if scale == "quick":
        return {}
    return {gain: _runs((10,), (4, 8), (0, 1, 2, 3, 4), gain=gain) for gain in (0.5, 1.0, 2.0)}
