"""The disc: what is asked for is what comes."""

import math

import pytest
import torch

from separatrix.data import disc
from separatrix.results.errors import ArgumentError


def test_targets_follow_the_circle_in_raw_units():
    p = disc(4000, seed=3)
    X, y = torch.cat([p.X_train, p.X_test]), torch.cat([p.y_train, p.y_test])
    raw = X.double() * p.scale + p.mean
    r = raw.norm(dim=1)
    clear = (r - math.sqrt(2 / math.pi)).abs() > 1e-6
    assert clear.sum() > 3990
    assert torch.equal((r < math.sqrt(2 / math.pi))[clear], (y == -1)[clear])
    assert raw.abs().max() <= 1 + 1e-6


def test_sizes_balance_and_scaling():
    p = disc()
    assert (len(p.X_train), len(p.X_test)) == (36_000, 4_000)
    assert p.input_shape == (2,) and p.y_train.shape == (36_000,)
    # the two classes have probability 1/2 each: 5 standard deviations of a binomial
    assert abs((p.y_train == 1).double().mean() - 0.5) < 5 * 0.5 / math.sqrt(36_000)
    assert p.X_train.double().mean(0).abs().max() < 1e-6
    assert (p.X_train.double().std(0, correction=0) - 1).abs().max() < 1e-6
    # a uniform coordinate on [-1, 1] has standard deviation 1/sqrt(3)
    assert (p.scale * math.sqrt(3) - 1).abs().max() < 0.02


def test_seed_decides_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    a, b, c = disc(100, seed=1), disc(100, seed=1), disc(100, seed=2)
    assert torch.equal(a.X_train, b.X_train) and not torch.equal(a.X_train, c.X_train)
    assert torch.equal(before, torch.get_rng_state())


def test_raw_inputs_and_double_precision():
    p = disc(100, standardize=False, dtype=torch.float64)
    assert p.X_train.dtype == p.y_train.dtype == torch.float64
    assert torch.equal(p.mean, torch.zeros(2, dtype=torch.float64)) and p.X_train.abs().max() <= 1


@pytest.mark.parametrize(("bad", "name"), [({"n": 1}, "n"), ({"radius": 0.0}, "radius"), ({"test": 1.0}, "test")])
def test_bad_arguments_are_named(bad, name):
    with pytest.raises(ArgumentError) as caught:
        disc(**bad)
    assert caught.value.argument == name
