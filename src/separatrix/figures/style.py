"""The look that all figures share: colours, thin frames, small type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

INK, QUIET, GROUND = "#22262b", "#6b7280", "#d9dbde"
"""Colours of lines and text, of what should stand back, and of the ground where there is no number."""

ON_IMAGE, HALO = "#23272c", "#fefefe"
"""Colours of what is drawn over an image, and of its edge: they must not follow a page into the dark."""

RIDGE = "#0a7d62"
"""Colour of ridges: no colour of a field comes near it."""

# Lightness rises to the middle and falls again at the same rate on both sides; blue against red-brown is told apart
# with every common form of colour blindness.
_SIGNED = ("#0b2f55", "#1f5f93", "#5b9bc4", "#aed0e3", "#f6f4ef", "#f2bf9b", "#dd8050", "#ae4024", "#611712")
_UNSIGNED = ("#f6f4ef", "#d5dfc4", "#9fc6ae", "#5fa5a3", "#347d92", "#235376", "#1b2a52")
_LINES = ("#1f5f93", "#dd8050", "#347d6b", "#8a5a96", "#a58a1e", "#6b7280")


def signed_map(low: float = -1.0, high: float = 1.0) -> Colormap:
    """Diverging map whose neutral middle is at 0 and whose two sides rise at the same rate from ``low`` to ``high``."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    whole = LinearSegmentedColormap.from_list("signed", _SIGNED, N=511)
    reach = max(abs(low), abs(high)) or 1.0
    return LinearSegmentedColormap.from_list(
        "signed", whole(np.linspace(0.5 + low / (2 * reach), 0.5 + high / (2 * reach), 256))
    )


def unsigned_map() -> Colormap:
    """Sequential map for quantities that start at 0."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("unsigned", _UNSIGNED, N=256)


def line_colors(count: int) -> list[Any]:
    """Colours for things that are told apart by kind."""
    return [_LINES[i % len(_LINES)] for i in range(count)]


def ordered_colors(count: int) -> list[Any]:
    """Colours for things that come in an order, from light to dark."""
    import numpy as np

    return list(unsigned_map()(np.linspace(0.35, 1.0, count))) if count > 1 else [_UNSIGNED[-2]]


def axes(ax: Axes | None, size: tuple[float, float] = (4.6, 3.8)) -> Axes:
    """Return the given axes, or new ones in a figure of their own."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def frame(ax: Axes, *, open_corner: bool = False) -> None:
    """Thin the frame and the ticks; with ``open_corner`` leave the top and right sides away."""
    for side, spine in ax.spines.items():
        spine.set(linewidth=0.6, edgecolor=QUIET)
        spine.set_visible(not (open_corner and side in ("top", "right")))
    ax.tick_params(width=0.6, length=3, color=QUIET, labelcolor=INK, labelsize=8.5)
    ax.xaxis.label.set(size=9, color=INK)
    ax.yaxis.label.set(size=9, color=INK)
    ax.title.set(size=9.5, color=INK)


def legend_above(ax: Axes, handles: Sequence[Any], *, ncols: int, right: bool = False, stroke: float = 1.2) -> None:
    """Say above the frame, at its left or right end, where it hides nothing, what marks and colours are."""
    ax.legend(
        handles=handles,
        loc="lower right" if right else "lower left",
        bbox_to_anchor=(float(right), 1.0),
        ncols=ncols,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=stroke,
        columnspacing=1.2,
        borderaxespad=0.2,
        borderpad=0.2,
    )
