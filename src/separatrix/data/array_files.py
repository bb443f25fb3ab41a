"""Arrays from ``.npz`` files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from separatrix.data.record import Problem, as_tensor, class_names, split_off
from separatrix.results.errors import ArgumentError


def arrays(path: str | Path, *, test: float = 0.2, seed: int = 0) -> Problem:
    """Read inputs and targets from an ``.npz`` file.

    Parameters
    ----------
    path : str or Path
        The file. Either it holds ``X`` and, if there are targets, ``y``, or ``X_train``, ``y_train``, ``X_test``,
        ``y_test``.
    test, seed : float, int
        Share of the test set and seed of the split, where the file has no split of its own.

    Returns
    -------
    Problem
        Inputs as float32, not rescaled. Integer targets 0..C-1 are taken for classes.

    Raises
    ------
    ArgumentError
        If the file is missing, is no ``.npz``, lacks the keys, or holds Python objects (nothing is unpickled).
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ArgumentError("path", repr(str(path)), "no such file; give the path of an .npz file")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ArgumentError(
            "path",
            f"{path.name} ({error})",
            "give a file that numpy.savez wrote, of arrays of numbers; objects are not unpickled",
        ) from error
    if "X_train" in found and "X_test" in found:
        y_train, y_test = _tensor(found.get("y_train")), _tensor(found.get("y_test"))
        X_train, X_test = (as_tensor(found[name], "path").float() for name in ("X_train", "X_test"))
        counts = f"{len(X_train):,} training and {len(X_test):,} test inputs"
        return Problem(
            name=path.stem,
            description=f"{counts} of {sizes(X_test)} from {path.name}",
            X_train=X_train,
            y_train=y_train,
            X_test=X_test,
            y_test=y_test,
            classes=class_names(y_train if y_train is None or y_test is None else torch.cat([y_train, y_test])),
            seed=seed,
        )
    if "X" in found:
        X = as_tensor(found["X"], "path").float()
        described = f"{len(X):,} inputs of {sizes(X)} from {path.name}, of which {test:.0%} are held back for testing"
        return split_off(path.stem, described, X, found.get("y"), test=test, seed=seed, argument="path")
    raise ArgumentError(
        "path",
        f"{path.name} with the keys {', '.join(found) or 'none'}",
        "save X and y, or X_train, y_train, X_test, y_test",
    )


def sizes(X: Tensor) -> str:
    """Shape of one input in words."""
    return "×".join(map(str, X.shape[1:])) + (" numbers" if X.ndim == 2 else "")


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else as_tensor(values, "path")
