"""Three ways to fixed points and cycles: interval Newton, linear regions, Newton's method from many starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.local.basin_cycles import power
from separatrix.local.box_search import gathered, search
from separatrix.local.equilibrium_points import Left, Points, classified
from separatrix.local.interval_forms import Enclosed
from separatrix.local.interval_newton import prove
from separatrix.local.newton_starts import fixed_points
from separatrix.local.piecewise_equilibria import piecewise_equilibria
from separatrix.results.progress import Progress
from separatrix.systems.lure import Lure
from separatrix.tangent.columns import Columns, LureColumns

States = Float[Tensor, "n _"]
Corner = Float[Tensor, " n"]

_WORK = 5e9
"""Multiplications that a search takes when no number of boxes was given."""
_MANY = 16
"""Unproved solutions that are listed; more are taken for a continuum, of which the boxes are listed."""


@dataclass(frozen=True)
class Found:
    """What a route found; ``complete`` where there are no others, ``notes`` why not."""

    points: Points
    left: Left
    complete: bool
    arithmetic: str
    notes: tuple[str, ...] = ()
    boxes: int = 0


def by_intervals(
    network: Lure,
    lo: Corner,
    hi: Corner,
    period: int,
    starts: States,
    *,
    max_boxes: int | None,
    budget: int,
    progress: Progress,
) -> Found:
    """Interval Newton over the whole box, period by period."""
    system = LureColumns(network, torch.finfo(torch.float64).eps)
    size = float((hi - lo).max())
    pad = 1e-9 * torch.maximum(hi - lo, 1e-3 * torch.maximum(lo.abs(), hi.abs()))
    parts, left, notes, looked = [], [], [], 0
    known: dict[int, tuple[States, Tensor]] = {}
    for p in range(1, period + 1):
        enclosed = Enclosed(network, p)
        smaller = [known[d] for d in known if p % d == 0] or [(starts[:, :0], starts[0, :0])]
        lower, off = (torch.cat(part, -1) for part in zip(*smaller, strict=True))
        roots = fixed_points(system, starts, p, lo, hi)
        seeds = torch.cat([lower, *_images(system, roots, p)], 1)
        most = 200_000 if len(lo) <= 4 else 20_000
        allowed = max_boxes or int(min(most, max(1000, _WORK / (2 * enclosed.work))))
        done = search(enclosed, lo - pad, hi + pad, seeds, max_boxes=allowed, budget=budget, progress=progress)
        looked += done.boxes
        meets = ((done.lo <= hi[:, None]) & (done.hi >= lo[:, None])).all(0)
        boxes = gathered(done.lo[:, meets], done.hi[:, meets], size)
        left.append(Left.boxes(boxes[0].T.numpy(), boxes[1].T.numpy()))
        if bool(meets.any()):
            why = f"{allowed:,} boxes were not enough" if done.ended == "max_boxes" else "I - Df may be singular there"
            notes.append(f"period {p}: {boxes[0].shape[1]} boxes left ({why})")
        proof = done.proof
        old = _covers(proof.lo, proof.hi, lower, off.nan_to_num(posinf=0.0))
        vague = ~old & _covers(proof.lo, proof.hi, lower, -off.nan_to_num(posinf=0.0))
        if bool(vague.any()):
            notes.append(f"period {p}: {int(vague.sum())} points that may be of a smaller period")
        x, slack = proof.point[:, ~old], proof.slack[~old]
        inside = _inside(x, lo, hi, slack)
        unsure = roots[:, ~_in_boxes(roots, proof.lo, proof.hi)]
        loose = _unproved(unsure, boxes, lower, 1e-6 * size, 2e-3 * size)
        x = torch.cat([x[:, inside], loose], 1)
        slack = torch.cat([slack[inside], torch.full((loose.shape[1],), torch.inf, dtype=torch.float64)])
        order, cycle, lost = _cycles(system, x, p, lo, hi, 1e-6 * size)
        if lost:
            notes.append(f"period {p}: {lost} points whose images were not found among the others")
        x, slack = x[:, order], slack[order]
        # what is not proved may be as far off as the boxes are large in which it is listed
        found = enclosed(x, slack.nan_to_num(posinf=1e-3 * size).expand(len(x), -1).contiguous(), "slopes")
        spread = 2 * found.slope_radius.sum(1).amax(0)
        # a matrix with spectral radius below 1 that exceeds all slopes contracts a weighted largest component
        largest = (found.slope.abs() + found.slope_radius).permute(2, 0, 1)
        contracting = torch.isfinite(slack) & (torch.linalg.eigvals(largest).abs().amax(1) < 1 - 1e-6)
        proved = torch.isfinite(slack).numpy()
        parts.append(classified(system, x, p, cycle, slack.numpy(), proved, spread, contracting))
        known[p] = (x, slack)
    return Found(
        Points.joined(parts), Left.joined(left), not notes, "intervals, rounded outwards", tuple(notes), looked
    )


def _images(system: Columns, x: States, period: int) -> list[States]:
    """Points with all that follow them on their cycles."""
    found = [x]
    for t in range(period - 1 if x.shape[1] else 0):
        found.append(system.step(found[-1], t))
    return found


def _covers(lo: States, hi: States, x: States, off: Tensor) -> Tensor:
    """Which boxes hold one of the points, with all that is within ``off`` of it; if negative, some of that."""
    return ((x[:, None] - off >= lo[:, :, None]) & (x[:, None] + off <= hi[:, :, None])).all(0).any(1)


def _inside(x: States, lo: Corner, hi: Corner, slack: Tensor) -> Tensor:
    """Which points are in the closed box, as far as can be told."""
    room = slack + 1e-15 * x.abs().amax(0)
    return ((x >= lo[:, None] - room) & (x <= hi[:, None] + room)).all(0)


def _in_boxes(x: States, lo: States, hi: States) -> Tensor:
    """Which points lie in one of the boxes."""
    return ((x[:, :, None] >= lo[:, None]) & (x[:, :, None] <= hi[:, None])).all(0).any(1)


def _unproved(roots: States, boxes: tuple[States, States], lower: States, apart: float, small: float) -> States:
    """Solutions in boxes that are left: one for each small box (a bifurcation point), and those in others.

    Where large boxes hold many solutions there is a continuum of them, and none is listed.
    """
    known = ((roots[:, :, None] - lower[:, None]).abs().amax(0) <= apart).any(1)
    roots = roots[:, ~known]
    lo, hi = boxes
    holds = ((roots[:, :, None] >= lo[:, None] - apart) & (roots[:, :, None] <= hi[:, None] + apart)).all(0)
    tiny = (hi - lo).amax(0) <= small
    first = holds & (holds.cumsum(0) == 1) & tiny
    near_tiny = (holds & tiny).any(1)
    wide = holds.any(1) & ~near_tiny
    if int(wide.sum()) > _MANY:
        wide = torch.zeros_like(wide)
    chosen = roots[:, first.any(1) | wide]
    return _distinct(chosen, 100 * apart)


def _cycles(
    system: Columns, x: States, period: int, lo: Corner, hi: Corner, apart: float
) -> tuple[list[int], np.ndarray, int]:
    """Order of the points by cycles and along them, numbers of the cycles, and how many points belong to none.

    A cycle counts if all its points are in the box; those with a point outside are left out and are not lost.
    """
    order: list[int] = []
    lost, free = 0, set(range(x.shape[1]))
    while free:
        first = min(free, key=lambda k: x[:, k].tolist())
        cycle, y, outside, missing = [first], x[:, first : first + 1], False, False
        for t in range(period - 1):
            y = system.step(y.to(system.dtype), t).double()
            distance = (x - y).abs().amax(0)
            if not bool(_inside(y, lo, hi, y.new_full((1,), apart))[0]):
                outside = True
                break
            near = int(distance.argmin())
            if float(distance[near]) > apart or near in cycle:
                missing = True
                break
            cycle.append(near)
            y = x[:, near : near + 1]
        free -= set(cycle)
        if missing:
            lost += len(cycle)
        elif not outside:
            order += cycle
    return order, np.arange(len(order)) // period, lost


def by_regions(network: Lure, lo: Corner, hi: Corner, period: int, memory: int | str) -> Found:
    """The linear regions of a piecewise-linear map of the plane; each point is then proved on its own."""
    exact = piecewise_equilibria(network, lo.numpy(), hi.numpy(), period=period, memory=memory)
    proved = np.zeros(len(exact.position), dtype=bool)
    slack = exact.slack.copy()
    for p in np.unique(exact.period):
        rows = np.flatnonzero(exact.period == p)
        x = torch.from_numpy(exact.position[rows]).T.contiguous()
        proof = prove(Enclosed(network, int(p)), x, float((hi - lo).max()))
        proved[rows] = proof.proved.numpy()
        slack[rows] = np.where(proof.proved.numpy(), proof.slack.numpy(), slack[rows])
    points = Points(
        exact.position, exact.period, exact.cycle, slack, proved, exact.residual, exact.eigenvalues, exact.stability
    )
    left = [Left.boxes(exact.unresolved_lo, exact.unresolved_hi)]
    ends = exact.segments
    left.append(Left(ends.min(1), ends.max(1), np.ones(len(ends), dtype=int), ends[:, 0], ends[:, 1]))
    if exact.polygons:
        low, high = (np.stack([f(corners, 0) for corners in exact.polygons]) for f in (np.min, np.max))
        nan = np.full_like(low, np.nan)
        left.append(Left(low, high, np.full(len(low), 2), nan, nan))
    arithmetic = "float64: regions thinner than 1e-12 of the pre-activations are not resolved"
    return Found(points, Left.joined(left), exact.complete, arithmetic, exact.notes)


def by_starts(system: Columns, lo: Corner, hi: Corner, period: int, starts: States, reason: str) -> Found:
    """Newton's method from many starts."""
    size, n = float((hi - lo).max()), len(lo)
    apart = 1e-6 * size if system.epsilon < 1e-9 else 1e-3 * size
    parts, notes = [], [reason] if reason else []
    for p in range(1, period + 1):
        x = fixed_points(system, starts, p, lo, hi)
        for d in (d for d in range(1, p) if p % d == 0 and x.shape[1]):
            y = x.to(system.dtype)
            for t in range(d):
                y = system.step(y, t)
            x = x[:, (y.double() - x).abs().amax(0) > apart]
        # the images of a solution are solutions, whether or not a start led there
        x = _distinct(torch.cat(_images(system, x.to(system.dtype), p), 1).double(), apart)
        x = x[:, _inside(x, lo, hi, x.new_full((x.shape[1],), 1e-9 * size))]
        order, cycle, lost = _cycles(system, x, p, lo, hi, 10 * apart)
        if lost:
            notes.append(f"period {p}: {lost} points whose images were not found among the others")
        x = x[:, order]
        slack, proved = np.full(len(order), np.inf), np.zeros(len(order), dtype=bool)
        parts.append(classified(system, x, p, cycle, slack, proved, _kinks(system, x, p, size)))
    return Found(
        Points.joined(parts), Left.boxes(np.zeros((0, n)), np.zeros((0, n))), False, str(system.dtype)[6:], tuple(notes)
    )


