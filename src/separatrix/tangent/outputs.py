"""A model's output as values of which the largest decides: class scores, or a scalar against its level."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.results.memory import points_per_chunk
from separatrix.systems.guest import Guest
from separatrix.systems.listing import prepare
from separatrix.systems.trace import record

_MOST = 4096
"""Points at once: more do not make a CPU faster."""


class Outputs:
    """Values of which the largest decides, one row a point.

    A scalar output f becomes the two columns (f - level, 0), so that what holds for two classes holds for it.

    Parameters
    ----------
    guest : Guest
        The model.
    x : Tensor, shape (at least 3, *input)
        Points to find out the shape of the output with.
    level : float
        Level of a scalar output.
    member : int
        Which member, where the output has a leading dimension of members.
    argument : str
        Name of the caller's argument that the points came from.

    Raises
    ------
    ArgumentError
        If the model rejects the points, if the output is not (B,), (B, 1) or (B, C), if there is no such member, if a
        level is given for several outputs, or if points influence one another.
    """

    def __init__(self, guest: Guest, x: Tensor, *, level: float, member: int, argument: str) -> None:
        self.guest, self.level, self.member = guest, float(level), member
        x = prepare(guest, x[:3])
        found: dict[str, Tensor] = {}
        try:
            with torch.no_grad():
                trace = record(guest.module, lambda: found.update(three=guest(x.clone())), None)
                three, two, one = found["three"], guest(x[:2].clone()), guest(x[:1].clone())
        except (RuntimeError, TypeError, IndexError, AssertionError) as error:
            raise ArgumentError(
                argument,
                f"points of shape {tuple(x.shape[1:])}, which the model rejects: {type(error).__name__}: {error}",
                "lay sx.grid over a plane of two inputs, or sx.plane through a larger input space",
            ) from error
        self.axis = self._batch_axis(three.shape, two.shape)
        shape = three.shape if self.axis == 0 else three.shape[1:]
        if len(shape) > 2 or (len(shape) == 2 and shape[1] == 0):
            raise ArgumentError(
                "model",
                f"an output of shape {tuple(three.shape)} for a batch of 3",
                "it must be (batch,), (batch, 1) or (batch, classes); choose a part of it with output=",
            )
        self.scalar = len(shape) == 1 or shape[1] == 1
        self.columns = 2 if self.scalar else int(shape[1])
        if not self.scalar and level != 0:
            raise ArgumentError(
                "level", repr(level), f"the {self.columns} outputs are compared with one another: leave it out"
            )
        alone, together = self._arrange(one), self._arrange(three)[:1]
        near = 1e3 * torch.finfo(one.dtype).eps * max(1.0, float(together.abs().max()))
        if bool((alone - together).abs().max() > near):
            raise ArgumentError(
                "model", "a model whose points influence one another", "its value at a point depends on the batch"
            )
        values = [c.value for c in trace.calls if c.value is not None]
        self._numbers = sum(v.numel() for v in values) // 3 + three.numel() // 3 + x[0].numel()

    def _batch_axis(self, three: torch.Size, two: torch.Size) -> int:
        """0, or 1 behind a dimension of members, which does not follow the size of the batch."""
        if tuple(three[:1]) == (3,) and tuple(two[:1]) == (2,):
            if self.member != 0:
                raise ArgumentError("member", str(self.member), "the model is one network: leave it out")
            return 0
        if tuple(three[1:2]) == (3,) and tuple(two[1:2]) == (2,) and three[0] == two[0]:
            if not 0 <= self.member < three[0]:
                raise ArgumentError("member", str(self.member), f"there are {three[0]} members, counted from 0")
            return 1
        raise ArgumentError(
            "model", f"an output of shape {tuple(three)} for a batch of 3", "the batch must be its first dimension"
        )

    def _arrange(self, output: Tensor) -> Tensor:
        value = output[self.member] if self.axis == 1 else output
        if not self.scalar:
            return value.double()
        value = value.reshape(len(value), 1).double() - self.level
        return torch.cat([value, torch.zeros_like(value)], dim=1)

    def chunk(self, budget: int, *, gradient: bool) -> int:
        """How many points fit into a budget of bytes."""
        item = torch.finfo(self.guest.dtype or torch.float64).bits // 8
        need = self._numbers * item * (4 if gradient else 2) + 16 * self.columns
        return min(_MOST, points_per_chunk(need, budget, "values of all layers"))

    def __call__(self, x: Tensor) -> Float[Tensor, "points columns"]:
        """Values at points (points, *input), float64."""
        # the model may work in place on what it is given
        return self._arrange(self.guest(prepare(self.guest, x).clone()))

    def difference(
        self, x: Tensor, pair: Int[Tensor, "points 2"]
    ) -> tuple[Float[Tensor, "points columns"], Float[Tensor, " points"], Tensor]:
        """Values, the difference of the two named columns, and its gradient in x (points, *input).

        Raises
        ------
        ArgumentError
            If autograd cannot follow the model from its input to its output.
        """
        entry = prepare(self.guest, x).requires_grad_()
        with torch.enable_grad():
            values = self._arrange(self.guest(entry.clone()))
            chosen = values.gather(1, pair.to(values.device))
            f = chosen[:, 0] - chosen[:, 1]
            (g,) = torch.autograd.grad(f.sum(), entry, allow_unused=True) if f.requires_grad else (None,)
        if g is None:
            raise ArgumentError(
                "model",
                "an output that does not depend on the input through differentiable operations",
                "look for detach(), no_grad(), numpy or integer operations in forward",
            )
        return values.detach().cpu(), f.detach().cpu(), g.detach().double().cpu()


def in_best_precision(guest: Guest, make: Any) -> Outputs:
    """Make outputs in float64, or in the model's own precision where it insists on that."""
    import warnings

    from separatrix.results.errors import SeparatrixWarning

    try:
        return make(guest.in_double())
    except ArgumentError as error:
        if not isinstance(error.__cause__, RuntimeError | TypeError):
            raise
        found = make(guest)
        warnings.warn(
            f"float64 was not possible ({error.__cause__}); computed in {guest.precision}",
            SeparatrixWarning,
            stacklevel=4,
        )
        return found
