"""Figures of a study as files of their own, to be looked at without the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from separatrix.figures.svg import standalone
from separatrix.studies.study import Part


def write_pictures(parts: Sequence[tuple[str, Part]], folder: Path) -> list[Path]:
    """Write every figure of some parts, given with their names, and return the files.

    A drawing is called after the name it was drawn under (``name=`` of :func:`separatrix.figures.svg.draw`), an image
    after its part; a number follows where a name comes again. Files of an earlier run in the folder are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.svg"), *folder.glob("*.png")]:
        old.unlink()
    written: list[Path] = []
    for part_name, part in parts:
        for figure in part.figures:
            if isinstance(figure.picture, bytes):
                stem, suffix, data = part_name, ".png", figure.picture
            else:
                drawn = re.search(r'<g id="([A-Za-z0-9_-]+?)-figure_\d', figure.picture)
                stem, suffix = drawn[1] if drawn else part_name, ".svg"
                data = (standalone(str(figure.picture)) + "\n").encode()
            taken = sum(path.stem == stem or path.stem.startswith(f"{stem}~") for path in written)
            path = folder / f"{stem}{f'~{taken + 1}' if taken else ''}{suffix}"
            path.write_bytes(data)
            written.append(path)
    return written
