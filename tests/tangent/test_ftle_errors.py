"""A careless user is told which argument is wrong, what it was, and what to do."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.results.errors import SeparatrixWarning

MLP = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
X = torch.zeros(3, 2)


def reject(argument, words, model=MLP, inputs=X, **options):
    with pytest.raises(sx.ArgumentError, match=words) as caught:
        sx.ftle(model, inputs, **options)
    assert caught.value.argument == argument
    return str(caught.value)


def test_bad_points(as_user):
    bad = X.clone()
    bad[1, 0] = math.nan
    reject("inputs", r"NaN or infinity in 1 of 3 points \(first: point 1\); remove", inputs=bad)
    reject("inputs", r"points of shape \(5,\), which the model rejects", inputs=torch.zeros(3, 5))
    reject("inputs", "at least one point", inputs=torch.zeros(0, 2))
    reject("inputs", "at least one point", inputs=torch.zeros(2))
    reject("inputs", r"torch.int64, which cannot be perturbed; .*start=", inputs=torch.zeros(3, 2, dtype=torch.int64))
    reject("inputs", "got str; give a tensor", inputs="digits")


def test_bad_choices(as_user):
    reject("k", "got 3; these layers have 2 exponents", k=3)
    for k in (0, -1, 1.5, True, "most"):
        reject("k", "give 1 to 2", k=k)
    message = reject("layers", "'5'", layers=["5"])
    assert "0#1, 1#1, 2#1" in message
    reject("layers", "no cut lies before", model=nn.Linear(2, 2), layers="hidden")
    reject("method", "choose one of", method="fast")
    reject("method", "no plain chain", model=nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), method="chain-forward")
    reject("method", "double precision", method="chain-graded")
    reject("output", "the model returns a tensor", output="logits")
    reject("start", "name#call", start="embedding#1")
    reject("scale", "one for each of the 2 coordinates", scale=[1.0, 2.0, 3.0])
    reject("scale", "negative", scale=[1.0, -2.0])
    reject("scale", "std", inputs=sx.grid((0, 1), (0, 1), shape=3), scale="std")
    reject("duration", "positive number", duration=0)
    reject("verify", "whole number of at least 0", verify=-1)


@pytest.mark.parametrize("memory", ["lots", "12 parsecs", 0, -5, None, float("nan")])
def test_bad_budgets(memory, as_user):
    reject("memory", "512MB", memory=memory)


def test_a_budget_too_small_for_one_point_says_what_one_takes():
    message = reject(
        "memory",
        "one point needs about",
        memory="1KB",
        model=nn.Sequential(nn.Linear(2, 500), nn.Linear(500, 1)),
        layers="all",
    )
    assert 'memory="' in message
    conv = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 2))
    reject("memory", "one point needs about", memory=2000, model=conv, inputs=torch.zeros(1, 1, 8, 8))


def test_models_in_train_mode():
    reject(
        "model",
        "BatchNorm1d '1' uses batch statistics; call .eval",
        model=nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)),
    )
    reject("model", "Dropout '1' uses random numbers", model=nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)))
    sx.ftle(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)).eval(), X)

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 3)

        def forward(self, x):
            return F.dropout(self.a(x), 0.5, training=self.training)

    reject("model", "dropout in training mode", model=Functional())
    sx.ftle(Functional().eval(), X)


def test_models_that_lose_the_derivative(as_user):
    class Item(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 3)

        def forward(self, x):
            h = self.a(x)
            return h * h.abs().max().item()

    reject("model", r"\.item\(\) in forward", model=Item())

    class NoGrad(Item):
        def forward(self, x):
            with torch.no_grad():
                return self.a(x)

    reject("model", "does not depend on the perturbed input", model=NoGrad())
    reject("model", "lazy", model=nn.Sequential(nn.LazyLinear(3)))
    reject("model", "the class Linear", model=nn.Linear)
    reject("model", "got int", model=3)
    reject("model", "a scripted module", model=torch.jit.script(MLP))


def test_outputs_must_be_chosen():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 3)

        def forward(self, x):
            return {"logits": self.a(x), "classes": self.a(x).argmax(1)}

    message = reject("output", "a dict with keys", model=Pair())
    assert "logits" in message and "classes" in message
    reject("output", "choose one floating-point tensor", model=Pair(), output="classes")
    reject("output", "returns a dict", model=Pair(), output="probabilities")


def test_branches_on_values_are_followed_point_by_point_with_a_warning():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.a.weight.data = torch.eye(2)

        def forward(self, x):
            return 3 * self.a(x) if x.sum() > 0 else self.a(x)

    with pytest.warns(SeparatrixWarning, match="branches"):
        field = sx.ftle(Branch(), torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    assert field.method == "loop"
    torch.testing.assert_close(
        torch.from_numpy(field.stretch.values.ravel()), torch.tensor([math.log(3), 0.0], dtype=torch.float64)
    )


def test_models_that_mix_points_are_followed_point_by_point_with_a_warning():
    class Centre(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2)

        def forward(self, x):
            return self.a(x) * x.square().mean()

    torch.manual_seed(0)
    model, x = Centre().double(), torch.randn(3, 2, dtype=torch.float64)
    with pytest.warns(SeparatrixWarning, match="influence one another"):
        field = sx.ftle(model, x, k=2)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: model(v[None])[0], x[i])
        torch.testing.assert_close(
            torch.from_numpy(field.stretch[0, 0, i].values), torch.linalg.svdvals(jacobian).log()
        )
