"""The exact tangent and adjoint of any step function, by the first route that its operations allow."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems import modes
from separatrix.systems.modes import NoRouteError, Step

_SMALL = 2**16
"""Numbers in n copies of a state, up to which a step's time is that of its operations and not of their size."""
_FAILURES = (RuntimeError, ValueError, KeyError, NoRouteError)


@dataclass
class _Findings:
    """What was found out about a step, once for the system that owns it."""

    foreign: bool | None = None
    rows_agree: bool | None = None
    adjoint_checked: bool = False
    fused: bool = True
    """Whether forward mode may go through fused kernels, as far as is known."""


_findings: dict[int, dict[int, _Findings]] = {}


def default_tangent(
    step: Step, state: Tensor, V: Tensor, *, owner: object = None, stage: int = 0
) -> tuple[Tensor, Tensor]:
    """Next states and the derivative of any step function applied to k tangents, the primal computed once.

    Parameters
    ----------
    step : callable
        Takes the state and returns the next one. It leaves its argument as it is, and the members of a batch are
        independent of each other.
    state : Tensor, shape (*batch, n)
        Floating point.
    V : Tensor, shape (k, *batch, n)
        Tangents, of the state's dtype.
    owner : object, optional
        The system whose step this is. The step is then inspected at the owner's first call, not at every one.
    stage : int
        Which of the owner's steps this is, where they are different functions; each is inspected once.

    Returns
    -------
    next_state : Tensor, shape (*batch, m)
    MV : Tensor, shape (k, *batch, m)
        Neither carries a graph.

    Raises
    ------
    ArgumentError
        If V does not fit the state, or if no route can differentiate the step exactly. What the step itself raises
        comes through as it is.

    Notes
    -----
    Routes, in this order: forward mode over all k tangents at once (``vmap`` of ``jvp``; cost 1 + k steps, and one more
    when the step is inspected); the same with fused kernels off, for those without a forward-mode rule (recurrent
    layers, transformers in eval mode); one ``jvp`` for each tangent (2k steps); reverse mode twice (about 2 + 3k),
    or one reverse pass for each of the m outputs, both checked against a plain reverse pass.

    Forward mode spends up to a millisecond on an operation, whatever its size. Where n copies of a small state fit into
    2^13 numbers, an owner's later calls therefore take all n rows of M in one reverse pass (``modes.rows_together``),
    provided that at its first call these agreed with the routes above.

    The inspection looks for operations from outside PyTorch (``torch.library``): forward mode loses their tangents
    without a word, so a step that has one takes the reverse routes. What is detached, or read with ``item`` or
    ``tolist``, counts as constant, as everywhere in autograd; ``separatrix.testing.check_system`` shows whether that
    matters.
    """
    _check(state, V, "V")
    if torch.is_inference_mode_enabled() or state.is_inference() or V.is_inference():
        # in inference mode autograd.Function drops tangents without a word
        with torch.inference_mode(False):
            return default_tangent(step, _ordinary(state), _ordinary(V), owner=owner, stage=stage)
    if len(V) == 0:
        with torch.no_grad():
            following = step(state)
        return following, following.new_zeros(0, *following.shape)
    found = _about(owner, stage)
    small = state.numel() * state.shape[-1] <= _SMALL
    if small and owner is not None and found.rows_agree is None:
        found.rows_agree = _rows_agree(step, state, found)
    elif small and found.rows_agree:
        try:
            return modes.rows_together(step, state, V)
        except _FAILURES:
            found.rows_agree = False
    return _by_routes(step, state, V, found)


def _by_routes(step: Step, state: Tensor, V: Tensor, found: _Findings) -> tuple[Tensor, Tensor]:
    reasons: list[str] = []
    forward = [*([modes.at_once] if found.fused else []), modes.at_once_plain, modes.one_by_one]
    for route in [*([] if _foreign(step, state, found) else forward), modes.double_reverse, modes.rows]:
        try:
            value = route(step, state, V)
            found.fused &= route is not modes.at_once_plain
            return value
        except (ArgumentError, torch.OutOfMemoryError):
            raise
        except _FAILURES as error:
            reasons.append(f"{route.__name__}: {_first_line(error)}")
        if len(reasons) == 1:
            with torch.no_grad():
                step(state)  # if it is the step itself that fails, its own error is the clear one
        if "have storage" in reasons[-1]:
            break  # a part of it leaves torch, through numpy: the other routes would take that part for a constant
    raise _underivable(reasons)


