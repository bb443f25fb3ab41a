"""All fixed points of a map in a box, by branch and bound on interval Newton steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.local.interval_forms import Enclosed
from separatrix.local.interval_newton import Proof, polish, prove, step
from separatrix.results.progress import Progress, track

Boxes = Float[Tensor, "n _"]

_CHUNK = 4096
_TRIES = 64
"""Points of one chunk that are tried for a proof."""


@dataclass(frozen=True)
class Searched:
    """Fixed points that are proved, and the boxes that could not be decided; nowhere else in the box is there one.

    Attributes
    ----------
    proof : Proof
    lo, hi : Tensor (n, boxes)
    boxes : int
        Boxes that were looked at.
    ended : str
        "done", or why the search was given up: "max_boxes".
    """

    proof: Proof
    lo: Boxes
    hi: Boxes
    boxes: int
    ended: str


@dataclass
class _Zones:
    """Boxes that each hold one proved fixed point."""

    network: Enclosed
    size: float
    proof: Proof

    def cover(self, lo: Boxes, hi: Boxes) -> Tensor:
        """Which boxes lie in one of them."""
        found = torch.zeros(lo.shape[1], dtype=torch.bool)
        for low, high in zip(self.proof.lo.T, self.proof.hi.T, strict=True):
            found |= ((lo >= low[:, None]) & (hi <= high[:, None])).all(0)
        return found

    def add(self, x: Boxes) -> None:
        """Try to prove points, each that is not in a zone already."""
        x = polish(self.network, x, self.size)
        x = x[:, torch.isfinite(x).all(0)]
        while x.shape[1]:
            x = x[:, ~self.cover(x, x)]
            if not x.shape[1]:
                return
            one = prove(self.network, x[:, :1], self.size)
            if bool(one.proved[0]):
                self.proof = Proof(*(torch.cat(pair, -1) for pair in zip(self.proof, one, strict=True)))
            x = x[:, 1:]


def nothing(n: int) -> Proof:
    """No point."""
    none = torch.zeros(n, 0, dtype=torch.float64)
    return Proof(none, torch.zeros(0, dtype=torch.bool), none[0], none, none)


def search(
    network: Enclosed,
    lo: Float[Tensor, " n"],
    hi: Float[Tensor, " n"],
    seeds: Boxes,
    *,
    max_boxes: int,
    budget: int,
    progress: Progress = False,
) -> Searched:
    """Find all fixed points of a network in a box.

    Points that Newton's method gave (``seeds``) are proved first, with a box around each in which there is no other.
    All other parts of the box are divided until each is proved to be empty or lies in one of those; the largest are
    looked at first, so that what is left where the search ends is of one size.

    Parameters
    ----------
    network : Enclosed
    lo, hi : Tensor (n,)
    seeds : Tensor (n, K)
    max_boxes : int
        Boxes to look at.
    budget : int
        Bytes for the boxes of one pass.
    """
    n = len(lo)
    size = float((hi - lo).max())
    zones = _Zones(network, size, nothing(n))
    zones.add(seeds)
    least = 1e-9 * torch.maximum(hi - lo, torch.maximum(lo.abs(), hi.abs()) * 1e-3)[:, None]
    chunk = max(1, min(_CHUNK, budget // (8 * 6 * network.width)))
    low, high = lo[:, None].clone(), hi[:, None].clone()
    stuck: list[tuple[Tensor, Tensor]] = []
    looked, percent = 0, 0
    with track(progress, 100, "equilibria") as advance:
        while low.shape[1] and looked < max_boxes:
            take = min(chunk, max_boxes - looked)
            parts = _divide(network, zones, low[:, :take], high[:, :take], least, (lo, hi))
            looked += min(take, low.shape[1])
            low = torch.cat([low[:, take:], parts[0]], 1)
            high = torch.cat([high[:, take:], parts[1]], 1)
            stuck.append(parts[2])
            done = int(100 * (1 - float(((high - low) / (hi - lo)[:, None]).prod(0).sum())))
            if done > percent:
                advance(done - percent)
                percent = done
        advance(100 - percent)
    left = [part for part in (*stuck, (low, high)) if part[0].shape[1]]
    low, high = (torch.cat([p[i] for p in left], 1) if left else lo.new_zeros(n, 0) for i in (0, 1))
    # a point that was proved late may settle boxes that were left before
    open_ = ~zones.cover(low, high)
    return Searched(zones.proof, low[:, open_], high[:, open_], looked, "max_boxes" if looked >= max_boxes else "done")


def _divide(
    network: Enclosed,
    zones: _Zones,
    lo: Boxes,
    hi: Boxes,
    least: Tensor,
    box: tuple[Tensor, Tensor],
) -> tuple[Boxes, Boxes, tuple[Boxes, Boxes]]:
    """What is left of boxes after one step: smaller ones to look at again, and those too small for that."""
    rest = ~zones.cover(lo, hi)
    lo, hi = lo[:, rest], hi[:, rest]
    c = lo + (hi - lo) / 2
    r = torch.maximum(hi - c, c - lo) * (1 + 2.0**-50)
    found = network(c, r)
    verdict = step(found, c, r)
    empty = verdict.empty
    for low, high in found.way:  # all points of a cycle are asked to be in the box
        empty = empty | (low > box[1][:, None]).any(0) | (high < box[0][:, None]).any(0)
    new_lo, new_hi = torch.maximum(verdict.lo, lo), torch.minimum(verdict.hi, hi)
    empty = empty | (new_lo > new_hi).any(0)  # by less than the slack of the verdict, but the bounds are rigorous
    tiny = ((hi - lo) <= least).all(0)
    ready = (verdict.holds | tiny) & ~empty
    if bool(ready.any()):
        zones.add(((new_lo + new_hi) / 2)[:, ready][:, :_TRIES])
    keep = ~empty & ~zones.cover(lo, hi)
    shrunk = ((new_hi - new_lo) / (hi - lo).clamp(min=1e-300)).prod(0) < 0.5
    again, cut = keep & ~tiny & shrunk, keep & ~tiny & ~shrunk
    a, b = new_lo[:, cut], new_hi[:, cut]
    axis = torch.where(b - a > least, verdict.smear[:, cut] / r[:, cut] * (b - a), -1.0).argmax(0)
    middle = a + (b - a) / 2
    chosen = torch.nn.functional.one_hot(axis, len(lo)).T.bool()
    return (
        torch.cat([new_lo[:, again], a, torch.where(chosen, middle, a)], 1),
        torch.cat([new_hi[:, again], torch.where(chosen, middle, b), b], 1),
        (lo[:, keep & tiny], hi[:, keep & tiny]),
    )


def gathered(lo: Boxes, hi: Boxes, size: float, most: int = 500) -> tuple[Boxes, Boxes]:
    """Few boxes that hold the given ones: the hulls of those that share a cell of a lattice."""
    if not lo.shape[1]:
        return lo, hi
    edge, middle = size * 1e-3, (lo + hi) / 2
    corner = middle.amin(1, keepdim=True)
    while True:
        cell = torch.floor((middle - corner) / edge)
        places, which = torch.unique(cell, dim=1, return_inverse=True)
        if places.shape[1] <= most:
            break
        edge *= 2
    low, high = np.full(places.shape, np.inf), np.full(places.shape, -np.inf)
    np.minimum.at(low.T, which.numpy(), lo.T.numpy())
    np.maximum.at(high.T, which.numpy(), hi.T.numpy())
    return torch.from_numpy(low), torch.from_numpy(high)
