"""Values of layers against plain forward passes, chunk by chunk and member by member."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.ensembles import Stack
from separatrix.geometry.activations import activations
from separatrix.results.errors import ArgumentError
from separatrix.testing.untouched import untouched
from separatrix.testing.zoo import cases


def mlp(seed=0, width=5):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 4), nn.ReLU(inplace=True), nn.Linear(4, 1), nn.Sigmoid()
        )


@pytest.fixture
def X():
    return torch.randn(23, 3, generator=torch.Generator().manual_seed(1))


def test_values_are_those_of_the_forward_pass(X, as_user):
    model = mlp()
    with torch.no_grad():
        first = F.relu(model[0](X))
        before = model[2](first)
        second = F.relu(before)
    with untouched(model):
        found = activations(model, X, "all")
    assert list(found) == ["input", "1#1", "3#1", "output"]
    for value, twin in zip(found.values(), (X, first, second, model(X).detach()), strict=True):
        assert torch.equal(value, twin)
    assert list(activations(model, X)) == ["1#1", "3#1"]
    # what an operation in place has overwritten since
    assert torch.equal(activations(model, X, ["2"])["2#1"], before)


def test_only_what_is_asked_for_in_the_order_of_execution(X):
    model = mlp()
    assert list(activations(model, X, ["output", "3#1", "input", "0"])) == ["input", "0#1", "3#1", "output"]
    assert list(activations(model, X, "input")) == ["input"] and list(activations(model, X, ["input"])) == ["input"]
    half = activations(model.half(), X, "output")["output"]
    assert half.dtype == torch.float32
    double = activations(mlp().double(), X, output=lambda y: y.logit(), layers="output")["output"]
    assert torch.allclose(double, mlp().double()[:5](X.double()).detach(), atol=1e-10)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_layer_of_the_zoo_in_chunks_and_at_once(case):
    model, X = case.build(), case.points(5)
    options = dict(case.options)
    listing = {layer.label: layer for layer in sx.layers(model, X[:2], **options)}
    whole = activations(model, X, "all", **options)
    first, *between, last = whole
    assert (first, last) == ("input", "output") and set(between) <= set(listing)
    for label, value in whole.items():
        assert len(value) == 5 and value.ndim == 2 and torch.isfinite(value).all()
        if label in listing:
            assert value.shape[1] == torch.Size(listing[label].shape).numel()
    for i in (4,):
        alone = activations(model, X[i : i + 1], "all", **options)
        for label, value in whole.items():
            assert torch.allclose(alone[label][0], value[i], rtol=1e-4, atol=1e-5)


def test_chunks_of_a_small_budget_change_nothing(X):
    model, steps = mlp(), []
    small = activations(model, X, "all", memory=400, progress=lambda done, total: steps.append((done, total)))
    assert len(steps) > 5 and steps[-1] == (23, 23)
    for label, value in activations(model, X, "all").items():
        assert torch.allclose(small[label], value, atol=1e-6)
    with pytest.raises(ArgumentError, match="memory"):
        activations(model, X, memory=10)


def test_a_stack_gives_its_members_values(X, as_user):
    members = [mlp(seed) for seed in range(4)]
    stack = Stack(members)
    with untouched(stack):
        found = activations(stack, X, "all")
    for i, member in enumerate(members):
        for label, value in activations(member, X, "all").items():
            assert torch.equal(found[label][i], value)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.mix = nn.Linear(4, 6)

    def forward(self, x):
        return torch.tanh(self.mix(self.embedding(x))).mean(1)


def test_tokens_and_their_reductions():
    model, X = Tokens(), torch.randint(0, 7, (9, 5))
    value = torch.tanh(model.mix(model.embedding(X))).detach()
    for reduce, twin in (("flatten", value.flatten(1)), ("mean", value.mean(1)), ("cls", value[:, 0])):
        found = activations(model, X, ["tanh", "input"], start="embedding#1", reduce=reduce)
        assert torch.allclose(found["tanh#1"], twin, atol=1e-6)
    assert found["input"].shape == (9, 4)
    with pytest.raises(ArgumentError, match="start="):
        activations(model, X)


def test_images_are_averaged_over_places():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    X = torch.randn(4, 2, 6, 6)
    value = model[:2](X).detach()
    assert torch.allclose(activations(model, X, reduce="mean")["1#1"], value.mean((2, 3)), atol=1e-6)
    assert torch.equal(activations(model, X)["1#1"], value.flatten(1))
    with pytest.raises(ArgumentError, match="first token"):
        activations(model, X, reduce="cls")


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, x):
        return torch.tanh(self.inner(x - x.mean(0)))


def test_points_that_influence_one_another_are_run_together(X):
    model = Centred()
    assert torch.allclose(activations(model, X, "output")["output"], model(X).detach(), atol=1e-6)
    with pytest.raises(ArgumentError, match="together"):
        activations(model, X, "output", memory=500)


def test_bad_arguments(X, as_user):
    cases = [
        ((mlp(), X, "hidden"), {"reduce": "max"}, "reduce"),
        ((mlp(), X[:0]), {}, "X"),
        ((mlp(), X[:, :2]), {}, "X"),
        ((mlp(), X, ["nowhere"]), {}, "layers"),
        ((mlp(), X, []), {}, "layers"),
        ((nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 1)).train(), X), {}, "model"),
        ((nn.Linear(3, 1), X), {}, "layers"),
    ]
    for arguments, options, name in cases:
        model = arguments[0]
        with untouched(model), pytest.raises(ArgumentError) as caught:
            activations(*arguments, **options)
        assert caught.value.argument == name
