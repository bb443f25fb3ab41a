"""Ridges and the boundary on a page, where both are known."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.data.record import Problem
from separatrix.report.linearity import piecewise_linear
from separatrix.report.lines import Lines, find_lines
from separatrix.report.pace import Pace
from separatrix.tangent.ftle import ftle
from separatrix.tangent.inputs import grid

WHERE = grid((-1, 1), (-1, 1), shape=24)


class Step(nn.Module):
    """The stretch ln 3 - 2 ln cosh 3 x has its ridge at x = 0; the answer changes where tanh 3 x is the shift."""

    def __init__(self, shift):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift, dtype=torch.float64))

    def forward(self, x):
        return torch.tanh(3 * x[:, :1]) - self.shift


def two_classes(context, model):
    X = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = (X[:, 0] > 0).long()
    return replace(context, model=model.eval(), problem=Problem("half", "a half plane", X, y, X, y, classes=("0", "1")))


def found(context, level=0.0, layers=("output",)):
    lines = Lines()
    ds = ftle(context.model, WHERE, layers="output")
    find_lines(lines, context, Pace(context), ds, WHERE, list(layers), level)
    return lines


@pytest.mark.parametrize(("shift", "words"), [(0.0, "the same lines"), (0.9, "different lines")])
def test_distances_are_those_of_the_formula(context, shift, words):
    lines = found(two_classes(context, Step(shift)))
    ridge = lines.ridges["output"]
    assert ridge.attrs["method"] == "newton" and np.abs(ridge["position"].values[:, 0]).max() < 1e-9
    assert words in " ".join(lines.prose)
    apart = math.atanh(shift) / 3
    (table,) = lines.tables
    assert [row[0] for row in table.rows] == ["boundary to ridges at output", "ridges at output to boundary"]
    # parallel lines: every point of the ridge is as far from the boundary; it ends two cells before the frame
    assert [float(v) for v in table.rows[1][1:]] == pytest.approx([apart] * 3, abs=0.005)
    assert float(table.rows[0][1]) == pytest.approx(apart, abs=0.005)
    assert context.files == ["page-disc-boundary.nc", "page-disc-ridges-output.nc"]


def test_without_classes_there_is_no_boundary(context):
    lines = found(two_classes(context, Step(0.0)), level=None)
    assert lines.boundary is None and lines.tables == [] and "boundary" not in " ".join(lines.prose)
    assert "one ridge" in lines.prose[0]


def test_piecewise_linear_networks_are_told_why(context, net):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    lines = found(two_classes(context, model))
    assert lines.ridges == {} and lines.boundary is not None
    assert "(piecewise-linear: the stretch is constant between the kinks, so that there is no ridge)" in lines.prose[0]


def test_no_time_is_said(context):
    class Slow(Pace):
        def rate(self, layers):
            return 1.0

    hurry = two_classes(context, Step(0.0))
    hurry = replace(hurry, options=replace(hurry.options, seconds=2.0))
    lines = Lines()
    find_lines(lines, hurry, Slow(hurry), ftle(hurry.model, WHERE), WHERE, ["output"], 0.0)
    assert lines.ridges["output"].attrs["method"] == "sub-pixel"
    told = r"good to the field's grid only, because exact derivatives would take about [0-9]+ s"
    assert re.search(told, " ".join(lines.prose))


@pytest.mark.parametrize(
    ("middle", "linear"),
    [(nn.ReLU(), True), (nn.LeakyReLU(), True), (nn.Tanh(), False), (nn.Sequential(nn.ReLU(), nn.GELU()), False)],
)
def test_linear_between_kinks(context, middle, linear):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 16), middle, nn.Linear(16, 2))
    assert piecewise_linear(two_classes(context, model), WHERE) is linear
