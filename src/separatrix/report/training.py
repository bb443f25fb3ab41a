"""A small network, trained while one waits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from separatrix.data.record import Problem, class_numbers
from separatrix.results.errors import ArgumentError
from separatrix.results.progress import Progress, track


@dataclass(frozen=True)
class Trained:
    """A trained network, in evaluation mode, and how it came about."""

    model: nn.Module
    recipe: str


def fit(
    problem: Problem,
    *,
    widths: Sequence[int] | None = None,
    steps: int = 1000,
    rate: float = 0.02,
    seed: int = 0,
    progress: Progress = False,
) -> Trained:
    """Train a multilayer perceptron with tanh on a problem.

    Targets -1 and +1 are fitted by one tanh output with squared error (Storm et al., Phys. Rev. Lett. 132, 057301),
    classes by one output each with cross entropy, other values by linear outputs with squared error.

    Parameters
    ----------
    problem : Problem
        With targets.
    widths : sequence of int, optional
        Widths of the hidden layers; by default eight of 10 for inputs in the plane, six of 16 otherwise.
    steps : int
        Steps of Adam.
    rate : float
        Largest learning rate; it rises and falls along one cycle.
    seed : int
        Seed of initial weights and batches. The caller's random numbers are left alone.
    progress : bool or callable
        See :mod:`separatrix.results.progress`.

    Returns
    -------
    Trained

    Raises
    ------
    ArgumentError
        If the problem has no targets.
    """
    if problem.y_train is None:
        raise ArgumentError("data", f"{problem.name} without targets", "give targets to train on, or give a model")
    X, y = problem.X_train.float(), problem.y_train
    inputs = X[0].numel()
    hidden = list(widths) if widths is not None else [10] * 8 if inputs == 2 else [16] * 6
    signs = problem.classes != () and y.is_floating_point()
    target = y.float()[:, None] if signs else class_numbers(y) if problem.classes else y.float().reshape(len(y), -1)
    outputs = len(problem.classes) if problem.classes and not signs else target[0].numel()
    loss = nn.functional.cross_entropy if problem.classes and not signs else nn.functional.mse_loss
    batch = min(len(X), 1000, max(64, len(X) // 40))
    with _apart(seed):
        model = _perceptron([inputs, *hidden, outputs], flat=X.ndim == 2, bounded=signs)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        with track(progress, steps, f"train on {problem.name}") as advance:
            for rows in _batches(len(X), batch, steps):
                optimizer.zero_grad()
                loss(model(X[rows]), target[rows]).backward()
                optimizer.step()
                schedule.step()
                advance(1)
    shape = "-".join(map(str, [inputs, *hidden, outputs]))
    recipe = (
        f"Multilayer perceptron {shape} with tanh, initial weights N(0, 1/fan-in), trained for {steps:,} steps of Adam "
        f"(batches of {batch}, rate up to {rate}) on {len(X):,} inputs, seed {seed}."
    )
    return Trained(model.eval().requires_grad_(False), recipe)


def _perceptron(sizes: list[int], *, flat: bool, bounded: bool) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict() if flat else OrderedDict(flatten=nn.Flatten())
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.normal_(linear.weight, std=fan_in**-0.5)
        nn.init.zeros_(linear.bias)
        parts[f"linear{i}"] = linear
        if i < len(sizes) - 1 or bounded:
            parts[f"tanh{i}"] = nn.Tanh()
    return nn.Sequential(parts)


def _batches(count: int, batch: int, steps: int) -> Iterator[Tensor]:
    """Rows of ``steps`` batches, every epoch in a new order."""
    left = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(left) < batch:
            left = torch.randperm(count)
        yield left[:batch]
        left = left[batch:]


@contextmanager
def _apart(seed: int) -> Iterator[None]:
    """Random numbers of our own, and one thread: steps this small wait longer for threads than they compute."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
