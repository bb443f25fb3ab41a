"""Pictures of single cells: exponents against step, and final losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style, svg
from separatrix.studies.study import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from separatrix.studies.sharafi2025.cells import Cell, Cells

LINES = 60
"""Runs that are drawn."""


def histories(cell: Cell) -> Figure:
    """Largest, smallest exponent and their sum against t, coloured by final loss."""
    times = [int(t) for t in cell.data["time"] if t > 0]
    fine = np.flatnonzero(np.isfinite(cell.final))
    rank = np.argsort(np.argsort(cell.final[fine])) / max(len(fine) - 1, 1)
    shown = np.linspace(0, len(fine) - 1, min(LINES, len(fine))).astype(int)
    values = np.stack([cell.exponents(t)[fine][shown] for t in times], 1)
    curves = {"λ₁": values[..., 0], "λ_min": values[..., -1], "Σλ": values.sum(-1)}

    def paint(figure: Any) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        panels = figure.subplots(1, 3)
        paints = style.unsigned_map()
        for ax, (name, lines) in zip(panels, curves.items(), strict=True):
            for line, r in zip(lines, rank[shown], strict=True):
                ax.plot(times, line, color=paints(0.25 + 0.75 * r), lw=0.7, alpha=0.8)
            ax.set(title=name, xlabel="t")
            style.frame(ax, open_corner=True)
        panels[0].set_ylabel("exponent per step, from 0 to t")
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), paints), ax=panels, shrink=0.85)
        legible(bar, "rank of the final loss")

    return Figure(
        f"Exponents of single runs: {cell.name}",
        svg.draw_panels(paint, size=(9.2, 3.0), alt="Exponents against step, coloured by final loss",
                        name="sharafi-histories"),
        f"{len(shown)} runs of {len(cell.final):,}, evenly by number. If early exponents foretold the final loss, dark "
        "and light lines would part.",
        "full",
    )  # fmt: skip


def legible(bar: Any, label: str) -> None:
    """Give a colour bar its label, and colours that the page can exchange in the dark."""
    bar.outline.set(linewidth=0.6, edgecolor=style.QUIET)
    bar.ax.tick_params(width=0.6, length=3, color=style.QUIET, labelcolor=style.INK, labelsize=8)
    bar.set_label(label, size=9, color=style.INK)


def losses(found: Cells) -> Figure:
    """Histogram of the final loss of each cell."""
    count = len(found)
    columns = min(6, count)
    lines = -(-count // columns)

    def paint(figure: Any) -> None:
        panels = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
        for ax, cell in zip(panels, found, strict=False):
            _histogram(ax, cell)
        for ax in panels[count:]:
            ax.set_axis_off()
        figure.supxlabel("log₁₀ of the final loss", fontsize=9, color=style.INK)

    return Figure(
        "Final losses",
        svg.draw_panels(paint, size=(9.6, 1.25 * lines + 0.5), alt="Histograms of final losses", name="sharafi-losses"),
        "Each cell's runs by the decimal logarithm of the final loss; the line is the median, the label of which "
        "predictions speak. Where there are several peaks, runs end in different minima; a broad single one is "
        "training that is still under way.",
        "full",
    )


def _histogram(ax: Axes, cell: Cell) -> None:
    values = np.log10(cell.final[np.isfinite(cell.final) & (cell.final > 0)])
    if len(values):
        ax.hist(values, bins=40, color=style.line_colors(1)[0], lw=0)
        ax.axvline(float(np.median(values)), color=style.QUIET, lw=0.8)
    ax.set_title(cell.name)
    ax.locator_params(axis="x", nbins=3)
    ax.set_yticks([])
    style.frame(ax, open_corner=True)
    ax.title.set(size=6.5)
    ax.tick_params(labelsize=6.5)
