"""Ensembles: all members at once, against one at a time with torch.optim and against torch.func's own recipe.

Run with ``python -m bench.ensembles`` (``--quick`` for fewer steps).
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

import separatrix as sx
from bench.timing import median, rounds, write

CASES = [
    # inputs, width, depth, outputs, members, batch
    (2, 5, 4, 1, 200, 64),
    (2, 10, 8, 1, 100, 64),
    (2, 20, 8, 1, 100, 64),
    (2, 50, 8, 1, 50, 64),
    (2, 10, 8, 1, 10, 8192),
    (2, 50, 8, 1, 10, 8192),
    (2, 150, 12, 1, 4, 8192),
    (784, 20, 16, 10, 10, 256),
    (784, 50, 11, 1, 36, 32),
]
SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9)


def build(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for layer in range(depth):
        parts += [nn.Linear(inputs if layer == 0 else width, width), nn.Tanh()]
    return nn.Sequential(*parts, nn.Linear(width, outputs))


def alone(networks: list[nn.Module], batches: list[tuple[Tensor, Tensor]], loss) -> None:
    """One network after the other, the loop that everybody writes."""
    for network in networks:
        optimizer = SGD(network.parameters())
        for x, y in batches:
            optimizer.zero_grad()
            loss(network(x), y).backward()
            optimizer.step()


def recipe(networks: list[nn.Module], batches: list[tuple[Tensor, Tensor]], loss) -> None:
    """Stacked weights, vmap over grad, torch's optimizer on the stacked parameters."""
    weights, _ = stack_module_state(networks)
    pattern = networks[0]

    def of_one(state: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss(functional_call(pattern, state, (x,)), y)

    leaves = {name: nn.Parameter(w.detach().clone()) for name, w in weights.items()}
    optimizer = SGD(list(leaves.values()))
    gradients = vmap(grad(of_one), in_dims=(0, None, None))
    for x, y in batches:
        found = gradients({name: p.detach() for name, p in leaves.items()}, x, y)
        for name, p in leaves.items():
            p.grad = found[name]
        optimizer.step()


def ours(
    shape: tuple[int, int, int, int], members: int, batches: list[tuple[Tensor, Tensor]], loss, epochs: int
) -> None:
    X, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    sx.ensembles.train(
        lambda: build(*shape), (X, y), seeds=range(members), loss=loss, optimizer=SGD, epochs=epochs,
        batch_size=len(batches[0][0]), shuffle="none", accuracy=None,
    )  # fmt: skip


def measure(case: tuple[int, ...], repeats: int, steps: int) -> dict[str, object]:
    *shape, members, batch = case
    outputs = shape[3]
    generator = torch.Generator().manual_seed(0)
    loss = F.cross_entropy if outputs > 1 else F.mse_loss
    batches = []
    for _ in range(steps):
        x = torch.randn(batch, shape[0], generator=generator)
        y = torch.randint(outputs, (batch,), generator=generator) if outputs > 1 else x[:, :1].sign()
        batches.append((x, y))
    few = [build(*shape) for _ in range(min(members, 4))]
    every = [build(*shape) for _ in range(members)]
    seconds = rounds(
        {
            "ours": lambda: ours(tuple(shape), members, batches, loss, 1),
            "longer": lambda: ours(tuple(shape), members, batches, loss, 4),
            "alone": lambda: alone(few, batches, loss),
            "recipe": lambda: recipe(every, batches, loss),
        },
        repeats,
        lambda: None,
    )
    # of the steps alone; what building and stacking the networks takes is told beside it
    mine = (median(seconds["longer"]) - median(seconds["ours"])) / (3 * steps)
    return {
        "network": f"{shape[0]}-{shape[1]}x{shape[2]}-{outputs}",
        "members": members,
        "batch": batch,
        "ms per step": 1e3 * mine,
        "us per step and network": 1e6 * mine / members,
        "building, ms": 1e3 * (median(seconds["ours"]) - mine * steps),
        "one at a time": median(seconds["alone"]) / steps / len(few) / (mine / members),
        "torch.func": median(seconds["recipe"]) / steps / mine,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rows = []
    head = ("network", "members", "batch", "ms per step", "us per step and network", "building, ms")
    head += ("one at a time", "torch.func")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for case in CASES:
        work = case[1] * case[2] * case[4] * case[5]
        row = measure(case, 3 if quick else 5, max(10, min(200, 10**8 // work)) // (2 if quick else 1))
        rows.append(row)
        cells = [f"{row['ms per step']:.2f}", f"{row['us per step and network']:.0f}", f"{row['building, ms']:.0f}"]
        cells += [f"{row['one at a time']:.1f}x", f"{row['torch.func']:.1f}x"]
        print("| " + " | ".join([*(str(row[name]) for name in head[:3]), *cells]) + " |", flush=True)
    print(f"\nwritten to {write('ensembles', rows)}")


if __name__ == "__main__":
    main()
