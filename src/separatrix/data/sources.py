"""Data by name: what ``--data`` accepts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from separatrix.data.array_files import arrays
from separatrix.data.bundled import digits
from separatrix.data.idx_files import idx
from separatrix.data.record import Problem, split_off
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
        If nothing of that name can be found, or what was found is no data. Nothing is downloaded.
    """
    try:
        return _load(spec, seed)
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
    made = made() if callable(made) else made
    if isinstance(made, Problem):
        return made
    return _from_pair(text.rpartition(":")[2], made, seed, text)


def _from_pair(name: str, pair: Any, seed: int, text: str = "a pair of arrays") -> Problem:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ArgumentError(
            "data", f"{type(pair).__name__} from {text}", "return (X, y), with y None where there are no targets"
        )
    return split_off(name, f"data from {text}", pair[0], pair[1], seed=seed)
