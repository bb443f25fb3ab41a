"""Forms that learned dynamics take, as modules: an Euler step, scalers around a network, linear dynamics with feedback.

Each maps a batch of states (B, n) to the next states (B, n), so that :class:`separatrix.Loop` can iterate it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from separatrix.results.errors import ArgumentError
from separatrix.systems.callables import positive, signature_of


class Euler(nn.Module):
    """One Euler step, x + dt net(x) or x + dt net(x, u).

    Parameters
    ----------
    net : callable or nn.Module
        The velocity: takes (B, n), or (B, n) and (B, m); with an input and a single argument it takes [x, u].
    dt : float
        Time of the step.

    Raises
    ------
    ArgumentError
        If ``net`` is no function of x or of x and u, or ``dt`` is not positive.

    Notes
    -----
    ``Loop(Euler(net, dt), dt=dt)`` gives exponents per time.
    """

    def __init__(self, net: Callable[..., Tensor] | nn.Module, dt: float) -> None:
        super().__init__()
        self.joint = takes_input(net, "net") == "joint"
        self.net = net
        self.dt = positive(dt, "dt")

    def forward(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """Return the next state (B, n)."""
        return x + self.dt * call(self.net, self.joint, x, u)

    def extra_repr(self) -> str:
        """Return the step's time, for ``repr``."""
        return f"dt={self.dt:g}"


class Scaled(nn.Module):
    """A network between two scalers: out_mean + out_scale net((x - mean) / scale).

    Parameters
    ----------
    net : callable or nn.Module
        Takes scaled states, or scaled states and inputs.
    mean, scale : float or sequence or Tensor
        Of each component: a number, n numbers (an input u then passes as it is), or n + m numbers for [x, u].
    out_mean, out_scale : float or sequence or Tensor, optional
        Of each component of the output; by default those of the state.

    Raises
    ------
    ArgumentError
        If a scaler is not finite, or ``scale`` has a zero.

    Notes
    -----
    The scalers are buffers of the network's dtype and device: they move with ``.to(...)`` and are saved with the
    weights.
    """

    mean: Tensor
    scale: Tensor
    out_mean: Tensor | None
    out_scale: Tensor | None

    def __init__(
        self,
        net: Callable[..., Tensor] | nn.Module,
        mean: Any,
        scale: Any,
        out_mean: Any = None,
        out_scale: Any = None,
    ) -> None:
        super().__init__()
        self.joint = takes_input(net, "net") == "joint"
        self.net = net
        values = {"mean": mean, "scale": scale, "out_mean": out_mean, "out_scale": out_scale}
        for name, value in values.items():
            self.register_buffer(name, None if value is None else _constant(name, value, net, ndim=1))
        if not (self.scale != 0).all():
            raise ArgumentError("scale", "a zero", "give the spread of each component; leave constant ones at 1")

    def forward(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """Return the next state (B, n)."""
        n = x.shape[-1]
        # numbers for [x, u] are told from numbers for x by how many they are
        z, w = (x - _head(self.mean, n)) / _head(self.scale, n), u
        if u is not None:
            w = (u - _tail(self.mean, n, 0.0)) / _tail(self.scale, n, 1.0)
        out_mean = _head(self.mean, n) if self.out_mean is None else self.out_mean
        out_scale = _head(self.scale, n) if self.out_scale is None else self.out_scale
        return out_mean + out_scale * call(self.net, self.joint, z, w)


class Feedback(nn.Module):
    """Linear dynamics under a policy, A x + B pi(x).

    Parameters
    ----------
    A : array or Tensor, shape (n, n)
    B : array or Tensor, shape (n, m)
    policy : callable or nn.Module
        Takes (B, n), returns (B, m).

    Raises
    ------
    ArgumentError
        If A or B is no matrix, they do not fit each other, or have entries that are not finite.

    Notes
    -----
    A and B are buffers of the policy's dtype and device.
    """

    A: Tensor
    B: Tensor

    def __init__(self, A: Any, B: Any, policy: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        if takes_input(policy, "policy") == "apart":
            raise ArgumentError("policy", "a function of two arguments", "it must take the state alone, (B, n)")
        self.policy = policy
        self.register_buffer("A", _constant("A", A, policy, ndim=2))
        self.register_buffer("B", _constant("B", B, policy, ndim=2))
        if self.A.shape[0] != self.A.shape[1]:
            raise ArgumentError("A", f"shape {tuple(self.A.shape)}", "give a square matrix (n, n)")
        if self.B.shape[0] != len(self.A):
            raise ArgumentError("B", f"shape {tuple(self.B.shape)}", f"give ({len(self.A)}, m), as A is (n, n)")

    def forward(self, x: Tensor) -> Tensor:
        """Return the next state (B, n)."""
        return F.linear(x, self.A) + F.linear(self.policy(x), self.B)


def takes_input(f: object, argument: str) -> str:
    """Tell how f wants state and input: "apart", "either" (the input may be left out), or "joint", as one [x, u]."""
    signature = signature_of(f, argument)
    if signature is None:
        return "joint"
    parameters = signature.parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in places if p.default is p.empty]
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if named or len(needed) > 2 or (not places and not variadic):
        wants = ", ".join([*(p.name for p in needed), *named]) or "nothing"
        raise ArgumentError(
            argument, f"a function of ({wants})", "it must take (x) or (x, u); bind the rest with a lambda"
        )
    if len(needed) == 2:
        return "apart"
    # x, u=None takes an input if there is one; x, scale=2 has a setting of its own
    return "either" if len(places) > 1 and places[1].name == "u" else "joint"


_STATES = frozenset({"h", "hx", "h0", "h_0", "hc", "h_prev", "hidden", "hidden_state", "state"})
"""What a recurrent cell calls its second argument, where that is the state."""


def refuse_state_second(f: object, argument: str) -> None:
    """Refuse f(input, hidden), which would be given the state for its input."""
    signature = signature_of(f, argument)
    names = [] if signature is None else list(signature.parameters)
    if len(names) > 1 and names[1] in _STATES:
        got = f"a function of ({names[0]}, {names[1]}), with the state second"
        raise ArgumentError(argument, got, "the state comes first: give lambda x, u: f(u, x)")


def call(f: Callable[..., Tensor], joint: bool, x: Tensor, u: Tensor | None) -> Tensor:
    """Call f on states and, where there are any, inputs."""
    if u is None:
        return f(x)
    return f(torch.cat([x, u], dim=-1)) if joint else f(x, u)


def _constant(argument: str, value: Any, net: object, ndim: int) -> Tensor:
    """Finite numbers as a tensor of the network's dtype and device."""
    given = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)
    parts = [*net.parameters(), *net.buffers()] if isinstance(net, nn.Module) else []
    like = next((p for p in parts if p.is_floating_point()), None)
    if like is not None:
        given = given.to(like)
    elif not (isinstance(value, Tensor) and value.is_floating_point()):
        given = given.to(torch.get_default_dtype())
    if given.ndim > ndim or (ndim == 2 and given.ndim != 2) or given.numel() == 0:
        remedy = "give a matrix" if ndim == 2 else "give a number, or one for each component"
        raise ArgumentError(argument, f"shape {tuple(given.shape)}", remedy)
    if not torch.isfinite(given).all():
        raise ArgumentError(argument, "values that are NaN or infinite", "give finite numbers")
    return given.reshape(1) if given.ndim == 0 else given


def _head(values: Tensor, n: int) -> Tensor:
    return values if len(values) == 1 else values[:n]


def _tail(values: Tensor, n: int, missing: float) -> Tensor | float:
    return values if len(values) == 1 else values[n:] if len(values) > n else missing
