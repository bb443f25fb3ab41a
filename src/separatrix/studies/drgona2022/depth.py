"""Densities of eigenvalues of A* over the plane, for three depths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from separatrix.figures import style, svg
from separatrix.local.spectrum import eigenvalues
from separatrix.studies.drgona2022.cases import DEPTHS, Setting
from separatrix.studies.drgona2022.measure import grid_points
from separatrix.studies.drgona2022.networks import stacked
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Measurement, at_most
from separatrix.studies.study import Context, Figure, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = ((0.0, 1.0), (0.99, 1.0), (0.99, 1.1), (0.99, 1.5))

FLOOR = 1e-16
"""Smaller moduli are drawn here."""

Moduli = dict[tuple[tuple[float, float], int, bool], np.ndarray]
"""Log10 of moduli (seed, value) by range, depth and bias."""


def moduli(seeds: range, nodes: int) -> Moduli:
    """Eigenvalues of A* on a grid, gershgorin weights and GELU."""
    x, found = grid_points(nodes), {}
    for label in LABELS:
        for depth in DEPTHS:
            for bias in (False, True):
                nets = stacked(Setting("gershgorin", *label), "gelu", depth, seeds, (bias,))
                rows = []
                for net in range(len(nets)):
                    one = nets.take(torch.tensor([net]))
                    sizes = eigenvalues(one.chords(x[None])).abs().flatten()
                    rows.append(sizes.clamp(min=FLOOR).log10().numpy())
                found[label, depth, bias] = np.stack(rows)
    return found


def falls(found: Moduli) -> Finding:
    """C14: change of the median modulus from depth to depth."""
    rows = []
    for lo, hi in LABELS:
        for first, second in ((1, 4), (4, 8)):
            medians = [np.median(found[(lo, hi), depth, False], axis=1) for depth in (first, second)]
            rows.append(
                Measurement.of_samples(
                    f"log₁₀ of the median modulus, n = {second} less n = {first}, ({lo:g}, {hi:g})",
                    medians[1] - medians[0],
                    accept=at_most(0.0, strict=True, contrary=(0.0, np.inf)),
                )
            )
    return Finding("C14", rows)


def picture(found: Moduli) -> Figure:
    """Densities of moduli, one panel for each range."""

    def paint(figure: object) -> None:
        panels = figure.subplots(2, len(LABELS), sharex=True)  # type: ignore[attr-defined]
        bins = np.linspace(-8, 2, 51)
        for row, bias in zip(panels, (False, True), strict=True):
            for ax, label in zip(row, LABELS, strict=True):
                _density(ax, {depth: found[label, depth, bias] for depth in DEPTHS}, bins)
                if not bias:
                    ax.set_title(f"({label[0]:g}, {label[1]:g})")
        panels[0, 0].set_ylabel("density, no bias")
        panels[1, 0].set_ylabel("density, bias")
        panels[0, 1].legend(frameon=False, fontsize=8, loc="lower left")
        figure.supxlabel("log₁₀ |λ| of A*", size=9)  # type: ignore[attr-defined]

    return Figure(
        "Eigenvalues against depth",
        svg.draw_panels(paint, size=(9.2, 3.9), alt="Densities of eigenvalues of A* for three depths", name="depth"),
        "Moduli of both eigenvalues of A* over the square, all seeds, gershgorin weights with GELU; the line is at "
        "modulus one, the first bin holds all of 10⁻⁸ and less. Look at what moves to the left with depth, and at what "
        "stays to the right.",
        size="full",
    )


def _density(ax: Axes, of_depth: dict[int, np.ndarray], bins: np.ndarray) -> None:
    for (depth, values), color in zip(of_depth.items(), style.ordered_colors(len(of_depth)), strict=True):
        heights, _ = np.histogram(values.clip(bins[0], bins[-1]), bins, density=True)
        ax.stairs(heights, bins, color=color, lw=1.2, label=f"n = {depth}")
    ax.axvline(0, color=style.QUIET, lw=0.8)
    ax.set_yscale("log")
    ax.set_ylim(1e-3, 20)
    style.frame(ax, open_corner=True)


def run(context: Context) -> Part:
    """Measure moduli over the plane."""
    seeds = range(context.seed, context.seed + context.pick(quick=2, paper=20))
    nodes = context.pick(quick=41, paper=121)
    found = moduli(seeds, nodes)
    return Part(
        findings=[falls(found)],
        figures=[picture(found)],
        settings={
            "networks": f"gershgorin (real), GELU, n = 1, 4, 8, seeds {seeds.start} to {seeds.stop - 1}",
            "points": f"{nodes} × {nodes} of [−6, 6]²",
            "judged": "without bias, as the original is labelled; its script used biases, which are shown beside",
        },
    )
