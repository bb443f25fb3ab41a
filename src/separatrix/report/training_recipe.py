"""How a copy of the model is to be trained: loss, optimizer, and targets in the form that the loss takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.data.record import Problem, class_numbers
from separatrix.report.answers import outputs
from separatrix.report.context import Context, Options, name_of
from separatrix.report.loading import LOSSES, load_loss
from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole

OPTIMIZERS: dict[str, tuple[str, float, Callable[..., torch.optim.Optimizer]]] = {
    "sgd": ("gradient descent", 0.01, torch.optim.SGD),
    "heavy-ball": ("heavy ball with momentum 0.9", 0.01, partial(torch.optim.SGD, momentum=0.9)),
    "nesterov": ("Nesterov's method with momentum 0.9", 0.01, partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
    "adam": ("Adam", 0.001, torch.optim.Adam),
    "adamw": ("AdamW with weight decay 0.01", 0.001, torch.optim.AdamW),
    "rmsprop": ("RMSprop", 0.01, torch.optim.RMSprop),
}
"""What each is called, its learning rate by default, and its class."""
CLASS_LOSSES = ("cross_entropy", "nll_loss")


@dataclass(frozen=True)
class Recipe:
    """How a copy is to be trained; None for what time and memory decide."""

    loss: Callable[[Any, Tensor], Tensor]
    optimizer: str
    rate: float
    steps: int | None
    batch: int | None


def training_recipe(options: Options, problem: Problem | None = None) -> Recipe | None:
    """Read the options on training; None where no loss is given.

    Raises
    ------
    ArgumentError
        If one of them cannot be used, or the problem has no targets.
    """
    given = {name: getattr(options, name) for name in ("optimizer", "rate", "steps", "batch")}
    if options.loss is None:
        name = next((name for name, value in given.items() if value is not None), None)
        if name is not None:
            raise ArgumentError(name, repr(given[name]), "that is of training: give a loss with it")
        return None
    loss = load_loss(options.loss)
    optimizer = given["optimizer"] or "sgd"
    if optimizer not in OPTIMIZERS:
        raise ArgumentError("optimizer", repr(optimizer), f"choose from {', '.join(OPTIMIZERS)}")
    rate = OPTIMIZERS[optimizer][1] if given["rate"] is None else given["rate"]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ArgumentError("rate", repr(rate), "give a positive number")
    steps, batch = (None if given[name] is None else whole(name, given[name], 1) for name in ("steps", "batch"))
    if problem is not None and problem.y_train is None:
        got = f"{name_of(loss)}, and {problem.name}, which has no targets"
        raise ArgumentError("loss", got, "give data with targets, or leave the loss out")
    return Recipe(loss, optimizer, float(rate), steps, batch)


def fitting(loss: Callable[..., Any], out: Tensor, problem: Problem) -> Tensor:
    """Targets of a problem in the form that a loss takes with outputs like ``out``; as they are if it has no name.

    Raises
    ------
    ArgumentError
        If there is no such form: a broadcast would give a loss of something else.
    """
    y = problem.y_train
    assert y is not None
    name = next((name for name, kind in LOSSES.items() if loss is getattr(F, name) or type(loss) is kind), None)
    if name is None:
        return y
    shape, classes = tuple(out.shape[1:]), len(problem.classes)
    found = f"{name}, outputs of shape {('n', *shape)} and targets of shape {('n', *y.shape[1:])}".replace("'", "")
    if name in CLASS_LOSSES:
        if y.is_floating_point() and y.shape[1:] == out.shape[1:] and not classes:
            return y
        if not shape or shape[0] < max(classes, 2) or (y.is_floating_point() and not classes):
            raise ArgumentError("loss", found, "it is for classes, with an output for each of them; try mse_loss")
        return class_numbers(y) if classes else y
    numbers = y
    if classes and (name.startswith("binary") or shape == (classes,)):
        numbers = class_numbers(y)
    if classes > 1 and shape == (classes,):
        return F.one_hot(numbers, classes).to(out.dtype)
    if y[0].numel() != out[0].numel() or (classes > 2 and name.startswith("binary")):
        raise ArgumentError("loss", found, "it compares number with number; classes go with cross_entropy")
    return numbers.reshape(-1, *shape).to(out.dtype)


def refuse_without_weights(model: Any) -> None:
    """Refuse what has nothing to train.

    Raises
    ------
    ArgumentError
        If it is no module, or one without floating-point parameters.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError("model", "a function", "it has no weights to train: give a torch.nn.Module")
    if not any(p.is_floating_point() for p in model.parameters()):
        got = f"a {type(model).__name__} without parameters"
        raise ArgumentError("model", got, "it has no weights to train: leave the loss out")


def refuse_unfit(context: Context) -> None:
    """Refuse a loss that cannot be one of this model and these data, by a trial on two inputs.

    Raises
    ------
    ArgumentError
        If the model has no weights, targets do not fit the loss, or it does not make one number of output and target.
    """
    loss, problem = context.options.loss, context.problem
    if loss is None:
        return
    refuse_without_weights(context.model)
    assert callable(loss)
    try:
        out = outputs(context.model, problem.X_train[:2], context.options)
    except Exception:
        return  # what is wrong with the model is for the page to tell
    y = fitting(loss, out, problem)[:2]
    try:
        with torch.random.fork_rng(), torch.no_grad():
            value = loss(out, y)
    except TypeError as error:
        remedy = "give a function of (output, target) that returns one number"
        raise ArgumentError("loss", f"{name_of(loss)}, which failed with {error}", remedy) from error
    except Exception:
        return  # it may want other types or more rows than these
    if not isinstance(value, Tensor) or value.ndim:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        got = f"{name_of(loss)}, which returns a {type(value).__name__}{shape}"
        raise ArgumentError("loss", got, "return one number, a tensor without dimensions, for a batch")


def of_output(loss: Callable[..., Any], output: Any) -> Callable[[Any, Tensor], Tensor]:
    """Loss of what the model returns, where only a part of that is looked at."""
    if output is None:
        return loss
    return lambda found, y: loss(output(found) if callable(output) else found[output], y)
