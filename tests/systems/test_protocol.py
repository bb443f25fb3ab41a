"""The protocol: what counts as a system, and that tangent and adjoint are exact whatever the step is made of."""

import gc

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import derivatives
from separatrix.systems.protocol import System, adjoint, default_adjoint, default_tangent
from separatrix.testing.untouched import untouched

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
V = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
W = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


class Sine(torch.autograd.Function):
    """sin, in the style that functorch refuses, with a numpy forward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.numpy()))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()


class SineOnce(Sine):
    """sin, whose backward cannot be differentiated again."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.from_numpy(g.detach().numpy() * np.cos(x.numpy()))


@torch.library.custom_op("separatrix_tests::sine", mutates_args=())
def sine_op(x: torch.Tensor) -> torch.Tensor:
    return x.sin()


sine_op.register_autograd(
    lambda ctx, g: g * ctx.x.cos(), setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0])
)


@torch.library.custom_op("separatrix_tests::bare", mutates_args=())
def bare_op(x: torch.Tensor) -> torch.Tensor:
    return x.sin()


_kernels = torch.library.Library("separatrix_kernels", "DEF")
_kernels.define("sine(Tensor x) -> Tensor")
_kernels.impl("sine", lambda x: torch.from_numpy(np.sin(x.detach().numpy())), "CPU")


def without_grad(x):
    with torch.no_grad():
        return x.sin()


def filled(x):
    out = torch.zeros_like(x)
    out[..., 0] = x[..., 1].sin()
    return out + x


SINES = {
    "plain": lambda x: x + x.sin(),
    "no_grad": lambda x: without_grad(x),
    "old-style function": lambda x: x + Sine.apply(x),
    "backward through numpy": lambda x: x + SineOnce.apply(x),
    "custom operation": lambda x: x + sine_op(x),
}


@pytest.mark.parametrize("name", SINES)
def test_tangent_and_adjoint_are_exact_by_every_route(name):
    slope = X.cos() if name == "no_grad" else 1 + X.cos()
    value = X.sin() if name == "no_grad" else X + X.sin()
    following, MV = default_tangent(SINES[name], X, V)
    torch.testing.assert_close(following, value, rtol=0, atol=1e-15)
    torch.testing.assert_close(MV, slope * V, rtol=0, atol=1e-14)
    torch.testing.assert_close(default_adjoint(SINES[name], X, W), slope * W, rtol=0, atol=1e-14)
    assert not (following.requires_grad or MV.requires_grad)


def test_forward_mode_would_lose_a_custom_operation():
    # the reason for the inspection: torch gives no error here, only a wrong number
    with torch.no_grad():
        _, lost = torch.func.jvp(lambda x: x + sine_op(x), (X,), (V[0],))
    torch.testing.assert_close(lost, V[0])


@pytest.mark.parametrize(
    "hidden",
    [
        bare_op,
        torch.ops.separatrix_kernels.sine,
        lambda x: torch.from_numpy(np.sin(x.numpy())),
        lambda x: torch.from_numpy(np.sin(x.detach().numpy())),
        lambda x: torch.from_numpy(np.sin(np.asarray(x))),
    ],
    ids=["no autograd formula", "no autograd kernel", "numpy", "detach and numpy", "asarray"],
)
def test_a_part_that_cannot_be_differentiated_is_an_error_and_not_a_constant(hidden):
    def step(x):
        return x + hidden(x)

    with pytest.raises(ArgumentError, match=r"step: got a function that cannot be differentiated"):
        default_tangent(step, X, V)
    with pytest.raises(ArgumentError, match=r"step: got a function that cannot be differentiated"):
        default_adjoint(step, X, W)


def test_adjoint_notices_what_only_reverse_mode_loses():
    def step(x):
        return x + without_grad(x)

    torch.testing.assert_close(default_tangent(step, X, V)[1], (1 + X.cos()) * V)
    with pytest.raises(ArgumentError, match=r"reverse mode contradicts the tangent"):
        default_adjoint(step, X, W)


