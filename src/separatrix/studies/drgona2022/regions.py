"""Maps of norms and spectral radii of A* over the plane."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from separatrix.figures import style
from separatrix.local.spectrum import eigenvalues
from separatrix.studies.drgona2022.cases import DEPTHS, NAMES, Setting
from separatrix.studies.drgona2022.measure import grid_points
from separatrix.studies.drgona2022.networks import Networks, stacked
from separatrix.studies.drgona2022.norm_products import norm_2
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Measurement, at_most, near
from separatrix.studies.study import Context, Figure, Part

SHOWN = (
    Setting("gershgorin", 0.0, 1.0),
    Setting("gershgorin complex", 0.0, 1.0),
    Setting("gershgorin", 0.99, 1.0),
    Setting("softSVD", 0.0, 1.0),
    Setting("softSVD", 0.99, 1.1),
    Setting("pf", 1.0, 1.0),
)
FUNCTIONS = ("relu", "selu")
LARGEST = 2.0
"""End of the colours, as in the original."""


class Maps(NamedTuple):
    """Values of one network on the grid, (x1, x2)."""

    spectral: np.ndarray
    frobenius: np.ndarray
    radius: np.ndarray
    total: np.ndarray


def maps(nets: Networks, net: int, nodes: int) -> Maps:
    """Norms of A* on the grid, its spectral radius, and the sum of moduli of its eigenvalues."""
    A = nets.take(torch.tensor([net])).chords(grid_points(nodes)[None])[0]
    moduli = eigenvalues(A).abs()
    values = norm_2(A), A.flatten(1).norm(dim=1), moduli[:, 0], moduli.sum(1)
    return Maps(*(v.reshape(nodes, nodes).numpy() for v in values))


def chosen(seeds: range) -> Iterator[tuple[Setting, str, int, bool, Networks]]:
    """The set of May 2021."""
    for setting in SHOWN:
        for activation in FUNCTIONS:
            for depth in DEPTHS:
                for bias in (False, True):
                    yield setting, activation, depth, bias, stacked(setting, activation, depth, seeds, (bias,))


def norms(seeds: range, nodes: int) -> Finding:
    """C13: Frobenius norm over spectral norm, and points that the one shows as expanding and the other does not."""
    ratios: dict[int, list[float]] = {n: [] for n in DEPTHS}
    misled: dict[int, list[float]] = {n: [] for n in DEPTHS}
    for _, _, depth, _, nets in chosen(seeds):
        for net in range(len(nets)):
            one = maps(nets, net, nodes)
            some = one.spectral > 0
            if some.any():
                ratios[depth].append(float(np.median(one.frobenius[some] / one.spectral[some])))
            misled[depth].append(float(((one.frobenius > 1) & (one.spectral < 1)).mean()))
    rows = [
        Measurement.of_samples(
            f"Frobenius over spectral norm, n = {n} (median over points)", ratios[n], of="networks", target=1.0,
            accept=near(1.0, 0.01),
        )
        for n in DEPTHS
    ]  # fmt: skip
    rows += [
        Measurement.of_samples(
            f"share of points above one in the Frobenius norm only, n = {n}", misled[n], of="networks", target=0.0,
            accept=at_most(0.0),
        )
        for n in DEPTHS
    ]  # fmt: skip
    reason = (
        "The two differ by up to √2, where both singular values are of one size. In most of these networks one of them "
        "dominates, so that the maps mislead at few points."
    )
    return Finding("C13", rows, reason=reason)


def picture(seed: int, nodes: int, what: str, title: str, caption: str) -> Figure:
    """Maps of one quantity for all settings: ReLU without and with bias, SELU without and with."""
    from matplotlib.figure import Figure as Canvas

    columns = [(a, b, n) for a in FUNCTIONS for b in (False, True) for n in DEPTHS]
    gap = nodes // 12
    pitch = nodes + gap
    whole = np.full((pitch * len(SHOWN) - gap, pitch * len(columns) - gap), np.nan)
    for setting, activation, depth, bias, nets in chosen(range(seed, seed + 1)):
        top, left = pitch * SHOWN.index(setting), pitch * columns.index((activation, bias, depth))
        # the first coordinate runs to the right, the second one upwards
        whole[top : top + nodes, left : left + nodes] = getattr(maps(nets, 0, nodes), what).T[::-1]
    canvas = Canvas(figsize=(12.4, 6.0), layout="constrained", dpi=110)
    ax = canvas.add_subplot()
    image = ax.imshow(whole, cmap=style.signed_map(), vmin=0, vmax=LARGEST, interpolation="nearest")
    ax.contour(whole, levels=[1.0], colors=style.ON_IMAGE, linewidths=0.5)
    middle = (nodes - 1) / 2
    names = [f"{NAMES[a]}\n{'bias' if b else 'no bias'}\nn = {n}" for a, b, n in columns]
    ax.set_xticks([pitch * i + middle for i in range(len(columns))], labels=names)
    ax.set_yticks([pitch * i + middle for i in range(len(SHOWN))], labels=[s.name.replace(" (", "\n(") for s in SHOWN])
    ax.tick_params(length=0, labelsize=8, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    bar = canvas.colorbar(image, ax=ax, shrink=0.5, aspect=40, pad=0.01, extend="max")
    bar.ax.tick_params(labelsize=8)
    bar.set_label(title, size=9)
    out = io.BytesIO()
    canvas.savefig(out, format="png", facecolor="white")
    return Figure(title, out.getvalue(), caption, size="full")


def run(context: Context) -> Part:
    """Measure the maps and draw those of one seed."""
    seeds = range(context.seed, context.seed + context.pick(quick=1, paper=20))
    nodes = context.pick(quick=41, paper=121)
    shared = f"[−6, 6]², x₁ to the right, seed {context.seed}; colours from 0 to 2, white and a line at 1."
    return Part(
        findings=[norms(seeds, nodes)],
        figures=[
            picture(context.seed, nodes, "spectral", "‖A*(x)‖₂", f"Spectral norm of A* over {shared} Red can expand."),
            picture(context.seed, nodes, "frobenius", "‖A*(x)‖, Frobenius", f"What the original shows, over {shared} "
                    "Compare the first column of each group with the picture above."),
            picture(context.seed, nodes, "radius", "ρ(A*(x))", f"Spectral radius of A* over {shared} Blue everywhere "
                    "does not mean stable."),
        ],
        settings={
            "networks": f"{len(SHOWN)} weight settings, ReLU and SELU, n = 1, 4, 8, bias off and on, seeds "
            f"{seeds.start} to {seeds.stop - 1}",
            "points": f"{nodes} × {nodes}",
        },
    )  # fmt: skip
