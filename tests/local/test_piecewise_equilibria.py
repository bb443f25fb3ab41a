"""All equilibria and cycles of piecewise-linear maps: known ones, a degree theorem, Newton's iteration, exact chaos."""

from functools import reduce

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.local.piecewise_equilibria import piecewise_equilibria
from separatrix.local.piecewise_stability import STABILITY, common_norm, joint_stability, smooth_stability
from separatrix.local.region_layers import composed, evaluate, layers
from separatrix.results.errors import ArgumentError
from separatrix.systems.lure import lure
from separatrix.testing.region_twin import HIDDEN, chain, five_networks

KNOWN = (
    [((0.2382, 1.2165), (-0.0106, 0))],
    [((-0.6252, 0.5046), (2.668, -0.799)), ((0.7683, 0.1679), (-1.331, -0.206))],
    [],
    [((-0.1729, -0.3779), (1.919, -0.574)), ((-0.1009, -0.3851), (-0.577 + 0.077j, -0.577 - 0.077j))],
    [((0.1813, -0.1993), (-1.369, -0.847))],
)


@pytest.fixture(scope="module")
def five():
    return [lure(chain(*network), 2) for network in five_networks()]


class Plane(nn.Module):
    """A map of the plane, component by component."""

    def __init__(self, first, second=lambda x, y: 0.5 * y):
        super().__init__()
        self.parts = first, second

    def forward(self, x):
        return torch.stack([part(x[:, 0], x[:, 1]) for part in self.parts], 1)


def seen(first, second=lambda x, y: 0.5 * y):
    return lure(Plane(first, second), 2)


def meanings(found):
    return [STABILITY[k] for k in found.stability]


def is_consistent(found, network):
    """Every cycle runs through its points in their order, and the eigenvalues are those of the chain rule."""
    once = layers(network)
    for number in np.unique(found.cycle):
        x = found.position[found.cycle == number]
        p = int(found.period[found.cycle == number][0])
        assert len(x) == p
        np.testing.assert_allclose(evaluate(once, x.T).T, np.roll(x, -1, axis=0), rtol=0, atol=1e-9)
        apart = np.linalg.norm(x[:, None] - x, axis=2) + 10 * np.eye(p)
        assert apart.min() > 1e-9, "a point is listed twice, or the period is not the least one"
        product = np.eye(2)
        for point in x:
            product = jacobian(network, point) @ product
        if not found.boundary[found.cycle == number].any():
            expected = np.linalg.eigvals(product)
            expected = expected[np.lexsort((-expected.imag, -np.abs(expected).round(9)))]
            np.testing.assert_allclose(found.eigenvalues[found.cycle == number][0], expected, rtol=1e-6, atol=1e-7)
    assert (found.residual <= 1e-9).all()


