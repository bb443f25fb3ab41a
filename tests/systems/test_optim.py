"""Optimizers as maps: torch's own steps, exact derivatives, what theory says of their determinants and pairs."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.optim import (
    Adam,
    AdamW,
    GradientDescent,
    HeavyBall,
    Nesterov,
    RMSprop,
    from_torch,
)

P = 5
GENERATOR = torch.Generator().manual_seed(3)
A = torch.randn(P, P, generator=GENERATOR, dtype=torch.float64)
A = A @ A.T / P + 0.1 * torch.eye(P, dtype=torch.float64)
B = torch.randn(P, generator=GENERATOR, dtype=torch.float64)
START = torch.randn(P, generator=GENERATOR, dtype=torch.float64)

SETTINGS = {
    "gradient descent": (torch.optim.SGD, {"lr": 0.1}, GradientDescent),
    "decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.05}, GradientDescent),
    "ascent": (torch.optim.SGD, {"lr": 5e-4, "maximize": True, "weight_decay": 0.5}, GradientDescent),
    "heavy ball": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}, HeavyBall),
    "damped": (torch.optim.SGD, {"lr": 0.2, "momentum": 0.8, "dampening": 0.6, "weight_decay": 0.02}, HeavyBall),
    "climbing ball": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.5, "maximize": True}, HeavyBall),
    "nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, Nesterov),
    "adam": (torch.optim.Adam, {"lr": 0.02}, Adam),
    "adam with eps": (torch.optim.Adam, {"lr": 0.1, "betas": (0.6, 0.8), "eps": 0.03, "weight_decay": 0.1}, Adam),
    "ascending adam": (torch.optim.Adam, {"lr": 1e-3, "maximize": True}, Adam),
    "adamw": (torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.2}, AdamW),
    "decoupled adam": (torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.2, "decoupled_weight_decay": True}, AdamW),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9}, RMSprop),
    "centred": (torch.optim.RMSprop, {"lr": 0.01, "centered": True, "eps": 1e-3, "weight_decay": 0.1}, RMSprop),
    "rmsprop with momentum": (torch.optim.RMSprop, {"lr": 0.005, "momentum": 0.7}, RMSprop),
    "all of rmsprop": (
        torch.optim.RMSprop,
        {"lr": 0.005, "momentum": 0.7, "centered": True, "eps": 1e-3, "maximize": True, "weight_decay": 0.1},
        RMSprop,
    ),
}


def loss(w, t=0):
    """A batch of its own at every step, and no quadratic."""
    return 0.5 * w @ A @ w + math.cos(t) * (B * w).sum() + 0.1 * torch.sin(2 * w).sum() + 0.02 * (w**4).sum()


def gradient(w, t=0):
    return A @ w + math.cos(t) * B + 0.2 * torch.cos(2 * w) + 0.08 * w**3


def hessian(w, t=0):
    return A - torch.diag(0.4 * torch.sin(2 * w) - 0.24 * w**2)


def product(w, t=0):
    H = hessian(w, t)
    return lambda V: V @ H


def columns(rule, state, t=0):
    """Derivative of a step, as a matrix."""
    w = rule.split(state)[0]
    eye = torch.eye(len(state), dtype=torch.float64)
    return rule.tangent(state, gradient(w, t), eye, product(w, t), t).T


def orbit(rule, steps, start=START):
    state = rule.start(start)
    for t in range(steps):
        state = rule.step(state, gradient(rule.split(state)[0], t), t)
    return state


def train(make, steps, schedule=None):
    w = nn.Parameter(START.clone())
    optimizer = make([w])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule) if schedule else None
    for t in range(steps):
        optimizer.zero_grad()
        loss(w, t).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return w.detach(), optimizer


@pytest.mark.parametrize("name", SETTINGS)
def test_many_steps_are_those_of_torch(name):
    kind, settings, expected = SETTINGS[name]
    rule = from_torch(kind([nn.Parameter(START)], **settings))
    assert type(rule) is expected
    w, optimizer = train(functools.partial(kind, **settings), 80)
    assert torch.isfinite(w).all()
    assert (w - START).norm() > 0.02
    state = orbit(rule, 80)
    torch.testing.assert_close(rule.split(state)[0], w, rtol=1e-12, atol=1e-12)
    held = next(iter(optimizer.state.values()), {})
    memory = [v for key, v in held.items() if key != "step" and isinstance(v, torch.Tensor)]
    assert len(memory) == len(rule.parts) - 1
    found = sorted(part.norm().item() for part in rule.split(state)[1:])
    assert found == pytest.approx(sorted(m.norm().item() for m in memory), rel=1e-11)


@pytest.mark.parametrize("name", ["damped", "adamw", "all of rmsprop"])
def test_schedules_are_those_of_torch(name):
    kind, settings, _ = SETTINGS[name]

    def schedule(t):
        return 0.5 + 0.5 * math.cos(t / 10)

    w, optimizer = train(functools.partial(kind, **settings), 40, schedule)
    by_function = from_torch(optimizer, lr=lambda t: settings["lr"] * schedule(t))
    by_list = from_torch(optimizer, lr=[settings["lr"] * schedule(t) for t in range(40)])
    assert by_function.horizon is None
    assert by_list.horizon == 40
    for rule in (by_function, by_list):
        torch.testing.assert_close(rule.split(orbit(rule, 40))[0], w, rtol=1e-12, atol=1e-12)
    with pytest.raises(ArgumentError, match="steps 0 to 39"):
        by_list.rate(40)


def test_groups_with_other_numbers_are_one_number_for_each_weight():
    for kind, first, second in (
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.02, "momentum": 0.0, "weight_decay": 0.3}),
        (torch.optim.AdamW, {"lr": 0.1, "betas": (0.5, 0.9)}, {"lr": 0.02, "betas": (0.5, 0.99), "eps": 1e-3}),
        (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.5}, {"lr": 0.02, "alpha": 0.9, "momentum": 0.5}),
    ):
        a, b = nn.Parameter(START[:2].clone()), nn.Parameter(START[2:].clone())
        optimizer = kind([{"params": [b], **first}, {"params": [a], **second}], lr=1.0)
        rule = from_torch(optimizer, parameters=[a, b])
        for t in range(50):
            optimizer.zero_grad()
            loss(torch.cat([a, b]), t).backward()
            optimizer.step()
        state = orbit(rule, 50)
        torch.testing.assert_close(rule.split(state)[0], torch.cat([a, b]).detach(), rtol=1e-12, atol=1e-12)
        w = rule.split(state)[0]
        M = torch.func.jacrev(lambda s, rule=rule: rule.step(s, gradient(rule.split(s)[0], 50), 50))(state)
        torch.testing.assert_close(columns(rule, state, 50), M, rtol=1e-10, atol=1e-12)
        assert w.shape == (P,)


@pytest.mark.parametrize("t", [0, 1, 20])
@pytest.mark.parametrize("name", SETTINGS)
def test_tangent_is_the_derivative_of_the_step(name, t):
    kind, settings, _ = SETTINGS[name]
    rule = from_torch(kind([nn.Parameter(START)], **settings))
    state = orbit(rule, t)

    def step(s):
        return rule.step(s, gradient(rule.split(s)[0], t), t)

    M = columns(rule, state, t)
    if t:  # at the start the memory is zero, where a root of it has no derivative
        torch.testing.assert_close(M, torch.func.jacrev(step)(state), rtol=1e-10, atol=1e-12)
        v = torch.linspace(-1, 1, len(state), dtype=torch.float64)
        torch.testing.assert_close(M @ v, torch.func.jvp(step, (state,), (v,))[1], rtol=1e-10, atol=1e-12)
    # central differences in the weights, which any memory allows
    h = 1e-6
    for i in range(P):
        e = torch.zeros_like(state)
        e[i] = h
        difference = (step(state + e) - step(state - e)) / (2 * h)
        torch.testing.assert_close(M[:, i], difference, rtol=2e-6, atol=1e-8)
    w = rule.split(state)[0]
    W = torch.eye(len(state), dtype=torch.float64)
    pulled = rule.adjoint(state, gradient(w, t), W, product(w, t), t)
    torch.testing.assert_close(pulled, M, rtol=1e-13, atol=1e-13)


def test_members_and_tangents_are_carried_side_by_side():
    rule = Adam(0.1)
    states = torch.stack([orbit(rule, n) for n in (3, 7)])
    gradients = torch.stack([gradient(w, 9) for w in rule.split(states)[0]])
    hessians = torch.stack([hessian(w, 9) for w in rule.split(states)[0]])
    V = torch.randn(4, 2, 3 * P, generator=GENERATOR, dtype=torch.float64)
    together = rule.tangent(states, gradients, V, lambda U: torch.einsum("bij,kbj->kbi", hessians, U), 9)
    for i, state in enumerate(states):
        torch.testing.assert_close(together[:, i], V[:, i] @ columns(rule, state, 9).T, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("settings", [{}, {"dampening": 0.4}, {"weight_decay": 0.3}, {"maximize": True}])
def test_heavy_ball_is_conformally_symplectic(settings):
    beta = 0.85
    rule = HeavyBall(lambda t: 0.1 / (1 + t), momentum=beta, **settings)
    identity, zero = torch.eye(P, dtype=torch.float64), torch.zeros(P, P, dtype=torch.float64)
    J = torch.cat([torch.cat([zero, identity], 1), torch.cat([-identity, zero], 1)])
    M = torch.eye(2 * P, dtype=torch.float64)
    steps = 12
    state = rule.start(START)
    for t in range(steps):
        one = columns(rule, state, t)
        torch.testing.assert_close(one.T @ J @ one, beta * J, rtol=1e-12, atol=1e-13)
        assert torch.linalg.slogdet(one)[1].item() == pytest.approx(P * math.log(beta), rel=1e-12)
        M = one @ M
        state = rule.step(state, gradient(rule.split(state)[0], t), t)
    stretches = torch.linalg.svdvals(M).log()
    sums = stretches + stretches.flip(0)
    assert rule.pair_sum() == math.log(beta)
    torch.testing.assert_close(sums, torch.full_like(sums, steps * rule.pair_sum()), rtol=1e-10, atol=0)


def test_nesterov_has_the_determinant_of_theory():
    beta, rate = 0.7, 0.3
    rule = Nesterov(rate, momentum=beta)
    state = orbit(rule, 5)
    H = hessian(rule.split(state)[0], 5)
    wanted = beta**P * torch.linalg.det(torch.eye(P, dtype=torch.float64) - rate * H)
    torch.testing.assert_close(torch.linalg.det(columns(rule, state, 5)), wanted, rtol=1e-12, atol=0)
    assert rule.pair_sum() is None


def test_quadratic_multipliers_are_exact():
    curvatures = torch.tensor([0.5, 3.0, 25.0, 39.9, 40.1], dtype=torch.float64)
    H = torch.diag(curvatures)
    w = torch.ones(P, dtype=torch.float64)

    def multipliers(rule):
        n = P * len(rule.parts)
        M = rule.tangent(rule.start(w), H @ w, torch.eye(n, dtype=torch.float64), lambda V: V @ H, 1).T
        return np.sort_complex(torch.linalg.eigvals(M).numpy())

    rate, beta = 0.1, 0.9
    descent = np.sort_complex((1 - rate * curvatures).numpy().astype(complex))
    np.testing.assert_allclose(multipliers(GradientDescent(rate)), descent, atol=1e-14)
    for rule, roots in (
        (HeavyBall(rate, beta), lambda a: [1, -(1 + beta - rate * a), beta]),
        (Nesterov(rate, beta), lambda a: [1, -(1 + beta) * (1 - rate * a), beta * (1 - rate * a)]),
    ):
        wanted = np.sort_complex(np.concatenate([np.roots(roots(a)) for a in curvatures.tolist()]).astype(complex))
        np.testing.assert_allclose(np.abs(multipliers(rule)), np.abs(wanted), atol=1e-7)
    # a complex pair contracts by sqrt(beta); beyond 2 (1 + beta) / rate = 38 heavy ball is unstable
    sizes = np.abs(multipliers(HeavyBall(rate, beta)))
    assert np.isclose(sizes, beta**0.5, rtol=1e-12).sum() == 6
    assert (sizes > 1 + 1e-12).sum() == 2


def test_adam_with_a_frozen_preconditioner_is_stable_up_to_its_edge():
    # (2 + 2 b1) / ((1 - b1) lr) for the preconditioned Hessian, Cohen et al., 2207.14484; v moves hardly at all
    lr, beta = 0.01, 0.9
    edge = (2 + 2 * beta) / ((1 - beta) * lr)
    assert edge == pytest.approx(38 / lr)
    v = torch.tensor([4.0], dtype=torch.float64)
    rule = Adam(lr, betas=(beta, 1 - 1e-15), eps=0.0)
    state = torch.cat([torch.zeros(2, dtype=torch.float64), v])
    t = 400
    # far from the start the first correction is one; the second divides v by (t + 1) 1e-15
    preconditioner = (v / (1 - (1 - 1e-15) ** (t + 1))).sqrt()
    for factor, stable in ((0.999, True), (1.001, False)):
        H = (factor * edge * preconditioner)[:, None]
        zero = torch.zeros(1, dtype=torch.float64)
        M = rule.tangent(state, zero, torch.eye(3, dtype=torch.float64), lambda V, H=H: V @ H, t).T
        assert (torch.linalg.eigvals(M[:2, :2]).abs().max().item() < 1) is stable


@pytest.mark.parametrize("rule", [Adam(0.1, eps=1e-3), RMSprop(0.1, eps=1e-3), RMSprop(0.1, eps=1e-3, centered=True)])
def test_dead_weights_have_the_derivative_of_the_step(rule):
    # the second weight has gradient 0, and its memory is empty
    state = rule.start(torch.tensor([1.0, 2.0], dtype=torch.float64))
    H = torch.tensor([[2.0, 0.3], [0.3, 1.5]], dtype=torch.float64)
    g = torch.tensor([0.7, 0.0], dtype=torch.float64)
    assert torch.isfinite(rule.step(state, g, 0)).all()
    V = torch.zeros(2, len(state), dtype=torch.float64)
    V[0, 0] = V[1, 1] = 1
    MV = rule.tangent(state, g, V, lambda U: U @ H, 0)
    assert torch.isfinite(MV).all()
    h = 1e-9
    for v, Mv in zip(V, MV, strict=True):
        ahead, behind = (rule.step(state + s * h * v, g + s * h * v[:2] @ H, 0) for s in (1, -1))
        torch.testing.assert_close(Mv[:2], ((ahead - behind) / (2 * h))[:2], rtol=1e-5, atol=1e-5)
    # a weight that nothing moves keeps its place, and so do its neighbours
    still = rule.tangent(state, g, V, torch.zeros_like(V[:, :2]).mul, 0)
    torch.testing.assert_close(still[:, :2], V[:, :2], rtol=0, atol=0)


def test_what_is_not_finite_stays_with_its_weight():
    for rule in (GradientDescent(0.1, weight_decay=0.1), HeavyBall(0.1), Nesterov(0.1), Adam(0.1), AdamW(), RMSprop()):
        g = torch.tensor([1.0, math.inf, math.nan], dtype=torch.float64)
        w = torch.ones(3, dtype=torch.float64)
        parts = rule.split(rule.step(rule.start(w), g, 0))
        assert all(torch.isfinite(part[0]) for part in parts)
        assert not torch.isfinite(parts[0][2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: torch.optim.Adam([p], amsgrad=True), "amsgrad"),
        (lambda p: torch.optim.LBFGS([p]), "LBFGS"),
        (lambda p: torch.optim.SparseAdam([p]), "SparseAdam"),
        (lambda p: torch.optim.NAdam([p]), "NAdam"),
        (lambda p: type("Mine", (torch.optim.SGD,), {})([p], lr=0.1), "Mine"),
        (lambda p: "adam", "no optimizer"),
        (
            lambda p: torch.optim.SGD(
                [{"params": [p]}, {"params": [nn.Parameter(B)], "nesterov": True}], lr=0.1, momentum=0.9
            ),
            "nesterov",
        ),
    ],
)
def test_what_has_no_map_is_refused_by_name(make, says, as_user):
    with pytest.raises(ArgumentError, match=says) as error:
        from_torch(make(nn.Parameter(START)))
    assert error.value.argument == "optimizer"


def test_a_scheduler_must_be_said_in_words():
    optimizer = torch.optim.SGD([nn.Parameter(START)], lr=0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 10)
    with pytest.raises(ArgumentError, match="scheduler"):
        from_torch(optimizer)
    with pytest.raises(ArgumentError, match="parameters"):
        from_torch(optimizer, lr=0.1, parameters=[nn.Parameter(B)])


@pytest.mark.parametrize("kind", ["sgd", "adam", "triangles"])
def test_a_scheduler_that_cycles_the_momentum_has_no_map(kind, as_user):
    weights = [nn.Parameter(START)]
    optimizer = torch.optim.Adam(weights) if kind == "adam" else torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    if kind == "triangles":
        torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2)
    else:
        torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=9)
    for lr in (None, lambda t: 0.1 / (1 + t), [0.1, 0.2]):
        with pytest.raises(ArgumentError, match="cycle_momentum=False") as error:
            from_torch(optimizer, lr=lr)
        assert error.value.argument == "optimizer"
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=9, cycle_momentum=False)
    assert from_torch(optimizer, lr=lambda t: 0.1).momentum == 0.9


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: GradientDescent(-0.1), "lr"),
        (lambda: GradientDescent("fast"), "lr"),
        (lambda: GradientDescent(math.nan), "lr"),
        (lambda: GradientDescent([]), "lr"),
        (lambda: GradientDescent([0.1, math.inf]), "lr"),
        (lambda: GradientDescent(lambda t: None).rate(3), "lr"),
        (lambda: HeavyBall(0.1, momentum=-1), "momentum"),
        (lambda: HeavyBall(0.1, maximize=1), "maximize"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: Adam(betas=0.9), "betas"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay"),
        (lambda: RMSprop(alpha=1.5), "alpha"),
        (lambda: RMSprop(centered="yes"), "centered"),
        (lambda: HeavyBall(0.1).step(START, START), "state"),
    ],
)
def test_settings_out_of_range_are_named(make, argument, as_user):
    with pytest.raises(ArgumentError) as error:
        make()
    assert error.value.argument == argument
