"""The arrays of a field while it is computed."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from separatrix.results.status import Status
from separatrix.tangent.chain_routes import LayerSpectrum
from separatrix.tangent.inputs import Plane, Points
from separatrix.tangent.plan import Problem

_BLOCK = 1 << 16
"""So many pairs get their status at once, which bounds the memory that this takes."""


class Field:
    """Results of all members, points and chosen layers, filled chunk by chunk, on the CPU in float64.

    Arrays are (layers, pairs, ...); pair i m + j is member i at point j of m.
    """

    def __init__(
        self, where: Plane | Points, problem: Problem, count: int, directions: bool, durations: list[float]
    ) -> None:
        layers, self.pairs = len(problem.chosen), problem.members * len(where)
        pairs = self.pairs
        self.where, self.problem, self.count, self.durations = where, problem, count, durations
        # sx.ftle perturbs something else than the plane's coordinates when it starts further on
        self._ranks = problem.ranks
        self.planar = isinstance(where, Plane) and problem.guest.start is None
        # as the routes leave it: on a plane the second value is needed for the gap
        seen = max(count, 2) if isinstance(where, Plane) else count
        self._residual: Tensor | None
        self._converged: Tensor | None
        self._log = torch.full((layers, pairs, seen), -math.inf, dtype=torch.float64)
        self._finite = torch.zeros(layers, pairs, dtype=torch.bool)
        self._nonsmooth = torch.zeros(layers, pairs, dtype=torch.bool)
        self._floor = torch.full((pairs,), math.nan, dtype=torch.float64)
        self._residual = self._converged = None
        self._filled = [0] * layers
        self.log = torch.empty(layers, pairs, count, dtype=torch.float64)
        self.status = torch.empty(layers, pairs, count, dtype=torch.int8)
        self.gap = torch.zeros(layers, pairs, dtype=torch.float64) if isinstance(where, Plane) else None
        self.direction = torch.full((layers, pairs, 2), math.nan, dtype=torch.float64) if self.planar else None
        self.right = self.left = None
        if directions:
            self.right = torch.full((layers, pairs, count, len(problem.scale)), math.nan, dtype=torch.float64)
            self.left = torch.full((layers, pairs, count, max(problem.widths)), math.nan, dtype=torch.float64)
        self._scaled = bool((problem.scale != 1).any())
        self._to_plane = self._plane_coordinates() if self.planar else None

    def _plane_coordinates(self) -> Tensor:
        """Matrix that takes a right direction, in units of the scale, to coordinates in the plane."""
        assert isinstance(self.where, Plane)
        basis = torch.stack([self.where.e1.flatten(), self.where.e2.flatten()], dim=1)
        return torch.linalg.pinv(basis) * self.problem.scale.double().cpu()

    def put(self, where: slice | Tensor, found: LayerSpectrum, floor: float) -> None:
        """Store one layer of one chunk; :meth:`classify` makes numbers with a status of it."""
        layer, log = found.place, found.spectrum.log
        have = min(self._log.shape[2], log.shape[1], self._ranks[layer])
        self._log[layer, where, :have] = log[:, :have].cpu()
        self._finite[layer, where] = found.finite.cpu()
        if found.nonsmooth is not None:
            self._nonsmooth[layer, where] = found.nonsmooth.cpu()
        self._floor[where] = floor
        self._filled[layer] += len(log)
        if found.residual is not None and found.converged is not None:
            self._put_iterated(layer, where, have, found.residual, found.converged)
        self._put_vectors(layer, where, found)

    def _put_iterated(self, layer: int, where: slice | Tensor, have: int, residual: Tensor, converged: Tensor) -> None:
        if self._residual is None:
            self._residual = torch.full_like(self._log, math.nan)
            self._converged = torch.ones(self._log.shape, dtype=torch.bool)
        assert self._converged is not None
        self._residual[layer, where, :have] = residual[:, :have].cpu()
        self._converged[layer, where, :have] = converged[:, :have].cpu()

    @property
    def residual(self) -> Tensor | None:
        """Residual of each triple relative to its value, where an iteration found it."""
        return None if self._residual is None else self._residual[..., : self.count]

    @property
    def converged(self) -> Tensor | None:
        """Whether there is a number and its residual is small, as 0 or 1."""
        if self._converged is None:
            return None
        return (self._converged[..., : self.count] & ~self.log.isnan()).to(torch.int8)

    def _put_vectors(self, layer: int, where: slice | Tensor, found: LayerSpectrum) -> None:
        right, left = found.spectrum.right, found.spectrum.left
        if self.direction is not None and self._to_plane is not None and right is not None:
            leading = right[:, 0].double().cpu()
            shown = leading @ self._to_plane.mT
            if self._scaled:
                shown = shown / (leading * self.problem.scale.double().cpu()).norm(dim=1, keepdim=True)
            self.direction[layer, where] = shown
        if self.right is not None and right is not None:
            have = min(self.count, right.shape[1], self._ranks[layer])
            self.right[layer, where, :have] = right[:, :have].double().cpu()
        if self.left is not None and left is not None:
            have = min(self.count, left.shape[1], self._ranks[layer])
            self.left[layer, where, :have, : left.shape[2]] = left[:, :have].double().cpu()

    def classify(self) -> Tensor:
        """Give every number its status; return the indices of pairs that deserve more precision."""
        lost = torch.zeros(self.pairs, dtype=torch.bool)
        for begin in range(0, self.pairs, _BLOCK):
            part = slice(begin, begin + _BLOCK)
            least = self._floor[part].log()
            for layer in range(len(self.log)):
                lost[part] |= self._classify(layer, part, least)
        return (lost & (self._floor > 0)).nonzero()[:, 0]

    def _classify(self, layer: int, part: slice, least: Tensor) -> Tensor:
        rank = min(self._ranks[layer], self._log.shape[2])
        log, finite, nonsmooth = self._log[layer, part], self._finite[layer, part], self._nonsmooth[layer, part]
        good = finite & (log[:, 0] < math.inf)
        for index in range(1, rank):
            good &= ~torch.isnan(log[:, index])
        log = log if bool(good.all()) else torch.where(good[:, None], log, torch.nan)
        usual = Status.OK if self.problem.chosen[layer].cut else Status.NOT_A_CUT
        status = torch.full_like(log, usual, dtype=torch.int8)
        status[:, rank:] = Status.MISSING
        # an exact zero in float32 may be an underflow, and a stretch that is not finite an overflow
        unsure = finite & ~good
        for index in range(rank):
            zero = log[:, index] == -math.inf
            below = zero | (log[:, index] < log[:, 0] + least)
            if bool(below.any()):
                status[below, index] = Status.BELOW_PRECISION
                status[zero, index] = Status.SINGULAR
                unsure |= below
        if bool(nonsmooth.any()):
            status[nonsmooth] = Status.NONSMOOTH
        status[~good] = Status.NONFINITE
        if self._converged is not None:
            status[good[:, None] & ~self._converged[layer, part]] = Status.UNCONVERGED
        self.log[layer, part], self.status[layer, part] = log[:, : self.count], status[:, : self.count]
        if self.gap is not None:
            gap = log[:, 0] - log[:, 1]
            gap[log[:, 0] == -math.inf] = math.nan
            if self._converged is not None:
                gap[~self._converged[layer, part, :2].all(1)] = math.nan
            self.gap[layer, part] = gap
        return unsure

    def complete(self) -> bool:
        """Whether every layer of every pair was stored."""
        return min(self._filled) >= self.pairs

    def of_member(self, place: int) -> Field:
        """The stretches and statuses of one member."""
        alone, own = copy.copy(self), slice(place * len(self.where), (place + 1) * len(self.where))
        alone.log, alone.status = self.log[:, own], self.status[:, own]
        return alone

    def smooth(self) -> Tensor:
        """Indices of points whose leading stretch can be believed at every layer."""
        return (self.status[:, :, 0] <= Status.NOT_A_CUT).all(0).nonzero()[:, 0]

    def leading(self, points: Tensor) -> Tensor:
        """Leading stretches, (layers, points)."""
        return self.log[:, points, 0]
