"""What is drawn over a field: segments, marks, and the note on what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import reading, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

PER_SIDE = 9
"""Segments to a side."""


def segments(ax: Axes, one: xr.Dataset, x: np.ndarray, y: np.ndarray) -> None:
    """Draw headless segments along the leading right singular vector, where there is one.

    On a plane through a larger space a segment is as long as the part of the unit vector that lies in the plane.
    """
    from matplotlib import patheffects
    from matplotlib.collections import LineCollection

    first = reading.pick_index(one, 1).transpose("x", "y", ..., "axis")
    vectors = np.asarray(first["direction"].values, dtype=float)
    hidden = np.zeros(vectors.shape[:2], dtype=bool)
    for mask in reading.forbidden(first).values():
        hidden |= mask
    if "gap" in first:
        hidden |= np.asarray(first["gap"].values) < 1e-3  # two equal singular values have no leading direction
    picks = [np.linspace(0, len(v) - 1, min(PER_SIDE, len(v)) * 2 + 1).round().astype(int)[1::2] for v in (x, y)]
    i, j = (g.ravel() for g in np.meshgrid(*picks, indexing="ij"))
    length = np.linalg.norm(vectors[i, j], axis=-1, keepdims=True)
    keep = ~hidden[i, j] & (length[:, 0] > 0)
    i, j, length = i[keep], j[keep], length[keep].clip(max=1)
    cell = np.array([np.ptp(v) / len(p) for v, p in zip((x, y), picks, strict=True)])
    v = vectors[i, j]
    v = 0.36 * length * v / np.linalg.norm(v / cell, axis=1, keepdims=True)
    centre = np.column_stack([x[i], y[j]])
    lines = LineCollection(
        list(np.stack([centre - v, centre + v], axis=1)), colors=style.ON_IMAGE, linewidths=1.0, zorder=3
    )
    lines.set(capstyle="round", path_effects=[patheffects.withStroke(linewidth=2.0, foreground=style.HALO, alpha=0.65)])
    ax.add_collection(lines, autolim=False)


def note(ax: Axes, masks: dict[str, np.ndarray], total: int) -> None:
    """Say how many of ``total`` nodes are left out, and why."""
    counts = {name: int(mask.sum()) for name, mask in masks.items() if mask.any()}
    if not counts:
        return
    words = [f"{name.replace('_', ' ')}: {'all' if n == total else f'{n:,}'}" for name, n in counts.items()]
    _text(ax, "hatched  " + "; ".join(words), (0.03, 0.03), ax.transAxes, size=7.5)


def places(ax: Axes, marks: Sequence[Sequence[Any]]) -> None:
    """Mark places given as (x, y) or (x, y, text)."""
    from matplotlib.transforms import offset_copy

    for mark in marks:
        ax.plot(mark[0], mark[1], "o", ms=6, mfc=style.HALO, mec=style.ON_IMAGE, mew=1.2, zorder=4)
        if len(mark) > 2:
            above = offset_copy(ax.transData, fig=ax.get_figure(root=True), y=7, units="points")
            _text(ax, str(mark[2]), (mark[0], mark[1]), above, size=8.5, ha="center")


def _text(ax: Axes, text: str, at: tuple[float, float], transform: Any, *, size: float, ha: str = "left") -> None:
    box = {"boxstyle": "round,pad=0.3", "facecolor": style.HALO, "edgecolor": "none", "alpha": 0.88}
    ax.text(*at, text, transform=transform, size=size, color=style.ON_IMAGE, bbox=box, ha=ha, va="bottom", zorder=5)
