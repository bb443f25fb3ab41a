"""Models that return one number a point without a dimension for it, as after ``squeeze(-1)``."""

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx


class Residual(nn.Module):
    """No plain chain, so that every route can be asked for."""

    def __init__(self, flat):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        self.flat = flat

    def forward(self, x):
        out = self.net(x) + x.square().sum(1, keepdim=True)
        return out.squeeze(-1) if self.flat else out


class Inside(nn.Module):
    """One number a point on the way."""

    def __init__(self, flat):
        super().__init__()
        self.first, self.squeeze, self.last = nn.Linear(2, 1), nn.Flatten(0 if flat else 1), nn.Linear(1, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.squeeze(self.first(x)).reshape(-1, 1)))


def pair(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one = make(False)
    other = make(True)
    other.load_state_dict(one.state_dict())
    return one, other


X = torch.randn(12, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", ["auto", "forward", "reverse", "loop", "lanczos"])
def test_fields(method):
    rows, flat = (sx.ftle(model, X, method=method) for model in pair(Residual))
    np.testing.assert_array_equal(flat.stretch, rows.stretch)
    assert flat.method == rows.method


def test_functions_of_one_number():
    found = sx.ftle(lambda x: x.square().sum(1), X)
    np.testing.assert_allclose(found.stretch[0, 0, :, 0], np.log(2 * X.norm(dim=1).numpy()), rtol=1e-6)


def test_layers_on_the_way():
    rows, flat = (sx.ftle(model, X, layers=["squeeze#1", "output"]) for model in pair(Inside))
    np.testing.assert_array_equal(flat.stretch, rows.stretch)


def test_boundaries_and_outputs_that_are_chosen():
    grid = sx.grid((-2, 2), (-2, 2), shape=21)
    rows, flat = (sx.decision_boundary(model, grid) for model in pair(Residual))
    assert flat.sizes["point"] > 0
    assert flat.drop_attrs().identical(rows.drop_attrs())
    net = pair(Residual)[0]
    chosen = sx.ftle(net, X, output=lambda z: z[:, 0])
    np.testing.assert_array_equal(chosen.stretch, sx.ftle(net, X).stretch)


def test_a_mean_over_the_batch_is_refused():
    with pytest.raises(sx.ArgumentError, match="keep the batch as first dimension"):
        sx.ftle(lambda x: x.square().sum(), X)
