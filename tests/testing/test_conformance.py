"""check_system passes what keeps the protocol, and names what is broken in what does not."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import Map
from separatrix.testing import check_system

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(autouse=True)
def restored():
    """Broken systems change global state: put it back."""
    kept = (torch.get_rng_state(), random.getstate(), np.random.get_state(), torch.get_num_threads())  # noqa: NPY002
    yield
    torch.set_rng_state(kept[0])
    random.setstate(kept[1])
    np.random.set_state(kept[2])  # noqa: NPY002
    torch.set_num_threads(kept[3])
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    torch.autograd.set_detect_anomaly(False)
    torch.backends.cudnn.benchmark = False
    torch.backends.mkldnn.enabled = True


class Good:
    """x+ = tanh(W x + b) with hand-written tangent and adjoint; derives from nothing."""

    horizon = None

    def __init__(self):
        self.net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.BatchNorm1d(3, affine=False)).double().eval()
        with torch.no_grad():
            self.net[0].weight.copy_(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))

    def dim(self, t):
        return 3

    def step(self, state, t):
        return self.net(state.reshape(-1, 3)).reshape(state.shape)

    def slope(self, state):
        inner = self.net[0](state.reshape(-1, 3)).reshape(state.shape)
        return (1 - inner.detach().tanh() ** 2) / (1 + self.net[2].eps) ** 0.5

    def tangent(self, state, V, t):
        return self.step(state, t).detach(), self.slope(state) * (V @ self.net[0].weight.detach().T)

    def adjoint(self, state, W, t):
        return (self.slope(state) * W) @ self.net[0].weight.detach()


def test_a_system_that_keeps_its_promises_passes():
    check_system(Good(), X)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 3), (2, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_any_batch_and_dtype(shape, dtype):
    system = Good()
    system.net.to(dtype)
    check_system(system, torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype))


def test_autograds_adjoint_is_checked_where_there_is_no_own():
    class Without(Good):
        adjoint = None

    check_system(Without(), X)


def test_kinks_do_not_disturb():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 50), nn.ReLU(), nn.Linear(50, 3)).double()
    check_system(Map(net), X)


def test_zero_state():
    check_system(Good(), torch.zeros(2, 3, dtype=torch.float64))


def test_leaves_the_global_generators_alone():
    system = Good()
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    check_system(system, X)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tobytes() == before[1]  # noqa: NPY002


def broken(promise):
    """Register a class with one broken promise under the name that the check must give it."""

    def register(cls):
        BROKEN[cls.__name__] = (promise, cls)
        return cls

    return register


BROKEN = {}


@broken("derivative")
class TransposedTangent(Good):
    adjoint = None

    def tangent(self, state, V, t):
        return self.step(state, t).detach(), self.slope(state) * (V @ self.net[0].weight.detach())


@broken("derivative")
class TangentOffByAMillionth(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return following, (1 + 1e-6) * MV


@broken("derivative")
class TangentForgetsBatchNorm(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return following, MV * (1 + 1e-5) ** 0.5


@broken("derivative")
class DetachedPart(Map):
    def __init__(self):
        super().__init__(lambda x: x.sin() * x.detach().norm(dim=1, keepdim=True))


@broken("primal")
class TangentOfTheNextStep(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return self.step(following, t), MV


@broken("linearity")
class OrthonormalisedTangents(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return following, torch.linalg.qr(MV.movedim(0, -1)).Q.movedim(-1, 0)


@broken("linearity")
class NormalisedTangents(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return following, MV / MV.norm(dim=-1, keepdim=True).clamp_min(1e-300)


@broken("linearity")
class AffineTangent(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return following, MV + 1e-3


@broken("adjoint")
class UntransposedAdjoint(Good):
    def adjoint(self, state, W, t):
        return (self.slope(state) * W) @ self.net[0].weight.detach().T


@broken("adjoint")
class AdjointOffByAMillionth(Good):
    def adjoint(self, state, W, t):
        return (1 + 1e-6) * super().adjoint(state, W, t)


@broken("batch")
class CoupledStep(Map):
    def __init__(self):
        super().__init__(lambda x: x.sin() - 1e-4 * x.mean(0))


@broken("batch")
class CoupledTangent(Good):
    def adjoint(self, state, W, t):
        return (
            super().adjoint(state, W - W.mean(1, keepdim=True), t) if state.ndim > 1 else super().adjoint(state, W, t)
        )

    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        if state.ndim == 1:
            return following, MV
        return following, MV - MV.mean(1, keepdim=True)

    def step(self, state, t):
        following = super().step(state, t)
        return following if state.ndim == 1 else following - following.mean(0)


@broken("batch")
class NoBarePoints(Good):
    def step(self, state, t):
        following = super().step(state, t)
        return following if state.ndim > 1 else following * 2


@broken("left as found: step at t = 0 changes its argument state")
class StepInPlace(Good):
    def step(self, state, t):
        with torch.no_grad():
            state.mul_(1.5)
        return super().step(state, t)


@broken("left as found: tangent at t = 0 changes its argument V")
class TangentInPlace(Good):
    def tangent(self, state, V, t):
        V.mul_(2.0)
        following, MV = super().tangent(state, V, t)
        return following, MV / 2


@broken("left as found: adjoint at t = 0 changes its argument state")
class AdjointAsksForGradients(Good):
    def adjoint(self, state, W, t):
        state.requires_grad_()
        return super().adjoint(state, W, t)


@broken("left as found: step at t = 0: Sequential.1: training changed from False to True")
class FlipsTrainMode(Good):
    def step(self, state, t):
        self.net[1].train()
        return super().step(state, t)


@broken("left as found: step at t = 0: Sequential.2: buffer")
class UpdatesStatistics(Good):
    def step(self, state, t):
        self.net[2].num_batches_tracked += 1
        return super().step(state, t)


@broken("left as found: step at t = 0: torch random generator")
class DrawsFromTorch(Good):
    def step(self, state, t):
        torch.rand(1)
        return super().step(state, t)


@broken("left as found: tangent at t = 0: numpy random generator")
class DrawsFromNumpy(Good):
    def tangent(self, state, V, t):
        np.random.rand()  # noqa: NPY002
        return super().tangent(state, V, t)


@broken("left as found: adjoint at t = 0: Python random generator")
class DrawsFromPython(Good):
    def adjoint(self, state, W, t):
        random.random()
        return super().adjoint(state, W, t)


@broken("left as found: step at t = 0: Sequential.0: _forward_hooks")
class LeavesHook(Good):
    def step(self, state, t):
        self.net[0].register_forward_hook(lambda *_: None)
        return super().step(state, t)


@broken("left as found: step at t = 0: Sequential.0: parameter weight (hooks)")
class LeavesTensorHook(Good):
    def step(self, state, t):
        self.net[0].weight.register_hook(lambda g: g)
        return super().step(state, t)


@broken("left as found: tangent at t = 0: default dtype changed from torch.float32 to torch.float64")
class ChangesDefaultDtype(Good):
    def tangent(self, state, V, t):
        torch.set_default_dtype(torch.float64)
        return super().tangent(state, V, t)


@broken("left as found: adjoint at t = 0: Sequential.0: parameter")
class LeavesGradients(Good):
    def adjoint(self, state, W, t):
        with torch.enable_grad():
            super().step(state, t).sum().backward()
        return super().adjoint(state, W, t)


@broken("left as found: tangent at t = 0: Sequential.0: parameter bias (requires_grad)")
class FreezesParameters(Good):
    def tangent(self, state, V, t):
        self.net[0].bias.requires_grad_(False)
        return super().tangent(state, V, t)


@broken("left as found: step at t = 0: Sequential.0: parameter weight")
class TouchesWeightsAndPutsThemBack(Good):
    def step(self, state, t):
        with torch.no_grad():
            self.net[0].weight.mul_(2).div_(2)
        return super().step(state, t)


@broken("left as found: tangent at t = 0: Sequential.0: parameter weight (object)")
class ReplacesParameter(Good):
    def tangent(self, state, V, t):
        self.net[0].weight = nn.Parameter(self.net[0].weight.detach().clone())
        return super().tangent(state, V, t)


def flag(name, change):
    """Make a system whose tangent leaves a global flag changed."""

    def tangent(self, state, V, t):
        change()
        return Good.tangent(self, state, V, t)

    title = "Leaves " + name
    BROKEN[title] = (f"left as found: tangent at t = 0: {name} changed", type(title, (Good,), {"tangent": tangent}))


flag("grad mode", lambda: torch.set_grad_enabled(False))
flag("deterministic algorithms", lambda: torch.use_deterministic_algorithms(True))
flag("cudnn.benchmark", lambda: setattr(torch.backends.cudnn, "benchmark", True))
flag("cuda.matmul.allow_tf32", lambda: torch.set_float32_matmul_precision("medium"))
flag("anomaly mode", lambda: torch.autograd.set_detect_anomaly(True))
flag("mkldnn.enabled", lambda: setattr(torch.backends.mkldnn, "enabled", False))
flag("threads", lambda: torch.set_num_threads(torch.get_num_threads() + 1))


@broken("members: Lacks lacks horizon, tangent")
class Lacks:
    def dim(self, t):
        return 3

    def step(self, state, t):
        return state


@broken("members: dim(0) is 4")
class WrongDim(Good):
    def dim(self, t):
        return 4


@broken("members: dim(1) is 2")
class WrongNextDim(Good):
    def dim(self, t):
        return 3 - t


@broken("members: horizon must be")
class WrongHorizon(Good):
    horizon = 2.5


@broken("horizon: step 2")
class EndlessInSpiteOfHorizon(Good):
    horizon = 2


@broken("shapes: step at t = 0 is (5, 3) torch.float32")
class ReturnsSingle(Good):
    def step(self, state, t):
        return super().step(state, t).float()


@broken("shapes: step at t = 0 is not finite")
class Explodes(Good):
    def step(self, state, t):
        return super().step(state, t) / 0.0


@broken("shapes: tangent's M V at t = 0")
class DropsATangent(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return following, MV[1:]


@broken("function of state and t: a result")
class ReusesItsBuffer(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        if getattr(self, "buffer", None) is None or self.buffer.shape != MV.shape:
            self.buffer = MV.clone()
        self.buffer.copy_(MV)
        return following, self.buffer


@broken("function of state and t: the same step")
class RemembersItsCalls(Good):
    calls = 0

    def step(self, state, t):
        self.calls += 1
        return super().step(state, t) + 1e-3 * self.calls


@broken("no_grad")
class NeedsGradMode(Good):
    def tangent(self, state, V, t):
        following, MV = super().tangent(state, V, t)
        return following, MV if torch.is_grad_enabled() else 0 * MV


@broken("exception: one raised inside BatchNorm1d during step became None")
class SwallowsExceptions(Good):
    def step(self, state, t):
        try:
            return super().step(state, t)
        except Exception:
            return state


@broken("exception: one raised inside BatchNorm1d during step became KeyError")
class ReplacesExceptions(Good):
    def step(self, state, t):
        try:
            return super().step(state, t)
        except Exception:
            raise KeyError("something") from None


@broken("exception: one raised inside BatchNorm1d during step: Sequential: training")
class RestoresModeOnlyAfterSuccess(Good):
    def step(self, state, t):
        self.net.training = True
        following = super().step(state, t)
        self.net.training = False
        return following


@broken("exception: one raised inside BatchNorm1d during tangent: default dtype")
class RestoresDtypeOnlyAfterSuccess(Good):
    def tangent(self, state, V, t):
        torch.set_default_dtype(torch.float64)
        following, MV = super().tangent(state, V, t)
        torch.set_default_dtype(torch.float32)
        return following, MV


@broken("exception: after one")
class BreaksAfterAnException(Good):
    bad = False

    def step(self, state, t):
        try:
            return super().step(state, t) + self.bad
        except Exception:
            self.bad = True
            raise


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_named(name):
    promise, cls = BROKEN[name]
    with pytest.raises(AssertionError) as caught:
        check_system(cls(), X)
    assert str(caught.value).startswith(promise)


def test_no_hook_stays_behind_on_the_model():
    system = Good()
    check_system(system, X)
    swallowing = SwallowsExceptions()
    with pytest.raises(AssertionError):
        check_system(swallowing, X)
    for module in (*system.net.modules(), *swallowing.net.modules()):
        assert not module._forward_pre_hooks and not module._forward_hooks


def test_dimensions_may_change_up_to_a_horizon():
    class Narrowing:
        sizes = (3, 2, 1)
        horizon = 2

        def dim(self, t):
            return self.sizes[t]

        def step(self, state, t):
            if t >= self.horizon:
                raise IndexError(t)
            return state[..., : self.sizes[t + 1]].sin()

        def tangent(self, state, V, t):
            n = self.sizes[t + 1]
            return self.step(state, t), state[..., :n].cos() * V[..., :n]

    check_system(Narrowing(), X, steps=10)


def test_a_model_that_only_a_closure_or_a_global_knows():
    hidden = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).double().eval()

    def f(x):
        hidden.train()
        with torch.no_grad():
            hidden.eval()
            hidden[1].train(mode=True)
        return x @ hidden[0].weight.T

    with pytest.raises(AssertionError, match=r"^left as found: step at t = 0: Sequential.1: training"):
        check_system(Map(f), X)


@pytest.mark.parametrize(
    "state", [torch.ones(2, 3, dtype=torch.int64), torch.tensor(1.0), torch.full((2, 3), torch.nan)]
)
def test_what_is_no_state(state):
    with pytest.raises(ArgumentError, match=r"^state: got"):
        check_system(Good(), state)