def _distinct(x: States, apart: float) -> States:
    kept = x[:, :0]
    while x.shape[1]:
        kept = torch.cat([kept, x[:, :1]], 1)
        x = x[:, (x - x[:, :1]).abs().amax(0) > apart]
    return kept


def _kinks(system: Columns, x: States, period: int, size: float) -> Float[Tensor, " K"]:
    """How much the derivative may be off at points that Newton's method found.

    What it changes within a millionth of the box, where that is more than a smooth map's would; and within the distance
    that the points may be off by, which is large where I - Df is almost singular: at a fold the computed derivative
    tells no side.
    """
    worst = torch.zeros(x.shape[1], dtype=torch.float64)
    if not x.shape[1]:
        return worst
    own = power(system, x.to(system.dtype), period)[1].double()
    steep = own.abs().sum(1).amax(0)
    inverse = torch.linalg.inv_ex(own.permute(2, 0, 1) - torch.eye(len(x), dtype=torch.float64))[0]
    residual = 1024 * system.epsilon * x.abs().amax(0).clamp(min=1e-3 * size) * steep.clamp(min=1.0)
    off = 4 * residual * inverse.abs().sum(2).amax(1).nan_to_num(nan=torch.inf)
    off = off.clamp(max=1e-2 * size)
    bent = worst
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        way = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        kinked, moved = (
            (power(system, (x + way * far).to(system.dtype), period)[1].double() - own).abs().sum(1).amax(0)
            for far in (1e-6 * size, off)
        )
        worst, bent = torch.maximum(worst, kinked), torch.maximum(bent, moved)
    return torch.maximum(torch.where(worst > 1e-3 * (1 + steep), worst, 0.0), bent)
