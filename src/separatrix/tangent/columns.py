"""Many orbits at once, as the columns of a matrix (n, B): the layout in which thin networks run fastest."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.lure import Lure, lure
from separatrix.systems.maps import Map

_WIDEST = 64
"""State components up to which a network is written out as dense matrices."""

States = Float[Tensor, "n B"]
Tangents = Float[Tensor, "n k B"]


@runtime_checkable
class Columns(Protocol):
    """A system whose states are columns.

    Attributes
    ----------
    method : str
        Name of the route, for results.
    dtype : torch.dtype
        Of states and arithmetic.
    epsilon : float
        Relative precision to which the model itself is known: that of its weights.
    width : int
        Numbers held for each state while it is carried a step.
    """

    method: str
    dtype: torch.dtype
    epsilon: float
    width: int

    def step(self, x: Tensor, t: int = 0) -> Tensor:
        """Carry states (n, B) one step; a state that is not finite gives one that is not finite."""

    def tangent(self, x: Tensor, V: Tensor, t: int = 0) -> tuple[Tensor, Tensor]:
        """Carry states (n, B) and tangents (n, k, B) one step."""


class StepColumns:
    """Any system, by its own ``step`` and ``tangent``."""

    method = "step"

    def __init__(self, system: Any, dtype: torch.dtype, device: torch.device, n: int) -> None:
        self.system, self.dtype, self.device = system, dtype, device
        self.epsilon, self.width = torch.finfo(dtype).eps, 8 * n

    def step(self, x: States, t: int = 0) -> States:
        """See :class:`Columns`."""
        rows, bad = self._rows(x)
        with torch.no_grad():
            following = self.system.step(rows, t)
        return self._columns(following, bad)

    def tangent(self, x: States, V: Tangents, t: int = 0) -> tuple[States, Tangents]:
        """See :class:`Columns`."""
        rows, bad = self._rows(x)
        following, MV = self.system.tangent(rows, V.permute(1, 2, 0).to(self.device).contiguous(), t)
        return self._columns(following, bad), MV.to(x.device).permute(2, 0, 1).contiguous()

    def _rows(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # systems refuse states that are not finite: they are held at zero, and given back as NaN
        bad = ~torch.isfinite(x).all(0)
        return x.masked_fill(bad, 0.0).T.to(self.device).contiguous(), bad

    def _columns(self, following: Tensor, bad: Tensor) -> Tensor:
        return following.detach().to(bad.device).T.masked_fill(bad, torch.nan).contiguous()


class LureColumns:
    """A network of affine maps and activations: one product and one activation for each block."""

    method = "lure"
    dtype = torch.float64

    def __init__(self, form: Lure, epsilon: float) -> None:
        self.form, self.epsilon = form, epsilon
        self._biases = [block.bias[:, None].cpu().contiguous() for block in form.blocks]
        self._weights = [[(k, w.cpu().contiguous()) for k, w in block.weights.items()] for block in form.blocks]
        self.width = 2 * max(len(block.bias) for block in form.blocks) + form.inputs
        # parameters of a curve belong to the last dimension, which here is the batch
        self._transposed = [block.curve is not None and block.curve.name == "prelu" for block in form.blocks]

    @torch.no_grad()
    def step(self, x: Float[Tensor, "inputs B"], t: int = 0) -> States:
        """See :class:`Columns`."""
        values = [x]
        for place in range(len(self._biases) - 1):
            values.append(self._apply("value", place, self._sum(place, values, bias=True)))
        return self._sum(-1, values, bias=True)

    @torch.no_grad()
    def tangent(
        self, x: Float[Tensor, "inputs B"], V: Float[Tensor, "inputs k B"], t: int = 0
    ) -> tuple[States, Tangents]:
        """See :class:`Columns`."""
        k, wide = V.shape[1:]
        values, moved = [x], [V.flatten(1)]
        for place in range(len(self._biases) - 1):
            z = self._sum(place, values, bias=True)
            dz = self._sum(place, moved, bias=False)
            values.append(self._apply("value", place, z))
            slope = self._apply("slope", place, z)
            moved.append(dz * slope if k == 1 else (dz.view(-1, k, wide) * slope[:, None]).flatten(1))
        return self._sum(-1, values, bias=True), self._sum(-1, moved, bias=False).view(-1, k, wide)

    def _sum(self, place: int, values: list[Tensor], *, bias: bool) -> Tensor:
        total: Tensor | None = self._biases[place] if bias else None
        for source, weight in self._weights[place]:
            total = weight @ values[source] if total is None else torch.addmm(total, weight, values[source])
        if total is None:
            return values[0].new_zeros(len(self._biases[place]), values[0].shape[1])
        return total if self._weights[place] else total.expand(-1, values[0].shape[1])

    def _apply(self, what: str, place: int, z: Tensor) -> Tensor:
        function = getattr(self.form.blocks[place].curve, what)
        return function(z.T).T if self._transposed[place] else function(z)


def columns(system: Any, states: Float[Tensor, "B n"]) -> Columns:
    """Choose how a system's orbits are carried.

    A network that can be seen through (:func:`separatrix.systems.lure.lure`), has at most 64 state components and no
    more coefficients than four times its parameters is run by its blocks in float64, provided that this gives what
    the system's own step gives at a few states; any other system by its own step, in float64 where it takes that.

    Raises
    ------
    ArgumentError
        If the system is none, or its step rejects the states.
    """
    own = StepColumns(system, *_precision(system, states), states.shape[1])
    function = _function(system)
    if states.shape[1] > _WIDEST or function is None:
        return own
    try:
        form = lure(function, (states.shape[1],), memory="64MB")
        few = states[:16].double().T.contiguous()
        fast = LureColumns(form, own.epsilon)
        expected = own.step(few.to(own.dtype)).double()
        error = (fast.step(few) - expected).abs().max()
    except (ArgumentError, RuntimeError):
        return own
    dense = sum(w.numel() for block in form.blocks for w in block.weights.values())
    # an activation of another width than its input would be a convolution written out
    reasonable = dense <= 4 * max(1, _parameters(system)) or dense <= 2**12
    agrees = bool(error <= 2**10 * own.epsilon * expected.abs().max().clamp(min=few.abs().max()))
    return fast if agrees and reasonable else own


def _precision(system: Any, states: Tensor) -> tuple[torch.dtype, torch.device]:
    """Find the widest precision, and the device, that the system's step takes."""
    if not callable(getattr(system, "step", None)) or not hasattr(system, "tangent"):
        raise ArgumentError("system", type(system).__name__, "give a system, such as sx.Loop(model) or sx.Map(f)")
    parts = _tensors(system)
    device = parts[0].device if parts else states.device
    errors: list[Exception] = []
    for dtype in (torch.float64, torch.float32):
        try:
            with torch.no_grad():
                following = system.step(states[:2].to(device, dtype), 0)
        except (RuntimeError, ValueError) as error:
            errors.append(error)
            continue
        if following.shape != states[:2].shape:
            got = f"a step from {states.shape[1]} to {following.shape[-1]} components"
            raise ArgumentError("system", got, "only what stays in one space can be iterated")
        return dtype, device
    # the wrong one of two precisions is refused with a clear error; what else goes wrong is what matters
    plain = next((error for error in errors if not isinstance(error, ArgumentError)), None)
    if plain is None:
        raise next((e for e in errors if isinstance(e, ArgumentError) and e.argument != "state"), errors[0])
    got = f"a system that rejects states of {states.shape[1]} components: {str(plain).splitlines()[0]}"
    raise ArgumentError("system", got, "give states of the size that it takes") from plain


def _function(system: Any) -> Any:
    """Return the function of an autonomous system that one may look into, or None."""
    if getattr(system, "horizon", None) is not None:
        return None
    own = getattr(system, "function", None)
    if callable(own):
        return own(0)
    return system.f if type(system) is Map and not system._takes else None


def _tensors(system: Any) -> list[Tensor]:
    modules = [part for part in vars(system).values() if isinstance(part, torch.nn.Module)]
    return [p for m in modules for p in [*m.parameters(), *m.buffers()]]


def _parameters(system: Any) -> int:
    return sum(p.numel() for p in _tensors(system))
