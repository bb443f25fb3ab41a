"""The Dataset that labelled points and their attractors become."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from separatrix.local.basin_atlas import ESCAPE, UNDECIDED, Atlas, Attractor
from separatrix.local.basin_cycles import Cycle, multipliers, power
from separatrix.local.basin_sets import CellSet
from separatrix.local.iterated import built_from
from separatrix.results.dataset import Entry, build
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.tangent.inputs import Plane, Points

if TYPE_CHECKING:
    import xarray as xr

KINDS = ("fixed-point", "cycle", "quasi-periodic", "chaotic", "unresolved", "continuum")
_SAMPLES = 512
"""States of a set that are kept."""


class _Row(NamedTuple):
    """One attractor; exponents per step."""

    kind: str
    period: int
    exponent: float
    error: float
    radius: float
    states: Tensor


def dataset(system: Any, where: Plane | Points, atlas: Atlas, label: Tensor, settings: dict[str, Any]) -> xr.Dataset:
    """Name everything, largest share first, and check it against the schema."""
    final = [_final(atlas, number) for number in range(len(atlas.attractors))]
    label = torch.where(label >= 0, torch.tensor([*final, 0])[label.clamp(min=-1)], label)
    numbers, counts = torch.unique(label[label >= 0], return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    numbers, counts = numbers[order], counts[order]
    rows = [_row(atlas, atlas.attractors[int(number)]) for number in numbers]
    renamed = torch.full((len(atlas.attractors) + 1,), UNDECIDED)
    renamed[numbers] = torch.arange(len(numbers))
    escaped, total = int((label == ESCAPE).sum()), len(label)
    label = torch.where(label >= 0, renamed[label.clamp(min=-1)], torch.where(label == ESCAPE, ESCAPE, UNDECIDED))
    dt, unit = float(getattr(system, "dt", 1.0)), str(getattr(system, "unit", "1/step"))
    low, high = clopper_pearson(counts.numpy(), total)
    sizes = np.array([row.states.shape[1] for row in rows], dtype=np.int64)
    position = torch.cat([row.states.T for row in rows]) if rows else torch.zeros(0, where.points(0, 1).numel())
    plane = isinstance(where, Plane)
    flat = "point" if plane else "index"  # where points are starting points, "point" numbers them
    components = "input" if where.kind == "plane" else "axis"  # of a plane there are two axes
    data: dict[str, Entry] = {
        "label": (
            ("x", "y") if plane else ("point",),
            label.reshape(where.shape).numpy().astype(np.int32),
            flag_attrs(
                {"escape": ESCAPE, "undecided": UNDECIDED}, "number of the attractor along line", dtype=np.int32
            ),
        ),
        "kind": (
            ("line",),
            np.array([KINDS.index(row.kind) for row in rows], dtype=np.int8),
            flag_attrs(KINDS),
        ),
        "period": (("line",), np.array([row.period for row in rows], dtype=np.int64), {"units": "step"}),
        "exponent": (
            ("line",),
            np.array([row.exponent / dt for row in rows]),
            {"long_name": "largest Lyapunov exponent", "units": unit},
        ),
        "standard_error": (("line",), np.array([row.error / dt for row in rows]), {"units": unit}),
        "radius": (
            ("line",),
            np.array([row.radius for row in rows]),
            {"long_name": "states that were tried came back from twice this distance; an estimate"},
        ),
        "share": (("line",), counts.numpy() / total, {"long_name": "share of the points; an estimate"}),
        "share_lo": (("line",), low, {"long_name": "lower end of the 95 % Clopper-Pearson interval"}),
        "share_hi": (("line",), high, {"long_name": "upper end of the 95 % Clopper-Pearson interval"}),
        "start": (("line",), np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)),
        "count": (("line",), sizes),
        "position": ((flat, components), position.double().numpy()),
    }
    coords: dict[str, Entry] = {"line": (("line",), np.arange(len(rows)))}
    if isinstance(where, Plane):
        coords |= {"x": (("x",), where.x.numpy()), "y": (("y",), where.y.numpy())}
        if where.kind == "plane":
            data["origin"] = (("input",), where.origin.flatten().numpy())
            data["basis"] = (("axis", "input"), torch.stack([where.e1.flatten(), where.e2.flatten()]).numpy())
    else:
        coords["point"] = (("point",), np.arange(len(where)))
    interval = "independent points" if where.kind == "points" else "points taken as independent, which a grid's are not"
    attrs: dict[str, Any] = {
        "title": "basins of attraction, estimated by iteration",
        "estimate": f"shares and attractors are estimates from {total} points; intervals: 95 %, {interval}",
        "method": f"iteration by {atlas.system.method}",
        "form": "logarithm of the largest multiplier over the period, or growth of one tangent vector",
        "inputs": where.kind,
        "escape_share": escaped / total,
        "undecided_share": int((label == UNDECIDED).sum()) / total,
        "provenance": provenance("basins", model=built_from(system), **settings),
    }
    return build(data, coords, attrs)


def clopper_pearson(counts: np.ndarray, total: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Clopper and Pearson's interval of a share, from counts in ``total`` independent trials (Biometrika 26, 1934)."""
    from scipy.stats import beta

    counts = np.asarray(counts, dtype=float)
    tail = (1 - level) / 2
    low = np.where(counts > 0, beta.ppf(tail, np.maximum(counts, 1), total - counts + 1), 0.0)
    high = np.where(counts < total, beta.ppf(1 - tail, counts + 1, np.maximum(total - counts, 1)), 1.0)
    return low, high


def _final(atlas: Atlas, number: int) -> int:
    """Number of the set that this one has been joined with."""
    one = atlas.attractors[number]
    return atlas.attractors.index(one.resolved()) if isinstance(one, CellSet) else number


def _row(atlas: Atlas, one: Attractor) -> _Row:
    if isinstance(one, Cycle):
        kind = "fixed-point" if one.period == 1 else "cycle"
        return _Row(kind, one.period, one.exponent, one.error, one.radius, one.points)
    if isinstance(one, CellSet):
        states = one.states[:, :: math.ceil(one.states.shape[1] / _SAMPLES)]
        return _Row(one.kind, 0, *one.exponent(), math.nan, states)
    states = one.states[:, :: math.ceil(one.states.shape[1] / _SAMPLES)]
    largest = multipliers(power(atlas.system, states, one.period)[1]).abs().amax(1)
    exponent = float(largest.log().mean()) / one.period
    extent = float((one.states.amax(1) - one.states.amin(1)).max())
    if extent <= 10 * atlas.ruler.same(states):  # one point, that orbits come to more slowly than exponentially
        return _Row("fixed-point" if one.period == 1 else "cycle", one.period, exponent, 0.0, 0.0, states[:, :1])
    return _Row("continuum", one.period, exponent, 0.0, math.nan, states)
