"""Where a field is computed: points, a grid in the plane, or a plane through a larger input space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError

Interval = tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """Points ``origin + x[i] e1 + y[j] e2`` of a two-dimensional slice, in 'ij' order; see :data:`plane`.

    Attributes
    ----------
    origin, e1, e2 : Tensor
        A point and two directions of the input space, in the shape of one input, float64.
    x, y : Tensor
        Coordinates along the two directions, float64.
    kind : str
        ``"plane"``, or ``"grid"`` where the input space itself is the plane.
    corners : Tensor or None, shape (3, 2)
        Coordinates of the three points that the plane was laid through.
    """

    origin: Tensor
    e1: Tensor
    e2: Tensor
    x: Tensor
    y: Tensor
    kind: str = "plane"
    corners: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x) * len(self.y)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of points along the two directions."""
        return len(self.x), len(self.y)

    def points(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Points ``begin`` to ``end`` in 'ij' order, shape (count, *input shape), float64."""
        return self.at(torch.arange(begin, len(self) if end is None else min(end, len(self))))

    def at(self, index: Tensor) -> Tensor:
        """Points by their numbers in 'ij' order."""
        ones = (1,) * self.origin.ndim
        a = self.x[index // len(self.y)].view(-1, *ones)
        b = self.y[index % len(self.y)].view(-1, *ones)
        return self.origin + a * self.e1 + b * self.e2


def _interval(name: str, interval: Any) -> Interval:
    try:
        low, high = (float(v) for v in interval)
    except (TypeError, ValueError):
        raise ArgumentError(name, repr(interval), "give a pair (low, high)") from None
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ArgumentError(name, repr(interval), "give finite numbers with low < high")
    return low, high


def _shape(shape: Any) -> tuple[int, int]:
    pair = (shape, shape) if isinstance(shape, int) else tuple(shape)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n >= 2 for n in pair):
        raise ArgumentError("shape", repr(shape), "give two whole numbers of at least 2, such as (200, 200)")
    return int(pair[0]), int(pair[1])


def grid(x: Interval, y: Interval, *, shape: tuple[int, int] | int = (200, 200)) -> Plane:
    """Lay a regular grid over a rectangle of a two-dimensional input space, ends included.

    Parameters
    ----------
    x, y : (float, float)
        Intervals of the first and the second input.
    shape : (int, int) or int
        Number of points along each.

    Returns
    -------
    Plane
        With ``kind="grid"``; results on it have the dimensions ``x`` and ``y``.

    Raises
    ------
    ArgumentError
        If an interval is empty or not finite, or a side has fewer than two points.
    """
    (x0, x1), (y0, y1), (nx, ny) = _interval("x", x), _interval("y", y), _shape(shape)
    e1, e2 = torch.eye(2, dtype=torch.float64)
    return Plane(
        torch.zeros(2, dtype=torch.float64),
        e1,
        e2,
        torch.linspace(x0, x1, nx, dtype=torch.float64),
        torch.linspace(y0, y1, ny, dtype=torch.float64),
        kind="grid",
    )


class _PlaneMaker:
    """Slice an input space of any shape by a plane.

    ``plane(origin, e1, e2, x=(-1, 1), y=(-1, 1), shape=(200, 200))`` gives the points ``origin + a e1 + b e2``.
    The directions need not be orthonormal; distances on the picture are those of the input space when they are.
    ``plane.through(p, q, r)`` lays one through three points.
    """

    def __call__(
        self,
        origin: Any,
        e1: Any,
        e2: Any,
        *,
        x: Interval = (-1.0, 1.0),
        y: Interval = (-1.0, 1.0),
        shape: tuple[int, int] | int = (200, 200),
    ) -> Plane:
        (x0, x1), (y0, y1), (nx, ny) = _interval("x", x), _interval("y", y), _shape(shape)
        o, a, b = (_point(name, value) for name, value in (("origin", origin), ("e1", e1), ("e2", e2)))
        for name, direction in (("e1", a), ("e2", b)):
            if direction.shape != o.shape:
                raise ArgumentError(
                    name, f"shape {tuple(direction.shape)}", f"it must have the origin's, {tuple(o.shape)}"
                )
        if torch.linalg.matrix_rank(torch.stack([a.flatten(), b.flatten()])) < 2:
            raise ArgumentError("e1, e2", "parallel or zero directions", "they must span a plane")
        xs = torch.linspace(x0, x1, nx, dtype=torch.float64)
        return Plane(o, a, b, xs, torch.linspace(y0, y1, ny, dtype=torch.float64))

    def through(
        self, p: Any, q: Any, r: Any, *, shape: tuple[int, int] | int = (200, 200), margin: float = 0.5
    ) -> Plane:
        """Lay a plane through three points, with orthonormal directions, so that lengths are those of the input space.

        Parameters
        ----------
        p, q, r : Tensor
            Three points that are not on one line; ``p`` is the origin, and ``e1`` points to ``q``.
        shape : (int, int) or int
            Number of points along each direction.
        margin : float
            How far the rectangle reaches beyond the three points, as a share of their extent.
        """
        a, b, c = (_point(name, value) for name, value in (("p", p), ("q", q), ("r", r)))
        if a.shape != b.shape or a.shape != c.shape:
            raise ArgumentError("p, q, r", f"shapes {[tuple(v.shape) for v in (a, b, c)]}", "they must be equal")
        basis, triangle = torch.linalg.qr(torch.stack([(b - a).flatten(), (c - a).flatten()], dim=1))
        signs = torch.where(torch.diagonal(triangle) < 0, -1.0, 1.0).double()
        basis, triangle = basis * signs, triangle * signs[:, None]
        longest = triangle.norm(dim=0).max()
        if not torch.diagonal(triangle).abs().min() > 1e-9 * longest:
            raise ArgumentError("p, q, r", "three points on one line", "choose points that span a plane")
        corners = torch.cat([torch.zeros(1, 2, dtype=torch.float64), triangle.T])
        low, high = corners.min(0).values, corners.max(0).values
        room = float(margin) * (high - low).max()
        xs, ys = (
            torch.linspace(float(low[i] - room), float(high[i] + room), n, dtype=torch.float64)
            for i, n in enumerate(_shape(shape))
        )
        return Plane(a, basis[:, 0].reshape(a.shape), basis[:, 1].reshape(a.shape), xs, ys, corners=corners)


plane = _PlaneMaker()


def _point(name: str, value: Any) -> Tensor:
    tensor = torch.as_tensor(value).detach().to("cpu", torch.float64)
    if tensor.ndim == 0 or tensor.numel() < 2 or not torch.isfinite(tensor).all():
        raise ArgumentError(
            name, f"shape {tuple(tensor.shape)} or values not finite", "give one input, without a batch"
        )
    return tensor


@dataclass(frozen=True)
class Points:
    """A plain batch of inputs, checked; shape (count, *input shape)."""

    values: Tensor
    kind: str = "points"

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int]:
        """The number of points."""
        return (len(self.values),)

    def points(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Points ``begin`` to ``end``."""
        return self.values[begin:end]

    def at(self, index: Tensor) -> Tensor:
        """Points by their numbers."""
        return self.values[index.to(self.values.device)]


def as_inputs(inputs: Any, tokens: bool) -> Plane | Points:
    """Check the ``inputs`` of an instrument; ``tokens`` allows integers."""
    if isinstance(inputs, Plane):
        return inputs
    if not isinstance(inputs, Tensor | np.ndarray):
        raise ArgumentError("inputs", type(inputs).__name__, "give a tensor of points, sx.grid(...) or sx.plane(...)")
    values = torch.as_tensor(inputs).detach()
    if values.ndim < 2 or values.numel() == 0:
        raise ArgumentError(
            "inputs", f"shape {tuple(values.shape)}", "give at least one point, as (points, *input shape)"
        )
    if not values.is_floating_point():
        if not tokens:
            raise ArgumentError(
                "inputs",
                f"{values.dtype}, which cannot be perturbed",
                'convert them with .float(), or name the layer where perturbations enter, such as start="embedding#1"',
            )
        return Points(values)
    bad = ~torch.isfinite(values).flatten(1).all(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ArgumentError(
            "inputs",
            f"NaN or infinity in {int(bad.sum())} of {len(values)} points (first: point {first})",
            "remove them",
        )
    return Points(values)