def test_coupled_rows_are_refused():
    with pytest.raises(ArgumentError, match=r"contradicts a plain reverse pass"):
        default_tangent(lambda x: SineOnce.apply(x - x.mean(0)), X, V)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_layers_without_forward_rule(dtype):
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 6, batch_first=True, dtype=dtype)
    encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, dtype=dtype).eval()

    def step(x):
        return encoder(lstm(x.reshape(-1, 2, 3))[0]).flatten(1)[:, :6]

    x = X.reshape(2, 6).to(dtype)
    with untouched(lstm, encoder):
        following, MV = default_tangent(step, x, torch.eye(6, dtype=dtype)[:, None].expand(6, 2, 6))
        pulled = default_adjoint(step, x, torch.eye(6, dtype=dtype)[:, None].expand(6, 2, 6))
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    for i in range(2):
        exact = torch.autograd.functional.jacobian(lambda y: step(y[None])[0], x[i])
        torch.testing.assert_close(MV[:, i].T, exact, rtol=0, atol=tolerance)
        torch.testing.assert_close(pulled[:, i], exact, rtol=0, atol=tolerance)
    torch.testing.assert_close(following, step(x).detach(), rtol=0, atol=tolerance)


def test_in_place_writing_into_a_fresh_tensor():
    exact = V.clone()
    exact[..., 0] += X[:, 1].cos() * V[..., 1]
    torch.testing.assert_close(default_tangent(filled, X, V)[1], exact)


class Counted(System):
    def __init__(self):
        self.shapes = []

    def dim(self, t):
        return 3

    def step(self, state, t):
        self.shapes.append(tuple(state.shape))
        return state.sin() + state.roll(1, -1)


def test_primal_is_computed_once_on_the_batch_as_it_is():
    system, x, v = Counted(), X.repeat(2000, 1), V.repeat(1, 2000, 1)
    system.tangent(x, v, 0)
    assert system.shapes == [(8000, 3)] * 2  # once to look at its operations
    system.tangent(x, v, 1)
    assert system.shapes == [(8000, 3)] * 3


def test_small_states_are_carried_by_rows_once_these_have_agreed():
    system = Counted()
    first, again = system.tangent(X, V, 0), system.tangent(X, V, 1)
    assert system.shapes == [(4, 3)] * 2 + [(3, 4, 3)] + [(4, 3)] + [(3, 4, 3)]  # look, compare both, then each call
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-15)
    alone = system.tangent(X[0], V[:, 0], 2)
    torch.testing.assert_close(alone[1], again[1][:, 0], rtol=0, atol=1e-15)


def test_rows_that_disagree_are_not_used():
    class Coupled(Counted):
        def step(self, state, t):
            return super().step(state, t) - state.mean(0)

    system = Coupled()
    results = [system.tangent(X, V, t)[1] for t in range(3)]
    assert system.shapes[-1] == (4, 3)
    for MV in results:
        torch.testing.assert_close(MV, X.cos() * V + V.roll(1, -1) - V.mean(1, keepdim=True))


def test_every_step_up_to_a_horizon_is_inspected():
    class Layers(Counted):
        horizon = 3

        def step(self, state, t):
            grown = [lambda x: x.sin(), lambda x: torch.cat([x, sine_op(x)], -1), lambda x: x[..., 3:] + x[..., :3]]
            return grown[t](state)

    system, x, v = Layers(), X, V
    for _ in range(2):
        x, v = X, V
        for t in range(3):
            x, v = system.tangent(x, v, t)
        torch.testing.assert_close(v, X.cos() * V * (1 + X.sin().cos()))


def test_findings_are_forgotten_with_their_owner():
    class Short(System):
        def dim(self, t):
            return 3

        def step(self, state, t):
            return state.sin()

    gc.collect()
    before = len(derivatives._findings)
    system = Short()
    system.tangent(X, V, 0)
    assert len(derivatives._findings) == before + 1
    del system
    gc.collect()
    assert len(derivatives._findings) == before


