"""Boundaries with a known place: circles, saddles, Voronoi cells, planes; and what is promised of every line."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.spatial import Voronoi
from torch import nn

import separatrix as sx
from separatrix.tangent.boundary import PointStatus, decision_boundary
from separatrix.testing.untouched import untouched

SQUARE = sx.grid((-2, 2), (-2, 2), shape=(50, 60))


def circle(x):
    return x.square().sum(1) - 1


def lines_of(ds):
    return [ds.isel(point=slice(s, s + n)) for s, n in zip(ds["start"].values, ds["count"].values, strict=True)]


def length(ds):
    total = 0.0
    for line, ring in zip(lines_of(ds), ds.closed.values, strict=True):
        p = line.position.values
        p = np.concatenate([p, p[:1]]) if ring else p
        total += np.hypot(*np.diff(p, axis=0).T).sum()
    return total


def voronoi(centres):
    """Scores whose largest belongs to the nearest centre."""
    return lambda x: -(x[:, None] - centres).square().sum(-1)


def test_a_circle_to_rounding():
    ds = decision_boundary(circle, SQUARE)
    p = ds.position.values
    assert ds.sizes["line"] == 1 and ds.closed.values.tolist() == [1] and ds.method == "newton"
    np.testing.assert_allclose(np.hypot(*p.T), 1, atol=1e-15)
    np.testing.assert_allclose(ds.normal, p, atol=1e-14)
    np.testing.assert_allclose(ds.gradient, 2, atol=1e-14)
    assert ds.residual.values.max() < 1e-15 and (ds.status == PointStatus.OK).all()
    assert (ds["first"].values.tolist(), ds.second.values.tolist()) == ([-1], [-1])
    # the points go round once, with the larger values on the left: clockwise
    angle = np.unwrap(np.arctan2(p[:, 1], p[:, 0]))
    assert (np.diff(angle) < 0).all() and abs(angle[0] - angle[-1]) > 2 * math.pi - 0.3
    assert np.diff(angle).min() > -0.2  # a cell is 0.08 wide


@pytest.mark.parametrize("level", [-0.75, 0.0, 1.5])
def test_the_level_is_where_it_should_be(level):
    ds = decision_boundary(circle, SQUARE, level=level)
    np.testing.assert_allclose(np.hypot(*ds.position.values.T), math.sqrt(1 + level), atol=1e-14)
    assert ds.level == level


def test_without_refinement_points_are_as_good_as_the_grid():
    errors = []
    for n in (40, 80, 160):
        grid = sx.grid((-2, 2), (-2, 2), shape=n)
        rough = decision_boundary(circle, grid, refine=False)
        assert (rough.status == PointStatus.UNREFINED).all() and rough.method == "linear"
        errors.append(abs(np.hypot(*rough.position.values.T) - 1).max())
    ratios = np.array(errors[:-1]) / errors[1:]
    assert ((ratios > 3) & (ratios < 5.5)).all(), errors  # second order


def test_lines_end_on_the_box():
    grid = sx.grid((-0.9, 1.7), (-0.8, 0.7), shape=(37, 41))
    ds = decision_boundary(circle, grid)
    assert ds.sizes["line"] == 3 and not ds.closed.any()
    np.testing.assert_allclose(np.hypot(*ds.position.values.T), 1, atol=1e-14)
    ends = np.concatenate([line.position.values[[0, -1]] for line in lines_of(ds)])
    box = np.array([-0.9, 1.7]), np.array([-0.8, 0.7])
    on_box = np.stack([np.isin(ends[:, i], box[i]) for i in (0, 1)])
    assert on_box.any(0).all()
    x, y = ds.position.values.T
    assert x.min() >= -0.9 and y.min() >= -0.8 and y.max() <= 0.7


def test_no_boundary_is_a_result_with_no_line(tmp_path):
    ds = decision_boundary(lambda x: x.square().sum(1) + 1, SQUARE)
    assert dict(ds.sizes) == {"point": 0, "axis": 2, "line": 0}
    ds.to_netcdf(tmp_path / "none.nc")
    with xr.open_dataset(tmp_path / "none.nc") as again:
        assert dict(again.sizes) == dict(ds.sizes)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nearest_centres_make_a_voronoi_diagram(seed):
    centres = np.random.default_rng(seed).uniform(-1, 1, (7, 2))
    ds = decision_boundary(voronoi(torch.from_numpy(centres)), sx.grid((-3, 3), (-3, 3), shape=150))
    distance = np.linalg.norm(ds.position.values[:, None] - centres, axis=2)
    nearest = np.sort(distance, axis=1)
    np.testing.assert_allclose(nearest[:, 0], nearest[:, 1], atol=1e-13)
    exact = Voronoi(centres)
    edges = {tuple(sorted(pair)): np.array(v) for pair, v in zip(exact.ridge_points, exact.ridge_vertices, strict=True)}
    for line, *pair in zip(lines_of(ds), ds["first"].values, ds.second.values, strict=True):
        p, (i, j) = line.position.values, pair
        own = np.linalg.norm(p[:, None] - centres[[i, j]], axis=2)
        np.testing.assert_allclose(own[:, 0], own[:, 1], atol=1e-13)
        assert i < j and (own[:, 0] <= np.linalg.norm(p[:, None] - centres, axis=2).min(1) + 1e-12).all()
        # the normal points to the first class, which lies on the left
        towards = (centres[i] - centres[j]) / np.linalg.norm(centres[i] - centres[j])
        np.testing.assert_allclose(line.normal.values, np.tile(towards, (len(p), 1)), atol=1e-12)
        along = p[-1] - p[0]
        assert along[0] * towards[1] - along[1] * towards[0] > 0
        # ends are corners of the diagram, or lie on the box
        for end in p[[0, -1]]:
            corner = np.linalg.norm(exact.vertices - end, axis=1).min()
            assert corner < 1e-12 or abs(abs(end).max() - 3) < 1e-12
        v = edges[i, j]
        if (v >= 0).all() and (abs(exact.vertices[v]) < 3).all():
            assert np.linalg.norm(p[-1] - p[0]) == pytest.approx(np.linalg.norm(np.subtract(*exact.vertices[v])))


def test_every_finite_edge_of_the_diagram_is_found():
    centres = np.random.default_rng(3).uniform(-1, 1, (7, 2))
    ds = decision_boundary(voronoi(torch.from_numpy(centres)), sx.grid((-3, 3), (-3, 3), shape=150))
    exact = Voronoi(centres)
    pairs = zip(exact.ridge_points, exact.ridge_vertices, strict=True)
    inside = {
        tuple(sorted(int(i) for i in pair))
        for pair, v in pairs
        if min(v) >= 0 and (abs(exact.vertices[v]) < 3).all() and np.linalg.norm(np.subtract(*exact.vertices[v])) > 0.1
    }
    found = set(zip(ds["first"].values.tolist(), ds.second.values.tolist(), strict=True))
    assert len(inside) >= 4 and inside <= found


def test_two_classes_are_the_level_set_of_their_difference():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 2)).double()
    net[0].weight.data *= 3
    one = decision_boundary(lambda x: (lambda z: z[:, 0] - z[:, 1])(net(x)), SQUARE)
    two = decision_boundary(net, SQUARE)
    assert one.sizes["point"] == two.sizes["point"] > 30
    np.testing.assert_allclose(one.position, two.position, atol=1e-11)
    np.testing.assert_allclose(one.normal, two.normal, atol=1e-11)
    assert (two["first"] == 0).all() and (two.second == 1).all()


def test_probabilities_tie_where_scores_do():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    net[0].weight.data *= 3
    scores, shares = (decision_boundary(net, SQUARE, output=o) for o in (None, lambda z: z.softmax(-1)))
    assert scores.sizes["line"] > 2
    assert length(scores) == pytest.approx(length(shares), rel=1e-4)
    assert set(zip(scores["first"].values, scores.second.values, strict=True)) == set(
        zip(shares["first"].values, shares.second.values, strict=True)
    )


def test_a_saddle_keeps_its_two_branches():
    ds = decision_boundary(lambda x: x[:, 0] * x[:, 1] - 1e-3, sx.grid((-1, 1), (-1, 1), shape=(40, 40)))
    x, y = ds.position.values.T
    assert ds.sizes["line"] == 2
    np.testing.assert_allclose(x * y, 1e-3, atol=1e-15)
    assert sorted(np.sign(line.position.values[0, 0]) for line in lines_of(ds)) == [-1, 1]


def test_nodes_on_the_boundary_do_no_harm():
    ds = decision_boundary(lambda x: x[:, 0], sx.grid((-1, 1), (-1, 1), shape=(5, 5)))
    assert ds.sizes["line"] == 1
    np.testing.assert_array_equal(ds.position, np.stack([np.zeros(5), np.linspace(1, -1, 5)], 1))
    np.testing.assert_array_equal(ds.normal, [[1, 0]] * 5)


def test_rectifiers_and_kinks():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 1)).double()
    with torch.no_grad():
        net[0].weight *= 3
        net[-1].bias -= net(SQUARE.points()).median()
    ds = decision_boundary(net, SQUARE)
    assert ds.sizes["point"] > 50 and (ds.status == PointStatus.OK).all()
    assert net(torch.from_numpy(ds.position.values)).abs().max() < 1e-14
    corner = decision_boundary(lambda x: x.abs().sum(1) - 1, SQUARE)
    np.testing.assert_allclose(abs(corner.position.values).sum(1), 1, atol=1e-15)
    np.testing.assert_allclose(abs(corner.normal.values), 0.5**0.5, atol=1e-12)


def test_saturated_outputs_are_solved_by_bisection():
    """The gradient is exactly zero at almost every node and wherever the grid's interpolation puts the points."""
    ds = decision_boundary(lambda x: torch.tanh(1e4 * (x[:, 0] + x[:, 1] / 3 - 0.1)), SQUARE)
    assert (ds.status == PointStatus.OK).all() and ds.sizes["line"] == 1
    np.testing.assert_allclose(ds.position.values @ [1, 1 / 3], 0.1, atol=1e-14)


