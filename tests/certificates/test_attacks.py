"""Certificates of random maps under attack; and the attack itself, on certificates that are false."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.testing import attacks
from separatrix.testing.attacks import STATEMENTS, Made, attacked, random_map


@pytest.mark.parametrize("first", range(0, 24, 8))
def test_no_verdict_is_wrong(first):
    """Ten thousand of these are run by ``python -m bench.soundness``."""
    verdicts = set()
    for seed in range(first, first + 8):
        verdict, wrong = attacked(random_map(seed), STATEMENTS[seed % 3], seed=seed, seconds=2.0)
        assert not wrong
        verdicts.add(verdict)
    assert "certified" in verdicts


def made(net, **options):
    return Made(net([2, 8, 2], nn.GELU, **options), 2, "gelu", "plain")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_false_certificates_are_found_out(net, monkeypatch, statement):
    contracting, loose = made(net, gain=0.7, seed=1), made(net, gain=2.2, seed=1)
    real = sx.certify(sx.Map(contracting.f, dim=2), statement)
    assert real.verdict == "certified"
    monkeypatch.setattr(attacks, "certify", lambda *_, **__: real)
    assert attacked(contracting, statement, seed=0, seconds=1.0) == ("certified", "")
    # the same certificate, said of another map
    assert attacked(loose, statement, seed=0, seconds=1.0)[1]
    # and one that says more than is true of its own
    better = replace(real, rate=0.2 * real.rate, bound=None if real.bound is None else 0.2 * real.bound)
    monkeypatch.setattr(attacks, "certify", lambda *_, **__: better)
    assert attacked(contracting, statement, seed=0, seconds=1.0)[1]


def test_a_false_refutation_is_found_out(net, monkeypatch):
    contracting, wild = made(net, gain=0.3, seed=1), made(net, gain=3.0, seed=1)
    refuted = sx.certify(sx.Map(wild.f, dim=2), "contraction")
    assert refuted.verdict == "refuted"
    monkeypatch.setattr(attacks, "certify", lambda *_, **__: refuted)
    assert "product of norms is below one" in attacked(contracting, "contraction", seed=0, seconds=1.0)[1]


def test_random_maps_are_what_they_say():
    forms, activations, sizes = set(), set(), set()
    for seed in range(400):
        one = random_map(seed)
        x = torch.randn(3, one.n, dtype=torch.float64)
        assert one.f(x).shape == x.shape
        assert torch.equal(random_map(seed).f(x), one.f(x))
        forms.add(one.form)
        activations.add(one.activation)
        sizes.add(one.n)
    assert (len(forms), activations, sizes) == (3, set(attacks.ACTIVATIONS), {1, 2, 3, 4})
