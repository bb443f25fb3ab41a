"""Basins of a grid: this library, a Python loop over points, and plain batched iteration without looking.

Run with ``python -m bench.basins`` (``--quick`` for a smaller grid).

The loop stops a point when it repeats itself, and is timed on a subset of the grid. Batched iteration takes as many
steps as the loop's slowest point, and finds no attractors; it is the time that looking and early retirement save.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

import separatrix as sx
from bench.timing import median, once, rounds, write
from separatrix.local.basins import basins
from separatrix.systems.loop import Loop

MOST, PERIOD, NEAR = 1500, 32, 1e-6


def network(widths: list[int], activation: type[nn.Module], gain: float) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.normal_(linear.weight, std=gain / fan_in**0.5)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1]).double()


CASES: dict[str, Callable[[], nn.Module]] = {
    "2-16-16-2 tanh": lambda: network([2, 16, 16, 2], nn.Tanh, 1.6),
    "2-16-16-2 ReLU": lambda: network([2, 16, 16, 2], nn.ReLU, 1.2),
    "2-64-64-2 tanh": lambda: network([2, 64, 64, 2], nn.Tanh, 1.6),
    "2-(2x8)-2 SELU": lambda: network([2] * 10, nn.SELU, 1.1),
    "2-16-16-2 tanh, gain 3": lambda: network([2, 16, 16, 2], nn.Tanh, 3.0),
}


def loop(model: nn.Module, points: Tensor) -> int:
    """One point after the other, as it is first written; returns the steps of the slowest."""
    slowest = 0
    with torch.no_grad():
        for point in points:
            x, seen = point[None], []
            for t in range(MOST):  # noqa: B007
                seen = [*seen[1 - PERIOD :], x]
                x = model(x)
                if (torch.cat(seen) - x).abs().amax(1).min() <= NEAR or not x.abs().max() < 1e4:
                    break
            slowest = max(slowest, t + 1)
    return slowest


def batched(model: nn.Module, points: Tensor, steps: int) -> None:
    with torch.no_grad():
        x = points
        for _ in range(steps):
            x = model(x)


def compare(name: str, side: int, few: int, repeats: int) -> dict[str, object]:
    model = CASES[name]()
    grid = sx.grid((-6, 6), (-6, 6), shape=side)
    points = grid.points()
    some = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:few]]
    slowest = loop(model, some)
    found = basins(Loop(model), grid)
    seconds = rounds(
        {"ours": lambda: basins(Loop(model), grid), "loop": lambda: loop(model, some)}, repeats, lambda: None
    )
    ours, theirs = median(seconds["ours"]), median(seconds["loop"]) * len(points) / few
    together = once(lambda: batched(model, points, 20), lambda: None) * slowest / 20
    return {
        "network": name,
        "grid": f"{side} x {side}",
        "attractors": found.sizes["line"],
        "kinds": " ".join(str(int(k)) for k in found["kind"]),
        "undecided": found.attrs["undecided_share"],
        "ours, s": ours,
        "loop, s (from a subset)": theirs,
        "loop / ours": theirs / ours,
        "batched / ours": together / ours,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    side, few, repeats = (100, 20, 1) if quick else (400, 100, 5)
    rows = []
    for name in CASES:
        row = compare(name, side, few, repeats)
        rows.append(row)
        if len(rows) == 1:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()]
        print("| " + " | ".join(cells) + " |", flush=True)
    print(f"\nwritten to {write('basins', rows)}")


if __name__ == "__main__":
    main()
