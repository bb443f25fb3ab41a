"""Real architectures beside the zoo's comparisons: compiled and scripted models, routes, kinks, second derivatives."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix import Status
from separatrix.systems.modes import plain_kernels
from separatrix.tangent.ridge_exact import ExactField
from separatrix.testing import cases, dense_stretches
from separatrix.testing.untouched import untouched

CASES = {case.name: case for case in cases()}
X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double().eval()


def plain():
    return seeded(lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)))


class Compiler:
    """A backend of torch.compile that counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, graph, inputs):
        self.calls += 1
        return graph.forward


def compiled(how, backend):
    model = plain()
    if how == "whole":
        return torch.compile(model, backend=backend)
    if how == "part":
        model[1] = torch.compile(model[1], backend=backend)
    elif how == "in place":
        model.compile(backend=backend)
    elif how == "parallel":
        return nn.DataParallel(model)
    elif how == "function":
        return torch.compile(lambda x: model(x), backend=backend)
    return model


@pytest.mark.parametrize("how", ["whole", "part", "in place", "function", "parallel"])
def test_a_compiled_model_runs_as_it_was_written(how, as_user):  # type checks would draw from Python's generator
    backend = Compiler()
    model = compiled(how, backend)
    layers = "output" if how == "function" else "all"
    expected = sx.ftle(plain(), X, k=2, layers=layers, method="forward", verify=2)
    with untouched(*([model] if isinstance(model, nn.Module) else [])):
        found = sx.ftle(model, X, k=2, layers=layers, method="forward", verify=2)
    assert list(found.layer.values) == list(expected.layer.values)
    torch.testing.assert_close(
        torch.tensor(found.stretch.values), torch.tensor(expected.stretch.values), atol=0, rtol=0
    )
    if how != "function":
        assert [r.label for r in sx.layers(model, X)] == [r.label for r in sx.layers(plain(), X)]
        assert sx.Depth(model, input_shape=(2,)).labels == sx.Depth(plain()).labels
    assert backend.calls == 0


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, X)], ids=["scripted", "traced"])
def test_a_scripted_model_is_refused_by_name_and_works_as_a_function(make):
    model = plain()
    scripted = make(model)
    uses = (
        lambda: sx.ftle(scripted, X),
        lambda: sx.layers(nn.Sequential(scripted, nn.Tanh()), X),
        lambda: sx.Depth(scripted, input_shape=(2,)),
        lambda: sx.affine(scripted, X),
    )
    for use in uses:
        with pytest.raises(
            sx.ArgumentError, match=r"^model: got a scripted module; .* nn.Module it was made of; .*lambda x"
        ):
            use()
    found, expected = (sx.ftle(f, X, k=2).stretch.values for f in (lambda x: scripted(x), model))
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-12, atol=1e-12)
    V = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for _ in range(3):  # scripted code is optimised again after its first runs
        torch.testing.assert_close(sx.Loop(scripted).tangent(X, V, 0)[1], sx.Loop(model).tangent(X, V, 0)[1])


class Fragile(nn.Module):
    """Raises where fused kernels are off, so that forward mode fails in the middle of its second attempt."""

    def __init__(self, inner, fused):
        super().__init__()
        self.inner, self.fused = inner, fused

    def forward(self, x):
        value = self.inner(x)
        if not self.fused():
            raise ZeroDivisionError("inside")
        return value


class LastOfLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


