"""Orbits and their tangents, whatever the system: rows of states, in the widest precision that the system takes."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.tangent.columns import Columns, LureColumns, columns

__all__ = ["Orbits", "first_states"]


class Orbits:
    """How the states and tangents of one system are carried a step.

    Parameters
    ----------
    system : System
        See :class:`separatrix.systems.System`.
    states : Tensor (B, n)
        Where the orbits start; tells precision and device.
    steps : int
        How many will be taken.

    Attributes
    ----------
    method : str
        ``"lure"`` for a network that is run by its blocks, ``"step"`` for a system's own tangent.
    dtype, device
        Of the arithmetic.
    dt : float
        Time of a step, 1 where the system names none.
    unit : str
        Of an exponent.
    widths : list of int
        Components of the state before each step and after the last; a single number where that never changes.
    fixed : bool
        Whether it never changes.

    Raises
    ------
    ArgumentError
        If this is no system, or it rejects the states.
    """

    def __init__(self, system: Any, states: Float[Tensor, "B n"], steps: int) -> None:
        self.system = system
        self.dt, self.unit = float(getattr(system, "dt", 1.0)), str(getattr(system, "unit", "1/step"))
        self.widths = _widths(system, states.shape[1], steps)
        self.fixed = len(set(self.widths)) == 1
        found: Columns | None = columns(system, states) if self.fixed else None
        self._fast = found if isinstance(found, LureColumns) else None
        self.method = "step" if self._fast is None else "lure"
        self.dtype = states.dtype if found is None else found.dtype
        self.device = torch.device("cpu") if self._fast else getattr(found, "device", states.device)

    @torch.no_grad()
    def tangent(self, x: Tensor, V: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Carry states (B, n) and tangents (k, B, n) one step; the tangents come back in float64."""
        if self._fast is not None:
            if not len(V):
                return self._fast.step(x.T.contiguous(), t).T, V
            following, MV = self._fast.tangent(x.T.contiguous(), V.permute(2, 0, 1).contiguous(), t)
            return following.T, MV.permute(1, 2, 0)
        if not len(V):
            return self.system.step(x.contiguous(), t).detach(), V
        following, MV = self.system.tangent(x.contiguous(), V.to(self.dtype).contiguous(), t)
        return following.detach(), MV.detach().to(torch.float64)


def first_states(system: Any, state: Any, seed: int) -> Float[Tensor, "B n"]:
    """Read where the orbits start, as rows; of the system's own choice where nothing is given.

    Raises
    ------
    ArgumentError
        If nothing is given and the system offers nothing, or the state is no finite floating-point tensor.
    """
    for part in ("step", "tangent", "dim"):
        if not callable(getattr(system, part, None)):
            raise ArgumentError("system", type(system).__name__, "give a system, such as sx.Loop(model) or sx.Map(f)")
    if state is None:
        own = getattr(system, "initial_state", None)
        if not callable(own):
            remedy = "this system offers no initial state: give state=, (n,) or (members, n)"
            raise ArgumentError("state", "None", remedy)
        state = own(seed, 1)
    if not isinstance(state, Tensor) or not state.is_floating_point() or state.ndim == 0 or state.numel() == 0:
        got = f"shape {tuple(state.shape)} of {state.dtype}" if isinstance(state, Tensor) else type(state).__name__
        raise ArgumentError("state", got, "give a floating-point tensor (n,) or (*members, n)")
    states = state.detach().reshape(-1, state.shape[-1])
    if not bool(torch.isfinite(states).all()):
        raise ArgumentError("state", "values that are NaN or infinite", "start from finite values")
    return states


def _widths(system: Any, n: int, steps: int) -> list[int]:
    """Sizes of the state before each step and after the last, one number if there is no horizon."""
    horizon = getattr(system, "horizon", None)
    if horizon is None:
        return [n]
    if steps > horizon:
        raise ArgumentError("steps", f"{steps} in all", f"this system ends after {horizon} (its horizon)")
    widths = [int(system.dim(t)) for t in range(steps + 1)] if _knows(system) else [n]
    if widths[0] != n:
        raise ArgumentError("state", f"{n} components", f"the states of this system begin with {widths[0]}")
    return widths if len(set(widths)) > 1 else widths[:1]


def _knows(system: Any) -> bool:
    """Tell whether a system knows its size before it has seen a state."""
    try:
        return int(system.dim(0)) >= 1
    except ArgumentError:
        return False
