"""A user's model, run as a guest: nothing of it, and no global setting, is different afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from separatrix.results.errors import ArgumentError
from separatrix.systems.call_labels import named_modules
from separatrix.systems.callables import refuse_training
from separatrix.systems.flags import EXACT
from separatrix.systems.tapping import tap
from separatrix.systems.trace import first_tensor

Output = Callable[[Any], Tensor] | str | int | None
"""How to get one tensor from what a model returns: a function, a key, or None for a plain tensor."""

_HALF = (torch.float16, torch.bfloat16)


class _Function(nn.Module):
    """A plain callable, dressed as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class Guest:
    """A model prepared for analysis, without touching the original.

    Every run uses detached views of the parameters and copies of the buffers (``functional_call``), so that no
    gradient, running statistic or counter of the caller's model changes.

    Parameters
    ----------
    model : nn.Module or callable
        A callable takes a batch and returns a batch. What ``torch.compile`` or ``DataParallel`` made is replaced by
        what it was made of, and compiled parts run as they were written.
    output : callable, str, int or None
        Applied to what the model returns: a function such as a softmax, or a key into a dict or tuple.
    start : str or None
        Label of the call whose value is perturbed, for models whose input cannot be (tokens).
    dtype : torch.dtype or None
        Precision to compute in; None keeps the model's, except that half precision is raised to float32.

    Raises
    ------
    ArgumentError
        If the model is no callable, has an uninitialised lazy layer, or has batch statistics or dropout in train mode.
    """

    def __init__(
        self,
        model: nn.Module | Callable[..., Any],
        *,
        output: Output = None,
        start: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not callable(model):
            raise ArgumentError("model", type(model).__name__, "give a torch.nn.Module or a function of a batch")
        if isinstance(model, type):
            raise ArgumentError("model", f"the class {model.__name__}", f"give an instance: {model.__name__}(...)")
        self.original = model
        written = _as_written(model)
        self.module = written if isinstance(written, nn.Module) else _Function(written)
        self.output = output
        self.start = start
        if any(isinstance(part, torch.jit.ScriptModule) for part in self.module.modules()):
            raise ArgumentError(
                "model",
                "a scripted module",
                "it cannot be looked into: give the nn.Module it was made of; its output alone can be analysed as a "
                "function, lambda x: model(x)",
            )
        refuse_training(self.module, "model")
        tensors = [*self.module.named_parameters(), *self.module.named_buffers()]
        for name, tensor in tensors:
            if nn.parameter.is_lazy(tensor):
                raise ArgumentError(
                    "model", f"the uninitialised lazy parameter {name!r}", "run one batch through it first"
                )
        floating = [t for _, t in tensors if t.is_floating_point()]
        stored = next((t.dtype for t in floating), None)
        self.device = tensors[0][1].device if tensors else None
        self.stored = stored
        self.dtype = dtype or (torch.float32 if stored in _HALF else stored)
        self._parameters = {name: self._raised(t) for name, t in self.module.named_parameters()}
        self._buffers = {name: self._raised(t) for name, t in self.module.named_buffers()}

    @property
    def precision(self) -> str:
        """The precision of the computation in words, for the result's attributes."""
        name = str(self.dtype).removeprefix("torch.")
        stored = str(self.stored).removeprefix("torch.")
        return name if self.stored in (None, self.dtype) else f"{stored} weights, computed in {name}"

    def _raised(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().clone() if tensor.is_inference() else tensor.detach()
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def _state(self) -> dict[str, Tensor]:
        # fresh copies, made inside whatever transform is running, so that a counter in forward stays the caller's
        return self._parameters | {name: t.clone() for name, t in self._buffers.items()}

    def in_double(self) -> Guest:
        """The same model in float64."""
        return Guest(self.original, output=self.output, start=self.start, dtype=torch.float64)

    def __call__(self, x: Tensor, entry: Tensor | None = None) -> Tensor:
        """Output for a batch; ``entry`` replaces the value of the ``start`` call."""
        return self.tapped(x, set(), entry)[0]

    def tapped(
        self,
        x: Tensor,
        labels: set[str],
        entry: Tensor | None = None,
        passed: Callable[[str], None] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Output, and copies of what the named calls returned (a later in-place operation may overwrite them).

        ``passed`` is told each label when its call returns.
        """
        values: dict[str, Tensor] = {}

        def keep(label: str, value: Any) -> None:
            found = first_tensor(value)
            if found is None:
                raise ArgumentError("layers", repr(label), "that call returns no floating-point tensor")
            values[label] = _rows(found.clone())
            if passed is not None:
                passed(label)

        functions = any(not self._is_module(label) for label in labels)
        with ExitStack() as stack:
            if entry is not None:
                stack.enter_context(self._entering(entry))
            if labels:
                stack.enter_context(tap(self.module, labels, keep, functions))
            out = self._select(functional_call(self.module, self._state(), (x,)))
        return out, values

    def entry(self, x: Tensor) -> Tensor:
        """The tensor that is perturbed: the value of the ``start`` call, or the input itself."""
        if self.start is None:
            return x
        found: dict[str, Tensor] = {}

        def keep(label: str, value: Any) -> None:
            tensor = first_tensor(value)
            if tensor is not None:
                found[label] = tensor.detach().clone()

        with tap(self.module, {self.start}, keep, functions=False), torch.no_grad():
            functional_call(self.module, self._state(), (x,))
        if self.start not in found:
            names = ", ".join(name for name, _ in named_modules(self.module))
            raise ArgumentError(
                "start", repr(self.start), f'give "name#call" of a module that is called; modules: {names}'
            )
        return found[self.start]

    def _entering(self, entry: Tensor) -> Any:
        assert self.start is not None

        def replace(label: str, value: Any) -> Any:
            if isinstance(value, Tensor):
                return entry
            raise ArgumentError(
                "start", repr(label), "the call must return one tensor; name the module inside it that does"
            )

        return tap(self.module, {self.start}, replace, functions=False)

    def _is_module(self, label: str) -> bool:
        name = label.rsplit("#", 1)[0]
        return any(name == known for known, _ in named_modules(self.module))

    def _select(self, value: Any) -> Tensor:
        if callable(self.output):
            value = self.output(value)
        elif self.output is not None:
            try:
                value = value[self.output]
            except (KeyError, IndexError, TypeError) as error:
                raise ArgumentError("output", repr(self.output), f"the model returns {_describe(value)}") from error
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ArgumentError(
                "output",
                repr(self.output) if self.output is not None else f"a model that returns {_describe(value)}",
                f"choose one floating-point tensor with output= (a key or a function); now: {_describe(value)}",
            )
        if value.ndim == 0:
            raise ArgumentError("model", "one number for the whole batch", "keep the batch as first dimension")
        return _rows(value)

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Run inside: exact float32 products, no autocast, gradients on, nothing compiled, every module really called.

        The random generators and all flags are restored at the end.
        """
        device = self.device.type if self.device is not None else "cpu"
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[self.device] if device == "cuda" else []))
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.autocast(device, enabled=False))
            stack.enter_context(torch.enable_grad())
            if "torch._dynamo" in sys.modules:  # without it nothing can have been compiled
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(EXACT)
            yield


def _as_written(model: Any) -> Any:
    """Return what a compiled or parallel model was made of."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif (inner := getattr(model, "_orig_mod", getattr(model, "_torchdynamo_orig_callable", None))) is not None:
            model = inner
        else:
            return model


def _rows(value: Tensor) -> Tensor:
    """One number a point, as after ``squeeze(-1)``, as rows of one component; anything else as it is."""
    return value[:, None] if value.ndim == 1 else value


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, dict):
        return f"a dict with keys {list(value)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}: {[_describe(v) for v in value]}"
    return type(value).__name__
