"""Figures of the images: the plane of two neurons, exponent against error, width, and attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from separatrix.figures import style
from separatrix.figures.svg import draw, draw_panels
from separatrix.studies.storm2024.digit_bottleneck import Picture
from separatrix.studies.storm2024.digit_errors import LETTER, Bins
from separatrix.studies.storm2024.digit_paths import WAY, Paths
from separatrix.studies.storm2024.digit_widths import Width
from separatrix.studies.study import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

RANGE = (-0.11, 0.26)
"""Colour range of Fig. 4(a), as read off it."""


def plane(picture: Picture, exponent: np.ndarray, path: np.ndarray | None) -> Figure:
    """Images in the plane of the two neurons, coloured by the exponent of the network without them."""
    from matplotlib.colors import Normalize

    order = np.argsort(-exponent)

    def paint(ax: Axes) -> None:
        style.frame(ax)
        dots = ax.scatter(
            picture.places[order, 0],
            picture.places[order, 1],
            c=exponent[order],
            cmap=style.signed_map(*RANGE),
            norm=Normalize(*RANGE),
            s=4,
            linewidths=0,
            rasterized=True,
        )
        bar = ax.figure.colorbar(dots, ax=ax, pad=0.02, aspect=26, extend="both")
        bar.outline.set_linewidth(0.6)
        bar.ax.tick_params(width=0.6, length=3, labelsize=8.5, color=style.QUIET, labelcolor=style.INK)
        bar.set_label("λ₁  (per layer)", size=9, color=style.INK)
        if path is not None:
            _path(ax, path)
        for name, middle in enumerate(picture.middles):
            _numeral(ax, str(name), middle)
        ax.set(xlabel="local field b₁", ylabel="local field b₂")

    svg = draw(paint, size=(4.6, 4.3), alt="test images in the plane of two neurons, by exponent", name="digits-plane")
    return Figure(
        "Ten clusters, and what lies between",
        svg,
        "Test images at the local fields of two linear neurons put before the output, coloured by λ₁ of the network "
        "without them; low values are drawn last, on top of high ones. Numerals stand at the median of each class. "
        "The line is one attack from a 9 (circle) to a 4, as far again behind the switch (square).",
    )


def against_exponent(bins: Bins) -> Figure:
    """Counts, predictive entropy and error in bins of the exponent."""
    blue, red = style.line_colors(2)
    letter = np.array(LETTER).T

    def paint(canvas: Canvas) -> None:
        counts, entropy, error = canvas.subplots(3, 1, sharex=True, height_ratios=(0.9, 1.1, 1.1))
        width = bins.edges[1] - bins.edges[0]
        counts.bar(bins.middle, np.maximum(bins.count, 0.5), width * 0.86, bottom=0.5, color=style.GROUND)
        for x, n in zip(bins.middle, bins.count, strict=True):
            counts.text(x, 0.75, str(n), rotation=90, size=5.6, color=style.INK, ha="center", va="bottom")
        counts.set(yscale="log", ylim=(0.5, 4 * bins.count.max()), ylabel="images")
        many = bins.count >= 20
        for ax, values, color, read, label in (
            (entropy, bins.entropy, blue, letter[1], "H  (nats)"),
            (error, 100 * bins.error, red, 100 * letter[2], "error  (%)"),
        ):
            few = ~many & (bins.count > 0)
            ax.plot(bins.middle[many], values[many], "o-", color=color, ms=3.2, linewidth=1.2, label="here")
            ax.plot(
                bins.middle[few], values[few], "o", ms=3.2, mfc="none", mec=color, mew=0.8, label="fewer than 20 images"
            )
            ax.plot(letter[0], read, "D", ms=4.6, mfc="none", mec=style.INK, mew=1.0, label="letter, read off")
            ax.set(ylabel=label, ylim=(0, None))
        entropy.legend(frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.4, loc="upper left")
        error.set(xlabel="λ₁ of the member, at its last hidden layer  (per layer)")
        for ax in (counts, entropy, error):
            style.frame(ax, open_corner=True)

    svg = draw_panels(paint, size=(9.6, 5.6), alt="entropy and error rise with the exponent", name="digits-bins")
    return Figure(
        "Errors and doubt grow with the exponent",
        svg,
        f"Test images in {len(bins.count)} bins of equal width of the first member's exponent: their number, the "
        "predictive entropy H of the whole ensemble, and the error of that member. Bins of few images are hollow.",
        "full",
    )


def against_width(found: list[Width]) -> Figure:
    """Mean and standard deviation of the exponents against width, after and before training."""
    blue, red = style.line_colors(2)

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 2)
        widths = [one.width for one in found]
        for ax, name, label in ((panels[0], "mean", "mean of λ₁"), (panels[1], "std", "standard deviation of λ₁")):
            style.frame(ax, open_corner=True)
            for prefix, color, word in (("", blue, "trained"), ("before_", red, "untrained")):
                values = [getattr(one, prefix + name) for one in found]
                for w, v in zip(widths, values, strict=True):
                    ax.plot([w] * len(v), v, "o", color=color, ms=2.6, alpha=0.5, mew=0)
                ax.plot(widths, [v.mean() for v in values], color=color, linewidth=1.4, label=word)
            ax.set(xlabel="width N", ylabel=label, xscale="log")
            ax.set_xticks(widths, [str(w) for w in widths])
            ax.minorticks_off()
        panels[1].set_ylim(0, None)
        panels[0].legend(frameon=False, fontsize=8, labelcolor=style.INK, handlelength=1.4, loc="lower right")

    svg = draw_panels(paint, size=(9.6, 3.3), alt="mean and spread of exponents against width", name="digits-widths")
    return Figure(
        "Wider networks",
        svg,
        "Mean and standard deviation of λ₁ over test images, 16 hidden layers; each point is a member, the line goes "
        "through their means. Networks that were not trained are the comparison.",
        "full",
    )


def along_attack(found: list[Paths]) -> Figure:
    """Exponent along the attack and along the paths of comparison."""
    colors = dict(zip(("attack", "random seen", "random pixels", "another 9"), style.line_colors(4), strict=True))
    names = {
        "attack": "attack 9 → 4",
        "random seen": "random, as the first layer sees",
        "random pixels": "random pixels",
        "another 9": "to another 9",
    }

    def paint(ax: Axes) -> None:
        style.frame(ax, open_corner=True)
        ax.axvline(1, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 3)))
        for name, color in colors.items():
            means = np.stack([p.exponent[name].mean(0) for p in found])
            middle, spread = means.mean(0), means.std(0, ddof=min(1, len(means) - 1))
            ax.fill_between(WAY, middle - spread, middle + spread, color=color, alpha=0.15, linewidth=0)
            ax.plot(WAY, middle, color=color, linewidth=1.8 if name == "attack" else 1.2, label=names[name])
        ax.set(xlabel="way along the path (attack: 1 where the class switches)", ylabel="λ₁  (per layer)")
        ax.legend(
            frameon=False,
            fontsize=8,
            labelcolor=style.INK,
            handlelength=1.4,
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=2,
        )

    svg = draw(paint, size=(4.6, 4.3), alt="exponent along the attack: low, high, low", name="digits-attack")
    return Figure(
        "The path of an attack",
        svg,
        "Exponent along attacks from a 9 to a 4, mean over images and members, with the standard deviation over "
        "members as band; 2 is twice as far as the switch. The other paths begin at the same images.",
    )


def _path(ax: Axes, path: np.ndarray) -> None:
    for width, color in ((3.4, style.HALO), (1.4, style.ON_IMAGE)):
        ax.plot(*path.T, color=color, linewidth=width, solid_capstyle="round")
    for mark, where in (("o", 0), ("s", -1)):
        ax.plot(*path[where], mark, ms=5, mfc=style.HALO, mec=style.ON_IMAGE, mew=1.1, zorder=5)


def _numeral(ax: Axes, text: str, where: np.ndarray) -> None:
    from matplotlib import patheffects

    edge: Any = patheffects.withStroke(linewidth=2.6, foreground=style.HALO)
    ax.text(
        where[0],
        where[1],
        text,
        size=12,
        weight="bold",
        color=style.ON_IMAGE,
        ha="center",
        va="center",
        path_effects=[edge],
    )
