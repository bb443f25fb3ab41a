"""How exponents build up from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import reading, style
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

MOST = 6
"""Indices that are drawn when none are named."""


def exponents_by_layer(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    indices: Sequence[int] | None = None,
    what: str = "exponent",
    member: int = 0,
    band: tuple[float, float] = (0.1, 0.9),
) -> Axes:
    """Draw the median over the points against the layer, one line an index, with a band between two quantiles.

    Parameters
    ----------
    ds : xarray.Dataset
        Result of ``sx.ftle`` at several layers, at points or on a grid or plane.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    layers : str or sequence of str, optional
        Labels; by default all layers of the result. Layers that are no cut have hollow marks.
    indices : sequence of int, optional
        Which singular values, 1 for the largest; by default the first six.
    what : {"exponent", "stretch"}
        The quantity.
    member : int
        Position of the network in an ensemble.
    band : (float, float)
        Lower and upper quantile of the band.

    Returns
    -------
    matplotlib.axes.Axes
        Values that are exactly zero or below precision count as minus infinity; a line stops where its median does
        not exist.

    Raises
    ------
    ArgumentError
        If the result lacks what is asked for, or ``band`` is no pair of quantiles.
    """
    if what not in ("exponent", "stretch"):
        raise ArgumentError("what", repr(what), "choose from exponent, stretch")
    if not 0 <= band[0] < band[1] <= 1:
        raise ArgumentError("band", repr(band), "give two quantiles between 0 and 1, the lower first")
    reading.check_result(ds, what, "status")
    places = reading.pick_layers(ds, layers)
    one = reading.pick_member(ds, member).isel(layer=places)
    labels = [str(v) for v in one["layer"].values]
    names = [reading.short(v, labels) for v in labels]
    cuts = np.asarray(one["cut"].values, dtype=bool) if "cut" in one.coords else np.ones(len(names), dtype=bool)
    chosen = list(indices) if indices is not None else [int(v) for v in one["index"].values[:MOST]]

    ax = style.axes(ax, (5.2, 3.4))
    style.frame(ax, open_corner=True)
    ax.axhline(0, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    at = np.arange(len(names))
    for index, color in zip(chosen, style.line_colors(len(chosen)), strict=True):
        low, middle, high = quantiles(reading.pick_index(one, index), what, (band[0], 0.5, band[1]))
        ax.fill_between(at, low, high, color=color, alpha=0.16, linewidth=0)
        ax.plot(at, middle, color=color, linewidth=1.5, label=str(index).translate(reading.SUBSCRIPTS))
        for mask, face in ((cuts, color), (~cuts, "white")):
            ax.plot(at[mask], middle[mask], "o", color=color, mfc=face, mew=1.2, markersize=4)
    if len(chosen) > 1:
        symbol = "λ" if what == "exponent" else "ln σ"
        handles, texts = ax.get_legend_handles_labels()
        ax.legend(
            handles,
            [symbol + text for text in texts],
            frameon=False,
            fontsize=8,
            labelcolor=style.INK,
            handlelength=1.2,
        )
    long = sum(map(len, names)) > 45
    ax.set_xticks(at, names, rotation=40 if long else 0, ha="right" if long else "center", rotation_mode="anchor")
    ax.set_ylabel(reading.quantity_label(what, None, reading.units(ds, what)))
    return ax


def quantiles(one: xr.Dataset, what: str, levels: Sequence[float]) -> np.ndarray:
    """Quantiles over the points of each layer, shape (levels, layer), NaN where they are not finite numbers.

    The quantiles are values of the sample (no interpolation), so that they exist beside infinite values.
    """
    values = np.array(one[what].values, dtype=float)
    masks = reading.forbidden(one)
    for name, mask in masks.items():
        values[mask] = -np.inf if name in ("singular", "below_precision") else np.nan
    result = np.full((len(levels), len(values)), np.nan)
    for i, row in enumerate(values):
        row = row[~np.isnan(row)]
        if row.size:
            result[:, i] = np.quantile(row, levels, method="inverted_cdf")
    result[~np.isfinite(result)] = np.nan
    return result
