"""Coefficients over k and configuration, as a table of colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style
from separatrix.figures.ricci_curves import pick
from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ricci_map(
    values: Any,
    ax: Axes | None = None,
    *,
    ks: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    convention: str | None = None,
    best: bool = True,
    colorbar: bool = True,
) -> Axes:
    """Draw coefficients as colours, a row for each configuration and a column for each k.

    Blue is negative, brown positive, on one scale from -1 to 1; hatched cells have no coefficient.

    Parameters
    ----------
    values : xarray.Dataset or array (configurations, ks)
        Result of :func:`separatrix.ricci`, whose members are the rows, or coefficients of one's own.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.
    ks : sequence of int
        Numbers of neighbours, for an array.
    names : sequence of str, optional
        Of the rows; by default their numbers.
    convention : str, optional
        Of a Dataset: by default its first.
    best : bool
        Frame the most negative coefficient of each row.
    colorbar : bool
        Draw the scale.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        If the numbers of rows, names, columns and ks do not fit, or a coefficient is beyond -1 and 1.
    """
    if hasattr(values, "data_vars"):
        one = pick(values, convention)
        table, columns = one["rho"].values, [int(v) for v in one["k"].values]
    else:
        table, columns = np.asarray(values, dtype=float), list(ks if ks is not None else [])
    if table.ndim != 2 or table.shape[1] != len(columns) or 0 in table.shape:
        raise ArgumentError("ks", f"{len(columns)} for coefficients of shape {table.shape}", "give one for each column")
    rows = [str(i) for i in range(len(table))] if names is None else list(names)
    if len(rows) != len(table):
        raise ArgumentError("names", f"{len(rows)} for {len(table)} rows", "give one for each row")
    if np.nanmax(np.abs(table), initial=0.0) > 1 + 1e-9:
        raise ArgumentError("values", f"{np.nanmax(np.abs(table)):.3g}", "coefficients lie between -1 and 1")
    ax = style.axes(ax, (1.6 + 0.38 * len(columns), 0.9 + 0.26 * len(rows)))
    style.frame(ax)
    ax.set_facecolor("white")
    ax.patch.set(hatch="//////", edgecolor=style.GROUND)
    image = ax.imshow(
        np.ma.masked_invalid(table),
        cmap=style.signed_map(),
        vmin=-1,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    if best:
        for row, line in enumerate(table):
            if not np.isnan(line).all():
                ax.add_patch(_frame(int(np.nanargmin(line)), row))
    turned = sum(len(str(k)) + 1 for k in columns) > 4.2 * len(columns)
    ax.set_xticks(range(len(columns)), [str(k) for k in columns], rotation=90 if turned else 0)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.set_xlabel("nearest neighbours k")
    if colorbar:
        from matplotlib.figure import Figure

        assert isinstance(ax.figure, Figure)
        bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.02)
        bar.outline.set(linewidth=0.6, edgecolor=style.QUIET)
        bar.ax.tick_params(width=0.6, length=3, color=style.QUIET, labelcolor=style.INK, labelsize=8)
        bar.set_label("Ricci coefficient ρ", size=8.5, color=style.INK)
    return ax


def _frame(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=style.INK, linewidth=1.3)
