"""What each call of a forward pass is named: modules and functional activations, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every submodule but the root, without the internals of parametrisations and the wrapper of a compiled part."""
    for name, module in model.named_modules():
        path = name.split(".")
        if name and "parametrizations" not in path and "_orig_mod" not in module._modules:
            yield ".".join(part for part in path if part != "_orig_mod"), module


class CallLabels:
    """Names of the modules being executed, and counters that make labels unique."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, nn.Module]] = []
        self._counts: Counter[str] = Counter()

    def label(self, name: str) -> str:
        """Count one more call of this name: ``name#call``."""
        self._counts[name] += 1
        return f"{name}#{self._counts[name]}"

    @property
    def within_torch(self) -> bool:
        """Whether one of torch's own modules is being executed."""
        return bool(self.frames) and type(self.frames[-1][1]).__module__.startswith("torch.nn.")

    def function_label(self, short: str) -> str | None:
        """Label of a functional activation, or None inside one of torch's own modules."""
        if self.within_torch:
            return None
        owner = self.frames[-1][0] if self.frames else ""
        return self.label(f"{owner}.{short}" if owner else short)
