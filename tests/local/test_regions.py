"""Linear regions: known counts, tilings without gaps, maps that are the model's, neighbours that share a kink."""

import copy

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from separatrix.local.affine import affine
from separatrix.local.regions import regions
from separatrix.results.errors import ArgumentError
from separatrix.systems.loop import Loop
from separatrix.systems.lure import lure
from separatrix.tangent.inputs import grid, plane
from separatrix.testing.region_twin import HIDDEN, chain, five_networks, naive_regions

SQUARE = np.array([[-6.0, -6.0], [6.0, -6.0], [6.0, 6.0], [-6.0, 6.0]])
COUNTS = (4, 385, 2164, 4032, 7917)
NORMS = (0.2510, 4.953, 2.951, 5.175, 2.815)


@pytest.fixture(scope="module")
def five():
    networks = [(weights, biases, chain(weights, biases)) for weights, biases in five_networks()]
    return [(*network, regions(network[2], (-6, 6))) for network in networks]


def arrays(ds):
    """Plain arrays of a result, by name."""
    return {name: variable.values for name, variable in ds.data_vars.items()}


def of_points(found):
    """The region of each point, and the place of the next corner of the region."""
    region = np.repeat(np.arange(len(found["count"])), found["count"])
    after = np.arange(1, len(region) + 1)
    after[found["start"] + found["count"] - 1] = found["start"]
    return region, after


def is_a_tiling(ds, area):
    """Convex counter-clockwise polygons that cover a rectangle once: areas, sides, Euler's formula."""
    found = arrays(ds)
    _, after = of_points(found)
    assert abs(found["area"].sum() - area) <= 1e-12 * area
    assert found["area"].min() > -1e-14 * area
    side = found["vertex"][after] - found["vertex"]
    turn = side[:, 0] * side[after][:, 1] - side[:, 1] * side[after][:, 0]
    assert turn.min() > -1e-13 * area
    inner, total = ds.sizes["edge"], ds.sizes["point"]
    border = total - 2 * inner
    assert len(np.unique(found["corner"])) - (inner + border) + ds.sizes["line"] == 1
    # a corner has one place, whatever the region
    first = np.unique(found["corner"], return_index=True)[1]
    assert np.array_equal(found["vertex"], found["vertex"][first][found["corner"]])
    # what is no edge between two regions is on the border of the rectangle
    extent = found["vertex"].max(0) - found["vertex"].min(0)
    assert abs(np.hypot(*side.T).sum() - 2 * found["length"].sum() - 2 * extent.sum()) <= 1e-10 * extent.sum()


def is_the_model(ds, model, samples=4000, tolerance=1e-11):
    """A x + b is the model at the corners of regions, in their middle, and wherever a point happens to fall."""
    found = arrays(ds)
    vertex, A, b = found["vertex"], found["A"], found["b"]

    def values(x):
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy().reshape(len(x), -1)

    middle = np.add.reduceat(vertex, found["start"]) / found["count"][:, None]
    inside = np.einsum("roi,ri->ro", A, middle) + b
    assert np.abs(inside - values(middle)).max() <= tolerance * max(1, np.abs(inside).max())
    assert np.abs(found["image"] - values(vertex)).max() <= tolerance * max(1, np.abs(inside).max())
    pattern = pieces_at(model, middle)
    assert np.array_equal(pattern[:, : found["pattern"].shape[1]], found["pattern"])
    # random points: their own pattern names a region, and its map is right
    number = {row.tobytes(): k for k, row in enumerate(found["pattern"])}
    assert len(number) == len(found["pattern"])
    x = np.random.default_rng(0).uniform(vertex.min(0), vertex.max(0), (samples, 2))
    where = np.array([number[row.tobytes()] for row in pieces_at(model, x)])
    there = np.einsum("roi,ri->ro", A[where], x) + b[where]
    assert np.abs(there - values(x)).max() <= tolerance * max(1, np.abs(there).max())


def pieces_at(model, x):
    """Pieces of every activation at points, from pre-activations of the network in standard form."""
    network = lure(model, 2)
    found = []
    for block, z in zip(network.blocks, network.preactivations(torch.from_numpy(x)), strict=True):
        if block.curve is not None:
            kinks = block.curve.pieces.breakpoints
            found.append((z[..., None] >= kinks).sum(-1).to(torch.uint8))
    return np.concatenate([np.zeros((len(x), 0), np.uint8), *(p.numpy() for p in found)], axis=1)


