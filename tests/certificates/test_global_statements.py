"""Contraction, stability and boundedness of maps whose answers are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from separatrix.certificates import global_statements as statements
from separatrix.certificates.gains.gain import Gain
from separatrix.certificates.problem import Failure, Proof


def ask(p, what, norm="best"):
    return getattr(statements, f"prove_{what}")(p, norm=norm, seconds=20.0)


def test_norms_are_not_necessary(problem):
    """[[.5, 4], [0, .5]]: all plain norms above 4, and yet globally stable at any rate above 1/2."""
    A = torch.tensor([[0.5, 4.0], [0.0, 0.5]], dtype=torch.float64)
    p = problem(lambda x: x @ A.T, 2)
    for norm in ("1", "2", "inf"):
        assert isinstance(ask(p, "contraction", norm), Failure)
    found = ask(p, "contraction", "P")
    assert isinstance(found, Proof)
    assert 0.5 <= found.rate < 0.51


def test_gelu_with_chords_below_one_is_not_certified(problem):
    p = problem(lambda x: F.gelu(x) + 0.12, 1)
    for what in ("contraction", "stability", "boundedness"):
        assert isinstance(ask(p, what), Failure)


def test_bounded_gelu_with_three_equilibria(problem):
    p = problem(lambda x: 0.95 * F.gelu(x) + 0.17, 1)
    found = ask(p, "boundedness")
    assert found.bound == pytest.approx(3.4, rel=1e-4)
    assert found.rate == pytest.approx(0.95, rel=1e-6)
    assert isinstance(ask(p, "stability"), Failure)
    assert isinstance(ask(p, "contraction"), Failure)


def test_selu_has_its_own_constant(problem):
    p = problem(F.selu, 1)
    assert ask(p, "lipschitz").bound == pytest.approx(1.7580993408473766, rel=1e-6)
    assert isinstance(ask(p, "boundedness"), Failure)


def test_slopes_far_out_decide_boundedness(problem):
    """0.9 selu(x): slopes up to 1.58 near the origin, 0.946 far out."""
    p = problem(lambda x: 0.9 * F.selu(x) + 0.4, 1)
    found = ask(p, "boundedness")
    assert found.rate == pytest.approx(0.9 * 1.0507009873554805, rel=1e-6)
    x = torch.linspace(-found.bound, found.bound, 10_001, dtype=torch.float64)[:, None]
    assert bool((p.network(x).abs() <= found.bound).all())
    assert isinstance(ask(p, "contraction"), Failure)


def test_chords_from_the_equilibrium_prove_what_slopes_do_not(problem):
    """0.95 gelu(x) + 0.3: slopes up to 1.07, and chords from the only equilibrium below one."""
    p = problem(lambda x: 0.95 * F.gelu(x) + 0.3, 1)
    assert isinstance(ask(p, "contraction"), Failure)
    found = ask(p, "stability")
    assert isinstance(found, Proof)
    x = torch.linspace(-60, 60, 4001, dtype=torch.float64)[:, None]
    c = found.data["centre"]
    ratio = (p.network(x) - c).abs() / (x - c).abs().clamp(min=1e-9)
    assert float(ratio.max()) <= found.rate * (1 + 1e-6)
    assert float(ratio.max()) > found.rate * 0.98


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.ReLU6, nn.Softsign])
def test_bounded_outputs_are_bounded_whatever_the_norms(problem, net, activation):
    f = nn.Sequential(net([2, 6, 2], nn.ReLU, gain=5.0), activation())
    found = ask(problem(f, 2), "boundedness")
    assert found.rate == 0
    x = 1e4 * torch.randn(1000, 2, dtype=torch.float64)
    assert float(f(x).norm(dim=1).max()) <= found.bound


def test_balls_are_entered_and_kept(problem, net):
    for seed in range(6):
        f = net([3, 10, 3], nn.ELU, gain=0.7, seed=seed)
        p = problem(f, 3)
        found = ask(p, "boundedness")
        if isinstance(found, Failure):
            continue
        gain = Gain(found.data["way"], found.norm, found.rate, found.data.get("weights"), found.data.get("P"))
        x = 1e3 * torch.randn(500, 3, dtype=torch.float64)
        for _ in range(400):
            x = f(x)
        assert float(gain.of(x).max()) <= found.bound
        inside = torch.randn(2000, 3, dtype=torch.float64)
        inside = inside / gain.of(inside)[:, None] * found.bound
        assert float(gain.of(f(inside)).max()) <= found.bound
        assert bool((f(inside).abs() <= found.data["reach"]).all())


def test_columns_of_probabilities_prove_in_the_first_norm(problem):
    """Weights with column sums of at most 0.9 and a 2-norm above 1, of any shape."""
    generator = torch.Generator().manual_seed(0)
    W = [
        0.9 * torch.softmax(5 * torch.randn(*s, generator=generator, dtype=torch.float64), 0) for s in ((5, 2), (2, 5))
    ]
    assert float(torch.linalg.matrix_norm(W[1], 2)) > 1
    p = problem(lambda x: F.relu(F.relu(x @ W[0].T) @ W[1].T), 2)
    assert ask(p, "contraction", "1").rate <= 0.81 * (1 + 1e-6)
    f = problem(lambda x: F.relu(x @ W[1].T), 5)
    assert ask(f, "lipschitz", "1").bound <= 0.9 * (1 + 1e-6)
    assert ask(f, "lipschitz", "2").bound > 1


@pytest.mark.parametrize("what", ["contraction", "stability", "boundedness", "lipschitz"])
def test_proofs_are_verified_from_their_data_and_for_their_map_alone(problem, net, what):
    p, q = (problem(net([2, 8, 2], nn.Tanh, gain=0.6, seed=s), 2) for s in (0, 1))
    found = ask(p, what)
    assert isinstance(found, Proof)
    verify = getattr(statements, f"verify_{what}")
    assert isinstance(verify(p, found.data), Proof)
    steep = problem(lambda x: 3 * p.network(x), 2)
    assert isinstance(verify(steep, found.data), Failure)
    if what == "stability":
        assert isinstance(verify(q, found.data), Failure)
        off = {**found.data, "centre": found.data["centre"] + 1e-3}
        assert isinstance(verify(p, off), Failure)


def test_a_network_with_a_large_product_of_norms(problem, net):
    """Above 2 in all plain norms, and contracting in a metric that is found."""
    f = net([2, 16, 16, 2], nn.ReLU, gain=0.72, seed=2)
    p = problem(f, 2)
    product = 1.0
    for layer in f:
        if isinstance(layer, nn.Linear):
            product *= float(torch.linalg.matrix_norm(layer.weight, 2))
    assert product > 2
    for norm in ("1", "inf"):
        assert isinstance(ask(p, "contraction", norm), Failure)
    found = ask(p, "contraction", "P")
    assert isinstance(found, Proof)
    assert found.rate < 0.95
