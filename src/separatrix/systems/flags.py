"""Settings that all of torch shares, changed for a while, also by several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


class Held:
    """A context for settings of the whole process: the first one inside makes them, the last one out restores them.

    If each thread restored what it had found, one that came second would put the first one's settings back for good.
    """

    def __init__(self, settings: Callable[[], AbstractContextManager[Any]]) -> None:
        self._settings, self._lock, self._inside = settings, threading.Lock(), 0
        self._context = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._context.enter_context(self._settings())
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._context.close()


@contextmanager
def _plain() -> Iterator[None]:
    backends: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
    with ExitStack() as stack:
        for backend in backends:
            stack.callback(setattr, backend, "enabled", backend.enabled)
            backend.enabled = False
        stack.enter_context(_SLOW)
        stack.enter_context(WRITTEN_OUT)
        yield


@contextmanager
def _without_fast_path() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _exact() -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        with _SLOW:
            torch.backends.cudnn.allow_tf32 = False
            torch.set_float32_matmul_precision("highest")
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = cudnn
        torch.set_float32_matmul_precision(matmul)


_SLOW = Held(_without_fast_path)

WRITTEN_OUT = Held(lambda: sdpa_kernel(SDPBackend.MATH))
"""Attention by products and a softmax, which can be differentiated twice, as its fused kernels cannot."""

PLAIN = Held(_plain)
"""No fused kernels (oneDNN, cuDNN, flash attention, transformer fast path)."""

EXACT = Held(_exact)
"""Exact float32 products, and every module inside a transformer layer called, which its fast path would not do."""
