"""The function that a sweep runs: what it is called, its version, and how another process gets hold of it."""

from __future__ import annotations

import importlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

    from separatrix.sweeps.config import Config

    Task = Callable[[Config], xr.Dataset]

F = TypeVar("F", bound=Callable[..., Any])

_REMEDY = "write the task as a function at the top of a module or script, so that another process can import it"
_here = threading.local()


def task(*, version: str | int) -> Callable[[F], F]:
    """Give a task its version: change it whenever results of the old code must not be used any more.

    Parameters
    ----------
    version : str or int
        Part of the identity of every run of the task.

    Examples
    --------
    >>> @task(version="2")
    ... def accuracy(config): ...
    """

    def mark(function: F) -> F:
        function.sweep_version = str(version)  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True)
class Source:
    """Where a task is found."""

    module: str
    qualname: str
    file: str
    folder: str
    """What has to be on ``sys.path`` to import the module."""

    @property
    def name(self) -> str:
        """``module:qualname``."""
        return f"{self.module}:{self.qualname}"

    def to_json(self) -> dict[str, str]:
        """What :meth:`from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, str]) -> Source:
        """The source that was written by :meth:`to_json`."""
        return Source(**{name: record[name] for name in ("module", "qualname", "file", "folder")})


def describe(function: object) -> Source:
    """Find out where a task can be imported from. A script's module is named by its file.

    Raises
    ------
    ArgumentError
        If it cannot be: a lambda, a nested function, a partial, a function of an interactive session.
    """
    if not callable(function):
        raise ArgumentError("task", f"{type(function).__name__} {function!r:.60}", _REMEDY)
    qualname, module_name = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    if qualname is None or module_name is None:
        raise ArgumentError(
            "task", f"{type(function).__name__} {function!r:.60}, which has no name of its own", _REMEDY
        )
    if "<" in qualname:
        kind = "a lambda" if qualname.endswith("<lambda>") else "a function inside a function"
        raise ArgumentError("task", f"{kind} ({qualname})", _REMEDY)
    module = sys.modules.get(module_name)
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if module is None or found is not function:
        raise ArgumentError("task", f"{qualname}, which is not what {module_name} calls by that name", _REMEDY)
    file = getattr(module, "__file__", None)
    if file is None:
        raise ArgumentError("task", f"{qualname} of an interactive session", "save it in a file and import it")
    path = Path(file).resolve()
    name = module_name
    if name == "__main__":
        spec = getattr(module, "__spec__", None)
        name = spec.name if spec is not None else path.stem
    depth = name.count(".") + (path.name == "__init__.py")
    return Source(name, qualname, str(path), str(path.parents[depth]))


def version_of(function: object, version: str | int | None) -> str:
    """Version of a task: the argument, else the one it was marked with, else ``"1"``.

    Raises
    ------
    ArgumentError
        If both are given and differ.
    """
    marked = getattr(function, "sweep_version", None)
    if version is None:
        return marked if marked is not None else "1"
    if isinstance(version, bool) or not isinstance(version, str | int):
        raise ArgumentError("version", repr(version), "give text or a whole number")
    if marked is not None and marked != str(version):
        raise ArgumentError("version", repr(version), f"the task is marked as version {marked!r}; keep one of the two")
    return str(version)


def pickled(function: Task) -> bytes:
    """The task for another process: by reference, or by value if it belongs to a script.

    Raises
    ------
    ArgumentError
        If it uses something of the script that cannot be sent.
    """
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError:  # joblib carried it inside before version 1.6
        from joblib.externals import cloudpickle

    try:
        return cloudpickle.dumps(function)
    except Exception as error:
        raise ArgumentError(
            "task", f"something that cannot be sent to a worker ({error})", "make such things inside the task"
        ) from error


def unpickled(data: bytes) -> Task:
    """The task in another process; its module is imported."""
    with _while_importing():
        return pickle.loads(data)


def load(source: Source) -> Task:
    """Import a task from where it was found before.

    Raises
    ------
    ArgumentError
        If the module or the name cannot be found, or the module is another one now.
    """
    where = f"{source.name} of {source.file}"
    with _while_importing():
        before = list(sys.path)
        if source.folder not in sys.path:
            sys.path.insert(0, source.folder)  # and it stays: workers look there as well
        try:
            module = importlib.import_module(source.module)
        except BaseException as error:
            sys.path[:] = before
            if not isinstance(error, ImportError):
                raise
            raise ArgumentError(
                "task",
                f"{where}, which cannot be imported ({error})",
                "put the file back or set PYTHONPATH; or call sx.sweep from the script that began this",
            ) from error
    file = Path(module.__file__ or "").resolve()
    if str(file) != source.file and Path(source.file).exists():
        raise ArgumentError("task", f"{where}, but {source.module} is {file} here", "set PYTHONPATH to the right one")
    found: Any = module
    for part in source.qualname.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ArgumentError("task", f"{where}, which has no {source.qualname!r} any more", "put it back")
    return found


@contextmanager
def _while_importing() -> Iterator[None]:
    _here.importing = True
    try:
        yield
    finally:
        _here.importing = False


def refuse_in_imports() -> None:
    """Refuse to start a sweep while a process imports the module of a task: it would start itself, for ever.

    Raises
    ------
    ArgumentError
        If a task's module is being imported.
    """
    if getattr(_here, "importing", False):
        raise ArgumentError(
            "task", "a module that starts a sweep when it is imported", 'put the call under if __name__ == "__main__":'
        )
