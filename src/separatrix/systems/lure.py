"""A network as affine maps joined with elementwise activations: the standard form in which structure is used."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.results.memory import parse_bytes
from separatrix.systems.affine_tensor import AffineTensor, Recorder
from separatrix.systems.curves import Curve
from separatrix.systems.guest import Guest
from separatrix.systems.protocol import System


@dataclass(frozen=True)
class Block:
    """z = bias + sum over sources of weights[source] v_source, and v = s(z).

    Attributes
    ----------
    label : str
        Name and call of the activation, ``name#call``; ``"output"`` for the last block.
    weights : dict of int to Tensor (n, n_source), float64
        Source 0 is the input, source k the value of the k-th block.
    bias : Tensor (n,), float64
    curve : Curve or None
        The activation; None only for the last block, whose value is z.
    """

    label: str
    weights: dict[int, Tensor]
    bias: Tensor
    curve: Curve | None

    def preactivation(self, values: list[Tensor]) -> Tensor:
        """Z (B, n) from the values of all sources so far, the input first."""
        z = self.bias.to(values[0])
        for source, weight in self.weights.items():
            z = z + values[source] @ weight.to(values[0]).T
        return z if z.ndim == 2 else z.expand(len(values[0]), -1)

    def size(self, values: list[Tensor]) -> float:
        """Largest sum of the sizes of the terms of z, of which its rounding is a share."""
        z = self.bias.abs().to(values[0])
        for source, weight in self.weights.items():
            z = z + values[source].abs() @ weight.abs().to(values[0]).T
        return float(z.max())


@dataclass(frozen=True)
class Lure:
    """A feed-forward network in Lur'e form: a linear part joined with a diagonal nonlinearity.

    The k-th block gives v_k = s_k(b_k + sum_{j<k} W_kj v_j) with v_0 = x, and the last block, which has no activation,
    the output. Every network of affine maps and elementwise activations can be written so, residual and convolutional
    ones included.

    Attributes
    ----------
    blocks : tuple of Block
    input_shape, output_shape : tuple of int
        Shapes that the model takes and gives, without the batch.
    """

    blocks: tuple[Block, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def inputs(self) -> int:
        """Number of input components."""
        return prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Number of output components."""
        return prod(self.output_shape)

    def preactivations(self, x: Tensor) -> list[Tensor]:
        """Z (B, n_l) of every block at inputs (B, inputs); the last is the output."""
        return self._run(x)[1]

    def values(self, x: Tensor) -> list[Tensor]:
        """The input itself and v (B, n_l) of every block with an activation."""
        return self._run(x)[0]

    def _run(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        values, found = [x], []
        for block in self.blocks:
            z = block.preactivation(values)
            found.append(z)
            if block.curve is not None:
                values.append(block.curve.value(z))
        return values, found

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs (B, outputs) at inputs (B, inputs), in the precision of the inputs."""
        return self.preactivations(x)[-1]


def lure(
    f: nn.Module | System | Callable[..., Any], shape: tuple[int, ...] | int, *, t: int = 0, memory: str | int = "1GB"
) -> Lure:
    """See through a network: read it as affine maps joined with elementwise activations.

    Parameters
    ----------
    f : nn.Module, system or callable
        A model of batches (B, *shape); or a system that offers ``function(t)``, such as :class:`separatrix.Loop`.
    shape : tuple of int, or int
        Shape of one input.
    t : int, optional
        Step of a driven system.
    memory : str or int, optional
        Budget for the coefficients of one value.

    Returns
    -------
    Lure
        In float64, whatever the model's precision.

    Raises
    ------
    ArgumentError
        If the model uses an operation that is neither affine nor an elementwise activation with known ranges (the
        operation is named), looks at values (``if x.sum() > 0``), mixes the rows of a batch, is in train mode with
        dropout or batch statistics, is a function of half precision alone, or needs more than ``memory``.

    Notes
    -----
    The model runs once on a tensor that carries coefficients: n_0 + sum n_l of them for each component. The result is
    compared with the model at random points of three sizes, so that a kink within a few hundred of the origin does not
    stay hidden.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    function, check, tolerance = _readings(f, t)
    recorder = Recorder(parse_bytes(memory))
    start = AffineTensor.variable(0, (1, *shape), recorder)
    try:
        with torch.compiler.set_stance("force_eager"):  # a compiled part runs as it was written
            end = function(start)
    except (RuntimeError, TypeError) as error:
        with suppress(RuntimeError, TypeError), torch.no_grad():
            _in_own_precision(function, torch.zeros(1, *shape, dtype=torch.float64))
        raise ArgumentError(
            "model", f"a failure on an input of shape {(1, *shape)}: {error}", "does it take batches of that shape?"
        ) from error
    if not isinstance(end, AffineTensor):
        raise ArgumentError(
            "model",
            f"an output ({type(end).__name__}) that does not depend on the input through torch's operations",
            "return one tensor computed from the input",
        )
    if end.shape[:1] != (1,) or end.ndim < 2:
        raise ArgumentError(
            "model", f"an output of shape {tuple(end.shape)} for a batch of 1", "keep the batch as first dimension"
        )
    end.refuse_stale()
    found = _pruned(recorder, end, shape)
    _verify(found, check, tolerance)
    return found


Reading = tuple[Callable[[Tensor], Any], Callable[[Tensor], Tensor], float]


def _readings(f: Any, t: int) -> Reading:
    """The function to look into, the function to compare with, and the relative tolerance of the comparison."""
    if isinstance(f, Lure):
        return f.__call__, f.__call__, 1e-9
    of_system = getattr(f, "function", None)
    if callable(of_system) and not isinstance(f, nn.Module):
        inner = of_system(t)
        return inner, lambda x: _in_own_precision(inner, x), 1e-3
    field_of_map = getattr(f, "f", None)
    if hasattr(f, "step") and not isinstance(f, nn.Module):
        if field_of_map is None or getattr(f, "_takes", None) or type(f).__name__ != "Map":
            raise ArgumentError(
                "model", type(f).__name__, "only maps and loops can be seen through; give the network itself"
            )
        f = field_of_map
    f = getattr(f, "_orig_mod", f)  # what torch.compile wraps
    guest = Guest(f, dtype=torch.float64)

    def run(x: Tensor) -> Any:
        with guest.visit():
            return guest(x)

    if isinstance(f, nn.Module):
        return run, run, 1e-9
    return run, lambda x: _in_own_precision(f, x), 1e-3


def _in_own_precision(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A plain callable's values; it may hold float32 weights, which refuse float64 inputs.

    Raises
    ------
    ArgumentError
        If it takes nothing but half precision, whose values are too coarse to compare with.
    """
    with suppress(RuntimeError):
        return function(x)
    try:
        return function(x.float()).double()
    except RuntimeError:
        for half in (torch.float16, torch.bfloat16):
            with suppress(RuntimeError, TypeError):
                function(x.to(half))
                remedy = "bring it to float32 or float64: model.float() or model.double() keep the values of weights"
                raise ArgumentError("model", f"a function of {half} alone", remedy) from None
        raise


def _pruned(recorder: Recorder, end: AffineTensor, shape: tuple[int, ...]) -> Lure:
    """Only the blocks that the output depends on, numbered anew."""
    last = {source: part.flatten(1).T.contiguous() for source, part in end.parts.items()}
    needed, waiting = {0}, [*last]
    while waiting:
        source = waiting.pop()
        if source not in needed:
            needed.add(source)
            waiting += recorder.found[source - 1][1]
    number = {old: new for new, old in enumerate(sorted(needed))}
    blocks = [
        Block(label, {number[s]: w for s, w in weights.items() if s in number}, bias, shape_)
        for place, (label, weights, bias, shape_) in enumerate(recorder.found, 1)
        if place in needed
    ]
    blocks.append(Block("output", {number[s]: w for s, w in last.items()}, end.constant.flatten(), None))
    return Lure(tuple(blocks), shape, tuple(end.shape[1:]))


def _verify(found: Lure, function: Callable[[Tensor], Tensor], tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    # a batch of another size each time; far from the origin rounding is magnified
    for size, count in ((1.0, 3), (30.0, 8), (1000.0, 16)):
        x = size * torch.randn(count, *found.input_shape, generator=generator, dtype=torch.float64)
        try:
            with torch.no_grad():
                expected = function(x.clone()).detach().double().reshape(count, -1)
                values = found.values(x.flatten(1))
                got = found.blocks[-1].preactivation(values)
                scale = found.blocks[-1].size(values)
            worst = float((got - expected).abs().max())
        except (RuntimeError, TypeError) as error:
            raise ArgumentError(
                "model", f"a failure on a batch of {count}: {error}", "it mixes the rows of a batch, or takes just one"
            ) from error
        if not worst <= min(tolerance * size, 0.05) * scale:
            raise ArgumentError(
                "model",
                f"values that differ by {worst:.2g} from what its affine maps and activations give",
                "it mixes the rows of a batch, depends on values in Python, is not deterministic, or has NaN weights",
            )
