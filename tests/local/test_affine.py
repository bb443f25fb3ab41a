"""f(x) = A x + b to rounding, by every route, for every activation and wiring."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.ensembles.stack import Stack
from separatrix.local.affine import affine
from separatrix.systems.lure import lure

ACTIVATIONS = [
    nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(), nn.PReLU(7), nn.ReLU6(), nn.Hardtanh(), nn.Hardtanh(-0.3, 0.8),
    nn.Hardsigmoid(), nn.Tanh(), nn.Softsign(), nn.ELU(), nn.ELU(1.7), nn.CELU(0.6), nn.SELU(), nn.GELU(),
    nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Tanhshrink(), nn.Softshrink(0.3), nn.Sigmoid(),
    nn.Softplus(), nn.Softplus(2.0), nn.LogSigmoid(),
]  # fmt: skip


def name(activation: nn.Module) -> str:
    return str(activation).replace("(", "-").replace(")", "")


def network(activation: nn.Module, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(4, 7, bias=bias), activation, nn.Linear(7, 7, bias=bias), activation, nn.Linear(7, 4, bias=bias)
    ).double()


class InDouble(nn.Module):
    """Activations whose derivative has the precision of float32 in torch, whatever the precision of the argument."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.alpha = getattr(activation, "alpha", None)

    def forward(self, z):
        if self.alpha is None:
            return (z / 6 + 0.5).clamp(0, 1)
        return torch.where(z > 0, z, self.alpha * torch.expm1(z / self.alpha))


def agrees(model, x, maps, tolerance=1e-12):
    A, b = maps
    expected = model(x.clone()).flatten(1).detach()
    worst = (torch.einsum("bij,bj->bi", A, x.flatten(1)) + b - expected).abs().max()
    assert worst <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name)
@pytest.mark.parametrize("bias", [True, False])
def test_every_activation_in_every_form(activation, bias):
    model = network(copy.deepcopy(activation), bias)
    torch.manual_seed(1)
    x = torch.cat([torch.zeros(1, 4), 3 * torch.randn(9, 4), 1e-9 * torch.randn(1, 4)]).double()
    agrees(model, x, affine(model, x))
    agrees(model, x, affine(model, x, of="jacobian"))
    agrees(model, x, affine(model, x, centre=x[2]))
    exact = nn.Sequential(*[InDouble(m) if isinstance(m, nn.Hardsigmoid | nn.CELU) else m for m in model])
    dense = torch.stack([torch.func.jacrev(lambda p: exact(p[None])[0])(p) for p in x[1:]])
    torch.testing.assert_close(affine(model, x[1:], of="jacobian").A, dense, rtol=1e-11, atol=1e-13)
    # at the centre the chord is the slope
    torch.testing.assert_close(affine(model, x[2:3], centre=x[2]).A, dense[1:2], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU(), nn.Sigmoid()], ids=name)
