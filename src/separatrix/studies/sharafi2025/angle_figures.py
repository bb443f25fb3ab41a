"""Pictures of the angles between covariant vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from separatrix.figures import style, svg
from separatrix.studies.sharafi2025.cells import Cells
from separatrix.studies.sharafi2025.covariant_angles import ORDERS
from separatrix.studies.study import Figure

PANELS = 8
WORDS = dict(zip(ORDERS, ("as trained", "one frozen map", "random order"), strict=True))


def densities(found: Cells) -> Figure:
    """Densities of the angles of all pairs, as trained and for both nulls, in some cells."""
    shown = [c for c in found if c.counts][:: max(1, sum(c.counts for c in found) // PANELS)][:PANELS] or list(found)[
        :1
    ]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)

    def paint(figure: Any) -> None:
        panels = figure.subplots(lines, columns, sharex=True, squeeze=False).ravel()
        for ax, cell in zip(panels, shown, strict=False):
            edges = cell.data["angle_edge"]
            for counts, order, color in zip(cell.data["angle_counts"], ORDERS, style.line_colors(3), strict=True):
                total = counts.sum() * (edges[1] - edges[0])
                ax.plot(edges, counts / total if total else counts, color=color, lw=1.4, label=WORDS[order])
            ax.set_title(cell.name)
            ax.set_xticks((0, 30, 60, 90))
            ax.set_ylim(bottom=0, top=np.nanmax(cell.data["angle_counts"][0]) * 2.5
                        / max(cell.data["angle_counts"][0].sum() * (edges[1] - edges[0]), 1))  # fmt: skip
            style.frame(ax, open_corner=True)
            ax.title.set(size=8)
        for ax in panels[len(shown) :]:
            ax.set_axis_off()
        panels[0].legend(frameon=False, fontsize=7, labelcolor=style.INK)
        figure.supxlabel("angle of a pair of covariant vectors, degrees", fontsize=9, color=style.INK)
        figure.supylabel("density", fontsize=9, color=style.INK)

    return Figure(
        "Angles of covariant vectors",
        svg.draw_panels(paint, size=(9.4, 0.7 + 1.9 * lines), alt="Densities of angles", name="sharafi-angles"),
        "All pairs, in the middle half of the first steps. With one frozen map converged vectors are at 90°; what is "
        "elsewhere on that line has not converged. Peaks above the panel are cut.",
        "full",
    )
