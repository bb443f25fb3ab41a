"""From a field on a grid, and the model where there is one, to ridge lines."""

from __future__ import annotations

import numpy as np

from separatrix.tangent.ridge_exact import ExactField
from separatrix.tangent.ridge_field import GridField
from separatrix.tangent.ridge_lines import link, prominence
from separatrix.tangent.ridge_newton import Refined, RidgeStatus, refine
from separatrix.tangent.ridge_points import RidgePoints, find_points, height_direction
from separatrix.tangent.ridge_result import RidgeLines


def search(
    one: GridField, exact: ExactField | None, definition: str, gap: float, join: float, shortest: int
) -> tuple[RidgeLines, dict[str, int]]:
    """Find ridge points, refine them if there is a model, and link them; with counts of what was left out.

    Of a network with kinks only the points that converge are kept: on the grid every jump looks like a ridge.
    """
    v, close = one.v, ~(one.gap >= gap)
    if definition == "height":
        v, close = height_direction(one.f, one.steps, one.metric), np.zeros_like(close)
    found = find_points(one.f, v, close, one.steps, one.corner, one.metric, one.eps)
    points = _coarse(found) if exact is None else _refined(one, exact, found, gap)
    good = np.ones(len(points.status), dtype=bool)
    if exact is not None and exact.kinked:
        good = points.status == RidgeStatus.CONVERGED
    node, linked = found.node[good], Refined(*(a[good] for a in points))
    cell = np.array(one.steps)
    # along a ridge its normal vanishes
    tangent = np.stack([-linked.normal[:, 1], linked.normal[:, 0]], axis=1) / cell
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    lines, dropped = link((linked.position - one.corner) / cell, tangent, join, shortest)
    kept = Refined(*(a[lines.order] for a in linked))
    counts = found.counts | {
        "unconverged_points": int((points.status > RidgeStatus.SUB_PIXEL).sum()),
        "dropped_points": len(good) - len(lines.order),
        "dropped_lines": dropped,
    }
    v_1 = kept.direction if definition == "c-ridge" else one.v[tuple(node[lines.order].T)]
    length = np.sqrt(np.einsum("pi,ij,pj->p", kept.normal, np.linalg.inv(one.metric), kept.normal))
    alignment = np.minimum(np.abs((kept.normal * v_1).sum(1)) / length, 1.0)
    fall = prominence(one.f, (kept.position - one.corner) / cell, kept.direction / cell, kept.stretch)
    return RidgeLines(kept, fall, alignment, lines.sizes, lines.closed), counts


def _coarse(found: RidgePoints) -> Refined:
    """Sub-pixel points, as they are."""
    count = len(found.node)
    status, residual = np.full(count, int(RidgeStatus.SUB_PIXEL)), np.full(count, np.nan)
    return Refined(found.position, found.direction, found.normal, found.stretch, found.strength, residual, status)


def _refined(one: GridField, exact: ExactField, found: RidgePoints, gap: float) -> Refined:
    """Points moved by Newton's iteration; the others keep what the grid gives."""
    fine = refine(exact, found.position, one.steps, one.box, gap)
    good = fine.status == RidgeStatus.CONVERGED
    chosen = [
        np.where(good[:, None] if a.ndim == 2 else good, a, b)
        for a, b in zip(fine[:5], _coarse(found)[:5], strict=True)
    ]
    return Refined(chosen[0], chosen[1], chosen[2], chosen[3], chosen[4], fine.residual, fine.status)
