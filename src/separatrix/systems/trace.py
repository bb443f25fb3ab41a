"""What one forward pass does: every module call and functional activation, in execution order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from separatrix.systems.activations import clamp_bounds, compared, function_kinks, function_name
from separatrix.systems.call_labels import CallLabels, named_modules
from separatrix.systems.graph import Edge, edge_of
from separatrix.systems.selections import selection

_RESHAPES = {
    torch.flatten,
    torch.reshape,
    torch.squeeze,
    torch.unsqueeze,
    Tensor.flatten,
    Tensor.reshape,
    Tensor.view,
    Tensor.squeeze,
    Tensor.unsqueeze,
    Tensor.contiguous,
}
_PRODUCTS = {
    *(F.linear, F.bilinear, F.conv1d, F.conv2d, F.conv3d),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
}
_READS = {Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__int__, Tensor.numpy, Tensor.__array__}
_SAMPLERS = {
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
    *(F.batch_norm, F.scaled_dot_product_attention),
}
_BRANCHES = {Tensor.__bool__, Tensor.__index__}


def _is_training(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a dropout or batch-norm function was called with ``training=True``, its default for dropout aside."""
    if func is F.scaled_dot_product_attention:
        return kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0) > 0  # whatever the mode
    return kwargs.get("training", any(a is True for a in args)) is True and kwargs.get("p", 1.0) > 0


@dataclass(eq=False)
class Call:
    """One call of a module or of a functional activation."""

    label: str
    kind: str
    target: nn.Module | Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    source: Tensor | None
    """The first tensor that it was given."""
    parent: Call | None
    source_edge: Edge | None = None
    value: Tensor | None = None
    """The (first) tensor that it returned."""
    edge: Edge | None = None
    """Where the value stood in autograd's graph when the call returned."""
    children: list[Call] = field(default_factory=list)

    @property
    def is_module(self) -> bool:
        """Whether a module was called, rather than a function."""
        return isinstance(self.target, nn.Module)


@dataclass
class Trace:
    """All calls of a forward pass, in the order in which they returned."""

    calls: list[Call] = field(default_factory=list)
    top: list[Call] = field(default_factory=list)
    """Calls made by the model's own ``forward``."""
    reads: list[str] = field(default_factory=list)
    """Names of operations that took a number out of a tensor that depends on the input."""
    branches: bool = False
    """Whether a Python branch was decided by a tensor that depends on the input."""
    random: list[str] = field(default_factory=list)
    """Names of functions that were called in training mode, such as dropout."""
    foreign: bool = False
    """Whether some operation comes from outside PyTorch, so that forward mode would lose its tangent."""
    kinked: bool = False
    """Whether some operation is not differentiable everywhere."""
    clamped: bool = False
    """Whether a value is clamped, or entries are selected by their order: a kink, or a guard that is never reached."""
    products: list[tuple[Edge | None, Call | None]] = field(default_factory=list)
    """Where ``F.linear`` and the like were called on parameters outside torch's own modules, and within which call."""


def first_tensor(value: Any) -> Tensor | None:
    """The first floating-point tensor in a nested structure, or None."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return leaf
    return None


class _Recorder(TorchFunctionMode):
    """Records functional activations, reshapes, and what leaves the tensor world."""

    def __init__(self, model: nn.Module, trace: Trace, labels: CallLabels, inputs: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self.trace = trace
        self.labels = labels
        self.open: list[Call] = []
        """Module calls that have not returned."""
        self.dependent: dict[int, Tensor] = {} if inputs is None else {id(inputs): inputs}

    @property
    def parent(self) -> Call | None:
        """The innermost module call that has not returned."""
        return self.open[-1] if self.open else None

    def mark(self, value: Any) -> None:
        for leaf in tree_leaves(value):
            if isinstance(leaf, Tensor):
                # the reference keeps the id from being reused
                self.dependent[id(leaf)] = leaf

    def _is_weight(self, args: Any, kwargs: Any) -> bool:
        """Whether the matrix of a product is a parameter, or a view of one; constants of a model are no layers."""
        matrix = args[1] if len(args) > 1 else kwargs.get("weight")
        if not isinstance(matrix, Tensor) or id(matrix) in self.dependent:
            return False
        place = matrix.untyped_storage().data_ptr()
        return any(p.untyped_storage().data_ptr() == place for p in self.model.parameters())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        depends = any(id(leaf) in self.dependent for leaf in tree_leaves((args, kwargs)))
        if depends and func in _READS:
            self.trace.reads.append(func.__name__)
        if depends and func in _BRANCHES:
            self.trace.branches = True
        if func in _SAMPLERS and _is_training(func, args, kwargs):
            self.trace.random.append(func.__name__)
        short = function_name(func)
        label = self.labels.function_label(short) if short else None
        source = first_tensor(args)
        source_edge = None if source is None else edge_of(source)
        value = func(*args, **kwargs)
        if depends:
            packed = getattr(func, "__name__", "") == "_pack_padded_sequence" and id(args[1]) not in self.dependent
            self.mark(value[0] if packed else value)  # batch sizes follow from the lengths
            name = getattr(func, "__name__", "")
            self.trace.kinked |= bool(function_kinks(func, args, kwargs)) or "max_pool" in name or "rnn_relu" in name
            self.trace.clamped |= bool(clamp_bounds(func, args, kwargs)) or compared(func, args, kwargs) is not None
            self.trace.clamped |= selection(func, args, kwargs) is not None
            parent = self.parent
            if func in _PRODUCTS and not self.labels.within_torch and self._is_weight(args, kwargs):
                self.trace.products.append((edge_of(value), parent))
            if isinstance(value, Tensor) and (label is not None or func in _RESHAPES):
                call = Call(label or "", short or func.__name__, func, args, kwargs, source, parent, source_edge, value)
                call.edge = edge_of(value)
                (parent.children if parent else self.trace.top).append(call)
                if label is not None:
                    self.trace.calls.append(call)
        return value


def record(model: nn.Module, run: Callable[[], Any], inputs: Tensor | None) -> Trace:
    """Run a forward pass and record it.

    Parameters
    ----------
    model : nn.Module
        The model whose modules are watched.
    run : callable
        Performs the forward pass.
    inputs : Tensor or None
        The tensor that is perturbed; reads of anything computed from it are noted.
    """
    trace = Trace()
    labels = CallLabels()
    recorder = _Recorder(model, trace, labels, inputs)
    handles: list[RemovableHandle] = []

    def enter(name: str, module: nn.Module) -> Callable[..., None]:
        def hook(m: nn.Module, args: Any, kwargs: Any) -> None:
            source = first_tensor((args, kwargs))
            call = Call("", type(module).__name__, module, args, kwargs, source, recorder.parent)
            call.source_edge = None if source is None else edge_of(source)
            recorder.open.append(call)
            labels.frames.append((name, module))

        return hook

    def leave(m: nn.Module, args: Any, value: Any) -> None:
        call, (name, _) = recorder.open.pop(), labels.frames.pop()
        call.label = labels.label(name)
        call.value = first_tensor(value)
        call.edge = None if call.value is None else edge_of(call.value)
        (call.parent.children if call.parent else trace.top).append(call)
        trace.calls.append(call)

    try:
        for name, module in named_modules(model):
            handles.append(module.register_forward_pre_hook(enter(name, module), with_kwargs=True))
            handles.append(module.register_forward_hook(leave))
        with recorder:
            run()
    finally:
        for handle in handles:
            handle.remove()
    return trace
