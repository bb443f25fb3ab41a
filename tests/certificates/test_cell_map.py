"""Certified basins by cell mapping: most of what attracts, nothing else, and no cell that is not earned."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.certificates.attraction.cell_lattice import Lattice, Table
from separatrix.certificates.attraction.cell_map import covers, prove_basin, verify_basin
from separatrix.certificates.attraction.proof import prove_attraction
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.systems.lure import lure

NONE = torch.zeros(0, dtype=torch.float64)
SECONDS = 60.0


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def problem(f, n, box=None):
    return Problem(lure(f, (n,)), n, 0, box, (NONE, NONE))


def contains(proof, x, cells=True):
    """Which states (B, n) lie in the ellipsoid or in a cell."""
    data = proof.data
    off = x - data["centre"]
    inside = (off @ data["P"] * off).sum(1) <= data["level"]
    for lo, hi in zip(data["lo"].split(512), data["hi"].split(512), strict=True):
        if cells:
            inside = inside | ((x[:, None] >= lo) & (x[:, None] <= hi)).all(2).any(1)
    return inside


def sampled(f, proof, box, count=10_000, steps=4000):
    """Random states of the box, and which of them come to the equilibrium."""
    generator = torch.Generator().manual_seed(0)
    lo, hi = box
    x = lo + torch.rand(count, len(lo), generator=generator, dtype=torch.float64) * (hi - lo)
    y = x
    with torch.no_grad():
        for k in range(steps):
            y = f(y)
            if k % 50 == 49:
                off = (y - proof.data["centre"]).abs().amax(1)
                if bool(((off < 1e-7) | (off > 0.1)).all()):
                    break
    return x, (y - proof.data["centre"]).abs().amax(1) < 1e-6


def shares(f, proof, box, name):
    """Shares of the sampled basin in the ellipsoid and in all of the certified region; nothing outside it."""
    x, comes = sampled(f, proof, box)
    whole, ellipsoid = contains(proof, x), contains(proof, x, cells=False)
    assert not bool((whole & ~comes).any())
    found = [float((part & comes).sum() / comes.sum()) for part in (ellipsoid, whole)]
    print(f"{name}: {100 * float(comes.float().mean()):.1f} % of the box attracted; certified of that "
          f"{100 * found[0]:.1f} % by the ellipsoid, {100 * found[1]:.1f} % with cells")  # fmt: skip
    return found


class Stepped(nn.Module):
    """A vector field that a network has learned, in steps of time."""

    def __init__(self, net, dt):
        super().__init__()
        self.net, self.dt = net, dt

    def forward(self, x):
        return x + self.dt * self.net(x)


PENDULUM = (vector(-torch.pi, -2.0), vector(torch.pi, 2.0))


@pytest.fixture(scope="module")
def pendulum():
    """theta'' = -sin(theta) - theta'/2, learned by a 2-32-32-2 network, in steps of 0.1."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2)).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)
    for _ in range(800):
        x = (torch.rand(256, 2, dtype=torch.float64) * 2 - 1) * 1.1 * PENDULUM[1]
        truth = torch.stack([x[:, 1], -torch.sin(x[:, 0]) - 0.5 * x[:, 1]], 1)
        loss = ((net(x) - truth) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert float(loss.detach()) < 1e-3
    return Stepped(net, 0.1).requires_grad_(False)


@pytest.fixture(scope="module")
def swinging(pendulum):
    near = prove_attraction(problem(pendulum, 2), vector(0, 0), seconds=SECONDS)
    assert isinstance(near, Proof)
    basin = prove_basin(problem(pendulum, 2), near, PENDULUM, seconds=SECONDS)
    assert isinstance(basin, Proof)
    return basin


def test_a_learned_pendulum(pendulum, swinging):
    ellipsoid, whole = shares(pendulum, swinging, PENDULUM, "learned pendulum")
    assert ellipsoid > 0.5 and whole > 0.95
    data = swinging.data
    inside = vector(-0.5, -0.5), vector(0.5, 0.5)
    assert covers(swinging, *inside) and not covers(swinging, *PENDULUM)
    # cells do not overlap
    first, last = data["lo"], data["hi"]
    assert float((last - first).prod(1).sum()) < 8 * torch.pi
    again = verify_basin(problem(pendulum, 2), data)
    assert isinstance(again, Proof)


def test_flipped_cells_are_rejected(pendulum, swinging):
    where, data = problem(pendulum, 2), swinging.data
    lattice = Lattice(*data["corners"], tuple(data["shape"].tolist()))
    # a cell that flows to the next equilibrium, claimed with any number of steps
    first = torch.tensor([[lattice.shape[0] - 1], [lattice.shape[1] - 1]])
    lo, hi = lattice.corners(first, first + 1)
    for steps in (0, 1, 3, 40):
        more = {"lo": torch.cat([data["lo"], lo.T]), "hi": torch.cat([data["hi"], hi.T])}
        more["steps"] = torch.cat([data["steps"], torch.tensor([steps])])
        assert isinstance(verify_basin(where, {**data, **more}), Failure), steps
    # two such cells that cover each other's images prove nothing either
    far = data["steps"] > 0
    assert bool(far.any())
    kept = torch.ones(len(data["lo"]), dtype=torch.bool)
    kept[(data["steps"] == 0).nonzero()[:, 0]] = False
    ring = {key: data[key][kept] for key in ("lo", "hi", "steps")}
    assert isinstance(verify_basin(where, {**data, **ring, "level": 0.01 * data["level"]}), Failure)
    for wrong in (
        {"steps": torch.zeros_like(data["steps"])},
        {"steps": -data["steps"]},
        {"steps": data["steps"] + 10**6},
        {"steps": data["steps"][:-1]},
        {"lo": data["lo"] - 1e-6},
        {"hi": data["hi"] + 1e-6},
        {"corners": 1.5 * data["corners"]},
        {"shape": data["shape"] + 1},
        {"level": 2 * data["level"]},
        {"P": torch.eye(2, dtype=torch.float64) * data["P"].diagonal().mean()},
    ):
        assert isinstance(verify_basin(where, {**data, **wrong}), Failure), wrong.keys()
    other = problem(lambda x: x + 1.3 * (pendulum(x) - x) + 0.02, 2)
    assert isinstance(verify_basin(other, data), Failure)
    small = problem(pendulum, 2, (vector(-1.0, -1.0), vector(1.0, 1.0)))
    assert isinstance(verify_basin(small, data), Failure)


def test_a_plant_with_a_learned_policy():
    """An inverted pendulum whose motor is too weak to lift it from everywhere, and a policy trained on short runs."""
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(2, 12, bias=False), nn.Tanh(), nn.Linear(12, 1, bias=False)).double()

    def plant(x, u):
        angle, speed = x[:, :1], x[:, 1:]
        push = 1.5 * torch.tanh(u)
        return torch.cat([angle + 0.1 * speed, speed + 0.1 * (2 * torch.sin(angle) - 0.2 * speed + push)], 1)

    optimizer = torch.optim.Adam(policy.parameters(), lr=2e-2)
    for _ in range(80):
        x = (torch.rand(128, 2, dtype=torch.float64) * 2 - 1) * 0.6
        loss = torch.zeros((), dtype=torch.float64)
        for _ in range(25):
            x = plant(x, policy(x))
            loss = loss + (x**2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loop = sx.Loop(plant, policy.requires_grad_(False))
    step = loop.function(0)
    box = (vector(-2.0, -2.0), vector(2.0, 2.0))
    where = problem(loop, 2, box)
    near = prove_attraction(where, vector(0, 0), seconds=SECONDS)
    assert isinstance(near, Proof)
    basin = prove_basin(where, near, box, seconds=SECONDS)
    assert isinstance(basin, Proof)
    ellipsoid, whole = shares(step, basin, box, "inverted pendulum with a policy")
    assert ellipsoid > 0.25 and whole > 0.9
    assert (basin.data["lo"] >= box[0]).all() and (basin.data["hi"] <= box[1]).all()


def test_one_component():
    box = (vector(-5.0), vector(3.0))

    def gelu(x):
        return F.gelu(x) + 0.12

    where = problem(gelu, 1)
    near = prove_attraction(where, vector(0.3207), seconds=SECONDS)
    basin = prove_basin(where, near, box, seconds=SECONDS)
    assert float(basin.data["lo"].min()) <= -5.0
    assert 1.34 < float(basin.data["hi"].max()) < 1.345981
    assert covers(basin, vector(-5.0), vector(1.34)) and not covers(basin, vector(-5.0), vector(1.346))
    assert covers(basin, vector(0.3), vector(0.3)) and not covers(basin, vector(-6.0), vector(0.0))


def test_three_components():
    """One of the wells of a map with several."""
    M = torch.tensor([[1.6, 0.2, -0.1], [-0.2, 1.5, 0.3], [0.1, -0.2, 1.4]], dtype=torch.float64)

    def wells(x):
        return torch.tanh(x @ M.T)

    at = torch.ones(1, 3, dtype=torch.float64)
    for _ in range(300):
        at = wells(at)
    box = (vector(-1.5, -1.5, -1.5), vector(1.5, 1.5, 1.5))
    near = prove_attraction(problem(wells, 3), at[0], seconds=SECONDS / 4)
    basin = prove_basin(problem(wells, 3), near, box, cells=32**3, seconds=SECONDS)
    _, whole = shares(wells, basin, box, "three components")
    assert whole > 0.75


def test_a_box_that_is_attracted_whole():
    """All of a box is covered, corners included, also where images leave it on the way."""
    turn = torch.tensor([[0.55, 2.0], [-0.1, 0.6]], dtype=torch.float64)

    def f(x):
        return 3 * torch.tanh(x @ turn.T / 3)

    box = (vector(-3.0, -3.0), vector(3.0, 3.0))
    near = prove_attraction(problem(f, 2), vector(0, 0), seconds=SECONDS)
    small = {**near.data, "level": near.data["inner"] / 16, "inner": near.data["inner"] / 16}
    basin = prove_basin(problem(f, 2), Proof(near.method, data=small), box, cells=64**2, seconds=SECONDS)
    assert covers(basin, *box)
    assert covers(basin, *(1.0000000001 * side for side in box))


def test_a_constant_input():
    u = vector(0.7)

    def f(xu):
        return torch.tanh(1.2 * xu[:, :2]) + 0.05 * xu[:, 2:]

    where = Problem(lure(f, (3,)), 2, 1, None, (u, u))
    at = torch.ones(1, 2, dtype=torch.float64)
    for _ in range(300):
        at = f(torch.cat([at, u[None]], 1))
    box = (vector(-2.0, -2.0), vector(2.0, 2.0))
    near = prove_attraction(where, at[0], seconds=SECONDS)
    basin = prove_basin(where, near, box, cells=64**2, seconds=SECONDS)
    _, whole = shares(lambda x: f(torch.cat([x, u.expand(len(x), 1)], 1)), basin, box, "constant input")
    assert whole > 0.9
    moving = Problem(where.network, 2, 1, None, (u, u + 1))
    assert isinstance(prove_basin(moving, near, box, seconds=1), Failure)
    assert isinstance(verify_basin(moving, basin.data), Failure)


def test_little_time_gives_less_but_nothing_false():
    def f(x):
        return torch.tanh(2 * x)

    where, box = problem(f, 2), (vector(-2.0, -2.0), vector(2.0, 2.0))
    near = prove_attraction(where, vector(0.9575, 0.9575), seconds=SECONDS)
    basin = prove_basin(where, near, box, seconds=1e-3)
    assert isinstance(basin, Proof)
    x, comes = sampled(f, basin, box)
    assert not bool((contains(basin, x) & ~comes).any())


def test_what_cells_cannot_do():
    near = Proof("", data={"P": torch.eye(4).double(), "centre": torch.zeros(4).double(), "level": 1.0})
    found = prove_basin(problem(lambda x: 0.5 * x, 4), near, (-torch.ones(4).double(), torch.ones(4).double()))
    assert isinstance(found, Failure) and "4 components" in found.reason


@pytest.mark.parametrize("n", [1, 2, 3])
def test_look_ups_agree_with_counting(n):
    generator = torch.Generator().manual_seed(n)
    lattice = Lattice(-torch.ones(n).double(), 2 * torch.ones(n).double(), (8, 5, 6)[:n])
    mask = torch.rand(lattice.shape, generator=generator) < 0.9
    table = Table(mask)
    lo = torch.rand(n, 400, generator=generator, dtype=torch.float64) * 3.6 - 1.3
    hi = lo + torch.rand(n, 400, generator=generator, dtype=torch.float64) * 1.5
    # some borders lie exactly on the lattice's
    lo[0, ::5], hi[0, ::7] = lattice.edges[0][2], lattice.edges[0][-1]
    lo[:, :3], hi[:, :3] = torch.nan, torch.inf
    hi = torch.maximum(lo, hi)
    hi[:, :3] = torch.inf
    first, last, within = lattice.around(lo, hi)
    found = within & table.covers(first, last)
    places = lattice.places()
    cell_lo, cell_hi = lattice.corners(places, places + 1)
    for k in range(400):
        # a flat box on a border needs one of the cells beside it
        flat = lo[:, k, None] == hi[:, k, None]
        meets = ((cell_lo < hi[:, k, None]) & (cell_hi > lo[:, k, None])) | (
            flat & (cell_lo <= lo[:, k, None]) & (cell_hi > lo[:, k, None])
        )
        meets = meets.all(0)
        fits = bool((lo[:, k] >= -1).all()) and bool((hi[:, k] <= 2).all())
        assert bool(found[k]) == (fits and bool(mask.flatten()[meets].all())), k
    assert 20 < int(found.sum()) < 380


def test_filled_cells_and_their_places():
    lattice = Lattice(vector(0.0, -1.0), vector(1.0, 0.3), (6, 7))
    first, last = torch.tensor([[0, 2, 3], [1, 5, 0]]), torch.tensor([[2, 3, 6], [4, 7, 2]])
    mask = lattice.filled(first, last)
    expected = torch.zeros(6, 7, dtype=torch.bool)
    for (i, j), (k, m) in zip(first.T.tolist(), last.T.tolist(), strict=True):
        expected[i:k, j:m] = True
    assert torch.equal(mask, expected)
    lo, hi = lattice.corners(first, last)
    back = lattice.exactly(lo, hi)
    assert torch.equal(back[0], first) and torch.equal(back[1], last)
    assert lattice.exactly(lo, hi - 1e-12) is None
    fine = lattice.doubled()
    assert all(torch.equal(a, b[::2]) for a, b in zip(lattice.edges, fine.edges, strict=True))
