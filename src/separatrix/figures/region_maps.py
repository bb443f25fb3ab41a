"""Linear regions as a map of polygons, coloured by what the network does in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style
from separatrix.figures.fields import color_range
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

NEEDED = ("vertex", "start", "count", "area")
MANY = 4000
"""Above so many regions the map is an image in vector graphics."""


def regions(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    by: str = "norm",
    limits: tuple[float, float] | None = None,
    outlines: bool = True,
    colorbar: bool = True,
) -> Axes:
    """Draw the linear regions of a network.

    Norms and radii are coloured on both sides of 1: blue where the map of a region shrinks, red where it stretches.

    Parameters
    ----------
    ds : xarray.Dataset
        Result of ``sx.regions``, fresh or read from a file.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    by : str
        ``"norm"``, the spectral norm of A; ``"radius"``, its spectral radius; ``"none"``, outlines alone; or a
        variable with one number for each region, such as ``"area"``.
    limits : (float, float), optional
        Range of the colours; by default all but the outermost half percent of the regions on either side.
    outlines : bool
        Draw the borders of the regions.
    colorbar : bool
        Draw the colour bar.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        If ``ds`` is no result of ``sx.regions``, or has no such quantity.
    """
    from matplotlib.collections import PolyCollection

    lacking = [name for name in NEEDED if name not in getattr(ds, "data_vars", ())]
    if lacking:
        raise ArgumentError("ds", f"{type(ds).__name__} without {', '.join(lacking)}", "give what sx.regions returned")
    values = None if by == "none" else quantity(ds, by)
    vertex = np.asarray(ds["vertex"].values, dtype=float)
    start, count = (np.asarray(ds[name].values, dtype=int) for name in ("start", "count"))
    polygons = [vertex[s : s + n] for s, n in zip(start, count, strict=True)]

    ax = style.axes(ax)
    style.frame(ax)
    crowded = len(polygons) > MANY
    width = (0.12 if crowded else 0.4) if outlines else 0.0
    # without outlines of its own a polygon leaves a bright seam to its neighbour
    drawn = PolyCollection(polygons, linewidths=width or 0.2, edgecolors=style.ON_IMAGE if outlines else "face")
    drawn.set_rasterized(crowded)
    if values is None:
        drawn.set_facecolor("none")
    else:
        low, high = _range(values, limits, around_one=by in ("norm", "radius"))
        drawn.set(array=values, clim=(low, high))
        drawn.set_cmap(style.signed_map(low - 1, high - 1) if by in ("norm", "radius") else style.unsigned_map())
    ax.add_collection(drawn)
    lo, hi = vertex.min(0), vertex.max(0)
    plane = ds.attrs.get("inputs") == "plane"
    ax.set(xlim=(lo[0], hi[0]), ylim=(lo[1], hi[1]), xlabel="a" if plane else "x₁", ylabel="b" if plane else "x₂")
    ax.yaxis.label.set(rotation=0, verticalalignment="center", horizontalalignment="right")
    ax.locator_params(nbins=5)
    if 1 / 3 < (hi - lo)[0] / (hi - lo)[1] < 3:
        ax.set_aspect("equal")
    ax.set_title(f"{len(polygons):,} linear regions", loc="left", size=9.5, color=style.INK)
    if colorbar and values is not None:
        _bar(ax, drawn, values, by)
    return ax


def quantity(ds: xr.Dataset, by: str) -> np.ndarray:
    """One number for each region.

    Raises
    ------
    ArgumentError
        If the result has none of that name, or the radius of a map that is not square is asked for.
    """
    if by in ("norm", "radius"):
        A = np.asarray(ds["A"].values if "A" in ds else ds["A_plane"].values.swapaxes(1, 2), dtype=float)
        if by == "norm":
            return np.linalg.norm(A, 2, axis=(1, 2))
        if A.shape[1] != A.shape[2]:
            raise ArgumentError("by", "'radius' of maps that are not square", 'choose "norm"')
        return np.abs(np.linalg.eigvals(A)).max(1)
    there = [str(name) for name, variable in ds.data_vars.items() if variable.dims == ("line",)]
    if by not in there:
        raise ArgumentError("by", repr(by), f"choose from norm, radius, none, {', '.join(there)}")
    return np.asarray(ds[by].values, dtype=float)


def _range(values: np.ndarray, limits: tuple[float, float] | None, *, around_one: bool) -> tuple[float, float]:
    if limits is None and around_one:
        low, high = color_range(values - 1, None, signed=True)
        return low + 1, high + 1
    return color_range(values, limits, signed=False)


def _bar(ax: Axes, drawn: Any, values: np.ndarray, by: str) -> None:
    figure = ax.get_figure(root=True)
    if figure is None:
        return
    low, high = drawn.get_clim()
    beyond = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}
    extend = beyond[int((values < low).any()), int((values > high).any())]
    room = figure.get_layout_engine() is not None
    place: dict[str, Any] = {"cax": ax.inset_axes((1.035, 0.0, 0.04, 1.0))} if room else {"ax": ax, "pad": 0.03}
    bar = figure.colorbar(drawn, extend=extend, **place)
    bar.outline.set(linewidth=0.6, edgecolor=style.QUIET)
    bar.ax.tick_params(width=0.6, length=3, color=style.QUIET, labelcolor=style.INK, labelsize=8.5)
    words = {"norm": "spectral norm  ‖A‖₂", "radius": "spectral radius  ρ(A)"}
    bar.set_label(words.get(by, by), size=9, color=style.INK)
