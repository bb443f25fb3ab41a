"""The box or plane over which regions are asked for, and the budget on their number."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from separatrix.local.region_layers import Layer
from separatrix.results.errors import ArgumentError
from separatrix.tangent.inputs import Plane

REMEDY = "give (lo, hi): two numbers, or two vectors with lo < hi in every component, all finite"


def read_box(box: Any, n: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Corners lo and hi of a box in n dimensions from a pair of scalars or n-vectors, or from ``sx.grid``.

    Raises
    ------
    ArgumentError
        If it is no pair, has another number of components, is not finite, or is empty or upside down.
    """
    if isinstance(box, Plane):
        if box.kind != "grid" or n != 2:
            remedy = f"for states of {n} give (lo, hi): two numbers, or two vectors of {n}"
            raise ArgumentError("box", "a grid of the plane" if box.kind == "grid" else "a plane", remedy)
        lo, hi = sides(box)
        box = (lo, hi)
    try:
        lo, hi = (np.asarray(side, dtype=np.float64) for side in box)
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError("box", " ".join(repr(box).split())[:80], REMEDY) from None
    for side in (lo, hi):
        if side.shape not in ((), (1,), (n,)):
            raise ArgumentError("box", f"a side of shape {side.shape}", f"{REMEDY}; here vectors have {n} components")
    lo, hi = np.broadcast_to(lo, n).copy(), np.broadcast_to(hi, n).copy()
    if not (np.isfinite(lo).all() and np.isfinite(hi).all() and (lo < hi).all() and np.isfinite(hi - lo).all()):
        hint = ""
        if n == 2 and lo[0] < lo[1] and hi[0] < hi[1]:
            hint = f"; these look like ranges, and are corners: ([{lo[0]:g}, {hi[0]:g}], [{lo[1]:g}, {hi[1]:g}])"
        raise ArgumentError("box", f"({lo}, {hi})", REMEDY + hint)
    return lo, hi


def rectangle(lo: Float[np.ndarray, " 2"], hi: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "4 2"]:
    """Corners of a rectangle, counter-clockwise."""
    return np.array([lo, [hi[0], lo[1]], hi, [lo[0], hi[1]]])


def sides(plane: Plane) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    """Corners lo and hi of the rectangle of a plane, in its own coordinates."""
    lo, hi = (np.array([float(plane.x[i]), float(plane.y[i])]) for i in (0, -1))
    return lo, hi


def allowed(layers: list[Layer], limit: int, budget: int, *, input_maps: int = 0) -> int:
    """How many regions a limit and a budget in bytes allow; a convex subdivision has about one corner a region."""
    widths = [layer.width for layer in layers]
    skips = sum(widths) if any(len(layer.weights) > 1 for layer in layers) else max(widths)
    outputs = widths[-1]
    numbers = 2 * (2 + skips + max(widths)) + 5 * (3 + outputs) + 3 * outputs + input_maps * (outputs + 1) + 2 * 12
    return min(limit, budget // (8 * numbers + 2 * sum(widths)))


def too_many(limit: int, room: int, memory: Any) -> ArgumentError:
    """The error for more regions than are allowed."""
    if room < limit:
        return ArgumentError(
            "memory",
            f"{memory!r}, which holds {room:,} regions, and there are more",
            "allow more, or take a smaller box",
        )
    return ArgumentError("limit", f"more than {limit:,} regions", "allow more with limit=, or take a smaller box")