def test_a_jump_is_no_zero():
    ds = decision_boundary(lambda x: torch.where(x[:, 0] > 0.013, 1.0, -1.0) + 0 * x[:, 1], SQUARE)
    assert (ds.status == PointStatus.UNCONVERGED).all() and ds.sizes["line"] == 1
    assert abs(ds.position.values[:, 0] - 0.013).max() < 4 / 49  # where the grid saw it
    assert (ds.residual == 1).all() and np.isnan(ds.normal).all()


def test_a_plateau_has_no_normal():
    ds = decision_boundary(lambda x: -torch.relu(x[:, 0] - 0.01), SQUARE)
    assert (ds.status == PointStatus.FLAT).all() and (ds.residual == 0).all() and ds.sizes["line"] == 1


def test_nodes_that_are_not_finite_are_left_out_and_counted():
    def torn(x):
        return torch.where(x[:, 1] > 1.2, torch.nan, circle(x / 1.4))

    ds = decision_boundary(torn, SQUARE)
    y = SQUARE.y.numpy()
    assert ds.nonfinite_nodes == 50 * (y > 1.2).sum()
    assert ds.sizes["line"] == 1 and not ds.closed.any()
    np.testing.assert_allclose(np.hypot(*ds.position.values.T), 1.4, atol=1e-14)
    assert y[y <= 1.2].max() - 4 / 59 < ds.position.values[:, 1].max() <= 1.2
    assert decision_boundary(lambda x: x[:, 0] * torch.nan, SQUARE).sizes["line"] == 0


