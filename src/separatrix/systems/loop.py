"""A network in a loop, x+ = f(x) or x+ = f(x, u), as a system."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.results.integers import integer
from separatrix.systems.callables import refuse_training
from separatrix.systems.loop_modules import call, refuse_state_second, takes_input
from separatrix.systems.maps import Map
from separatrix.systems.recurrent import Recurrent, is_recurrent, size_of_state


class Loop(Map):
    """The closed loop x+ = f(x), or x+ = f(x, u), as a system.

    Parameters
    ----------
    f : callable or nn.Module
        Takes a batch of states (B, n), or states (B, n) and inputs (B, m); returns (B, n). With an input, an f of a
        single argument gets [x, u], (B, n + m). The rows of a batch must be independent of each other. A recurrent
        cell or module of torch's is taken as it is, ``sx.Loop(nn.LSTM(2, 5), recording)``: a state is then h, or h and
        c, of all layers (:class:`separatrix.systems.Recurrent` packs them).
    u : float, sequence or Tensor (m,), Tensor (T, m), callable or nn.Module, optional
        The input: a constant; one for each step (a driven system: step t takes ``u[t]``, and there are T steps); or a
        policy pi that takes (B, n) and returns (B, m), composed with f and differentiated with it as one map.
    dt : float, optional
        Time that a step takes. Exponents are then per time, otherwise per step.
    dim : int, optional
        Number of components n; found from the first state when left out.
    shape : tuple of int, optional
        Shape of one state as f and the policy see it, (B, *shape), for convolutional f. A state of the system is flat
        all the same, n = prod(shape).

    Attributes
    ----------
    network : callable or nn.Module
        The f that was given.
    u : Tensor, callable or None
    shape : tuple of int or None
    dt, unit
        As in :class:`separatrix.Map`.
    horizon : int or None
        T for a driven system, otherwise None.

    Raises
    ------
    ArgumentError
        If f or the policy is no function of a batch; if f takes the input before the state, or is a bidirectional
        module; if ``u`` is missing where f asks for it, has another number of dimensions, or is not finite; if ``dt``,
        ``dim`` or ``shape`` is not positive. At a step: as in :class:`separatrix.Map`; if ``u`` and the state differ in
        dtype or device; if the policy returns something else than (B, m); if t is beyond the horizon; if f or the
        policy is in train mode with dropout or batch statistics.

    Notes
    -----
    A step costs one call of the policy and one of f; a tangent step as in :class:`separatrix.Map`. The derivative is
    that of the composed map, df/dx + df/du dpi/dx.

    Examples
    --------
    >>> import torch, separatrix as sx
    >>> policy = torch.nn.Linear(2, 1)
    >>> loop = sx.Loop(lambda x, u: 0.5 * x + u, policy)
    >>> loop.step(torch.zeros(3, 2), 0).shape
    torch.Size([3, 2])

    A recurrent network driven by a recording, whose exponents are then per time step:

    >>> driven = sx.Loop(torch.nn.GRU(2, 5), torch.randn(100, 2))
    >>> driven.horizon, driven.step(torch.zeros(3, 5), 0).shape
    (100, torch.Size([3, 5]))
    """

    def __init__(
        self,
        f: Callable[..., Tensor] | nn.Module,
        u: Any = None,
        *,
        dt: float | None = None,
        dim: int | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        network = Recurrent(f) if is_recurrent(_uncompiled(f)) else f
        way = takes_input(network, "f")
        refuse_state_second(network, "f")
        if u is None and way == "apart":
            raise ArgumentError("u", "None", "f takes (x, u): give an input or a policy; sx.Map takes an f of (x, t)")
        if shape is not None:
            given_shape, sizes = tuple(shape), [integer(k) for k in shape]
            shape = tuple(k for k in sizes if k is not None and k >= 1)
            if not shape or len(shape) < len(sizes):
                raise ArgumentError("shape", repr(given_shape), "give the shape of one state, such as (1, 28, 28)")
            if dim not in (None, math.prod(shape)):
                raise ArgumentError("dim", repr(dim), f"a state of shape {shape} has {math.prod(shape)} components")
            if u is not None and way == "joint":
                raise ArgumentError("f", "a function of one argument, with shape= and u", "let it take (x, u)")
            dim = math.prod(shape)
        given = _as_input(u)
        if isinstance(network, Recurrent):
            dim = size_of_state(network, given, dim, shape)
        exact = isinstance(u, Tensor) and u.is_floating_point()
        closed = _Closed(network, given, way == "joint", shape, exact)
        super().__init__(closed, dt, dim=dim)
        self._closed = closed
        self.network, self.u, self.shape = f, closed.u, shape
        if isinstance(self.u, Tensor) and self.u.ndim == 2:
            self.horizon = len(self.u)

    def __repr__(self) -> str:
        f = type(self.network).__name__ if isinstance(self.network, nn.Module) else _name(self.network)
        u = f"{tuple(self.u.shape)}" if isinstance(self.u, Tensor) else "None" if self.u is None else _name(self.u)
        return f"Loop({f}, u={u}, dt={self.dt:g}, unit={self.unit!r}, dim={self._dim})"

    def function(self, t: int = 0) -> Callable[[Tensor], Tensor]:
        """Return step t as a plain function of a batch (B, n).

        It runs f and the policy and nothing else: no value is looked at and no result is checked, so that tracers and
        transforms of functions can follow it.

        Raises
        ------
        ArgumentError
            If t is beyond the horizon, or f or the policy is in train mode with dropout or batch statistics.
        """
        self._check(t)
        closed = self._closed
        # a tracer cannot pass through what torch.compile has made: it gets what that was made of
        f, u = _uncompiled(closed.network), _uncompiled(closed.u)
        if f is not closed.network or u is not closed.u:
            closed = _Closed(f, u, closed.joint, closed.shape, closed.exact)
        return lambda x: closed.evaluate(x.clone(), closed.given(x, t))

    def _explain(self, x: Tensor, error: RuntimeError) -> Exception:
        own, other = (_dtypes(part) for part in (self.network, self.u))
        if len(own) == len(other) == 1 and own != other:
            got = f"a policy in {min(other, key=str)} for f in {min(own, key=str)}"
            return ArgumentError("u", got, "bring both to one dtype with .to(...)")
        return super()._explain(x, error)

    def _check_state(self, state: Tensor, t: int) -> None:
        self._check(t)
        super()._check_state(state, t)

    def _check(self, t: int) -> None:
        for part, argument in ((self.network, "f"), (self.u, "u")):
            if isinstance(part, nn.Module):
                refuse_training(part, argument)
        if self.horizon is not None and not 0 <= t < self.horizon:
            raise ArgumentError("t", str(t), f"u has {self.horizon} rows, so there are steps 0 to {self.horizon - 1}")


class _Closed(nn.Module):
    """The map that f and its input make together."""

    def __init__(self, f: Any, u: Any, joint: bool, shape: tuple[int, ...] | None, exact: bool) -> None:
        super().__init__()
        self.network, self.u, self.joint, self.shape, self.exact = f, u, joint, shape, exact

    def forward(self, x: Tensor, t: int) -> Any:
        if self.u is None:
            return self.evaluate(x, None)
        u = self.given(x, t)
        self._check(u, x)
        return self.evaluate(x, u)

    def given(self, x: Tensor, t: int) -> Any:
        """Return the input at states (B, n), as it comes."""
        if self.u is None:
            return None
        if isinstance(self.u, Tensor):
            row = self.u if self.u.ndim == 1 else self.u[t]
            # plain numbers take the state's dtype; a tensor has one of its own, and must fit
            row = row if self.exact else row.to(dtype=x.dtype, device=x.device)
            return row.expand(x.shape[0], -1)
        return self.u(self._shaped(x.clone()))  # a policy may work in place

    def evaluate(self, x: Tensor, u: Tensor | None) -> Any:
        """Return what f makes of states (B, n) and inputs."""
        value = call(self.network, self.joint, self._shaped(x), u)
        return value if self.shape is None or not isinstance(value, Tensor) else value.flatten(1)

    def _shaped(self, x: Tensor) -> Tensor:
        return x if self.shape is None else x.reshape(-1, *self.shape)

    def _check(self, u: Any, x: Tensor) -> None:
        if not isinstance(u, Tensor):
            raise ArgumentError("u", f"a policy that returns {type(u).__name__}", "return one tensor (B, m)")
        if u.ndim != 2 or len(u) != len(x):
            remedy = f"return (B, m), one row for each of the {len(x)} states"
            raise ArgumentError("u", f"a policy that returns shape {tuple(u.shape)}", remedy)
        if (u.dtype, u.device) != (x.dtype, x.device):
            remedy = f"the state is {x.dtype} on {x.device}; bring both to one dtype and device with .to(...)"
            raise ArgumentError("u", f"{u.dtype} on {u.device}", remedy)


def _as_input(u: Any) -> Any:
    """Constant (m,), sequence (T, m), policy, or None."""
    if u is None:
        return None
    remedy = "give a number, (m,) for a constant, (T, m) for one input a step, or a policy"
    if isinstance(u, bool | str):
        raise ArgumentError("u", repr(u), remedy)
    if callable(u) and not isinstance(u, Tensor):
        if takes_input(u, "u") == "apart":
            raise ArgumentError("u", "a policy of two arguments", "it must take the state alone, (B, n)")
        return u
    try:
        values = u if isinstance(u, Tensor) else torch.as_tensor(np.asarray(u, dtype=np.float64))
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError("u", type(u).__name__, remedy) from None
    if values.is_complex() or values.dtype is torch.bool:
        raise ArgumentError("u", str(values.dtype), remedy)
    values = values if values.is_floating_point() else values.double()
    values = values.reshape(1) if values.ndim == 0 else values
    if values.ndim > 2 or values.numel() == 0:
        raise ArgumentError("u", f"shape {tuple(values.shape)}", remedy)
    if not torch.isfinite(values).all():
        raise ArgumentError("u", "values that are NaN or infinite", "give finite numbers")
    return values


def _dtypes(part: Any) -> set[torch.dtype]:
    return {p.dtype for p in part.parameters() if p.is_floating_point()} if isinstance(part, nn.Module) else set()


def _uncompiled(f: Any) -> Any:
    return getattr(f, "_orig_mod", getattr(f, "_torchdynamo_orig_callable", f))


def _name(f: object) -> str:
    return getattr(f, "__name__", type(f).__name__)