def test_random_step_is_differentiated_along_its_draw():
    def step(x):
        return nn.functional.dropout(x, 0.5, training=True)

    with torch.random.fork_rng():
        torch.manual_seed(3)
        following, MV = default_tangent(step, X, V)
        torch.testing.assert_close(MV, torch.where(following == 0, 0.0, 2.0) * V)
        with pytest.raises(ArgumentError, match=r"contradicts"):
            default_adjoint(step, X, W)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_in_any_grad_mode(mode):
    layer = nn.Linear(3, 3, dtype=torch.float64)
    for step, slope in ((layer, layer.weight.detach()), (Sine.apply, None)):
        with mode():
            x, v, w = X.clone(), V.clone(), W.clone()
            MV, MtW = default_tangent(step, x, v)[1], default_adjoint(step, x, w)
        torch.testing.assert_close(MV.clone(), V @ slope.T if slope is not None else X.cos() * V)
        torch.testing.assert_close(MtW.clone(), W @ slope if slope is not None else X.cos() * W)


def test_nothing_to_carry():
    following, MV = default_tangent(torch.sin, X, V[:0])
    assert torch.equal(following, X.sin()) and MV.shape == (0, 4, 3)
    assert default_adjoint(torch.sin, X, W[:0]).shape == (0, 4, 3)


def test_constant_and_identity_steps():
    torch.testing.assert_close(default_tangent(torch.ones_like, X, V)[1], torch.zeros_like(V))
    torch.testing.assert_close(default_adjoint(torch.ones_like, X, W), torch.zeros_like(W))
    torch.testing.assert_close(default_tangent(lambda x: x, X, V)[1], V)


@pytest.mark.parametrize("bad", [V[0], V[:, :2], V[..., :2], V[:, :, None]])
def test_tangents_of_another_shape(bad):
    with pytest.raises(ArgumentError, match=r"V: got shape .* give \(k, 4, 3\)"):
        default_tangent(torch.sin, X, bad)
    with pytest.raises(ArgumentError, match=r"W: got shape .* give \(k, 4, 3\)"):
        default_adjoint(torch.sin, X, bad)


def test_tangents_of_another_dtype():
    with pytest.raises(ArgumentError, match=r"V: got torch.float32; give torch.float64"):
        default_tangent(torch.sin, X, V.float())


@pytest.mark.parametrize("error", [RuntimeError, ValueError, ZeroDivisionError])
def test_the_steps_own_error_comes_through(error):
    def step(x):
        raise error("mine")

    with pytest.raises(error, match=r"^mine$"):
        default_tangent(step, X, V)
    with pytest.raises(error, match=r"^mine$"):
        default_adjoint(step, X, W)


class Duck:
    """Has the members and derives from nothing."""

    horizon = None
    A = torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.float64)

    def dim(self, t):
        return 2

    def step(self, state, t):
        return state @ self.A.T

    def tangent(self, state, V, t):
        return self.step(state, t), V @ self.A.T


def test_a_class_with_the_members_is_a_system():
    assert isinstance(Duck(), System)
    assert not isinstance(nn.Linear(2, 2), System)
    assert not isinstance(object(), System)


def test_a_derived_class_must_give_step_and_dim():
    class Lazy(System):
        def dim(self, t):
            return 1

    with pytest.raises(TypeError, match=r"step"):
        Lazy()


def test_adjoint_by_autograd_and_the_systems_own():
    x, w = X[:, :2], W[..., :2]
    torch.testing.assert_close(adjoint(Duck(), x, w, 0), w @ Duck.A)

    class Own(Duck):
        def adjoint(self, state, W, t):
            return W + t

    torch.testing.assert_close(adjoint(Own(), x, w, 7), w + 7)


def test_adjoint_contradicting_the_systems_tangent():
    class Wrong(Duck):
        def tangent(self, state, V, t):
            return self.step(state, t), V @ self.A

    with pytest.raises(ArgumentError, match=r"contradicts the tangent"):
        adjoint(Wrong(), X[:, :2], W[..., :2], 0)


def test_adjoint_of_a_step_outside_torch_comes_from_its_tangent():
    class Numpy(Duck):
        def step(self, state, t):
            return torch.from_numpy(state.detach().numpy() @ self.A.numpy().T)

    torch.testing.assert_close(adjoint(Numpy(), X[:, :2], W[..., :2], 0), W[..., :2] @ Duck.A)