@pytest.mark.parametrize("skew", [False, True])
def test_a_plane_through_a_larger_space(skew, tmp_path):
    """A sphere, cut by a plane: a circle in the input space, whatever the plane's directions are."""
    gen = torch.Generator().manual_seed(4)
    basis = torch.linalg.qr(torch.randn(6, 2, generator=gen, dtype=torch.float64))[0].T
    e1, e2 = basis
    if skew:
        e1, e2 = 2 * e1, e2 + 0.5 * e1
    origin = 0.1 * torch.randn(6, generator=gen, dtype=torch.float64)
    plane = sx.plane(*(v.reshape(2, 3) for v in (origin, e1, e2)), x=(-2, 2), y=(-2, 2), shape=80)
    ds = decision_boundary(lambda x: x.flatten(1).square().sum(1) - 1, plane)
    E = torch.stack([e1, e2]).numpy()
    points = origin.numpy() + ds.position.values @ E
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-14)
    # the normal is the part of the radius in the plane, of length 1 in the input space
    radius = (points @ basis.numpy().T) @ basis.numpy()
    inside = np.linalg.norm(radius, axis=1, keepdims=True)
    np.testing.assert_allclose(ds.normal.values @ E, radius / inside, atol=1e-12)
    np.testing.assert_allclose(ds.gradient, 2 * inside[:, 0], atol=1e-12)
    assert ds.inputs == "plane" and ds.input_shape.tolist() == [2, 3] and ds.closed.values.tolist() == [1]
    np.testing.assert_array_equal(ds.basis, E)
    ds.to_netcdf(tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "b.nc") as again:
        xr.testing.assert_identical(again.load().drop_attrs(deep=False), ds.drop_attrs(deep=False))


