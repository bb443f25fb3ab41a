"""How far two sets of curves are apart."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from separatrix.results.dataset import Entry, build
from separatrix.results.errors import ArgumentError
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs
from separatrix.tangent.polylines import polylines, same_plane, segments, to_lengths

if TYPE_CHECKING:
    import xarray as xr

_PAIRS = 2_000_000
"""Pairs of a sample and a segment that are looked at together."""


class DistanceStatus(IntEnum):
    """Whether there is a distance."""

    OK = 0
    """Both have lines."""
    NOTHING_IN_A = 1
    """The first has no line."""
    NOTHING_IN_B = 2
    """The second has no line."""
    NOTHING = 3
    """Neither has a line."""


def curve_distance(a: xr.Dataset, b: xr.Dataset, *, spacing: float | None = None) -> xr.Dataset:
    """Measure how far two sets of curves in a plane are apart, both ways.

    d(p, B) is the smallest distance from p to any line of ``b``. From ``a`` to ``b``: its median, its 95 % quantile and
    its maximum over the length of all lines of ``a``, and the same from ``b`` to ``a``. The Hausdorff distance is the
    larger of the two maxima.

    Parameters
    ----------
    a, b : xarray.Dataset
        Results with lines: from ``sx.ridges`` or ``sx.decision_boundary``, in the same plane.
    spacing : float, optional
        Length of the pieces into which the lines are cut for taking the quantiles, so that it does not matter how
        densely their points lie. By default a thousandth of the diagonal of the box around both.

    Returns
    -------
    xarray.Dataset
        Numbers without dimensions, in lengths of the input space: ``median_ab``, ``q95_ab``, ``max_ab``
        (from ``a`` to ``b``), ``median_ba``, ``q95_ba``, ``max_ba``, ``hausdorff``, ``length_a``, ``length_b``, and
        ``status`` (:class:`DistanceStatus`). Where one of them has no line the distances are NaN.

    Raises
    ------
    ArgumentError
        If one is no result with lines, if they lie in different planes, or if the spacing is not positive.

    Notes
    -----
    Distances are exact at the points taken: the vertices and the middle of every piece. As a distance changes no faster
    than its point moves, a maximum is too small by at most half of the spacing, and quantiles are off by no more.
    Cost: pieces of one times segments of the other.
    """
    if spacing is not None and not (isinstance(spacing, int | float) and 0 < spacing < np.inf):
        raise ArgumentError("spacing", repr(spacing), "give a positive, finite length")
    lines_a, lines_b = segments(polylines(a, "a")), segments(polylines(b, "b"))
    if not same_plane(a, b):
        raise ArgumentError("b", "lines in another plane than those of a", "compute both on the same grid or plane")
    lines_a, lines_b = (lines @ to_lengths(a, b) for lines in (lines_a, lines_b))
    status = DistanceStatus(int(not len(lines_a)) + 2 * int(not len(lines_b)))
    if spacing is None:
        ends = np.concatenate([lines_a, lines_b]).reshape(-1, 2)
        spacing = float(np.hypot(*np.ptp(ends, axis=0))) / 1000 if len(ends) else 1.0
        spacing = spacing or 1.0
    there, back = one_way(lines_a, lines_b, spacing), one_way(lines_b, lines_a, spacing)
    data: dict[str, Entry] = {}
    for way, found, text in (("ab", there, "from a to the nearest of b"), ("ba", back, "from b to the nearest of a")):
        for name, value in zip(("median", "q95", "max"), found, strict=True):
            data[f"{name}_{way}"] = ((), value, {"long_name": f"{name} of the distance {text}"})
    data["hausdorff"] = ((), max(there[2], back[2]), {"long_name": "larger of the two maxima"})
    data["length_a"] = ((), _lengths(lines_a).sum(), {"long_name": "length of all lines of a"})
    data["length_b"] = ((), _lengths(lines_b).sum(), {"long_name": "length of all lines of b"})
    data["status"] = ((), np.int8(status), flag_attrs(DistanceStatus))
    attrs = {
        "title": "distance between curves",
        "method": "piecewise",
        "spacing": float(spacing),
        "provenance": provenance("curve_distance", spacing=spacing),
    }
    return build(data, {}, attrs)


def one_way(a: Float[np.ndarray, "k 2 2"], b: Float[np.ndarray, "m 2 2"], spacing: float) -> tuple[float, float, float]:
    """Median, 95 % quantile and maximum of the distance from the segments ``a`` to the segments ``b``; NaN if empty."""
    if not len(a) or not len(b):
        return np.nan, np.nan, np.nan
    lengths = _lengths(a)
    pieces = np.maximum(1, np.ceil(lengths / spacing).astype(int))
    which = np.repeat(np.arange(len(a)), pieces)
    share = (np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5) / pieces[which]
    middle = a[which, 0] + share[:, None] * (a[which, 1] - a[which, 0])
    weight = (lengths / pieces)[which]
    # points without a line around them have no length: then each counts the same
    weight = weight if weight.sum() > 0 else np.ones(len(weight))
    distance = to_segments(middle, b)
    order = np.argsort(distance)
    below = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()
    median, q95 = np.interp([0.5, 0.95], below, distance[order])
    vertices = np.unique(a.reshape(-1, 2), axis=0)
    return float(median), float(q95), float(max(distance.max(), to_segments(vertices, b).max()))


def to_segments(points: Float[np.ndarray, "p 2"], to: Float[np.ndarray, "m 2 2"]) -> Float[np.ndarray, " p"]:
    """Distance from each point to the nearest of the segments."""
    origin, along = to[:, 0], to[:, 1] - to[:, 0]
    square = (along**2).sum(1)
    # a segment without length has one nearest point, whatever the share
    inverse = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    found = np.empty(len(points))
    chunk = max(1, _PAIRS // max(1, len(to)))
    for begin in range(0, len(points), chunk):
        x, y = (points[begin : begin + chunk, None, i] - origin[None, :, i] for i in (0, 1))
        share = np.clip((x * along[:, 0] + y * along[:, 1]) * inverse, 0, 1)
        x, y = x - share * along[:, 0], y - share * along[:, 1]
        found[begin : begin + chunk] = np.sqrt((x * x + y * y).min(1))
    return found


def _lengths(parts: np.ndarray) -> np.ndarray:
    return np.hypot(*(parts[:, 1] - parts[:, 0]).T)
