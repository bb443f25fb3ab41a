"""What is drawn over a field: segments, ridges and boundaries, marks, and the note on what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import reading, style
from separatrix.results.errors import ArgumentError
from separatrix.tangent.polylines import polylines, same_plane

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

PER_SIDE = 9
"""Segments to a side."""
NAMED, EDGE = 0.05, 0.035
"""Shares of the frame: lines shorter than the first have no name, and names keep the second off the edge."""


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


def curves(ax: Axes, ds: xr.Dataset, *, ridges: xr.Dataset | None, boundary: xr.Dataset | None) -> None:
    """Draw ridges and a boundary over the field ``ds``, and say above the picture which is which."""
    shown = []
    for name, lines in (("ridges", ridges), ("boundary", boundary)):
        if lines is not None:
            paths = [path for path in polylines(lines, name) if len(path) > 1]
            if not same_plane(ds, lines):
                raise ArgumentError(name, "lines in another plane than the field's", "compute both on the same inputs")
            words = name.removesuffix("s") if len(paths) == 1 else name
            shown.append((_ridges if name == "ridges" else _boundary)(ax, paths, words if paths else f"no {words}"))
    if boundary is not None:
        _classes(ax, boundary)
    if shown:
        style.legend_above(ax, shown, ncols=2, right=True, stroke=1.6)


def _ridges(ax: Axes, paths: list[np.ndarray], name: str) -> Any:
    """A broad line in a casing: it lies on the darkest colours, and a boundary on it stays visible."""
    return _lines(ax, paths, name, color=style.RIDGE, width=2.0, casing=3.8, opacity=0.95, zorder=2.2)


def _boundary(ax: Axes, paths: list[np.ndarray], name: str) -> Any:
    """A thin dark line, on top."""
    return _lines(ax, paths, name, color=style.ON_IMAGE, width=1.1, casing=2.0, opacity=0.45, zorder=2.4)


def _lines(
    ax: Axes,
    paths: list[np.ndarray],
    name: str,
    *,
    color: str,
    width: float,
    casing: float,
    opacity: float,
    zorder: float,
) -> Any:
    from matplotlib import patheffects
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    drawn = LineCollection(paths, colors=color, linewidths=width, zorder=zorder, label=name)
    # the casing of all lines lies under all lines, so that it cuts none where they meet
    below = LineCollection(paths, colors=style.HALO, linewidths=casing, alpha=opacity, zorder=zorder - 0.1)
    for lines in (below, drawn):
        lines.set(capstyle="round", joinstyle="round")
        ax.add_collection(lines, autolim=False)
    effect = [patheffects.withStroke(linewidth=casing, foreground=style.HALO)]
    return Line2D([], [], color=color, linewidth=width, path_effects=effect, label=name)


def _classes(ax: Axes, boundary: xr.Dataset) -> None:
    """Name the two classes of the longest line of each pair at its middle."""
    if "first" not in boundary or "second" not in boundary:
        return
    from matplotlib import patheffects

    frame = max(np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim()))
    longest: dict[tuple[int, int], tuple[float, np.ndarray, np.ndarray]] = {}
    pairs = zip(np.asarray(boundary["first"].values), np.asarray(boundary["second"].values), strict=True)
    for pair, path in zip(pairs, polylines(boundary, "boundary"), strict=True):
        along = np.r_[0, np.cumsum(np.hypot(*np.diff(path, axis=0).T))]
        if pair[0] >= 0 and along[-1] > (longest[pair][0] if pair in longest else 0):
            middle = np.array([np.interp(along[-1] / 2, along, path[:, i]) for i in (0, 1)])
            longest[pair] = float(along[-1]), middle, path[-1] - path[0]
    halo = [patheffects.withStroke(linewidth=2.4, foreground=style.HALO)]
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    for (first, second), (length, at, along) in longest.items():
        if length < NAMED * frame:
            continue
        # a name beside a line that it would hide, towards the middle of the picture
        inwards = np.where(at > (low + high) / 2, -1, 1)
        beside = (12 * inwards[0], 0) if abs(along[1]) > abs(along[0]) else (0, 9 * inwards[1])
        side = (0, 0) if length > 0.15 * frame else beside
        place = np.clip(at, low + EDGE * (high - low), high - EDGE * (high - low))
        text = ax.annotate(f"{first}|{second}", tuple(place), side, textcoords="offset points", size=7.5)
        text.set(color=style.ON_IMAGE, path_effects=halo, ha="center", va="center", zorder=4.5, clip_on=True)


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