def jacobian(network, x):
    return torch.func.jacrev(lambda p: network(p[None])[0])(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("k", range(5), ids=[str(h) for h in HIDDEN])
def test_known_networks(five, k):
    found = piecewise_equilibria(five[k], -6, 6)
    assert found.complete and len(found.segments) == len(found.polygons) == 0
    assert len(found.position) == len(KNOWN[k])
    for position, values in KNOWN[k]:
        place = np.abs(found.position - position).max(1).argmin()
        np.testing.assert_allclose(found.position[place], position, atol=6e-5)
        np.testing.assert_allclose(found.eigenvalues[place], values, atol=6e-4)
        moduli = np.abs(values)
        kind = "attracting" if moduli.max() < 1 else "repelling" if moduli.min() > 1 else "saddle"
        assert meanings(found)[place] == kind
    is_consistent(found, five[k])


@pytest.mark.parametrize("k", range(5), ids=[str(h) for h in HIDDEN])
def test_indices_add_up_to_the_turns_along_the_border(five, k):
    """The sum of sign det(I - A) over all equilibria is the winding number of x - f(x) along the border of the box."""
    for half in (6.0, 2.0, 0.9, 30.0):
        found = piecewise_equilibria(five[k], -half, half)
        index = np.sign(np.prod(1 - found.eigenvalues, axis=1).real).sum()
        assert index == turns(layers(five[k]), half)


def turns(once, half):
    t = np.linspace(-half, half, 4001)
    edge = np.full_like(t, half)
    loop = np.concatenate([[t, -edge], [edge, t], [t[::-1], edge], [-edge, t[::-1]]], axis=1)
    away = loop - evaluate(once, loop)
    angle = np.arctan2(away[1], away[0])
    step = np.diff(np.concatenate([angle, angle[:1]]))
    step = (step + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(step).max() < 1
    return round(step.sum() / (2 * np.pi))


def test_newton_finds_nothing_else(five):
    """Newton's iteration on f^p(x) - x with difference quotients of the model itself, for periods 1, 2 and 3."""
    found = piecewise_equilibria(five[1], -6, 6, period=3)
    is_consistent(found, five[1])
    assert [int((found.period == p).sum()) for p in (1, 2, 3)] == [2, 2, 3]
    model = chain(*five_networks()[1])

    def orbit(x, p):
        points = [torch.from_numpy(x)]
        with torch.no_grad():
            for _ in range(p):
                points.append(model(points[-1]))
        return torch.stack(points).numpy()

    starts = np.random.default_rng(0).uniform(-6, 6, (500, 2))
    for p in (1, 2, 3):
        x = starts
        for _ in range(30):
            around = [orbit(x + step, p)[-1] for step in ([0, 0], [1e-7, 0], [0, 1e-7])]
            slope = np.stack([around[1] - around[0], around[2] - around[0]], 2) / 1e-7
            x = x + np.clip(np.linalg.solve(np.eye(2) - slope + 1e-12, (around[0] - x)[..., None])[..., 0], -9, 9)
        path = orbit(x, p)
        good = (np.abs(path[-1] - path[0]).max(1) < 1e-9) & (np.abs(path).max((0, 2)) <= 6)
        apart = np.linalg.norm(x[good][:, None] - found.position[p % found.period == 0], axis=2)
        assert len(apart) > 30 and apart.min(1).max() < 1e-7
        assert apart.min(0).max() < 1e-7, "it should have met all of them, or the comparison says little"


def tent(x, y):
    return 1 - 2 * (x - 0.5).abs()


def test_the_tent_map_has_every_cycle():
    """f^p has 2^p fixed points, k / (2^p +- 1) doubled: 2, 1, 2, 3, 6, 9 cycles of the periods 1 to 6, all saddles."""
    found = piecewise_equilibria(seen(tent), (0, -1), (1, 1), period=6)
    assert found.complete
    assert [len(np.unique(found.cycle[found.period == p])) for p in range(1, 7)] == [2, 1, 2, 3, 6, 9]
    assert set(meanings(found)) == {"saddle"}
    for p in (4, 5, 6):
        of_iterate = np.sort(found.position[p % found.period == 0, 0])
        k = np.arange(0, 2**p, 2)
        expected = np.sort(np.concatenate([k / (2**p - 1), (k + 2) / (2**p + 1)]))
        np.testing.assert_allclose(of_iterate, expected, rtol=0, atol=1e-12)
    assert np.abs(found.position[:, 1]).max() <= 1e-12
    np.testing.assert_allclose(np.abs(found.eigenvalues[:, 0]), 2.0**found.period, rtol=1e-12)
    np.testing.assert_allclose(np.abs(found.eigenvalues[:, 1]), 0.5**found.period, rtol=1e-12)
    is_consistent(found, seen(tent))


@pytest.mark.parametrize(("lo", "hi", "counts"), [(0.4, 0.8, [1, 1]), (0.41, 0.8, [1, 0]), (0.0, 0.5, [1, 0])])
def test_points_on_the_border_of_the_box_are_in_it(lo, hi, counts):
    """The tent map's equilibria are 0 and 2/3, its only cycle of two points 2/5 and 4/5."""
    found = piecewise_equilibria(seen(tent), (lo, -1), (hi, 0), period=2)
    assert [len(np.unique(found.cycle[found.period == p])) for p in (1, 2)] == counts
    assert found.complete and not found.boundary.any()
    assert (found.position >= (lo, -1)).all() and (found.position <= (hi, 0)).all()


def test_equilibria_where_regions_meet():
    cases = [
        (lambda x, y: 0.5 * x.abs(), lambda x, y: 0.5 * y, "attracting"),
        (lambda x, y: 1.5 * x.abs(), lambda x, y: 2 * y, "repelling"),
        (lambda x, y: 1.5 * torch.relu(x) + 0.5 * torch.relu(-x), lambda x, y: 0.5 * y, "undecided"),
        (lambda x, y: 0.6 * y, lambda x, y: -0.9 * x + 0.4 * x.abs() + 0.2 * y.abs(), "attracting"),
    ]
    for first, second, kind in cases:
        for lo, hi in (((-1, -1), (1, 1)), ((0, 0), (2, 3)), ((-1, 0), (0, 0.5))):
            found = piecewise_equilibria(seen(first, second), lo, hi)
            assert found.complete and meanings(found) == [kind] and found.boundary.tolist() == [True]
            assert np.abs(found.position).max() <= 1e-12
    # a kink that changes nothing is no boundary
    found = piecewise_equilibria(seen(lambda x, y: torch.relu(x) - torch.relu(-x) - 0.5 * x), -1, 1)
    assert meanings(found) == ["attracting"] and not found.boundary.any() and len(found.position) == 1


def test_all_sectors_of_a_network_without_biases_meet_in_its_equilibrium():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 12, bias=False), nn.ReLU(), nn.Linear(12, 2, bias=False)).double()
    found = piecewise_equilibria(lure(model, 2), -6, 6)
    assert np.abs(found.position).max() <= 1e-12 and found.boundary.tolist() == [True]
    assert meanings(found) == ["attracting"] and found.complete


