"""Which code made a result, and on what machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from separatrix.results.provenance import environment, package_version

HERE = Path(__file__).resolve().parents[1]


def code_state(package: Path = HERE) -> str:
    """Return the state of the code: ``git describe`` where the package runs from its own checkout, else its version.

    Files in the package that differ from the commit, or are in none, are told: "1a2b3c4, with uncommitted changes".
    """
    version = f"separatrix {package_version()}"
    # a package installed below somebody else's repository is not tracked by it
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return version
    found = _git(package, "describe", "--always", "--tags")
    if not found:
        return version
    changed = _git(package, "status", "--porcelain", "--", ".")
    return found + (", with uncommitted changes" if changed or changed is None else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def machine() -> dict[str, str]:
    """Versions and hardware, as text."""
    from importlib.metadata import version

    found = {name: str(value) for name, value in environment().items()}
    found |= {name: version(name) for name in ("numpy", "scipy")}
    return found | {"cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())}
