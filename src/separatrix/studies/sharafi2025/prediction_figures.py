"""Pictures of areas and gains over cells and steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from separatrix.figures import style, svg
from separatrix.studies.sharafi2025.cells import EXPONENTS
from separatrix.studies.sharafi2025.covariant_angles import KINDS
from separatrix.studies.sharafi2025.history_figures import legible
from separatrix.studies.sharafi2025.score_tables import BASES
from separatrix.studies.sharafi2025.scores import Scores
from separatrix.studies.study import Figure

ANGLES = dict(zip(KINDS, ("first and last", "last and rest", "smallest", "ln volume"), strict=True))
WORDS = {**BASES, **EXPONENTS, **ANGLES}


def against_time(found: Scores, among: Sequence[str], latest: int, name: str = "sharafi-time") -> Figure:
    """Median area over the smooth cells of the grid against t."""
    counted = np.array([cell.counts for cell in found.cells])
    times = np.array(found.times)
    places = range(len(times))
    curves = {"chosen indicator": np.stack([found.of_chosen("auc", p, among) for p in places], 1)}
    curves |= {text: np.stack([found.of("auc", p, base) for p in places], 1) for base, text in BASES.items()}
    curves["all baselines"] = found.together

    def paint(ax: Any) -> None:
        ax.axhline(0.5, color=style.QUIET, lw=0.7, ls=(0, (4, 3)))
        for (text, values), color in zip(curves.items(), style.line_colors(len(curves)), strict=True):
            mine = values[counted]
            if not np.isfinite(mine).any():
                continue
            first = text == "chosen indicator"
            ax.plot(times, np.nanmedian(mine, 0), "o-", ms=3, color=style.INK if text == "all baselines" else color,
                    lw=2.0 if first else 1.1, label=text)  # fmt: skip
            if first:
                ax.fill_between(times, *np.nanquantile(mine, (0.25, 0.75), axis=0), color=color, alpha=0.18, lw=0)
        ax.set(xscale="log", xlabel="t", ylabel="area on held-out runs, median of cells", ylim=(0.35, 1.02))
        ax.set_xticks(times, [str(t) for t in times])
        ax.minorticks_off()
        style.frame(ax, open_corner=True)
        ax.legend(frameon=False, fontsize=7.5, labelcolor=style.INK, ncols=2, loc="best")

    return Figure(
        "Areas against the step of the prediction",
        svg.draw(paint, size=(5.2, 3.9), alt="Median areas against t", name=name),
        f"Medians over {int(counted.sum())} smooth cells of the grid; the band holds the middle half of the chosen "
        "indicator's. It is chosen for each cell and step on exploring runs.",
    )


def heat(found: Scores, among: Sequence[str], name: str = "sharafi-heat") -> Figure:
    """Area of every indicator in every cell, a panel for the first, a middle and the last step."""
    columns = [n for n in (*BASES, *among) if n in found.names]
    places = sorted({min(1, len(found.times) - 1), len(found.times) // 2, len(found.times) - 1})
    cells = list(found.cells)

    def paint(figure: Any) -> None:
        panels = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
        mesh = None
        for ax, place in zip(panels, places, strict=True):
            values = np.stack([found.of("auc", place, n) for n in columns], 1) - 0.5
            mesh = ax.pcolormesh(np.ma.masked_invalid(values), cmap=style.signed_map(), vmin=-0.5, vmax=0.5)
            ax.axvline(sum(n in BASES for n in columns), color=style.ON_IMAGE, lw=1.2)
            ax.set_xticks(np.arange(len(columns)) + 0.5, [WORDS.get(n, n) for n in columns], rotation=90)
            ax.set_title(f"t = {found.times[place]}")
            style.frame(ax)
            ax.tick_params(length=0, labelsize=6.5)
        panels[0].set_yticks(np.arange(len(cells)) + 0.5, [cell.name for cell in cells])
        panels[0].invert_yaxis()
        bar = figure.colorbar(mesh, ax=panels, shrink=max(0.4, 1 - len(cells) / 50), ticks=(-0.5, -0.25, 0, 0.25, 0.5))
        bar.ax.set_yticklabels(["0", "0.25", "0.5", "0.75", "1"])
        legible(bar, "area on held-out runs")

    return Figure(
        "Areas, cell by cell",
        svg.draw_panels(paint, size=(9.6, max(2.8, 1.6 + 0.17 * len(cells))), alt="Areas of all indicators, all cells",
                        name=name),
        "Left of the line baselines, right of it exponents or angles. Each direction was chosen on exploring runs: "
        "below 1/2 it did not hold.",
        "full",
    )  # fmt: skip


def gains(alone: Scores, whole: Scores, among: Sequence[str], name: str = "sharafi-gains") -> Figure:
    """What the chosen exponent adds to the loss, and to all baselines, cell by cell against t."""
    cells = list(whole.cells)
    parts = {"over the loss": alone, "over all baselines": whole}

    def paint(figure: Any) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        mesh = None
        for ax, (text, one) in zip(panels, parts.items(), strict=True):
            values = np.stack([one.of_chosen("gain", p, among) for p in range(len(one.times))], 1)
            mesh = ax.pcolormesh(np.ma.masked_invalid(values), cmap=style.signed_map(), vmin=-0.2, vmax=0.2)
            marks = one.found("gain_z", among).any(2)
            for i, p in zip(*np.nonzero(marks), strict=True):
                ax.text(p + 0.5, i + 0.5, "*", ha="center", va="center", size=7, color=style.ON_IMAGE)
            ax.set_xticks(np.arange(len(one.times)) + 0.5, [str(t) for t in one.times])
            ax.set(title=text, xlabel="t")
            style.frame(ax)
            ax.tick_params(length=0, labelsize=6.5)
        panels[0].set_yticks(np.arange(len(cells)) + 0.5, [cell.name for cell in cells])
        panels[0].invert_yaxis()
        bar = figure.colorbar(mesh, ax=panels, shrink=max(0.4, 1 - len(cells) / 50), extend="both")
        legible(bar, "gain in area")

    return Figure(
        "What exponents add",
        svg.draw_panels(paint, size=(8.2, max(2.6, 1.2 + 0.17 * len(cells))), alt="Gains cell by cell", name=name),
        "Area of a logistic model with the chosen exponent less that of the model without it, on held-out runs; a star "
        "where any exponent's gain is above 0 after Holm's correction.",
        "full",
    )