@pytest.mark.parametrize("k", range(5), ids=[str(h) for h in HIDDEN])
def test_known_networks(five, k):
    *_, model, ds = five[k]
    assert ds.sizes["line"] == COUNTS[k]
    assert np.linalg.norm(ds["A"].values, 2, axis=(1, 2)).max() == pytest.approx(NORMS[k], abs=5e-4)
    maps = np.concatenate([ds["A"].values.reshape(-1, 4), ds["b"].values], 1)
    assert len(np.unique(maps.round(12), axis=0)) == COUNTS[k]
    assert len(np.unique(ds["piece"].values)) == COUNTS[k] and (ds["crossed"].values == 1).all()
    is_a_tiling(ds, 144.0)
    is_the_model(ds, model)


@pytest.mark.parametrize("k", range(3), ids=[str(h) for h in HIDDEN[:3]])
def test_the_naive_twin_finds_the_same(five, k):
    weights, biases, _, ds = five[k]
    twin = naive_regions(weights, biases, SQUARE)
    assert len(twin) == ds.sizes["line"]
    ours = np.concatenate([ds["A"].values.reshape(-1, 4), ds["b"].values, ds["area"].values[:, None]], 1)
    theirs = np.array([[*A.ravel(), *b, area(polygon)] for polygon, A, b in twin])
    key = [rows[np.lexsort(rows[:, :6].round(9).T)] for rows in (ours, theirs)]
    np.testing.assert_allclose(key[0], key[1], rtol=0, atol=1e-10)


def area(polygon):
    x, y = (polygon - polygon[0]).T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


def test_neighbours_share_a_kink(five):
    *_, model, ds = five[1]
    found = arrays(ds)
    first, second = found["first"], found["second"]
    assert (first < second).all() and len({*zip(first, second, strict=True)}) == len(first)
    _, after = of_points(found)
    ends = np.stack([found["corner"][found["place"]], found["corner"][after[found["place"]]]], 1)
    corners = [set(found["corner"][s : s + n]) for s, n in zip(found["start"], found["count"], strict=True)]
    assert all(set(e) <= corners[a] & corners[b] for e, a, b in zip(ends, first, second, strict=True))
    # patterns differ in the component that is named, and its pre-activation is zero along the edge
    differ = found["pattern"][first] != found["pattern"][second]
    assert (differ.sum(1) == 1).all() and np.array_equal(differ.argmax(1), found["neuron"])
    middle = (found["vertex"][found["place"]] + found["vertex"][after[found["place"]]]) / 2
    z = torch.cat(lure(model, 2).preactivations(torch.from_numpy(middle))[:-1], 1).numpy()
    assert np.abs(z[np.arange(len(z)), found["neuron"]]).max() < 1e-13
    assert np.array_equal(ds["block"].values, np.repeat([0, 1], 16))
    assert np.array_equal(ds["component"].values, np.tile(np.arange(16), 2))
    # maps that agree along an edge differ by a matrix of rank one
    jump = found["A"][first] - found["A"][second]
    assert np.abs(np.linalg.det(jump)).max() < 1e-13
    np.testing.assert_allclose(np.abs(jump).max((1, 2)), found["jump"])


