"""Which cells there are, at each scale, and what each of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

from separatrix.studies.baptista2024.networks import DECLARED, DEPTHS, WIDTHS, widths
from separatrix.studies.baptista2024.problems import PROBLEMS
from separatrix.studies.study import Context

Run = dict[str, Any]

QUICK_K = (6, 10, 20, 40)
QUICK_SHAPES = (("narrow", 5), ("bottleneck", 5), ("narrow", 11))
"""At the quick scale, for all problems."""

TRAINING_POINTS = {"mnist": 2200, "fashion-mnist": 12_000, "": 1000}
TEST_POINTS = {"mnist": 2050, "fashion-mnist": 2000, "": 1000}


def run_of(context: Context, problem: str, pattern: str, depth: int) -> Run:
    """Settings of one cell."""
    quick: Run = {"epochs": 4, "train": 200, "test": 100, "ks": QUICK_K}
    paper: Run = {"train": 0, "test": 0, "ks": PROBLEMS[problem].ks}
    return {
        **DECLARED,
        "problem": problem,
        "widths": pattern,
        "depth": depth,
        "seeds": tuple(context.seed + i for i in range(context.pick(quick=4, paper=36))),
        "data_seed": context.seed,
        **context.pick(quick=quick, paper=paper),
    }


def runs(context: Context, problems: Sequence[str]) -> list[Run]:
    """All cells of some problems, the longest first, so that no core waits at the end."""
    shapes = context.pick(quick=QUICK_SHAPES, paper=tuple(product(WIDTHS, DEPTHS)))
    found = [run_of(context, name, pattern, depth) for name in problems for pattern, depth in shapes]
    return sorted(found, key=cost, reverse=True)


def cost(run: Run) -> float:
    """Core-seconds of a run, roughly: steps of training and graphs, by what they took in a short test."""
    data = PROBLEMS[run["problem"]].data
    layers, seeds = widths(run["widths"], run["depth"]), len(run["seeds"])
    inputs = 784 if data else 3
    weights = inputs * layers[0] + sum(a * b for a, b in pairwise(layers))
    points = run["train"] or TRAINING_POINTS[data]
    steps = run["epochs"] * points * (1 - run["held_back"]) / run["batch"]
    training = seeds * steps * (STEP_SECONDS * len(layers) + WEIGHT_SECONDS * weights)
    test = run["test"] or TEST_POINTS[data]
    before, after = GRAPH_SECONDS[data]
    graphs = seeds * len(layers) * (before + after * len(layers) / 8) * (test / TEST_POINTS[data]) ** 2
    return training + graphs


STEP_SECONDS, WEIGHT_SECONDS = 6e-6, 8e-9
"""For each layer and each weight, in one step of one network."""
GRAPH_SECONDS = {"mnist": (0.2, 0.6), "fashion-mnist": (0.2, 0.4), "": (0.06, 0.06)}
"""For one layer, before training and after it; training makes graphs long and thin, layer by layer."""
