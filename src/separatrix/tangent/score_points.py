"""The scores of a boundary's points, chunk by chunk."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from separatrix.results.memory import points_per_chunk
from separatrix.systems.listing import Anatomy, Layer, prepare
from separatrix.tangent.normal_growth import Growth, NormalLine, layer_values
from separatrix.tangent.outputs import Outputs
from separatrix.tangent.readout import Readout, find_readout

MEANING = {
    "value": "f: the output less its level, or the difference of the two outputs",
    "gradient": "length of the gradient of f in the input",
    "directional": "|cos| of the angle between the leading direction v_1 and the normal",
    "stretch": "ln sigma_1 of the chosen layer",
    "stretch_ahead": "ln sigma_1 at the distance along the normal, where f is larger",
    "stretch_behind": "ln sigma_1 at the distance against the normal, where f is smaller",
    "magnitude": "ln sigma_1 less the larger of the two at the distance",
    "slope": "first derivative of ln sigma_1 along the normal",
    "curvature": "second derivative of ln sigma_1 along the normal",
    "hidden_stretch": "ln sigma_1 of the last hidden layer",
    "task_stretch": "ln of the task-visible stretch, |grad f| / |v| with the readout v",
    "chi": "task-visible stretch over the largest stretch of the last hidden layer",
    "margin": "|f| / |grad f|, the distance to the boundary in linear approximation",
}
"""Every score, and what it means."""


class ScoreStatus(IntEnum):
    """What a point's scores are worth. Ordered: where two apply, the larger one is stored."""

    OK = 0
    """All of them mean what they say."""
    NONSMOOTH = 1
    """The network has kinks: slope and curvature do not exist and are NaN."""
    DEGENERATE = 2
    """The two largest singular values are equal: v_1, slope and curvature are not defined."""
    FLAT = 3
    """The gradient of f is zero: there is no normal."""
    NONFINITE = 4
    """The model gave NaN or infinity."""


class ScoreWork:
    """Everything that is the same for all chunks of points."""

    def __init__(self, outputs: Outputs, seen: Anatomy, chosen: Layer, distance: float) -> None:
        self.outputs, self.seen, self.chosen, self.distance = outputs, seen, chosen, distance
        self.readout: Readout | None = find_readout(seen)
        self.deviation = 0.0
        self.smooth = not seen.trace.kinked
        self.exact = not seen.trace.foreign

    @staticmethod
    def empty(points: int) -> dict[str, Tensor]:
        """Room for all scores."""
        return {name: torch.full((points,), torch.nan, dtype=torch.float64) for name in MEANING}

    def chunk(self, budget: int) -> int:
        """How many points fit into the budget."""
        inputs, width = self.seen.entry[0].numel(), int(np.prod(self.chosen.shape))
        values = sum(c.value[0].numel() for c in self.seen.trace.calls if c.value is not None and c.value.ndim)
        need = 8 * (8 * (1 + min(inputs, width)) * (values + inputs) + 12 * inputs * width)
        return min(4096, points_per_chunk(need, budget, "second derivatives of a Jacobian"))

    def score(self, x: Tensor, pair: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """All scores of some points, and their status."""
        guest = self.outputs.guest
        values, f, g = self.outputs.difference(x, pair)
        size = g.flatten(1).norm(dim=1)
        normal = g / size.view(-1, *[1] * (g.ndim - 1))
        flat = size == 0
        normal[flat] = 0
        entry = prepare(guest, x)
        line, here = self._along(entry, normal.to(entry))
        ahead, behind = line.stretch(self.distance).cpu(), line.stretch(-self.distance).cpu()
        log = here.log.cpu().double()
        directional = (here.right.cpu() * normal.flatten(1)).sum(1).abs()
        unknown = flat | ~here.single.cpu()
        scores = {
            "value": f,
            "gradient": size,
            "directional": torch.where(unknown, torch.nan, directional),
            "stretch": log,
            "stretch_ahead": torch.where(flat, torch.nan, ahead),
            "stretch_behind": torch.where(flat, torch.nan, behind),
            "magnitude": torch.where(flat, torch.nan, log - torch.maximum(ahead, behind)),
            "slope": torch.where(flat, torch.nan, here.slope.cpu()),
            "curvature": torch.where(flat, torch.nan, here.curvature.cpu()),
            "margin": torch.where(flat, torch.nan, f.abs() / size),
        }
        if self.readout is not None:
            scores |= self._seen_by_the_task(self.readout, line, log, size, pair)
        status = torch.full(f.shape, ScoreStatus.OK if self.smooth else ScoreStatus.NONSMOOTH, dtype=torch.int8)
        status[~here.single.cpu()] = ScoreStatus.DEGENERATE
        status[flat] = ScoreStatus.FLAT
        status[~(torch.isfinite(values).all(1) & torch.isfinite(size) & ~torch.isnan(log))] = ScoreStatus.NONFINITE
        return scores, status

    def _along(self, x: Tensor, normal: Tensor) -> tuple[NormalLine, Growth]:
        """Exact derivatives, or differences from the first operation on that has no rule for them."""
        line = NormalLine(self.outputs.guest, self.chosen.label, x, normal, exact=self.exact)
        step = self.distance / 128
        try:
            return line, line.growth(derivatives=self.smooth, step=step)
        except (RuntimeError, NotImplementedError) as error:
            if not self.exact or isinstance(error, torch.OutOfMemoryError):
                raise
            self.exact = line.exact = False
            return line, line.growth(derivatives=self.smooth, step=step)

    def _seen_by_the_task(
        self, readout: Readout, line: NormalLine, log: Tensor, size: Tensor, pair: Tensor
    ) -> dict[str, Tensor]:
        guest = self.outputs.guest
        with torch.no_grad():
            hidden, output = (v.double() for v in layer_values(guest, [readout.label, "output"], line.x))
        self.deviation = max(self.deviation, readout.error(hidden, output))
        weight = readout.weight.cpu()
        v = weight[:1].expand(len(pair), -1) if self.outputs.scalar else weight[pair[:, 0]] - weight[pair[:, 1]]
        task_stretch = (size / v.norm(dim=1)).log()
        if self.chosen.label != readout.label:
            log = NormalLine(guest, readout.label, line.x, line.normal, exact=self.exact).stretch(0.0).cpu()
        return {"hidden_stretch": log, "task_stretch": task_stretch, "chi": (task_stretch - log).exp()}
