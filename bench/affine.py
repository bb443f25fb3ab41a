"""Affine maps: ours against dense Jacobians by torch.func, and against neuromancer's ``pwa_batched``.

Run with ``python -m bench.affine``. Neuromancer (1.5.6) has pins of its own, so it is timed in another environment, by
this same file: ``python -m bench.affine --peer /path/to/its/python``. All contestants are timed in one run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

CASES = [
    # components, width, hidden layers, points
    (2, 2, 8, 14_400),
    (2, 32, 3, 14_400),
    (2, 64, 2, 14_400),
    (16, 64, 3, 2_000),
    (64, 64, 4, 1_000),
]


def weights(n: int, width: int, depth: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    sizes = [n, *[width] * depth, n]
    return [
        (torch.randn(b, a, generator=generator) / a**0.5, 0.1 * torch.randn(b, generator=generator))
        for a, b in pairwise(sizes)
    ]


def points(n: int, count: int) -> torch.Tensor:
    return torch.randn(count, n, generator=torch.Generator().manual_seed(1))


def peer() -> None:
    """Be the other environment: read cases on stdin, answer each with the seconds of one call and its maps' sum."""
    import neuromancer.slim as slim
    from neuromancer.analysis.pwa_maps import pwa_batched
    from neuromancer.modules.blocks import MLP

    torch.set_num_threads(int(sys.stdin.readline()))
    for line in sys.stdin:
        n, width, depth, count = json.loads(line)
        net = MLP(n, n, bias=True, linear_map=slim.Linear, nonlin=nn.ReLU, hsizes=[width] * depth)
        for lin, (w, b) in zip(net.linear, weights(n, width, depth), strict=True):
            lin.linear.weight.data, lin.linear.bias.data = w.clone(), b.clone()
        x = points(n, count)
        begin = time.perf_counter()
        with torch.no_grad():
            A, _, *_ = pwa_batched(net, x)
        print(json.dumps([time.perf_counter() - begin, float(A.double().abs().sum())]), flush=True)


class Peer:
    """The other environment, kept running so that imports do not count."""

    def __init__(self, python: str) -> None:
        command = [python, __file__, "--be-peer"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(str(torch.get_num_threads()))

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def seconds(self, case: tuple[int, ...]) -> tuple[float, float]:
        """Seconds of one call, and the sum of the moduli of its maps."""
        self._say(json.dumps(case))
        assert self.process.stdout is not None
        found = json.loads(self.process.stdout.readline())
        return found[0], found[1]


def measure(case: tuple[int, ...], other: Peer | None, repeats: int) -> dict[str, Any]:
    import separatrix as sx
    from bench.timing import median, rounds

    n, width, depth, count = case
    layers: list[nn.Module] = []
    for w, b in weights(n, width, depth):
        linear = nn.Linear(w.shape[1], w.shape[0])
        linear.weight.data, linear.bias.data = w.clone(), b.clone()
        layers += [linear, nn.ReLU()]
    model, x = nn.Sequential(*layers[:-1]), points(n, count)
    dense = torch.func.vmap(torch.func.jacfwd(model))
    theirs: list[float] = []
    ours = sx.affine(model, x).A

    def ask() -> None:
        assert other is not None
        seconds, total = other.seconds(case)
        theirs.append(seconds)
        if abs(total - float(ours.abs().sum())) > 1e-3 * abs(total):
            raise SystemExit(f"the maps differ: {total} and {float(ours.abs().sum())}")

    contestants = {
        "ours": lambda: sx.affine(model, x),
        "single": lambda: sx.affine(model, x, dtype=torch.float32),
        "jacfwd": lambda: dense(x),
    }
    seconds = rounds(contestants | ({"peer": ask} if other else {}), repeats, lambda: None)
    mine, single = median(seconds["ours"]), median(seconds["single"])
    return {
        "network": f"{n}-{width}x{depth}-{n}",
        "points": count,
        "ms, float64": 1e3 * mine,
        "ms, float32": 1e3 * single,
        "vmap(jacfwd)": median(seconds["jacfwd"]) / single,
        "pwa_batched": median(theirs[1:]) / single if other else None,
        "pwa_batched, of float64": median(theirs[1:]) / mine if other else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer", help="a Python that has neuromancer installed")
    parser.add_argument("--be-peer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be_peer:
        return peer()
    from bench.timing import write

    other = Peer(arguments.peer) if arguments.peer else None
    head = ("network", "points", "separatrix, float64", "float32", "vmap(jacfwd)", "pwa_batched", "of float64")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    rows = []
    for case in CASES:
        row = measure(case, other, 3 if arguments.quick else 7)
        rows.append(row)
        cells = [str(row["network"]), f"{row['points']:,}", f"{row['ms, float64']:.1f} ms"]
        cells += [f"{row['ms, float32']:.1f} ms", f"{row['vmap(jacfwd)']:.1f}x"]
        cells += [f"{row[k]:.1f}x" if other else "not run" for k in ("pwa_batched", "pwa_batched, of float64")]
        print("| " + " | ".join(cells) + " |", flush=True)
    print(f"\nwritten to {write('affine', rows)}")
    return None


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