def test_images_are_polygons_of_the_right_area(five):
    *_, ds = five[1]
    found = arrays(ds)
    for r in range(ds.sizes["line"]):
        part = slice(found["start"][r], found["start"][r] + found["count"][r])
        expected = np.linalg.det(found["A"][r]) * found["area"][r]
        assert area(found["image"][part]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_lines_in_the_plane(n):
    """One hidden layer: regions are those of an arrangement of lines, 1 + lines + crossings within the box."""
    rng = np.random.default_rng(n)
    angle, offset = rng.uniform(0, np.pi, n), rng.uniform(-0.5, 0.5, n)
    normal = np.stack([np.cos(angle), np.sin(angle)], 1)
    crossings = [np.linalg.solve(normal[[i, j]], -offset[[i, j]]) for i in range(n) for j in range(i)]
    inside = sum(np.abs(x).max() < 1 for x in crossings)
    ds = regions(chain([normal, rng.standard_normal((2, n))], [offset, np.zeros(2)]), (-1, 1))
    assert ds.sizes["line"] == 1 + n + inside
    assert len(np.unique(ds["corner"].values)) == 4 + 2 * n + inside


@pytest.mark.parametrize("n", [3, 8, 40])
def test_lines_through_one_point_meet_in_one_corner(n):
    angle = np.pi * (np.arange(n) + 0.3) / n
    normal = np.stack([np.cos(angle), np.sin(angle)], 1) * np.logspace(-3, 3, n)[:, None]
    rng = np.random.default_rng(0)
    model = chain([normal, rng.standard_normal((6, n)), rng.standard_normal((2, 6))], [np.zeros(k) for k in (n, 6, 2)])
    ds = regions(model, (-6, 6))
    is_a_tiling(ds, 144.0)
    # without biases all regions are sectors, in the second layer too
    origin = np.abs(ds["vertex"].values).max(1) < 1e-9
    assert len(np.unique(ds["corner"].values[origin])) == 1 and origin.sum() == ds.sizes["line"] >= 2 * n


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(2, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = torch.relu(self.one(x))
        h = h + nn.functional.leaky_relu(self.two(h), 0.2)
        return x + self.three(h)


class Absolute(nn.Module):
    def forward(self, x):
        return x.abs()


def sandwich(activation, width=7):
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(2, width), copy.deepcopy(activation), nn.Linear(width, width), copy.deepcopy(activation),
        nn.Linear(width, 3),
    )  # fmt: skip


MODELS = {
    "LeakyReLU": lambda: sandwich(nn.LeakyReLU(0.3)),
    "PReLU": lambda: sandwich(nn.PReLU(init=-0.5)),
    "PReLU, one for each": lambda: sandwich(varied()),
    "ReLU6": lambda: nn.Sequential(nn.Linear(2, 9), nn.ReLU6(), nn.Linear(9, 2), nn.ReLU6()),
    "Hardtanh": lambda: sandwich(nn.Hardtanh(-0.3, 0.8)),
    "Hardsigmoid": lambda: sandwich(nn.Hardsigmoid(), 5),
    "Softshrink": lambda: sandwich(nn.Softshrink(0.2)),
    "abs": lambda: sandwich(Absolute()),
    "residual": Residual,
    "batch norm": lambda: nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).eval(),
    "affine": lambda: nn.Linear(2, 3),
}


def varied():
    layer = nn.PReLU(7)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 0.8, 7))
    return layer


@pytest.mark.parametrize("name", MODELS)
def test_activations_and_wirings(name):
    torch.manual_seed(2)
    model = MODELS[name]().double()
    ds = regions(model, ((-3, -2), (2, 4)))
    is_a_tiling(ds, 30.0)
    is_the_model(ds, model)
    assert (ds.sizes["line"] == 1) == (name == "affine")
    middle = np.add.reduceat(ds["vertex"].values, ds["start"].values) / ds["count"].values[:, None]
    A, b = affine(model, torch.from_numpy(middle), of="jacobian")
    np.testing.assert_allclose(ds["A"].values, A.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ds["b"].values, b.detach().numpy(), rtol=0, atol=1e-11)


def test_float32_loops_and_standard_forms_give_the_same(as_user):
    model = sandwich(nn.ReLU())[:4].append(nn.Linear(7, 2))
    a = regions(model, (-2, 2))
    for other in (Loop(model), lure(model, 2), copy.deepcopy(model).double()):
        xr.testing.assert_allclose(a.drop_vars("layer"), regions(other, (-2, 2)).drop_vars("layer"), rtol=1e-12)
    assert model[0].weight.dtype == torch.float32
    xr.testing.assert_identical(
        a.drop_attrs(deep=False), regions(model, grid((-2, 2), (-2, 2), shape=5)).drop_attrs(deep=False)
    )


def test_what_changes_nothing_is_said_and_not_merged():
    """A component that nothing reads, one that is zero everywhere, twins, and a layer that is dead."""
    weights = [np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 0.0]]), np.array([[0.0, 1.0, 1.0, 1.0]])]
    ds = regions(chain(weights, [np.zeros(4), np.zeros(1)]), (-1, 1))
    assert ds.sizes["line"] == 4 and len(np.unique(ds["piece"].values)) == 2
    by_jump = ds["jump"].values > 0
    assert np.array_equal(ds["crossed"].values, np.where(by_jump, 2, 1))
    # a component that is on its kink everywhere counts as right of it
    assert (ds["pattern"].values[:, 3] == 1).all()
    dead = chain([np.eye(2), -np.eye(2), np.ones((2, 2))], [np.zeros(2), -np.ones(2), np.ones(2)])
    ds = regions(dead, (-1, 1))
    assert ds.sizes["line"] == 4 and (ds["A"].values == 0).all() and len(np.unique(ds["piece"].values)) == 1


