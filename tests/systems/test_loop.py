"""Loop: closed loops, driven loops and policies are exact systems; what does not fit is named."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import Euler, Feedback, Loop, Map, Scaled, System, adjoint
from separatrix.systems.lure import lure
from separatrix.testing import check_system

GENERATOR = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


X, V = randn(5, 3), randn(4, 5, 3)
A, B, K = 0.5 * randn(3, 3), randn(3, 2), randn(2, 3)
U = randn(4, 2)


def net(inputs, outputs, activation=nn.Tanh, bias=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs + 10 * outputs)
        parts = nn.Linear(inputs, 7, bias), activation(), nn.Linear(7, outputs, bias)
    return nn.Sequential(*parts).double().eval()


def linear(x, u):
    return x @ A.T + u @ B.T


class Gated(nn.Module):
    """An input that may be left out."""

    def __init__(self):
        super().__init__()
        self.inner, self.gate = net(3, 3), net(2, 3)

    def forward(self, x, u=None):
        return self.inner(x) if u is None else self.inner(x) * torch.sigmoid(self.gate(u))


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(1, 1, 3, padding=1).double()

    def forward(self, x, u=None):
        return torch.tanh(self.conv(x)) if u is None else torch.tanh(self.conv(x)) + u[..., None, None]


class Mean(nn.Module):
    def forward(self, x):
        return x.flatten(1).mean(1, keepdim=True)


SYSTEMS = {
    "f(x)": lambda: Loop(net(3, 3)),
    "constant": lambda: Loop(linear, torch.tensor([0.5, -1.0], dtype=torch.float64)),
    "constant as list": lambda: Loop(linear, [0.5, -1.0]),
    "number": lambda: Loop(lambda x, u: torch.sin(x) * u, 0.7),
    "concatenated": lambda: Loop(net(5, 3), [0.5, -1.0]),
    "driven": lambda: Loop(net(5, 3), U),
    "policy": lambda: Loop(linear, net(3, 2)),
    "policy, concatenated": lambda: Loop(net(5, 3), lambda x: torch.tanh(x @ K.T)),
    "policy that works in place": lambda: Loop(linear, nn.Sequential(nn.ReLU(inplace=True), net(3, 2))),
    "optional input": lambda: Loop(Gated(), U),
    "no optional input": lambda: Loop(Gated()),
    "euler": lambda: Loop(Euler(net(3, 3), 0.1), dt=0.1),
    "euler, input": lambda: Loop(Euler(net(5, 3), 0.1), net(3, 2)),
    "scaled": lambda: Loop(Scaled(net(3, 3), X.mean(0), X.std(0))),
    "scaled, input": lambda: Loop(Scaled(net(5, 3), randn(5), 1 + randn(5) ** 2, 0.1, 2.0), net(3, 2)),
    "feedback": lambda: Loop(Feedback(A, B, net(3, 2))),
    "euler of scaled": lambda: Loop(Euler(Scaled(net(3, 3), 0.5, 2.0, 0.0, 1.0), 0.1)),
    "relu": lambda: Loop(net(3, 3, nn.ReLU)),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_conforms(name):
    check_system(SYSTEMS[name](), X, steps=4 if name == "driven" else 1, k=2)


@pytest.mark.parametrize("u", [None, 0.3, Mean()], ids=["none", "constant", "policy"])
def test_conforms_with_images_as_states(u):
    loop = Loop(Image(), u, shape=(1, 2, 3))
    assert loop.dim() == 6
    check_system(loop, randn(2, 6), steps=1, k=2)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_plain_function_is_the_step_and_can_be_seen_through(name):
    loop = SYSTEMS[name]()
    for t in range(loop.horizon or 1):
        function = loop.function(t)
        x = X.clone()
        torch.testing.assert_close(function(x), loop.step(X, t), rtol=0, atol=0)
        assert torch.equal(x, X)
        torch.testing.assert_close(torch.func.vmap(lambda p, f=function: f(p[None])[0])(X), function(X))
        if name not in ("number", "optional input"):  # a sine, and a product of two functions of the state
            torch.testing.assert_close(lure(function, (3,))(X), loop.step(X, t), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: lambda x, u: f(torch.cat([x, u], 1))], ids=["module", "plain"])
def test_what_was_compiled_can_be_seen_through(wrap):
    f, policy = wrap(net(5, 3)), net(3, 2)
    compiled = Loop(torch.compile(f, backend="eager"), torch.compile(policy, backend="eager"))
    form, expected = lure(compiled, (3,)), Loop(f, policy).step(X, 0)
    assert len(form.blocks) == 3
    torch.testing.assert_close(form(X), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(compiled.step(X, 0), expected, rtol=1e-12, atol=1e-12)


def test_a_product_of_two_functions_of_the_state_is_not_seen_through():
    with pytest.raises(ArgumentError, match=r"mul"):
        lure(Loop(Gated(), net(3, 2)).function(), (3,))


def test_linear_feedback_has_the_tangent_of_its_closed_matrix():
    closed = A + B @ K
    for loop in (Loop(linear, lambda x: x @ K.T), Loop(Feedback(A, B, lambda x: x @ K.T))):
        following, MV = loop.tangent(X, V, 0)
        torch.testing.assert_close(following, X @ closed.T, rtol=0, atol=1e-13)
        torch.testing.assert_close(MV, V @ closed.T, rtol=0, atol=1e-13)
        torch.testing.assert_close(adjoint(loop, X, V, 0), V @ closed, rtol=0, atol=1e-13)


def test_driven_steps_take_their_own_row_and_end():
    loop = Loop(linear, U)
    assert loop.horizon == 4
    for t in range(4):
        torch.testing.assert_close(loop.step(X, t), X @ A.T + U[t] @ B.T)
    for t in (4, -1):
        for call in (lambda t=t: loop.step(X, t), lambda t=t: loop.tangent(X, V, t), lambda t=t: loop.function(t)):
            with pytest.raises(ArgumentError, match=rf"^t: got {t}; u has 4 rows, so there are steps 0 to 3"):
                call()
    assert Loop(linear, U[0]).horizon is None


def test_euler_and_scaled_and_feedback_are_what_they_say():
    inner, wide = net(3, 3), net(5, 3)
    u = randn(5, 2)
    torch.testing.assert_close(Euler(inner, 0.2)(X), X + 0.2 * inner(X))
    torch.testing.assert_close(Euler(wide, 0.2)(X, u), X + 0.2 * wide(torch.cat([X, u], 1)))
    torch.testing.assert_close(Euler(linear, 0.2)(X, u), X + 0.2 * linear(X, u))
    m, s = randn(5), 1 + randn(5).abs()
    scaled = wide((torch.cat([X, u], 1) - m) / s)
    torch.testing.assert_close(Scaled(wide, m, s)(X, u), m[:3] + s[:3] * scaled)
    torch.testing.assert_close(Scaled(wide, m, s, 0.5, [1.0, 2.0, 3.0])(X, u), 0.5 + torch.tensor([1.0, 2, 3]) * scaled)
    bare = torch.cat([(X - m[:3]) / s[:3], u], 1)
    torch.testing.assert_close(Scaled(wide, m[:3], s[:3], 0, 1)(X, u), wide(bare))
    both = torch.cat([(X - 0.5) / 2, (u - 0.5) / 2], 1)
    torch.testing.assert_close(Scaled(wide, 0.5, 2)(X, u), 0.5 + 2 * wide(both))
    torch.testing.assert_close(Feedback(A, B, net(3, 2))(X), X @ A.T + net(3, 2)(X) @ B.T)


def test_scalers_are_buffers_of_the_networks_dtype():
    scaled = Scaled(net(3, 3).float(), np.zeros(3), np.ones(3))
    assert set(dict(scaled.named_buffers())) == {"mean", "scale"} and scaled.mean.dtype is torch.float32
    assert Loop(scaled).step(X.float(), 0).dtype is torch.float32
    assert Loop(scaled.double()).step(X, 0).dtype is torch.float64
    again = pickle.loads(pickle.dumps(scaled))
    torch.testing.assert_close(again(X), scaled(X))


def test_gradients_reach_policy_and_input():
    policy = net(3, 2)
    Loop(linear, policy).step(X, 0).sum().backward()
    assert all(p.grad is not None for p in policy.parameters())
    u = U[0].clone().requires_grad_()
    Loop(linear, u).step(X, 0).sum().backward()
    torch.testing.assert_close(u.grad, 5 * B.sum(0))


def test_is_a_system_that_says_what_it_is():
    loop = Loop(linear, U, dt=0.5, dim=3)
    assert isinstance(loop, System) and isinstance(loop, Map) and (loop.dt, loop.unit) == (0.5, "1/time")
    assert repr(loop) == "Loop(linear, u=(4, 2), dt=0.5, unit='1/time', dim=3)"
    assert loop.network is linear and loop.u is U
    assert repr(Loop(net(3, 3))) == "Loop(Sequential, u=None, dt=1, unit='1/step', dim=None)"
    policy = nn.Tanh()
    assert Loop(lambda x, u: u, policy).u is policy and not hasattr(policy, "network")


@pytest.mark.parametrize(
    ("f", "u", "message"),
    [
        (nn.Linear, None, r"^f: got the class Linear"),
        (3.0, None, r"^f: got float; give a function of a batch"),
        (linear, None, r"^u: got None; f takes \(x, u\): give an input or a policy; sx.Map"),
        (lambda x, u, t: x, 0.0, r"^f: got a function of \(x, u, t\); it must take \(x\) or \(x, u\)"),
        (lambda: 0, None, r"^f: got a function of \(nothing\)"),
        (lambda x, *, a: x, None, r"^f: got a function of \(x, a\)"),
        (linear, torch.zeros(2, 3, 4), r"^u: got shape \(2, 3, 4\); give a number, \(m,\) for a constant"),
        (linear, torch.zeros(0, 2), r"^u: got shape \(0, 2\)"),
        (linear, [0.0, float("nan")], r"^u: got values that are NaN or infinite"),
        (linear, "zero", r"^u: got 'zero'"),
        (linear, True, r"^u: got True"),
        (linear, [[1.0], [1.0, 2.0]], r"^u: got list"),
        (linear, torch.zeros(2, dtype=torch.complex64), r"^u: got torch.complex64"),
        (linear, nn.Tanh, r"^u: got the class Tanh"),
        (linear, linear, r"^u: got a policy of two arguments"),
    ],
)
def test_what_makes_no_loop(f, u, message, as_user):
    with pytest.raises(ArgumentError, match=message):
        Loop(f, u)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda x: x[:, 0], r"^u: got a policy that returns shape \(5,\); return \(B, m\), one row for each of the 5"),
        (lambda x: x[:2], r"^u: got a policy that returns shape \(2, 3\)"),
        (lambda x: x.tolist(), r"^u: got a policy that returns list"),
        (lambda x: x.float(), r"^u: got torch.float32 on cpu; the state is torch.float64"),
        (torch.zeros(3), r"^u: got torch.float32 on cpu; the state is torch.float64"),
        (nn.Dropout(), r"^u: got a module whose Dropout '' uses random numbers; call .eval\(\)"),
        (nn.Linear(3, 3), r"^state: got torch.float64 on cpu; the module holds torch.float32"),
    ],
)
def test_what_a_policy_must_not_do(policy, message):
    loop = Loop(lambda x, u: x + u, policy)
    for call in (lambda: loop.step(X, 0), lambda: loop.tangent(X, V, 0)):
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (net(3, 2), r"^f: got a function that returns shape \(5, 2\); return the shape of its argument, \(5, 3\)"),
        (lambda x: x.float(), r"^f: got a function that returns torch.float32; the state is torch.float64"),
        (nn.Sequential(nn.Dropout()), r"^f: got a module whose Dropout '0' uses random numbers; call .eval"),
        (nn.Linear(3, 3), r"^state: got torch.float64 on cpu; the module holds torch.float32 on cpu"),
    ],
)
def test_what_f_must_not_do(f, message):
    for call in (lambda: Loop(f).step(X, 0), lambda: Loop(f).tangent(X, V, 0)):
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_policy_of_another_precision_is_named(dtype):
    loop = Loop(net(5, 3), net(3, 2).float())
    with pytest.raises(ArgumentError, match=r"^u: got a policy in torch.float32 for f in torch.float64; bring both"):
        loop.step(X.to(dtype), 0)


def test_dropout_is_refused_before_a_tracer_sees_it():
    with pytest.raises(ArgumentError, match=r"^f: got a module whose Dropout"):
        Loop(nn.Sequential(nn.Dropout())).function()


def test_nan_and_wrong_sizes_of_states():
    loop = Loop(linear, U[0], dim=3)
    with pytest.raises(ArgumentError, match=r"^state: got 1 values that are NaN or infinite, at t = 2"):
        loop.step(torch.tensor([0.0, torch.nan, 0.0], dtype=torch.float64), 2)
    with pytest.raises(ArgumentError, match=r"^state: got 2 components"):
        loop.step(X[:, :2], 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (0, 2)}, r"^shape: got \(0, 2\)"),
        ({"shape": ()}, r"^shape: got \(\)"),
        ({"shape": (1, 4, 4), "dim": 3}, r"^dim: got 3; a state of shape \(1, 4, 4\) has 16 components"),
        ({"dim": 0}, r"^dim: got 0"),
        ({"dt": -1.0}, r"^dt: got -1.0"),
    ],
)
def test_sizes_that_cannot_be(options, message):
    with pytest.raises(ArgumentError, match=message):
        Loop(Image(), **options)
    with pytest.raises(ArgumentError, match=r"^f: got a function of one argument, with shape= and u"):
        Loop(nn.Tanh(), 0.1, shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Euler(nn.Linear, 0.1), r"^net: got the class Linear"),
        (lambda: Euler(net(3, 3), 0), r"^dt: got 0"),
        (lambda: Scaled(net(3, 3), [0, np.nan, 0], 1), r"^mean: got values that are NaN"),
        (lambda: Scaled(net(3, 3), 0, [1, 0, 1]), r"^scale: got a zero"),
        (lambda: Scaled(net(3, 3), torch.zeros(2, 2), 1), r"^mean: got shape \(2, 2\)"),
        (lambda: Feedback(A[:2], B, net(3, 2)), r"^A: got shape \(2, 3\); give a square matrix"),
        (lambda: Feedback(A, B[:2], net(3, 2)), r"^B: got shape \(2, 2\); give \(3, m\)"),
        (lambda: Feedback(A, B[0], net(3, 2)), r"^B: got shape \(2,\); give a matrix"),
        (lambda: Feedback(A, B, linear), r"^policy: got a function of two arguments"),
    ],
)
def test_what_makes_no_module(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
