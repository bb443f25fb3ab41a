"""Equilibria and cycles: exact answers, other solvers, an index theorem, and maps that make it hard."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import nn

from separatrix.local.equilibria import equilibria
from separatrix.local.equilibrium_points import _margin
from separatrix.results.errors import ArgumentError
from separatrix.systems.depth import Depth
from separatrix.systems.loop import Loop
from separatrix.systems.maps import Map
from separatrix.tangent.inputs import grid

PI = ([-1.0], [1.0])


def meanings(found):
    names = found.stability.attrs["flag_meanings"].split()
    return [names[k] for k in found.stability.values]


def mlp(n, width, activation, scale, seed=1):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(n, width), activation, nn.Linear(width, width), activation, nn.Linear(width, n))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(scale)
    return net.double()


def roots_by_bisection(f, lo, hi, cells=20_000):
    """Sign changes of f(x) - x on a fine grid, refined."""
    x = torch.linspace(lo, hi, cells, dtype=torch.float64)
    g = (f(x[:, None])[:, 0] - x).detach()
    found = []
    for k in (g[:-1] * g[1:] < 0).nonzero()[:, 0].tolist():
        a, b = float(x[k]), float(x[k + 1])
        for _ in range(80):
            m = (a + b) / 2
            value = float(f(torch.tensor([[m]], dtype=torch.float64)).detach()[0, 0]) - m
            a, b = (m, b) if value * float(g[k]) > 0 else (a, m)
        found.append((a + b) / 2)
    return found


def test_gelu_with_chords_below_one_has_two_equilibria():
    found = equilibria(lambda x: F.gelu(x) + 0.12, ([-10], [10]))
    assert found.attrs["method"] == "krawczyk" and found.attrs["complete"] == "proved"
    assert found.position.values[:, 0] == pytest.approx([0.3207, 1.3460], abs=5e-5)
    assert found.eigenvalue_real.values[:, 0] == pytest.approx([0.7473, 1.1279], abs=5e-5)
    assert meanings(found) == ["attracting", "repelling"] and found.proved.values.all()
    assert found.residual.max() < 1e-15 and found.slack.max() < 1e-11
    assert found.sizes["line"] == 0


def test_gelu_with_a_bound_below_one_has_three():
    found = equilibria(Map(lambda x: 0.95 * F.gelu(x) + 0.17, dim=1), (-10, 10))
    assert found.attrs["complete"] == "proved"
    assert found.position.values[:, 0] == pytest.approx([0.4913, 1.5028, 3.3764], abs=5e-5)
    assert found.eigenvalue_real.values[1, 0] == pytest.approx(1.0710, abs=5e-5)
    assert meanings(found) == ["attracting", "repelling", "attracting"]


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.ELU(), nn.SELU()])
def test_scalar_networks_have_what_bisection_finds(activation):
    for seed in range(3):
        net = mlp(1, 6, activation, 3.0, seed)
        found = equilibria(net, (-8, 8))
        assert found.attrs["complete"] == "proved"
        expected = roots_by_bisection(net, -8, 8)
        assert found.position.values[:, 0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.Sigmoid()])
def test_planar_networks_against_scipy_and_the_index_theorem(activation):
    from scipy.optimize import root

    generator = np.random.default_rng(0)
    for seed in range(3):
        net = mlp(2, 8, activation, 4.0, seed)
        size = 200.0 if isinstance(activation, nn.GELU) else 30.0
        found = equilibria(Loop(net), (-size, size))
        assert found.attrs["complete"] == "proved"
        x = found.position.values

        def g(v, net=net):
            return (net(torch.from_numpy(v)[None])[0]).detach().numpy() - v

        for start in generator.uniform(-6, 6, (60, 2)):
            end = root(g, start, tol=1e-12)
            if end.success and np.abs(end.x).max() < size and np.abs(g(end.x)).max() < 1e-11:
                assert np.abs(x - end.x).max(1).min(initial=9) < 1e-7, "another solver found one that was missed"
        assert np.abs([g(v) for v in x]).max(initial=0) < 1e-12
        if not isinstance(activation, nn.GELU):
            # a bounded map: signs of det(I - Df) add up to the degree, 1
            J = [torch.func.jacrev(lambda a, net=net: net(a[None])[0])(torch.from_numpy(v)) for v in x]
            assert sum(np.sign(np.linalg.det(np.eye(2) - j.detach().numpy())) for j in J) == 1


def test_a_pitchfork_of_the_plane():
    """tanh(a x) in both components: one equilibrium up to a = 1, nine beyond; at a = 1 it cannot be decided."""
    for steep, count in ((0.9, 1), (1.5, 9)):
        net = nn.Sequential(nn.Linear(2, 2), nn.Tanh()).double()
        with torch.no_grad():
            net[0].weight.copy_(steep * torch.eye(2))
            net[0].bias.zero_()
        found = equilibria(net, (-2, 2))
        assert found.attrs["complete"] == "proved" and found.sizes["point"] == count
        names = meanings(found)
        assert (names.count("attracting"), names.count("repelling"), names.count("saddle")) == (
            (1, 0, 0) if count == 1 else (4, 1, 4)
        )
    flat = equilibria(torch.tanh, PI)
    assert flat.attrs["complete"] == "not proved" and "singular" in flat.attrs["notes"]
    assert flat.sizes["line"] <= 4 and float(abs(flat.unresolved_hi - flat.unresolved_lo).max()) < 1e-4
    assert (flat.unresolved_lo <= 0).any() and (flat.unresolved_hi >= 0).any()
    assert not flat.proved.any() and set(meanings(flat)) <= {"undecided"}


def test_a_linear_map_has_one_and_its_matrix():
    A = torch.tensor([[0.5, 4.0, 0.0], [0.0, 0.5, 0.0], [1.0, 0.0, -1.3]], dtype=torch.float64)
    b = torch.tensor([1.0, -0.25, 0.5], dtype=torch.float64)
    found = equilibria(lambda x: x @ A.T + b, ([-9] * 3, [9] * 3))
    assert found.attrs["method"] == "krawczyk" and found.attrs["complete"] == "proved"
    assert found.position.values[0] == pytest.approx(torch.linalg.solve(torch.eye(3) - A, b).numpy(), abs=1e-13)
    assert found.eigenvalue_real.values[0] == pytest.approx([-1.3, 0.5, 0.5], abs=1e-7)
    assert meanings(found) == ["saddle"]


def test_period_two_of_a_steep_odd_map():
    found = equilibria(Map(lambda x: -2 * torch.tanh(x), dim=1), (-10, 10), period=4)
    assert found.attrs["complete"] == "proved"
    point = 1.9150080481545375  # 2 tanh(x) = x
    assert found.position.values[:, 0] == pytest.approx([0, -point, point], abs=1e-12)
    assert found.period.values.tolist() == [1, 2, 2] and found.cycle.values.tolist() == [0, 1, 1]
    assert meanings(found) == ["repelling", "attracting", "attracting"]
    multiplier = (2 * (1 - math.tanh(point) ** 2)) ** 2
    assert found.eigenvalue_real.values[1, 0] == pytest.approx(multiplier, rel=1e-9)


def test_cycles_of_the_logistic_map_by_newton():
    """Numbers of cycles of 4 x (1 - x): 2, 1, 2, 3 (necklaces); multipliers +-2^p, but 4 at 0."""
    found = equilibria(lambda x: 4 * x * (1 - x), ([-0.1], [1.1]), period=4, starts=400)
    assert found.attrs["method"] == "newton" and found.attrs["complete"] == "not proved"
    assert "mul" in found.attrs["notes"] or "pow" in found.attrs["notes"] or "neither affine" in found.attrs["notes"]
    counts = [len(np.unique(found.cycle.values[found.period.values == p])) for p in (1, 2, 3, 4)]
    assert counts == [2, 1, 2, 3]
    away = found.position.values[:, 0] > 1e-6
    size = np.abs(found.eigenvalue_real.values[:, 0])
    assert size[away] == pytest.approx(2.0 ** found.period.values[away], rel=1e-5)
    assert size[~away] == pytest.approx([4]) and not found.proved.any() and np.isinf(found.slack).all()


def test_the_henon_map_by_newton():
    def henon(x):
        return torch.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], 1)

    found = equilibria(Map(henon), ([-2, -2], [2, 2]), period=3)
    one = found.isel(point=found.period.values == 1)
    x = (-0.7 + np.array([-1, 1]) * math.sqrt(0.49 + 4 * 1.4)) / 2.8
    assert one.position.values == pytest.approx(np.stack([x, 0.3 * x], 1), abs=1e-12)
    assert found.period.values.tolist() == [1, 1, 2, 2]  # it has no cycle of period 3
    assert (found.eigenvalue_real * 1).prod("index").values == pytest.approx([-0.3, -0.3, 0.09, 0.09], abs=1e-12)


def test_cycles_run_through_their_points_and_are_listed_once():
    net = mlp(2, 8, nn.Tanh(), 4.0)
    found = equilibria(Loop(net), (-6, 6), period=2)
    assert found.attrs["complete"] == "proved"
    for number in np.unique(found.cycle):
        x = torch.from_numpy(found.position.values[found.cycle.values == number])
        assert len(x) == found.period.values[found.cycle.values == number][0]
        assert torch.allclose(net(x).detach(), x.roll(-1, 0), atol=1e-11, rtol=0)
    x = found.position.values
    assert (np.abs(x[:, None] - x).max(2) + np.eye(len(x))).min() > 1e-6
    other = equilibria(Loop(net), (-6, 6), period=2, method="newton", starts=600)
    assert other.period.values.tolist() == found.period.values.tolist()
    assert other.position.values == pytest.approx(x, abs=1e-9)
    # a box that holds only some of the points of a cycle does not list it
    inner = equilibria(Loop(net), ([0.3, 0.3], [6, 6]), period=2)
    assert inner.attrs["complete"] == "proved"
    for k in np.unique(inner.cycle):
        assert (inner.position.values[inner.cycle.values == k] >= 0.3).all()
    whole = [k for k in np.unique(found.cycle) if (x[found.cycle.values == k] >= 0.3).all()]
    assert len(np.unique(inner.cycle)) == len(whole)


def test_equilibria_on_the_border_of_the_closed_box_are_not_lost():
    def f(x):
        return torch.tanh(2 * x)

    edge = 0.9575040240772687
    for box, expected in (((0.0, edge), 2), ((0.0, 5.0), 2), ((edge, 3.0), 1), ((1e-6, edge - 1e-6), 0), ((-1, 0), 2)):
        found = equilibria(Map(f, dim=1), box)
        assert (found.sizes["point"], found.attrs["complete"]) == (expected, "proved"), box
    corner = equilibria(lambda x: torch.tanh(2 * x), ([0.0, 0.0], [1.0, 1.0]))
    assert corner.sizes["point"] == 4 and corner.attrs["complete"] == "proved"


def test_piecewise_linear_maps_of_the_plane_go_through_their_regions():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 2)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)
    exact = equilibria(net, (-6, 6))
    searched = equilibria(net, (-6, 6), method="krawczyk")
    assert exact.attrs["method"] == "regions" and searched.attrs["method"] == "krawczyk"
    assert exact.attrs["complete"] == searched.attrs["complete"] == "proved" and exact.sizes["point"] > 0
    assert exact.position.values == pytest.approx(searched.position.values, abs=1e-11)
    assert exact.stability.values.tolist() == searched.stability.values.tolist() and exact.proved.all()
    assert "float64" in exact.attrs["arithmetic"] and "intervals" in searched.attrs["arithmetic"]


def test_equilibria_at_kinks_are_proved_and_decided_by_all_slopes():
    found = equilibria(lambda x: 0.5 * torch.abs(x), ([-1.0], [2.0]))
    assert found.attrs["complete"] == "proved" and found.sizes["point"] == 1 and found.proved.all()
    assert abs(found.position.values[0, 0]) < 1e-12 and meanings(found) == ["attracting"]
    found = equilibria(lambda x: -F.leaky_relu(2 * x, -0.25), ([-1.0], [2.0]))  # slopes 1/2 and -2
    assert found.attrs["complete"] == "proved" and meanings(found) == ["undecided"]


def test_continua_are_left_over_and_end():
    still = equilibria(lambda x: x, ([-1, -1], [1, 1]))
    assert still.unresolved_kind.attrs["flag_meanings"].split()[int(still.unresolved_kind[0])] == "polygon"
    ray = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        ray.weight.copy_(torch.tensor([[0.25, 0.5], [0.75, 0.5]]))
    line = equilibria(nn.Sequential(ray, nn.ReLU()), (-6, 6))
    ends = np.sort([line.segment_start.values[0], line.segment_end.values[0]], 0)
    assert ends == pytest.approx(np.array([[0, 0], [4, 6]]), abs=1e-9)
    for f in (lambda x: x, nn.Sequential(ray, nn.ReLU())):
        found = equilibria(f, ([-6, -6], [6, 6]), method="krawczyk", max_boxes=2000)
        assert found.attrs["complete"] == "not proved" and "2,000 boxes were not enough" in found.attrs["notes"]
        assert found.attrs["boxes"] == 2000 and 1 <= found.sizes["line"] <= 500
        lo, hi = found.unresolved_lo.values, found.unresolved_hi.values
        for t in np.linspace(0, 6, 50):  # points of the continuum lie in what is left
            at = np.array([t * 2 / 3, t])
            assert ((lo <= at) & (at <= hi)).all(1).any()


def test_a_fold_leaves_a_small_box():
    # gelu(x) + d touches the diagonal: the largest of x - gelu(x) is where its slope is 1
    lo, hi = torch.tensor([0.0, 1.4], dtype=torch.float64)
    for _ in range(80):
        middle = (lo + hi) / 2
        slope = torch.func.grad(F.gelu)(middle)
        lo, hi = (middle, hi) if slope < 1 else (lo, middle)
    top = float(lo - F.gelu(lo))
    found = equilibria(Map(lambda x: F.gelu(x) + top, dim=1), (-10, 10))
    assert found.attrs["complete"] == "not proved" and found.sizes["line"] <= 2
    assert float((found.unresolved_hi - found.unresolved_lo).max()) < 1e-4
    assert equilibria(Map(lambda x: F.gelu(x) + top + 1e-6, dim=1), (-10, 10)).sizes["point"] == 0
    assert equilibria(Map(lambda x: F.gelu(x) + top - 1e-6, dim=1), (-10, 10)).sizes["point"] == 2


def test_loops_with_policies_float32_and_many_components():
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    A, B = torch.tensor([[1.0, 0.1], [0.0, 1.0]]), torch.tensor([[0.0], [0.1]])
    loop = Loop(lambda x, u: x @ A.to(x).T - 0.2 * x + u @ B.to(x).T, policy.double(), dim=2)
    found = equilibria(loop, (-3, 3))
    assert found.attrs["complete"] == "proved" and found.sizes["point"] == 1
    single = mlp(2, 8, nn.Tanh(), 4.0).float()
    found = equilibria(single, (-6, 6))
    assert found.attrs["complete"] == "proved"
    x = torch.from_numpy(found.position.values).float()
    assert torch.allclose(single(x).detach(), x, atol=1e-5)
    assert next(single.parameters()).dtype == torch.float32
    wide = equilibria(mlp(12, 12, nn.GELU(), 1.5), (-6, 6), max_boxes=200)
    assert wide.attrs["complete"] == "not proved" and wide.sizes["point"] >= 1 and wide.proved.values[0] == 1


def test_a_plain_function_in_float32():
    W = torch.tensor([[0.0, 2.0], [-2.0, 0.0]])
    found = equilibria(lambda x: torch.sin(x @ W) * torch.cos(x), ([-1, -1], [1, 1]))
    assert found.attrs["method"] == "newton" and found.attrs["complete"] == "not proved"
    near = found.position.values[np.abs(found.position.values).max(1).argmin()]
    assert np.abs(near).max() < 1e-5
    modulus = np.hypot(found.eigenvalue_real, found.eigenvalue_imag).values
    assert (modulus[np.abs(found.position.values).max(1).argmin()]) == pytest.approx([2, 2], rel=1e-4)


def test_the_same_seed_gives_the_same_and_progress_is_told():
    seen = []
    net = mlp(2, 8, nn.Tanh(), 4.0)
    one = equilibria(net, (-6, 6), progress=lambda done, total: seen.append((done, total)))
    other = equilibria(net, (-6, 6))
    assert one.position.values.tolist() == other.position.values.tolist()
    assert seen[-1] == (100, 100) and all(a[0] <= b[0] for a, b in pairwise(seen))
    other = equilibria(net, (-6, 6), starts=0)
    assert other.position.values == pytest.approx(one.position.values, abs=1e-10)
    few = equilibria(net, (-6, 6), method="newton", starts=torch.from_numpy(one.position.values[:1]) + 0.01)
    assert few.position.values == pytest.approx(one.position.values[:1], abs=1e-10)


def test_it_survives_a_file(tmp_path):
    for found in (
        equilibria(lambda x: F.gelu(x) + 0.12, ([-10], [10])),
        equilibria(Map(lambda x: x + 1, dim=1), (-1, 1)),
        equilibria(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)), (-6, 6)),
    ):
        found.to_netcdf(tmp_path / "found.nc")
        with xr.open_dataset(tmp_path / "found.nc") as again:
            xr.testing.assert_identical(again.load(), found)
    assert equilibria(Map(lambda x: x + 1, dim=1), (-1, 1)).sizes["point"] == 0


class Square(nn.Module):
    def forward(self, x):
        return x[:, :1] * torch.ones(1, 3, dtype=x.dtype)


net2 = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
BAD = [
    (net2, (math.nan, 1.0), {}, "box"),
    (net2, (1.0, 1.0), {}, "box"),
    (net2, (1.0, -1.0), {}, "box"),
    (net2, ([0.0] * 3, [1.0] * 3), {}, "box|model|components"),
    (net2, (-math.inf, math.inf), {}, "box"),
    (net2, 3.0, {}, "box"),
    (net2, (0.0, 1.0, 2.0), {}, "box"),
    (Square(), ([0.0, 0.0], [1.0, 1.0]), {}, "components|shape"),
    (nn.Linear(2, 3), (-1, 1), {}, "2 to 3 components"),
    (lambda x: x[:, :1], ([0.0, 0.0], [1.0, 1.0]), {}, "components|shape"),
    (torch.tanh, (-1.0, 1.0), {}, "vectors"),
    (torch.tanh, 3.0, {}, "box"),
    (torch.tanh, "box", {}, "box"),
    (torch.tanh, ([], []), {}, "box"),
    (torch.tanh, ([0.0], [math.nan]), {}, "box"),
    (net2, (-1, 1), {"period": 0}, "period"),
    (net2, (-1, 1), {"period": True}, "period"),
    (net2, (-1, 1), {"method": "magic"}, "method"),
    (net2, (-1, 1), {"method": "regions"}, "piecewise"),
    (net2, (-1, 1), {"max_boxes": 0}, "max_boxes"),
    (net2, (-1, 1), {"starts": -1}, "starts"),
    (net2, (-1, 1), {"starts": torch.zeros(4, 3)}, "starts"),
    (net2, (-1, 1), {"seed": -1}, "seed"),
    (net2, (-1, 1), {"memory": "none"}, "memory"),
    (lambda x: x * x.sum(), ([-1.0], [1.0]), {"method": "krawczyk"}, "seen through"),
    (lambda x: x * math.nan, ([-1.0], [1.0]), {}, "NaN"),
    (lambda x, t: x + t, ([-1.0], [1.0]), {}, "two arguments"),
    (Map(lambda x, t: x + t, dim=1), (-1.0, 1.0), {}, "time"),
    (Loop(lambda x, u: x + u, torch.zeros(5, 1), dim=1), (-1.0, 1.0), {}, "5 steps"),
    (Depth(net2), (-1.0, 1.0), {}, "steps"),
    (3, (-1.0, 1.0), {}, "system"),
    (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), (-1.0, 1.0), {}, "eval"),
]


@pytest.mark.parametrize("system, box, more, words", BAD)
def test_what_cannot_be_asked_gets_a_clear_error(system, box, more, words, as_user):
    with pytest.raises(ArgumentError, match=words):
        equilibria(system, box, **more)


def test_a_wrong_box_does_not_spoil_the_map():
    moving = Map(lambda x: torch.stack([x[:, 0] * x[:, 1], x[:, 0]], 1))
    with pytest.raises(ArgumentError):
        equilibria(moving, ([-1.0] * 3, [1.0] * 3))
    assert equilibria(moving, ([-1.0] * 2, [1.5] * 2)).position.values == pytest.approx(
        np.array([[0, 0], [1, 1]]), abs=1e-9
    )


def test_the_model_is_left_as_it_was():
    net = mlp(2, 8, nn.Tanh(), 2.0).float()
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    equilibria(net, (-3, 3), period=2)
    assert torch.equal(torch.get_rng_state(), state) and net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


@pytest.mark.parametrize("method", ["krawczyk", "newton"])
def test_at_a_fold_the_stability_is_undecided(method):
    # torch's own fold: the largest of gelu(x) - x - d at slope 1, where Newton's method stops 1e-8 short
    top = 0.7517915246935645 - float(F.gelu(torch.tensor(0.7517915246935645, dtype=torch.float64)))
    found = equilibria(Map(lambda x: F.gelu(x) + top, dim=1), (-10, 10), method=method)
    assert meanings(found) == ["undecided"] and not found.proved.any()


def test_margins_hold_for_coinciding_eigenvectors():
    generator = torch.Generator().manual_seed(0)
    for n in (2, 3, 6):
        for error in (1e-8, 1e-5, 1e-2):
            A = 0.5 * torch.eye(n, dtype=torch.float64)
            A += torch.randn(n, n, generator=generator, dtype=torch.float64).triu(1)
            E = torch.full((n, n), error / n, dtype=torch.float64)  # largest row sum is the error
            margin = float(_margin(A[None], torch.tensor([error], dtype=torch.float64)))
            moved = torch.linalg.eigvals(A + E)
            assert float((moved - 0.5).abs().max()) <= margin


def test_a_grid_is_a_box_of_two_dimensions():
    found = equilibria(lambda x: torch.tanh(2 * x), grid((-2, 2), (-2, 2)))
    assert found.sizes["axis"] == 2 and found.sizes["point"] == 9 and found.attrs["complete"] == "proved"
    with pytest.raises(ArgumentError, match="two arguments"):
        equilibria(lambda x, u: x + u, (-1, 1))
