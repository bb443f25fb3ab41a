"""Pictures of the aggregated coefficient against k, and of the k that makes it least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style, svg
from separatrix.studies.baptista2024.cells import PAPERS
from separatrix.studies.baptista2024.claims import BEST_K
from separatrix.studies.baptista2024.curves import layer_null_curve
from separatrix.studies.baptista2024.measure import CONVENTIONS
from separatrix.studies.baptista2024.networks import DEPTHS, WIDTHS
from separatrix.studies.baptista2024.problems import PROBLEMS
from separatrix.studies.study import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from separatrix.studies.baptista2024.cells import Cell, Cells

LINES = dict(zip(WIDTHS, ("-", "--", ":"), strict=True))


def curves(found: Cells) -> list[Figure]:
    """The coefficient against k, a panel for each problem: the paper's convention, then the others."""
    return [_curves(found, name) for name in CONVENTIONS]


def _curves(found: Cells, convention: str) -> Figure:
    names = list(dict.fromkeys(cell.problem.name for cell in found))
    first = convention == PAPERS

    def paint(figure: Any) -> None:
        panels = figure.subplots(2, 4, sharey=True).ravel()
        for ax, name in zip(panels, names, strict=False):
            for cell in (cell for cell in found if cell.problem.name == name):
                _one(ax, cell, convention, first)
            ax.axhline(0, color=style.GROUND, lw=0.6, zorder=0)
            ax.set(title=name, xscale="log", ylim=(-1.05, 1.05))
            ax.minorticks_off()
            ticks = [k for k in (6, 10, 30, 100, 200, 500) if k <= max(PROBLEMS[name].ks)]
            ax.set_xticks(ticks, [str(k) for k in ticks])
            style.frame(ax, open_corner=True)
        for ax in panels[len(names) :]:
            ax.set_axis_off()
        _legend(panels[-1], first)
        figure.supxlabel("k", fontsize=9)
        figure.supylabel("aggregated coefficient", fontsize=9)

    nulls = "Grey: before training; green: the layers of each network in a random order. " if first else ""
    return Figure(
        f"Coefficient against k, {convention}",
        svg.draw_panels(
            paint, size=(9.2, 5.0), alt=f"Coefficient against k, {convention}", name=f"baptista-curves-{convention}"
        ),
        f"Networks of a cell pooled, from the least k that connects the inputs. {nulls}Gaps: no network is connected "
        "at every layer.",
        size="full",
    )


def _one(ax: Axes, cell: Cell, convention: str, first: bool) -> None:
    colors = dict(zip(DEPTHS, style.line_colors(2), strict=True))
    line = LINES[cell.widths]
    if first:
        ax.plot(cell.ks, cell.curve(convention, "_untrained"), line, color=style.QUIET, lw=0.7)
        ax.plot(cell.ks, layer_null_curve(cell), line, color=style.RIDGE, lw=0.5)
    ax.plot(cell.ks, cell.curve(convention), line, color=colors[cell.depth], lw=1.4, marker=".", ms=3)


def _legend(ax: Axes, first: bool) -> None:
    from matplotlib.lines import Line2D

    colors = style.line_colors(2)
    handles = [Line2D([], [], color=c, label=f"{d} layers") for d, c in zip(DEPTHS, colors, strict=True)]
    handles += [Line2D([], [], color=style.INK, ls=ls, lw=1, label=name) for name, ls in LINES.items()]
    if first:
        handles += [Line2D([], [], color=style.QUIET, lw=0.8, label="before training"),
                    Line2D([], [], color=style.RIDGE, lw=0.8, label="layers in random order")]  # fmt: skip
    ax.legend(handles=handles, frameon=False, fontsize=8, loc="center")


def best(found: Cells) -> Figure:
    """The best k in per cent of the points, the paper's and here."""
    names = list(dict.fromkeys(cell.problem.name for cell in found))
    columns = [(w, d) for d in DEPTHS for w in WIDTHS]
    here, paper = (np.full((len(names), len(columns)), np.nan) for _ in range(2))
    text = np.full(here.shape, "", dtype=object)
    for cell in found:
        at = names.index(cell.problem.name), columns.index((cell.widths, cell.depth))
        ends = 100 / cell.points
        paper[at] = BEST_K[cell.problem.name][cell.widths, cell.depth] * ends
        if cell.best() >= 0:
            here[at], text[at] = cell.ks[cell.best()] * ends, str(cell.ks[cell.best()])

    def paint(figure: Any) -> None:
        from matplotlib.colors import LogNorm

        panels = figure.subplots(1, 2, sharey=True)
        mesh = None
        for ax, values, title in zip(panels, (paper, here), ("paper (read off Fig. 3)", "here"), strict=True):
            mesh = ax.pcolormesh(values, cmap=style.unsigned_map(), norm=LogNorm(0.5, 30), edgecolor="white", lw=0.6)
            for i, name in enumerate(names):
                for j, column in enumerate(columns):
                    said = text[i, j] if values is here else str(BEST_K[name][column])
                    dark = values[i, j] > 6
                    ax.text(j + 0.5, i + 0.5, said, ha="center", va="center", fontsize=8,
                            color=style.HALO if dark else style.ON_IMAGE)  # fmt: skip
            ax.set_xticks(np.arange(len(columns)) + 0.5, [f"{w}\n{d}" for w, d in columns])
            ax.set_title(title)
            style.frame(ax)
            ax.tick_params(length=0, labelsize=7.5)
        panels[0].set_yticks(np.arange(len(names)) + 0.5, names)
        panels[0].invert_yaxis()
        bar = figure.colorbar(mesh, ax=panels, shrink=0.8)
        bar.set_label("k* in % of the points", size=9)
        bar.ax.tick_params(labelsize=8)

    return Figure(
        "The best k",
        svg.draw_panels(paint, size=(9.2, 3.6), alt="The best k of each cell", name="baptista-best-k"),
        f"The k with the least aggregated coefficient ({PAPERS}); numbers are neighbours, colours their share of the "
        "points.",
        size="full",
    )
