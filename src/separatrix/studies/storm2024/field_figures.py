"""Picture and tables of Fig. 2."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures.fields import field
from separatrix.studies.study import Figure, Table

if TYPE_CHECKING:
    from separatrix.studies.storm2024.fields import Measured, Panel


def panels(drawn: list[Panel]) -> Figure:
    """All fields in the letter's range of colours."""
    from matplotlib.figure import Figure as Canvas

    widths, depths = sorted({p.width for p in drawn}), sorted({p.depth for p in drawn})
    canvas = Canvas(figsize=(2.6 * len(depths) + 0.6, 2.6 * len(widths) + 0.3), layout="constrained", dpi=130)
    axes = canvas.subplots(len(widths), len(depths), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for panel in drawn:
        row, column = widths.index(panel.width), depths.index(panel.depth)
        ax = axes[row, column]
        ax.set_axis_on()
        field(
            panel.field,
            ax,
            limits=4.0,
            directions=True,
            ridges=panel.ridge,
            boundary=panel.boundary,
            colorbar=False,
        )
        if ax.get_legend() is not None:
            ax.get_legend().remove()
        ax.set_title(f"N = {panel.width}, L = {panel.depth}", size=9, loc="left")
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    image = axes[0, 0].images[0] if axes[0, 0].images else next(ax.images[0] for ax in axes.flat if ax.images)
    bar = canvas.colorbar(image, ax=axes, shrink=0.6, aspect=40, pad=0.01, extend="both")
    bar.set_label("ln σ₁ of the last hidden layer (nat)", size=9)
    bar.ax.tick_params(labelsize=8)
    out = io.BytesIO()
    canvas.savefig(out, format="png", facecolor="white")
    return Figure(
        "Fields, ridges and boundaries",
        out.getvalue(),
        "Colour: ln σ₁ of the last hidden layer, from −4 to 4 nat as in Fig. 2. Dark line: the network's own decision "
        "boundary; green on white: ridges; segments: the direction of largest stretch. Look at how the ridge follows "
        "the boundary in narrow, deep networks, and how the contrast fades from top to bottom.",
        size="full",
    )


def contrast_table(found: dict[tuple[int, int], Measured]) -> Table:
    """Contrast, offset and directions of all networks."""
    rows = []
    for (width, depth), one in sorted(found.items()):
        keep = one.nets.learned
        cells = [_cell(v[keep]) for v in (one.contrast, one.offset, one.turned, one.ridged)]
        rows.append([str(width), str(depth), str(int(keep.sum())), *cells])
    header = [
        "N",
        "L",
        "networks",
        "E_d − E_c (nat)",
        "radial offset (cells)",
        "|cos(v₁, normal)|",
        "share that is a ridge",
    ]
    caption = "Mean ± standard deviation over seeds. Last column: share of boundary points at which ln σ₁ is a maximum "
    return Table(header, rows, caption + "along the normal.", numbers=range(7))


def distance_table(drawn: list[Panel]) -> Table:
    """Distances between ridges and boundary of the networks in the picture, in grid cells."""
    rows = []
    for panel in drawn:
        d = panel.distance
        cells = [
            f"{float(d[name]) / panel.cell:.1f}" if np.isfinite(float(d[name])) else "–"
            for name in ("median_ba", "q95_ba", "max_ba", "median_ab", "q95_ab", "max_ab")
        ]
        rows.append([str(panel.width), str(panel.depth), *cells, str(panel.ridge.sizes["line"])])
    header = ["N", "L", "median", "95 %", "largest", "median", "95 %", "largest", "ridge lines"]
    caption = (
        "Distances in grid cells: first from the boundary to the nearest ridge, then from all ridges to the boundary."
    )
    return Table(header, rows, caption, numbers=range(9))


def _cell(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    if not len(values):
        return "–"
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")
