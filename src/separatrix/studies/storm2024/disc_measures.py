"""What is measured of trained disc networks: the stretch of the last hidden layer on the boundary and at the centre."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from separatrix.data import disc
from separatrix.ensembles import Stack
from separatrix.studies.storm2024.networks import disc_network, disc_problem, train_disc, unpacked
from separatrix.studies.storm2024.runs import Runs
from separatrix.studies.study import Context
from separatrix.sweeps import sweep
from separatrix.sweeps.config import Config
from separatrix.tangent.ftle import ftle

if TYPE_CHECKING:
    from separatrix.data.record import Problem

RADIUS = math.sqrt(2 / math.pi)
CENTRE_SPREAD = 0.05
"""The central patch is 200 points N(0, 0.05^2) in raw units, where the square is [-1, 1]^2."""
LEARNED = 0.02
"""Test error up to which a network counts as trained; the letter asks for 98 % in Fig. 2 and 99 % in Fig. 3(b)."""


@dataclass(frozen=True)
class Networks:
    """Trained networks of one architecture in one setting."""

    run: dict[str, Any]
    stack: Stack
    error: np.ndarray
    """Test error of each member."""
    problem: Problem
    seconds: float = 0.0
    """What training took, on one core."""

    @property
    def width(self) -> int:
        """Units of a hidden layer."""
        return int(self.run["width"])

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return int(self.run["depth"])

    @property
    def learned(self) -> np.ndarray:
        """Which members are trained well enough to be measured."""
        return self.error <= LEARNED

    @property
    def last(self) -> str:
        """Label of the last hidden layer's value."""
        return f"tanh{self.depth}#1"

    def inputs(self, raw: Tensor) -> Tensor:
        """Points of the square [-1, 1]^2 as the network wants them."""
        return ((raw - self.problem.mean) / self.problem.scale).to(torch.float32)

    def stretch(self, raw: Tensor) -> np.ndarray:
        """Ln sigma_1 of the last hidden layer, (member, point), for inputs in units of their standard deviation."""
        # networks trained on raw inputs are measured in the same unit as the others
        scale = _DEVIATION if self.run["inputs"] == "raw" else None
        field = ftle(self.stack, self.inputs(raw), layers=[self.last], scale=scale)
        return np.asarray(field["stretch"].values[:, 0, :, 0])

    def output(self, raw: Tensor) -> Tensor:
        """Outputs, (member, point)."""
        with torch.no_grad():
            return self.stack(self.inputs(raw))[..., 0]


_DEVIATION = 1 / math.sqrt(3)


def networks(context: Context, runs: Runs) -> Iterator[Networks]:
    """Train what the store does not have yet, and yield the networks of each run in order."""
    # starting processes takes longer than all of the quick scale's training
    workers = 1 if context.quick else min(os.cpu_count() or 1, len(runs))
    done = sweep(train_disc, runs, store=context.store / "disc", workers=workers, progress=context.progress)
    for run in runs:
        config = Config(run)
        result = done.load(config)
        stack = unpacked(result, disc_network(config))
        seconds = json.loads(result.attrs["sweep_run"])["seconds"]
        yield Networks(run, stack, result["error"].values, disc_problem(config), seconds)


def circle(count: int = 360, radius: float = RADIUS) -> Tensor:
    """Points of the true boundary in raw units."""
    angle = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def patch(count: int = 200) -> Tensor:
    """Points of the central patch in raw units."""
    draws = np.random.default_rng(0).normal(0, CENTRE_SPREAD, (count, 2))
    return torch.from_numpy(draws)


def rays(count: int = 180, steps: int = 401, reach: float = 1.0) -> Tensor:
    """Points (ray, step, 2) from the origin outwards in raw units."""
    return torch.linspace(0, reach, steps, dtype=torch.float64)[:, None] * circle(count, 1.0)[:, None]


def crossing(values: np.ndarray) -> np.ndarray:
    """Place (in steps) of the first sign change along the last axis, by linear interpolation; NaN without one."""
    change = (values[..., :-1] < 0) & (values[..., 1:] >= 0)
    at = change.argmax(-1)
    left = np.take_along_axis(values, at[..., None], -1)[..., 0]
    right = np.take_along_axis(values, at[..., None] + 1, -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(change.any(-1), at + left / (left - right), np.nan)


def learned_ring(nets: Networks) -> Tensor:
    """Points of each member's own zero level, (member, ray, 2) in raw units; NaN on rays that do not cross it."""
    along = rays()
    outputs = nets.output(along.reshape(-1, 2)).reshape(len(nets.stack), *along.shape[:2]).double().numpy()
    steps = crossing(outputs)
    return torch.from_numpy(steps)[..., None] / (along.shape[1] - 1) * circle(along.shape[0], 1.0)


def levels(nets: Networks) -> dict[str, np.ndarray]:
    """Mean stretch of each member on the true circle, on its own zero level, and at the centre."""
    own = np.full(len(nets.stack), np.nan)
    for i, ring in enumerate(learned_ring(nets)):
        known = ring[torch.isfinite(ring).all(1)]
        if len(known):
            single = Networks(nets.run, nets.stack[i : i + 1], nets.error[i : i + 1], nets.problem)  # type: ignore[arg-type]
            own[i] = single.stretch(known).mean()
    return {
        "circle": nets.stretch(circle()).mean(1),
        "zero level": own,
        "centre": nets.stretch(patch()).mean(1),
        "error": nets.error,
    }


def square(nets: Networks, nodes: int) -> tuple[tuple[float, float], tuple[float, float], int]:
    """Arguments of a grid over the square in the network's inputs."""
    corners = nets.inputs(torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64))
    (x0, y0), (x1, y1) = corners.double().tolist()
    return (x0, x1), (y0, y1), nodes


def data_note() -> str:
    """One sentence on the data."""
    problem = disc()
    return f"{problem.description} {len(problem.X_train):,} for training, {len(problem.X_test):,} for testing."
