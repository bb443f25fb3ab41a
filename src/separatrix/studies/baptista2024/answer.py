"""What is left of the paper's story beside regression to the mean and untrained networks, in words made of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from separatrix.studies.baptista2024.cells import Cell, Cells
from separatrix.studies.baptista2024.signs import Excess, clustered, joined, paired
from separatrix.studies.study import Table

LEFT: dict[tuple[int, int], str] = {
    (1, 1): "Something is left of the paper's story: negative coefficients are more frequent than regression to the "
    "mean makes them, and training has a part in it.",
    (1, 0): "Something is left of the paper's story, but it is no matter of learning: negative coefficients are more "
    "frequent than regression to the mean makes them, and within the error as frequent before training.",
    (1, -1): "Something is left of the paper's story, but learning works against it: negative coefficients are more "
    "frequent than regression to the mean makes them, and more frequent still before training.",
    (0, 1): "Little is left of the paper's story: training makes negative coefficients more frequent, but, within the "
    "error, no more so than the same layers in random order: regression to the mean is enough for them.",
    (0, 0): "Nothing of the paper's story can be seen to be left: within the error negative coefficients are as "
    "frequent as regression to the mean makes them, and as frequent before training.",
    (0, -1): "Nothing of the paper's story can be seen to be left: within the error negative coefficients are as "
    "frequent as regression to the mean makes them, and untrained networks have more of them.",
    (-1, 1): "The reverse of the paper's story is left: training makes negative coefficients more frequent, but they "
    "are rarer than regression to the mean makes them from the same layers in random order.",
    (-1, 0): "The reverse of the paper's story is left: negative coefficients are rarer than regression to the mean "
    "makes them from the same layers in random order, and within the error as frequent as before training.",
    (-1, -1): "The reverse of the paper's story is left: negative coefficients are rarer than regression to the mean "
    "makes them from the same layers in random order, and rarer than before training.",
}
"""By the side on which the networks are of random orders of their layers, and of untrained networks."""

WORDS = {1: "more", 0: "within the error", -1: "fewer", None: "–"}


def against(outside: dict, raw: dict, keys: list) -> tuple[Excess, Excess]:
    """Share of negative coefficients less that in random orders of the layers, and less that before training."""
    some = {key: outside[key] for key in keys}
    order = clustered([one.negative - one.layers for one in some.values()])
    return order, clustered(paired(some, raw))


def answer(found: Cells, outside: dict, raw: dict) -> list[str]:
    """Paragraphs: the answer, and the numbers that it stands on.

    A difference counts where it is more than two standard errors over cells from zero.
    """
    held, before = joined(outside.values()), joined(raw.values())
    order, training = against(outside, raw, list(outside))
    if order.side is None or training.side is None:
        return ["What is left of the paper's story cannot be told: too few cells have coefficients."]
    said = LEFT[order.side, training.side]
    if found.short:
        said = f"These numbers decide nothing, since {found.short}. If they did: {said}"
    numbers = (
        f"With k chosen on other networks, {held.percent():.0f} % of {len(held.rho):,} networks have a negative "
        f"coefficient. Random orders of the same layers make {100 * float(held.layers.mean()):.0f} % (a difference of "
        f"{points(order)} points), untrained networks {before.percent():.0f} % ({points(training)} points; ± is two "
        f"standard errors over {order.cells} cells). The mean coefficient is {number(held.rho)}, against "
        f"{number(held.shuffled)} in random order and {number(before.rho)} before training."
    )
    return [said, numbers]


def table(found: Cells, outside: dict, raw: dict) -> Table:
    """The same for kinds of networks."""
    groups: list[tuple[str, Callable[[Cell], bool]]] = [
        ("all", lambda cell: True),
        ("synthetic", lambda cell: not cell.problem.image),
        ("images", lambda cell: cell.problem.image),
        *((f"{depth} layers", lambda cell, depth=depth: cell.depth == depth) for depth in (5, 11)),
    ]
    rows = []
    for name, test in groups:
        keys = [cell.key for cell in found.where(test) if cell.key in outside]
        if not keys:
            continue
        held, before = (joined(parts[key] for key in keys) for parts in (outside, raw))
        order, training = against(outside, raw, keys)
        layers = 100 * float(held.layers.mean()) if len(held.layers) else math.nan
        rows.append((name, str(len(held.rho)), *map(_whole, (held.percent(), layers, before.percent())),
                     points(order), WORDS[order.side], points(training), WORDS[training.side]))  # fmt: skip
    header = ("networks", "number", "negative, %", "layers in random order, %", "untrained, %",
              "less random order, points", "than in random order", "less untrained, points",
              "than untrained")  # fmt: skip
    about = (
        "What is left, with k chosen on other networks; ± is two standard errors over cells. Networks of one cell, and "
        "cells of one problem, share their data, so that no choice of k is free of it."
    )
    return Table(header, rows, about, numbers=(1, 2, 3, 4, 5, 7))


def points(excess: Excess) -> str:
    """A difference in per cent, with two standard errors."""
    if not math.isfinite(excess.mean):
        return "–"
    error = f" ± {200 * excess.error:.1f}" if math.isfinite(excess.error) else ""
    return f"{100 * excess.mean:.1f}{error}".replace("-", "−")


def number(values: np.ndarray) -> str:
    """Mean of numbers, to two decimals."""
    known = values[np.isfinite(values)]
    return f"{known.mean():.2f}".replace("-", "−") if len(known) else "–"


def _whole(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}"
