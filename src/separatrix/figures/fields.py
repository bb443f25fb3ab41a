"""Fields over a grid or plane: colour for the number, segments for the direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import overlays, reading, style
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

QUANTITIES = ("stretch", "exponent", "gap")


def field(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    layer: str | None = None,
    index: int = 1,
    what: str = "stretch",
    member: int = 0,
    limits: float | tuple[float, float] | None = None,
    directions: bool = False,
    marks: Sequence[Sequence[Any]] | None = None,
    ridges: xr.Dataset | None = None,
    boundary: xr.Dataset | None = None,
    colorbar: bool = True,
) -> Axes:
    """Draw a field over a grid or plane.

    Stretch and exponent are signed: their colours part at 0, blue where perturbations shrink and red where they grow.
    Nodes whose status forbids the number (no such singular value, below precision, not finite, not converged) are left
    out and show the hatched ground; a note says how many and why.

    Parameters
    ----------
    ds : xarray.Dataset
        Result of ``sx.ftle`` on ``sx.grid`` or ``sx.plane``, fresh or read from a file.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    layer : str, optional
        Label of the layer; by default the last one of the result.
    index : int
        Which singular value, 1 for the largest. Not used by ``"gap"``.
    what : {"stretch", "exponent", "gap"}
        The quantity: ln sigma in nats, the same over the number of layers, or ln sigma_1 - ln sigma_2 in nats.
    member : int
        Position of the network in an ensemble.
    limits : float or (float, float), optional
        Range of the colours; one number stands for (-limits, limits). By default all but the outermost half percent
        on either side, and 0.
    directions : bool
        Draw headless segments along the leading right singular vector, about 9 to a side, where it is defined.
    marks : sequence of (x, y) or (x, y, text), optional
        Places to mark.
    ridges, boundary : xarray.Dataset, optional
        Lines to draw over the field, in the same plane: results of ``sx.ridges`` and ``sx.decision_boundary``. The
        lines of several pairs of classes carry their names.
    colorbar : bool
        Draw the colour bar.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        If the result is no field or lacks the layer, index, member or quantity, or if ``ridges`` or ``boundary`` holds
        no lines or lies in another plane.
    """
    if what not in QUANTITIES:
        raise ArgumentError("what", repr(what), f"choose from {', '.join(QUANTITIES)}")
    reading.check_result(ds, what, "status", *(["direction"] if directions else []))
    if not {"x", "y"} <= set(ds[what].dims):
        raise ArgumentError(
            "ds", "a result at points", "compute a field with sx.grid or sx.plane; see also sx.figures.distribution"
        )
    where = reading.pick_layers(ds, layer)[-1]
    one = reading.pick_member(ds, member).isel(layer=where)
    values, masks = _values(one, what, index)
    x, y = np.asarray(one["x"].values, dtype=float), np.asarray(one["y"].values, dtype=float)
    low, high = color_range(values, limits, signed=what != "gap")

    ax = style.axes(ax)
    style.frame(ax)
    ax.patch.set(facecolor=style.GROUND, edgecolor="white", hatch="////", linewidth=0)
    step_x, step_y = (np.ptp(v) / max(1, len(v) - 1) for v in (x, y))
    image = ax.imshow(
        np.ma.masked_invalid(values).T,
        origin="lower",
        extent=(x[0] - step_x / 2, x[-1] + step_x / 2, y[0] - step_y / 2, y[-1] + step_y / 2),
        cmap=style.unsigned_map() if what == "gap" else style.signed_map(low, high),
        vmin=low,
        vmax=high,
        interpolation="nearest",
        aspect="equal" if 1 / 3 < np.ptp(x) / np.ptp(y) < 3 else "auto",
    )
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.locator_params(nbins=5)
    _names(
        ax,
        ds,
        reading.short(str(one["layer"].values), [str(v) for v in ds["layer"].values]),
        cut=bool(one["cut"].values) if "cut" in one.coords else True,
    )
    if directions:
        overlays.segments(ax, one, x, y)
    overlays.curves(ax, ds, ridges=ridges, boundary=boundary)
    overlays.note(ax, masks, values.size)
    overlays.places(ax, marks or ())
    figure = ax.get_figure(root=True)
    if colorbar and figure is not None:
        # a bar inside a frame of its own keeps the height of the image, but only a layout engine makes room for it
        room = figure.get_layout_engine() is not None
        place = {"cax": ax.inset_axes((1.035, 0.0, 0.04, 1.0))} if room else {"ax": ax, "pad": 0.03, "aspect": 24}
        bar = figure.colorbar(image, extend=_beyond(values, low, high), **place)
        bar.outline.set(linewidth=0.6, edgecolor=style.QUIET)
        bar.ax.tick_params(width=0.6, length=3, color=style.QUIET, labelcolor=style.INK, labelsize=8.5)
        label = reading.quantity_label(what, index, reading.units(ds, what))
        bar.set_label(label, size=9, color=style.INK)
    return ax


def color_range(values: np.ndarray, limits: float | tuple[float, float] | None, *, signed: bool) -> tuple[float, float]:
    """Range of colours that is asked for, or that holds 0 and all but the outermost half percent of the values."""
    if limits is not None:
        low, high = (-abs(limits), abs(limits)) if isinstance(limits, int | float) else limits
        if not low < high:
            raise ArgumentError("limits", repr(limits), "give one positive number, or (low, high) with low < high")
        return float(low), float(high)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    low, high = (float(v) for v in np.quantile(finite, [0.005, 0.995]))
    low, high = min(low, 0.0) if signed else 0.0, max(high, 0.0)
    return (low, high) if high > low else (-1.0, 1.0) if signed else (0.0, 1.0)


def _values(one: xr.Dataset, what: str, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Values over (x, y), NaN where they may not be shown, and where that is for which reason."""
    chosen = reading.pick_index(one, 1 if what == "gap" else index)
    values = np.array(chosen[what].transpose("x", "y").values, dtype=float)
    masks = reading.forbidden(chosen.transpose("x", "y", ...))
    if what == "gap":
        masks["no second value"] = np.isinf(values)
    for mask in masks.values():
        values[mask] = np.nan
    return values, masks


def _names(ax: Axes, ds: xr.Dataset, layer: str, *, cut: bool) -> None:
    plane = ds.attrs.get("inputs") == "plane"
    ax.set(xlabel="a" if plane else "x₁", ylabel="b" if plane else "x₂")
    ax.yaxis.label.set(rotation=0, verticalalignment="center", horizontalalignment="right")
    ax.set_title(layer if cut else f"{layer}  (not a cut)", loc="left", size=9.5, color=style.INK)


def _beyond(values: np.ndarray, low: float, high: float) -> str:
    """Which ends of the colour bar have values beyond them."""
    finite = values[np.isfinite(values)]
    below, above = bool((finite < low).any()), bool((finite > high).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
