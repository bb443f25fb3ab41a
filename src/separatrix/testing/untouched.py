"""Whether code left the user's modules, and the global state of torch, numpy and Python, as it found them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

Snapshot = dict[str, Any]
"""What was found, by a name that a person can read."""


def snapshot(modules: Collection[nn.Module] = ()) -> Snapshot:
    """Take down everything that must be the same afterwards.

    Parameters
    ----------
    modules : collection of nn.Module
        Each with all of its submodules: class, mode, structure, hooks, replaced ``forward``; and for each parameter and
        buffer the object, its value, version counter, ``requires_grad``, ``.grad`` and hooks.

    Returns
    -------
    dict
        The modules' state, and the global one: random generators, default dtype and device, grad and inference mode,
        deterministic algorithms, cuDNN, oneDNN and precision flags, autocast, anomaly mode, threads, open function and
        differentiation modes, global module hooks. Values are copies, so it costs as much memory as the modules.
    """
    found: Snapshot = {name: read() for name, read in _GLOBAL.items()}
    for root in modules:
        for path, module in root.named_modules():
            found |= _of_module(f"{type(root).__name__}.{path}" if path else type(root).__name__, module)
    return found


def differences(before: Snapshot, after: Snapshot) -> Collection[str]:
    """Name everything in which two snapshots differ, one line each."""
    lines = []
    for name in sorted({*before, *after}):
        if name not in after:
            lines.append(f"{name} is gone")
        elif name not in before:
            lines.append(f"{name} is new")
        elif not _same(before[name], after[name]):
            lines.append(f"{name} changed{_values(before[name], after[name])}")
    return lines


@contextmanager
def untouched(*modules: nn.Module) -> Iterator[None]:
    """Check that the body leaves modules and global state as they were, also when it raises.

    Raises
    ------
    AssertionError
        At the end of the body, naming every difference; an exception of the body's is its context.
    """
    before = snapshot(modules)
    try:
        yield
    finally:
        found = differences(before, snapshot(modules))
        if found:
            raise AssertionError("not left as found: " + "; ".join(found))


def _of_module(path: str, module: nn.Module) -> Snapshot:
    members = vars(module)
    found: Snapshot = {
        f"{path}: class": type(module),
        f"{path}: training": module.training,
        f"{path}: forward": members.get("forward"),
        f"{path}: submodules": tuple(module._modules.items()),
    }
    for name, value in members.items():
        if "hooks" in name and isinstance(value, dict):
            found[f"{path}: {name}"] = tuple(value.items())
    for kind, tensors in (("parameter", module._parameters), ("buffer", module._buffers)):
        for name, tensor in tensors.items():
            found |= _of_tensor(f"{path}: {kind} {name}", tensor)
    return found


def _of_tensor(name: str, tensor: Tensor | None) -> Snapshot:
    if tensor is None:
        return {f"{name} (object)": _Identity(None)}
    found: Snapshot = {
        f"{name} (object)": _Identity(tensor),
        f"{name} (value)": _copy(tensor),
        f"{name} (requires_grad)": tensor.requires_grad,
        f"{name} (hooks)": tuple((tensor._backward_hooks or {}).items()),
    }
    if not tensor.is_inference():
        found[f"{name} (version)"] = tensor._version
    if tensor.is_leaf:
        found[f"{name} (grad)"] = _copy(tensor.grad)
        found[f"{name} (grad object)"] = _Identity(tensor.grad)
        found[f"{name} (grad hooks)"] = tuple((tensor._post_accumulate_grad_hooks or {}).items())
    return found


class _Identity:
    """Compares as the object itself, and keeps it alive, so that its address is not used again."""

    def __init__(self, held: object) -> None:
        self.held = held


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, _Identity) and isinstance(b, _Identity):
        return a.held is b.held
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if (a.dtype, a.device, a.shape) != (b.dtype, b.device, b.shape):
            return False
        return a.is_meta or bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return False
    return bool(a == b)


def _values(a: Any, b: Any) -> str:
    plain = bool | int | float | str | torch.dtype | torch.device | None
    return f" from {a} to {b}" if isinstance(a, plain) and isinstance(b, plain) else ""


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 (the global generator is what must not move)
    return tuple(part.tobytes() if isinstance(part, np.ndarray) else part for part in state)


def _or_none(read: Callable[[], Any]) -> Any:
    """Read a flag that some versions and builds of torch lack, or refuse to tell."""
    try:
        return read()
    except (AttributeError, RuntimeError):
        return None


def _autocast() -> tuple[Any, ...]:
    kinds = ("cpu", "cuda")
    states = [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]
    return (*states, torch.is_autocast_cache_enabled())


def _global_hooks() -> tuple[Any, ...]:
    place = vars(nn.modules.module)
    return tuple(tuple(place[name].items()) for name in sorted(place) if name.startswith("_global") and "hooks" in name)


_C: Any = torch._C
_GLOBAL: dict[str, Callable[[], Any]] = {
    "torch random generator": torch.get_rng_state,
    "CUDA random generators": lambda: torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    "Python random generator": random.getstate,
    "numpy random generator": _numpy_state,
    "numpy error state": lambda: tuple(np.geterr().items()),
    "default dtype": torch.get_default_dtype,
    "default device": torch.get_default_device,
    "grad mode": torch.is_grad_enabled,
    "inference mode": torch.is_inference_mode_enabled,
    "forward-mode gradients": lambda: _or_none(lambda: _C._is_fwd_grad_enabled()),
    "forward-mode level": lambda: forward_ad._current_level,
    "open functorch level": lambda: _or_none(lambda: _C._functorch.maybe_current_level()),
    "open function modes": lambda: _or_none(lambda: _C._len_torch_function_stack()),
    "open dispatch modes": lambda: _or_none(lambda: _C._len_torch_dispatch_stack()),
    "deterministic algorithms": torch.are_deterministic_algorithms_enabled,
    "deterministic algorithms (warn only)": torch.is_deterministic_algorithms_warn_only_enabled,
    "cudnn.enabled": lambda: torch.backends.cudnn.enabled,
    "cudnn.benchmark": lambda: torch.backends.cudnn.benchmark,
    "cudnn.deterministic": lambda: torch.backends.cudnn.deterministic,
    "cudnn.allow_tf32": lambda: _or_none(lambda: torch.backends.cudnn.allow_tf32),
    "mkldnn.enabled": lambda: torch.backends.mkldnn.enabled,
    "cuda.matmul.allow_tf32": lambda: _or_none(lambda: torch.backends.cuda.matmul.allow_tf32),
    "float32 matmul precision": lambda: _or_none(torch.get_float32_matmul_precision),
    "transformer fast path": lambda: torch.backends.mha.get_fastpath_enabled(),
    "attention kernels": lambda: (
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
    ),
    "autocast": _autocast,
    "anomaly mode": torch.is_anomaly_enabled,
    "anomaly mode (NaN check)": torch.is_anomaly_check_nan_enabled,
    "threads": torch.get_num_threads,
    "threads between operations": torch.get_num_interop_threads,
    "global module hooks": _global_hooks,
    "garbage collection": gc.isenabled,
}
