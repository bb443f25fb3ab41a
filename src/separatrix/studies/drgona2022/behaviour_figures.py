"""Pictures and tables of the 828 cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import style, svg
from separatrix.studies.drgona2022.cases import ACTIVATIONS, DEPTHS, NAMES, SETTINGS
from separatrix.studies.drgona2022.table import BEHAVIOURS, Cases
from separatrix.studies.study import Figure, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {
    "one fixed point": "#aed0e3",
    "several fixed points": "#1f5f93",
    "continuum": "#0a7d62",
    "cycle": "#f2bf9b",
    "quasi-periodic": "#dd8050",
    "chaotic": "#8c1d0f",
    "undecided": "#b9a6c4",
    "no attractor": "#d9dbde",
}


def overview(found: Cases) -> Figure:
    """The most frequent behaviour of each case, and how many seeds agree."""
    kinds, leaving = found.behaviour, found.leaving.mean(0)
    counts = np.stack([(kinds == k).sum(0) for k in range(len(BEHAVIOURS))])
    most, share = counts.argmax(0), counts.max(0) / found.seeds

    def paint(figure: object) -> None:
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        panels = figure.subplots(2, 1, sharex=True)  # type: ignore[attr-defined]
        shape = (len(SETTINGS), -1)
        # columns: activation, then bias, then depth
        order = (0, 1, 3, 2)
        colors = ListedColormap([COLORS[name] for name in BEHAVIOURS])
        image = most.transpose(order).reshape(shape)
        panels[0].pcolormesh(image, cmap=colors, vmin=-0.5, vmax=len(BEHAVIOURS) - 0.5, edgecolor="white", lw=0.4)
        rows, columns = np.nonzero(leaving.transpose(order).reshape(shape) >= 0.5)
        panels[0].plot(columns + 0.5, rows + 0.5, ".", color=style.ON_IMAGE, ms=2.2, mew=0)
        shown = sorted(set(most.ravel().tolist()))
        handles = [Patch(facecolor=COLORS[BEHAVIOURS[k]], label=BEHAVIOURS[k]) for k in shown]
        panels[0].legend(
            handles=handles, frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.02)
        )
        mesh = panels[1].pcolormesh(
            share.transpose(order).reshape(shape), cmap=style.unsigned_map(), vmin=0, vmax=1, edgecolor="white", lw=0.4
        )
        bar = figure.colorbar(mesh, ax=panels[1], location="bottom", shrink=0.4, aspect=30, pad=0.02)  # type: ignore[attr-defined]
        bar.set_label("share of seeds that behave so", size=9)
        bar.ax.tick_params(labelsize=8)
        for ax in panels:
            _axes(ax)

    return Figure(
        "What the 828 cases do",
        svg.draw_panels(paint, size=(9.2, 9.6), alt="Most frequent behaviour of each case", name="cases-overview"),
        "Above: the most frequent behaviour over seeds; a dot where, in at least half of the seeds, some starts escape "
        "or still grow. Below: how many seeds behave so. Columns: activation, then no bias and bias, then n = 1, 4, 8. "
        "Look at how each activation has ways of its own, and at how seeds disagree where biases are on and layers are "
        "near norm one.",
        size="full",
    )


def _axes(ax: Axes) -> None:
    per = 2 * len(DEPTHS)
    ax.set_yticks(np.arange(len(SETTINGS)) + 0.5, labels=[s.name.replace("-", "−") for s in SETTINGS], fontsize=7)
    ax.set_xticks(
        [per * i + len(DEPTHS) * (j + 0.5) for i in range(len(ACTIVATIONS)) for j in (0, 1)],
        labels=[f"{NAMES[a]}\n{b}" for a in ACTIVATIONS for b in ("no bias", "bias")],
        fontsize=7,
    )
    for i in range(1, len(ACTIVATIONS)):
        ax.axvline(per * i, color=style.ON_IMAGE, lw=0.8)
    ax.invert_yaxis()
    style.frame(ax)
    ax.tick_params(length=0, labelsize=7)


def shares(found: Cases) -> Figure:
    """Behaviour by activation and depth."""

    def paint(ax: Axes) -> None:
        from matplotlib.ticker import PercentFormatter

        kinds = found.behaviour
        labels, place = [], 0.0
        for a, name in enumerate(ACTIVATIONS):
            for d, depth in enumerate(DEPTHS):
                bottom = 0.0
                for k, behaviour in enumerate(BEHAVIOURS):
                    height = float((kinds[:, :, a, d] == k).mean())
                    if height:
                        ax.bar(place, height, bottom=bottom, color=COLORS[behaviour], width=0.9, ec="none")
                    bottom += height
                labels.append((place, f"{depth}\n{NAMES[name] if d == 1 else ' '}"))
                place += 1
            place += 0.6
        ax.set_xticks([p for p, _ in labels], labels=[t for _, t in labels])
        ax.set(ylim=(0, 1), ylabel="share of networks")
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        style.frame(ax, open_corner=True)
        ax.tick_params(axis="x", length=0)

    return Figure(
        "Behaviour by activation and depth",
        svg.draw(paint, size=(7.2, 3.0), alt="Shares of behaviours by activation and depth", name="cases-shares"),
        "All weight settings, biases and seeds together; n = 1, 4, 8 under each bar. Colours as above.",
        size="full",
    )


def certificates(found: Cases) -> Table:
    """Proofs and what orbits show, by activation."""
    rows = []
    for name in ACTIVATIONS:
        mask = found.where(activation=name)
        proved, bounded = (found[key][:, mask] for key in ("contraction", "bounded"))
        single, leaving = found.single[:, mask], found.leaving[:, mask]
        rows.append(
            (
                NAMES[name],
                _count(proved),
                _count(single),
                _count(bounded),
                _count(~leaving),
                f"{float((found['radius'][:, mask] < 1).mean()):.0%}",
                f"{float((found['jacobian_norm_2'][:, mask] < 1).mean()):.0%}",
            )
        )
    header = ("activation", "contraction proved", "one fixed point seen", "bounded, proved", "bounded, seen",
              "ρ(A*) < 1 on the grid", "‖Df‖₂ < 1 on the grid")  # fmt: skip
    caption = "Of 138 cases for each activation, mean ± standard deviation over seeds; last two: share of all networks."
    return Table(header, rows, caption, numbers=range(1, 7))


def _count(flags: np.ndarray) -> str:
    counts = flags.reshape(len(flags), -1).sum(1)
    spread = f" ± {counts.std(ddof=1):.1f}" if len(counts) > 1 else ""
    return f"{counts.mean():.1f}{spread}"
