"""The networks of the zoo that read sequences: attention, recurrence, tokens."""

# ruff: noqa: D102 (what a forward does is what its class says)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separatrix.testing.zoo_modules import spread

VOCABULARY = 7
"""Number of different tokens."""


def tokens(count: int, seed: int = 0) -> Tensor:
    """Draw sequences of three tokens."""
    return torch.randint(0, VOCABULARY, (count, 3), generator=torch.Generator().manual_seed(seed))


def stirred(model: nn.Module) -> nn.Module:
    """Move biases and normalisations off zero and one, and let attention be far from uniform."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 1:
                nn.init.normal_(parameter, mean=float(name == "weight"), std=0.3)
            elif name == "in_proj_weight":
                nn.init.normal_(parameter, std=(2 / parameter.shape[1]) ** 0.5)
    return model


class Attention(nn.Module):
    """Two heads of ``scaled_dot_product_attention`` over tokens of three components, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.project = spread(nn.Linear(3, 12))
        self.head = spread(nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        return self.head(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MultiheadAttention(nn.Module):
    """``nn.MultiheadAttention`` of every token with the first two, and a skip around it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = spread(nn.Linear(4, 2))
        stirred(self)

    def forward(self, x: Tensor) -> Tensor:
        mixed, _ = self.attention(x, x[:, :2], x[:, :2])
        return self.head(torch.tanh(x + mixed))


def transformer_encoder_layer() -> nn.Module:
    """Build an ``nn.TransformerEncoderLayer`` as it comes (ReLU, normalised after each part) and a head."""
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
    return stirred(nn.Sequential(layer, nn.Flatten(), spread(nn.Linear(12, 3))))


class VisionTransformer(nn.Module):
    """Patches of a 1x4x4 image, a class token, positions, an encoder layer normalised beforehand, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 4, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.positions = nn.Parameter(torch.randn(1, 5, 4))
        layer = nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(4), enable_nested_tensor=False)
        self.head = spread(nn.Linear(4, 3))
        stirred(self)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], dim=1) + self.positions
        return self.head(self.encoder(x)[:, 0])


class Recurrent(nn.Module):
    """A recurrent module over a sequence of pairs, and a linear head on its last value."""

    def __init__(self, kind: Callable[..., nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.recurrent = kind(2, 4, batch_first=True, **options)
        for name, parameter in self.recurrent.named_parameters():
            if "weight" in name:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        with torch.no_grad():
            width = self.recurrent(torch.zeros(1, 1, 2))[0].shape[-1]
        self.head = spread(nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class RecurrentCells(nn.Module):
    """A cell called once for each pair of a sequence, and a linear head on its last value."""

    def __init__(self, kind: Callable[..., nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell = kind(2, 4)
        for name, parameter in self.cell.named_parameters():
            if "weight" in name:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        self.head = spread(nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class TokenTransformer(nn.Module):
    """A small causal language model: embedding, positions, an encoder layer with a mask, scores of the next token.

    The weights of the head are those of the embedding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 4)
        self.positions = nn.Parameter(torch.randn(1, 3, 4))
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", batch_first=True)
        self.head = nn.Linear(4, VOCABULARY, bias=False)
        stirred(self)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=self.positions.dtype)
        return self.head(self.layer(self.embedding(x) + self.positions, src_mask=mask, is_causal=True)[:, -1])


class TokenGRU(nn.Module):
    """Scores of three classes from the sum of a GRU's values over a sequence of tokens, as a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 3)
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.head = spread(nn.Linear(4, 3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.gru(self.embedding(x))[0].sum(1))}
