"""The networks of the demonstration learn what they should, and leave everything else alone."""

import pytest
import torch

from separatrix.data import digits, disc, load
from separatrix.report.training import fit
from separatrix.results.errors import ArgumentError


def test_digits_are_learned():
    p = digits()
    model = fit(p).model
    assert (model(p.X_test).argmax(1) == p.y_test).double().mean() > 0.95
    assert not model.training


def test_disc_is_learned_from_few_steps():
    p = disc(8000)
    model = fit(p, widths=[20, 20], steps=400).model
    out = model(p.X_test)
    assert out.shape == (800, 1) and out.abs().max() <= 1
    # the letter asks for 98 % of its networks
    assert (out[:, 0].sign() == p.y_test).double().mean() > 0.98


def test_values_are_fitted_and_images_flattened():
    X = torch.linspace(-1, 1, 200)[:, None, None] * torch.ones(200, 1, 3)
    p = load((X, X[:, 0, 0].square()))
    trained = fit(p, widths=[16], steps=400)
    out = trained.model(p.X_test)
    assert (out[:, 0] - p.y_test).square().mean() < 0.05 * p.y_test.var()
    assert "3-16-1" in trained.recipe


def test_the_seed_decides_and_nothing_else_changes():
    p = disc(500)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    calls = []
    a = fit(p, steps=20, seed=1, progress=lambda done, total: calls.append((done, total))).model
    assert torch.equal(before, torch.get_rng_state()) and torch.get_num_threads() == threads
    assert calls[-1] == (20, 20) and len(calls) == 20
    torch.rand(3)
    b, c = fit(p, steps=20, seed=1).model, fit(p, steps=20, seed=2).model
    assert torch.equal(a(p.X_test), b(p.X_test)) and not torch.equal(a(p.X_test), c(p.X_test))


def test_no_targets():
    with pytest.raises(ArgumentError, match="without targets"):
        fit(load((torch.zeros(9, 2), None)))
