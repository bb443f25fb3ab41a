"""How the exponents of many points are spread, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import reading, style
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

OVERLAP = 1.25
"""Height of a histogram in rows."""


def distribution(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    index: int = 1,
    what: str = "exponent",
    member: int = 0,
    bins: int = 60,
) -> Axes:
    """Draw histograms over the points of a result, one row a layer, from the first to the last.

    Parameters
    ----------
    ds : xarray.Dataset
        Result of ``sx.ftle``, at points or on a grid or plane.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    layers : str or sequence of str, optional
        Labels; by default all layers of the result.
    index : int
        Which singular value, 1 for the largest.
    what : {"exponent", "stretch"}
        The quantity.
    member : int
        Position of the network in an ensemble.
    bins : int
        Bins, the same for all layers.

    Returns
    -------
    matplotlib.axes.Axes
        Every histogram is drawn to the same height; the thick mark is its median. Values whose status
        forbids the number are left out, and a note counts them.

    Raises
    ------
    ArgumentError
        If the result lacks what is asked for.
    """
    if what not in ("exponent", "stretch"):
        raise ArgumentError("what", repr(what), "choose from exponent, stretch")
    reading.check_result(ds, what, "status")
    places = reading.pick_layers(ds, layers)
    one = reading.pick_index(reading.pick_member(ds, member), index).isel(layer=places)
    values = np.array(one[what].values, dtype=float).reshape(len(places), -1)
    hidden = np.zeros(one["status"].shape, dtype=bool)
    for mask in reading.forbidden(one).values():
        hidden |= mask
    shown = np.isfinite(values) & ~hidden.reshape(len(places), -1)

    labels = [str(v) for v in ds["layer"].values]
    names = [reading.short(labels[i], labels) for i in places]
    ax = style.axes(ax, (5.2, 0.9 + 0.36 * max(5, len(places))))
    style.frame(ax, open_corner=True)
    ax.spines["left"].set_visible(False)
    edges = np.linspace(*_range(values[shown]), bins + 1)
    base = -np.arange(len(places), dtype=float)
    for row, keep, foot, color in zip(values, shown, base, style.ordered_colors(len(places)), strict=True):
        ax.axhline(foot, color=style.GROUND, linewidth=0.6, zorder=0)
        if keep.any():
            heights = np.histogram(row[keep], edges)[0] / keep.sum()
            outline = foot + OVERLAP * heights / heights.max()
            ax.stairs(outline, edges, baseline=foot, fill=True, color=color, alpha=0.22, linewidth=0)
            ax.stairs(outline, edges, baseline=foot, edgecolor=color, linewidth=1.1)
            ax.plot(2 * [np.median(row[keep])], [foot, foot + 0.3], color=color, linewidth=2)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(base[-1] - 0.1, OVERLAP + 0.1))
    ax.set_yticks(base, names)
    ax.tick_params(axis="y", length=0)
    ax.axvline(0, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    left_out = int((~shown).sum())
    if left_out:
        ax.set_title(
            f"{left_out:,} of {shown.size:,} values left out by their status", loc="right", size=7.5, color=style.QUIET
        )
    ax.set_xlabel(reading.quantity_label(what, index, reading.units(ds, what)))
    return ax


def _range(values: np.ndarray) -> tuple[float, float]:
    """Range of the bins."""
    if not values.size:
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)
