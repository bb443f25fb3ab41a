"""Leading singular values of many large maps at once, by block Lanczos: products with the maps and their transposes.

Golub and Kahan, SIAM J. Numer. Anal. 2, 205 (1965); in blocks, Golub, Luk and Overton, ACM Trans. Math. Softw. 7, 149
(1981); thick restart, Baglama and Reichel, SIAM J. Sci. Comput. 27, 19 (2005).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_STEPS = 300
"""Steps after which an iteration is stopped, each a product with the map and one with its transpose."""


@runtime_checkable
class Products(Protocol):
    """Linear maps, one a point, known by what they do to rows: (points, block, d) to (points, block, n) and back.

    Attributes
    ----------
    points, outputs, inputs : int
        How many maps, and n and d.
    epsilon : float
        Relative rounding of a product.
    device : torch.device
        Where rows are.
    """

    points: int
    outputs: int
    inputs: int
    epsilon: float
    device: Any

    def apply(self, rows: Tensor) -> Tensor:
        """Apply each map to its rows; float64 in and out."""

    def transpose(self, rows: Tensor) -> Tensor:
        """Apply each map's transpose."""


class Leading(NamedTuple):
    """Leading singular triples of each of p maps.

    Attributes
    ----------
    values : Tensor (p, k)
        Largest first, 0 where the rank is smaller; NaN for a map that gave NaN or infinity.
    right, left : Tensor (p, k, d) and (p, k, n)
        Singular vectors as rows, with map(right_i) = value_i left_i.
    residual : Tensor (p, k)
        sqrt((|A v - s u|^2 + |A' u - s v|^2) / 2), measured anew at the end. The map has a singular value (or, where
        the residual exceeds s, a value of zero) within this distance of s; that it is the i-th one is not proved. NaN
        where there is none (a value of zero).
    converged : Tensor (p, k), bool
        Whether the residual is at most the tolerance times the value, the value lies below the floor, or the rank is
        exhausted.
    """

    values: Float[Tensor, "p k"]
    right: Float[Tensor, "p k d"]
    left: Float[Tensor, "p k n"]
    residual: Float[Tensor, "p k"]
    converged: Bool[Tensor, "p k"]


@dataclass
class _Space:
    """Krylov spaces: rows of V and U, the projected maps B with U A V' = B, all of them filled up to ``used``."""

    V: Tensor
    U: Tensor
    B: Tensor
    scale: Tensor
    dropped: Tensor
    finite: Tensor
    used: int = 0

    @classmethod
    def empty(cls, maps: Products, most: int, block: int) -> _Space:
        """Room for the rows of V (and the next block), of U, and for B."""
        p = maps.points
        V, U, B = (
            torch.zeros(p, rows, size, dtype=torch.float64, device=maps.device)
            for rows, size in ((most + block, maps.inputs), (most, maps.outputs), (most, most))
        )
        zero = torch.zeros(p, dtype=torch.float64, device=maps.device)
        return cls(V, U, B, zero, zero, zero == 0)

    def of(self, places: Tensor) -> _Space:
        """The spaces of some points."""
        V, U, B, scale, dropped, finite = (
            part[places] for part in (self.V, self.U, self.B, self.scale, self.dropped, self.finite)
        )
        return _Space(V, U, B, scale, dropped, finite, self.used)


