"""The leading exponents of networks that are large both ways, without a Jacobian."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix import Status
from separatrix.testing import cases
from separatrix.testing.untouched import untouched
from separatrix.testing.zoo_large import ResNet18

CASES = {case.name: case for case in cases()}
DOUBLE = torch.float64


@pytest.fixture(scope="module")
def residual_network():
    """A small copy of ResNet-18, points, and what the dense route says of them."""
    model = ResNet18(20, width=4).double()
    x = torch.randn(2, 3, 32, 32, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    options = {"layers": ["stages.2#1", "output"], "k": 3}
    return model, x, options, sx.ftle(model, x, method="reverse", memory="4GB", directions=True, **options)


def test_a_small_residual_network_agrees_with_the_dense_answer(residual_network):
    model, x, options, dense = residual_network
    field = sx.ftle(model, x, method="lanczos", directions=True, verify=2, **options)
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-10)
    assert field.method == "lanczos" and field.verify_worst < 1e-6
    assert (field.converged == 1).all() and (field.residual <= 1e-6).all() and (field.status == Status.OK).all()
    for name in ("right", "left"):
        have = field[name].dims[-1]
        overlap = abs((field[name].fillna(0) * dense[name].fillna(0)).sum(have))
        np.testing.assert_allclose(overlap, 1, rtol=0, atol=1e-6)


def test_the_same_in_float32(residual_network):
    _, x, options, dense = residual_network
    field = sx.ftle(ResNet18(20, width=4), x.float(), method="lanczos", **options)
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-5)
    assert (field.converged == 1).all() and (field.residual <= 1e-4).all()


@pytest.mark.parametrize("name", CASES)
def test_every_network_of_the_zoo(name):
    case = CASES[name]
    model, x = case.build().double(), case.points(3)
    x = x.double() if x.is_floating_point() else x
    dense = sx.ftle(model, x, k="all", **case.options)
    k = max(1, dense.sizes["index"] // 2)
    if dense.method == "loop":
        return
    field = sx.ftle(model, x, k=k, method="lanczos", **case.options)
    exact = dense.isel(index=slice(k))
    # below 1e-9 of the largest value, rounding alone is more than the residual that counts as small
    resolved = (exact.status <= Status.NOT_A_CUT) & (exact.stretch > exact.stretch.isel(index=0) + math.log(1e-9))
    sure = resolved.values
    assert sure[..., 0].all() and (field.converged.values[sure] == 1).all()
    np.testing.assert_array_equal(field.status.values[sure], exact.status.values[sure])
    np.testing.assert_allclose(field.stretch.values[sure], exact.stretch.values[sure], rtol=0, atol=1e-8)


def test_it_is_chosen_where_jacobians_do_not_fit():
    torch.manual_seed(0)
    convolutions = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1)
    model = nn.Sequential(convolutions[0], nn.Tanh(), convolutions[1], nn.Flatten()).double()
    x = torch.randn(3, 1, 16, 16, dtype=DOUBLE)
    dense = sx.ftle(model, x, k=2)
    assert dense.method == "forward" and "residual" not in dense
    with pytest.raises(sx.ArgumentError, match="one point needs about"):
        sx.ftle(model, x, k="all", memory="2MB")
    field = sx.ftle(model, x, k=2, memory="2MB")
    assert field.method == "lanczos"
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-10)


def test_it_is_chosen_where_jacobians_cost_more():
    diagonal = torch.linspace(1, 2, 3000, dtype=DOUBLE) ** 3
    field = sx.ftle(lambda x: torch.tanh(x) * diagonal, torch.zeros(2, 3000, dtype=DOUBLE), k=2)
    assert field.method == "lanczos"
    np.testing.assert_allclose(field.stretch[0, 0], diagonal[[-1, -2]].log().expand(2, 2), atol=1e-10)


def test_points_have_their_own_answers_whatever_the_chunk():
    weights = torch.randn(40, 30, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    x = torch.randn(7, 30, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))

    def model(v):
        return torch.tanh(v @ weights.T / 4)

    whole = sx.ftle(model, x, k=2, method="lanczos")
    pieces = sx.ftle(model, x, k=2, method="lanczos", memory="300KB")
    np.testing.assert_allclose(whole.stretch, pieces.stretch, rtol=0, atol=1e-12)


def test_what_has_not_converged_says_so():
    # so many values, so close, and a budget for so few rows that three hundred steps do not part them
    diagonal = torch.linspace(0.5, 1, 1500, dtype=DOUBLE)
    field = sx.ftle(lambda x: x * diagonal, torch.zeros(1, 1500, dtype=DOUBLE), method="lanczos", memory="600KB")
    assert field.status.item() == Status.UNCONVERGED and field.converged.item() == 0
    value, residual = math.exp(field.stretch.item()), field.residual.item()
    assert residual > 1e-6 and 0.99 < value < 1
    assert float((diagonal - value).abs().min()) <= residual * value
    assert sx.ftle(lambda x: x * diagonal, torch.zeros(1, 1500, dtype=DOUBLE), method="lanczos").converged.item() == 1


def test_equal_values_of_a_network():
    # an orthogonal first half doubled: every singular value occurs twice
    matrix = torch.randn(20, 15, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    field = sx.ftle(
        lambda x: torch.cat([x[:, :15] @ matrix.T, x[:, 15:] @ matrix.T], 1),
        torch.zeros(1, 30, dtype=DOUBLE),
        k=4,
        method="lanczos",
    )
    exact = torch.linalg.svdvals(matrix)[[0, 0, 1, 1]].log()
    np.testing.assert_allclose(field.stretch[0, 0, 0], exact, rtol=0, atol=1e-12)


def test_bottlenecks_and_dead_units():
    torch.manual_seed(0)
    sizes = [(12, 8), (8, 2), (2, 12)]
    model = nn.Sequential(*[part for size in sizes for part in (nn.Linear(*size), nn.Tanh())]).double()
    x = torch.randn(3, 12, dtype=DOUBLE)
    field, dense = (sx.ftle(model, x, layers=["0", "output"], k=4, method=m) for m in ("lanczos", "forward"))
    np.testing.assert_array_equal(field.status, dense.status)
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-10)
    assert (field.status[0, 1, :, 2:] == Status.MISSING).all() and (field.converged == 1).all()

    def dead(x):
        return F.relu(-x.square() - 1)

    field = sx.ftle(dead, torch.randn(2, 8, dtype=DOUBLE), k=2, method="lanczos")
    assert (field.status == Status.SINGULAR).all() and (field.stretch == -math.inf).all()


def test_a_rank_that_only_rounding_exceeds():
    gen = torch.Generator().manual_seed(0)
    factors = [torch.randn(*s, generator=gen) for s in ((30, 2), (2, 30))]
    matrix = factors[0] @ factors[1]
    exact = torch.linalg.svdvals(factors[0].double() @ factors[1].double())[:2].log()
    for dtype, within in ((torch.float32, 1e-5), (DOUBLE, 1e-12)):
        model = nn.Linear(30, 30, bias=False)
        model.weight.data = matrix if dtype == torch.float32 else factors[0].double() @ factors[1].double()
        field = sx.ftle(model, torch.zeros(2, 30, dtype=dtype), k=4, method="lanczos")
        np.testing.assert_allclose(field.stretch[0, 0, 0, :2], exact, rtol=0, atol=within)
        assert (field.stretch[..., 2:] < field.stretch[..., :1] - 14).all() and (field.converged == 1).all()
    assert (field.status[..., 2:] == Status.BELOW_PRECISION).all()


def test_kinks_and_nan_have_their_status():
    weights = torch.eye(4, dtype=DOUBLE)
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 1.0, 1.0], [-1.0, 1.0, 1.0, 1.0]], dtype=DOUBLE)
    field = sx.ftle(lambda v: F.relu(v @ weights) * 3, x, method="lanczos", k=2)
    assert field.status[0, 0, :, 0].values.tolist() == [Status.OK, Status.NONSMOOTH, Status.OK]
    np.testing.assert_allclose(field.stretch[0, 0, [0, 2]], math.log(3), atol=1e-14)
    field = sx.ftle(lambda v: torch.sqrt(v), x[[0, 2, 1]], method="lanczos", k=2)
    assert field.status[0, 0, :, 0].values.tolist() == [Status.OK, Status.NONFINITE, Status.NONFINITE]
    assert np.isnan(field.stretch[0, 0, 1:]).all()
    assert field.converged[0, 0].values.tolist() == [[1, 1], [0, 0], [0, 0]]
    np.testing.assert_allclose(field.stretch[0, 0, 0], np.log([0.5, 0.5 / math.sqrt(2)]), atol=1e-12)


def test_nothing_has_converged_where_the_value_is_lost_and_its_derivative_is_not():
    x = torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]], dtype=DOUBLE)
    field = sx.ftle(lambda x: 2 * x + torch.where(x[:, :1] > 1, torch.nan, 0.0), x, method="lanczos", k=1)
    assert field.status.values.ravel().tolist() == [Status.OK, Status.NONFINITE]
    assert field.converged.values.ravel().tolist() == [1, 0] and np.isnan(field.stretch.values[0, 0, 1, 0])


def test_a_plane_has_its_gap_and_directions():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 10)).double()
    plane = sx.plane.through(*torch.randn(3, 9, dtype=DOUBLE), shape=(3, 4))
    field, dense = (sx.ftle(model, plane, method=m) for m in ("lanczos", "reverse"))
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-10)
    np.testing.assert_allclose(field.gap, dense.gap, rtol=0, atol=1e-9)
    overlap = abs((field.direction * dense.direction).sum("axis"))
    np.testing.assert_allclose(overlap, (dense.direction**2).sum("axis"), rtol=0, atol=1e-6)


def test_scale_members_and_tokens(tmp_path):
    torch.manual_seed(0)
    stack = sx.ensembles.Stack([nn.Sequential(nn.Linear(8, 9), nn.Tanh(), nn.Linear(9, 7)).double() for _ in range(2)])
    x, scale = torch.randn(3, 8, dtype=DOUBLE), torch.rand(8, dtype=DOUBLE) + 0.1
    field, dense = (sx.ftle(stack, x, scale=scale, k=3, method=m) for m in ("lanczos", "auto"))
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-10)
    assert field.residual.dims == field.converged.dims == field.stretch.dims
    field.to_netcdf(tmp_path / "field.nc")

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(24, 8)

        def forward(self, t):
            return self.head(torch.tanh(self.embedding(t)).flatten(1))

    model, tokens = Tokens().double(), torch.randint(0, 9, (4, 6))
    field, dense = (sx.ftle(model, tokens, start="embedding#1", k=4, method=m) for m in ("lanczos", "reverse"))
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-10)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 12)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).flatten(1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        return self.encode(x).flatten(1)


@pytest.mark.parametrize(("build", "shape"), [(Recurrent, (4, 3)), (Attention, (5, 4))], ids=["lstm", "attention"])
def test_kernels_without_second_or_forward_derivatives(build, shape):
    torch.manual_seed(0)
    model, x = build().eval(), torch.randn(2, *shape)
    enabled = torch.backends.mkldnn.enabled
    field = sx.ftle(model, x, k=2, method="lanczos")
    dense = sx.ftle(model.double(), x.double(), k=2, method="reverse")
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-4)
    assert torch.backends.mkldnn.enabled == enabled


class Once(torch.autograd.Function):
    """tanh that can be differentiated once, in reverse mode only."""

    @staticmethod
    def forward(ctx, z):
        y = torch.tanh(z)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


def test_a_model_without_products_is_refused_by_name_and_computed_otherwise():
    x = torch.randn(2, 700, dtype=DOUBLE)
    with pytest.raises(sx.ArgumentError, match=r"cannot be multiplied .*; use method='reverse'"):
        sx.ftle(Once.apply, x, method="lanczos")
    field = sx.ftle(Once.apply, x)
    assert field.method == "reverse"
    np.testing.assert_allclose(field.stretch[0, 0, :, 0], (1 - torch.tanh(x) ** 2).amax(1).log(), atol=1e-12)


def test_what_it_does_not_do_is_refused():
    x = torch.randn(3, 8)
    model = nn.Linear(8, 6)
    for k in ("all", 4):
        with pytest.raises(sx.ArgumentError, match="leading ones: give 1 to 3, or another method") as caught:
            sx.ftle(model, x, k=k, method="lanczos")
        assert caught.value.argument == "k"
    with pytest.raises(sx.ArgumentError, match="influence one another; use method='loop'"):
        sx.ftle(lambda v: v * v.square().mean(), x, method="lanczos")


def test_nothing_of_the_model_changes(as_user):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.n, self.b = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 5)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.b(torch.relu_(self.n(self.a(x)))) + 0 * torch.rand(())

    model, x = Model().eval(), torch.randn(5, 4)
    with untouched(model):
        sx.ftle(model, x, layers="all", k=2, method="lanczos", verify=2)


SCRIPT = r"""
import re, torch
from torch import nn
import separatrix as sx
def peak():  # since the last reset; getrusage also remembers the program that started this one
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
def reset():
    open("/proc/self/clear_refs", "w").write("5")
    return peak()
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten())
x = torch.randn(12, 1, 24, 24)
sx.ftle(model, x[:2], k=2, memory=20 * 10**6)
before = reset()
field = sx.ftle(model, x, k=2, memory=20 * 10**6)
print(field.method, peak() - before)
"""


def test_peak_memory():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=300)
    method, extra = done.stdout.split()
    assert method == "lanczos" and 3e6 < int(extra) < 20e6  # what is measured is seen


@pytest.mark.gpu
def test_on_the_gpu(residual_network):
    model, x, options, dense = residual_network
    field = sx.ftle(model.to("cuda"), x, method="lanczos", directions=True, **options)
    model.to("cpu")
    np.testing.assert_allclose(field.stretch, dense.stretch, rtol=0, atol=1e-9)
    assert "cuda" in field.provenance and (field.converged == 1).all()
