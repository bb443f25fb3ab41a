"""Pictures and tables of Fig. 3(b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import style, svg
from separatrix.studies.storm2024.claims import DEPTHS
from separatrix.studies.study import Figure, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Levels = dict[tuple[int, int], dict[str, np.ndarray]]
Fits = Mapping[int, Mapping[str, Sequence[float]]]

LETTER_WIDTHS = (5, 9, 16, 29, 95, 150)
LETTER = {
    2: ((1.1, 1.3), (0.7, 1.0, 1.0, 1.2, np.nan, 1.2)),
    4: ((2.25, 2.2), (0.1, 0.8, 1.3, 1.6, 2.0, 2.05)),
    8: ((2.9, 3.0), (-1.0, -0.2, 0.3, 1.0, 1.95, 2.25)),
    12: ((3.0, 3.4), (-2.2, -0.95, -0.7, 0.15, 1.3, 1.65)),
}
"""Read off Fig. 3(b): E_d at N = 5 and 150, and E_c."""


def levels(found: Levels, fits: Fits) -> Figure:
    """E_d and E_c against width, for all depths."""

    def paint(figure: object) -> None:
        panels = figure.subplots(1, 2, sharex=True)  # type: ignore[attr-defined]
        colours = dict(zip(DEPTHS, style.ordered_colors(len(DEPTHS)), strict=True))
        for ax, what, name in zip(panels, ("circle", "centre"), ("boundary, E_d", "centre, E_c"), strict=True):
            for depth, colour in colours.items():
                _one(ax, found, depth, what, colour)
                ring, centre = LETTER[depth]
                if what == "circle":
                    ax.plot((5, 150), ring, "x", color=colour, ms=5, mew=1)
                else:
                    ax.plot(LETTER_WIDTHS, centre, "x", color=colour, ms=5, mew=1)
                    if fits.get(depth):
                        widths = np.array([5, 150])
                        fall = fits[depth]["C_c"][0] * depth
                        ax.plot(widths, np.log(widths) - fall, ":", color=colour, lw=1)
            ax.set(xscale="log", xlabel="width N", title=name)
            ax.set_xticks([5, 10, 20, 50, 100], labels=["5", "10", "20", "50", "100"])
            ax.minorticks_off()
            style.frame(ax, open_corner=True)
        panels[0].set_ylabel("ln σ₁ (nat)")
        panels[1].legend(frameon=False, fontsize=8, loc="lower right")

    return Figure(
        "Boundary and centre against width",
        svg.draw_panels(
            paint, size=(7.2, 3.4), alt="Stretch on the boundary and at the centre against width", name="widths"
        ),
        "Mean stretch of the last hidden layer, with its standard deviation over seeds. Crosses: read off Fig. 3(b). "
        "Dotted: ln N − C_c L, with C_c fitted to widths at which the centre is not saturated.",
        size="full",
    )


def _one(ax: Axes, found: Levels, depth: int, what: str, colour: object) -> None:
    widths = sorted(w for d, w in found if d == depth and len(found[d, w][what]))
    values = [found[depth, w][what] for w in widths]
    spread = [v.std(ddof=1) if len(v) > 1 else 0.0 for v in values]
    ax.errorbar(
        widths,
        [v.mean() for v in values],
        spread,
        color=colour,
        lw=1.2,
        marker="o",
        ms=3.5,
        elinewidth=0.8,
        label=f"L = {depth}",
    )


def variances(found: dict[float, Levels]) -> Figure:
    """Levels after training against the variance of the initial weights."""

    def paint(ax: Axes) -> None:
        keys = sorted(next(iter(found.values())))
        for (depth, width), colour in zip(keys, style.line_colors(len(keys)), strict=True):
            for what, line in (("circle", "-"), ("centre", "--")):
                gains = [g for g in sorted(found) if len(found[g][depth, width][what])]
                values = [found[g][depth, width][what] for g in gains]
                name = "boundary" if what == "circle" else "centre"
                ax.errorbar(
                    gains,
                    [v.mean() for v in values],
                    [v.std(ddof=1) if len(v) > 1 else 0.0 for v in values],
                    color=colour,
                    ls=line,
                    lw=1.2,
                    marker="o",
                    ms=3.5,
                    label=f"{name}, N = {width}, L = {depth}",
                )
        ax.set(xscale="log", xlabel="initial variance × fan-in", ylabel="ln σ₁ (nat)")
        ax.set_xticks(sorted(found), labels=[f"{g:g}" for g in sorted(found)])
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=8)
        style.frame(ax, open_corner=True)

    return Figure(
        "What is left of the initial variance",
        svg.draw(paint, size=(4.4, 3.4), alt="Levels after training against the initial variance", name="variances"),
        "If training forgets the variance of the initial weights, the lines are level.",
    )


def table(found: Levels, fits: Fits, caption: str) -> Table:
    """Every level with its spread."""
    rows = []
    for depth, width in sorted(found):
        values = found[depth, width]
        cells = [_cell(values[what]) for what in ("circle", "zero level", "centre")]
        error = f"{100 * values['error'].mean():.2f}" if len(values["error"]) else "–"
        rows.append([str(depth), str(width), str(len(values["error"])), *cells, error])
    header = ["L", "N", "networks", "ring, true circle", "ring, learned level", "centre", "error (%)"]
    text = "Stretch (nat) of networks that learned, mean ± standard deviation over seeds"
    return Table(header, rows, f"{text}: {caption}", numbers=range(7))


def open_tables(settings: dict[str, Levels]) -> list[Table]:
    """One table for each open setting."""
    return [table(found, {}, name) for name, found in settings.items()]


def _cell(values: np.ndarray) -> str:
    if not len(values):
        return "–"
    spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}".replace("-", "−")
