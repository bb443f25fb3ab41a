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
from separatrix.systems.selections import Selection, selection
from separatrix.systems.trace import first_tensor
from separatrix.tangent.ties import ties_in_cells, ties_in_order, ties_in_windows, ties_of_one


def on_kink(guest: Guest, x: Tensor, labels: list[str], moving: bool = True) -> dict[str, Tensor]:
    """Points that a random perturbation pushes across a kink on the way to each layer.

    A point counts when a component sits exactly on a kink and the perturbation moves it, or when entries of which one
    is selected tie and the perturbation parts them: in a window of a max-pooling, in a maximum of two tensors, and in
    :func:`separatrix.systems.selections.selection` (``max``, ``amax``, ``median``, ``sort``, ``topk`` and the like).
    Every tie counts whatever follows: also where sorted values are only added up, or a softmax written out subtracts
    the maximum, which cancels. Zeros that nothing reaches, such as those behind a dead ReLU, do not count. Where an
    operation has no forward-mode rule, even without fused kernels, or ``moving`` is False, every component counts as
    moved.

    Function calls are watched, on tensors whose first dimension is the batch. So these are not noticed: tensors with
    the batch elsewhere, or folded into another dimension; what a call does inside, as norms of order 1 or infinity,
    quantiles, and ``scatter_reduce`` with "amax" do; cumulative maxima, fractional max-pooling, bounds of a clamp that
    are tensors; comparisons, signs and rounding (``torch.where(x > 0, ...)``); recurrent ReLU networks over packed
    sequences.

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
        elif (both := compared(func, args, kwargs)) is not None:
            self._ties(*both)
        elif isinstance(value, Tensor) and value.ndim and len(value) == len(self.met):
            kinks = function_kinks(func, args, kwargs) or clamp_bounds(func, args, kwargs)
            if kinks:
                self._components(value, kinks)
            elif "max_pool" in name:
                found = func(*args, **kwargs)
                self._pooled(value, first_tensor(found), name, args, kwargs)
                return found
            elif (selected := selection(func, args, kwargs)) is not None:
                self._selected(selected)
        return func(*args, **kwargs)

    def _split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        primal, tangent = fwad.unpack_dual(value)
        if not self.moving:
            return primal, torch.ones_like(primal)
        return primal, torch.zeros_like(primal) if tangent is None else tangent

    def _parts(self, value: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value and tangent; None for the tangent where everything counts as moved."""
        primal, tangent = self._split(value)
        return primal, tangent if self.moving else None

    def _meet(self, where: Tensor) -> None:
        """Take down the points whose entries these are."""
        self.met = self.met | where.flatten(1).any(1) if where.ndim > 1 else self.met | where

    def _components(self, value: Tensor, kinks: Kinks) -> None:
        primal, tangent = self._split(value)
        for at in kinks:
            on = primal == at
            if bool(on.any()):
                self.met = self.met | (on & (tangent != 0)).flatten(1).any(1)

    def _ties(self, first: Tensor, second: Tensor) -> None:
        """Entries of two tensors that are equal, and that the perturbation parts."""
        if not first.is_floating_point() or not second.is_floating_point():
            return
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

    def _selected(self, found: Selection) -> None:
        """Ties of what a reduction or a sort selects."""
        value, pushed = self._parts(found.value)
        dims = found.dims
        if found.places is not None:
            self._meet(ties_in_order(value, pushed, dims[0], found.places))
        if found.rank is not None:
            flat = value.flatten() if len(dims) == value.ndim else value
            self._meet(ties_of_one(value, pushed, dims, flat.kthvalue(found.rank, dims[0], keepdim=True).values))
        if found.largest:
            self._meet(ties_of_one(value, pushed, dims, value.amax(dims, keepdim=True)))
        if found.smallest:
            self._meet(ties_of_one(value, pushed, dims, value.amin(dims, keepdim=True)))

    def _pooled(self, value: Tensor, result: Tensor | None, name: str, args: Any, kwargs: Any) -> None:
        """Ties of a max-pooling; its result tells how many windows there are."""
        n = next((n for n in (1, 2, 3) if f"{n}d" in name), None)
        if n is None or result is None or value.ndim <= n or "fractional" in name:
            return
        primal, pushed = self._parts(value)
        if "adaptive" in name:
            self._meet(ties_in_cells(primal, pushed, result.shape[-n:]))
            return
        named = dict(zip(("input", "kernel_size", "stride", "padding", "dilation"), args, strict=False)) | kwargs

        def each(option: str, default: Any) -> tuple[int, ...]:
            given = named.get(option) or default
            several = (given,) if isinstance(given, int) else tuple(given)
            return several * n if len(several) == 1 else several

        size, padding, dilation = each("kernel_size", None), each("padding", 0), each("dilation", 1)
        stride = each("stride", size)
        self._meet(
            ties_in_windows(
                primal, pushed, result.shape[-n:], size=size, stride=stride, padding=padding, dilation=dilation
            )
        )
