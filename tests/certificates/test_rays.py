"""Growth seen in directions: rays, cones and sets of directions against known maps, orbits and tampering."""

import math

import pytest
import torch
from torch import nn

from separatrix.certificates.refutation import cones, drift, growing_directions, rays, recession
from separatrix.studies.drgona2022.counterexamples import LEFT, RIGHT, two_regions
from separatrix.systems.lure import lure

torch_64 = torch.float64
LEFT_, RIGHT_ = (torch.tensor(M, dtype=torch_64) for M in (LEFT, RIGHT))


def linear(A):
    A = torch.as_tensor(A, dtype=torch_64)
    return lure(lambda x: x @ A.T, (len(A),))


def turn(angle, radius):
    c, s = radius * math.cos(angle), radius * math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch_64)


def bias_free(n, width, scale, seed, activation=None):
    torch.manual_seed(seed)
    act = activation or nn.ReLU()
    net = nn.Sequential(nn.Linear(n, width, bias=False), act, nn.Linear(width, width, bias=False), act)
    net.append(nn.Linear(width, n, bias=False))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(scale)
    return lure(net.double(), (n,))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def growth_of_orbits(network, steps=400, count=60):
    """Mean growth per step, over the second half of orbits of directions; the fastest."""
    x = torch.randn(count, network.inputs, generator=seeded(3), dtype=torch_64)
    total = torch.zeros(count, dtype=torch_64)
    for t in range(steps):
        x = network(x)
        size = x.norm(dim=1)
        x = x / size[:, None]
        if t >= steps // 2:
            total += size.log()
    return float((total / (steps - steps // 2)).exp().max())


def test_a_ray_through_four_regions():
    """Both linear maps have spectral radii below 1; along the ray their product has an eigenvalue above."""
    network = lure(two_regions(), (2,))
    data = rays.search(network, 6, seeded())
    assert data is not None and data["period"] == 4
    margin = rays.ray(network, data)
    x, product = data["point"], torch.eye(2, dtype=torch_64)
    for _ in range(4):
        M = RIGHT_ if x[0] >= 0 else LEFT_
        x, product = M @ x, M @ product
    eigenvalues = torch.linalg.eigvals(product)
    assert float(eigenvalues.abs().max()) - 1 == pytest.approx(margin, abs=1e-9)
    assert torch.allclose(x, data["point"] * (1 + margin), rtol=1e-9)
    assert max(float(torch.linalg.eigvals(M).abs().max()) for M in (LEFT_, RIGHT_)) < 1
    assert (1 + margin) ** 0.25 == pytest.approx(growth_of_orbits(network), rel=1e-6)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("growth", lambda s: s + 0.01),
        ("growth", lambda s: 1.0),
        ("period", lambda k: 3),
        ("period", lambda k: 0),
        ("point", lambda v: -v),
        ("point", lambda v: v * 1.5),
        ("point", lambda v: v + torch.tensor([0.0, 0.01])),
        ("radius", lambda r: 0.0),
        ("radius", lambda r: 5.0),
        ("radius", lambda r: math.nan),
    ],
)
def test_a_tampered_ray(key, change):
    network = lure(two_regions(), (2,))
    data = rays.search(network, 6, seeded())
    assert rays.ray(network, data) > 0
    assert rays.ray(network, data | {key: change(data[key])}) == 0


def test_rays_are_for_homogeneous_maps():
    net = two_regions()
    data = rays.search(lure(net, (2,)), 6, seeded())
    shifted = lure(lambda x: net(x) + 1e-30, (2,))
    assert not rays.homogeneous(shifted) and rays.ray(shifted, data) == 0
    smooth = lure(lambda x: 2 * torch.tanh(x), (2,))
    assert not rays.homogeneous(smooth)
    v = torch.tensor([1.0, 0.0], dtype=torch_64)
    assert rays.ray(smooth, {"point": v, "growth": 2 * math.tanh(1), "radius": 1e-6, "period": 1}) == 0


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_rays_of_linear_maps(n):
    T = torch.eye(n, dtype=torch_64) + torch.tril(torch.ones(n, n, dtype=torch_64), -1) / 2
    d = torch.linspace(1.25, 0.5, n, dtype=torch_64)
    network = linear(T @ torch.diag(d) @ torch.linalg.inv(T))
    data = rays.search(network, 2, seeded())
    assert rays.ray(network, data) ** 1 == pytest.approx(1.25 ** data["period"] - 1, abs=1e-6)
    slow = linear(T @ torch.diag(d / 1.26) @ torch.linalg.inv(T))
    assert rays.search(slow, 6, seeded()) is None
    assert rays.ray(slow, data) == 0 and rays.ray(slow, data | {"growth": (1.25 / 1.26) ** data["period"]}) == 0


def test_cones_of_saddles():
    """y1 doubles; the second component leaves the ray, the pair comes to it."""
    pair = turn(0.7, 1.8)
    A = torch.block_diag(torch.tensor([[2.0]], dtype=torch_64), torch.tensor([[-2.2]], dtype=torch_64), pair)
    eye = torch.eye(4, dtype=torch_64)
    data = {"basis": eye, "inverse": eye, "blocks": torch.tensor([1, 1, 2]), "leaving": 1, "width": 0.5, "period": 1}
    assert cones.cone(linear(A), data) == pytest.approx(1.0, abs=1e-12)
    assert cones.cone(linear(A), data | {"period": 3}) == pytest.approx(7.0, abs=1e-9)
    # nothing leaves, or everything does; blocks that are none; slower than what comes
    for change in (
        {"leaving": 0},
        {"leaving": 2},
        {"leaving": 3},
        {"blocks": torch.tensor([2, 1, 1])},
        {"blocks": torch.tensor([1, 3])},
        {"blocks": torch.tensor([1, 1, 1, 1])},
        {"blocks": torch.tensor([1, 2, 1])},
        {"width": 0.0},
        {"width": 1.5},
        {"width": math.nan},
        {"period": 0},
        {"inverse": 1.1 * eye},
        {"basis": eye[[1, 0, 2, 3]], "inverse": eye[[1, 0, 2, 3]]},
    ):
        assert cones.cone(linear(A), data | change) == 0, change
    assert cones.cone(linear(A / 2), data) == 0
    assert cones.cone(linear(torch.diag(torch.tensor([2.0, 2, 1, 1]))), data) == 0


@pytest.mark.parametrize(("n", "seed"), [(2, 0), (3, 1), (4, 2), (8, 3)])
def test_orbits_stay_in_cones(n, seed):
    network = bias_free(n, 24, 3.2, seed)
    data = cones.search(network, 4, seeded())
    assert data is not None
    margin = cones.cone(network, data)
    assert margin > 0
    count = 200
    y = torch.cat([torch.ones(count, 1), data["width"] * (2 * torch.rand(count, n - 1, generator=seeded(1)) - 1)], 1)
    y = y.double()
    place = 1
    for size in data["blocks"][1:].tolist():  # pairs within a disc
        y[:, place : place + size] /= size**0.5
        place += size
    x = y @ data["basis"].T
    for _ in range(data["period"]):
        x = network(x)
    image = x @ data["inverse"].T
    assert float(image[:, 0].min()) >= (1 + margin) * (1 - 1e-9)
    norms, place = [], 1
    for size in data["blocks"][1:].tolist():
        norms.append(image[:, place : place + size].norm(dim=1) / image[:, 0])
        place += size
    stay = norms[data["leaving"] :]
    assert all(float(part.max()) < data["width"] for part in stay)


def test_directions_that_grow():
    network = lure(two_regions(), (2,))
    data = growing_directions.search(network, seeded())
    margin = growing_directions.growing(network, data)
    assert margin > 0
    # V grows by the margin from random points in the set, which their images do not leave
    cells, own = data["cells"], data["chosen"]
    potential = torch.full((cells,), torch.nan, dtype=torch_64)
    potential[own] = data["potential"]
    c, r = growing_directions._centres(cells)
    share = 2 * torch.rand(2, 50, len(own), generator=seeded(), dtype=torch_64) - 1
    x = (c[:, None, own] + r[:, None, own] * share).flatten(1)

    def size(x):
        cell = torch.from_numpy(growing_directions._place(x.numpy()) * cells / 8).floor().long() % cells
        return x.abs().amax(0) * potential[cell].exp()

    ratio = size(network(x.T).T) / size(x)
    assert bool(torch.isfinite(ratio).all()) and float(ratio.min()) >= 1 + margin - 1e-9
    assert 1 + margin <= growth_of_orbits(network)


@pytest.mark.parametrize("angle", [0.5, math.pi / 2, 2.0])
def test_turning_directions_grow_all_together(angle):
    network = linear(turn(angle, 1.01))
    data = growing_directions.search(network, seeded())
    assert 0 < growing_directions.growing(network, data) <= 0.01
    assert len(data["chosen"]) == data["cells"]
    assert growing_directions.search(linear(turn(angle, 0.999)), seeded()) is None
    for radius in (1.0, 0.999):
        assert growing_directions.growing(linear(turn(angle, radius)), data) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda d: {"potential": torch.zeros_like(d["potential"])},
        lambda d: {"potential": -d["potential"]},
        lambda d: {"potential": d["potential"] * torch.nan},
        lambda d: {"potential": d["potential"][:-1], "chosen": d["chosen"][:-1]},
        lambda d: {"chosen": (d["chosen"] + 20) % d["cells"]},
        lambda d: {"chosen": d["chosen"][:0], "potential": d["potential"][:0]},
        lambda d: {"cells": 2 * d["cells"]},
        lambda d: {"cells": 10**9},
        lambda d: {"cells": 7},
    ],
)
def test_tampered_directions(change):
    network = lure(two_regions(), (2,))
    data = growing_directions.search(network, seeded())
    assert growing_directions.growing(network, data) > 0
    assert growing_directions.growing(network, data | change(data)) == 0


