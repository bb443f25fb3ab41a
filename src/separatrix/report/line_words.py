"""Ridges and their distances from the boundary, put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from separatrix.figures import reading
from separatrix.report.document import Table
from separatrix.tangent.curve_distance import curve_distance
from separatrix.tangent.inputs import Plane

if TYPE_CHECKING:
    import xarray as xr

NEAR = 2.0
"""Cells within which two lines are called one."""


def ridge_words(name: str, lines: xr.Dataset, why: str) -> str:
    """How many ridges a layer has, how marked, and how found; ``why`` not better, where they are those of the grid."""
    count, points = lines.sizes["line"], lines.sizes["point"]
    text = f"At {name} there {'is one ridge' if count == 1 else f'are {count} ridges'}: "
    text += f"{'a line' if count == 1 else 'lines'} across which the stretch has a maximum, by "
    text += f"{float(lines['prominence'].median()):.2g} nat in the median over {points:,} points"
    if lines.attrs["method"] != "newton":
        return f"{text}; good to the field's grid only, because {why}."
    kept = int(lines.attrs.get("unconverged_points", 0))
    text += ", found with the model's exact derivatives"
    return text + (f" but for {kept:,} points." if kept else ".")


def distances(
    ridges: dict[str, xr.Dataset], boundary: xr.Dataset, where: Plane, every: list[str]
) -> tuple[list[str], list[Table]]:
    """Sentences, and a table, on how far the ridges of each layer and the boundary are apart.

    ``every`` are the labels of all layers of the field, which tell how short a name may be.
    """
    if not boundary.sizes["line"]:
        return ["The answer is the same everywhere on this plane, so there is no boundary."], []
    cell = float(max(where.x[1] - where.x[0], where.y[1] - where.y[0]))
    prose, rows = [], []
    for layer, lines in ridges.items():
        if not lines.sizes["line"]:
            continue
        d = {str(name): float(value) for name, value in curve_distance(lines, boundary).data_vars.items()}
        name, many = reading.short(layer, every), lines.sizes["line"] > 1
        prose.append(
            f"Half of the boundary lies within {_length(d['median_ba'])} of {'a' if many else 'the'} ridge at {name}, "
            f"and half of the {'ridges' if many else 'ridge'} within {_length(d['median_ab'])} of the boundary; a cell "
            f"of the field is {_length(cell)} wide. {_verdict(d, NEAR * cell)}"
        )
        for way, text in (("ba", f"boundary to ridges at {name}"), ("ab", f"ridges at {name} to boundary")):
            rows.append([text, *(_length(d[f"{kind}_{way}"]) for kind in ("median", "q95", "max"))])
    if not rows:
        return [], []
    prose.append("Distances are lengths in input space; the larger of two maxima is the Hausdorff distance.")
    return prose, [Table(["distance to the nearest point", "median", "95 %", "largest"], rows, "", (1, 2, 3))]


def _verdict(d: dict[str, float], near: float) -> str:
    there, back = d["q95_ab"] <= near, d["q95_ba"] <= near
    if there and back:
        return "So ridges and boundary are the same lines here, to within two cells."
    if back:
        return "So the boundary is a ridge, to within two cells, but there are ridges away from it."
    if there:
        return "So all ridges follow the boundary, to within two cells, but not all of the boundary is a ridge."
    if min(d["median_ab"], d["median_ba"]) <= near:
        return "So they run together in part only."
    return "So ridges and boundary are different lines here."


def _length(value: float) -> str:
    return np.format_float_positional(value, precision=2, fractional=False, trim="-")
