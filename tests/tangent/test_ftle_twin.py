"""Every route agrees with the dense float64 twin, on every case of the zoo, at every module call."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix import Status
from separatrix.testing import cases, dense_jacobian, dense_stretches

CASES = {case.name: case for case in cases()}


def in_double(x):
    """Points in float64; tokens stay what they are."""
    return x.double() if x.is_floating_point() else x


@cache
def problem(name):
    case = CASES[name]
    return case.build().double(), in_double(case.points(3))


@cache
def twin(name, label):
    model, x = problem(name)
    return dense_stretches(model, x, label, **CASES[name].options).numpy()


def module_labels(model, x, options):
    names = dict(model.named_modules())
    return [r.label for r in sx.layers(model, x, **options) if r.label.rsplit("#", 1)[0] in names]


def compare(field, twin_of, tolerance):
    """Stretches within ``tolerance`` times sigma_1 of the twin, which is what any stable method can promise."""
    for place, label in enumerate(field.layer.values):
        exact = twin_of(label)
        got = field.stretch[0, place].values
        status = field.status[0, place].values
        have = min(got.shape[1], exact.shape[1])
        assert (status[:, :have] != Status.NONFINITE).all()
        np.testing.assert_allclose(
            np.exp(got[:, :have]), np.exp(exact[:, :have]), atol=tolerance * np.exp(exact[:, :1]).max()
        )
        sure = (status[:, :have] <= Status.NOT_A_CUT) & (exact[:, :have] > exact[:, :1] + np.log(1e-6))
        np.testing.assert_allclose(got[:, :have][sure], exact[:, :have][sure], atol=1e6 * tolerance)


@pytest.mark.parametrize("method", ["auto", "forward", "reverse", "loop"])
@pytest.mark.parametrize("name", CASES)
def test_float64(name, method):
    (model, x), options = problem(name), CASES[name].options
    labels = [*module_labels(model, x, options), "output"]
    if name == "convolution" and method == "loop":
        labels = labels[-4:]
    field = sx.ftle(model, x, layers=labels, k="all", method=method, **options)
    compare(field, lambda label: twin(name, label), 1e-13)


@pytest.mark.parametrize("name", CASES)
def test_in_the_models_own_precision(name):
    case = CASES[name]
    model, x = case.build(), case.points(3)
    field = sx.ftle(model, x, layers="all", **case.options)
    named = [
        label
        for label in field.layer.values
        if label == "output" or label.rsplit("#")[0] in dict(model.named_modules())
    ]
    compare(field.sel(layer=named), lambda label: dense_stretches(model, x, label, **case.options).numpy(), 2e-6)


@pytest.mark.parametrize("name", CASES)
def test_directions(name):
    case = CASES[name]
    model, x = case.build().double(), in_double(case.points(4))
    field = sx.ftle(model, x, k="all", directions=True, **case.options)
    jacobian = dense_jacobian(model, x, **case.options).numpy()
    right, left = field.right[0, 0].values, field.left[0, 0].values
    good = field.status[0, 0].values == Status.OK
    assert good[:, 0].all()
    stretched = np.einsum("pnd,pkd->pkn", jacobian, right)
    expected = left * np.exp(field.stretch[0, 0].values)[:, :, None]
    np.testing.assert_allclose(stretched[good], expected[good], atol=1e-11 * np.abs(jacobian).max())
    np.testing.assert_allclose(np.linalg.norm(right[good], axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(left[good], axis=-1), 1, atol=1e-9)


@pytest.mark.parametrize(("function", "module"), [("tanh", nn.Tanh), ("relu", nn.ReLU)])
def test_functional_activations_end_a_layer_as_modules_do(function, module):
    model = CASES[f"mlp-functional-{function}"].build().double()
    x = CASES["mlp-tanh"].points(6).double()
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    parts = [part for linear in linears[:-1] for part in (linear, module())]
    same = nn.Sequential(*parts, linears[-1])
    a, b = (sx.ftle(m, x, layers="all", k="all") for m in (model, same))
    assert a.method == b.method == "chain-forward"
    assert a.sizes["layer"] == len(linears) and a.layer.values[0] == f"{function}#1"
    np.testing.assert_array_equal(a.stretch.values, b.stretch.values)


@pytest.mark.parametrize("method", ["forward", "reverse", "loop"])
def test_functional_activations_are_tapped_by_every_route(method):
    case = CASES["mlp-functional-tanh"]
    model, x = case.build().double(), case.points(3).double()
    fast, slow = (sx.ftle(model, x, layers="all", k="all", method=m) for m in ("auto", method))
    np.testing.assert_allclose(fast.stretch, slow.stretch, atol=1e-11)


def test_the_route_fits_the_model():
    def route(name, **options):
        case = CASES[name]
        return sx.ftle(case.build(), case.points(2), **case.options, **options).method

    assert route("mlp-tanh") == "chain-reverse"
    assert route("mlp-tanh", layers="all") == "chain-forward"
    assert route("in-place-relu", layers="all") == "chain-forward"
    assert route("residual-blocks", layers="all") == "forward"
    assert route("convolution") == "reverse"
    assert route("dict-output", layers="all").removeprefix("chain-") == "forward"


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_on_the_gpu(name):
    case = CASES[name]
    model, x = case.build(), case.points(5)
    here = sx.ftle(model, x, layers="all", k="all", **case.options)
    there = sx.ftle(model.cuda(), x, layers="all", k="all", **case.options)
    assert "cuda" in there.provenance
    good = (here.status.values <= Status.NOT_A_CUT) & (
        here.stretch.values > here.stretch.values[..., :1] + np.log(1e-3)
    )
    np.testing.assert_allclose(there.stretch.values[good], here.stretch.values[good], atol=2e-3)


def test_recurrent_layers_by_rows():
    torch.manual_seed(0)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(2, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    model, x = Recurrent().double(), torch.randn(4, 6, 2, dtype=torch.float64)
    field = sx.ftle(model, x, layers=["rnn", "output"], k=3)
    compare(field, lambda label: dense_stretches(model, x, label).numpy(), 1e-12)


@torch.library.custom_op("separatrix_test::sine", mutates_args=())
def sine(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x)


sine.register_autograd(
    lambda ctx, g: g * torch.cos(ctx.x), setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0])
)


def test_operations_from_outside_torch_lose_no_tangent():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 3)

        def forward(self, x):
            h = self.a(x)
            return h + sine(h)

    torch.manual_seed(0)
    model, x = Model().double(), torch.randn(3, 2, dtype=torch.float64)
    field = sx.ftle(model, x, k=2, verify=3)
    assert field.method == "reverse" and field.verify_worst < 1e-8
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda v: model(v[None])[0], p) for p in x])
    np.testing.assert_allclose(field.stretch[0, 0], torch.linalg.svdvals(jacobian).log(), atol=1e-12)
    with pytest.raises(sx.ArgumentError, match="outside PyTorch"):
        sx.ftle(model, x, method="forward")


def test_fused_recurrent_kernels_have_a_way_forward():
    torch.manual_seed(0)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 20)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    model, x = Recurrent(), torch.randn(4, 3, 2)
    enabled = torch.backends.mkldnn.enabled
    forward, reverse = (sx.ftle(model, x, k=4, method=m) for m in ("forward", "reverse"))
    np.testing.assert_allclose(forward.stretch, reverse.stretch, atol=1e-4)
    assert torch.backends.mkldnn.enabled == enabled


def test_tokens_start_at_their_embedding():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.hidden, self.head = nn.Embedding(9, 4), nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, t):
            return {"logits": self.head(torch.tanh(self.hidden(self.embedding(t).mean(1))))}

    torch.manual_seed(0)
    model, tokens = Tokens(), torch.randint(0, 9, (4, 6))
    options = {"start": "embedding#1", "output": "logits"}
    field = sx.ftle(model, tokens, layers=["hidden", "output"], k=3, verify=2, **options)
    compare(field, lambda label: dense_stretches(model, tokens, label, **options).numpy(), 2e-6)
    assert field.verify_worst < 1e-5
