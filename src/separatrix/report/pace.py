"""How fast exponents of a model are computed, and so which layers, and how many points, there is time for."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from separatrix.report.answers import outputs
from separatrix.report.context import Context
from separatrix.results.errors import ArgumentError
from separatrix.systems.guest import Guest
from separatrix.systems.listing import Anatomy, Layer, anatomy, prepare
from separatrix.tangent.ftle import ftle

Selection = str | list[str]

PANELS = (9, 6, 3)
"""Layers shown side by side at most, and where there is no time for so many."""
SQUARE, PLANE = 200, 100
"""Points to a side of a field, where nothing need be saved: in the plane itself, and through a larger space."""
QUICK = 0.25
"""Seconds after which a trial says enough."""
BATCHES = (1, 64, 1024)
"""Points that are run at once to see how quick one is, after a first run for what it sets up."""
MOST = 4096
"""Points of a trial at most."""
WHOLE = 50
"""Points to a side from which a field with all layers is fine enough."""
FINE, COARSE = 20, 12
"""Points to a side that a large and a small picture need, or fewer layers are looked at."""
LEAST = 30
"""Points of a sample, in the same way."""
PASSES = 60
"""Passes in which an iteration finds the largest exponent of a layer: for a rough guess before anything is tried."""


@dataclass(frozen=True)
class Share:
    """Layers to look at, and at how many points at most; None where there is no need to save."""

    layers: Selection
    most: int | None


class Pace:
    """What there is time for, found by trials when asked."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rates: dict[tuple[str, ...], float] = {}
        self._warm = False

    @property
    def full(self) -> int:
        """Points of a field where nothing need be saved."""
        return (SQUARE if self._context.problem.input_shape == (2,) else PLANE) ** 2

    def rate(self, layers: Selection) -> float:
        """Points a second, 0 where one point takes too long to be tried or too much memory."""
        key = (layers,) if isinstance(layers, str) else tuple(layers)
        if key not in self._rates:
            self._rates[key] = self._try(layers)
        return self._rates[key]

    def most(self, layers: Selection | None = None, share: float = 1.0) -> int | None:
        """Points at most in a share of the time, or None where there is no need to save."""
        seconds = self._context.options.seconds
        if seconds == math.inf:
            return None
        found = int(share * seconds * self.rate(self._context.options.layers if layers is None else layers))
        return None if found >= self.full else max(1, found)

    def large(self) -> Share:
        """Layers of the large pictures; where all layers are affordable, they are all in one field."""
        options = self.selections()
        if len(options) == 1 or affordable(self.most(options[0]), WHOLE**2):
            return Share(options[0], self.most(options[0]))
        for layers in options[-2:]:
            if affordable(self.most(layers, 0.6), FINE**2):
                break
        return Share(layers, self.most(layers, 0.6))

    def small(self) -> Share | None:
        """Layers of the small pictures, where they are a field of their own; None where there is no time for one."""
        for layers in self.selections()[1:-2]:
            if affordable(most := self.most(layers, 0.4), COARSE**2):
                return Share(layers, most)
        return None

    def sample(self) -> Share:
        """Layers at the sample of test points."""
        wanted = min(LEAST, self._context.options.points)
        for layers in self.selections():
            if affordable(self.most(layers), wanted):
                break
        return Share(layers, self.most(layers))

    def selections(self) -> list[Selection]:
        """Layers to choose from, from many to few; one only where the options name them, or the resolution."""
        options = self._context.options
        if options.layers != "all" or options.resolution is not None or options.seconds == math.inf:
            return [options.layers]
        hidden = [layer for layer in self.anatomy.select("all") if layer.label != "output"]
        ends = list(dict.fromkeys([last_cut(hidden), "output"]))
        every = [layer.label for layer in hidden]
        some = [list(dict.fromkeys([*spread(every, count), *ends])) for count in PANELS]
        return ["all", *some, ends, ["output"]]

    @cached_property
    def anatomy(self) -> Anatomy:
        """The calls that the model makes."""
        options = self._context.options
        guest = Guest(self._context.model, output=options.output, start=options.start)
        with guest.visit():
            return anatomy(guest, prepare(guest, self._context.problem.X_test[:2]))

    @cached_property
    def forward(self) -> float:
        """Seconds for a forward pass of one point, among many where it is quick."""
        X = self._context.problem.X_test
        for count in (1, *BATCHES):
            began = time.perf_counter()
            outputs(self._context.model, X[torch.arange(count) % len(X)], self._context.options)
            took = time.perf_counter() - began
            if took > QUICK / 5:
                break
        return took / count

    def _try(self, layers: Selection) -> float:
        seconds = self._context.options.seconds
        if self._guess(layers) > seconds / 2:
            return 0.0
        try:
            if not self._warm:
                self._clock("output", 1)  # pays for imports
                self._warm = True
            count, took = 1, self._clock(layers, 1)
            while took < QUICK and count < MOST and count / took * seconds < self.full:
                count *= 8
                took = self._clock(layers, count)
        except ArgumentError as error:
            if error.argument == "memory" and len(self.selections()) > 1:
                return 0.0
            raise
        return count / took

    def _clock(self, layers: Selection, count: int) -> float:
        x = self._context.problem.X_test
        x = x[torch.arange(count) % len(x)]
        began = time.perf_counter()
        settings = self._context.options.ftle() | {"layers": layers, "verify": 0, "directions": True}
        ftle(self._context.model, x, **settings)
        return time.perf_counter() - began

    def _guess(self, layers: Selection) -> float:
        """Seconds for a point at one pass for each input, or for each number of the layers, or some for each layer."""
        sizes = [math.prod(layer.shape) for layer in self.anatomy.select(layers)]
        return 2 * self.forward * min(self.anatomy.entry[0].numel(), sum(sizes), PASSES * len(sizes))


def affordable(most: int | None, wanted: int) -> bool:
    """Whether there is time for so many points."""
    return most is None or most >= wanted


def last_cut(layers: Sequence[Layer]) -> str:
    """Label of the last layer that everything passes through, or of the output."""
    return next((layer.label for layer in reversed(layers) if layer.cut), "output")


def spread(labels: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of the labels, evenly spaced, with the first and the last."""
    picks = np.unique(np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(int))
    return [labels[i] for i in picks]