def default_adjoint(
    step: Step,
    state: Tensor,
    W: Tensor,
    *,
    tangent: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
    owner: object = None,
    stage: int = 0,
) -> Tensor:
    """Transpose of the derivative of any step function, applied to k covectors, by reverse mode.

    Parameters
    ----------
    step, state
        As in :func:`default_tangent`.
    W : Tensor, shape (k, *batch, m)
        Covectors, of the next state's shape and dtype.
    tangent : callable, optional
        ``V -> (next_state, M V)`` at this state, where there is a better one than :func:`default_tangent`.
    owner, stage : optional
        As in :func:`default_tangent`. The adjoint is then compared with the tangent at the first call only.

    Returns
    -------
    Tensor, shape (k, *batch, n)
        M^T W, without a graph.

    Raises
    ------
    ArgumentError
        If W does not fit the next state, if the step cannot be differentiated, or if reverse mode contradicts the
        tangent: a part of the step is hidden from it (``no_grad``, numpy) or the step draws random numbers.

    Notes
    -----
    Cost: one step and k reverse passes, and two more with one tangent step for the comparison. A step that reverse mode
    cannot enter (``no_grad`` around it, no backward rule) is differentiated along all n coordinates in forward mode.
    """
    carry = tangent or (lambda V: default_tangent(step, state, V, owner=owner, stage=stage))
    found = _about(owner, stage)
    try:
        with modes.reverse(step, state) as (x, y):
            _check(y, W, "W")
            pulled = modes.pull(y, x, W) if y.requires_grad else None
            first = None if found.adjoint_checked or pulled is None else modes.grad(y, x, modes.probe(y, 0))
    except (ArgumentError, torch.OutOfMemoryError):
        raise
    except _FAILURES:
        pulled = first = None
    if pulled is None:
        eye = torch.eye(state.shape[-1], dtype=state.dtype, device=state.device)
        V = eye.reshape(-1, *[1] * (state.ndim - 1), state.shape[-1]).expand(-1, *state.shape)
        following, columns = carry(V)
        _check(following, W, "W")
        return torch.einsum("i...m,k...m->k...i", columns, W)
    if first is not None:
        V = modes.probe(state, 1)[None]
        following, MV = carry(V)
        if not modes.pairs_up(modes.probe(following, 0), MV, first, V):
            raise _underivable(["reverse mode contradicts the tangent, so a part of the step is hidden from autograd"])
        found.adjoint_checked = True
    return pulled


def _rows_agree(step: Step, state: Tensor, found: _Findings) -> bool:
    """Tell whether rows, computed for copies of the batch, give what the usual routes give."""
    V = modes.probe(state, 1)[None]
    MV = _by_routes(step, state, V, found)[1]
    try:
        other = modes.rows_together(step, state, V)[1]
    except _FAILURES:
        return False
    size = torch.maximum(MV.norm(), other.norm())
    return bool((other - MV).norm() <= torch.finfo(MV.dtype).eps ** 0.5 * size)


def _foreign(step: Step, state: Tensor, found: _Findings) -> bool:
    """Tell whether it has operations whose tangents forward mode would silently set to zero."""
    if found.foreign is None:
        try:
            with torch.no_grad():
                found.foreign = modes.is_foreign(lambda: step(state))
        except Exception:  # some of torch's own constructs cannot be watched; an error of the step's will come again
            return False
    return found.foreign


def _about(owner: object, stage: int) -> _Findings:
    """Look up findings by identity; they are forgotten together with the owner."""
    if owner is None:
        return _Findings()
    if id(owner) not in _findings:
        try:
            weakref.finalize(owner, _findings.pop, id(owner), None).atexit = False
        except TypeError:  # nobody may hold it weakly
            return _Findings()
        _findings[id(owner)] = {}
    return _findings[id(owner)].setdefault(stage, _Findings())


def _ordinary(x: Tensor) -> Tensor:
    return x.clone() if x.is_inference() else x


def _check(state: Tensor, V: Tensor, argument: str) -> None:
    if V.ndim != state.ndim + 1 or V.shape[1:] != state.shape:
        remedy = f"give (k, {', '.join(map(str, state.shape))}): a leading dimension, then the shape of the state"
        raise ArgumentError(argument, f"shape {tuple(V.shape)}", remedy)
    if V.dtype != state.dtype:
        raise ArgumentError(argument, str(V.dtype), f"give {state.dtype}, the dtype of the state")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def _underivable(reasons: list[str]) -> ArgumentError:
    return ArgumentError(
        "step",
        "a function that cannot be differentiated (" + "; ".join(reasons) + ")",
        "write it with differentiable torch operations, or give the system its own tangent and adjoint",
    )
