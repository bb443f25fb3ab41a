from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical

import separatrix as sx
from separatrix.ensembles import mutual_information, predictive_entropy


def test_against_torch_distributions():
    logits = torch.randn(7, 50, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    mean = Categorical(probs=logits.softmax(-1).mean(0))
    torch.testing.assert_close(predictive_entropy(logits), mean.entropy())
    expected = mean.entropy() - Categorical(logits=logits).entropy().mean(0)
    torch.testing.assert_close(mutual_information(logits), expected)


def test_extremes():
    certain = torch.full((4, 4), -1e4).fill_diagonal_(1e4)
    # four members, each sure of a class of its own: all uncertainty is disagreement
    apart = certain[:, None]
    assert predictive_entropy(apart).item() == pytest.approx(math.log(4), abs=1e-12)
    assert mutual_information(apart).item() == pytest.approx(math.log(4), abs=1e-12)
    # agreed and sure; agreed and unsure
    assert predictive_entropy(certain[:1].expand(3, -1)).item() == 0
    flat = torch.zeros(3, 5, 4)
    torch.testing.assert_close(predictive_entropy(flat), torch.full((5,), math.log(4)).double())
    assert mutual_information(flat).abs().max() < 1e-12
    # a probability of exactly zero
    assert predictive_entropy(torch.tensor([[0.0, -1e30]])).item() == 0


@pytest.mark.parametrize("shape", [(3,), (3, 5, 1), (0, 5, 2)])
def test_shapes_that_cannot_be_used(shape, as_user):
    with pytest.raises(sx.ArgumentError, match=r"^logits"):
        predictive_entropy(torch.zeros(shape))


def test_values_that_are_not_finite():
    with pytest.raises(sx.ArgumentError, match="diverged"):
        mutual_information(torch.full((2, 3, 4), torch.nan))
