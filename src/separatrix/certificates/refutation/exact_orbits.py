"""Orbits of piecewise-linear networks in the arithmetic of fractions: what is true only where nothing is rounded.

Maps that carry lengths over unchanged (the identity, a turn by a right angle, averages) have lines of equilibria and of
cycles, which no interval method can prove: nothing in a neighbourhood of them tells them from none.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.problem import Corners, Problem
from separatrix.certificates.refutation.rays import homogeneous
from separatrix.local.basin_cycles import power
from separatrix.systems.curves import Curve
from separatrix.systems.lure import Lure
from separatrix.tangent.columns import LureColumns

Point = list[Fraction]

_EXACT = ("abs", "clamp", "hardtanh", "identity", "leaky_relu", "prelu", "relu", "relu6", "rrelu", "softshrink")
"""Activations that are what their stored slopes and offsets say, to the last digit."""
_MOST = 20_000
"""Products in one step of f, above which fractions take too long."""
_LONGEST = 4
_TRIES = 3


def exact(network: Lure) -> bool:
    """Whether the network can be run in fractions, in a short time."""
    work = sum(w.numel() for block in network.blocks for w in block.weights.values())
    return work <= _MOST and all(
        (block.curve is None or block.curve.name in _EXACT)
        and bool(torch.isfinite(block.bias).all())
        and all(bool(torch.isfinite(w).all()) for w in block.weights.values())
        for block in network.blocks
    )


def image(network: Lure, x: Point) -> Point:
    """f(x), without rounding."""
    values = [x]
    z: Point = []
    for block in network.blocks:
        z = [Fraction(b) for b in block.bias.tolist()]
        for source, weight in block.weights.items():
            v = values[source]
            for i, row in enumerate(weight.tolist()):
                z[i] += sum((Fraction(w) * u for w, u in zip(row, v, strict=True) if w and u), Fraction(0))
        if block.curve is not None:
            values.append([_value(block.curve, place, number) for place, number in enumerate(z)])
    return z


def orbits(network: Lure, problem: Problem, data: dict[str, Any], statement: str) -> float:
    """1 if the statement is refuted by points with f^p(x) = x exactly, else 0.

    Takes ``points``, a list of points, each a list of fractions as text, and their ``period``. Contraction and
    stability are refuted by two points with p = 1, or by one with p > 1 and f(x) != x; all three statements by one
    other than 0 of a homogeneous map: all t x with t > 0 come back as well, and no ball holds them.
    """
    points = [[Fraction(part) for part in point] for point in data["points"]]
    period = int(data["period"])
    if not points or not 1 <= period <= _LONGEST or not exact(network):
        return 0.0
    moved = False
    for x in points:
        if len(x) != problem.n:
            return 0.0
        y = x
        for _ in range(period):
            if not _inside(problem.box, y):
                return 0.0
            y = image(network, y)
            moved = moved or (y != x)
        if y != x:
            return 0.0
    if problem.box is None and homogeneous(network) and any(any(x) for x in points):
        return 1.0
    several = any(x != points[0] for x in points)
    return float(statement != "boundedness" and (moved or (period == 1 and several)))


def search(network: Lure, problem: Problem, starts: Tensor, statement: str) -> dict[str, Any] | None:
    """Solve f^p(x) = x without rounding on regions whose linear maps have an eigenvalue 1, to rounding.

    Starts are the columns of (n, K). A solution takes the components that the equation leaves free from a start.
    """
    if not exact(network):
        return None
    system = LureColumns(network, torch.finfo(torch.float64).eps)
    n, found = problem.n, {}
    starts = starts[:, :: 1 + problem.n // 9 * 8]
    eye = torch.eye(n, dtype=torch.float64)
    for period in range(1, _LONGEST + 1):
        y, M = power(system, starts, period)
        M = M.permute(2, 0, 1)
        near = torch.isfinite(M).all(-1).all(-1) & torch.isfinite(y).all(0)
        # the line of solutions that a start is close to must go through its own region: try the nearest ones
        least = torch.linalg.svdvals(M[near] - eye)[:, -1]
        flat = near.nonzero()[:, 0][least <= 1e-12 * (1 + M[near].abs().sum(-1).amax(-1))]
        far = (y - starts)[:, flat].abs().amax(0)
        points: list[Point] = []
        for column in flat[far.argsort()][:_TRIES].tolist():
            solution = _solved(network, starts[:, column], period)
            if solution is not None and solution not in points:
                points.append(solution)
        found = {"points": [[str(part) for part in point] for point in points], "period": period}
        if points and orbits(network, problem, found, statement):
            return found
    return None


def _solved(network: Lure, start: Tensor, period: int) -> Point | None:
    """A point near the start with f^p(x) = x, if the start's linear map is that of the point; else None."""
    n = len(start)
    x = [Fraction(round(v * 2**12), 2**12) for v in start.tolist()]
    # derivatives at a point of a piecewise-linear map are differences, if they stay in its region
    base = _iterate(network, x, period)
    step = Fraction(1, 2**40)
    columns = []
    for j in range(n):
        moved = _iterate(network, [v + step * (i == j) for i, v in enumerate(x)], period)
        columns.append([(a - b) / step for a, b in zip(moved, base, strict=True)])
    rows = [[columns[j][i] - (i == j) for j in range(n)] + [x[i] - base[i]] for i in range(n)]
    change = _eliminated(rows, n)
    if change is None:
        return None
    found = [a + b for a, b in zip(x, change, strict=True)]
    return found if _iterate(network, found, period) == found else None


def _iterate(network: Lure, x: Point, period: int) -> Point:
    for _ in range(period):
        x = image(network, x)
    return x


def _eliminated(rows: list[Point], n: int) -> Point | None:
    """A solution of a linear system with the free unknowns at 0; None where there is none."""
    pivots: list[int] = []
    for j in range(n):
        at = len(pivots)
        pick = next((i for i in range(at, n) if rows[i][j]), None)
        if pick is None:
            continue
        rows[at], rows[pick] = rows[pick], rows[at]
        rows[at] = [v / rows[at][j] for v in rows[at]]
        for i in range(n):
            if i != at and rows[i][j]:
                rows[i] = [a - rows[i][j] * b for a, b in zip(rows[i], rows[at], strict=True)]
        pivots.append(j)
    if any(row[n] for row in rows[len(pivots) :]):
        return None
    found = [Fraction(0)] * n
    for row, j in zip(rows, pivots, strict=False):
        found[j] = row[n]
    return found


def _value(shape: Curve, place: int, z: Fraction) -> Fraction:
    assert shape.pieces is not None
    slopes, offsets = shape.pieces.slopes, shape.pieces.offsets
    if slopes.ndim == 2:
        slopes, offsets = slopes[:, place], offsets[:, place]
    k = sum(z >= Fraction(kink) for kink in shape.pieces.breakpoints.tolist())
    return Fraction(float(slopes[k])) * z + Fraction(float(offsets[k]))


def _inside(box: Corners | None, x: Point) -> bool:
    if box is None:
        return True
    return all(Fraction(a) <= v <= Fraction(b) for a, v, b in zip(box[0].tolist(), x, box[1].tolist(), strict=True))
