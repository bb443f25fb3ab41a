"""Curvature against expansion, layer by layer: the pairs that a Ricci coefficient correlates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import reading, style
from separatrix.figures.name_places import name_marks
from separatrix.figures.ricci_curves import pick
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_NAMED = 14
"""Layers up to which all are named beside their marks, where there is room; of more, the ends and the extremes."""
_SIZE = 5.8
"""Diameter of a mark, in points."""


def curvature_expansion(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    k: int | None = None,
    convention: str | None = None,
    member: int = 0,
) -> Axes:
    """Draw a mark for each layer: its total curvature, and the expansion from it to the next layer.

    A line leads from layer to layer, light to dark. Names that would cover others are left out: those of the first
    layer, the last one and the extremes come first. Under a Ricci flow the marks fall from left to right.

    Parameters
    ----------
    ds : xarray.Dataset
        Result of :func:`separatrix.ricci`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    k : int, optional
        Of those in the result; by default the one with the most negative coefficient.
    convention : str, optional
        By default the first of the result.
    member : int
        Position of the network in an ensemble.

    Returns
    -------
    matplotlib.axes.Axes
        The last layer has no mark: nothing follows it.

    Raises
    ------
    ArgumentError
        If the result lacks what is asked for.
    """
    one = reading.pick_member(pick(ds, convention), member)
    there = [int(v) for v in one["k"].values]
    if k is not None and k not in there:
        raise ArgumentError("k", str(k), f"the result holds {', '.join(map(str, there))}")
    rho = one["rho"].values
    place = there.index(k) if k is not None else int(np.where(np.isnan(rho), np.inf, rho).argmin())
    one = one.isel(k=place)
    labels = [str(v) for v in one["layer"].values]
    x, y = one["curvature"].values[:-1].astype(float), one["expansion"].values[:-1]
    ax = style.axes(ax, (4.6, 3.6))
    style.frame(ax, open_corner=True)
    ax.axhline(0, color=style.QUIET, linewidth=0.7, zorder=0)
    ax.plot(x, y, color=style.GROUND, linewidth=1.0, zorder=1)
    ax.scatter(x, y, c=style.ordered_colors(len(x)), s=_SIZE**2, zorder=2, linewidths=0.6, edgecolors=style.INK)
    ax.ticklabel_format(style="sci", scilimits=(-3, 4), useMathText=True)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_offset_text().set(size=8, color=style.INK)
    ax.margins(0.12)
    ax.set_xlabel("total curvature of the layer")
    ax.set_ylabel("expansion to the next layer")
    ax.set_title(
        f"k = {int(one['k'])}, ρ = {float(one['rho']):.2f}".replace("-", "−"), loc="left", size=9.5, color=style.INK
    )
    names = [reading.short(name, labels) for name in labels]
    name_marks(ax, x, y, names, _named(x, y), size=_SIZE)
    return ax


def _named(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Layers to be named, those first whose names matter most: the first, the last, the extremes, then all of a few."""
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(there):
        return []
    ends = [there[0], there[-1], *(there[f(v[there])] for v in (y, x) for f in (np.argmax, np.argmin))]
    return [int(i) for i in dict.fromkeys([*ends, *(there if len(x) <= _NAMED else ())])]
