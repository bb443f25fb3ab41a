"""Where data is looked for."""

from __future__ import annotations

import os
from pathlib import Path

from separatrix.results.errors import ArgumentError

SYSTEM = Path("/usr/share/datasets")
"""Where Debian's packages put data sets."""


def places() -> list[Path]:
    """Directories in which a data set is looked up by name: ``SEPARATRIX_DATA``, then the system's."""
    named = os.environ.get("SEPARATRIX_DATA")
    return [*([Path(named).expanduser()] if named else []), SYSTEM]


def find_folder(folder: str | Path, *, argument: str) -> Path:
    """Folder of a path, or of a name below one of :func:`places`.

    Raises
    ------
    ArgumentError
        If there is none; the message says where it was looked for.
    """
    given = Path(folder).expanduser()
    tried = [given, *(place / folder for place in places())]
    for path in tried:
        if path.is_dir():
            return path
    unset = "" if os.environ.get("SEPARATRIX_DATA") else " (SEPARATRIX_DATA is not set)"
    raise ArgumentError(
        argument,
        repr(str(folder)),
        f"no such folder among {', '.join(map(str, tried))}{unset}; give a path, or set SEPARATRIX_DATA to the "
        "directory that holds it. Nothing is downloaded",
    )
