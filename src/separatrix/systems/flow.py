"""A vector field, x' = field(x) or field(x, t), as the map of one integration step."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.callables import positive
from separatrix.systems.maps import Map

_TABLEAUX: dict[str, tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]] = {
    "euler": (((),), (1.0,)),
    "midpoint": (((), (0.5,)), (0.0, 1.0)),
    "heun": (((), (1.0,)), (0.5, 0.5)),
    "rk4": (((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
"""Rows a and weights b of the explicit Runge-Kutta methods; the nodes c are the sums of the rows."""


class Flow(Map):
    """The flow of x' = field(x), or x' = field(x, t), through fixed steps of an explicit Runge-Kutta method.

    Parameters
    ----------
    field : callable or nn.Module
        Takes a batch (B, n), and the time (a float, t dt within step t) if it has a second positional parameter that is
        required or called ``t``; returns the velocities (B, n).
    dt : float
        Time of a step.
    method : {"rk4", "euler", "midpoint", "heun"}
        Of order 4, 1, 2, 2.
    dim : int, optional
        Number of components n; found from the first state when left out.

    Attributes
    ----------
    dt : float
    unit : str
        ``"1/time"``.
    method : str

    Raises
    ------
    ArgumentError
        As in :class:`separatrix.Map`, or if the method is unknown.

    Notes
    -----
    The tangent is the exact derivative of the integrator's step, not an integration of the variational equation, so
    it belongs to the computed orbit to rounding. Both carry the integrator's error, of order dt^p. A step costs as
    many calls of the field as the method has stages (rk4: 4), a tangent step with k tangents (1 + k) times that.
    """

    _name = "field"

    def __init__(
        self,
        field: Callable[..., Tensor] | nn.Module,
        dt: float,
        method: str = "rk4",
        *,
        dim: int | None = None,
    ) -> None:
        if method not in _TABLEAUX:
            raise ArgumentError("method", repr(method), f"choose one of {', '.join(map(repr, _TABLEAUX))}")
        super().__init__(field, dt=positive(dt, "dt"), dim=dim)
        self.method = method

    def _next(self, x: Tensor, t: int) -> Tensor:
        stages, weights = _TABLEAUX[self.method]
        slopes: list[Tensor] = []
        for row in stages:
            time = (t + sum(row)) * self.dt
            slopes.append(self._call(_add(x, self.dt, row, slopes), time))
        return _add(x, self.dt, weights, slopes)


def _add(x: Tensor, dt: float, weights: Collection[float], slopes: Collection[Tensor]) -> Tensor:
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            x = torch.add(x, slope, alpha=dt * weight)
    return x
