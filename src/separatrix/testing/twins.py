"""Naive twins: Jacobians by one autograd call for each point and output, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


def dense_jacobian(
    model: nn.Module,
    x: Tensor,
    tap: str | None = None,
    *,
    output: Callable[[Any], Tensor] | str | int | None = None,
    start: str | None = None,
) -> Float[Tensor, "points m n"]:
    """Jacobian at each point, by a loop over points and components.

    Parameters
    ----------
    model : nn.Module
        Used through a float64 deep copy; half-precision weights are represented exactly.
    x : Tensor, shape (points, ...)
        Inputs; integers are allowed with ``start``.
    tap : str, optional
        Label ``"name#call"`` of the module call whose value is differentiated: ``name`` as in ``named_modules``, the
        calls counted from 1. The model's output when None or ``"output"``.
    output : callable, str or int, optional
        Applied to what the model returns: a function, or a key.
    start : str, optional
        Label of the module call whose value is perturbed (the first call if only a name), instead of the input.

    Returns
    -------
    Tensor, shape (points, m, n)
        float64; m and n are the flattened sizes of one point's value and input.

    Raises
    ------
    KeyError
        If no module has that name, or it is not called that often.

    Notes
    -----
    Cost: points (1 forward pass + m reverse passes). Of a call that returns several tensors, the first is meant.
    """
    model = copy.deepcopy(model).double()
    if x.is_floating_point():
        x = x.detach().double()
    jacobians = []
    for point in x:
        value, source = _run(model, point[None], tap, output, start)
        rows = [
            torch.autograd.grad(component, source, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for component in value.flatten()
        ]
        jacobians.append(torch.stack([row.flatten() for row in rows]))
    return torch.stack(jacobians)


def dense_stretches(
    model: nn.Module,
    x: Tensor,
    label: str = "output",
    *,
    output: Callable[[Any], Tensor] | str | int | None = None,
    start: str | None = None,
    scale: Tensor | float | None = None,
) -> Float[Tensor, "points index"]:
    """Logarithms of the singular values of the Jacobian at each point, largest first.

    Parameters
    ----------
    model, x, output, start
        As in :func:`dense_jacobian`.
    label : str
        Where the Jacobian ends, ``"name#call"`` or ``"output"``.
    scale : Tensor or float, optional
        Unit of each input coordinate, of the shape of one point (or of the value at ``start``): x = scale u, and the
        stretch is that of the derivative with respect to u.

    Returns
    -------
    Tensor, shape (points, min(m, n))
        float64, in nats; -inf for a singular value of zero.
    """
    jacobian = dense_jacobian(model, x, label, output=output, start=start)
    if scale is not None:
        unit = torch.as_tensor(scale, dtype=torch.float64).flatten()
        jacobian = jacobian * unit
    return torch.linalg.svdvals(jacobian).log()


def _run(
    model: nn.Module,
    point: Tensor,
    tap: str | None,
    output: Callable[[Any], Tensor] | str | int | None,
    start: str | None,
) -> tuple[Tensor, Tensor]:
    """Value at the tap and the leaf it is differentiated by, for a batch of one."""
    found: dict[str, Tensor] = {}
    handles = []
    if start is None:
        found["source"] = point.clone().requires_grad_()
        point = found["source"].clone()  # so that the model may work in place on its input
    else:

        def enter(value: Tensor) -> Tensor:
            found["source"] = value.detach().clone().requires_grad_()
            return found["source"].clone()

        handles.append(_at_call(model, start, enter))
    if tap not in (None, "output"):

        def keep(value: Any) -> None:
            # cloned, because an in-place activation may follow
            found["value"] = next(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)).clone()

        handles.append(_at_call(model, str(tap), keep))
    try:
        result = model(point)
    finally:
        for handle in handles:
            handle.remove()
    if "source" not in found:
        raise KeyError(f"{start} is not called")
    if tap in (None, "output"):
        found["value"] = output(result) if callable(output) else result if output is None else result[output]
    elif "value" not in found:
        raise KeyError(f"{tap} is not called")
    return found["value"], found["source"]


def _at_call(model: nn.Module, label: str, act: Callable[[Any], Any]) -> torch.utils.hooks.RemovableHandle:
    """Hand the value of one call of a module to a function, whose own value replaces it unless it is None."""
    name, _, call = label.partition("#")
    wanted, count = int(call or 1), 0

    def hook(module: nn.Module, inputs: Any, value: Any) -> Any:
        nonlocal count
        count += 1
        return act(value) if count == wanted else None

    return dict(model.named_modules())[name].register_forward_hook(hook)
