"""Cells cut along the kinks of a piecewise-linear map, so that they cover it everywhere, in spite of rounding.

A point x is the ray (x, 1), and the plane the rays (y, tau) with tau > 0, so that unbounded regions are cones like all
others. What is claimed of the result: *almost every point of the domain lies in a cell whose A x + b is f near that
point.* Then the domain is a union of finitely many closed convex sets with f affine on each, every segment is cut into
finitely many parts on each of which f is one of the maps, and what bounds all A_i bounds f's slopes.

Why it holds. A cell is the cone of a loop of real rays, of which the computer knows numbers and a relative error; its
functionals (pre-activations as linear functions of the ray) are known as intervals that hold the true ones. Let g be a
functional and C a cell, in which every point has the pieces so far.

- The part {g >= 0} of C is covered by the rays at which g may be positive or zero, u >= 0 for its upper bound u, and
  by one more ray on each edge that leads from such a ray r (u) to another r' (u' < 0): (1 - l) r + l r' for a floating
  point l >= u / (u - u'). There g <= (1 - l) u + l u' <= 0, so the crossing lies between r and this ray. The new ray is
  the exact combination; the numbers stored for it are off by a few units. All vertices of {g >= 0} within C are thus in
  the part, which is inscribed in C: convex, and in order. Likewise for {g <= 0}: the two parts overlap.
- Only where g <= 0 for certain at all rays is there no upper part: {g >= 0} is then without interior, or g = 0 on all
  of C, where both pieces give the same function. A part of fewer than three rays has no interior either.
- Rays of one cell have components of one sign, so that combinations do not cancel and errors stay relative. Zeros
  are exact, in rays and in functionals: networks without biases keep their corner at the origin.
- If nothing but rounding may lie beyond a kink, kinks often coincide (v and -v, or relu(relu(z))) and nothing is there:
  then rational arithmetic may show that g >= 0 follows from one or two of the cell's own inequalities.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from separatrix.certificates.planar.cells import LEAST, Cell, Label, Ray, scaled
from separatrix.certificates.planar.exact_functionals import ExactFunctionals
from separatrix.certificates.planar.stages import Incomplete, Stage, Values
from separatrix.certificates.verified import UNIT, UP

THIN = 2.0**-30
"""Share of the terms' sizes within which a part of a cell is so thin that it is looked at in rational arithmetic."""


@dataclass(frozen=True)
class Cutter:
    """Cuts cells along the kinks of one layer."""

    stage: Stage
    place: int
    z: Values
    exact: ExactFunctionals
    least: int

    def cut(self, cell: Cell, parent: int, prefix: bytes, j: int, k: int) -> tuple[Cell | None, Cell | None]:
        """Parts of a cell below and above a kink; None where there is nothing."""
        at = float(self.stage.breaks[j, k])
        g, radius = self.z.middle[j, parent].tolist(), self.z.radius[j, parent].tolist()
        live = self.z.live[j, parent].tolist()
        if at:
            g[2] -= at
            radius[2] += 2 * UNIT * abs(g[2])
            live[2] = True
        value, error, thin_above, thin_below = [], [], True, True
        for a, b, tau, own in cell.rays:
            x, y, t = g[0] * a, g[1] * b, g[2] * tau
            level, size = x + y + t, abs(x) + abs(y) + abs(t)
            spread = radius[0] * abs(a) + radius[1] * abs(b) + radius[2] * tau
            slack = (size * (8 * UNIT + own) + spread * (1 + own)) * UP
            if (live[0] and a) or (live[1] and b) or (live[2] and tau):
                slack += LEAST
            value.append(level)
            error.append(slack)
            thin_above &= level <= THIN * size
            thin_below &= level >= -THIN * size
        upper = [v + e for v, e in zip(value, error, strict=True)]
        lower = [e - v for v, e in zip(value, error, strict=True)]
        if max(lower) <= 0:
            return None, cell
        if max(upper) <= 0:
            return cell, None
        label = (self.place, j, k)
        if thin_above and self.exact.empty(cell, prefix, label, 1, value):
            return cell, None
        if thin_below and self.exact.empty(cell, prefix, label, -1, value):
            return None, cell
        return self._part(cell, lower, (*label, -1)), self._part(cell, upper, (*label, 1))

    def _part(self, cell: Cell, u: list[float], label: Label) -> Cell | None:
        """What holds the part of a cell where a functional with upper bounds u at its rays is not negative."""
        count = len(u)
        out = [k for k in range(count) if u[k] < 0]
        if not out:
            return cell
        if len(out) == count:
            return None
        first, length = _longest_run(out, count)
        kept = [(first + length + k) % count for k in range(count - length)]
        rays, edges = [cell.rays[k] for k in kept], [cell.edges[k] for k in kept]
        # u may be negative at rays that are kept to leave one run out
        before, after = kept[0] - 1, (kept[-1] + 1) % count
        if u[kept[-1]] > 0:
            rays.append(_between(cell.rays[kept[-1]], cell.rays[after], u[kept[-1]], u[after]))
            edges.append(label)
        else:
            edges[-1] = label
        if u[kept[0]] > 0 and not (count == 2 and len(rays) == 2):
            rays.insert(0, _between(cell.rays[kept[0]], cell.rays[before], u[kept[0]], u[before]))
            edges.insert(0, cell.edges[before])
        return Cell(rays, edges) if len(rays) >= self.least else None


