"""What a model answers: its output for given inputs, its classes, and how often they are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.data.record import Problem, class_numbers
from separatrix.report.context import Context, Options
from separatrix.results.errors import ArgumentError
from separatrix.systems.guest import Guest
from separatrix.systems.listing import prepare

CHUNK = 500_000
"""Input components that are run at once."""


@contextmanager
def evaluating(model: nn.Module | Callable[..., Any]) -> Iterator[list[str]]:
    """Put a model in evaluation mode and restore every module's mode at the end; yields what was in training mode."""
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    modes = {name: module.training for name, module in modules.items()}
    if isinstance(model, nn.Module):
        model.eval()
    try:
        yield [name or type(model).__name__ for name, training in modes.items() if training]
    finally:
        for name, module in modules.items():
            module.training = modes[name]


def shaped(problem: Problem, model: nn.Module | Callable[..., Any], options: Options) -> Problem:
    """Problem whose inputs the model takes: as they are, flattened images as images, whole numbers as floating point.

    Raises
    ------
    ArgumentError
        If the model takes none of the shapes.
    """
    X = problem.X_train[:2] if len(problem.X_train) > 1 else problem.X_test[:2]
    shapes = [problem.input_shape]
    if problem.image is not None:
        shapes += [(1, *problem.image), problem.image]
    dtypes = [X.dtype] if X.is_floating_point() else [X.dtype, torch.float32]
    reasons = []
    for shape, dtype in product(shapes, dtypes):
        try:
            outputs(model, X.reshape(len(X), *shape).to(dtype), options)
        except (RuntimeError, TypeError, IndexError, ValueError, AssertionError) as error:
            if isinstance(error, ArgumentError):
                raise
            kind = "" if X.is_floating_point() else f" {str(dtype).removeprefix('torch.')}"
            reasons.append(f"{tuple(shape)}{kind}: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        return replace(
            problem,
            X_train=problem.X_train.reshape(-1, *shape).to(dtype),
            X_test=problem.X_test.reshape(-1, *shape).to(dtype),
        )
    raise ArgumentError(
        "data",
        f"inputs that the model rejects ({'; '.join(reasons)})",
        "give data in the shape that the model takes: batch first, and channels before height and width",
    )


def outputs(model: nn.Module | Callable[..., Any], X: Tensor, options: Options) -> Tensor:
    """Output for a batch, on the CPU; the model and all global state are left as they were."""
    chunk = max(1, min(20_000, CHUNK // max(1, X[0].numel())))
    guest = Guest(model, output=options.output, start=options.start)
    with guest.visit(), torch.no_grad():
        parts = [guest(prepare(guest, part)).cpu() for part in X.split(chunk)]
    return torch.cat(parts)


def classes(out: Tensor, problem: Problem) -> Tensor | None:
    """Class numbers that outputs stand for, or None where they stand for no classes.

    One output tells two classes apart at 0, or at 1/2 if all outputs lie in [0, 1].
    """
    margins = class_margins(out, problem)
    return None if margins is None else margins.argmax(dim=1)


def class_margins(out: Tensor, problem: Problem) -> Tensor | None:
    """Score of each class minus the best other score, shape (n, classes); positive for the class that is chosen."""
    scores = out.double().reshape(len(out), -1)
    count = len(problem.classes)
    if count == 2 and scores.shape[1] == 1:
        half = level(out)
        return torch.cat([half - scores, scores - half], dim=1)
    if count < 2 or scores.shape[1] != count:
        return None
    top = scores.topk(2, dim=1).values
    best = scores == top[:, :1]
    return scores - torch.where(best, top[:, 1:], top[:, :1])


def level(out: Tensor) -> float:
    """Value at which one output tells two classes apart: 0, or 1/2 if all outputs lie in [0, 1]."""
    one = out.numel() == len(out)
    return 0.5 if one and float(out.min()) >= 0 and float(out.max()) <= 1 else 0.0


def wrong(context: Context, X: Tensor, y: Tensor | None) -> Tensor | None:
    """Which inputs are put into the wrong class, or None where that has no meaning."""
    chosen = classes(outputs(context.model, X, context.options), context.problem)
    return None if chosen is None or y is None or y.ndim != 1 else chosen != class_numbers(y)


def looks_like_classes(problem: Problem) -> bool:
    """Whether targets that were not taken for classes may be meant as such: one whole number each, or one-hot rows."""
    y = problem.y_train
    if y is None or problem.classes or not len(y):
        return False
    values = y.double().reshape(len(y), -1)
    one_hot = values.shape[1] > 1 and bool(((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all())
    whole = values.shape[1] == 1 and bool((values == values.round()).all())
    return one_hot or (whole and len(values.unique()) <= max(2, len(y) // 10))


def quality(context: Context) -> list[tuple[str, str]]:
    """Accuracy, or the mean squared error where there are no classes, on both halves of the data."""
    p, rows = context.problem, []
    for name, X, y in (("training", p.X_train, p.y_train), ("test", p.X_test, p.y_test)):
        misses = wrong(context, X, y)
        if misses is not None:
            rows.append((f"{name} accuracy", f"{100 * (1 - misses.double().mean().item()):.1f} %"))
        elif y is not None and not p.classes:
            out = outputs(context.model, X, context.options).double()
            out, target = out.reshape(len(out), -1), y.double().reshape(len(y), -1)
            if out.shape == target.shape:
                rows.append((f"{name} mean squared error", f"{(out - target).square().mean().item():.3g}"))
    return rows
