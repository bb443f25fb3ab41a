"""Pictures of single networks: curvature against expansion layer by layer, and shares of negative coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style, svg
from separatrix.geometry.coefficients import expansion
from separatrix.studies.baptista2024.claims import EXAMPLES
from separatrix.studies.study import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from separatrix.studies.baptista2024.cells import Cell, Cells


def examples(found: Cells, chosen: dict) -> Figure:
    """The cells of Fig. 4: the network whose coefficient is the median one, layer by layer."""
    keys = [key for group in EXAMPLES.values() for key in group]
    there = {cell.key: cell for cell in found}
    cells = [there[key] for key in keys if key in there and key in chosen and _median(there[key], chosen[key]) >= 0]

    def paint(figure: Any) -> None:
        panels = figure.subplots(2, 4).ravel()
        for ax, cell in zip(panels, cells, strict=False):
            _layers(ax, cell, chosen[cell.key])
        for ax in panels[len(cells) :]:
            ax.set_axis_off()
        figure.supxlabel("total curvature Ric, 10⁶", fontsize=9)
        figure.supylabel("expansion η to the next layer, 10⁶", fontsize=9)

    return Figure(
        "Curvature and expansion, layer by layer",
        svg.draw_panels(paint, size=(9.2, 4.8), alt="Expansion against curvature by layer", name="baptista-layers"),
        "The network with the median coefficient in each cell of Fig. 4, at the cell's k*; numbers are layers, joined "
        "in their order, in grey the same network before training. The paper's Fig. 4 shows such pictures with its "
        "axis names exchanged.",
        size="full",
    )


def _median(cell: Cell, place: int) -> int:
    """Which of the networks used has the median coefficient; -1 where none has one."""
    rho = cell.rho(place)
    order = np.argsort(np.where(np.isfinite(rho), rho, np.inf))
    count = int(np.isfinite(rho).sum())
    return int(order[(count - 1) // 2]) if count else -1


def _layers(ax: Axes, cell: Cell, place: int) -> None:
    member = _median(cell, place)
    for kind, color in (("_untrained", style.QUIET), ("", style.line_colors(1)[0])):
        g, ric = (v[member] for v in cell.at(place, kind=kind))
        x, y = ric[:-1] / 1e6, expansion(g) / 1e6
        ax.plot(x, y, "-", color=color, lw=0.7, alpha=0.7)
        if kind:
            ax.plot(x, y, ".", color=color, ms=3)
            continue
        for layer, (a, b) in enumerate(zip(x, y, strict=True), 1):
            ax.text(a, b, str(layer), fontsize=7.5, ha="center", va="center", color=style.INK)
    ax.axhline(0, color=style.GROUND, lw=0.6, zorder=0)
    rho = f"{cell.rho(place)[member]:.2f}".replace("-", "−")
    ax.set_title(f"{cell.name}\nk = {cell.ks[place]}: {rho}")
    style.frame(ax, open_corner=True)
    ax.tick_params(labelsize=7)


def shares(found: Cells, inside: dict, outside: dict, raw: dict) -> Figure:
    """Share of negative coefficients in each cell, with both nulls and untrained networks."""
    cells = [cell for cell in found if len(outside[cell.key].rho)]

    def paint(ax: Axes) -> None:
        x = np.arange(len(cells))
        rows = (
            ("at k*", [inside[c.key].percent() if c.key in inside else np.nan for c in cells], "o", 0, True),
            ("at a k from other networks", [outside[c.key].percent() for c in cells], "o", 0, False),
            ("layers permuted", [100 * np.nanmean(outside[c.key].layers) for c in cells], "_", 1, False),
            ("pairs permuted", [100 * np.nanmean(outside[c.key].pairs) for c in cells], "_", 5, False),
            ("untrained, k from other networks", [raw[c.key].percent() for c in cells], "x", 2, False),
        )
        colors = style.line_colors(6)
        for label, values, marker, color, hollow in rows:
            ax.plot(x, values, marker, color=colors[color], mfc="none" if hollow else None, ms=6 if hollow else 4.5,
                    label=label, mew=1.2)  # fmt: skip
        ax.set_xticks(x, [c.name for c in cells], rotation=90, fontsize=7)
        ax.set(ylabel="negative coefficients, %", ylim=(-4, 104))
        ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        style.frame(ax, open_corner=True)
        ax.tick_params(axis="x", labelsize=7)

    return Figure(
        "Negative coefficients, cell by cell",
        svg.draw(paint, size=(9.2, 4.6), alt="Shares of negative coefficients by cell", name="baptista-negative"),
        "Share of a cell's networks with a negative coefficient, and what is found without a flow: the same layers in "
        "random order, curvatures and expansions paired at random, and the networks before training.",
        size="full",
    )
