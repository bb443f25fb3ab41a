"""Any function of a batch as a map, x+ = f(x) or x+ = f(x, t)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import whole
from separatrix.systems.callables import positive, refuse_training, takes_time
from separatrix.systems.derivatives import default_adjoint, default_tangent
from separatrix.systems.protocol import System


class Map(System):
    """The map x+ = f(x), or x+ = f(x, t), as a system.

    Parameters
    ----------
    f : callable or nn.Module
        Takes a batch (B, n), and the step number t (a Python int) if it has a second positional parameter that is
        required or called ``t``; returns (B, n). The rows of a batch must be independent of each other.
    dt : float, optional
        Time that a step takes. Exponents are then per time, otherwise per step.
    dim : int, optional
        Number of components n; found from the first state when left out.

    Attributes
    ----------
    dt : float
        Duration of a step; 1 when not given.
    unit : str
        ``"1/time"`` when ``dt`` was given, ``"1/step"`` otherwise.
    horizon : None
        A map has no end.

    Raises
    ------
    ArgumentError
        If f is not callable, is a class, or takes another number of arguments; if ``dt`` or ``dim`` is not positive. At
        a step: if the state is no floating-point tensor, is empty, has NaN or infinity, or another number of
        components; if f returns something else than a tensor of its argument's shape and dtype; if f is a module in
        train mode with dropout or batch statistics.

    Notes
    -----
    The state may be (n,) or (*batch, n); f always sees (B, n), and a copy, so that it may work in place. A step costs
    one call of f, a tangent step with k tangents (1 + k), and for small states less
    (:func:`separatrix.systems.derivatives.default_tangent`). ``step`` records a graph where grad mode and
    f's parameters ask for one; tangents never carry one.
    """

    _name = "f"

    def __init__(
        self, f: Callable[..., Tensor] | nn.Module, dt: float | None = None, *, dim: int | None = None
    ) -> None:
        self.f = f
        self._takes = takes_time(f, self._name)
        self.dt = 1.0 if dt is None else positive(dt, "dt")
        self.unit = "1/step" if dt is None else "1/time"
        self._dim = None if dim is None else whole("dim", dim, 1)

    def __repr__(self) -> str:
        name = type(self.f).__name__ if isinstance(self.f, nn.Module) else getattr(self.f, "__name__", repr(self.f))
        return f"{type(self).__name__}({name}, dt={self.dt:g}, unit={self.unit!r}, dim={self._dim})"

    def dim(self, t: int = 0) -> int:
        """Return the number of components of a state, the same at all t.

        Raises
        ------
        ArgumentError
            If no state has been seen yet and ``dim=`` was not given.
        """
        if self._dim is None:
            raise ArgumentError(
                "dim", "None, and no state yet", f"give {type(self).__name__}(..., dim=n), or take a step"
            )
        return self._dim

    def step(self, state: Tensor, t: int = 0) -> Tensor:
        """Carry states (*batch, n) one step further. See the class for the errors."""
        self._check_state(state, t)
        return self._advance(state, t)

    def tangent(self, state: Tensor, V: Tensor, t: int = 0) -> tuple[Tensor, Tensor]:
        """Next state and M V for tangents (k, *batch, n); see :meth:`separatrix.systems.System.tangent`."""
        self._check_state(state, t)
        return default_tangent(lambda x: self._advance(x, t), state, V, owner=self)

    def adjoint(self, state: Tensor, W: Tensor, t: int = 0) -> Tensor:
        """M^T W for covectors (k, *batch, n) at the next state; see :func:`separatrix.systems.adjoint`."""
        self._check_state(state, t)
        return default_adjoint(lambda x: self._advance(x, t), state, W, owner=self)

    def _advance(self, state: Tensor, t: int) -> Tensor:
        flat = state.reshape(-1, state.shape[-1])
        return self._next(flat, t).reshape(state.shape)

    def _next(self, x: Tensor, t: int) -> Tensor:
        return self._call(x, t)

    def _call(self, x: Tensor, t: int | float) -> Tensor:
        """Call the user's function on a batch (B, n) and check what it returns."""
        arguments, named = ((t,), {}) if self._takes == "positional" else ((), {"t": t} if self._takes else {})
        try:
            value = self.f(x.clone(), *arguments, **named)
        except RuntimeError as error:
            raise self._explain(x, error) from error
        if not isinstance(value, Tensor):
            raise ArgumentError(
                self._name, f"a function that returns {type(value).__name__}", "return one tensor (B, n)"
            )
        if value.shape != x.shape:
            remedy = f"return the shape of its argument, {tuple(x.shape)}: a batch (B, n) in, (B, n) out"
            raise ArgumentError(self._name, f"a function that returns shape {tuple(value.shape)}", remedy)
        if value.dtype != x.dtype:
            remedy = f"the state is {x.dtype}; bring state and function to one dtype"
            raise ArgumentError(self._name, f"a function that returns {value.dtype}", remedy)
        return value

    def _explain(self, x: Tensor, error: RuntimeError) -> Exception:
        """Put a clear error in place of torch's own where dtype or device of state and module differ."""
        if isinstance(self.f, nn.Module):
            for tensor in [*self.f.parameters(), *self.f.buffers()]:
                if tensor.is_floating_point() and (tensor.dtype, tensor.device) != (x.dtype, x.device):
                    remedy = f"the module holds {tensor.dtype} on {tensor.device}; move one of the two with .to(...)"
                    return ArgumentError("state", f"{x.dtype} on {x.device}", remedy)
        return error

    def _check_state(self, state: Tensor, t: int) -> None:
        """Refuse what cannot be a state, before the function sees it."""
        if not isinstance(state, Tensor):
            raise ArgumentError("state", type(state).__name__, "give a tensor (*batch, n)")
        if not state.is_floating_point():
            raise ArgumentError(
                "state", str(state.dtype), "a state moves in real numbers; give a floating-point tensor"
            )
        if state.ndim == 0 or state.numel() == 0:
            raise ArgumentError("state", f"shape {tuple(state.shape)}", "give (n,) or (*batch, n), and none of them 0")
        if self._dim is not None and state.shape[-1] != self._dim:
            raise ArgumentError("state", f"{state.shape[-1]} components", f"the states of this system have {self._dim}")
        if not _all_finite(state):
            bad = int((~torch.isfinite(state)).sum())
            raise ArgumentError(
                "state",
                f"{bad} values that are NaN or infinite, at t = {t}",
                "start from finite values; an orbit may have escaped",
            )
        if isinstance(self.f, nn.Module):
            refuse_training(self.f, self._name)
        self._dim = state.shape[-1]


def _all_finite(state: Tensor) -> bool:
    try:
        return bool(torch.isfinite(state).all())
    except RuntimeError:
        return True  # inside someone's vmap values cannot be looked at
