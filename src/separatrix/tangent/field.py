"""The arrays of a field while it is computed, and the Dataset that they become."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from separatrix.results.status import Status
from separatrix.tangent.chain_routes import LayerSpectrum
from separatrix.tangent.inputs import Plane, Points
from separatrix.tangent.plan import Problem

if TYPE_CHECKING:
    pass


class Field:
    """Results of all points and chosen layers, filled chunk by chunk, on the CPU in float64."""

    def __init__(
        self, where: Plane | Points, problem: Problem, count: int, directions: bool, durations: list[float]
    ) -> None:
        layers, points = len(problem.chosen), len(where)
        self.where, self.problem, self.count, self.durations = where, problem, count, durations
        # sx.ftle perturbs something else than the plane's coordinates when it starts further on
        self._ranks = problem.ranks
        self.planar = isinstance(where, Plane) and problem.guest.start is None
        # as the routes leave it: on a plane the second value is needed for the gap
        seen = max(count, 2) if isinstance(where, Plane) else count
        self._log = torch.full((layers, points, seen), -math.inf, dtype=torch.float64)
        self._finite = torch.zeros(layers, points, dtype=torch.bool)
        self._nonsmooth = torch.zeros(layers, points, dtype=torch.bool)
        self._floor = torch.full((points,), math.nan, dtype=torch.float64)
        self._filled = [0] * layers
        self.log = torch.empty(layers, points, count, dtype=torch.float64)
        self.status = torch.empty(layers, points, count, dtype=torch.int8)
        self.gap = torch.zeros(layers, points, dtype=torch.float64) if isinstance(where, Plane) else None
        self.direction = torch.full((layers, points, 2), math.nan, dtype=torch.float64) if self.planar else None
        self.right = self.left = None
        if directions:
            self.right = torch.full((layers, points, count, len(problem.scale)), math.nan, dtype=torch.float64)
            self.left = torch.full((layers, points, count, max(problem.widths)), math.nan, dtype=torch.float64)
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
        self._put_vectors(layer, where, found)

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
        """Give every number its status; return the indices of points that deserve more precision."""
        lost = torch.zeros(len(self.where), dtype=torch.bool)
        least = self._floor.log()
        for layer, chosen in enumerate(self.problem.chosen):
            rank = min(self._ranks[layer], self._log.shape[2])
            log, finite = self._log[layer], self._finite[layer]
            good = finite & (log[:, 0] < math.inf)
            for index in range(1, rank):
                good &= ~torch.isnan(log[:, index])
            log = log if bool(good.all()) else torch.where(good[:, None], log, torch.nan)
            status = torch.full_like(log, Status.OK if chosen.cut else Status.NOT_A_CUT, dtype=torch.int8)
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
            if bool(self._nonsmooth[layer].any()):
                status[self._nonsmooth[layer]] = Status.NONSMOOTH
            status[~good] = Status.NONFINITE
            lost |= unsure & (self._floor > 0)
            self.log[layer], self.status[layer] = log[:, : self.count], status[:, : self.count]
            if self.gap is not None:
                self.gap[layer] = log[:, 0] - log[:, 1]
                self.gap[layer][log[:, 0] == -math.inf] = math.nan
        return lost.nonzero()[:, 0]

    def complete(self) -> bool:
        """Whether every layer of every point was stored."""
        return min(self._filled) >= len(self.where)

    def smooth(self) -> Tensor:
        """Indices of points whose leading stretch can be believed at every layer."""
        return (self.status[:, :, 0] <= Status.NOT_A_CUT).all(0).nonzero()[:, 0]

    def leading(self, points: Tensor) -> Tensor:
        """Leading stretches, (layers, points)."""
        return self.log[:, points, 0]
