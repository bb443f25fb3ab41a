"""Ricci coefficients against the number of neighbours, beside what they are without a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

LEVEL = 0.05
"""Value of p up to which a mark is filled."""
_TICKS = 9


def ricci_curve(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    convention: str | None = None,
    member: int | None = None,
    legend: bool = True,
) -> Axes:
    """Draw the coefficient against k, with its nulls, untrained twins and subsets as far as the result has them.

    The line is the coefficient; a mark is filled where at most 5 % of the random orders of the layers are as negative.
    Grey band: lowest to highest untrained twin. Pale band: subsets of the points. Dashed: what regression to the mean
    makes of corr(g, Ric) without any flow. Dotted: mean over random orders of the layers.

    Parameters
    ----------
    ds : xarray.Dataset
        Result of :func:`separatrix.ricci`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    convention : str, optional
        Of those in the result; by default its first.
    member : int, optional
        Position of the network in an ensemble; by default all are thin lines, and the pooled coefficient a thick one.
    legend : bool
        Name the lines.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        If the result lacks what is asked for.
    """
    one = pick(ds, convention)
    members = one.sizes["member"]
    if member is not None and not 0 <= member < members:
        raise ArgumentError("member", str(member), f"the result has {members}, counted from 0")
    ax = style.axes(ax, (5.0, 4.0))
    style.frame(ax, open_corner=True)
    ks = one["k"].values
    ax.axhline(0, color=style.QUIET, linewidth=0.7, zorder=0)
    together = member is None and members > 1
    alone = one if together else one.isel(member=[member or 0])
    _bands(ax, ks, alone)
    color, bias = style.line_colors(2)
    rho = alone["rho"].values
    if together:
        ax.plot(ks, rho.T, color=color, linewidth=0.6, alpha=min(1.0, 3 / np.sqrt(members) / 2))
        ax.plot(ks, one["pooled"].values, color=color, linewidth=2.2, marker="o", markersize=4, label="pooled")
        ax.plot(ks, one["pooled_centred"].values, color=style.INK, linewidth=1.2, label="pooled, centred")
    else:
        ax.plot(ks, rho[0], color=color, linewidth=1.8, label="coefficient")
        p = alone["p_layers"].values[0] if "p_layers" in alone else np.full(len(ks), np.nan)
        for mask, face in ((p <= LEVEL, color), (~(p <= LEVEL), "white")):
            ax.plot(ks[mask], rho[0][mask], "o", color=color, mfc=face, mew=1.2, markersize=4.5)
    ax.plot(ks, _mean(alone, "bias"), color=bias, linewidth=1.3, linestyle=(0, (4, 2)), label="without a flow: −c/√2")
    if "null_layers" in alone:
        null = _mean(alone, "null_layers")
        ax.plot(ks, null, color=bias, linewidth=1.3, linestyle=(0, (1, 1.5)), label="layers in random order")
    neighbour_axis(ax, ks)
    ax.set_ylim(-1.05, 1.05)
    ax.set_ylabel("Ricci coefficient ρ")
    if legend:
        ax.legend(
            frameon=False,
            fontsize=7.5,
            labelcolor=style.INK,
            handlelength=1.8,
            ncols=2,
            columnspacing=1.2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
        )
    return ax


def pick(ds: Any, convention: str | None) -> xr.Dataset:
    """One convention of a result of :func:`separatrix.ricci`."""
    if "rho" not in getattr(ds, "data_vars", ()) or "convention" not in ds["rho"].dims:
        raise ArgumentError("ds", type(ds).__name__, "give a Dataset that sx.ricci returned")
    there = [str(v) for v in ds["convention"].values]
    if convention is not None and convention not in there:
        raise ArgumentError("convention", repr(convention), f"the result holds {', '.join(there)}")
    chosen: xr.Dataset = ds.isel(convention=there.index(convention) if convention else 0)
    return chosen


def neighbour_axis(ax: Axes, ks: np.ndarray) -> None:
    """Logarithmic axis of k with ticks at the numbers that were computed, as far as there is room."""
    if len(ks) > 1:
        ax.set_xscale("log")
        logs = np.log(ks)
        ax.set_xlim(np.exp(logs[0] - 0.03 * np.ptp(logs)), np.exp(logs[-1] + 0.03 * np.ptp(logs)))
        least, shown = np.ptp(logs) / _TICKS / 1.6, [int(ks[-1])]
        for k in ks[-2::-1]:
            if np.log(shown[-1]) - np.log(k) >= least:
                shown.append(int(k))
        shown[-1] = int(ks[0])
        ax.set_xticks(shown, [str(k) for k in shown])
        ax.minorticks_off()
    else:
        ax.set_xticks(ks, [str(k) for k in ks])
    ax.set_xlabel("nearest neighbours k")


def _bands(ax: Axes, ks: np.ndarray, one: xr.Dataset) -> None:
    for name, color, alpha, words in (
        ("subsample", style.line_colors(1)[0], 0.15, "subsets of points"),
        ("untrained", style.QUIET, 0.28, "untrained twins"),
    ):
        if name not in one:
            continue
        low, high = one[f"{name}_lowest"].min("member").values, one[f"{name}_highest"].max("member").values
        ax.fill_between(ks, low, high, color=color, alpha=alpha, linewidth=0, label=words)
        if name == "untrained":
            ax.plot(ks, _mean(one, name), color=style.QUIET, linewidth=1.0)


def _mean(one: xr.Dataset, name: str) -> np.ndarray:
    """Mean over the members that have a number."""
    return np.asarray(one[name].mean("member", skipna=True).values)