def _longest_run(out: list[int], count: int) -> tuple[int, int]:
    """Where the longest cyclic run of places begins, and its length."""
    inside = set(out)
    best = (0, 0)
    for begin in out:
        if (begin - 1) % count in inside and len(out) < count:
            continue
        length = 1
        while (begin + length) % count in inside:
            length += 1
        best = max(best, (begin, length), key=lambda run: run[1])
    return best


def _between(r: Ray, s: Ray, u: float, v: float) -> Ray:
    """A ray (1 - l) r + l s with l >= u / (u - v), for u > 0 > v."""
    share = min(1.0, max(u / (u - v) * (1 + 16 * UNIT), 2.0**-60))
    rest = 1 - share
    # three roundings each, no cancellation
    a, b, tau = (rest * p + share * q for p, q in zip(r[:3], s[:3], strict=True))
    for p, q, x in zip(r[:3], s[:3], (a, b, tau), strict=True):
        if (p or q) and abs(x) < LEAST:
            raise Incomplete("regions are too thin for floating point")
    return scaled(a, b, tau, max(r[3], s[3]) + 4 * UNIT)


def cut_all(
    cutter: Cutter,
    cells: list[Cell],
    pattern: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    limit: int,
    until: float,
) -> tuple[list[Cell], np.ndarray, np.ndarray]:
    """Cut all cells by a layer; returns the new ones, the cell that each lies in, and its pieces (cells, n)."""
    found: list[Cell] = []
    parents: list[int] = []
    codes: list[bytes] = []
    open_ = low != high
    for c, cell in enumerate(cells):
        now = [(cell, low[:, c].tobytes())]
        chosen = np.flatnonzero(open_[:, c])
        prefix = pattern[c].tobytes() if len(chosen) else b""
        for j in chosen.tolist():
            following = []
            for part, code in now:
                rest: Cell | None = part
                for k in range(int(low[j, c]), int(high[j, c])):
                    assert rest is not None
                    below, rest = cutter.cut(rest, c, prefix, j, k)
                    if below is not None:
                        following.append((below, code[:j] + bytes([k]) + code[j + 1 :]))
                    if rest is None:
                        break
                if rest is not None:
                    following.append((rest, code[:j] + bytes([int(high[j, c])]) + code[j + 1 :]))
            now = following
            if perf_counter() > until:
                raise Incomplete("the time ended before all regions were found", "allow more time, or another method")
            if len(now) > limit:
                break
        if len(found) + len(now) > limit:
            raise Incomplete(f"there are more than {limit:,} regions", "allow more, or another method")
        for part, code in now:
            found.append(part)
            parents.append(c)
            codes.append(code)
    n = len(low)
    return found, np.array(parents, dtype=int), np.frombuffer(b"".join(codes), dtype=np.uint8).reshape(len(found), n)
