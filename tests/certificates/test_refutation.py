"""Refutations: maps that are known to break a statement, maps that keep it, and witnesses that were tampered with."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from separatrix.certificates.problem import Failure, Problem, Proof, with_constant_input
from separatrix.certificates.refutation import exact_orbits
from separatrix.certificates.refutation import points as refuting_points
from separatrix.certificates.refutation.candidates import Candidates
from separatrix.certificates.refutation.proof import refute, verify_refutation
from separatrix.certificates.refutation.search import starts
from separatrix.certificates.refutation.witnesses import KINDS, STATEMENTS
from separatrix.studies.drgona2022.counterexamples import two_regions
from separatrix.systems.curves import curve
from separatrix.systems.lure import lure

NOTHING = (torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))


def problem(f, n, box=None):
    if box is not None:
        box = tuple(torch.full((n,), v, dtype=torch.float64) for v in box)
    return Problem(lure(f, (n,)), n, 0, box, NOTHING)


def linear(A, b=0.0):
    A = torch.as_tensor(A, dtype=torch.float64)
    return problem(lambda x: x @ A.T + b, len(A))


def turn(angle, radius):
    c, s = radius * math.cos(angle), radius * math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def mlp(n, width, activation, scale, seed, *, bias=True, dtype=torch.float64):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(n, width, bias), activation, nn.Linear(width, width, bias), activation)
    net.append(nn.Linear(width, n, bias))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(scale)
    return net.to(dtype)


def verdicts(p, seconds=20.0):
    """The kind of witness against each statement, or None; each verified anew from a copy that went through JSON."""
    found = {}
    for statement in STATEMENTS:
        proof = refute(p, statement, None, seconds=seconds)
        found[statement] = None
        if isinstance(proof, Proof):
            found[statement] = proof.data["kind"]
            again = verify_refutation(p, statement, None, through_json(proof.data))
            assert isinstance(again, Proof) and again.margin == proof.margin > 0
            assert proof.method == f"refutation: {proof.data['kind']}" and proof.notes
        else:
            assert proof.method == "refutation" and proof.reason
    return found


def through_json(data):
    def packed(value):
        if isinstance(value, torch.Tensor):
            return {"tensor": value.tolist(), "whole": value.dtype == torch.int64, "shape": list(value.shape)}
        return value

    def unpacked(value):
        if isinstance(value, dict):
            dtype = torch.int64 if value["whole"] else torch.float64
            return torch.tensor(value["tensor"], dtype=dtype).reshape(value["shape"])
        return value

    text = json.dumps({key: packed(value) for key, value in data.items()}, allow_nan=False)
    return {key: unpacked(value) for key, value in json.loads(text).items()}


def test_gelu_with_chords_below_one():
    found = verdicts(problem(lambda x: F.gelu(x) + 0.12, 1))
    assert found == {"contraction": "expanding product", "stability": "two equilibria", "boundedness": "drift"}


def test_three_equilibria_of_a_bounded_map():
    found = verdicts(problem(lambda x: 0.95 * F.gelu(x) + 0.17, 1))
    assert found == {"contraction": "expanding product", "stability": "two equilibria", "boundedness": None}


def test_tanh_of_twice():
    found = verdicts(problem(lambda x: torch.tanh(2 * x), 1))
    assert found == {"contraction": "expanding product", "stability": "two equilibria", "boundedness": None}


@pytest.mark.parametrize("n", [2, 3])
def test_turns(n):
    A = torch.eye(n, dtype=torch.float64) / 2
    A[:2, :2] = turn(0.7, 1.01)
    assert all(verdicts(linear(A)).values())
    A[:2, :2] = turn(0.7, 0.99)
    assert not any(verdicts(linear(A)).values())
    A[:2, :2] = turn(0.7, 1.0)
    assert not any(verdicts(linear(A)).values())


def test_radius_one_exactly():
    """The identity, a turn by a right angle, averages: refuted in fractions, or not at all."""
    everything = dict.fromkeys(STATEMENTS, "exact orbits")
    for A in ([[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]], [[0.5, 0.25], [0.5, 0.75]]):
        assert verdicts(linear(A)) == everything
    weights = torch.tensor([[0.5, 0.25], [0.5, 0.75]], dtype=torch.float64)
    assert verdicts(problem(lambda x: torch.relu(x @ weights.T), 2)) == everything
    # rounded columns do not add up to 1 exactly
    torch.manual_seed(0)
    weights = torch.softmax(torch.randn(2, 2, dtype=torch.float64), 0) * (1 - 1e-13)
    assert not any(verdicts(problem(lambda x: torch.relu(x @ weights.T), 2)).values())
    # a line of equilibria that does not go through 0, and no other
    found = verdicts(linear([[1.0, 0.0], [0.0, 0.5]], torch.tensor([0.0, 0.25], dtype=torch.float64)))
    assert found == {"contraction": "exact orbits", "stability": "exact orbits", "boundedness": None}


def test_exact_points_are_solutions():
    p = problem(lambda x: 0.25 + torch.relu(1 - torch.relu(x)), 1)  # 1.25 - x on [0, 1]: cycles of period 2
    data = exact_orbits.search(p.network, p, torch.linspace(0.1, 0.9, 7, dtype=torch.float64)[None], "stability")
    assert data is not None and data["period"] == 2
    assert exact_orbits.orbits(p.network, p, data, "stability") == 1
    for change in ({"period": 1}, {"period": 3}, {"points": [["1/3"]]}, {"points": [["5/8"]]}, {"points": []}):
        expected = 1.0 if change == {"points": [["1/3"]]} else 0.0  # 1/3 -> 11/12 -> 1/3
        assert exact_orbits.orbits(p.network, p, data | change, "stability") == expected
    assert exact_orbits.orbits(p.network, p, data, "boundedness") == 0
    assert not exact_orbits.exact(problem(torch.tanh, 1).network)
    assert not exact_orbits.exact(problem(nn.Hardsigmoid(), 1).network)


@pytest.mark.parametrize(
    ("f", "period"),
    [
        (lambda x: -2 * torch.tanh(x), 2),
        (lambda x: 1.5 - 2.6 * torch.sigmoid(6 * x), 2),
        (lambda x: -1.2 * F.silu(3 * x) + 1, 2),
        (lambda x: 1 - 1.8 * torch.abs(x), 3),
    ],
)
def test_cycles(f, period):
    p = problem(f, 1)
    for length in (2, 3):
        search = Candidates(p.network, p, "stability", None, torch.Generator().manual_seed(0), [])
        found = list(search._cycles(starts(p.network, None, torch.Generator().manual_seed(0)), length))
        proofs = [verify_refutation(p, "stability", None, data) for data in found if data is not None]
        if length == period:
            assert any(isinstance(proof, Proof) for proof in proofs)
        for proof in proofs:
            if isinstance(proof, Proof):
                x = proof.data["points"]
                y = x
                for _ in range(length):
                    y = p.network(y)
                    assert float((y - x).abs().max()) > 1e-3 or torch.allclose(y, x, atol=1e-9)
                assert torch.allclose(y, x, atol=1e-9)
    assert verdicts(p)["stability"] is not None


def test_stable_in_every_region_and_unstable():
    found = verdicts(problem(two_regions(), 2))
    assert found["stability"] == found["boundedness"] == "growing ray" and found["contraction"] is not None
    p = problem(two_regions(), 2)
    at = torch.zeros(2, dtype=torch.float64)
    assert isinstance(refute(p, "stability", at), Proof)
    box = problem(two_regions(), 2, (-1.0, 1.0))
    for statement in STATEMENTS:
        assert isinstance(refute(box, statement, None), Proof)
    # from where 0 is not in the inside nothing is known of it
    data = refute(p, "boundedness", None).data
    aside = problem(two_regions(), 2, (0.0, 1.0))
    assert isinstance(verify_refutation(aside, "stability", None, data), Failure)
    assert isinstance(verify_refutation(p, "stability", at + 1e-3, data), Failure)


def test_local_stability():
    p = problem(lambda x: F.gelu(x) + 0.12, 1)
    at = torch.tensor([1.346], dtype=torch.float64)
    proof = refute(p, "stability", at)
    assert isinstance(proof, Proof) and proof.method == "refutation: unstable equilibrium"
    assert proof.margin == pytest.approx(0.1279, abs=5e-5)
    for place in (0.3207, 0.8, 2.0, -1.0):
        other = torch.tensor([place], dtype=torch.float64)
        assert isinstance(refute(p, "stability", other), Failure)
        assert isinstance(verify_refutation(p, "stability", other, proof.data), Failure)


def test_a_kink_decides_nothing():
    """All slopes at 0 have spectral radii above 1; in more than one dimension that does not make it unstable."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.LeakyReLU(2.0), nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(2))
        net[2].weight.copy_(1.5 * torch.eye(2))
    zero = {"points": torch.zeros(1, 2, dtype=torch.float64), "radii": torch.tensor([1e-9], dtype=torch.float64)}
    p = problem(net, 2)
    assert refuting_points.unstable_equilibrium(p.network, p, zero) == 0
    one = problem(lambda x: 1.5 * F.leaky_relu(x, 2.0), 1)
    zero["points"] = zero["points"][:, :1]
    assert refuting_points.unstable_equilibrium(one.network, one, zero) == pytest.approx(0.5)
    smooth = linear([[1.5, 0.0], [0.0, 0.25]])
    zero["points"] = torch.zeros(1, 2, dtype=torch.float64)
    assert refuting_points.unstable_equilibrium(smooth.network, smooth, zero) == pytest.approx(0.5)