@pytest.mark.parametrize(("apart", "expected"), [(1e-14, 2), (1e-9, 3), (1e-4, 3)])
def test_lines_closer_than_rounding_are_one(apart, expected):
    model = chain([np.array([[1.0, 0.3], [1.0, 0.3]]), np.eye(2)], [np.zeros(2), np.array([0.0, apart])])
    model[0].bias.data[1] += apart
    ds = regions(model, (-6, 6))
    assert ds.sizes["line"] == expected
    is_a_tiling(ds, 144.0)
    if expected == 3:
        strip = apart / 1.0 * 12  # |x_1 + 0.3 x_2| over the whole height
        assert ds["area"].values.min() == pytest.approx(strip, rel=1e-4)
        assert ds.attrs["slivers"] == 0


@pytest.mark.parametrize("kind", ["integers", "twins", "steep", "near"])
@pytest.mark.parametrize("seed", range(6))
def test_degenerate_networks_still_tile(kind, seed):
    rng = np.random.default_rng(seed)
    sizes = [(2, 9), (9, 8), (8, 7), (7, 2)]
    weights = [rng.standard_normal((m, n)) for n, m in sizes]
    biases = [rng.standard_normal(m) for _, m in sizes]
    if kind == "integers":
        weights = [rng.integers(-2, 3, w.shape).astype(float) for w in weights]
        biases = [rng.integers(-3, 4, b.shape).astype(float) for b in biases]
    for w, b in zip(weights, biases, strict=True):
        half = len(b) // 2
        if kind == "twins":
            w[half : 2 * half], b[half : 2 * half] = 3 * w[:half], 3 * b[:half]
        if kind == "near":
            factor = 1 + 10.0 ** rng.integers(-15, -6, half)
            w[half : 2 * half], b[half : 2 * half] = factor[:, None] * w[:half], b[:half]
        if kind == "steep":
            factor = 10.0 ** rng.integers(-4, 5, len(b))
            w *= factor[:, None]
            b *= factor
    ds = regions(chain(weights, biases), (-6, 6))
    is_a_tiling(ds, 144.0)
    assert len(np.unique(ds["pattern"].values, axis=0)) == ds.sizes["line"] > 9


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 3, 2), nn.Linear(27, 4)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).flatten(1))


def test_a_plane_through_a_larger_space():
    torch.manual_seed(0)
    model = Image().double()
    where = plane.through(*torch.randn(3, 1, 4, 4), shape=9)
    ds = regions(model, where)
    is_a_tiling(ds, float((where.x[-1] - where.x[0]) * (where.y[-1] - where.y[0])))
    assert ds["A"].shape == (ds.sizes["line"], 4, 16) and ds.attrs["inputs"] == "plane" and ds.sizes["line"] > 50
    middle = np.add.reduceat(ds["vertex"].values, ds["start"].values) / ds["count"].values[:, None]
    x = ds["origin"].values + middle @ ds["basis"].values
    with torch.no_grad():
        expected = model(torch.from_numpy(x).reshape(-1, 1, 4, 4)).numpy()
    for A, b, at in ((ds["A"], ds["b"], x), (ds["A_plane"].transpose("line", "state", "axis"), ds["b_plane"], middle)):
        there = np.einsum("roi,ri->ro", A.values, at) + b.values
        np.testing.assert_allclose(there, expected, rtol=0, atol=1e-12)
    without = regions(model, where, input_maps=False)
    assert "A" not in without
    xr.testing.assert_equal(without, ds.drop_vars(["A", "b"]))


