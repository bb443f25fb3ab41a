"""Tangents of training: many small networks in one call, and the largest eigenvalue of a large network's Hessian.

Run with ``python -m bench.training --peers FOLDER`` (``--quick`` for less), where FOLDER is a site-packages with
curvlinops, searched after our own. One thread, processor time, the least of several rounds in turns, float64.

Small networks are 1-h-1, tanh, on 30 points of a sine, full batch, gradient descent. A network's spectrum by others is
what one writes for it: at every step the dense Hessian (``torch.func.hessian``) or the Jacobian of the step
(``torch.func.jacrev``), a matrix product and a QR factorisation; or the same for all networks at once under
``torch.vmap``. Loops are timed on a few networks and scaled up. All begin with the same frames, and
exponents are compared.

The largest eigenvalue is found by ARPACK (``scipy.sparse.linalg.eigsh``) from the same start to the same tolerance,
with products by :meth:`separatrix.Training.hessian_product` and by curvlinops.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

import separatrix as sx
from bench.timing import once, rounds, write
from separatrix.systems import half_squared_error
from separatrix.tangent.qr_sweep import random_frames

POINTS, RATE = 30, 0.1
TOLERANCE = 1e-6


def nothing() -> None:
    """Processors need no waiting for."""


def data() -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1, 1, POINTS, dtype=torch.float64)[:, None]
    return x, torch.sin(2 * torch.pi * x)


def loss_of(hidden: int) -> Callable[[Tensor], Tensor]:
    """Loss of one network as a function of its weights, in the order of its parameters."""
    x, y = data()
    one, two, three = hidden, 2 * hidden, 3 * hidden

    def loss(w: Tensor) -> Tensor:
        a = torch.tanh(x * w[:one] + w[one:two])
        return 0.5 * (a @ w[two:three, None] + w[three] - y).square().mean()

    return loss


def spectrum_by_loop(tangent: Callable[[Tensor], Tensor], step: Any, states: Tensor, q: Tensor, steps: int) -> Tensor:
    """Exponents of one network after the other."""
    found = []
    for w, frame in zip(states, q, strict=True):
        total = torch.zeros(len(w), dtype=w.dtype)
        for _ in range(steps):
            frame, R = torch.linalg.qr(tangent(w) @ frame)
            total += R.diagonal().abs().log()
            w = step(w)
        found.append(total / steps)
    return torch.stack(found)


def spectrum_by_vmap(loss: Callable[[Tensor], Tensor], states: Tensor, q: Tensor, steps: int) -> Tensor:
    """Exponents of all networks at once."""
    hessian, gradient = torch.vmap(torch.func.hessian(loss)), torch.vmap(torch.func.grad(loss))
    total, eye = torch.zeros_like(states), torch.eye(states.shape[1], dtype=states.dtype)
    for _ in range(steps):
        q, R = torch.linalg.qr((eye - RATE * hessian(states)) @ q)
        total += R.diagonal(dim1=-2, dim2=-1).abs().log()
        states = states - RATE * gradient(states)
    return total / steps


def ensemble(hidden: int, members: int, steps: int, few: int, repeats: int) -> list[dict[str, Any]]:
    """Spectra, and Hessians alone; loops over ``few`` networks."""
    net = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    system = sx.Training(net, half_squared_error, data(), sx.optim.GradientDescent(lr=RATE))
    states = system.initial_state(0, members)
    n = system.count
    frames = random_frames(1, members, n, n, 0)[0]
    loss = loss_of(hidden)
    hessian, gradient = torch.func.hessian(loss), torch.func.grad(loss)
    eye = torch.eye(n, dtype=torch.float64)

    def step(w: Tensor) -> Tensor:
        return w - RATE * gradient(w)

    tangents = {"torch.func.hessian": lambda w: eye - RATE * hessian(w), "torch.func.jacrev": torch.func.jacrev(step)}
    loops = {
        f"loop, {name}": lambda tangent=tangent: spectrum_by_loop(tangent, step, states[:few], frames[:few], steps)
        for name, tangent in tangents.items()
    }

    def ours() -> Tensor:
        found = sx.lyapunov(system, states, steps=steps, every=steps)
        return torch.from_numpy(found.exponent.values)

    apart = [_apart(ours()[:few], run()) for run in loops.values()]
    apart.append(_apart(ours(), spectrum_by_vmap(loss, states, frames, steps)))
    together = {"ours": ours, "vmap(hessian)": lambda: spectrum_by_vmap(loss, states, frames, steps)}
    seconds = {name: min(times) for name, times in rounds(together, repeats, nothing, time.process_time).items()}
    seconds |= {
        name: min(once(run, nothing, time.process_time) for _ in range(repeats)) * members / few
        for name, run in loops.items()
    }
    row = {"what": "spectrum", "network": f"1-{hidden}-1", "weights": n, "members": members, "steps": steps}
    rows = [_row(row | {"loops timed on": few, "largest difference": max(apart)}, seconds)]

    dense = torch.vmap(hessian)
    apart = [_apart(system.hessian(states), dense(states))]
    together = {"ours": lambda: system.hessian(states), "vmap(hessian)": lambda: dense(states)}
    seconds = {name: min(times) for name, times in rounds(together, 5 * repeats, nothing, time.process_time).items()}
    one = min(once(lambda: [hessian(w) for w in states[:few]], nothing, time.process_time) for _ in range(repeats))
    seconds["loop, torch.func.hessian"] = one * members / few
    row |= {"what": "Hessian", "steps": 1, "loops timed on": few, "largest difference": max(apart)}
    return [*rows, _row(row, seconds)]


def eigenvalue(widths: list[int], loss: Any, rows: int, repeats: int) -> dict[str, Any]:
    """Largest eigenvalue of a large network's Hessian."""
    from curvlinops import HessianLinearOperator

    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        parts += [nn.Linear(inputs, outputs), nn.Tanh()]
    model = nn.Sequential(*parts[:-1]).double()
    X = torch.randn(rows, widths[0], dtype=torch.float64)
    # a teacher's answers, so that there is something to learn
    answer = X @ torch.randn(widths[0], widths[-1], dtype=torch.float64)
    classes = isinstance(loss, nn.CrossEntropyLoss)
    y = answer.argmax(1) if classes else answer / widths[0] ** 0.5
    system = sx.Training(model, loss, (X, y), sx.optim.GradientDescent(lr=RATE))
    state = system.state_of()
    count = [0]

    def product(v: np.ndarray) -> np.ndarray:
        count[0] += 1
        return system.hessian_product(state, torch.from_numpy(v.ravel())[None, None])[0, 0].numpy()

    parameters = [p for p in model.parameters() if p.requires_grad]
    peer = HessianLinearOperator(model, loss, parameters, [(X, y)], check_deterministic=False).to_scipy()
    mine = LinearOperator(peer.shape, matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(peer.shape[0])

    def find(operator: LinearOperator) -> float:
        options = {"k": 1, "which": "LA", "v0": start, "tol": TOLERANCE, "return_eigenvectors": False}
        return float(eigsh(operator, **options)[0])

    found = {"ours": find(mine), "curvlinops": find(peer)}
    contestants = {"ours": lambda: find(mine), "curvlinops": lambda: find(peer)}
    taken = count[0]
    times = rounds(contestants, repeats, nothing, time.process_time)
    row = {
        "what": "largest eigenvalue", "network": "-".join(map(str, widths)), "loss": type(loss).__name__,
        "weights": system.count, "rows": rows, "method": system.method, "products": taken, "tolerance": TOLERANCE,
        "eigenvalue": found["ours"], "largest difference": abs(found["ours"] - found["curvlinops"]) / found["ours"],
    }  # fmt: skip
    return _row(row, {name: min(values) for name, values in times.items()})


def _apart(found: Tensor, other: Tensor) -> float:
    return float((found.sort(-1).values - other.sort(-1).values).abs().max())


def _row(row: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """Seconds of all, and how many times ours others take."""
    ratios = {f"{name}, ratio": taken / seconds["ours"] for name, taken in seconds.items() if name != "ours"}
    return row | {"processor seconds": seconds["ours"], **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a site-packages folder with curvlinops; without it, ensembles alone")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    steps, few, repeats = (10, 2, 2) if arguments.quick else (20, 5, 3)
    rows: list[dict[str, Any]] = []

    def tell(*fresh: dict[str, Any]) -> None:
        rows.extend(fresh)
        for row in fresh:
            print(row, flush=True)

    for hidden in (3, 10) if arguments.quick else (2, 3, 5, 10):
        tell(*ensemble(hidden, 1000, steps, few, repeats))
    if arguments.peers:
        sys.path.append(arguments.peers)
        tell(eigenvalue([784, 128, 10], nn.MSELoss(), 256, repeats))
        tell(eigenvalue([784, 256, 256, 10], nn.CrossEntropyLoss(), 256, repeats))
    print(write("training", rows))


if __name__ == "__main__":
    main()
