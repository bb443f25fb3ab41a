"""How training went: losses and accuracies by epoch, and how it ended for each member."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.ensembles.losses import Loss
from separatrix.results.dataset import Entry, build
from separatrix.results.errors import ArgumentError
from separatrix.results.provenance import provenance
from separatrix.results.status import flag_attrs

if TYPE_CHECKING:
    import xarray as xr

Accuracy = str | Callable[[Tensor, Tensor], Tensor] | None
"""``"auto"``, a function of (output, target) that says which rows are right, or None."""


class Outcome(IntEnum):
    """How training ended for a member."""

    FINISHED = 0
    """It trained all epochs."""
    STOPPED = 1
    """It reached the accuracy, or had no patience left."""
    DIVERGED = 2
    """Its loss or weights were no longer finite; its weights are those of its last finite epoch."""


def hits(accuracy: Accuracy, output: Tensor, target: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The function that says which rows are right, chosen by the looks of one member's output and target.

    Raises
    ------
    ArgumentError
        If ``accuracy`` is neither known nor a function.
    """
    if accuracy is None or callable(accuracy):
        return accuracy
    if accuracy != "auto":
        raise ArgumentError("accuracy", repr(accuracy), 'give "auto", a function of (output, target), or None')
    if not target.is_floating_point() and target.ndim == output.ndim - 1 and output.ndim == 2:
        return lambda output, target: output.argmax(-1) == target
    if output.numel() == target.numel() and output[0].numel() == 1 and bool((target.abs() == 1).all()):
        return lambda output, target: (output * target.reshape(output.shape) > 0).flatten(1).all(1)
    return None


class Histories:
    """Means over the epoch's batches, filled epoch by epoch."""

    def __init__(
        self, seeds: list[int], epochs: int, accuracy: Callable[[Tensor, Tensor], Tensor] | None, validation: bool
    ) -> None:
        self.seeds, self._hits = seeds, accuracy
        names = ["loss", *(["accuracy"] if accuracy else [])]
        names += [f"validation_{name}" for name in names] if validation else []
        self.values = {name: np.full((len(seeds), epochs), np.nan) for name in names}
        self.epochs = np.zeros(len(seeds), dtype=np.int64)
        self.outcome = np.full(len(seeds), Outcome.FINISHED, dtype=np.int8)
        self._sums: dict[str, Tensor] = {}
        self._rows = 0

    def add(self, losses: Tensor, outputs: Tensor, y: Tensor, private: bool) -> None:
        """Take in one training batch."""
        count = outputs.shape[1]
        self._rows += count
        self._sum("loss", losses.double() * count)
        if self._hits is not None:
            self._sum("accuracy", self._right(outputs, y, private))

    def validate(self, outputs: Tensor, y: Tensor, loss: Loss) -> None:
        """Take in outputs at the validation data."""
        self._sum("validation_loss", torch.vmap(loss, in_dims=(0, None))(outputs, y).double())
        if self._hits is not None:
            self._sum("validation_accuracy", self._right(outputs, y, False) / len(y))

    def _right(self, outputs: Tensor, y: Tensor, private: bool) -> Tensor:
        assert self._hits is not None
        return torch.vmap(self._hits, in_dims=(0, 0 if private else None))(outputs, y).double().sum(1)

    def _sum(self, name: str, amount: Tensor) -> None:
        self._sums[name] = self._sums[name] + amount if name in self._sums else amount

    def close(self, epoch: int, members: Tensor) -> Tensor:
        """End an epoch of some members; return which of them have a finite loss."""
        for name, total in self._sums.items():
            rows = 1 if name.startswith("validation") else self._rows
            self.values[name][members.numpy(), epoch] = (total / rows).cpu().numpy()
        self._sums, self._rows = {}, 0
        self.epochs[members.numpy()] = epoch + 1
        return torch.from_numpy(np.isfinite(self.values["loss"][members.numpy(), epoch]))

    def stops(self, epoch: int, members: Tensor, finite: Tensor, until: float | None, patience: int | None) -> Tensor:
        """Which of some members end with this epoch, because they diverged, are good enough, or do not improve."""
        rows, prefix = members.numpy(), "validation_" if "validation_loss" in self.values else ""
        enough = np.zeros(len(rows), dtype=bool)
        if until is not None:
            enough |= self.values[f"{prefix}accuracy"][rows, epoch] >= until
        if patience is not None:
            past = self.values[f"{prefix}loss"][rows, : epoch + 1]
            enough |= epoch - np.nanargmin(np.where(np.isnan(past), np.inf, past), axis=1) >= patience
        lost = ~finite.numpy()
        self.outcome[rows[enough]] = Outcome.STOPPED
        self.outcome[rows[lost]] = Outcome.DIVERGED
        return torch.from_numpy(enough | lost)

    def dataset(self, *, method: str, model: nn.Module, **settings: Any) -> xr.Dataset:
        """Name everything, and check it against the schema."""
        text = {"loss": "mean loss of the epoch's batches", "accuracy": "share of the epoch's rows that were right"}
        data: dict[str, Entry] = {
            name: (
                ("member", "time"),
                values,
                {"long_name": text.get(name, f"{name.replace('_', ' ')} after the epoch")},
            )
            for name, values in self.values.items()
        }
        data["outcome"] = (("member",), self.outcome, flag_attrs(Outcome, "how training ended"))
        data["epochs"] = (("member",), self.epochs, {"long_name": "epochs that the member trained"})
        epochs = self.values["loss"].shape[1]
        coords: dict[str, Entry] = {
            "member": (("member",), np.arange(len(self.seeds))),
            "seed": (("member",), np.array(self.seeds, dtype=np.int64)),
            "time": (("time",), np.arange(1, epochs + 1), {"long_name": "epoch", "units": "epoch"}),
        }
        attrs = {
            "title": "training of an ensemble",
            "method": method,
            "provenance": provenance("ensembles.train", model=model, seeds=self.seeds, **settings),
        }
        return build(data, coords, attrs)