def test_a_plane_that_is_the_whole_space_gives_the_box(five):
    *_, model, ds = five[1]
    turned = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    here = regions(model, plane(torch.zeros(2), turned[0], turned[1], x=(-4, 4), y=(-4, 4), shape=2))
    corners = here["vertex"].values @ turned.numpy()
    assert np.abs(here["image"].values - model(torch.from_numpy(corners)).detach().numpy()).max() < 1e-12
    # regions of the box that lie in the disc of radius 4 lie in the turned square too, and are the same there
    far = np.maximum.reduceat(np.hypot(*ds["vertex"].values.T), ds["start"].values)
    known = {tuple(row): size for row, size in zip(here["pattern"].values, here["area"].values, strict=True)}
    whole = far < 4
    assert whole.sum() > 200
    sizes = [known[tuple(row)] for row in ds["pattern"].values[whole]]
    np.testing.assert_allclose(sizes, ds["area"].values[whole], rtol=0, atol=1e-12)


def test_a_result_survives_its_file(five, tmp_path):
    ds = five[1][-1]
    ds.to_netcdf(tmp_path / "regions.nc")
    with xr.open_dataset(tmp_path / "regions.nc") as back:
        xr.testing.assert_identical(back.load().drop_attrs(deep=False), ds.drop_attrs(deep=False))
        assert back.attrs["merged"] == ds.attrs["merged"]


def test_progress_counts_components(five):
    seen = []
    regions(five[0][2], (-6, 6), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8)


class Smooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.two(torch.tanh(self.one(x)))


@pytest.mark.parametrize(
    ("model", "box", "words"),
    [
        (Smooth(), (-1, 1), "model: .*tanh.*not piecewise linear.*sx.affine"),
        (nn.Sequential(nn.Linear(2, 2), nn.Hardswish()), (-1, 1), "model: .*hardswish.*not piecewise linear"),
        (nn.Linear(2, 2), (1, -1), "box: .*lo < hi"),
        (nn.Linear(2, 2), (0, 0), "box: .*lo < hi"),
        (nn.Linear(2, 2), (float("nan"), 1), "box: .*finite"),
        (nn.Linear(2, 2), (-float("inf"), 1), "box: .*finite"),
        (nn.Linear(2, 2), ((-1, -1), (1, -1)), "box: .*lo < hi"),
        (nn.Linear(2, 2), ((-1, -1, -1), (1, 1, 1)), "box: .*2 components"),
        (nn.Linear(2, 2), 3.0, "box: .*lo, hi"),
        (nn.Linear(2, 2), (1, 1 + 1e-12), "box: .*sides"),
        (nn.Linear(2, 2), (-1e200, 1e200), "box: .*area finite"),
        (nn.Linear(2, 2), "ab", "box: .*lo, hi"),
        (nn.Linear(3, 3), (-1, 1), "model: .*shape.*cut in two dimensions.*sx.plane"),
        (nn.Linear(2, 2), ((-1, 2), (-3, 4)), r"box: .*are corners: \(\[-1, -3\], \[2, 4\]\)"),
        (nn.Linear(2, 2), np.zeros((50, 50)), "box: .{,100}; give"),
        (lure(nn.Linear(3, 3), 3), (-1, 1), "box: .*3 inputs.*sx.plane"),
        (nn.Linear(3, 3), plane(torch.zeros(4), torch.eye(4)[0], torch.eye(4)[1]), "model: .*shape"),
    ],
)
def test_careless_arguments(model, box, words, as_user):
    with pytest.raises(ArgumentError, match=f"(?i){words}"):
        regions(model, box)


def test_weights_that_are_not_finite():
    broken = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        broken[2].weight[0, 0] = float("nan")
    with pytest.raises(ArgumentError, match="model"):
        regions(broken, (-1, 1))
    huge = chain([np.full((3, 2), 1e200), np.full((3, 3), 1e200), np.eye(2, 3)], [np.zeros(k) for k in (3, 3, 2)])
    with pytest.raises(ArgumentError, match="model"):
        regions(huge, (-1, 1))


def test_more_regions_than_allowed_is_an_error(five, as_user):
    model = five[1][2]
    with pytest.raises(ArgumentError, match="limit: got more than 384 regions"):
        regions(model, (-6, 6), limit=384)
    assert regions(model, (-6, 6), limit=385).sizes["line"] == 385
    with pytest.raises(ArgumentError, match=r"memory: .*holds [0-9]+ regions"):
        regions(model, (-6, 6), memory="100KB")
    for wrong in (0, 2.5, True):
        with pytest.raises(ArgumentError, match="limit: "):
            regions(model, (-6, 6), limit=wrong)
