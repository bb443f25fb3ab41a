"""The index of a run store: one line a run, for people and spreadsheets, always written from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from separatrix.sweeps import files
from separatrix.sweeps.config import canonical
from separatrix.sweeps.folder import Folder

COLUMNS = ("key", "status", "seconds", "written", "task", "version", "attempts", "error")


def write_index(folder: Folder) -> Path:
    """Write ``index.tsv`` anew: :data:`COLUMNS`, then one column for every name in any config.

    Cost: two small files are opened for every run; results are not read.

    Raises
    ------
    OSError
        If the disk does not take it; the index before is kept.
    """
    path = folder.path / "index.tsv"
    with folder.shared():  # what is listed first must not replace what was listed later
        rows = [row for key in folder.ended() if (row := _row(folder, key))]
        names = list(dict.fromkeys(name for row in rows for name in row["config"]))
        lines = ["\t".join([*COLUMNS, *names])]
        for row in sorted(rows, key=lambda row: (row["task"], row["version"], canonical(row["config"]))):
            row["seconds"] = f"{row['seconds']:.3f}"
            cells = [row.get(column, "") for column in COLUMNS] + [row["config"].get(name, "") for name in names]
            lines.append("\t".join(map(_cell, cells)))
        files.write_whole(path, ("\n".join(lines) + "\n").encode())
    return path


def _row(folder: Folder, key: str) -> dict[str, Any] | None:
    done = files.read_json(folder.record(key)) if folder.result(key).exists() else None
    if done is not None:
        return {**done, "status": "done"}
    failure = files.read_json(folder.failure(key))
    return None if failure is None else {**failure, "status": "failed"}


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return " ".join(text.split())[:200]