def test_layer_by_layer(activation):
    model = network(activation)
    x = torch.randn(5, 4, dtype=torch.float64)
    local, cumulative = affine(model, x, layers="local"), affine(model, x, layers="cumulative")
    state, A, b = x, torch.eye(4, dtype=torch.float64).expand(5, -1, -1), torch.zeros_like(x)
    values = [model[:2](x), model[:4](x), model(x)]
    for label, value in zip(local, values, strict=True):
        state = torch.einsum("bij,bj->bi", local[label].A, state) + local[label].b
        A, b = local[label].A @ A, torch.einsum("bij,bj->bi", local[label].A, b) + local[label].b
        torch.testing.assert_close(state, value, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(cumulative[label].A, A, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(cumulative[label].b, b, rtol=1e-12, atol=1e-13)


def test_the_origin_of_a_network_without_bias_is_the_product_of_its_slopes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False), nn.Tanh()).double()
    A, b = affine(model, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(A, model[2].weight @ model[0].weight)
    assert not b.any()
    five = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(five.weight, 5.0)
    assert affine(nn.Sequential(five, nn.Tanh()), torch.zeros(1, 1).double()).A.item() == 5.0


def test_pre_activations_that_are_zero_or_sum_to_zero():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Sigmoid(), nn.Linear(2, 2)).double()
    nn.init.eye_(model[0].weight)
    x = torch.tensor([[1.0, -1.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    agrees(model, x, affine(model, x))
    A = affine(model[:2], x).A
    assert A[1, 0, 0] == 0.25
    assert abs(A[0, 0, 0] - (torch.sigmoid(torch.tensor(1.0).double()) - 0.5)) < 1e-15


class Wired(nn.Module):
    """A residual block of convolutions with batch norm, pooling, concatenation, in-place and functional activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.prelu = nn.PReLU(4)
        self.back = nn.Conv2d(4, 2, 3, padding=1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(2 * 9 + 3, 5)
        self.register_buffer("extra", torch.tensor([[0.3, -1.0, 2.0]]))

    def forward(self, x):
        h = self.prelu(self.norm(self.conv(x)))
        x = self.act(x + 0.5 * self.back(h)) - 0.1
        p = F.avg_pool2d(x, 2).flatten(1)
        both = torch.cat([p, self.extra.expand(len(p), -1).to(p)], 1)
        return torch.tanh(self.head(both)) / 2 - both[:, :5]


def test_convolutions_residuals_batch_norm_and_concatenation():
    torch.manual_seed(2)
    model = Wired()
    model(torch.randn(20, 2, 6, 6))
    model = model.double().eval()
    x = torch.randn(6, 2, 6, 6, dtype=torch.float64)
    maps = affine(model, x)
    assert maps.A.shape == (6, 5, 72)
    agrees(model, x, maps)
    dense = torch.stack([torch.func.jacrev(lambda p: model(p[None])[0])(p) for p in x]).flatten(2)
    torch.testing.assert_close(affine(model, x, of="jacobian").A, dense)
    with pytest.raises(sx.ArgumentError, match="branches"):
        affine(model, x, layers="local")
    assert list(affine(model, x, layers="cumulative")) == ["prelu#1", "relu#1", "tanh#1", "output"]


def test_single_precision_models_are_read_in_double():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 20), nn.GELU(), nn.Linear(20, 3))
    x = torch.randn(4, 3)
    maps = affine(model, x)
    assert maps.A.dtype == torch.float64
    agrees(copy.deepcopy(model).double(), x.double(), maps)
    assert model[0].weight.dtype == torch.float32 and model[0].weight.grad is None


def test_single_precision_maps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 20), nn.GELU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))
    x = torch.randn(300, 3)
    exact, quick = affine(model, x), affine(model, x, dtype=torch.float32)
    assert quick.A.dtype == quick.b.dtype == torch.float32
    torch.testing.assert_close(quick.A.double(), exact.A, rtol=1e-4, atol=1e-6)
    agrees(model, x, quick, 1e-5)
    with pytest.raises(sx.ArgumentError, match="float32"):
        affine(model, x, dtype=torch.float16)


def test_weights_are_read_without_rounding():
    torch.manual_seed(0)
    layer = nn.Linear(5, 5).double()
    nn.init.constant_(layer.bias, 1e8)
    network_ = lure(layer, (5,))
    assert torch.equal(network_.blocks[-1].weights[0], layer.weight)
    assert torch.equal(network_.blocks[-1].bias, layer.bias)


def test_tied_layers_and_plain_functions():
    torch.manual_seed(0)
    w = torch.randn(3, 3, dtype=torch.float64)

    def twice(x):
        for _ in range(2):
            x = x + 0.1 * torch.sin(x @ w.T + 1) * 2
        return x

    x = torch.randn(4, 3, dtype=torch.float64)
    agrees(twice, x, affine(twice, x))
    assert [b.label for b in lure(twice, 3).blocks] == ["sin#1", "sin#2", "output"]


def test_raw_convention_agrees_where_it_exists_and_says_where_it_does_not():
    model = network(nn.Softplus())
    x = torch.randn(6, 4, dtype=torch.float64)
    raw = affine(model, x, convention="raw")
    agrees(model, x, raw, 1e-10)
    assert (raw.A - affine(model, x).A).abs().max() > 0.1
    with pytest.raises(sx.ArgumentError, match="use 'shifted'"):
        affine(network(nn.Softplus(), bias=False), torch.zeros(2, 4).double(), convention="raw")
    tanh = network(nn.Tanh())
    torch.testing.assert_close(affine(tanh, x, convention="raw").A, affine(tanh, x).A)


def test_forward_and_backward_accumulation_agree(monkeypatch):
    from separatrix.local import affine as module

    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 6)).double()
    x = torch.randn(700, 3, dtype=torch.float64)
    whole = affine(wide, x)
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 100)
    agrees(wide, x, affine(wide, x))
    torch.testing.assert_close(whole.A, affine(wide, x).A)
    stepwise = affine(wide, x, layers="cumulative")["output"]
    torch.testing.assert_close(stepwise.b, whole.b)


class Softmax(nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1)


class Looks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Mixes(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Product(nn.Module):
    def forward(self, x):
        return x * torch.tanh(x)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Softmax(), "softmax"),
        (Looks(), "operation gt"),
        (Mixes(), "mixes the rows"),
        (Product(), "mul of two values"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "layer_norm"),
        (nn.Sequential(nn.Linear(4, 4), nn.Hardshrink()), "hardshrink"),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU()), "shape"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3)).train(), "eval"),
        (lambda x: torch.ones(1, 4), "does not depend"),
    ],
)
def test_what_cannot_be_seen_through_is_refused_by_name(model, words):
    if isinstance(model, nn.Module):
        model = model.double()
    with pytest.raises(sx.ArgumentError, match=words):
        affine(model, torch.randn(2, 4, dtype=torch.float64))


def test_bad_arguments():
    model, x = network(nn.Tanh()), torch.randn(2, 4, dtype=torch.float64)
    for wrong, words in [
        ({"x": x * float("nan")}, "NaN"),
        ({"x": torch.ones(2, 4, dtype=torch.int64)}, "int64"),
        ({"x": torch.zeros(0, 4)}, "shape"),
        ({"x": x, "of": "slope"}, "of"),
        ({"x": x, "convention": "new"}, "convention"),
        ({"x": x, "centre": torch.zeros(3)}, "4 components"),
        ({"x": x, "layers": "all"}, "layers"),
        ({"x": x, "of": "jacobian", "centre": x[0]}, "centre"),
        ({"x": x, "memory": "10B"}, "memory"),
    ]:
        with pytest.raises(sx.ArgumentError, match=words):
            affine(model, **wrong)


def test_a_wide_value_is_refused_by_its_bytes():
    with pytest.raises(sx.ArgumentError, match="MB"):
        lure(nn.Sequential(nn.Linear(2, 4000), nn.ReLU(), nn.Linear(4000, 2)), 2, memory="1MB")


def test_a_network_in_lure_form_is_itself_seen_through():
    model = network(nn.SiLU())
    once = lure(model, 4)
    again = lure(once, 4)
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(again(x), model(x))


def test_members_of_a_stack(tmp_path):
    from separatrix.local.spectrum import spectrum

    torch.manual_seed(0)
    stack = Stack([nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)) for _ in range(3)])
    both = spectrum(stack, torch.randn(4, 2))
    assert both.radius.shape == (3, 4)
    one = spectrum(stack.members[1], sx.grid((-1, 1), (-1, 1), shape=4))
    assert one.radius.dims == ("member", "x", "y")


def test_a_closed_loop_is_one_network():
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 1))
    plant = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    loop = sx.Loop(sx.Scaled(sx.Euler(plant, 0.1), torch.ones(2), 2 * torch.ones(2)), policy)
    x = torch.randn(5, 2)
    A, b = sx.affine(loop, x)
    torch.testing.assert_close((A @ x[..., None].double())[..., 0] + b, loop.step(x).double(), rtol=1e-5, atol=1e-6)
    assert [block.label for block in lure(loop, 2).blocks] == ["relu#1", "tanh#1", "output"]
    driven = sx.Loop(plant, torch.randn(7, 1))
    first, later = lure(driven, 2), lure(driven, 2, t=6)
    assert torch.equal(first.blocks[0].weights[0], later.blocks[0].weights[0])
    assert not torch.equal(first.blocks[0].bias, later.blocks[0].bias)


@pytest.mark.parametrize("model", [Softmax(), Product(), nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), torch.erf])
def test_what_cannot_be_seen_through_still_has_jacobians(model):
    x = torch.randn(7, 4)
    A, b = affine(model, x, of="jacobian")
    double = copy.deepcopy(model).double() if isinstance(model, nn.Module) else model
    expected = torch.stack([torch.func.jacrev(lambda p: double(p[None])[0])(p) for p in x.double()])
    torch.testing.assert_close(A, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((A @ x[..., None].double())[..., 0] + b, double(x.double()), rtol=1e-5, atol=1e-6)
    spread = sx.spectrum(model, x, of="jacobian", memory="2KB")
    torch.testing.assert_close(torch.from_numpy(spread.norm_fro.values[0]), A.square().sum((1, 2)).sqrt())
    with pytest.raises(sx.ArgumentError):
        affine(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), torch.zeros(2, 5), of="jacobian")
    loop = sx.Map(lambda s: torch.softmax(s, -1))
    assert affine(loop, x[0], of="jacobian").A.shape == (4, 4)


def _clamps_a_view(x):
    h = 2 * x
    h[:, :1].clamp_(-50, 50)
    return h


def _adds_to_a_view(x):
    h = 2 * x
    y = h.view(-1, 2)
    y += torch.relu(y - 50)
    return h


def _writes_into_a_constant(x):
    total = torch.zeros(1, 2, dtype=x.dtype)
    total.add_(torch.relu(x - 50).sum(0))
    return x + total


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_clamps_a_view, "through a view"),
        (_adds_to_a_view, "through a view"),
        (_writes_into_a_constant, "writes into a constant"),
        (lambda x: x + torch.relu(x.mean(0) - 50), "mixes the rows"),
        (lambda x: torch.div(x, 1e-10, rounding_mode="floor") * 1e-10, "operation div"),
        (lambda x: (1e10 * x).to(torch.int64) * 1e-10, "whole numbers"),
        (lambda x: 1e-11 * (x + torch.relu(x - 1).mean(0)), "mixes the rows"),
        (nn.Linear(2, 2).requires_grad_(False).double().apply(lambda m: m.weight.fill_(torch.nan)), "NaN"),
    ],
)
def test_kinks_and_changes_that_points_near_the_origin_do_not_show_are_refused(model, words):
    with pytest.raises(sx.ArgumentError, match=words):
        lure(model, 2)


def test_in_place_operations_without_other_views_and_transposed_values_are_read():
    model = nn.Sequential(nn.Linear(2, 4), nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    x = 100 * torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(lure(model, 2)(x), model(x).detach())
    torch.testing.assert_close(lure(lambda x: torch.relu(x.t() - 1).t(), 2)(x), torch.relu(x - 1))


def test_compiled_parts_and_arrays():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2))
    x = torch.randn(4, 2)
    plain = affine(sx.Euler(net, 0.1), x)
    within = affine(sx.Euler(torch.compile(net), 0.1), x.numpy())
    assert torch.equal(plain.A, within.A) and torch.equal(plain.b, within.b)
    assert torch.equal(affine(torch.compile(net), x).A, affine(net, x).A)
