"""The model zoo: small networks of many kinds, on which every instrument is compared with its naive twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from separatrix.systems.loop_modules import Euler, Feedback, Scaled
from separatrix.testing import zoo_images as images
from separatrix.testing import zoo_modules as parts
from separatrix.testing import zoo_sequences as sequences


@dataclass(frozen=True)
class Case:
    """A model and the inputs it takes.

    Attributes
    ----------
    name : str
        What it is, in words joined by ``-``.
    build : callable
        ``build(seed=0)`` returns the model in eval mode; the global random generator is left alone.
    input_shape : tuple of int
        Shape of one input.
    points : callable
        ``points(count, seed=0)`` returns inputs of shape (count, *input_shape) of the model's dtype.
    options : mapping
        Keyword arguments that instruments need for it: ``output``, ``start``.
    """

    name: str
    build: Callable[..., nn.Module]
    input_shape: tuple[int, ...]
    points: Callable[..., Tensor]
    options: Mapping[str, Any] = field(default_factory=dict)


_CASES: dict[str, Case] = {}


def cases() -> list[Case]:
    """List every case, in the order of registration."""
    return list(_CASES.values())


def register(
    name: str,
    make: Callable[[], nn.Module],
    input_shape: tuple[int, ...],
    *,
    points: Callable[..., Tensor] | None = None,
    **options: Any,
) -> Case:
    """Add a case to the zoo.

    Parameters
    ----------
    name : str
        Unique.
    make : callable
        Builds the model with the global random generator, which is seeded around it.
    input_shape : tuple of int
        Shape of one input.
    points : callable, optional
        ``points(count, seed)``; standard normal numbers when left out.
    **options
        Kept as :attr:`Case.options`.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in _CASES:
        raise ValueError(f"the zoo has a case {name!r} already")

    def build(seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make().eval()

    def gaussian(count: int, seed: int = 0) -> Tensor:
        dtype = next((p.dtype for p in build().parameters()), torch.get_default_dtype())
        numbers = torch.randn(count, *input_shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return numbers.to(dtype)

    _CASES[name] = Case(name, build, input_shape, points or gaussian, options)
    return _CASES[name]


_ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU, nn.SiLU, nn.Softplus)
_PLANE = (2, 8, 8, 8, 1)

for _kind in _ACTIVATIONS:
    register(f"mlp-{_kind.__name__.lower()}", lambda kind=_kind: parts.mlp(_PLANE, kind), (2,))  # type: ignore[misc]
register("mlp-functional-tanh", lambda: parts.FunctionalMLP(torch.tanh), (2,))
register("mlp-functional-relu", lambda: parts.FunctionalMLP(nn.functional.relu), (2,))
register("mlp-zero-bias", lambda: parts.without_bias(parts.mlp(_PLANE, nn.Tanh)), (2,))
register("mlp-wide-input", lambda: parts.mlp((40, 6, 6, 6, 4), nn.Tanh), (40,))
register("mlp-wide-output", lambda: parts.mlp((3, 6, 6, 40), nn.Tanh), (3,))
register("mlp-float16", lambda: parts.mlp(_PLANE, nn.Tanh).half(), (2,))
register("mlp-bfloat16", lambda: parts.mlp(_PLANE, nn.Tanh).bfloat16(), (2,))
register("residual-blocks", parts.residual_blocks, (3,))
register("residual-in-root", parts.ResidualRoot, (3,))
register("convolution", parts.convolution, (1, 8, 8))
register("layer-norm", parts.layer_norm, (4,))
register("tied", parts.Tied, (4,))
register("in-place-relu", parts.in_place_relu, (3,))
register("in-place-add", parts.InPlaceAdd, (3,))
register("dict-output", parts.DictOutput, (3,), output="logits")
register("tuple-output", parts.TupleOutput, (3,), output=0)
register("euler-step", lambda: Euler(parts.mlp((3, 8, 3), nn.Tanh), 0.5), (3,))
register("between-scalers", lambda: Scaled(parts.mlp((3, 8, 3), nn.Tanh), [0.5, 0.0, -1.0], [2.0, 1.0, 0.5]), (3,))
register("feedback", lambda: Feedback([[0.9, 0.2], [-0.2, 0.9]], [[0.0], [1.0]], parts.mlp(_PLANE, nn.Tanh)), (2,))

register("attention", sequences.Attention, (3, 3))
register("multihead-attention", sequences.MultiheadAttention, (3, 4))
register("transformer-encoder-layer", sequences.transformer_encoder_layer, (3, 4))
register("vision-transformer", sequences.VisionTransformer, (1, 4, 4))
register("token-transformer", sequences.TokenTransformer, (3,), points=sequences.tokens, start="embedding#1")
register("token-gru", sequences.TokenGRU, (3,), points=sequences.tokens, start="embedding#1", output="logits")
for _module in (nn.RNN, nn.GRU, nn.LSTM):
    register(_module.__name__.lower(), lambda kind=_module: sequences.Recurrent(kind), (4, 2))  # type: ignore[misc]
register("gru-bidirectional", lambda: sequences.Recurrent(nn.GRU, bidirectional=True), (4, 2))
register("lstm-stacked", lambda: sequences.Recurrent(nn.LSTM, num_layers=2, proj_size=3), (4, 2))
for _cell in (nn.RNNCell, nn.GRUCell, nn.LSTMCell):
    register(f"{_cell.__name__.lower()}s", lambda kind=_cell: sequences.RecurrentCells(kind), (4, 2))  # type: ignore[misc]
register("group-norm", lambda: images.normalised(nn.GroupNorm(2, 4)), (1, 4, 4))
register("instance-norm", lambda: images.normalised(nn.InstanceNorm2d(4, affine=True)), (1, 4, 4))
register("u-net", images.UNet, (1, 4, 4))
register("autoencoder-tied", images.Autoencoder, (5,))
