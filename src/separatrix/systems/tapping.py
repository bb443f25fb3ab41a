"""What named calls of a forward pass return, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from separatrix.systems.activations import function_name
from separatrix.systems.call_labels import CallLabels, named_modules


class _FunctionTap(TorchFunctionMode):
    """Hands every functional activation, with its label, to a visitor that may replace the value."""

    def __init__(self, labels: CallLabels, visit: Callable[[str, Any], Any]) -> None:
        super().__init__()
        self.labels = labels
        self.visit = visit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        short = function_name(func)
        label = self.labels.function_label(short) if short else None
        value = func(*args, **kwargs)
        if label is not None:
            self.visit(label, value)
        return value


@contextmanager
def tap(
    model: nn.Module,
    labels: set[str],
    visit: Callable[[str, Any], Any],
    functions: bool,
) -> Iterator[None]:
    """Call ``visit(label, value)`` with what the named calls return; hooks are removed afterwards, whatever happens.

    A visitor that returns something other than None replaces the value (module calls only).
    """
    known = CallLabels()
    wanted = {label.rsplit("#", 1)[0] for label in labels}
    handles: list[RemovableHandle] = []

    def enter(name: str, module: nn.Module) -> Callable[..., None]:
        return lambda m, args: known.frames.append((name, module))

    def leave(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, value: Any) -> Any:
            if functions:
                known.frames.pop()
            if name in wanted:
                label = known.label(name)
                if label in labels:
                    return visit(label, value)
            return None

        return hook

    try:
        for name, module in named_modules(model):
            if functions:
                handles.append(module.register_forward_pre_hook(enter(name, module)))
            if functions or name in wanted:
                handles.append(module.register_forward_hook(leave(name)))
        if functions:
            with _FunctionTap(known, lambda label, v: visit(label, v) if label in labels else None):
                yield
        else:
            yield
    finally:
        for handle in handles:
            handle.remove()
