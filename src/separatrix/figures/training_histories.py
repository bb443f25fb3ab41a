"""Training under way: the loss, and the exponents of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import reading, style
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

WIDE = 5.0
"""Ratio of the largest loss to the smallest from which the axis is logarithmic."""
HUGE = 1e100
"""Losses of runs that diverge are drawn up to here: beyond it an axis has no ticks."""
MIDDLE = 0.9
"""Share of the sliding windows that the axis of the exponents is sure to show: single ones may lie far outside."""


def loss_history(ds: xr.Dataset, ax: Axes | None = None, *, member: int = 0) -> Axes:
    """Draw the loss of each step's batch against the step.

    Parameters
    ----------
    ds : xarray.Dataset
        With ``loss`` (member, time).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    member : int
        Position of the run.

    Returns
    -------
    matplotlib.axes.Axes
        The axis is logarithmic where the losses are positive and the largest is five times the smallest.

    Raises
    ------
    ArgumentError
        If there is no such variable or member.
    """
    one = _pick(ds, "loss", member)
    values = np.array(one["loss"].values, dtype=float)
    ax = style.axes(ax, (4.8, 3.2))
    style.frame(ax, open_corner=True)
    values[~(np.abs(values) < HUGE)] = np.nan
    ax.plot(one["time"].values, values, color=style.line_colors(1)[0], linewidth=1.3)
    there = values[np.isfinite(values)]
    if there.size and there.min() > 0 and there.max() > WIDE * there.min():
        ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    return ax


def exponent_histories(ds: xr.Dataset, ax: Axes | None = None, *, member: int = 0) -> Axes:
    """Draw finite-time exponents of the steps up to t against t, one line an index.

    Parameters
    ----------
    ds : xarray.Dataset
        Result of :func:`separatrix.lyapunov`. Where it has ``window_exponent``, the largest one of the sliding windows
        is a thin line behind.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    member : int
        Position of the orbit.

    Returns
    -------
    matplotlib.axes.Axes
        Lines stop where an orbit ended.

    Raises
    ------
    ArgumentError
        If the result has no history, or no such member.
    """
    one = _pick(ds, "history", member)
    history = np.asarray(one["history"].values, dtype=float)
    time = one["time"].values
    ax = style.axes(ax, (4.8, 3.2))
    style.frame(ax, open_corner=True)
    ax.axhline(0, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    colors = style.line_colors(history.shape[1])
    shown = [history]
    if "window_exponent" in one:
        sliding = np.asarray(one["window_exponent"].isel(index=0).values, dtype=float)
        count = int(one["window_exponent"].attrs["window"])
        words = "windows of λ₁" if count > 1 else "single steps of λ₁"
        ax.plot(time, _drawn(sliding), color=style.QUIET, linewidth=0.8, alpha=0.8, label=words, zorder=1)
        shown.append(_middle(sliding))
    for i, color in reversed(list(enumerate(colors))):
        index = str(int(one["index"].values[i])).translate(reading.SUBSCRIPTS)
        ax.plot(time, _drawn(history[:, i]), color=color, linewidth=1.5, label=f"λ{index}", zorder=3)
    _limits(ax, shown)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.4)
    ax.set_xlabel("step")
    ax.set_ylabel(f"exponent  ({reading.units(ds, 'history') or '1/step'})")
    return ax


def _pick(ds: Any, name: str, member: int) -> xr.Dataset:
    if name not in getattr(ds, "data_vars", ()) or "time" not in ds[name].dims:
        raise ArgumentError("ds", type(ds).__name__, f"give a Dataset with {name} (member, time)")
    return reading.pick_member(ds, member)


def _drawn(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _middle(values: np.ndarray) -> np.ndarray:
    there = values[np.isfinite(values)]
    return np.quantile(there, [0.5 - MIDDLE / 2, 0.5 + MIDDLE / 2]) if there.size else there


def _limits(ax: Axes, shown: list[np.ndarray]) -> None:
    values = np.concatenate([part.ravel() for part in shown] + [np.zeros(1)])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low)
    if room > 0:
        ax.set_ylim(low - room, high + room)
