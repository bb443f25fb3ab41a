"""Points at which a network is not differentiable: on the kink of an activation, or at a tie of a maximum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.autograd.forward_ad as fwad
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from separatrix.systems.activations import Kinks, clamp_bounds, compared, function_kinks
from separatrix.systems.guest import Guest
from separatrix.systems.modes import plain_kernels


def on_kink(guest: Guest, x: Tensor, labels: list[str], moving: bool = True) -> dict[str, Tensor]:
    """Points that a random perturbation pushes across a kink on the way to each layer.

    A point counts when a component sits exactly on a kink and the perturbation moves it, or when two entries of a
    pooling window tie and the perturbation parts them. Zeros that nothing reaches, such as those behind a dead ReLU, do
    not count. Where an operation has no forward-mode rule, even without fused kernels, or ``moving`` is False, every
    component counts as moved. Recurrent ReLU networks over packed sequences are not looked into.

    Returns
    -------
    dict of label to Tensor of bool, shape (points,)
        Cost: two forward passes.
    """
    try:
        return _scan(guest, x, labels, moving)
    except (RuntimeError, NotImplementedError):
        pass
    try:
        with plain_kernels():
            return _scan(guest, x, labels, moving)
    except (RuntimeError, NotImplementedError):
        return _scan(guest, x, labels, moving=False)


def _scan(guest: Guest, x: Tensor, labels: list[str], moving: bool) -> dict[str, Tensor]:
    entry = guest.entry(x).clone()
    watch = _Watch(torch.zeros(len(x), dtype=torch.bool, device=entry.device), moving)
    seen: dict[str, Tensor] = {}

    def passed(label: str) -> None:
        seen[label] = watch.met

    with torch.no_grad(), fwad.dual_level():
        if moving:
            generator = torch.Generator().manual_seed(0)
            direction = torch.randn(entry.shape[1:], generator=generator, dtype=torch.float64)
            entry = fwad.make_dual(entry, direction.to(entry).expand_as(entry).contiguous())
        with watch:
            inner = set(labels) - {"output"}
            if guest.start is None:
                guest.tapped(entry, inner, passed=passed)
            else:
                guest.tapped(x, inner, entry, passed=passed)
    return {label: seen.get(label, watch.met) for label in labels}


class _Watch(TorchFunctionMode):
    """Looks at what every activation and pooling function is given, inside modules too."""

    def __init__(self, met: Tensor, moving: bool) -> None:
        super().__init__()
        self.met = met
        self.moving = moving

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        value = args[0] if args else kwargs.get("input")
        name = getattr(func, "__name__", "")
        if name == "rnn_relu_cell":
            self._recurrent(args[0], args[1], args[2:])
        elif name == "rnn_relu" and args[2] is not None and isinstance(args[2], list | tuple):
            self._layers(*args)
        elif isinstance(value, Tensor) and value.ndim and len(value) == len(self.met):
            kinks = function_kinks(func, args, kwargs) or clamp_bounds(func, args, kwargs)
            both = compared(func, args, kwargs)
            if kinks:
                self._components(value, kinks)
            elif both is not None:
                self._ties(*both)
            elif "max_pool" in name:
                self._windows(value, args, kwargs)
        return func(*args, **kwargs)

    def _split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        primal, tangent = fwad.unpack_dual(value)
        if not self.moving:
            return primal, torch.ones_like(primal)
        return primal, torch.zeros_like(primal) if tangent is None else tangent

    def _components(self, value: Tensor, kinks: Kinks) -> None:
        primal, tangent = self._split(value)
        for at in kinks:
            on = primal == at
            if bool(on.any()):
                self.met = self.met | (on & (tangent != 0)).flatten(1).any(1)

    def _ties(self, first: Tensor, second: Tensor) -> None:
        """Entries of two tensors that are equal, and that the perturbation parts."""
        (a, moved_a), (b, moved_b) = self._split(first), self._split(second)
        parted = (a == b) & (~torch.isclose(moved_a, moved_b, rtol=1e-4, atol=0) if self.moving else True)
        if parted.ndim and len(parted) == len(self.met):
            self.met = self.met | parted.flatten(1).any(1)

    def _recurrent(self, x: Tensor, h: Tensor, weights: Sequence[Any]) -> Tensor:
        """One time step of a recurrent ReLU network, which torch computes in one operation."""
        z = F.linear(x, weights[0], weights[2]) + F.linear(h, weights[1], weights[3])
        if len(z) == len(self.met):
            self._components(z, (0.0,))
        return torch.relu(z)

    def _layers(
        self,
        x: Tensor,
        hx: Tensor,
        weights: Sequence[Tensor],
        bias: bool,
        layers: int,
        _: Any,
        __: Any,
        both: bool,
        first: bool,
    ) -> None:
        """All time steps of all layers of one."""
        below = list(x.unbind(1 if first else 0))
        size = 4 if bias else 2
        for layer in range(layers):
            values = []
            for direction in range(1 + both):
                place = (1 + both) * layer + direction
                own = [*weights[size * place : size * (place + 1)], None, None]
                h, found = hx[place], []
                for one in reversed(below) if direction else below:
                    h = self._recurrent(one, h, own)
                    found.append(h)
                values.append(found[::-1] if direction else found)
            below = [torch.cat(parts, dim=-1) for parts in zip(*values, strict=True)]

    def _windows(self, value: Tensor, args: Any, kwargs: Any) -> None:
        named = dict(zip(("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"), args, strict=False))
        named.update(kwargs)
        flat = value.ndim == 3
        if value.ndim not in (3, 4) or "kernel_size" not in named:
            return

        def pair(name: str, default: Any, one: int) -> tuple[int, int]:
            given = named.get(name) or default
            both = (given, given) if isinstance(given, int) else tuple(given)
            return (one, both[0]) if flat else (both[0], both[-1])

        size = pair("kernel_size", None, 1)
        stride = pair("stride", named["kernel_size"], 1)
        (top, left), dilation = pair("padding", 0, 0), pair("dilation", 1, 1)
        # a row and column more than the pooling takes do no harm, and cover ceil_mode
        room = (left, left + stride[1] - 1, top, top + stride[0] - 1)
        primal, tangent = (v.unsqueeze(2) if flat else v for v in self._split(value))
        windows = F.unfold(F.pad(primal, room, value=-torch.inf).flatten(0, 1)[:, None], size, dilation, 0, stride)
        pushed = F.unfold(F.pad(tangent, room).flatten(0, 1)[:, None], size, dilation, 0, stride)
        largest = windows.amax(1, keepdim=True)
        tied = (windows == largest) & torch.isfinite(windows)
        if not self.moving:
            parted = tied.sum(1) > 1
        else:
            spread = torch.where(tied, pushed, -torch.inf).amax(1) - torch.where(tied, pushed, torch.inf).amin(1)
            parted = spread > 1e-4 * pushed.abs().amax(1)
        self.met = self.met | parted.reshape(len(value), -1).any(1)
