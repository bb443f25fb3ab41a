"""Gradients of plain multilayer networks by batched matrix products, block by block in a core's cache.

Layout: components before rows, (member, component, row), so that products with weights need no transposed copies.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from separatrix.ensembles.losses import Loss, losses_and_slopes
from separatrix.systems.activations import closed_form, tanh, value_and_slope
from separatrix.systems.plain_layers import Activation, Linear, Plain

# numbers of the widest layer's block; measured on widths 10 to 150 with 1 MiB of second-level cache a core
_BLOCK_NUMBERS = 130_000
# below this many numbers a layer, starting threads takes longer than they save
_WORTH_THREADS = 20_000
# below this many rows, one product for all members costs less than the copy of their weights that it needs
_WORTH_COPY = 128


class Products:
    """Loss, outputs and gradients of stacked plain networks; a context, within which each thread is a core of its own.

    Blocks of members go side by side on all cores, one thread each; a single member uses torch's own threads.
    """

    method = "products"

    def __init__(self, layers: Plain, loss: Loss, members: int) -> None:
        self.layers, self.loss = layers, loss
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads) if members >= self._threads > 1 else None

    def __enter__(self) -> Products:
        if self._pool is not None:
            torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            torch.set_num_threads(self._threads)

    def outputs(self, weights: dict[str, Tensor], x: Tensor) -> Tensor:
        """Outputs (member, batch, out) at rows (batch, in)."""
        members = len(next(iter(weights.values())))
        rows = self._rows(weights, members, len(x))
        parts = self._parts(weights, members, rows)

        def forward(part: slice) -> Tensor:
            return torch.cat(
                [self._forward(weights, part, x[at : at + rows].mT, False)[-1] for at in range(0, len(x), rows)], 2
            )

        return torch.cat(self._each(forward, parts)).mT

    def gradient(
        self, weights: dict[str, Tensor], slots: dict[str, Tensor], x: Tensor, y: Tensor, private: bool
    ) -> tuple[Tensor, Tensor]:
        """Losses (member,) and outputs (member, batch, out) at a batch; gradients replace what ``slots`` hold.

        Rows are shared, (batch, in), or ``private``, (member, batch, in), and targets likewise.
        """
        members, count = len(next(iter(weights.values()))), x.shape[-2]
        columns = x.mT.contiguous()
        parts = self._parts(weights, members, count)
        step = self._rows(weights, parts[0].stop, count)
        starts = range(0, count, step)

        def forward(part: slice) -> list[list[Tensor]]:
            mine = columns[part] if private else columns
            return [self._forward(weights, part, mine[..., at : at + step], True) for at in starts]

        passed = self._each(forward, parts)
        outputs = torch.cat([torch.cat([kept[-1] for kept in blocks], 2) for blocks in passed]).mT
        losses, slopes = losses_and_slopes(self.loss, outputs, y, private)

        def backward(job: tuple[slice, list[list[Tensor]]]) -> None:
            part, blocks = job
            put = _Put(slots, part)
            for at, kept in zip(starts, blocks, strict=True):
                self._backward(weights, put, kept, slopes[part, at : at + step].mT)

        self._each(backward, list(zip(parts, passed, strict=True)))
        return losses, outputs

    def _each(self, work: Callable, jobs: list) -> list:
        if self._pool is None or len(jobs) < 2:
            return [work(job) for job in jobs]
        return list(self._pool.map(work, jobs))

    def _widest(self, weights: dict[str, Tensor]) -> int:
        return max(weights[layer.weight].shape[1] for layer in self.layers if isinstance(layer, Linear))

    def _parts(self, weights: dict[str, Tensor], members: int, rows: int) -> list[slice]:
        """Blocks of members, at least one per thread where that pays."""
        widest = self._widest(weights)
        threads = self._threads if members * widest * rows > _WORTH_THREADS else 1
        size = min(-(-members // threads), max(1, _BLOCK_NUMBERS // (widest * min(rows, 512))))
        return [slice(at, min(at + size, members)) for at in range(0, members, size)]

    def _rows(self, weights: dict[str, Tensor], members: int, rows: int) -> int:
        return min(rows, max(256, _BLOCK_NUMBERS // (members * self._widest(weights))))

    def _forward(self, weights: dict[str, Tensor], part: slice, x: Tensor, keep: bool) -> list[Tensor]:
        """Input of each layer and the output, for a block of members and rows; only the output without ``keep``."""
        kept: list[Tensor] = [x]
        for layer in self.layers:
            if isinstance(layer, Linear):
                weight = weights[layer.weight][part]
                bias = None if layer.bias is None else weights[layer.bias][part, :, None]
                if x.ndim == 2 and x.shape[1] >= _WORTH_COPY:
                    # the same rows for all members: one product
                    members, n, m = weight.shape
                    x = torch.mm(weight.reshape(members * n, m), x).view(members, n, -1)
                    x = x if bias is None else x.add_(bias)
                else:
                    x = x.expand(len(weight), -1, -1)
                    x = torch.bmm(weight, x) if bias is None else torch.baddbmm(bias, weight, x)
            elif closed_form(layer.function) == "tanh":
                # what a closed form needs backwards is its value; the argument may go
                x = tanh(x, x)
                kept[-1] = x
            elif closed_form(layer.function) == "sigmoid":
                x = kept[-1] = x.sigmoid_()
            elif closed_form(layer.function) == "relu":
                x = kept[-1] = x.clamp_min_(0)
            else:
                x, slope = value_and_slope(layer.function, x)
                if keep:
                    kept[-1] = slope
            kept = [*kept, x] if keep else [x]
        return kept

    def _backward(self, weights: dict[str, Tensor], put: _Put, kept: list[Tensor], slope: Tensor) -> None:
        """Give one block's share to the gradients."""
        slope = slope.contiguous()
        for place in range(len(self.layers) - 1, -1, -1):
            layer, value = self.layers[place], kept[place]
            if isinstance(layer, Activation):
                slope = _through(layer.function, slope, value)
                continue
            if layer.weight not in put.slots:
                pass
            elif value.ndim == 2 and value.shape[1] >= _WORTH_COPY:
                members, n, b = slope.shape
                put(layer.weight, torch.mm(slope.view(members * n, b), value.mT).view(members, n, -1))
            else:
                # torch is three times slower at a product into a strided view than at product and copy apart
                put(layer.weight, torch.bmm(slope, value.mT.expand(len(slope), -1, -1)))
            if layer.bias is not None:
                put(layer.bias, slope.sum(2))
            if place:
                slope = torch.bmm(weights[layer.weight][put.part].mT, slope)


class _Put:
    """Gradients of a block of members: the first share of a parameter is written, the next ones are added."""

    def __init__(self, slots: dict[str, Tensor], part: slice) -> None:
        self.slots, self.part = slots, part
        self._begun: set[str] = set()

    def __call__(self, name: str, share: Tensor) -> None:
        if name not in self.slots:
            return
        slot = self.slots[name][self.part]
        slot.add_(share) if name in self._begun else slot.copy_(share)
        self._begun.add(name)


def _through(function: Callable[[Tensor], Tensor], slope: Tensor, kept: Tensor) -> Tensor:
    """Slopes carried back through an activation, in place; ``kept`` is its value, or its derivative."""
    match closed_form(function):
        case "tanh":
            return torch.ops.aten.tanh_backward.grad_input(slope, kept, grad_input=slope)
        case "sigmoid":
            return torch.ops.aten.sigmoid_backward.grad_input(slope, kept, grad_input=slope)
        case "relu":
            return torch.ops.aten.threshold_backward.grad_input(slope, kept, 0, grad_input=slope)
    return slope.mul_(kept)