class Stack(nn.Module):
    """Three linear networks of one shape; output (member, batch, classes) or (member, batch)."""

    def __init__(self, classes):
        super().__init__()
        gen = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(3, 2, classes, generator=gen, dtype=torch.float64))
        self.classes = classes

    def forward(self, x):
        z = torch.einsum("bi,mic->mbc", x, self.weight)
        return z if self.classes > 1 else z[..., 0]


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("member", [0, 2])
def test_a_member_of_a_stack(classes, member):
    stack = Stack(classes)
    ds = decision_boundary(stack, SQUARE, member=member)
    alone = decision_boundary(lambda x: x @ stack.weight[member].detach(), SQUARE)
    assert ds.sizes["line"] > 0
    np.testing.assert_allclose(ds.position, alone.position, atol=1e-12)


def test_memory_precision_and_progress_change_nothing(as_user):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3))
    net[0].weight.data *= 3
    seen = []
    with untouched(net):
        small = decision_boundary(net, SQUARE, memory="20kB", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3000, 3000) and len(seen) > 10
    assert small.precision == "float32 weights, computed in float64"
    whole = decision_boundary(net, SQUARE)
    assert whole.sizes["line"] == small.sizes["line"] > 0
    np.testing.assert_allclose(small.position, whole.position, atol=1e-12)
    solved = whole.status == PointStatus.OK
    # a triple point lies just outside of the box
    assert whole.residual.values[solved].max() < 1e-14 and int((~solved).sum()) <= 3


def test_a_model_that_insists_on_its_precision():
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 1)

        def forward(self, x):
            return nn.functional.linear(x.float(), self.a.weight.float() if x.dtype == torch.float32 else self.a.weight)

    with pytest.warns(sx.SeparatrixWarning, match="float64 was not possible"):
        ds = decision_boundary(Narrow(), SQUARE)
    assert ds.precision == "float32" and ds.sizes["line"] == 1 and (ds.status == PointStatus.OK).all()
    assert ds.residual.values.max() < 1e-6