def test_lines_of_equilibria_are_segments():
    """A Perron-Frobenius layer keeps the sum of what is positive: from the origin runs a ray of equilibria."""
    A = np.array([[0.7, 0.2], [0.3, 0.8]])
    found = piecewise_equilibria(lure(chain([A, np.eye(2)], [np.zeros(2)] * 2), 2), -6, 6)
    assert found.complete and len(found.position) == 0 and found.segment_period.tolist() == [1]
    ends = found.segments[0][np.argsort(found.segments[0][:, 0])]
    np.testing.assert_allclose(ends, [[0, 0], [4, 6]], atol=1e-10)
    assert found.segment_eigenvalue[0] == pytest.approx(0.5)
    # in a box beside the ray there is nothing
    assert len(piecewise_equilibria(lure(chain([A, np.eye(2)], [np.zeros(2)] * 2), 2), (1, -3), (2, 1)).segments) == 0
    # a line that several regions share
    found = piecewise_equilibria(seen(lambda x, y: x, lambda x, y: 0.5 * y + 0.3 * x.abs() - 0.3 * x.abs()), -1, 1)
    assert len(found.segments) == 2 and len(found.position) == 0
    np.testing.assert_allclose(np.ptp(found.segments, axis=1).sum(0), [2, 0], atol=1e-10)


def test_reflections_and_turns():
    found = piecewise_equilibria(seen(lambda x, y: -x), -1, 1, period=4)
    assert found.position.tolist() == [[0, 0]] and meanings(found) == ["undecided"]
    assert found.segment_period.tolist() == [2] and found.segment_eigenvalue[0] == pytest.approx(0.25)
    np.testing.assert_allclose(np.sort(found.segments[0][:, 0]), [-1, 1], atol=1e-12)
    found = piecewise_equilibria(seen(lambda x, y: -y, lambda x, y: x), -1, (1, 2), period=8)
    assert found.polygon_period.tolist() == [4] and len(found.position) == 1 and len(found.segments) == 0
    np.testing.assert_allclose(sorted(map(tuple, found.polygons[0].round(9))), [(-1, -1), (-1, 1), (1, -1), (1, 1)])
    found = piecewise_equilibria(seen(lambda x, y: x, lambda x, y: y), 0, 1, period=3)
    assert found.polygon_period.tolist() == [1] and len(found.position) == 0


