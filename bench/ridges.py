"""Ridges of a field on 400 x 400 nodes: ours, on the grid and refined with the model, against NumbaCS.

Run with ``python -m bench.ridges --numbacs PYTHON``, where PYTHON has NumbaCS 0.2, which pins what we do not; it is
timed there by this same file, after compiling. Both get the same field and directions, whose ridge is known exactly.
NumbaCS looks at positive values only, so that it gets the field raised by a constant, which moves no ridge; its
points further than a cell from the curve are counted, and left out of its errors. Where its linking of points fails
(the arc cosine of a number above 1, at 400 nodes on the circle), its unlinked points are taken, with 0 lines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

B, A, K, R, HALF = 6.0, 0.3, np.pi, 0.6, 0.5


def peer() -> None:
    """Be the other environment: read fields on stdin, answer each with seconds and points."""
    from numbacs.extraction import ftle_ordered_ridges, ftle_ridge_pts

    for line in sys.stdin:
        fields = np.load(line.strip())
        x, y = fields["x"], fields["y"]
        arguments = fields["f"], fields["v"], x, y
        begin = time.perf_counter()
        try:
            found = ftle_ordered_ridges(*arguments, 3 * (x[1] - x[0]))
            lines, points = len(found), np.concatenate([ridge[:, :2] for ridge in found])
        except ValueError:
            begin = time.perf_counter()
            lines, points = 0, ftle_ridge_pts(*arguments)
        seconds = time.perf_counter() - begin
        print(json.dumps([seconds, lines, points.tolist()]), flush=True)


def sine(u: Tensor) -> Tensor:
    """Steep across a sine curve."""
    import torch

    return torch.tanh(B * (u[:, 1:] - A * torch.sin(K * u[:, :1])))


def circle(u: Tensor) -> Tensor:
    """Radial map with a circular ridge, inside and outside of which v_1 turns to the tangent."""
    import torch

    rho = u.norm(dim=1, keepdim=True)
    return HALF * (torch.tanh(B * (rho - R)) + np.tanh(B * R)) * u / rho


def sine_ridge(x: np.ndarray) -> np.ndarray:
    slope = A * K * np.cos(K * x)
    shift = A**3 * K**4 * np.sin(K * x) * np.cos(K * x) ** 2 / (2 * B * (1 + slope**2) ** 2)
    return A * np.sin(K * x) + np.arctanh(shift) / B


def off_sine(p: np.ndarray) -> np.ndarray:
    """Distance from the exact ridge of :func:`sine`, right to a few per cent of itself within a cell."""
    x, y = p.T
    slope = (sine_ridge(x + 1e-5) - sine_ridge(x - 1e-5)) / 2e-5
    return np.abs(y - sine_ridge(x)) / np.sqrt(1 + slope**2)


def off_circle(p: np.ndarray) -> np.ndarray:
    return np.abs(np.linalg.norm(p, axis=1) - R)


CASES: dict[str, tuple[Callable, Callable[[np.ndarray], np.ndarray]]] = {
    "sine": (sine, off_sine),
    "circle": (circle, off_circle),
}


def summary(who: str, seconds: float, lines: int, errors: np.ndarray, cell: float) -> dict[str, object]:
    near = errors[errors <= cell]
    return {
        "who": who,
        "ms": seconds * 1e3,
        "lines": lines,
        "points": len(errors),
        "elsewhere": len(errors) - len(near),
        "largest error": float(near.max()),
        "median error": float(np.median(near)),
    }


def compare(name: str, side: int, repeats: int, numbacs: str | None) -> list[dict[str, object]]:
    import torch

    import separatrix as sx
    from bench.timing import median, rounds

    model, off = CASES[name]
    grid = sx.grid((-1, 1), (-1, 1), shape=side)
    field = sx.ftle(model, grid)
    cell = 2 / (side - 1)
    run = {"on the grid": partial(sx.ridges, field), "refined": partial(sx.ridges, field, model=model)}
    seconds = rounds(run, repeats, lambda: None)
    rows = []
    for who, call in run.items():
        found = call()
        errors = off(found.position.values)
        rows.append(summary(f"ours, {who}", median(seconds[who]), found.sizes["line"], errors, cell))
    if numbacs:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "field.npz"
            f = field.stretch.values[0, 0, :, :, 0]
            arrays = {"x": field.x.values, "y": field.y.values, "v": np.ascontiguousarray(field.direction[0, 0])}
            np.savez(path, f=np.ascontiguousarray(f - f.min() + 1), **arrays)
            done = subprocess.run(
                [numbacs, __file__, "--peer"],
                input=f"{path}\n" * (repeats + 1),
                capture_output=True,
                text=True,
                check=True,
                env={"NUMBA_NUM_THREADS": str(torch.get_num_threads()), "PATH": ""},
            )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        middle = median([answer[0] for answer in answers[1:]])
        rows.append(summary("NumbaCS", middle, answers[-1][1], off(np.array(answers[-1][2])), cell))
    return [{"field": name, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--numbacs", metavar="PYTHON")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        peer()
        return
    from bench.timing import write

    side, repeats = (100, 1) if options.quick else (400, 3)
    rows = [row for name in CASES for row in compare(name, side, repeats, options.numbacs)]
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    if not options.quick:
        print("written to", write("ridges", rows).name)


if __name__ == "__main__":
    main()
