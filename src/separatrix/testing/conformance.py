"""Whether a system keeps the protocol's promises, whoever wrote it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.protocol import System
from separatrix.testing.promises import OF_ADJOINT, OF_TANGENT, Place, require
from separatrix.testing.reachable import modules_of
from separatrix.testing.untouched import differences, snapshot


def check_system(
    system: Any, state: Tensor, *, steps: int = 3, k: int = 3, seed: int = 0, rtol: float | None = None
) -> None:
    """Verify an implementation of the protocol along an orbit, and raise at the first broken promise.

    Parameters
    ----------
    system : System
        Any object with ``dim``, ``horizon``, ``step`` and ``tangent``, and perhaps ``adjoint``.
    state : Tensor, shape (*batch, n)
        Where the orbit starts. float64 makes the sharpest test.
    steps : int
        Length of the orbit, cut at the horizon.
    k : int
        Number of tangents.
    seed : int
        For tangents and covectors; the global generators are not used.
    rtol : float, optional
        Relative tolerance, by default the square root of the machine precision eps of the state's dtype (1.5e-8 in
        float64). A central difference at its best step is off by about eps^(2/3), 400 times less, and other comparisons
        by a few eps; a wrong formula is off by much more.

    Raises
    ------
    AssertionError
        With the name of the failed property first:

        - *members*: the four members exist, ``horizon`` is a count or None, ``dim(t)`` fits the states;
        - *left as found*: arguments, every module that the system can reach (parameters, buffers, ``.grad``, hooks,
          mode), random generators and global flags, after each of step, tangent, adjoint;
        - *shapes*: shapes, dtypes and devices of what is returned, and finite values;
        - *function of state and t*: a step repeated gives the same, and results are not overwritten by later calls;
        - *primal*: tangent returns the same next state as step;
        - *linearity* of the tangent, and independence of the tangents that are carried together;
        - *derivative*: agreement with central differences, at the best of four step sizes for each point and tangent,
          so that a kink near one point is stepped around;
        - *batch*: members of a batch, and a bare (n,), give what they give together;
        - *adjoint*: <W, M V> = <M^T W, V>, with autograd's adjoint where the system has none;
        - *no_grad*: tangent and adjoint are the same under ``torch.no_grad``;
        - *horizon*: a step beyond it raises;
        - *exception*: one raised inside a module comes through, everything is left as found, and the next step works.
    ArgumentError
        If the state is no floating-point tensor with finite values.

    Notes
    -----
    Cost: about 15 k + 20 steps for each step of the orbit. What a system hides from Python's view (a model that only
    compiled code refers to) cannot be watched.
    """
    if not isinstance(state, Tensor) or not state.is_floating_point() or state.ndim == 0 or not state.isfinite().all():
        raise ArgumentError("state", repr(state), "give a floating-point tensor (*batch, n) with finite values")
    members = [name for name in ("dim", "horizon", "step", "tangent") if not hasattr(system, name)]
    require(not members, "members", f"{type(system).__name__} lacks {', '.join(members)}")
    horizon = system.horizon
    counts = horizon is None or (isinstance(horizon, int) and not isinstance(horizon, bool) and horizon >= 1)
    require(counts, "members", f"horizon must be None or a number of steps, not {horizon!r}")
    generator = torch.Generator().manual_seed(seed)
    modules = modules_of(system)
    origin = snapshot(modules)
    x = state.detach().clone()
    steps = steps if horizon is None else min(steps, horizon)
    for t in range(steps):
        place = Place(system, x, t, k, generator, rtol or torch.finfo(x.dtype).eps ** 0.5)
        for names, checks in ((("step", "tangent"), OF_TANGENT), (("adjoint",), OF_ADJOINT)):
            for name in names:
                place.left_as_found(name, modules, origin)
            for check in checks:
                check(place)
        _exception(place, modules)
        x = place.following
    if steps == horizon:
        _horizon(system, x, steps)


def _horizon(system: System, x: Tensor, horizon: int) -> None:
    try:
        system.step(x, horizon)
    except Exception:
        return
    require(False, "horizon", f"step {horizon} is beyond the horizon of {horizon} steps, and raises nothing")


class _InterruptionError(Exception):
    """Raised inside a module, to see what becomes of it."""


def _exception(place: Place, modules: Collection[nn.Module]) -> None:
    target = _last_called(place, modules)
    if target is None:
        return
    for name, (call, arguments) in place.calls().items():
        fired: list[_InterruptionError] = []

        def interrupt(*_: Any, fired: Any = fired) -> None:
            fired.append(_InterruptionError("raised by check_system"))
            raise fired[-1]

        handle = target.register_forward_pre_hook(interrupt)
        try:
            before = snapshot(modules)
            caught: Exception | None = None
            try:
                call(*arguments)
            except Exception as error:
                caught = error
            found = differences(before, snapshot(modules))
        finally:
            handle.remove()
        through = isinstance(caught, _InterruptionError) if fired else caught is None
        require(through, "exception", f"one raised inside {type(target).__name__} during {name} became {caught!r}")
        require(not found, "exception", f"one raised inside {type(target).__name__} during {name}: {'; '.join(found)}")
    place.agree(place.step(place.x), place.following, "exception", "after one, the same step gives another state")


def _last_called(place: Place, modules: Collection[nn.Module]) -> nn.Module | None:
    """The module without children that a step calls last: most of the work is then already under way."""
    called: list[nn.Module] = []
    parts = {id(part): part for module in modules for part in module.modules()}
    handles = [part.register_forward_pre_hook(lambda part, _: called.append(part)) for part in parts.values()]
    try:
        place.step(place.x)
    finally:
        for handle in handles:
            handle.remove()
    leaves = [part for part in called if not any(True for _ in part.children())] or called
    return leaves[-1] if leaves else None
