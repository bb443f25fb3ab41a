"""Where a report looks."""

import math
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from separatrix.data import digits, load
from separatrix.report.pace import Pace
from separatrix.report.places import field_place, sample, three_inputs


def test_the_grid_holds_the_data_and_a_margin(context):
    where, three = field_place(context, None)
    X = torch.cat([context.problem.X_train, context.problem.X_test]).double()
    extent = X.max(0).values - X.min(0).values
    assert three == [] and where.kind == "grid" and where.shape == (16, 16)
    assert where.x[0] == pytest.approx(float(X[:, 0].min() - 0.1 * extent[0]))
    assert where.y[-1] == pytest.approx(float(X[:, 1].max() + 0.1 * extent[1]))


def test_the_plane_passes_through_three_classes(context):
    context = replace(context, problem=digits())
    where, three = field_place(context, None)
    assert len({int(context.problem.y_test[i]) for i in three}) == 3
    for i, (a, b) in zip(three, where.corners.tolist(), strict=True):
        point = where.origin + a * where.e1 + b * where.e2
        assert torch.allclose(point, context.problem.X_test[i].double(), atol=1e-12)
    assert three == three_inputs(context)
    assert three != three_inputs(replace(context, options=replace(context.options, seed=1)))


def test_three_inputs_of_two_classes(context):
    three = three_inputs(context)
    assert len(set(three)) == 3 and len({float(context.problem.y_test[i]) for i in three}) == 2


def test_no_field_without_a_plane(context):
    one = load((torch.randn(20, 1), None))
    tokens = load((torch.zeros(20, 5, dtype=torch.long), None))
    assert field_place(replace(context, problem=one), None) is None
    assert field_place(replace(context, problem=tokens), None) is None


def test_sample_is_seeded_and_bounded(context):
    X, y = sample(context)
    again, _ = sample(context)
    assert len(X) == len(y) == 30 and torch.equal(X, again)
    assert len(sample(context, 7)[0]) == 7


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x):
        time.sleep(0.1)
        return self.inner(x)


def test_slow_models_get_fewer_points(context):
    hurry = replace(context, options=replace(context.options, resolution=None, seconds=2.0))
    assert Pace(replace(hurry, options=replace(hurry.options, seconds=math.inf))).most() is None
    most = Pace(replace(hurry, model=Slow())).most()
    # 8 points take at least 0.3 s, so that 2 s are enough for at most 54
    assert 1 <= most <= 54
    assert field_place(hurry, most)[0].shape == (12, 12)
    assert field_place(hurry, 900)[0].shape == (30, 30)
    assert field_place(hurry, None)[0].shape == (200, 200)
