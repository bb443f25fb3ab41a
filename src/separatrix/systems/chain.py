"""A forward pass as a chain of calls, each fed by the one before, that can be run piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from separatrix.systems.graph import Edge, edge_of
from separatrix.systems.trace import Call


def find_chain(
    calls: list[Call], source: tuple[Tensor, Edge | None], target: tuple[Tensor, Edge | None]
) -> list[Call] | None:
    """The finest sequence of calls that leads from one tensor to another, or None where the signal branches.

    Two calls are linked when the second was given the very tensor that the first returned, unchanged in between; both
    the object and its place in autograd's graph are compared, because an in-place addition keeps the object.
    """
    current, edge = source
    steps: list[Call] = []
    for call in calls:
        if call.value is None or call.source is not current or call.source_edge != edge or not _is_replayable(call):
            continue
        inner = find_chain(call.children, (current, edge), (call.value, call.edge)) if call.children else None
        steps += inner or [call]
        current, edge = call.value, call.edge
    return steps if current is target[0] and edge == target[1] and steps else None


def replay(call: Call, dtype: torch.dtype | None = None) -> Callable[[Tensor], Tensor]:
    """A call as a function of its first tensor, with the parameters that its module has now, detached."""
    leaves, spec = tree_flatten((call.args, call.kwargs))
    places = [i for i, leaf in enumerate(leaves) if leaf is call.source]
    assert call.value is not None
    shape = call.value.shape[1:]
    if not call.is_module and not call.label:
        # a reshape: its arguments may hold the batch size of the recorded pass
        return lambda x: x.reshape(x.shape[0], *shape)
    target: Callable[..., Any] = call.target
    if isinstance(call.target, nn.Module):
        module = call.target
        state = {
            name: t.detach().to(dtype if dtype and t.is_floating_point() else t.dtype)
            for name, t in [*module.named_parameters(), *module.named_buffers()]
        }
        target = lambda *args, **kwargs: functional_call(module, state, args, kwargs)  # noqa: E731

    def run(x: Tensor) -> Tensor:
        # a clone, since the call may work in place
        filled = list(leaves)
        for place in places:
            filled[place] = x.clone()
        args, kwargs = tree_unflatten(filled, spec)
        value = target(*args, **kwargs)
        if isinstance(value, Tensor):
            return value
        return next(leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point())

    return run


def _is_replayable(call: Call) -> bool:
    others = [a for a in tree_leaves((call.args, call.kwargs)) if isinstance(a, Tensor) and a is not call.source]
    return not any(edge_of(a) is not None for a in others)
