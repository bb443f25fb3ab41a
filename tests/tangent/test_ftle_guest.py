"""The user's model is a guest: after a call, or an exception, nothing of it has changed."""

import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.testing.untouched import untouched


class Model(nn.Module):
    def __init__(self, fail=False):
        super().__init__()
        self.a, self.n, self.b = nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.fail = fail

    def forward(self, x):
        self.calls += 1
        h = torch.relu_(self.n(self.a(x)))
        if self.fail and len(x) > 2:
            raise ValueError("the model failed")
        return self.b(h + 0 * torch.rand(()))


@pytest.mark.parametrize("method", ["auto", "forward", "reverse", "loop"])
def test_nothing_changes(method, as_user):
    model = Model().eval()
    model.a.requires_grad_(False)
    x = torch.randn(5, 2)
    before = x.clone()
    with untouched(model):
        sx.ftle(model, x, layers="all", method=method, verify=2)
    assert torch.equal(x, before)


def test_nothing_changes_after_an_exception(as_user):
    model = Model(fail=True).eval()
    x = torch.randn(5, 2)
    with untouched(model), pytest.raises(ValueError, match="the model failed"):
        sx.ftle(model, x)


def test_inside_no_grad_inference_mode_and_autocast():
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3))
    x = torch.randn(5, 2)
    plain = sx.ftle(model, x, layers="all").stretch
    for context in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
        with context:
            assert (abs(sx.ftle(model, x.clone(), layers="all").stretch - plain) < 1e-5).all()


def test_half_precision_is_raised_and_said():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)).to(torch.bfloat16)
    x = torch.randn(6, 2)
    field = sx.ftle(model, x)
    assert field.precision == "bfloat16 weights, computed in float32"
    assert model[0].weight.dtype == torch.bfloat16
    raised = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
    raised.load_state_dict(model.state_dict())
    assert (abs(sx.ftle(raised, x).stretch - field.stretch) < 1e-6).all()


def test_plain_functions_and_integer_free_models():
    x = torch.randn(4, 3, dtype=torch.float64)
    field = sx.ftle(lambda v: v**2, x, k=3)
    expected = (2 * x).abs().sort(dim=1, descending=True).values.log()
    torch.testing.assert_close(torch.from_numpy(field.stretch[0, 0].values), expected)


def test_progress_is_told():
    seen = []
    sx.ftle(lambda v: v**2, torch.randn(5, 2), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)


def test_verify_measures_an_error_that_is_really_there():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.randn(20, 2, dtype=torch.float64)
    good = sx.ftle(model, x, layers="all", verify=3)
    assert good.verify_points == 3 and 0 < good.verify_worst < 1e-8

    class Wrong(torch.autograd.Function):
        """tanh with a derivative that is 1 % too large."""

        @staticmethod
        def forward(ctx, z):
            y = torch.tanh(z)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return 1.01 * g * (1 - y * y)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = model[0], model[2]

        def forward(self, v):
            return self.b(Wrong.apply(self.a(v)))

    bad = sx.ftle(Model(), x, verify=3)
    assert bad.method == "reverse"
    assert 0.005 < bad.verify_worst < 0.02