def test_selu():
    found = verdicts(problem(nn.SELU(), 1))
    assert found["contraction"] == "expanding product" and found["boundedness"] == "growing cone"
    assert found["stability"] == "two equilibria"
    small = problem(lambda x: F.selu(x) / 1.8, 1)
    assert not any(verdicts(small).values())


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.SELU(), nn.Softplus(), nn.LeakyReLU(0.2)], ids=str)
def test_networks_that_expand(activation):
    for seed in range(2):
        p = problem(mlp(2, 16, activation, 2.6, seed), 2)
        assert verdicts(p)["contraction"] == "expanding product"
    single = mlp(2, 16, activation, 3.0, 3, dtype=torch.float32)
    assert isinstance(refute(problem(single, 2), "contraction", None), Proof)


@pytest.mark.parametrize(("n", "width"), [(2, 16), (3, 16), (8, 32), (16, 64)])
def test_networks_that_diverge(n, width):
    for activation in (nn.ReLU(), nn.GELU()):
        p = problem(mlp(n, width, activation, 3.0, 3), n)
        x = torch.randn(100, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for _ in range(200):
            x = p.network(x)
        diverges = bool((x.abs().amax(1) > 1e6).all())
        assert (verdicts(p)["boundedness"] is not None) == diverges


def test_products_of_two_regions():
    """No Jacobian has a spectral radius above 1, and a product of two has."""
    p = problem(two_regions(), 2)
    points = torch.tensor([[1.0, 0.3], [-1.0, 0.4]], dtype=torch.float64)
    data = {"kind": "expanding product", "points": points, "radii": torch.full((2,), 1e-9, dtype=torch.float64)}
    proof = verify_refutation(p, "contraction", None, data)
    assert isinstance(proof, Proof)
    first, second = torch.autograd.functional.jacobian(p.network, points)[[0, 1], :, [0, 1]]
    assert proof.margin == pytest.approx(float(torch.linalg.eigvals(second @ first).abs().max()) - 1, abs=1e-6)
    for k in range(2):
        alone = data | {"points": points[k : k + 1], "radii": data["radii"][:1]}
        assert isinstance(verify_refutation(p, "contraction", None, alone), Failure)
    for statement in ("stability", "boundedness"):
        assert isinstance(verify_refutation(p, statement, None, data), Failure)
    # and such products are found
    search = Candidates(p.network, p, "contraction", None, torch.Generator().manual_seed(0), [])
    alone = list(search._jacobians(starts(p.network, None, torch.Generator().manual_seed(0))))
    assert not any(isinstance(verify_refutation(p, "contraction", None, d), Proof) for d in alone if d)
    found = [verify_refutation(p, "contraction", None, d) for d in search._products() if d]
    assert any(isinstance(one, Proof) and one.margin > 1 for one in found)


def test_a_witness_in_the_box():
    f = lambda x: torch.tanh(2 * x)  # noqa: E731
    data = refute(problem(f, 1), "stability", None).data
    assert isinstance(verify_refutation(problem(f, 1, (-1.0, 1.0)), "stability", None, data), Proof)
    assert isinstance(verify_refutation(problem(f, 1, (0.5, 1.0)), "stability", None, data), Failure)
    assert isinstance(refute(problem(f, 1, (0.5, 1.0)), "stability", None), Failure)
    assert isinstance(refute(problem(f, 1, (0.5, 1.0)), "contraction", None), Failure)
    assert isinstance(refute(problem(f, 1, (0.2, 1.0)), "contraction", None), Proof)
    drifting = refute(problem(lambda x: x + 1, 1), "boundedness", None).data
    assert isinstance(
        verify_refutation(problem(lambda x: x + 1, 1, (-1.0, 1.0)), "boundedness", None, drifting), Failure
    )


def test_points_that_leave_the_box():
    A = torch.tensor([[0.5, 0.6], [0.0, 0.5]], dtype=torch.float64)
    f = lambda x: x @ A.T  # noqa: E731
    proof = refute(problem(f, 2, (-1.0, 1.0)), "boundedness", None)
    assert isinstance(proof, Proof) and proof.data["kind"] == "leaving point" and 0 < proof.margin <= 0.1
    A[0, 1] = 0.5
    assert isinstance(refute(problem(f, 2, (-1.0, 1.0)), "boundedness", None), Failure)
    outside = proof.data | {"points": torch.tensor([[3.0, 3.0]], dtype=torch.float64)}
    assert isinstance(verify_refutation(problem(f, 2, (-1.0, 1.0)), "boundedness", None, outside), Failure)
    assert isinstance(verify_refutation(problem(f, 2), "boundedness", None, proof.data), Failure)


def test_inputs():
    u_box = (torch.tensor([-0.1], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64))
    network = lure(lambda xu: torch.tanh(2 * xu[:, :1]) + xu[:, 1:], (2,))
    p = Problem(network, 1, 1, None, u_box)
    fixed = with_constant_input(p)
    x = torch.linspace(-3, 3, 31, dtype=torch.float64)[:, None]
    middle = u_box[0] / 2 + u_box[1] / 2
    assert torch.equal(fixed(x), network(torch.cat([x, middle.expand(31, 1)], 1)))
    found = verdicts(p)
    assert found == {"contraction": "expanding product", "stability": "two equilibria", "boundedness": None}
    proof = refute(p, "stability", None)
    assert any("input" in note for note in proof.notes)
    tame = Problem(lure(lambda xu: torch.tanh(0.9 * xu[:, :1]) + xu[:, 1:], (2,)), 1, 1, None, u_box)
    assert not any(verdicts(tame).values())
    box = (torch.tensor([-1.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64))
    leaving = refute(Problem(tame.network, 1, 1, box, u_box), "boundedness", None)
    assert isinstance(leaving, Proof) and float(leaving.data["input"]) == 0.3
    beyond = leaving.data | {"input": torch.tensor([0.4], dtype=torch.float64)}
    assert isinstance(verify_refutation(Problem(tame.network, 1, 1, box, u_box), "boundedness", None, beyond), Failure)


TAMPERED = [
    ("two equilibria", {"points": lambda v: v[[0, 0]]}),
    ("two equilibria", {"points": lambda v: v + 0.01}),
    ("two equilibria", {"points": lambda v: v[:1]}),
    ("two equilibria", {"radii": lambda v: v * 0}),
    ("two equilibria", {"radii": lambda v: v * 0 + 10}),
    ("two equilibria", {"radii": lambda v: v * math.nan}),
    ("two equilibria", {"points": lambda v: v.float()}),
    ("two equilibria", {"points": lambda v: v[:, [0, 0]]}),
    ("two equilibria", {"points": lambda v: None}),
    ("expanding product", {"points": lambda v: v + 5}),
    ("expanding product", {"points": lambda v: v[:0], "radii": lambda v: v[:0]}),
    ("expanding product", {"radii": lambda v: v * 0}),
    ("expanding product", {"radii": lambda v: v * 0 + 5}),
    ("expanding product", {"radii": lambda v: -v}),
    ("cycle", {"period": lambda k: 1}),
    ("cycle", {"period": lambda k: 3}),
    ("cycle", {"period": lambda k: 10**9}),
    ("cycle", {"points": lambda v: v + 0.1}),
    ("cycle", {"points": lambda v: v * 0}),
    ("unstable equilibrium", {"points": lambda v: v + 1}),
    ("unstable equilibrium", {"radii": lambda v: v * 0 + 2}),
    ("any", {"kind": lambda k: "no such kind"}),
    ("any", {"kind": lambda k: None}),
]


@pytest.mark.parametrize(("kind", "changes"), TAMPERED)
def test_tampered_witnesses(kind, changes):
    p = problem(lambda x: -2 * torch.tanh(x) if kind == "cycle" else torch.tanh(2 * x), 1)
    one = torch.ones(1, dtype=torch.float64)
    root = 0.9575040240772687
    data = {
        "two equilibria": {
            "points": torch.tensor([[root], [-root]], dtype=torch.float64),
            "radii": 1e-9 * one.repeat(2),
        },
        "expanding product": {"points": 0.1 * one[None], "radii": 1e-9 * one},
        "cycle": {"points": 2 * root * one[None], "radii": 1e-9 * one, "period": 2},
        "unstable equilibrium": {"points": 0 * one[None], "radii": 1e-9 * one},
    }
    data = data.get(kind, data["two equilibria"]) | {"kind": "two equilibria" if kind == "any" else kind}
    statement = "contraction"
    assert isinstance(verify_refutation(p, statement, None, data), Proof)
    changed = data | {key: change(data[key]) for key, change in changes.items()}
    assert isinstance(verify_refutation(p, statement, None, changed), Failure)
    for key in [key for key in data if key != "kind"]:
        assert isinstance(verify_refutation(p, statement, None, {k: v for k, v in data.items() if k != key}), Failure)


def test_no_kind_accepts_nothing():
    for kind in KINDS:
        for statement in STATEMENTS:
            found = verify_refutation(problem(torch.tanh, 1), statement, None, {"kind": kind})
            assert isinstance(found, Failure)


def test_weights_that_are_no_numbers():
    p = problem(mlp(2, 4, nn.Tanh(), 3.0, 0), 2)
    p.network.blocks[0].weights[0][0, 0] = math.nan
    for statement in STATEMENTS:
        assert isinstance(refute(p, statement, None), Failure)
    good = problem(mlp(2, 4, nn.Tanh(), 3.0, 0), 2)
    data = refute(good, "contraction", None).data
    assert isinstance(verify_refutation(p, "contraction", None, data), Failure)


def test_evidence_is_told():
    T = torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    slow = linear(T @ turn(0.7, 0.99) @ torch.linalg.inv(T))
    found = refute(slow, "contraction", None)
    assert isinstance(found, Failure) and "2-norm" in found.reason
    flat = refute(problem(lambda x: F.softplus(x), 1), "boundedness", None)
    assert isinstance(flat, Failure)
    unknown = refute(problem(torch.tanh, 1), "lipschitz", None)
    assert isinstance(unknown, Failure)


ACTIVATIONS = [
    nn.ReLU(),
    nn.LeakyReLU(0.3),
    nn.PReLU(),
    nn.ReLU6(),
    nn.Hardtanh(),
    nn.Hardsigmoid(),
    nn.Tanh(),
    nn.GELU(),
]
ACTIVATIONS += [
    nn.Softsign(),
    nn.ELU(1.5),
    nn.CELU(0.7),
    nn.SELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.Hardswish(),
]
ACTIVATIONS += [nn.Tanhshrink(), nn.Softshrink(0.4), nn.Sigmoid(), nn.Softplus(2.0), nn.LogSigmoid(), nn.Identity()]
ACTIVATIONS += [nn.ELU(-0.5), nn.LeakyReLU(-1.5)]


def contracting(activation, n, seed, *, bias):
    """A network whose layers' 2-norms times the steepest slopes multiply to 0.95."""
    net = mlp(n, 5, activation, 1.0, seed, bias=bias)
    steep = max(map(abs, curve(activation).slope_range))
    with torch.no_grad():
        layers = [part for part in net if isinstance(part, nn.Linear)]
        for part in layers:
            part.weight /= float(torch.linalg.matrix_norm(part.weight, 2))
            part.weight *= (0.95 / steep**2) ** (1 / 3)
            if bias:
                part.bias.mul_(3.0)
    return problem(net, n)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_what_contracts_is_never_refuted(activation):
    for n, bias in ((1, True), (2, False), (3, True), (4, False)):
        p = contracting(activation, n, 10 * n, bias=bias)
        # the search against contraction tries every kind; the others are spared some of them
        for statement in STATEMENTS if n == 2 else STATEMENTS[:1]:
            found = refute(p, statement, None, seed=n)
            assert isinstance(found, Failure), (n, bias, statement, found)
