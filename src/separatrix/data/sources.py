"""Data by name: what ``--data`` accepts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from separatrix.data.array_files import arrays, sizes
from separatrix.data.bundled import digits
from separatrix.data.idx_files import idx
from separatrix.data.record import Problem, as_tensor, split_off
from separatrix.data.references import resolve
from separatrix.data.toys import disc
from separatrix.results.errors import ArgumentError

BUILT_IN: dict[str, Callable[..., Problem]] = {"disc": disc, "digits": digits}

ALLOWED = (
    'give "disc", "digits", "mnist", "fashion-mnist", a folder of IDX files, a file "x.npz", or "module:callable" or '
    '"file.py:callable" that returns (X, y)'
)


def load(spec: str | Path | Problem | tuple[Any, Any], *, seed: int = 0) -> Problem:
    """Load a data set by what a user would call it.

    Parameters
    ----------
    spec : str, Path, Problem or (X, y)
        - ``"disc"``: :func:`disc`; ``"digits"``: :func:`digits`
        - ``"mnist"``, ``"fashion-mnist"`` or another folder of IDX files, by path or name: :func:`idx`
        - ``"x.npz"``: :func:`arrays`
        - ``"package.module:name"`` or ``"file.py:name"``: a callable that returns a :class:`Problem` or ``(X, y)``
        - a :class:`Problem`, which is handed back, or ``(X, y)``, of which a fifth is held back for testing
    seed : int
        Seed of what is sampled or split here.

    Raises
    ------
    ArgumentError
        If nothing of that name can be found, or what was found is no data, holds NaN or infinity, or does not fit
        together. Nothing is downloaded.
    """
    try:
        return _checked(_load(spec, seed))
    except ArgumentError as error:
        remedy = error.remedy if error.argument in ("data", "test") else f"{error.remedy}. Else {ALLOWED}"
        raise ArgumentError("data", error.got, remedy) from error


def _load(spec: str | Path | Problem | tuple[Any, Any], seed: int) -> Problem:
    if isinstance(spec, Problem):
        return spec
    if isinstance(spec, tuple):
        return _from_pair("data", spec, seed)
    text = str(spec)
    if text in BUILT_IN:
        return BUILT_IN[text](seed=seed)
    if text.endswith(".npz"):
        return arrays(text, seed=seed)
    if ":" in text and not Path(text).expanduser().is_dir():
        return _from_callable(text, seed)
    if not text or text.endswith(".py"):
        raise ArgumentError("data", repr(text), ALLOWED)
    return idx(text)


def _from_callable(text: str, seed: int) -> Problem:
    made = resolve(text, argument="data")
    if callable(made):
        needed = required_arguments(made)
        if needed:
            raise ArgumentError(
                "data",
                f"{text}, which needs the arguments {', '.join(needed)}",
                "name a function that needs none, such as one that calls this one",
            )
        made = made()
    if isinstance(made, Problem):
        return made
    return _from_pair(text.rpartition(":")[2], made, seed, text)


def _from_pair(name: str, pair: Any, seed: int, text: str = "a pair of arrays") -> Problem:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ArgumentError(
            "data", f"{type(pair).__name__} from {text}", "return (X, y), with y None where there are no targets"
        )
    X = as_tensor(pair[0], "data")
    described = (
        f"{len(X):,} inputs of {sizes(X)} from {text}, of which 20% are held back for testing" if X.ndim else text
    )
    return split_off(name, described, X, pair[1], seed=seed)


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments without which a function, or a class, cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []  # built into Python: calling it will tell
    without = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind not in without]


def _checked(problem: Problem) -> Problem:
    """Refuse data whose parts do not fit together, or that are not finite."""
    for name, X, y in (
        ("training", problem.X_train, problem.y_train),
        ("test", problem.X_test, problem.y_test),
    ):
        if X.ndim < 2 or not X.numel():
            raise ArgumentError("data", f"{name} inputs of shape {tuple(X.shape)}", "give inputs of shape (n, ...)")
        if y is not None and len(y) != len(X):
            raise ArgumentError(
                "data", f"{len(X)} {name} inputs and {len(y)} targets", "give one target for each input"
            )
        if X.is_complex():
            raise ArgumentError("data", f"{name} inputs of complex numbers", "give real and imaginary parts as numbers")
        bad = ~torch.isfinite(X).flatten(1).all(1)
        if bad.any():
            raise ArgumentError(
                "data",
                f"NaN or infinity in {int(bad.sum()):,} of {len(X):,} {name} inputs",
                "remove or replace them",
            )
    if problem.X_train.shape[1:] != problem.X_test.shape[1:]:
        shapes = [tuple(X.shape[1:]) for X in (problem.X_train, problem.X_test)]
        raise ArgumentError("data", f"training inputs {shapes[0]} and test inputs {shapes[1]}", "give them one shape")
    return problem
