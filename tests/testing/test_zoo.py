"""Every case of the zoo is what it says, the same every time, and differentiable by its naive twin."""

import pytest
import torch
from torch import nn

from separatrix.testing import Case, cases, dense_jacobian, dense_stretches
from separatrix.testing.untouched import untouched
from separatrix.testing.zoo import register

CASES = {case.name: case for case in cases()}


def select(case, out):
    choice = case.options.get("output")
    return out if choice is None else choice(out) if callable(choice) else out[choice]


def as_function(case, model, points):
    """The model in float64 as a function of what is perturbed, the value of a call or the input, and its values."""
    model = model.double()
    if "start" not in case.options:
        return lambda x: select(case, model(x)).flatten(1), points.double()
    entered = dict(model.named_modules())[case.options["start"].removesuffix("#1")]

    def run(value):
        handle = entered.register_forward_hook(lambda *_: value)
        try:
            return select(case, model(points)).flatten(1)
        finally:
            handle.remove()

    return run, entered(points).detach()


def test_the_kinds_that_must_be_there():
    wanted = [f"mlp-{a}" for a in ("tanh", "sigmoid", "relu", "gelu", "silu", "softplus")]
    wanted += ["mlp-functional-tanh", "mlp-functional-relu", "mlp-zero-bias", "mlp-wide-input", "mlp-wide-output"]
    wanted += [
        "mlp-float16",
        "mlp-bfloat16",
        "residual-blocks",
        "residual-in-root",
        "convolution",
        "layer-norm",
        "tied",
    ]
    wanted += ["in-place-relu", "in-place-add", "dict-output", "tuple-output"]
    wanted += ["attention", "multihead-attention", "transformer-encoder-layer", "vision-transformer"]
    wanted += ["rnn", "gru", "lstm"]
    wanted += ["rnncells", "grucells", "lstmcells", "token-transformer", "token-gru", "group-norm", "instance-norm"]
    wanted += ["u-net", "autoencoder-tied"]
    assert set(wanted) <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_case_is_seeded_in_eval_mode_and_leaves_the_generator_alone(name):
    case = CASES[name]
    with untouched():
        model, points = case.build(), case.points(4)
        same, other = case.build(), case.build(seed=1)
        same_points, other_points = case.points(4), case.points(4, seed=1)
    assert not any(module.training for module in model.modules())
    assert points.shape == (4, *case.input_shape)
    assert points.dtype == (torch.int64 if "start" in case.options else next(model.parameters()).dtype)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert torch.equal(points, same_points) and not torch.equal(points, other_points)


@pytest.mark.parametrize("name", CASES)
def test_case_runs_and_its_jacobian_is_the_derivative(name):
    case = CASES[name]
    model, points = case.build(), case.points(3)
    output = select(case, model(points))
    assert output.shape[0] == 3 and output.isfinite().all()
    options = {key: value for key, value in case.options.items() if key in ("output", "start")}
    jacobian = dense_jacobian(model, points, **options)
    # along a direction, against a central difference of the whole batch in float64
    function, x = as_function(case, model, points)
    assert jacobian.shape == (3, output[0].numel(), x[0].numel())
    direction = torch.randn(x[0].shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    h = 1e-6
    with torch.no_grad():
        ahead, behind = (function(x + s * h * direction) for s in (1, -1))
    difference = (ahead - behind) / (2 * h)
    torch.testing.assert_close(jacobian @ direction.flatten(), difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_stretches_are_neither_dead_nor_trivial(name):
    case = CASES[name]
    points = case.points(6)
    stretches = dense_stretches(case.build(), points, **case.options)[:, 0]
    assert stretches.isfinite().all()
    assert stretches.std() > 1e-3  # a map that is linear over the points tests nothing


def test_running_statistics_matter():
    model = CASES["convolution"].build()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 2
    for norm in norms:
        assert norm.running_mean.abs().min() > 0 and (norm.running_var - 1).abs().min() > 1e-3


def test_zero_biases_are_zero():
    biases = [m.bias for m in CASES["mlp-zero-bias"].build().modules() if isinstance(m, nn.Linear)]
    assert len(biases) == 4 and not any(b.any() for b in biases)


def test_in_place_cases_overwrite_what_a_layer_returned():
    for name, layer in (("in-place-relu", "0"), ("in-place-add", "branch")):
        case, seen = CASES[name], []
        model = case.build()
        dict(model.named_modules())[layer].register_forward_hook(
            lambda m, i, value, seen=seen: seen.append((value, value.clone()))
        )
        with torch.no_grad():
            model(case.points(3))
        assert not torch.equal(*seen[0]), name


def test_tied_layer_is_called_three_times():
    case, calls = CASES["tied"], []
    model = case.build()
    model.shared.register_forward_hook(lambda *_: calls.append(1))
    model(case.points(1))
    assert len(calls) == 3
    first, third = (dense_jacobian(model, case.points(2), f"shared#{call}") for call in (1, 3))
    assert not torch.allclose(first, third)


def test_registering_is_one_call(monkeypatch):
    monkeypatch.setattr("separatrix.testing.zoo._CASES", dict(CASES))
    case = register("line", lambda: nn.Linear(2, 1), (2,), output=lambda out: 2 * out)
    assert isinstance(case, Case) and case in cases()
    assert case.build()(case.points(3)).shape == (3, 1)
    assert set(case.options) == {"output"}
    with pytest.raises(ValueError, match="has a case 'line' already"):
        register("line", lambda: nn.Linear(2, 1), (2,))


def test_own_points(monkeypatch):
    monkeypatch.setattr("separatrix.testing.zoo._CASES", {})

    def tokens(count, seed=0):
        return torch.randint(0, 5, (count, 3), generator=torch.Generator().manual_seed(seed))

    case = register("tokens", lambda: nn.Embedding(5, 2), (3,), points=tokens, start="0")
    assert case.points(2).dtype == torch.int64 and case.options == {"start": "0"}
