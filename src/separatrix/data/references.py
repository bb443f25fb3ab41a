"""Objects named in text: ``package.module:name`` and ``file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from separatrix.results.errors import ArgumentError

FORMS = '"file.py:name" or "package.module:name"'


def resolve(reference: str, *, argument: str = "reference") -> Any:
    """Object that a reference names; the module or file is run.

    Parameters
    ----------
    reference : str
        ``file.py:name`` or ``package.module:name``; the name may be dotted. The file's own folder (for a module: the
        working directory) can be imported from while it is run.
    argument : str
        What errors call the reference.

    Raises
    ------
    ArgumentError
        If the text has neither form, or the file, module or name does not exist. What goes wrong inside the user's
        own code is raised as it is.
    """
    where, _, name = reference.rpartition(":")
    if not where or not name:
        raise ArgumentError(argument, repr(reference), f"write {FORMS}")
    found: Any = _run_file(Path(where).expanduser(), argument) if where.endswith(".py") else _import(where, argument)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [n for n in vars(found) if not n.startswith("_")] if hasattr(found, "__dict__") else []
            raise ArgumentError(
                argument, repr(reference), f"{where} has no {name!r}; it has {', '.join(names) or 'nothing'}"
            )
        found = getattr(found, part)
    return found


def _run_file(path: Path, argument: str) -> ModuleType:
    if not path.is_file():
        raise ArgumentError(
            argument, repr(str(path)), f"no such file (looked in {path.parent.resolve()}); write {FORMS}"
        )
    spec = importlib.util.spec_from_file_location(f"_separatrix_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look their module up by name
    with _importing_from(path.parent.resolve()):
        spec.loader.exec_module(module)
    return module


def _import(name: str, argument: str) -> ModuleType:
    with _importing_from(Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                raise ArgumentError(
                    argument,
                    repr(name),
                    f"no module {error.name!r} in the working directory or among the installed packages; write {FORMS}",
                ) from error
            raise


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
