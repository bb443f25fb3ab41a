"""A training step with the monitor, as a multiple of a plain one, for ten million parameters.

Run with ``python -m bench.monitor``. Goals, for one perturbation: below 6 exactly, below 2.5 by differences. On a
machine with other work ``--cpu`` can be trusted more: one thread, processor time, the least of all rounds.
"""

from __future__ import annotations

import argparse
import functools
import time

import torch
from torch import nn

import separatrix as sx
from bench.timing import median, rounds, write

WIDTH = 2180
BATCH = 256


def make() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(256, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def loop(optimizer, **options):
    model = make()
    opt = optimizer(model.parameters())
    loss = nn.functional.cross_entropy
    batch = (torch.randn(BATCH, 256), torch.randint(10, (BATCH,)))
    monitor = sx.Monitor(model, loss, opt, window=10**6, **options) if options else None

    def step() -> None:
        opt.zero_grad()
        loss(model(batch[0]), batch[1]).backward()
        if monitor is not None:
            monitor.step(batch)
        opt.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true")
    cpu = parser.parse_args().cpu
    clock, typical = (time.process_time, min) if cpu else (time.perf_counter, median)
    if cpu:
        torch.set_num_threads(1)
    kinds = {
        "SGD with momentum": functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        "Adam": functools.partial(torch.optim.Adam, lr=1e-4),
    }
    weights = sum(p.numel() for p in make().parameters())
    rows = []
    for name, optimizer in kinds.items():
        steps = {"plain": loop(optimizer)}
        steps |= {mode: loop(optimizer, k=1, mode=mode) for mode in ("exact", "difference")}
        found = {mode: typical(times) for mode, times in rounds(steps, 7, lambda: None, clock).items()}
        for mode, seconds in found.items():
            ratio = seconds / found["plain"]
            print(f"{name:18} {mode:10} {1e3 * seconds:8.1f} ms {ratio:6.2f} x")
            row = {"optimizer": name, "mode": mode, "seconds": seconds, "ratio": ratio, "weights": weights}
            rows.append(row | {"clock": clock.__name__})
    print(write("monitor", rows))


if __name__ == "__main__":
    main()