def test_no_equilibrium_and_almost_none():
    assert len(piecewise_equilibria(seen(lambda x, y: x + 1), -5, 5, period=3).position) == 0
    # two equilibria that are about to merge at the kink, and have just done so
    for gap, count in ((1e-8, 2), (-1e-8, 0)):
        found = piecewise_equilibria(seen(lambda x, y, g=gap: x + 0.5 * x.abs() - g), -1, 1)
        assert len(found.position) == count and found.complete
        if count:
            np.testing.assert_allclose(np.sort(found.position[:, 0]), [-2e-8, 2e-8], rtol=1e-3)
            assert not found.boundary.any()
    # I - A is almost singular, and the solution is uncertain beyond the border of its region
    found = piecewise_equilibria(seen(lambda x, y: (1 - 1e-10) * x + 1e-10 * (1 + 1e-6)), -1, 1)
    assert not found.complete and "almost singular" in found.notes[0]
    np.testing.assert_allclose(found.unresolved_hi[0], [1, 1], atol=1e-5)


def test_too_many_regions_give_up_and_say_so():
    found = piecewise_equilibria(seen(tent), (0, -1), (1, 1), period=9, limit=40)
    assert not found.complete and "periods 6 to 9" in found.notes[0] and found.period.max() == 5
    np.testing.assert_array_equal(found.unresolved_lo, [[0, -1]])
    np.testing.assert_array_equal(found.unresolved_hi, [[1, 1]])
    none = piecewise_equilibria(seen(tent), (0, -1), (1, 1), limit=1)
    assert not none.complete and len(none.position) == 0


def test_stability_agrees_with_eigenvalues():
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(STABILITY, 0)
    for A in 1.2 * rng.standard_normal((200, 2, 2)):
        moduli = np.abs(np.linalg.eigvals(A))
        expected = "attracting" if moduli.max() < 1 else "repelling" if moduli.min() > 1 else "saddle"
        assert STABILITY[smooth_stability(A)] == expected
        counts[expected] += 1
        assert STABILITY[joint_stability(np.stack([A, A]))] == expected
        if expected == "attracting":
            # what a common quadratic function says is true of every switching between the two maps
            other = A + 0.1 * rng.standard_normal((2, 2))
            if STABILITY[joint_stability(np.stack([A, other]))] == "attracting":
                product = reduce(np.matmul, [(A, other)[k] for k in rng.integers(2, size=400)])
                assert np.abs(product).max() < 1e-1
                counts["undecided"] += 1
    assert min(counts.values()) > 10
    for A in (np.eye(2), -np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]]), np.diag([1.0, 0.3]), np.diag([-1.0, 3.0])):
        assert STABILITY[smooth_stability(A)] == "undecided"
    # the norm that is found is one that the maps have
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    stretched = np.linalg.solve(np.diag([1, 30.0]), 0.9 * turned @ np.diag([1, 30.0]))
    assert common_norm(np.stack([stretched, 0.5 * stretched])) == pytest.approx(0.9, abs=1e-5)
    # each map alone is stable, and switching between them is not
    pair = np.array([[[0.5, 2.0], [0.0, 0.5]], [[0.5, 0.0], [2.0, 0.5]]])
    assert np.abs(np.linalg.eigvals(pair)).max() < 1 and STABILITY[joint_stability(pair)] == "undecided"


def test_composed_layers_are_the_iterated_map(five):
    once = layers(five[3])
    x = np.random.default_rng(1).uniform(-6, 6, (2, 50))
    y = x
    for p in range(1, 4):
        y = evaluate(once, y)
        np.testing.assert_allclose(evaluate(composed(once, p, np.full(2, -9.0), np.full(2, 9.0)), x), y, atol=1e-10)


@pytest.mark.parametrize(
    ("f", "lo", "hi", "options", "words"),
    [
        (nn.Linear(2, 3), -1, 1, {}, "system: .*from 2 to 3"),
        (nn.Linear(3, 3), -1, 1, {}, "system: .*from 3 to 3"),
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh()), -1, 1, {}, "not piecewise linear"),
        (nn.Linear(2, 2), 1, -1, {}, "box: "),
        (nn.Linear(2, 2), float("nan"), 1, {}, "box: "),
        (nn.Linear(2, 2), -1, 1, {"period": 0}, "period: "),
        (nn.Linear(2, 2), -1, 1, {"period": 2.0}, "period: "),
    ],
)
def test_careless_arguments(f, lo, hi, options, words, as_user):
    inputs = next(m for m in f.modules() if isinstance(m, nn.Linear)).in_features
    with pytest.raises(ArgumentError, match=words):
        piecewise_equilibria(lure(f, inputs), lo, hi, **options)
