"""Picture of Fig. 3(a)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import style, svg
from separatrix.studies.storm2024.claims import CLAIMS
from separatrix.studies.study import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LETTER = {claim.id: claim.numbers for claim in CLAIMS}


def errors_figure(frozen: dict[float, dict[int, np.ndarray]], trained: dict[int, np.ndarray]) -> Figure:
    """Errors against width."""

    def paint(ax: Axes) -> None:
        colours = style.line_colors(len(frozen) + 1)
        for (variance, errors), colour in zip(frozen.items(), colours[1:], strict=True):
            name = f"random hidden, threshold variance {variance:g}"
            _line(ax, errors, colour, name, "-" if variance == 1 else ":")
        _line(ax, trained, colours[0], "all weights trained", "-")
        for claim, colour in (("T6", colours[1]), ("T7", colours[0])):
            points = {int(k[2:]): v for k, v in _LETTER[claim].items() if k.startswith("N=")}
            ax.plot(list(points), list(points.values()), "x", color=colour, ms=5, mew=1)
        ax.set(xscale="log", yscale="log", xlabel="width N", ylabel="test error (%)", ylim=(0.02, 80))
        ax.set_xticks([5, 10, 20, 50, 100], labels=["5", "10", "20", "50", "100"])
        ax.set_yticks([0.1, 1, 10, 50], labels=["0.1", "1", "10", "50"])
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=7.5, loc="lower left", ncols=2)
        style.frame(ax, open_corner=True)

    return Figure(
        "Random features against full training, and the trap",
        svg.draw(paint, size=(5.2, 3.8), alt="Test error against width", name="features"),
        "Two hidden layers. Mean and standard deviation over seeds; crosses: read off Fig. 3(a). With thresholds "
        "of exactly zero the features are odd functions, the target is even, and the error stays at a half; a variance "
        "of 1e-7 is enough for an exact solver to escape slowly.",
        size="full",
    )


def _line(ax: Axes, errors: dict[int, np.ndarray], colour: object, name: str, line: str) -> None:
    widths = sorted(errors)
    means = np.array([100 * errors[w].mean() for w in widths])
    spread = np.array([100 * errors[w].std(ddof=1) if len(errors[w]) > 1 else 0.0 for w in widths])
    # the bar below may not reach zero on a logarithmic axis
    low = np.minimum(spread, 0.9 * means)
    ax.errorbar(
        widths, means, [low, spread], color=colour, ls=line, lw=1.2, marker="o", ms=3, elinewidth=0.7, label=name
    )
