"""Ellipsoids of attraction: as large as they can be, and nothing in them that does not converge."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from separatrix.certificates.attraction.proof import prove_attraction, verify_attraction
from separatrix.certificates.problem import Failure, Problem, Proof
from separatrix.systems.lure import lure

NONE = torch.zeros(0, dtype=torch.float64)
SHEAR = torch.tensor([[0.5, 4.0], [0.0, 0.5]], dtype=torch.float64)
TURN = 0.99 * torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)


def problem(f, n, box=None):
    return Problem(lure(f, (n,)), n, 0, box, (NONE, NONE))


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def reach(proof):
    """Half widths of the region, in floating point."""
    return (proof.data["level"] * torch.linalg.inv(proof.data["P"]).diagonal()).sqrt()


def states_in(proof, count, seed=0):
    """States of the region, every other one on its rim."""
    generator = torch.Generator().manual_seed(seed)
    P, level, centre = (proof.data[key] for key in ("P", "level", "centre"))
    n = len(centre)
    way = torch.randn(n, count, generator=generator, dtype=torch.float64)
    size = torch.rand(count, generator=generator, dtype=torch.float64) ** (1 / n)
    size[::2] = 1 - 1e-9
    way = way / way.norm(dim=0) * size * level**0.5
    return centre + torch.linalg.solve_triangular(torch.linalg.cholesky(P).T, way, upper=True).T


def converges(f, proof, steps=5000, count=10_000):
    x, centre = states_in(proof, count), proof.data["centre"]
    close = 1e-7 * (1 + float(centre.abs().max()))
    with torch.no_grad():
        for _ in range(steps):
            x = f(x)
            if float((x - centre).abs().max()) < close:
                return True
    return False


def gelu(x):
    return F.gelu(x) + 0.12


def ramp(x):
    return 0.5 * x + 3 * F.relu(x - 2)


@pytest.mark.parametrize(
    ("f", "n", "at", "least"),
    [
        (lambda x: torch.tanh(0.5 * x), 1, [0.0], [500.0]),
        (lambda x: x @ SHEAR.T, 2, [0.0, 0.0], [500.0, 50.0]),
        (lambda x: x @ TURN.T, 2, [0.0, 0.0], [500.0, 500.0]),
    ],
    ids=["tanh", "shear", "complex"],
)
def test_maps_that_are_stable_everywhere(f, n, at, least):
    proof = prove_attraction(problem(f, n), vector(*at), seconds=20)
    assert isinstance(proof, Proof) and proof.rate < 1 and proof.margin == 1 - proof.rate
    assert (reach(proof) >= vector(*least)).all()
    assert converges(f, proof)


def test_rates_of_linear_maps():
    proof = prove_attraction(problem(lambda x: x @ TURN.T, 2), vector(0, 0), seconds=20)
    assert 0.99 <= proof.rate < 0.9901
    proof = prove_attraction(problem(lambda x: 0.25 * x, 3), vector(0, 0, 0), seconds=20)
    assert 0.25 <= proof.rate < 0.2501


def test_the_region_ends_before_an_unstable_equilibrium():
    """gelu(x) + 0.12 has equilibria at 0.3207 and 1.3460, and every start above the second diverges."""
    proof = prove_attraction(problem(gelu, 1), vector(0.3207), seconds=20)
    unstable = 1.345981
    assert float(gelu(vector(unstable)) - unstable) == pytest.approx(0, abs=1e-6)
    end = float(proof.data["centre"] + reach(proof))
    assert unstable - 0.05 * (unstable - 0.3207) <= end < unstable
    assert converges(gelu, proof)


def test_the_region_of_a_kinked_map():
    """0.5 x + 3 relu(x - 2) attracts up to x = 2.4, where it meets the diagonal."""
    proof = prove_attraction(problem(ramp, 1), vector(0.0), seconds=20)
    assert 2.35 <= float(reach(proof)) < 2.4
    assert converges(ramp, proof)


def test_an_equilibrium_on_a_kink():
    """Slopes 0.5 to the right and 0.9 to the left of 0, from terms whose slopes add up to more than 1; 2 is no rest."""

    def f(x):
        return 0.5 * F.relu(x) - 0.9 * F.relu(-x) + F.relu(x - 1)

    proof = prove_attraction(problem(f, 1), vector(0.0), seconds=20)
    assert 1.9 <= float(reach(proof)) < 2.0
    assert converges(f, proof)
    found = prove_attraction(problem(lambda x: 0.5 * F.relu(x) - 1.1 * F.relu(-x), 1), vector(0.0), seconds=2)
    assert isinstance(found, Failure)


@pytest.mark.parametrize("seed", [0, 4])
def test_a_homogeneous_map_on_its_kinks(seed):
    torch.manual_seed(seed)
    W, V = torch.randn(8, 2).double(), 0.2 * torch.randn(2, 8).double()
    proof = prove_attraction(problem(lambda x: F.relu(x @ W.T) @ V.T, 2), vector(0, 0), seconds=20)
    assert isinstance(proof, Proof) and (reach(proof) > 1).all()
    assert converges(lambda x: F.relu(x @ W.T) @ V.T, proof)


def test_straight_rays_need_exact_kinks():
    """A kink that is off the centre by a rounding error: the map is not straight there, and no such proof holds."""

    def f(x):
        return 0.5 * F.relu(x) - 0.9 * F.relu(-x) + F.relu(x - 1)

    proof = prove_attraction(problem(f, 1), vector(0.0), seconds=20)
    assert proof.data["rays"] == 1
    off = problem(lambda x: 0.5 * F.relu(x + 1e-16) - 0.9 * F.relu(-x) + F.relu(x - 1) - 5e-17, 1)
    assert isinstance(verify_attraction(off, proof.data), Failure)


def test_failures_say_why():
    found = prove_attraction(problem(gelu, 1), vector(1.346), seconds=2)
    assert isinstance(found, Failure) and "unstable: spectral radius 1.1278" in found.reason
    found = prove_attraction(problem(gelu, 1), vector(0.8), seconds=2)
    assert isinstance(found, Failure) and "no equilibrium near" in found.reason
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    found = prove_attraction(problem(lambda x: x @ quarter.T, 2), vector(0, 0), seconds=2)
    assert isinstance(found, Failure) and "undecided" in found.reason
    found = prove_attraction(problem(lambda x: torch.tanh(x) + 2 + 0 * x, 1), vector(50.0), seconds=2)
    assert isinstance(found, Failure) and "is at (2.9" in found.reason
    found = prove_attraction(problem(lambda x: x + 1, 1), vector(0.0), seconds=2)
    assert isinstance(found, Failure) and "no equilibrium" in found.reason
    moving = Problem(lure(lambda xu: 0.5 * xu[:, :1] + xu[:, 1:], (2,)), 1, 1, None, (vector(0.0), vector(1.0)))
    found = prove_attraction(moving, vector(0.0), seconds=2)
    assert isinstance(found, Failure) and "input" in found.reason
    still = replace(moving, u_box=(vector(1.0), vector(1.0)))
    proof = prove_attraction(still, vector(2.0), seconds=2)
    assert isinstance(proof, Proof) and float(proof.data["centre"]) == pytest.approx(2.0)
    assert isinstance(verify_attraction(moving, proof.data), Failure)
    assert isinstance(verify_attraction(replace(still, u_box=(vector(1.5), vector(1.5))), proof.data), Failure)


def test_the_region_stays_in_the_box():
    box = (vector(-3.0, -0.5), vector(2.0, 4.0))
    proof = prove_attraction(problem(lambda x: x @ TURN.T, 2, box), vector(0, 0), seconds=20)
    centre = proof.data["centre"]
    assert (centre - reach(proof) >= box[0]).all() and (centre + reach(proof) <= box[1]).all()
    assert float(reach(proof).min()) > 0.45
    smaller = problem(lambda x: x @ TURN.T, 2, (box[0], vector(0.4, 4.0)))
    assert isinstance(verify_attraction(smaller, proof.data), Failure)
    border = problem(lambda x: x @ TURN.T, 2, (vector(0.0, -1.0), vector(1.0, 1.0)))
    found = prove_attraction(border, vector(0, 0), seconds=2)
    assert isinstance(found, Failure) and "border" in found.reason


def two_wells(x):
    """Equilibria near (0.9, 0.9) and three more like it, around a repelling one."""
    return torch.tanh(x @ torch.tensor([[2.0, 0.3], [-0.3, 2.0]], dtype=torch.float64))


@pytest.fixture(scope="module")
def well():
    proof = prove_attraction(problem(two_wells, 2), vector(0.9, 0.9), seconds=20)
    assert isinstance(proof, Proof)
    return proof


def test_one_of_four_wells(well):
    assert (reach(well) > 0.4).all()
    assert converges(two_wells, well)


def test_false_certificates_are_rejected(well):
    where, data = problem(two_wells, 2), well.data
    assert isinstance(verify_attraction(where, data), Proof)
    P = data["P"]
    for wrong in (
        {"level": 1.5 * data["level"]},
        {"level": 100 * data["level"]},
        {"level": float("inf")},
        {"level": float("nan")},
        {"inner": data["level"]},
        {"inner": 1e-40},
        {"inner": 2 * data["level"]},
        {"fall": 0.5},
        {"fall": 0.0},
        {"centre": data["centre"] + 1e-3},
        {"centre": -data["centre"].flip(0)},
        {"centre": torch.zeros(2, dtype=torch.float64)},
        {"P": -P},
        {"P": P * vector(1.0, 30.0)[:, None] * vector(1.0, 30.0), "level": 30 * data["level"]},
        {"P": P + torch.tensor([[0.0, 1e-9], [0.0, 0.0]], dtype=torch.float64) * P.abs().max()},
        {"P": P[:1, :1]},
        {"cells": 1},
        {"rays": 1},
    ):
        if "cells" in wrong:  # a small budget of cells only ever refuses
            wrong = {**wrong, "level": 1.5 * data["level"]}
        found = verify_attraction(where, {**data, **wrong})
        assert isinstance(found, Failure), wrong
    assert isinstance(verify_attraction(problem(lambda x: 1.2 * two_wells(x), 2), data), Failure)
    shear = prove_attraction(problem(lambda x: x @ SHEAR.T, 2), vector(0, 0), seconds=3)
    eye = {**shear.data, "P": torch.eye(2, dtype=torch.float64)}
    assert isinstance(verify_attraction(problem(lambda x: x @ SHEAR.T, 2), eye), Failure)


def test_what_is_stored_is_enough(well):
    """Through JSON text and back, the same is shown again."""

    def plain(value):
        return value.tolist() if isinstance(value, torch.Tensor) else value

    text = json.dumps({key: plain(value) for key, value in well.data.items()})
    back = {
        key: torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value
        for key, value in json.loads(text).items()
    }
    again = verify_attraction(problem(two_wells, 2), back)
    assert isinstance(again, Proof) and again.rate == well.rate


@pytest.mark.parametrize("n", [4, 6])
def test_more_components_by_sectors(n):
    torch.manual_seed(n)
    W, V = torch.randn(16, n).double() / n**0.5, torch.randn(n, 16).double() / 4
    V = 0.9 * V / torch.linalg.eigvals(V @ W).abs().max()

    def f(x):
        return torch.tanh(x @ W.T) @ V.T

    proof = prove_attraction(problem(f, n), torch.zeros(n).double(), seconds=20)
    assert isinstance(proof, Proof) and float(reach(proof).min()) > 0.1
    assert converges(f, proof)
    again = verify_attraction(problem(f, n), proof.data)
    assert isinstance(again, Proof)
    assert isinstance(verify_attraction(problem(f, n), {**proof.data, "level": 4 * proof.data["level"]}), Failure)
    for key in ("t", "about"):
        wrong = {**proof.data, key: 0.5 * proof.data[key]}
        assert isinstance(verify_attraction(problem(f, n), wrong), Failure)
    steeper = problem(lambda x: torch.tanh(1.3 * x @ W.T) @ V.T, n)
    assert isinstance(verify_attraction(steeper, proof.data), Failure)


ACTIVATIONS = [nn.Tanh(), nn.GELU(), nn.SiLU(), nn.ReLU(), nn.LeakyReLU(0.1), nn.SELU(), nn.Softplus(), nn.Mish()]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_random_networks(n):
    """Each equilibrium that orbits come to gets a region, and every orbit of the region comes to it."""
    proved = tried = 0
    for seed, activation in enumerate(ACTIVATIONS):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(n, 8), activation, nn.Linear(8, n)).double().requires_grad_(False)
        for p in net.parameters():
            p.mul_(1 + float(torch.rand(())))
        x = torch.randn(256, n).double()
        for _ in range(2000):
            x = net(x)
        still = torch.isfinite(x).all(1) & ((net(x) - x).norm(dim=1) < 1e-9)
        if not bool(still.any()):
            continue
        tried += 1
        proof = prove_attraction(problem(net, n), x[still][0], seconds=2)
        if isinstance(proof, Proof):
            proved += 1
            assert converges(net, proof, count=2000), (seed, activation)
    print(f"n = {n}: {proved} of {tried} equilibria have a certified region")
    assert tried >= 4 and proved == tried
