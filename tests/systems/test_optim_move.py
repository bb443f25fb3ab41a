"""Derivatives of optimizer steps applied to tangents where they lie, against those found row by row."""

import pytest
import torch

from separatrix.systems.optim import Adam, AdamW, GradientDescent, HeavyBall, RMSprop

N, K = 40, 3
RULES = {
    "gradient descent": GradientDescent(0.1, weight_decay=0.05),
    "heavy ball": HeavyBall(0.1, momentum=0.9),
    "adam": Adam(0.02),
    "adam with decay": Adam(0.1, betas=(0.6, 0.8), eps=0.03, weight_decay=0.1),
    "ascending adam": Adam(0.02, maximize=True, weight_decay=0.3),
    "adamw": AdamW(0.02, weight_decay=0.2),
    "a rate for each weight": Adam([0.02] * 30, weight_decay=torch.linspace(0, 0.2, N).double()),
    "rmsprop": RMSprop(0.01, momentum=0.7, centered=True, eps=1e-3),
}


def sample(rule, dtype=torch.float64):
    """Weights with a memory, a gradient, tangents, and products with a Hessian; the first weights are dead."""
    g = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    parts = [draw(N) for _ in rule.parts]
    if "second_moment" in rule.parts:
        # above the square of a mean
        parts[rule.parts.index("second_moment")].square_().add_(20.0)
    gradient = draw(N)
    for part in (*parts[1:], gradient):
        part[:4] = 0
    return tuple(parts), gradient, tuple(draw(K, N) for _ in parts), draw(K, N)


@pytest.mark.parametrize("t", [0, 20])
@pytest.mark.parametrize("name", RULES)
def test_tangents_are_moved_as_by_rows(name, t):
    rule = RULES[name]
    parts, gradient, columns, product = sample(rule)
    expected = rule.tangent(torch.cat(parts), gradient, torch.cat(columns, -1), lambda _: product, t)
    before = [x.clone() for x in (*parts, gradient, product)]
    rule.move(parts, gradient, columns, product, t)
    torch.testing.assert_close(torch.cat(columns, -1), expected, rtol=1e-12, atol=1e-13)
    # weights, memory and gradient belong to a training under way
    assert all(torch.equal(x, y) for x, y in zip((*parts, gradient, product), before, strict=True))


def test_single_precision_stays_close():
    rule = RULES["adam"]
    exact, rough = sample(rule), sample(rule, torch.float32)
    for parts, gradient, columns, product in (exact, rough):
        rule.move(parts, gradient, columns, product, 5)
    for found, wanted in zip(rough[2], exact[2], strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=2e-5, atol=2e-6)
