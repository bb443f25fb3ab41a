"""Classes, margins and shapes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from separatrix.data import digits, disc, load
from separatrix.report.answers import class_margins, classes, evaluating, outputs, quality, shaped
from separatrix.report.context import Options
from separatrix.results.errors import ArgumentError


def test_margins_are_score_minus_best_other():
    p = digits()
    scores = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    margins = class_margins(scores, p)
    for row, margin in zip(scores.double(), margins, strict=True):
        naive = [row[c] - max(row[d] for d in range(10) if d != c) for c in range(10)]
        assert torch.allclose(margin, torch.stack(naive), atol=1e-12)
    assert torch.equal(classes(scores, p), scores.argmax(1))


def test_one_output_tells_two_classes_apart():
    p = disc(10)
    assert classes(torch.tensor([[-0.5], [2.0]]), p).tolist() == [0, 1]
    assert classes(torch.tensor([[0.4], [0.6]]), p).tolist() == [0, 1]
    assert classes(torch.zeros(3, 5), p) is None


def test_modes_are_restored_also_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2).eval(), nn.BatchNorm1d(2))
    with pytest.raises(RuntimeError), evaluating(model) as switched:
        assert not any(m.training for m in model.modules())
        assert switched == ["Sequential", "0", "2"]
        raise RuntimeError
    assert [m.training for m in model.modules()] == [True, True, False, True]


def test_images_get_the_shape_that_the_model_takes():
    p = digits()
    flat = nn.Linear(64, 10)
    picture = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10))
    rows = nn.Sequential(nn.Linear(8, 3), nn.Flatten(), nn.Linear(24, 10))
    assert shaped(p, flat, Options()).input_shape == (64,)
    assert shaped(p, picture, Options()).input_shape == (1, 8, 8)
    found = shaped(p, rows, Options())
    assert found.input_shape in ((1, 8, 8), (8, 8)) and torch.equal(found.X_test.flatten(1), p.X_test)
    with pytest.raises(ArgumentError, match="rejects") as caught:
        shaped(p, nn.Linear(63, 10), Options())
    assert caught.value.argument == "data"


def test_outputs_are_the_models_own():
    p = disc(3000)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh()).double()
    assert torch.equal(outputs(model, p.X_train, Options()), model(p.X_train.double()).detach())


def test_quality_counts_right_answers(context):
    p = context.problem
    rows = dict(quality(context))
    right = (context.model(p.X_test)[:, 0].sign() == p.y_test).double().mean()
    assert rows["test accuracy"] == f"{100 * right:.1f} %"
    X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    values = load((X, X[:, :1] * 2))
    rows = dict(quality(replace(context, model=nn.Identity(), problem=replace(values, y_test=values.X_test + 0.5))))
    assert rows["test mean squared error"] == "0.25"