class Attention(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.project, self.options = nn.Linear(2, 4), options

    def forward(self, x):
        y = self.project(x)[:, None]  # with a dimension of heads, without which nothing is fused
        return F.scaled_dot_product_attention(y, y, y, **self.options)[:, 0]


FUSED = {
    "lstm": (LastOfLSTM, lambda: torch.backends.mkldnn.enabled),
    "attention": (Attention, torch.backends.cuda.flash_sdp_enabled),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(2, 1, 4, batch_first=True),
        torch.backends.cuda.flash_sdp_enabled,
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_flags_are_restored_also_after_an_exception(name, as_user):
    inner, fused = FUSED[name]
    model = Fragile(inner(), fused).eval()
    x = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    with untouched(model):
        with pytest.raises(ZeroDivisionError, match="inside"):
            sx.ftle(model, x, method="forward")
        assert torch.backends.mha.get_fastpath_enabled()
    with untouched(model), pytest.raises(ZeroDivisionError), plain_kernels():
        model(x)


def test_flags_that_were_off_stay_off():
    model, x = LastOfLSTM(), torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    with torch.backends.mkldnn.flags(enabled=False):
        sx.ftle(model, x, method="forward")
        assert not torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        sx.ftle(model, x)
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_layers_inside_a_transformer_are_the_same_without_gradients():
    case = CASES["transformer-encoder-layer"]
    model, x = case.build(), case.points(3)
    for p in model.parameters():
        p.requires_grad_(False)
    with torch.no_grad():
        labels = [r.label for r in sx.layers(model, x)]
        found = sx.ftle(model, x, layers=["0.linear1#1", "output"], k=2, method="forward")
    assert "0.self_attn#1" in labels and "0.norm2#1" in labels
    twin = dense_stretches(case.build(), x, "0.linear1#1")[:, :2]
    torch.testing.assert_close(torch.tensor(found.stretch.values[0, 0]).double(), twin, atol=1e-4, rtol=1e-4)


class TimeFirst(nn.Module):
    """Recurrence over time in the first dimension, as torch's modules have it by default."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.rnn(x.transpose(0, 1))[0][-1])


@pytest.mark.parametrize("points", [1, 2, 4])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_as_many_time_steps_as_points_are_no_batch(steps, points):
    model = seeded(TimeFirst)
    x = torch.randn(points, steps, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    field = sx.ftle(model, x, layers="all", k=2)
    assert list(field.layer.values) == ["output"]
    torch.testing.assert_close(torch.tensor(field.stretch.values[0, 0]), dense_stretches(model, x)[:, :2])
    with pytest.raises(
        sx.ArgumentError, match=r"^layers: got 'rnn#1'; the first dimension of its value is not the batch"
    ):
        sx.ftle(model, x, layers="rnn#1")


def test_a_batch_first_value_as_large_as_the_batch_is_still_one():
    model = seeded(lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)))
    field = sx.ftle(model, X[:2], layers="all", k=2)
    assert list(field.layer.values) == ["1#1", "output"]


class Functional(nn.Module):
    """Products called on parameters: a tied one, transposed, one beside a module, and a constant, which is no layer."""

    def __init__(self):
        super().__init__()
        self.first, self.constant = nn.Linear(2, 4), torch.eye(2, dtype=torch.float64)
        self.low, self.high = nn.Parameter(torch.randn(1, 4)), nn.Parameter(torch.randn(4, 1))

    def forward(self, x):
        h = torch.tanh(self.first(F.linear(x, self.constant)))
        h = torch.sigmoid(h + F.linear(F.linear(h, self.low), self.high))
        return F.linear(h, self.first.weight.T)


class OwnLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2))

    def forward(self, x):
        return torch.tanh(F.linear(x, self.weight))


def test_functional_products_are_weight_layers():
    depths = {r.label: r.depth for r in sx.layers(seeded(Functional), X)}
    assert depths == {"first#1": 1, "tanh#1": 1, "sigmoid#1": 3}
    field = sx.ftle(seeded(Functional), X, layers="all", k=1)
    assert list(field.duration.values) == [1.0, 3.0, 4.0]
    own = sx.layers(seeded(lambda: nn.Sequential(OwnLinear(), nn.Linear(2, 1))), X)  # counted once
    assert [(r.label, r.depth) for r in own] == [("0.tanh#1", 1), ("0#1", 1), ("1#1", 2)]


def test_dropout_inside_attention_is_refused_whatever_the_mode():
    x = torch.randn(3, 4, 2, dtype=torch.float64)
    with pytest.raises(sx.ArgumentError, match=r"^model: got scaled_dot_product_attention in training mode"):
        sx.ftle(seeded(lambda: Attention(dropout_p=0.1)), x)
    assert sx.ftle(seeded(lambda: Attention(dropout_p=0.0)), x).stretch.notnull().all()


@pytest.fixture(scope="module")
def rounded():
    """An operation that torch differentiates to zero with a mere warning, as it does with quantised layers."""
    library = torch.library.Library("separatrix_architectures", "DEF")
    library.define("rounded(Tensor x) -> Tensor")
    library.impl("rounded", lambda x: (8 * x.detach()).round() / 8, "CPU")
    yield torch.ops.separatrix_architectures.rounded
    library._destroy()


def test_an_operation_without_derivative_is_named(rounded):
    class Model(nn.Module):
        def __init__(self, skip):
            super().__init__()
            self.a, self.skip = nn.Linear(2, 2), skip

        def forward(self, x):
            y = rounded(self.a(x))
            return x + y if self.skip else torch.tanh(y)

    for skip in (False, True):
        with pytest.raises(sx.ArgumentError, match=r"^model: got an operation without a derivative"):
            sx.ftle(seeded(lambda skip=skip: Model(skip)), X)


class ReLUNetwork(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.rnn = kind(2, 4, bias=False, nonlinearity="relu", **options)
        self.head = nn.Linear(8 if options.get("bidirectional") else 4, 2)

    def forward(self, x):
        if isinstance(self.rnn, nn.RNNCell):
            h = None
            for t in range(x.shape[1]):
                h = self.rnn(x[:, t], h)
        elif self.rnn.batch_first:
            h = self.rnn(x)[0].sum(1)
        else:
            h = self.rnn(x.transpose(0, 1))[0].sum(0)
        return self.head(h)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.RNNCell, {}),
        (nn.RNN, {"batch_first": True}),
        (nn.RNN, {"num_layers": 2}),
        (nn.RNN, {"batch_first": True, "bidirectional": True}),
    ],
)
def test_recurrent_relu_networks_tell_their_kinks(kind, options):
    model = seeded(lambda: ReLUNetwork(kind, **options))
    with torch.no_grad():
        for weight in model.rnn.parameters():
            weight.abs_()
    x = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[1, 0] = 0  # the first value of the network is then exactly on its kink, and moves with this input
    x[2, 2] = 0  # here the recurrence brings a value along, unless it runs backwards
    status = sx.ftle(model, x, layers="output").status.values[0, 0, :, 0]
    on = [1, 2] if options.get("bidirectional") else [1]
    assert [i for i, s in enumerate(status) if s == Status.NONSMOOTH] == on


def test_zeros_that_nothing_moves_are_no_kinks_behind_attention():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = Attention()

        def forward(self, x):
            y = self.attention(x)
            return torch.relu(torch.cat([y, torch.zeros_like(y)], 1)).sum(1)

    x = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert not (sx.ftle(seeded(Model), x).status.values == Status.NONSMOOTH).any()


SMOOTH = [
    "attention",
    "multihead-attention",
    "vision-transformer",
    "gru",
    "lstm",
    "group-norm",
    "instance-norm",
    "u-net",
]


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_the_stretch_against_differences(name):
    case = CASES[name]
    generator = torch.Generator().manual_seed(1)
    origin = torch.randn(case.input_shape, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(origin.numel(), 2, generator=generator, dtype=torch.float64))[0].T
    field = ExactField(case.build(), None, "output", None, origin, basis, False, 2**28)
    at = torch.randn(2, 2, generator=generator, dtype=torch.float64) / 2
    found, h = field.at(at), 1e-3
    steps = h * torch.eye(2, dtype=torch.float64)

    def difference(f):
        """Of fourth order, both axes."""
        ahead, behind = ([f(at + k * s * step) for step in steps for k in (1, 2)] for s in (1, -1))
        one, two = (torch.stack([ahead[i + k] - behind[i + k] for i in (0, 2)], -1) for k in (0, 1))
        return (8 * one - two) / (12 * h)

    torch.testing.assert_close(found.gradient, difference(field.stretch), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found.hessian, difference(lambda a: field.at(a).gradient), rtol=1e-7, atol=1e-8)


class Packed(nn.Module):
    """A GRU that reads three of five time steps."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        lengths = torch.full((len(x),), 3)
        return self.head(self.gru(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))[1][-1])


def test_packed_sequences_have_no_rule_in_forward_mode():
    model, x = seeded(Packed), torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    field = sx.ftle(model, x, k=2)
    torch.testing.assert_close(torch.tensor(field.stretch.values[0, 0]), dense_stretches(model, x)[:, :2])
    with pytest.raises(
        sx.ArgumentError, match=r"^layers: got 'gru#1'; the first dimension of its value is not the batch"
    ):
        sx.ftle(model, x, layers="gru")
    with pytest.raises(sx.ArgumentError, match=r"^method: got 'forward', which an operation has no rule for"):
        sx.ftle(model, x, method="forward")


def test_a_recurrent_model_along_its_time():
    """Stretch from the first time step's input to each later state; ``duration`` makes exponents of it per step."""
    case = CASES["grucells"]
    model, x = case.build().double(), case.points(3).double()
    labels = [f"cell#{t}" for t in (1, 2, 3, 4)]
    field = sx.ftle(model, x, layers=labels, k=2, duration=[1.0, 2.0, 3.0, 4.0])
    for place, label in enumerate(labels):
        twin = dense_stretches(model, x, label)[:, :2]
        torch.testing.assert_close(torch.tensor(field.exponent.values[0, place]), twin / (place + 1))
