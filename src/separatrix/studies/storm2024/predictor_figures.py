"""Figure of the numbers that foretell errors and margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from separatrix.figures import style
from separatrix.figures.svg import draw_panels
from separatrix.studies.storm2024.predictor_results import Result
from separatrix.studies.storm2024.predictor_scores import EXPONENT, MEANINGS, READOUT
from separatrix.studies.study import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def comparison(found: Sequence[Result]) -> Figure:
    """Area under the curve for errors, and rank correlation with the margin, with intervals and members."""
    names = list(MEANINGS)
    colors = style.line_colors(2)

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 2, sharey=True)
        for ax, which, chance, label in (
            (panels[0], "errors", 0.5, "AUC for the member's errors"),
            (panels[1], "margins", 0.0, "Spearman ρ with small margins"),
        ):
            style.frame(ax, open_corner=True)
            ax.axvline(chance, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
            for i, (result, color) in enumerate(zip(found, colors, strict=False)):
                shift = 0.3 * (i - (len(found) - 1) / 2)
                for place, name in enumerate(names):
                    quality, y = getattr(result, which)[name], place + shift
                    ax.plot(quality.members, [y] * len(quality.members), "|", color=color, ms=6, mew=0.7, alpha=0.55)
                    ax.plot(quality.interval, [y, y], color=color, linewidth=1.6, solid_capstyle="round")
                    ax.plot(quality.value, y, "o", color=color, ms=5, label=None if place else result.name)
            ax.set(xlabel=label)
        panels[0].set_yticks(range(len(names)), names)
        for text in panels[0].get_yticklabels():
            text.set_weight("bold" if text.get_text() in (EXPONENT, READOUT) else "normal")
        panels[0].invert_yaxis()
        panels[0].legend(frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.0, loc="lower left")

    svg = draw_panels(paint, size=(9.6, 4.0), alt="what foretells errors and margins", name="predictors-comparison")
    return Figure(
        "What foretells errors and margins",
        svg,
        "Left: how well each number tells a member's wrong test images from its right ones (broken line: chance). "
        "Right: how closely it orders recognised images by their adversarial margin. Dots are means over members with "
        "95 % bootstrap intervals over images, strokes are single members.",
        "full",
    )
