"""The record in which every data set is handed over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Problem:
    """Inputs and targets, already split, with what is needed to read them.

    Raw values are ``X * scale + mean``.

    Attributes
    ----------
    name, description : str
        A word for file names, and a sentence for people.
    X_train, X_test : Tensor
        Shape ``(n, *input_shape)``.
    y_train, y_test : Tensor or None
        Shape ``(n, ...)``: class numbers (integers), -1 and +1 (floats, two classes), or values to be fitted.
    classes : tuple of str
        Names of the classes in the order of their numbers; empty where the targets are not classes.
    image : tuple of int or None
        Height and width, where an input is a flattened grey image.
    seed : int
        What the sampling and the split were seeded with.
    mean, scale : Tensor
        What was taken off the raw inputs, and what they were divided by.
    """

    name: str
    description: str
    X_train: Tensor
    y_train: Tensor | None
    X_test: Tensor
    y_test: Tensor | None
    classes: tuple[str, ...] = ()
    image: tuple[int, int] | None = None
    seed: int = 0
    mean: Tensor | float = 0.0
    scale: Tensor | float = 1.0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.X_train.shape[1:])

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        return f"Problem({self.name}: {len(self.X_train)} + {len(self.X_test)} inputs {shape})"


def class_numbers(y: Tensor) -> Tensor:
    """Class numbers of targets: integers as they are, -1 and +1 as 0 and 1."""
    return (y > 0).long() if y.is_floating_point() or bool((y < 0).any()) else y.long()


def split_off(
    name: str, description: str, X: Any, y: Any = None, *, test: float = 0.2, seed: int = 0, argument: str = "data"
) -> Problem:
    """Make a problem of inputs and targets that come without a split.

    Parameters
    ----------
    name, description : str
        See :class:`Problem`.
    X : array_like
        Shape ``(n, ...)``, at least two rows.
    y : array_like, optional
        Shape ``(n, ...)``. Integer targets 0..C-1 are taken for classes.
    test : float
        Share of the rows that is kept for testing, between 0 and 1.
    seed : int
        Seed of the split.
    argument : str
        What errors call the data.

    Raises
    ------
    ArgumentError
        If there are fewer than two rows, if X and y differ in length, or if ``test`` is no share.
    """
    X, y = as_tensor(X, argument), None if y is None else as_tensor(y, argument)
    if X.ndim < 2 or len(X) < 2:
        raise ArgumentError(argument, f"X of shape {tuple(X.shape)}", "X needs shape (n, ...) with n at least 2")
    if y is not None and len(y) != len(X):
        raise ArgumentError(argument, f"{len(X)} inputs and {len(y)} targets", "give one target for each input")
    if not 0 < test < 1:
        raise ArgumentError("test", repr(test), "give the share of the test set, between 0 and 1")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(X)))
    held = min(max(1, round(test * len(X))), len(X) - 1)
    far, near = order[:held], order[held:]
    return Problem(
        name,
        description,
        X[near],
        None if y is None else y[near],
        X[far],
        None if y is None else y[far],
        classes=class_names(y),
        seed=seed,
    )


def class_names(y: Tensor | None) -> tuple[str, ...]:
    """Names of the classes of targets that are -1 and +1, or integers 0..C-1 (one number each); else none."""
    if y is None or y.ndim != 1 or not len(y):
        return ()
    if set(y.unique().tolist()) == {-1, 1}:
        return ("-1", "+1")
    if y.is_floating_point():
        return ()
    low, high = int(y.min()), int(y.max())
    return tuple(map(str, range(high + 1))) if low >= 0 and high < max(2, len(y)) else ()


def as_tensor(values: Any, argument: str) -> Tensor:
    """Tensor of an array: floats as they are, bytes and booleans as float32.

    Raises
    ------
    ArgumentError
        If the values are not an array of numbers.
    """
    try:
        tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:
        raise ArgumentError(argument, f"{type(values).__name__} ({error})", "give an array of numbers") from error
    return tensor.float() if tensor.dtype in (torch.uint8, torch.bool) else tensor
