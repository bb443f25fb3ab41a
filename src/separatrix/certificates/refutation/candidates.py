"""Candidates for witnesses, the cheap and likely ones first, from searches in floating point."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from separatrix.certificates.problem import Problem
from separatrix.certificates.refutation import cones, drift, exact_orbits, growing_directions, rays, recession
from separatrix.certificates.refutation import search as looking
from separatrix.certificates.refutation.points import NEAR
from separatrix.local.interval_forms import Enclosed
from separatrix.local.interval_newton import polish
from separatrix.systems.lure import Lure

_LONGEST_RAY, _LONGEST_CONE = 6, 4


class Candidates:
    """Candidates for witnesses, the cheap and likely ones first; None where a turn gave none."""

    def __init__(
        self,
        network: Lure,
        problem: Problem,
        statement: str,
        at: Tensor | None,
        generator: torch.Generator,
        evidence: list[str],
    ) -> None:
        self.network, self.problem, self.statement, self.at = network, problem, statement, at
        self.generator, self.evidence = generator, evidence
        self.enclosed, self.system = Enclosed(network), looking.columns_of(network)
        self.equilibria: list[dict[str, Any]] = []

    def all(self) -> Iterator[dict[str, Any] | None]:
        """Everything that is tried."""
        if self.at is not None:
            if self.statement == "stability":
                yield from self._nearby(self.at)
                if not bool(self.at.any()):
                    yield from self._growth()
            return
        if self.statement == "boundedness" and self.problem.box is not None:
            yield {"kind": "leaving point"} | looking.furthest_out(self.problem, self.generator)
            return
        x = looking.starts(self.network, self.problem.box, self.generator)
        if self.statement == "contraction":
            yield from self._jacobians(x)
        yield self._named("exact orbits", exact_orbits.search(self.network, self.problem, x, self.statement))
        if self.problem.n > 1:
            yield from self._growth()
        if self.statement != "boundedness":
            yield from self._equilibria(x)
        if self.problem.n == 1:  # where it drifts away is told by its equilibria
            yield from self._growth()
        if self.statement != "boundedness":
            for period in (2, 3):
                yield from self._cycles(x, period)
            for found in self.equilibria:
                yield self._one("unstable equilibrium", found)
        if self.statement == "contraction":
            yield from self._products()
        self._diverging(x)

    def _named(self, kind: str, data: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if data is None else {"kind": kind} | data

    def _nearby(self, at: Tensor) -> Iterator[dict[str, Any] | None]:
        size = NEAR * (1 + float(at.abs().max()))
        x = polish(self.enclosed, at[:, None], size)
        for found in looking.proved(self.enclosed, x):
            yield self._one("unstable equilibrium", found) | {"reach": found["reach"]}
        yield None

    def _jacobians(self, x: Tensor) -> Iterator[dict[str, Any] | None]:
        points, maps = looking.steepest(self.network, x, self.problem.box, self.generator)
        norms = torch.linalg.matrix_norm(maps, 2)
        if len(norms) and float(norms.max()) > 1:
            self.evidence.append(f"pairs of points part by a factor of up to {float(norms.max()):.4g} in the 2-norm")
        # those with the largest spectral radii, with the largest norms, and some others
        few = torch.cat([torch.arange(len(norms))[:24], norms.argsort(descending=True)[:24]])
        few = torch.unique(torch.cat([few, torch.arange(0, len(norms), 1 + len(norms) // 24)]))
        few = few[looking.clear(self.enclosed, points[:, few])]
        self.points, self.maps = points[:, few], maps[few]
        for k in range(min(8, len(few))):
            yield self._product([k])

    def _product(self, word: list[int]) -> dict[str, Any]:
        points = self.points[:, word]
        return {"kind": "expanding product", "points": points.T.contiguous(), "radii": looking.radii_of(points)}

    def _products(self) -> Iterator[dict[str, Any] | None]:
        if self.problem.n > 1 and len(self.maps):
            for word in looking.products(self.maps)[:6]:
                yield self._product(word)
        yield None

    def _equilibria(self, x: Tensor) -> Iterator[dict[str, Any] | None]:
        roots = looking.solutions(self.network, x, 1, self.problem.box)
        found = self.equilibria = looking.proved(self.enclosed, roots[:, : 12 if self.problem.n <= 8 else 4])
        for one, other in pairwise(found):
            points, radii = torch.stack([one["point"], other["point"]]), _numbers(p["radius"] for p in (one, other))
            yield {"kind": "two equilibria", "points": points, "radii": radii}
        if roots.shape[1] > max(1, len(found)):
            self.evidence.append(f"{roots.shape[1]} equilibria were found, of which {len(found)} could be proved")
        yield None

    def _cycles(self, x: Tensor, period: int) -> Iterator[dict[str, Any] | None]:
        roots = looking.solutions(self.network, x, period, self.problem.box)
        moved = roots - self.system.step(roots)
        roots = roots[:, moved.abs().amax(0) > 1e-6 * (1 + roots.abs().amax(0))]
        for point in looking.proved(Enclosed(self.network, period), roots[:, : 4 * period : period]):
            yield self._one("cycle", point) | {"period": period}
        if roots.shape[1]:
            self.evidence.append(f"what seems to be a cycle of period {period} could not be proved")
        yield None

    def _growth(self) -> Iterator[dict[str, Any] | None]:
        homogeneous = rays.homogeneous(self.network)
        if homogeneous:
            yield self._named("growing ray", rays.search(self.network, _LONGEST_RAY, self.generator))
        seen = recession.recession(self.network)
        if seen is not None and (homogeneous or self.problem.box is None):
            yield {"kind": "linear growth"}
            if self.problem.n == 2:
                yield self._named("growing directions", growing_directions.search(seen, self.generator))
            yield self._named("growing cone", cones.search(seen, _LONGEST_CONE, self.generator))
        if self.problem.box is None and self.at is None:
            known = [float(found["point"][0]) for found in self.equilibria]
            yield self._named("drift", drift.search(self.network, known))

    def _one(self, kind: str, found: dict[str, Any]) -> dict[str, Any]:
        return {"kind": kind, "points": found["point"][None], "radii": _numbers([found["radius"]])}

    def _diverging(self, x: Tensor) -> None:
        for t in range(200):
            x = self.system.step(x, t)
        gone = int((~torch.isfinite(x).all(0) | (x.abs().amax(0) > 1e6)).sum())
        if gone:
            self.evidence.append(f"{gone} of {x.shape[1]} orbits grew beyond 1e6 in floating point")


def _numbers(values: Any) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)
