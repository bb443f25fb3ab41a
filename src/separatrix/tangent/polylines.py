"""Results that hold lines (boundaries, ridges), read as arrays of segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from separatrix.results.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr

NEEDED = ("position", "start", "count")
"""Variables of a result with lines: points one line after the other, and where each line starts and how long it is."""


def polylines(ds: Any, argument: str) -> list[Float[np.ndarray, "points 2"]]:
    """Points of each line of a result, the first one repeated at the end of a closed line.

    Raises
    ------
    ArgumentError
        If ``ds`` is no result with lines in a plane; ``argument`` is the caller's name for it.
    """
    names = list(getattr(ds, "data_vars", ()))
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        raise ArgumentError(
            argument,
            f"{type(ds).__name__} without {', '.join(lacking)}",
            "give what sx.ridges or sx.decision_boundary returned",
        )
    position = np.asarray(ds["position"].values, dtype=float)
    if position.ndim != 2 or position.shape[1] != 2:
        raise ArgumentError(argument, f"positions of shape {position.shape}", "lines lie in a plane: (point, 2)")
    start, count = (np.asarray(ds[name].values, dtype=int) for name in ("start", "count"))
    closed = np.asarray(ds["closed"].values, dtype=bool) if "closed" in names else np.zeros(len(start), dtype=bool)
    lines = []
    for s, n, ring in zip(start, count, closed, strict=True):
        line = position[s : s + n]
        again = ring and n > 2 and not np.array_equal(line[0], line[-1])
        lines.append(np.concatenate([line, line[:1]]) if again else line)
    return lines


def segments(lines: list[np.ndarray]) -> Float[np.ndarray, "segments 2 2"]:
    """Segments of all lines; a line of one point is a segment without length, and one with a NaN end is left out."""
    parts = [np.stack([line[:-1], line[1:]], 1) if len(line) > 1 else line[:, None].repeat(2, 1) for line in lines]
    found = np.concatenate([*parts, np.zeros((0, 2, 2))])
    return found[np.isfinite(found).all((1, 2))]


def to_lengths(*results: xr.Dataset) -> Float[np.ndarray, "2 2"]:
    """Matrix that takes coordinates (row vectors) of the results' plane to ones in which lengths are the input's."""
    for ds in results:
        if "basis" in ds:
            basis = np.asarray(ds["basis"].values, dtype=float)
            return np.linalg.cholesky(basis @ basis.T)
    return np.eye(2)


def same_plane(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two results lie in the same plane of the input space, as far as they say."""
    for name in ("origin", "basis"):
        if (name in a) != (name in b) and {a.attrs.get("inputs"), b.attrs.get("inputs")} == {"grid", "plane"}:
            return False
        if name in a and name in b:
            one, other = np.asarray(a[name].values), np.asarray(b[name].values)
            if one.shape != other.shape or not np.allclose(one, other, rtol=1e-9, atol=1e-12):
                return False
    return True