@torch.no_grad()
def leading(
    products: Callable[[Tensor | None], Products],
    k: int,
    *,
    block: int,
    tolerance: float,
    floor: float = 0.0,
    columns: int | None = None,
    steps: int = _STEPS,
    seed: int = 0,
) -> Leading:
    """Find the k largest singular values of each map, and their vectors.

    Parameters
    ----------
    products : callable
        Gives the maps at the places named by a tensor, or all of them for None. Points that have converged are left out
        once they are half of all, so it is called again.
    k : int
        How many; not more than the smaller side.
    block : int
        Rows multiplied at once, 1 to k. A value that occurs m times is found min(m, block) times: with ``block = k``
        no leading value can be missed for being equal to another.
    tolerance : float
        Largest residual relative to the value.
    floor : float
        Values below this share of the largest one are rounding, and need not converge.
    columns : int, optional
        Rows kept before the iteration is restarted from its best ones; at least k + 3 block, by default 32 more than k
        or k + 8 block.
    steps : int
        Steps after which the iteration stops, converged or not.
    seed : int
        Of the random start, which is the same for every map, so that a result does not depend on its neighbours.

    Notes
    -----
    Ritz values never exceed the singular values of the same index, in exact arithmetic. That they are close to those,
    and not to some smaller ones, holds with probability 1 for an exhausted space and is likely otherwise; no residual
    proves it. All rows are kept orthogonal to all others (twice, in float64). Cost of a step: one product with the maps
    and one with their transposes on ``block`` rows, and O(columns block (n + d)).
    """
    maps = products(None)
    most = max(columns or k + max(32, 8 * block), k + 3 * block)
    space = _Space.empty(maps, most, block)
    found = _Found.empty(maps, k)
    alive = torch.arange(maps.points, device=maps.device)
    pending = torch.ones_like(space.finite)
    _begin(space, maps, block, seed)
    for step in range(1, steps + 1):
        coupling = _step(space, maps, block)
        m = space.used
        if m < k:
            continue
        P, s, Qh = torch.linalg.svd(space.B[:, :m, :m])
        rest = _norm(P[:, m - block :, :k].mT @ coupling)
        exhausted = ~coupling.flatten(1).any(1)
        enough = (rest <= tolerance / 2 * s[:, :k]) | (s[:, :k] + rest <= floor * s[:, :1])
        done = enough.all(1) | exhausted | ~space.finite
        ended = pending & (done | (step == steps))
        if bool(ended.any()):
            found.put(alive, ended, Qh[:, :k] @ space.V[:, :m], space, exhausted)
            pending = pending & ~ended
        if not bool(pending.any()):
            break
        if m + block > most:
            _restart(space, P, s, Qh, min(most - 2 * block, k + max(2 * block, most // 3)), block)
        if 2 * int(pending.sum()) <= len(pending):
            alive, space = alive[pending], space.of(pending)
            pending = pending[pending]
            del maps
            maps = products(alive)
    if maps.points < len(found.right):
        del space, maps
        maps = products(None)
    return _measured(maps, found, block, tolerance, floor)


@dataclass
class _Found:
    """What was left of the points' spaces when they ended."""

    right: Tensor
    dropped: Tensor
    finite: Tensor
    exhausted: Tensor

    @classmethod
    def empty(cls, maps: Products, k: int) -> _Found:
        right = torch.zeros(maps.points, k, maps.inputs, dtype=torch.float64, device=maps.device)
        zero = torch.zeros(maps.points, dtype=torch.float64, device=maps.device)
        return cls(right, zero, zero == 0, zero != 0)

    def put(self, alive: Tensor, ended: Tensor, right: Tensor, space: _Space, exhausted: Tensor) -> None:
        where = alive[ended]
        self.right[where], self.dropped[where] = right[ended], space.dropped[ended]
        self.finite[where], self.exhausted[where] = space.finite[ended], exhausted[ended]


def _begin(space: _Space, maps: Products, block: int, seed: int) -> None:
    """Random rows on the smaller side."""
    wide = maps.outputs < maps.inputs
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(maps.outputs if wide else maps.inputs, block, generator=generator, dtype=torch.float64)
    rows = torch.linalg.qr(start)[0].mT.to(maps.device).expand(maps.points, -1, -1)
    if wide:
        _extend(space.V, 0, _finite(maps.transpose(rows.contiguous()), space), space, 8 * maps.epsilon)
    else:
        space.V[:, :block] = rows


def _step(space: _Space, maps: Products, block: int) -> Tensor:
    """Take the newest rows of V through the maps and back; returns the coupling to the next ones, (p, block, block)."""
    m, noise = space.used, 8 * maps.epsilon
    there = _finite(maps.apply(space.V[:, m : m + block].contiguous()), space)
    share = _extend(space.U, m, there, space, noise)
    space.B[:, : m + block, m : m + block] = share.mT
    back = _finite(maps.transpose(space.U[:, m : m + block].contiguous()), space)
    space.used = m + block
    return _extend(space.V, m + block, back, space, noise)[:, :, m + block :]


def _finite(rows: Tensor, space: _Space) -> Tensor:
    good = torch.isfinite(rows).flatten(1).all(1)
    space.finite = space.finite & good
    return rows if bool(good.all()) else torch.where(good[:, None, None], rows, 0.0)


def _extend(
    basis: Float[Tensor, "p rows size"], used: int, fresh: Float[Tensor, "p block size"], space: _Space, noise: float
) -> Float[Tensor, "p block used"]:
    """Append rows to a basis, orthonormal to all before; a row of which only rounding is left becomes zero.

    Returns the coefficients of the fresh rows in the basis, (p, block, used + block).
    """
    block = fresh.shape[1]
    share = fresh.new_zeros(len(fresh), block, used + block)
    space.scale = torch.maximum(space.scale, _norm(fresh).amax(1))
    before = basis[:, :used]
    for _ in range(2 if used else 0):
        part = fresh @ before.mT
        fresh = fresh - part @ before
        share[:, :, :used] += part
    for j in range(block):
        row, own = fresh[:, j : j + 1], basis[:, : used + j]
        for _ in range(2 if used + j else 0):
            part = row @ own.mT
            row = row - part @ own
            share[:, j : j + 1, : used + j] += part
        size = _norm(row[:, 0])
        dead = size <= noise * space.scale
        space.dropped = torch.where(dead, torch.maximum(space.dropped, size), space.dropped)
        basis[:, used + j] = torch.where(dead[:, None], 0.0, row[:, 0] / torch.where(dead, 1.0, size)[:, None])
        share[:, j, used + j] = torch.where(dead, 0.0, size)
    return share


def _restart(space: _Space, P: Tensor, s: Tensor, Qh: Tensor, keep: int, block: int) -> None:
    """Keep the best Ritz vectors and the newest rows."""
    m = space.used
    fresh = space.V[:, m : m + block].clone()
    # vectors of zero may be made of rows that are none, and would not be of length 1
    real = (s[:, :keep] > 1e-14 * s[:, :1])[..., None]
    space.V[:, :keep] = torch.where(real, Qh[:, :keep] @ space.V[:, :m], 0.0)
    space.U[:, :keep] = torch.where(real, P[:, :, :keep].mT @ space.U[:, :m], 0.0)
    space.V[:, keep : keep + block] = fresh
    space.B.zero_()
    space.B[:, :keep, :keep] = torch.diag_embed(s[:, :keep])
    space.used = keep


def _measured(maps: Products, found: _Found, block: int, tolerance: float, floor: float) -> Leading:
    """The best values that the vectors allow, and the residuals as they are."""
    there = _by_blocks(maps.apply, found.right, block)
    finite = found.finite & torch.isfinite(there).flatten(1).all(1)
    X, s, left = torch.linalg.svd(torch.where(finite[:, None, None], there, 0.0), full_matrices=False)
    right = X.mT @ found.right
    residual = _norm(_by_blocks(maps.transpose, left, block) - s[..., None] * right) / math.sqrt(2)
    # in an exhausted space, what is left beside the rank is the rounding of rows that were dropped
    rounding = 8 * maps.epsilon * s[:, :1]
    beyond = found.exhausted[:, None] & (s <= rounding)
    s = torch.where(beyond, torch.maximum(s, torch.minimum(found.dropped[:, None], rounding)), s)
    residual = torch.where(beyond, math.nan, residual)
    enough = (residual <= tolerance * s) | (s + residual <= floor * s[:, :1]) | beyond
    lost = torch.where(finite, 0.0, math.nan)[:, None]
    none = torch.where(beyond, math.nan, lost)[..., None]
    return Leading(s + lost, right + none, left + none, residual + lost, enough & finite[:, None])


def _norm(rows: Tensor) -> Tensor:
    """Lengths of rows, where squares might over- or underflow."""
    top = rows.abs().amax(-1, keepdim=True)
    top = torch.where((top > 0) & torch.isfinite(top), top, 1.0)
    return (rows / top).norm(dim=-1) * top[..., 0]


def _by_blocks(product: Callable[[Tensor], Tensor], rows: Tensor, block: int) -> Tensor:
    """Products with any number of rows, in blocks filled up with zeros."""
    count = rows.shape[1]
    filled = torch.cat([rows, rows.new_zeros(len(rows), -count % block, rows.shape[2])], dim=1)
    return torch.cat([product(part.contiguous()) for part in filled.split(block, dim=1)], dim=1)[:, :count]