CURVES = [
    nn.ReLU(),
    nn.LeakyReLU(0.3),
    nn.PReLU(),
    nn.ReLU6(),
    nn.Hardtanh(),
    nn.Hardsigmoid(),
    nn.Tanh(),
    nn.Softsign(),
]
CURVES += [nn.ELU(1.5), nn.CELU(0.7), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish()]
CURVES += [
    nn.Tanhshrink(),
    nn.Softshrink(0.4),
    nn.Sigmoid(),
    nn.Softplus(2.0),
    nn.LogSigmoid(),
    nn.Identity(),
    nn.PReLU(6),
]


@pytest.mark.parametrize("activation", CURVES, ids=str)
def test_what_is_left_far_away(activation):
    """f differs from its recession map by no more, however far out; and that map is homogeneous."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(3, 6), activation, nn.Linear(6, 3), nn.Linear(3, 6), activation, nn.Linear(6, 3))
    network = lure(net.double(), (3,))
    seen = recession.recession(network)
    assert rays.homogeneous(seen)
    x = torch.randn(400, 3, generator=seeded(), dtype=torch_64)
    assert torch.allclose(seen(2 * x), 2 * seen(x), rtol=1e-12, atol=1e-12)
    off = [float((network(size * x) - seen(size * x)).abs().max()) for size in (1e2, 1e4, 1e6)]
    assert max(off) < 12 and off[2] < 1.1 * off[1] + 1e-6


def test_linear_growth():
    A = turn(1.0, 1.02)
    W = torch.randn(2, 2, generator=seeded(), dtype=torch_64)
    for bounded in (torch.tanh, torch.sigmoid, torch.sin, nn.Hardtanh()):
        assert recession.linear_growth(lure(lambda x, s=bounded: x @ A.T + 5 * s(x @ W + 1), (2,))) == pytest.approx(
            0.02
        )
    assert recession.linear_growth(lure(lambda x: x @ A.T / 1.03 + 5 * torch.tanh(x @ W), (2,))) == 0
    assert recession.linear_growth(lure(lambda x: x @ A.T + torch.relu(x @ W), (2,))) == 0
    assert recession.linear_growth(lure(lambda x: x + torch.tanh(x @ W), (2,))) == 0


@pytest.mark.parametrize(
    ("f", "start"),
    [
        (lambda x: torch.nn.functional.gelu(x) + 0.12, 1.3461),
        (lambda x: torch.nn.functional.silu(x) + 0.3, 8.0),
        (lambda x: torch.nn.functional.softplus(x) + 0.01, 1.0),
        (lambda x: torch.nn.functional.softplus(x) + 1e-8, 25.0),
        (lambda x: torch.nn.functional.logsigmoid(x) - 0.01, -2.0),
        (lambda x: torch.relu(x) + 1e-3, 0.5),
        (lambda x: x - torch.relu(1 - x) + 0.25, 1.0),
        (lambda x: x + torch.tanh(x), 0.5),
        (lambda x: x + torch.tanh(x), -0.5),
        (lambda x: torch.nn.functional.elu(x) * 2 - 1, 2.0),
        (lambda x: torch.abs(x) * 1.5, 1.0),
        (lambda x: torch.nn.functional.hardswish(x) + 1, 3.0),
        (lambda x: x + torch.nn.functional.relu6(x) - 5, 7.0),
    ],
)
def test_drifts(f, start):
    network = lure(f, (1,))
    step = drift.drifts(network, {"start": start})
    assert step > 0
    t = torch.cat([torch.linspace(1, 3, 5001), torch.logspace(0.5, 8, 2001)]).double()
    x = start * t[:, None]
    out = torch.sign(x) * (network(x) - x)
    assert float((out + 1e-15 * x.abs()).min()) >= step * (1 - 1e-9)


@pytest.mark.parametrize(
    ("f", "starts"),
    [
        (lambda x: torch.nn.functional.gelu(x) + 0.12, (1.3459, 0.5, -3.0, 0.0)),
        (lambda x: 0.95 * torch.nn.functional.gelu(x) + 0.17, (10.0, 1e3, -10.0)),
        (lambda x: x, (1.0, -1.0)),
        (lambda x: torch.relu(x), (1.0, -1.0)),
        (lambda x: torch.nn.functional.selu(x) / 1.0507009873554805, (1.0,)),
        (lambda x: x - 1e-9 * torch.tanh(x), (1.0, -1.0)),
        (lambda x: -3 * x, (1.0, -1.0)),
        (lambda x: x + torch.sin(x), (1.0, 100.0)),
        (lambda x: x + 1 / 3 - torch.sigmoid(x), (30.0,)),
        (lambda x: torch.nn.functional.gelu(x) + 0.12, (math.nan, math.inf)),
        (lambda x: torch.nn.functional.softplus(x) - 1e-8, (30.0, 18.0)),
    ],
)
def test_what_does_not_drift(f, starts):
    for start in starts:
        assert drift.drifts(lure(f, (1,)), {"start": start}) == 0
