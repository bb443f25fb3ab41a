"""All regions of planar maps: nothing is missed, nothing that is proved is false, and what should be proved is."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from separatrix.certificates.planar.boundedness import prove_boundedness_by_regions, verify_boundedness_by_regions
from separatrix.certificates.planar.contraction import prove_contraction_by_regions, verify_contraction_by_regions
from separatrix.certificates.planar.region_cover import Incomplete, region_cover
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.local.regions import regions
from separatrix.studies.drgona2022.counterexamples import two_regions
from separatrix.systems.lure import lure
from separatrix.testing.region_twin import chain, five_networks

ACTIVATIONS = (
    nn.ReLU(),
    nn.LeakyReLU(0.25),
    nn.Hardtanh(),
    nn.Hardsigmoid(),
    nn.ReLU6(),
    torch.abs,
    nn.Softshrink(0.5),
)
COUNTS = (4, 385, 2164, 4032, 7917)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def problem(f, box=None, n=2, u=()):
    corners = None if box is None else tuple(torch.full((n,), float(side), dtype=torch.float64) for side in box)
    u = vector(*u)
    return Problem(lure(f, (n + len(u),)), n, len(u), corners, (u, u))


def random_map(rng, width, depth, gain=1.0, bias=True, acts=None, whole=False):
    """Depth activation layers of one width, weights normal or small whole numbers, sometimes with a skip."""
    dims = [2, *[width] * depth, 2]

    def draw(*shape):
        values = rng.integers(-2, 3, size=shape) / 2 if whole else rng.normal(size=shape)
        return torch.from_numpy(values / np.sqrt(shape[0]) * gain if len(shape) > 1 else values)

    W = [draw(a, b) for a, b in pairwise(dims)]
    B = [draw(b) if bias else torch.zeros(b).double() for b in dims[1:]]
    acts = acts or [ACTIVATIONS[k] for k in rng.integers(len(ACTIVATIONS), size=depth)]
    skip = rng.random() < 0.25

    def f(x):
        y = x
        for w, b, act in zip(W[:-1], B[:-1], acts, strict=True):
            y = act(y @ w + b)
        y = y @ W[-1] + B[-1]
        return 0.9 * x + 0.1 * y if skip else y

    return f


def exactly(network, x):
    """Value and Jacobian at a point in rational arithmetic; None on a kink."""
    n = len(x)
    layers = [[(Fraction(v), [Fraction(int(i == j)) for j in range(n)]) for i, v in enumerate(x)]]
    for block in network.blocks:
        weights = [(source, w.tolist()) for source, w in block.weights.items()]
        found = []
        for i, start in enumerate(block.bias.tolist()):
            z, dz = Fraction(start), [Fraction(0)] * n
            for source, rows in weights:
                for w, (v, dv) in zip(rows[i], layers[source], strict=True):
                    z += Fraction(w) * v
                    dz = [p + Fraction(w) * q for p, q in zip(dz, dv, strict=True)]
            if block.curve is not None:
                breaks = [Fraction(t) for t in block.curve.pieces.breakpoints.tolist()]
                if z in breaks and any(dz):
                    return None
                piece = sum(z >= t for t in breaks)
                slope = Fraction(block.curve.pieces.slopes[piece].item())
                slope = Fraction(1, 6) if block.curve.name == "hardsigmoid" and slope else slope
                z = slope * z + Fraction(block.curve.pieces.offsets[piece].item())
                dz = [slope * q for q in dz]
            found.append((z, dz))
        layers.append(found)
    return [v for v, _ in layers[-1]], [d for _, d in layers[-1]]


def holds(cover, x, value, jacobian):
    """Whether a cell that x is in, to rounding, has the exact map of x within its radii."""
    offset = [
        v - sum(d * Fraction(t) for d, t in zip(row, x, strict=True)) for v, row in zip(value, jacobian, strict=True)
    ]
    A = np.array([[float(d) for d in row] for row in jacobian])
    for k in np.flatnonzero((np.abs(cover.A - A) <= cover.A_radius + 1e-15 * np.abs(A)).all((1, 2))):
        pairs = [(jacobian[i][j], cover.A[k, i, j], cover.A_radius[k, i, j]) for i in range(2) for j in range(2)]
        pairs += [(offset[i], cover.b[k, i], cover.b_radius[k, i]) for i in range(2)]
        if all(abs(true - Fraction(m.item())) <= Fraction(r.item()) for true, m, r in pairs):
            rays = cover.rays[cover.start[k] : cover.start[k] + cover.count[k]]
            point = np.array([*x, 1.0]) / max(1.0, np.abs(x).max())
            turn = np.array([np.linalg.det(np.stack([rays[i - 1], rays[i], point])) for i in range(len(rays))])
            if (turn >= -1e-13).all() or (turn <= 1e-13).all():
                return True
    return False


def patterns(values):
    return {row.tobytes() for row in np.asarray(values, dtype=np.uint8)}


@pytest.mark.parametrize("which", range(4))
def test_regions_of_a_box_are_those_that_cutting_finds(which):
    network = lure(chain(*five_networks()[which]), (2,))
    box = (vector(-6, -6), vector(6, 6))
    none = torch.zeros(0, dtype=torch.float64)
    inside = region_cover(Problem(network, 2, 0, box, (none, none)))
    found = regions(network, (-6, 6))
    assert patterns(inside.pattern) == patterns(found.pattern.values)
    assert len(patterns(inside.pattern)) == COUNTS[which]
    assert not inside.unbounded.any()
    # the maps are those of the pattern
    place = {row.tobytes(): k for k, row in enumerate(found.pattern.values.astype(np.uint8))}
    same = [place[row.tobytes()] for row in inside.pattern]
    assert np.abs(inside.A - found.A.values[same]).max() <= 1e-12
    assert np.abs(inside.b - found.b.values[same]).max() <= 1e-12


@pytest.mark.parametrize("which", range(4))
def test_regions_of_the_plane_hold_those_of_all_boxes(which):
    network = lure(chain(*five_networks()[which]), (2,))
    none = torch.zeros(0, dtype=torch.float64)
    everywhere = region_cover(Problem(network, 2, 0, None, (none, none)))
    known = patterns(everywhere.pattern)
    for side in (0.5, 6, 200):
        assert patterns(regions(network, (-side, side)).pattern.values) <= known
    assert everywhere.unbounded.any()
    # f is one of the affine maps at points of all sizes
    rng = np.random.default_rng(0)
    points = rng.normal(size=(900, 2)) * np.repeat(10.0 ** np.arange(-3, 6), 100)[:, None]
    x = torch.from_numpy(points).requires_grad_()
    value = network(x)
    J = np.stack([torch.autograd.grad(value[:, i].sum(), x, retain_graph=True)[0].numpy() for i in range(2)], 1)
    for A, y, at in zip(J, value.detach().numpy(), points, strict=True):
        near = np.abs(everywhere.A - A).max((1, 2)) <= 1e-11
        assert near.any()
        assert (np.abs(everywhere.A[near] @ at + everywhere.b[near] - y).max(1) <= 1e-9 * (1 + np.abs(at).max())).any()


@pytest.mark.parametrize("seed", range(6))
def test_exact_maps_are_held_also_where_cells_meet(seed):
    """Points a few units from corners of cells, or far away: rational arithmetic against cells and radii."""
    rng = np.random.default_rng(seed)
    seen = 0
    for _ in range(8):
        f = random_map(
            rng, int(rng.integers(1, 6)), int(rng.integers(1, 4)), bias=rng.random() < 0.6, whole=rng.random() < 0.5
        )
        one = problem(f, None if rng.random() < 0.7 else (-1.5, 2))
        cover = region_cover(one)
        corners = cover.rays[:, :2][cover.rays[:, 2] > 0] / cover.rays[:, 2:][cover.rays[:, 2] > 0]
        size = (8, 1)
        close = corners[rng.integers(len(corners), size=8)]
        close = close * (1 + rng.normal(size=(8, 2)) * 10.0 ** rng.integers(-16, -1, size=size))
        close = close + rng.normal(size=(8, 2)) * 10.0 ** rng.integers(-17, -1, size=size)
        points = np.concatenate([close, rng.normal(size=(8, 2)) * 10.0 ** rng.integers(-3, 7, size=size)])
        for x in points if one.box is None else np.clip(points, -1.5, 2):
            exact = exactly(one.network, x.tolist())
            if exact is not None:
                assert holds(cover, x.tolist(), *exact)
                seen += 1
    assert seen > 80


def test_kinks_that_coincide_give_no_maps_of_their_own():
    rng = np.random.default_rng(1)
    W, c = torch.from_numpy(rng.normal(size=(2, 2))), torch.from_numpy(rng.normal(size=2))

    def distinct(f, box=None):
        A = region_cover(problem(f, box)).A
        return len(np.unique(np.round(A.reshape(len(A), -1), 9), axis=0))

    assert distinct(two_regions()) == 2
    assert distinct(lambda x: torch.relu(x @ W + c) - torch.relu(-(x @ W) - c)) == 1
    assert distinct(lambda x: torch.relu(x @ W + c) + torch.relu(-(x @ W) - c)) == 4
    angle = torch.linspace(0, 2 * np.pi, 4001, dtype=torch.float64)[:-1] + 1e-4
    once = torch.relu(torch.stack([angle.cos(), angle.sin()], 1) @ W)
    sampled = torch.cat([once > 0, once @ W > 0], 1)
    twice = region_cover(problem(lambda x: torch.relu(torch.relu(x @ W) @ W)))
    assert len(patterns(twice.pattern)) == len(patterns(sampled.numpy()))
    assert distinct(lambda x: torch.relu(torch.relu(torch.relu(x)))) == 4
    assert distinct(lambda x: F.hardtanh(F.hardtanh(x @ W + c))) == 4
    assert distinct(lambda x: F.hardsigmoid(F.hardsigmoid(x @ W) @ W)) == 4
    assert distinct(lambda x: torch.relu(x - torch.relu(x) + torch.relu(-x))) == 1
    # a kink on the border of the box has nothing beyond it
    assert distinct(lambda x: 0.5 * x + 3 * torch.relu(x - 2), (-1, 2)) == 1
    assert distinct(lambda x: 0.5 * x + 3 * torch.relu(x - 2), (-1, 2 + 1e-12)) > 1


@pytest.mark.parametrize(("width", "depth"), [(8, 1), (8, 3), (24, 2)])
def test_without_biases_all_regions_are_sectors(width, depth):
    rng = np.random.default_rng(width + depth)
    f = random_map(rng, width, depth, 1.4, bias=False, acts=[nn.ReLU()] * depth)
    cover = region_cover(problem(f))
    assert cover.unbounded.all()
    assert np.abs(cover.b).max() == 0 == cover.b_radius.max()
    angle = torch.linspace(0, 2 * np.pi, 40_001, dtype=torch.float64)[:-1] + 1e-5
    x = torch.stack([angle.cos(), angle.sin()], 1)
    zs = problem(f).network.preactivations(x)[:-1]
    sampled = patterns(torch.cat([z > 0 for z in zs], 1).numpy())
    found = patterns(cover.pattern)
    assert sampled <= found
    assert len(found) - len(sampled) <= 2  # sectors may be narrower than a step


def test_thousands_of_regions_take_seconds():
    from time import perf_counter

    network = lure(chain(*five_networks()[3]), (2,))
    none = torch.zeros(0, dtype=torch.float64)
    began = perf_counter()
    found = region_cover(Problem(network, 2, 0, None, (none, none)))
    assert len(found.A) > 4032
    assert perf_counter() - began < 10


def test_a_budget_that_ends_is_no_answer():
    one = problem(chain(*five_networks()[2]))
    for prove in (prove_contraction_by_regions, prove_boundedness_by_regions):
        found = prove(one, limit=500)
        assert isinstance(found, Failure)
        assert "more than 500" in found.reason
        found = prove(one, seconds=1e-3)
        assert isinstance(found, Failure)
        assert "time" in found.reason


def test_what_has_no_regions_is_refused():
    wide = Problem(lure(nn.Linear(3, 3).double(), (3,)), 3, 0, None, (torch.zeros(0).double(),) * 2)
    free = problem(lambda x: 0.5 * x[:, :2] + x[:, 2:], u=(0.0,))
    free = Problem(free.network, 2, 1, None, (vector(-1), vector(1)))
    for f in (nn.SELU(), nn.Tanh(), nn.GELU()):
        found = prove_contraction_by_regions(problem(f))
        assert isinstance(found, Failure)
        assert "not piecewise linear" in found.reason
    for one, word in ((wide, "dimensions"), (free, "constant input")):
        for prove in (prove_contraction_by_regions, prove_boundedness_by_regions):
            found = prove(one)
            assert isinstance(found, Failure)
            assert word in found.reason
    one = problem(lambda x: torch.relu(torch.relu(x @ torch.ones(2, 2).double()) - x))
    blocks = [replace(b, weights={k: 1e200 * w for k, w in b.weights.items()}) for b in one.network.blocks]
    with pytest.raises(Incomplete, match="overflow"):
        region_cover(replace(one, network=replace(one.network, blocks=tuple(blocks))))


def contracts(one, **options):
    found = prove_contraction_by_regions(one, **options)
    if isinstance(found, Proof):
        again = verify_contraction_by_regions(one, found.data)
        assert isinstance(again, Proof)
        assert again.rate == found.rate < 1
        assert found.margin == 1 - found.rate
    return found


def is_bounded(one, **options):
    found = prove_boundedness_by_regions(one, **options)
    if isinstance(found, Proof):
        again = verify_boundedness_by_regions(one, found.data)
        assert isinstance(again, Proof)
        assert again.bound == found.bound > 0
    return found


def test_a_steep_linear_map():
    """All norms are above 4, the spectral radius is 1/2."""
    one = problem(lambda x: x @ vector(0.5, 0, 4, 0.5).view(2, 2))
    assert contracts(one).rate < 0.501
    for norm, value in (("1", 4.5), ("2", 4.06), ("inf", 4.5)):
        found = contracts(one, norm=norm)
        assert isinstance(found, Failure)
        assert f"{value:.3g}" in found.reason
    ball = is_bounded(one)
    assert ball.rate < 0.52
    assert ball.bound <= 1e-6


def test_two_shrinking_regions_that_grow_together():
    one = problem(two_regions())
    found = contracts(one)
    assert isinstance(found, Failure)
    assert "best norm |x|_P" in found.reason
    assert isinstance(is_bounded(one), Failure)


def test_a_kink_beyond_the_box():
    def f(x):
        return 0.5 * x + 3 * torch.relu(x - 2)

    for n in (1, 2):
        found = contracts(problem(f, n=n))
        assert isinstance(found, Failure)
        assert "spectral radius 3.5" in found.reason
        assert isinstance(is_bounded(problem(f, n=n)), Failure)
        for box in ((-1, 1), (-1, 2)):
            inside = contracts(problem(f, box, n=n))
            assert abs(inside.rate - 0.5) <= 1e-6
            assert inside.notes == ("between any two states of the box",)
        assert isinstance(contracts(problem(f, (-1, 2.0001), n=n)), Failure)
    assert isinstance(is_bounded(problem(f, (-1, 1))), Failure)


def test_plain_norms_are_those_of_the_maps():
    rng = np.random.default_rng(3)
    one = problem(random_map(rng, 12, 2, 0.6, acts=[nn.ReLU()] * 2))
    A = region_cover(one).A
    for norm, order in (("1", 1), ("2", 2), ("inf", np.inf)):
        largest = np.linalg.norm(A, order, axis=(1, 2)).max()
        assert abs(contracts(one, norm=norm).rate - largest) <= 1e-8
    free = contracts(one, norm="P")
    assert free.norm == "P"
    assert free.rate <= contracts(one, norm="2").rate


def test_a_constant_input_and_a_flat_box():
    f = lambda x: 0.5 * torch.relu(x[:, :2]) + 3 * torch.relu(x[:, 2:] - x[:, :2])  # noqa: E731
    # with u = -5 the second kink is at x = -5
    one = problem(f, (-1, 1), u=(-5.0,))
    assert abs(contracts(one).rate - 0.5) <= 1e-6
    assert isinstance(contracts(problem(f, (-1, 1), u=(0.5,))), Failure)
    line = Problem(one.network, 2, 1, (vector(-1, 0), vector(1, 0)), one.u_box)
    assert abs(contracts(line).rate - 0.5) <= 1e-6
    assert isinstance(contracts(Problem(one.network, 2, 1, (vector(-6, 0), vector(1, 0)), one.u_box)), Failure)


def test_bounded_though_steep_inside():
    """Hardtanh saturates: the rate far away is 0, across strips without end the maps are steep all the same."""
    W = vector(6, 1, -2, 5).view(2, 2)
    one = problem(lambda x: F.hardtanh(x @ W) @ W)
    assert isinstance(contracts(one), Failure)
    ball = is_bounded(one)
    corners = torch.tensor([[1.0, 1], [1, -1]], dtype=torch.float64) @ W
    # images reach the corners' and no further, in the 2-norm or the one that was taken
    assert float(corners.abs().max()) <= ball.bound <= 1.2 * float(corners.norm(dim=1).max())


def test_stochastic_and_disc_layers_with_biases():
    """Columns that sum to 0.9 in size shrink in the 1-norm; a residual step of a network that pulls inwards."""
    rng = np.random.default_rng(8)
    W = [torch.softmax(torch.from_numpy(3 * rng.normal(size=(2, 2))), 1) * 0.95 for _ in range(3)]
    b = [torch.from_numpy(rng.normal(size=2)) for _ in range(3)]

    def stochastic(x):
        for w, c in zip(W, b, strict=True):
            x = torch.relu(x @ w + c)
        return x

    assert contracts(problem(stochastic), norm="1").rate <= 0.95**3 + 1e-9
    assert contracts(problem(stochastic)).rate <= 0.95**3 * (1 + 1e-6)
    diagonal = [torch.diag(torch.from_numpy(rng.uniform(0.4, 0.7, 2))) - 0.1 for _ in range(3)]

    def discs(x):
        for w, c in zip(diagonal, b, strict=True):
            x = F.leaky_relu(x @ w + c, 0.1)
        return x

    assert contracts(problem(discs)).rate < 0.6
    assert isinstance(is_bounded(problem(discs)), Proof)
    inner = random_map(rng, 16, 2, 0.5, acts=[nn.ReLU()] * 2)
    step = problem(lambda x: x + 0.1 * (inner(x) - x))
    assert 0.9 <= contracts(step).rate < 1
    assert isinstance(is_bounded(step), Proof)


def test_a_metric_where_norms_and_layers_say_nothing():
    rng = np.random.default_rng(11)
    proved = layers = plain = 0
    for _ in range(24):
        act = (nn.ReLU(), nn.LeakyReLU(0.25), torch.abs, nn.Hardtanh())[rng.integers(4)]
        one = problem(random_map(rng, 6, 2, 1.1, acts=[act] * 2))
        maps = region_cover(one).A
        proved += isinstance(prove_contraction_by_regions(one), Proof)
        layers += (
            float(np.prod([sum(np.linalg.norm(w, 2) for w in b.weights.values()) for b in one.network.blocks])) < 1
        )
        plain += any(np.linalg.norm(maps, norm, axis=(1, 2)).max() < 1 for norm in (1, 2, np.inf))
    assert layers == 0
    assert proved > plain + 1
    assert proved >= 6


def attack(one, proof, rng, pairs=4000):
    """The largest quotient of sampled pairs, less what rounding of f may do to it."""
    scale = 10.0 ** rng.uniform(-3, 5, size=(pairs, 1))
    x = rng.normal(size=(pairs, 2)) * scale
    y = x + rng.normal(size=(pairs, 2)) * scale * 10.0 ** rng.uniform(-4, 1, size=(pairs, 1))
    if one.box is not None:
        lo, hi = (side.numpy() for side in one.box)
        x, y = np.clip(x, lo, hi), np.clip(y, lo, hi)
    fx, fy = (one.network(torch.from_numpy(v)).numpy() for v in (x, y))
    P = proof.data["P"].numpy() if proof.norm == "P" else np.eye(2)

    def size(v):
        if proof.norm in ("1", "inf"):
            return np.linalg.norm(v, float(proof.norm), axis=1)
        return np.sqrt(((v @ P) * v).sum(1))

    slack = 1e-12 * np.sqrt(np.abs(P).sum()) * (1 + np.abs(x).max(1) + np.abs(y).max(1))
    return float((size(fx - fy) - proof.rate * size(x - y) - slack).max())


@pytest.mark.parametrize("seed", range(4))
def test_no_pair_exceeds_a_proved_rate(seed):
    rng = np.random.default_rng(1000 + seed)
    proved = 0
    for _ in range(24):
        f = random_map(
            rng, int(rng.integers(1, 9)), int(rng.integers(1, 4)), rng.uniform(0.5, 1.5), bias=rng.random() < 0.7
        )
        one = problem(f, None if rng.random() < 0.7 else (-1, 1.5))
        found = prove_contraction_by_regions(one, limit=2000)
        if isinstance(found, Proof):
            proved += 1
            assert attack(one, found, rng) <= 0
    assert proved >= 8


@pytest.mark.parametrize("seed", range(4))
def test_orbits_enter_the_ball_and_stay(seed):
    rng = np.random.default_rng(2000 + seed)
    proved = 0
    for _ in range(12):
        f = random_map(
            rng, int(rng.integers(1, 7)), int(rng.integers(1, 4)), rng.uniform(0.5, 2.0), bias=rng.random() < 0.8
        )
        one = problem(f)
        found = is_bounded(one, limit=600)
        if not isinstance(found, Proof):
            continue
        proved += 1
        P = found.data.get("P", torch.eye(2).double())

        def size(x, norm=found.norm, P=P):
            if norm in ("1", "inf"):
                return torch.linalg.vector_norm(x, float(norm), dim=-1)
            return ((x @ P) * x).sum(-1).sqrt()

        direction = torch.from_numpy(rng.normal(size=(600, 2)))
        radius = found.bound * torch.from_numpy(10.0 ** rng.uniform(-2, 5, size=600))
        x = direction / size(direction)[:, None] * radius[:, None]
        start = size(x)
        # |f| - R <= r (|x| - R), which enters, and never leaves
        for _ in range(60):
            y = one.network(x)
            assert bool(
                (size(y) <= found.bound + found.rate * (size(x) - found.bound).clamp(min=0) + 1e-9 * size(x)).all()
            )
            x = y
        if found.rate < 0.8:
            assert bool((size(x) <= found.bound * (1 + 1e-9)).all())
        assert bool((start > found.bound).any())
    assert proved >= 3


def test_false_data_prove_nothing():
    rng = np.random.default_rng(12)
    f = random_map(rng, 8, 2, 0.9, acts=[nn.ReLU()] * 2)
    one = problem(f)
    data = contracts(one, norm="P").data
    assert isinstance(verify_contraction_by_regions(one, dict(data)), Proof)
    other = problem(lambda x: 1.001 * f(x))
    nan = torch.full((2, 2), torch.nan, dtype=torch.float64)
    changes = (
        {"rate": data["rate"] * (1 - 1e-4)},
        {"rate": 1.0},
        {"rate": -data["rate"]},
        {"rate": float("nan")},
        {"P": data["P"] * vector(1.0, 30.0).outer(vector(1.0, 30.0))},
        {"P": -data["P"]},
        {"P": nan},
        {"P": data["P"].float()},
        {"P": torch.eye(3).double()},
        {"P": None},
        {"norm": "3"},
        {"norm": "2"},
    )
    for change in changes:
        assert isinstance(verify_contraction_by_regions(one, {**data, **change}), Failure)
    assert isinstance(verify_contraction_by_regions(one, {}), Failure)
    assert isinstance(verify_contraction_by_regions(other, data), Failure)


def test_false_balls_are_rejected():
    rng = np.random.default_rng(13)
    f = random_map(rng, 8, 2, 0.9, acts=[nn.ReLU()] * 2)
    one = problem(f)
    data = is_bounded(one, norm="P").data
    least = data["radius"] / 1.001
    assert isinstance(verify_boundedness_by_regions(one, {**data, "radius": 1.0001 * least}), Proof)
    changes = (
        {"radius": 0.9999 * least},
        {"radius": float("inf")},
        {"radius": 0.0},
        {"rate": 0.5 * data["rate"]},
        {"rate": 1.0},
        {"P": 100 * data["P"]},  # the same norm, ten times as long
        {"P": -data["P"]},
        {"norm": "2"},
    )
    for change in changes:
        assert isinstance(verify_boundedness_by_regions(one, {**data, **change}), Failure)
    shifted = problem(lambda x: f(x) + 100)
    assert isinstance(verify_boundedness_by_regions(shifted, data), Failure)
    assert isinstance(verify_boundedness_by_regions(problem(f, (-1, 1)), data), Failure)
