"""Scores of Gaussian models against their closed forms, of any network against differences and sx.ftle."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import separatrix as sx
from separatrix.tangent.boundary import decision_boundary
from separatrix.tangent.boundary_scores import boundary_scores
from separatrix.tangent.score_points import ScoreStatus
from separatrix.testing.untouched import untouched

SQUARE = sx.grid((-1, 1), (-1, 1), shape=21)
NORMAL = torch.tensor([0.6, 0.8], dtype=torch.float64)
ALPHA = 3.0
OFFSET = 0.1


class Twice(nn.Module):
    """tanh(alpha r / 2) where sigmoid(alpha r) is the probability."""

    def forward(self, z):
        return torch.tanh(z / 2)


def two_gaussians(*after):
    """The optimal map for two Gaussians |mu_1 - mu_0| / s^2 = alpha apart, at r = n . x - offset."""
    layer = nn.Linear(2, 1, dtype=torch.float64)
    layer.weight.data, layer.bias.data = ALPHA * NORMAL[None], torch.tensor([-ALPHA * OFFSET], dtype=torch.float64)
    return nn.Sequential(layer, *after)


def three_gaussians():
    """Posteriors of three Gaussians with equidistant means; also their variance and means."""
    variance = 0.3
    angles = torch.tensor([0.3, 0.3 + 2 * math.pi / 3, 0.3 + 4 * math.pi / 3], dtype=torch.float64)
    means = torch.stack([angles.cos(), angles.sin()], 1)
    layer = nn.Linear(2, 3, dtype=torch.float64)
    layer.weight.data, layer.bias.data = means / variance, -means.square().sum(1) / (2 * variance)
    return nn.Sequential(layer, nn.Softmax(-1)), variance, means


@pytest.mark.parametrize(
    ("after", "level", "peak"),
    [([nn.Sigmoid()], 0.5, ALPHA / 4), ([Twice()], 0.0, ALPHA / 2)],
    ids=["probability", "squared error"],
)
def test_two_gaussians_have_a_ridge_on_the_boundary(after, level, peak):
    model, d = two_gaussians(*after), 0.2
    boundary = decision_boundary(model, SQUARE, level=level)
    scores = boundary_scores(model, boundary, distance=d)
    assert scores.sizes["point"] == boundary.sizes["point"] > 20 and (scores.status == ScoreStatus.OK).all()
    np.testing.assert_allclose(boundary.position.values @ NORMAL.numpy(), OFFSET, atol=1e-14)
    np.testing.assert_allclose(scores.stretch, math.log(peak), atol=1e-12)
    np.testing.assert_allclose(scores.gradient, peak, atol=1e-12)
    np.testing.assert_allclose(scores.directional, 1, atol=1e-12)
    np.testing.assert_allclose(scores.slope, 0, atol=1e-12)
    np.testing.assert_allclose(scores.curvature, -(ALPHA**2) / 2, atol=1e-12)
    np.testing.assert_allclose(scores.magnitude, 2 * math.log(math.cosh(ALPHA * d / 2)), atol=1e-12)
    np.testing.assert_allclose(scores.margin, 0, atol=1e-14)
    assert scores.level == level and scores.readout == ""


def test_off_the_boundary_too():
    r = torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)
    x = (r + OFFSET)[:, None] * NORMAL
    scores = boundary_scores(two_gaussians(nn.Sigmoid()), x, level=0.5)
    half = ALPHA * r / 2
    np.testing.assert_allclose(scores.stretch, torch.log(ALPHA / 4 / half.cosh() ** 2), atol=1e-12)
    np.testing.assert_allclose(scores.slope, -ALPHA * half.tanh(), atol=1e-12)
    np.testing.assert_allclose(scores.curvature, -(ALPHA**2) / 2 / half.cosh() ** 2, atol=1e-12)
    value = torch.sigmoid(2 * half) - 0.5
    np.testing.assert_allclose(scores.value, value, atol=1e-15)
    np.testing.assert_allclose(scores.margin, value.abs() / (ALPHA / 4 / half.cosh() ** 2), atol=1e-12)
    # beside the boundary the larger of the two sides is the one towards it
    d = 0.1
    beside = torch.log(ALPHA / 4 / ((half.abs() - ALPHA * d / 2).cosh() ** 2))
    np.testing.assert_allclose(scores.magnitude, scores.stretch - beside.numpy(), atol=1e-12)


def test_a_cross_entropy_logit_has_no_ridge():
    model = two_gaussians()
    scores = boundary_scores(model, decision_boundary(model, SQUARE))
    np.testing.assert_allclose(scores.stretch, math.log(ALPHA), atol=1e-12)
    for name in ("slope", "curvature", "magnitude"):
        np.testing.assert_allclose(scores[name], 0, atol=1e-12)
    np.testing.assert_allclose(scores.directional, 1, atol=1e-12)


def on_facet(shares, means, variance):
    """Points where classes 0 and 1 both have the posterior a, in closed form."""
    along = means[2] - (means[0] + means[1]) / 2
    along = along / along.norm()
    t = np.log((1 - 2 * shares) / shares) * variance / float((means[2] - means[0]) @ along)
    return torch.from_numpy(t)[:, None] * along


def test_three_gaussians_on_a_facet():
    model, variance, means = three_gaussians()
    critical = (math.sqrt(57) - 3) / 12
    a = np.array([0.35, 0.37, critical - 1e-4, critical, critical + 1e-4, 0.4, 0.45, 0.49])
    x = on_facet(a, means, variance)
    np.testing.assert_allclose(model(x)[:, :2].detach(), np.stack([a, a], 1), atol=1e-14)
    scores = boundary_scores(model, x)
    apart = float((means[0] - means[1]).norm())
    alpha = apart / variance
    np.testing.assert_allclose(scores.stretch, np.log(a * apart / (math.sqrt(2) * variance)), atol=1e-12)
    np.testing.assert_allclose(scores.directional, 1, atol=1e-12)
    exact = alpha**2 / 4 * (2 - 3 * a - 6 * a**2) / (3 * a - 1)
    # near a = 1/3 the two singular values meet, and their rounding is divided by their distance
    np.testing.assert_allclose(scores.curvature, exact, rtol=1e-12, atol=2e-12)
    assert (np.sign(scores.curvature.values[[0, 1, 2, 4, 5, 6, 7]]) == [1, 1, 1, -1, -1, -1, -1]).all()
    assert (scores["first"] == 0).all() and (scores.second == 1).all()


def test_three_gaussians_on_their_own_boundary():
    model, variance, _ = three_gaussians()
    boundary = decision_boundary(model, SQUARE)
    scores = boundary_scores(model, boundary)
    p = model(torch.from_numpy(boundary.position.values)).detach().numpy()
    own = np.take_along_axis(p, np.stack([scores["first"].values, scores.second.values], 1), 1)
    np.testing.assert_allclose(own[:, 0], own[:, 1], atol=1e-14)
    a = own[:, 0]
    centre = a < 1 / 3 + 1e-9
    assert centre.sum() == 3 and (scores.status.values == np.where(centre, ScoreStatus.DEGENERATE, 0)).all()
    assert np.isnan(scores.curvature.values[centre]).all() and np.isnan(scores.directional.values[centre]).all()
    apart = math.sqrt(3)
    np.testing.assert_allclose(scores.stretch, np.log(a * apart / (math.sqrt(2) * variance)), atol=1e-12)
    np.testing.assert_allclose(scores.directional[~centre], 1, atol=1e-12)
    for line in range(3):
        pair = boundary["first"].values[line], boundary.second.values[line]
        inside = slice(int(boundary.start[line]), int(boundary.start[line] + boundary["count"][line]))
        assert (scores["first"].values[inside] == pair[0]).all() and (scores.second.values[inside] == pair[1]).all()


def network(sizes=(2, 12, 12, 3), seed=0, activation=nn.Tanh):
    torch.manual_seed(seed)
    parts = []
    for a, b in pairwise(sizes):
        layer = nn.Linear(a, b).double()
        nn.init.normal_(layer.weight, std=(2 / a) ** 0.5)
        nn.init.normal_(layer.bias, std=0.5)
        parts += [layer, activation()]
    return nn.Sequential(*parts[:-1])


@pytest.mark.parametrize("sizes", [(2, 12, 12, 3), (6, 12, 12, 3), (4, 8, 8, 1), (3, 8, 8, 3)])
@pytest.mark.parametrize("layer", ["output", "hidden"])
def test_derivatives_against_differences_of_ftle(sizes, layer):
    """Rows and columns, more inputs than outputs and fewer: the values of sx.ftle along the normal, differenced."""
    model = network(sizes)
    x = torch.randn(7, sizes[0], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scores = boundary_scores(model, x, layer=layer, distance=0.2)
    entry = x.clone().requires_grad_()
    z = model(entry)
    if sizes[-1] > 1:
        pair = z.topk(2).indices.sort(dim=1).values
        z = z.gather(1, pair)
        f = z[:, 0] - z[:, 1]
    else:
        f = z[:, 0]
    (g,) = torch.autograd.grad(f.sum(), entry)
    n = g / g.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(scores.value, f.detach(), atol=1e-14)
    np.testing.assert_allclose(scores.margin, (f.abs() / g.norm(dim=1)).detach(), rtol=1e-12)

    def field(points, **more):
        return sx.ftle(model, points, layers=layer, **more)

    def stretch(t):
        return field(x + t * n).stretch.values[0, -1, :, 0]

    here = field(x, directions=True)
    np.testing.assert_allclose(scores.stretch, stretch(0.0), atol=1e-12)
    np.testing.assert_allclose(scores.stretch_ahead, stretch(0.2), atol=1e-12)
    np.testing.assert_allclose(scores.stretch_behind, stretch(-0.2), atol=1e-12)
    cosine = np.abs((here.right.values[0, -1, :, 0] * n.numpy()).sum(-1))
    np.testing.assert_allclose(scores.directional, cosine, atol=1e-10)
    h = 1e-3
    s = [stretch(k * h) for k in (-2, -1, 0, 1, 2)]
    slope = (s[0] - 8 * s[1] + 8 * s[3] - s[4]) / (12 * h)
    curvature = (-s[0] + 16 * s[1] - 30 * s[2] + 16 * s[3] - s[4]) / (12 * h**2)
    np.testing.assert_allclose(scores.slope, slope, atol=1e-8, rtol=1e-8)
    np.testing.assert_allclose(scores.curvature, curvature, atol=1e-6, rtol=1e-6)
    assert np.abs(scores.curvature).min() > 1e-3  # or the comparison would say nothing


@pytest.mark.parametrize("outputs", [1, 3])
def test_what_the_task_sees(outputs):
    model = network((2, 12, 12, outputs))
    head = model[-1]
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    scores = boundary_scores(model, x)
    body = sx.ftle(model[:-1], x).stretch.values[0, 0, :, 0]
    pair = model(x).topk(2).indices.sort(dim=1).values if outputs > 1 else None
    v = head.weight[pair[:, 0]] - head.weight[pair[:, 1]] if outputs > 1 else head.weight.expand(9, -1)
    hidden_jacobian = torch.func.vmap(torch.func.jacrev(model[:-1]))(x)
    seen = torch.einsum("pm,pmd->pd", v, hidden_jacobian).norm(dim=1) / v.norm(dim=1)
    np.testing.assert_allclose(scores.hidden_stretch, body, atol=1e-12)
    np.testing.assert_allclose(scores.task_stretch, seen.log().detach(), atol=1e-12)
    np.testing.assert_allclose(scores.chi, seen.detach().numpy() / np.exp(body), atol=1e-12)
    assert ((scores.chi > 0) & (scores.chi <= 1)).all() and scores.readout == "3#1"
    # |f| / (|v| Lambda_T) is |f| / |grad f|
    linear = np.abs(scores.value) / (v.norm(dim=1).detach().numpy() * np.exp(scores.task_stretch))
    np.testing.assert_allclose(scores.margin, linear, rtol=1e-12)


def test_the_task_sees_all_of_a_readout_along_the_leading_direction():
    """With h = (tanh of one neuron) the readout cannot miss anything: chi = 1."""
    scores = boundary_scores(network((2, 1, 1)), torch.randn(5, 2, dtype=torch.float64))
    np.testing.assert_allclose(scores.chi, 1, atol=1e-12)


@pytest.mark.parametrize("ending", [nn.Sigmoid(), nn.Softmax(-1)], ids=["sigmoid", "softmax"])
def test_a_readout_that_is_not_linear_is_not_invented(ending):
    model = nn.Sequential(*network((2, 12, 3 if isinstance(ending, nn.Softmax) else 1)), ending)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    scores = boundary_scores(model, x)
    assert scores.readout == "" and np.isnan(scores.chi).all() and np.isnan(scores.task_stretch).all()
    assert np.isfinite(scores.curvature).all() and np.isfinite(scores.margin).all()
    assert scores.method == "exact"


def test_differences_where_an_operation_has_no_rule():
    """The backward of logit has no forward mode; logit(sigmoid(z)) = z has the same scores as z."""
    model = network((2, 12, 1))
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    exact, other = (
        boundary_scores(model, x),
        boundary_scores(nn.Sequential(*model, nn.Sigmoid()), x, output=torch.logit),
    )
    assert (exact.method, other.method) == ("exact", "differences")
    for name, tolerance in (("stretch", 1e-12), ("directional", 1e-12), ("magnitude", 1e-12), ("chi", 1e-10)):
        np.testing.assert_allclose(other[name], exact[name], atol=tolerance)
    np.testing.assert_allclose(other.slope, exact.slope, atol=1e-8)
    np.testing.assert_allclose(other.curvature, exact.curvature, atol=1e-7)


def test_rectifiers_have_no_curvature():
    scores = boundary_scores(network(activation=nn.ReLU), torch.randn(6, 2, dtype=torch.float64))
    assert (scores.status == ScoreStatus.NONSMOOTH).all()
    assert np.isnan(scores.curvature).all() and np.isnan(scores.slope).all()
    assert np.isfinite(scores.directional).all() and np.isfinite(scores.magnitude).all() and scores.readout == "3#1"


def test_statuses_of_single_points():
    def model(x):
        return torch.stack([x[:, 0] ** 2 + x[:, 1] ** 2, x[:, 0].log(), torch.zeros_like(x[:, 0]) - 9], dim=1)

    x = torch.tensor([[1.0, 0.5], [-1.0, 0.2]], dtype=torch.float64)
    assert boundary_scores(model, x).status.values.tolist() == [ScoreStatus.OK, ScoreStatus.NONFINITE]
    flat = boundary_scores(lambda x: x.square().sum(1) - 1, torch.zeros(1, 2, dtype=torch.float64))
    assert flat.status.item() == ScoreStatus.FLAT and math.isnan(flat.directional.item())
    round_ = boundary_scores(lambda x: x * 2, torch.tensor([[0.1, 0.3]], dtype=torch.float64))
    assert round_.status.item() == ScoreStatus.DEGENERATE and math.isnan(round_.directional.item())
    np.testing.assert_allclose(round_.stretch, math.log(2), atol=1e-15)


def test_a_boundary_in_a_plane_uses_the_whole_normal():
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)).double()
    plane = sx.plane.through(*torch.randn(3, 1, 4, 4), shape=30, margin=1.0)
    boundary = decision_boundary(model, plane)
    assert boundary.sizes["point"] > 10 and (boundary.status == 0).all()
    scores = boundary_scores(model, boundary, distance=0.3)
    x = torch.from_numpy(boundary.origin.values + boundary.position.values @ boundary.basis.values).reshape(-1, 1, 4, 4)
    first, second = (torch.from_numpy(scores[name].values)[:, None] for name in ("first", "second"))
    entry = x.requires_grad_()
    z = model(entry)
    (g,) = torch.autograd.grad((z.gather(1, first) - z.gather(1, second)).sum(), entry)
    n = (g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).detach()
    ahead = sx.ftle(model, x.detach() + 0.3 * n).stretch.values[0, 0, :, 0]
    np.testing.assert_allclose(scores.stretch_ahead, ahead, atol=1e-12)
    np.testing.assert_allclose(scores.value, 0, atol=1e-12)
    assert (scores.gradient > boundary.gradient).all()  # the plane sees a part of it


def test_memory_file_guest_and_nothing_to_score(tmp_path, as_user):
    model = network().float()
    boundary = decision_boundary(model, SQUARE)
    seen = []
    with untouched(model):
        few = boundary_scores(model, boundary, memory="150kB", progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 3 and seen[-1] == (boundary.sizes["point"],) * 2
    xr.testing.assert_allclose(few, boundary_scores(model, boundary), rtol=1e-12)
    few.to_netcdf(tmp_path / "s.nc")
    with xr.open_dataset(tmp_path / "s.nc") as again:
        xr.testing.assert_identical(again.load().drop_attrs(deep=False), few.drop_attrs(deep=False))
    boundary.to_netcdf(tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "b.nc") as again:
        np.testing.assert_array_equal(boundary_scores(model, again).stretch, boundary_scores(model, boundary).stretch)
    nothing = boundary_scores(model, boundary.isel(line=slice(0, 0), point=slice(0, 0)))
    assert nothing.sizes["point"] == 0
