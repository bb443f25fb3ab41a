"""Certificates whose files were changed, and statements that a proof does not carry."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.certificates import box_statements, global_statements
from separatrix.certificates.certificate import Verdict
from separatrix.certificates.gains import norms
from separatrix.certificates.problem import Failure, Proof
from separatrix.certificates.refutation.points import unstable_equilibrium, zone_of
from separatrix.certificates.verified import at_most
from separatrix.local.interval_forms import Enclosed

SHEAR = torch.tensor([[0.5, 4.0], [0.0, 0.5]], dtype=torch.float64)


@pytest.fixture
def f(net):
    return net([2, 8, 2], nn.Tanh, gain=0.6, seed=1, bias=0.0)


def with_data(certificate, **changes):
    return replace(certificate, proof=replace(certificate.proof, data={**certificate.proof.data, **changes}))


def test_an_input_that_changes_moves_the_equilibrium():
    loop = sx.Loop(lambda x, u: 0.3 * torch.tanh(x) + 0.2 * u, 0.0, dim=1)
    for box in (None, (-1, 1)):
        found = sx.certify(loop, "stability", box=box, u_box=(-1, 1))
        assert found.verdict == "unknown"
        assert "moves the equilibrium" in found.evidence[0]
    assert sx.certify(loop, "contraction", u_box=(-1, 1)).verdict == "certified"
    with pytest.warns(sx.SeparatrixWarning, match="leaves out the loop's own input"):
        found = sx.certify(loop, "stability", u_box=(0.5, 0.5))
    assert found.verdict == "certified"
    assert float(found.equilibrium) == pytest.approx(0.1 / 0.7, rel=2e-2)


@pytest.mark.parametrize(
    ("statement", "options"),
    [
        ("contraction", {}),
        ("stability", {}),
        ("boundedness", {"norm": "P"}),
        ("boundedness", {"norm": "inf"}),
        ("stability", {"at": (0.0, 0.0)}),
        ("stability", {"box": (-3, 3)}),
        ("lipschitz", {}),
    ],
)
def test_nothing_is_said_that_is_not_proved(f, statement, options):
    found = sx.certify(f, statement, **options)
    assert found.verdict == "certified"
    assert found.check(f)
    changed = {
        "verdict": Verdict.REFUTED,
        "kind": "contraction" if statement != "contraction" else "stability",
        "statement": found.statement + ", and twice",
        "norm": "1",
        "method": "guess",
        "domain": "everything",
        "margin": found.margin + 0.3,
        "assumptions": (),
        "witness": {"kind": "cycle"},
    }
    if found.rate is not None:
        changed["rate"] = 0.99 * found.rate
    if found.bound is not None:
        changed["bound"] = 0.9 * found.bound
    if found.equilibrium is not None:
        changed["equilibrium"] = found.equilibrium + 0.01
    if found.region is not None:
        changed["region"] = replace(found.region, level=2 * abs(found.region.level) + 1)
    for name, value in changed.items():
        assert not replace(found, **{name: value}).check(f), name
    if found.region is not None:
        wider = replace(found.region, P=0.9 * found.region.P)
        assert not replace(found, region=wider).check(f)
        corner = torch.full((1, 2), 100.0, dtype=torch.float64)
        assert not replace(found, region=replace(found.region, lo=-corner, hi=corner)).check(f)
    for name, value in (("norm", "1"), ("rate", 0.1), ("bound", 0.1), ("method", "guess")):
        assert not replace(found, proof=replace(found.proof, **{name: value})).check(f), name
    # the norm of V is that of the proof's data
    if found.norm != "P":
        assert not with_data(found, weights=torch.tensor([1.0, 50.0]).double()).check(f)
    assert not with_data(found, P=50 * torch.eye(2).double()).check(f)


def test_a_proof_of_one_statement_is_none_of_another(f):
    bounded, lipschitz = sx.certify(f, "boundedness"), sx.certify(nn.Linear(2, 2).double(), "lipschitz")
    for source in (bounded, sx.certify(f, "lipschitz"), lipschitz):
        for kind in ("contraction", "stability"):
            forged = replace(source, kind=kind, question={**source.question, "statement": kind})
            assert not forged.check(f)
    local = sx.certify(f, "stability", at=(0.0, 0.0))
    assert not replace(local, question={**local.question, "at": None}).check(f)
    on_box = sx.certify(f, "contraction", box=(-1, 1))
    assert not replace(on_box, question={**on_box.question, "box": None}).check(f)
    assert not replace(on_box, question={}).check(f)


def test_a_refutation_is_no_certificate(f):
    steep = sx.Map(lambda x: 6 * f(x), dim=2)
    found = sx.certify(steep, "contraction")
    assert found.verdict == "refuted"
    assert found.check(steep)
    assert not replace(found, verdict=Verdict.CERTIFIED).check(steep)
    assert not replace(found, statement="it is true").check(steep)


def test_claims_in_the_data_of_another_method_are_not_taken_over(f):
    found = sx.certify(f, "contraction", norm="inf")
    assert found.verdict == "certified"
    claims = {"level": 9.0, "P": torch.eye(2).double(), "centre": torch.full((2,), 7.0).double()}
    forged = with_data(found, **claims)
    P, centre = claims["P"], claims["centre"]
    none = torch.zeros(0, 2).double()
    region = sx.certificates.certificate.Region(P, centre, 9.0, none, none)
    assert not replace(forged, region=region).check(f)
    assert not replace(forged, equilibrium=centre).check(f)


def test_a_ball_in_a_box_is_not_larger_than_was_proved():
    g = sx.Map(lambda x: torch.tanh(x @ SHEAR.T) + 0 * x, dim=2)
    found = sx.certify(g, "contraction", box=(-0.5, 0.5), norm="P")
    assert found.verdict == "certified"
    assert found.region is not None
    assert found.check(g)
    forged = replace(found, bound=2 * found.bound, proof=replace(found.proof, bound=2 * found.bound))
    assert not forged.check(g)


@pytest.mark.parametrize("box", [None, (-1, 1)])
def test_lipschitz_bounds_are_those_of_plain_norms(problem, box):
    p = problem(lambda x: x @ SHEAR.T, 2, box)
    verify = global_statements.verify_lipschitz if box is None else box_statements.verify_lipschitz_on_box
    steep = {"way": "comparison", "rate": 0.6, "weights": torch.tensor([1.0, 0.02]).double()}
    assert isinstance(verify(p, steep), Failure)
    assert isinstance(verify(p, steep | {"rate": 4.6, "weights": torch.ones(2).double()}), Proof)
    metric = {"way": "metric", "rate": 0.6, "P": torch.diag(torch.tensor([1.0, 4000.0])).double()}
    assert isinstance(verify(p, metric | {"t": torch.zeros(0).double()}), Failure)


def test_regions_on_a_box_have_a_norm_that_can_be_evaluated(net):
    g = net([2, 6, 2], nn.ReLU, gain=0.4, seed=3)
    p = sx.Map(lambda x: g(x) + 0 * x, dim=2)
    for norm in ("1", "inf"):
        found = sx.certify(p, "contraction", box=(-1, 1), norm=norm)
        proof = replace(
            found.proof,
            **vars(
                box_statements.verify_contraction_on_box_by_regions(
                    sx.certificates.question.read_question(p, "contraction", None, (-1, 1), None, norm).problem,
                    {"norm": norm, "rate": 0.9, "regions": 100},
                )
            ),
        )
        assert proof.norm == norm
        x = torch.tensor([[0.3, -0.4]], dtype=torch.float64)
        size = norms.distance(proof, x)
        assert float(size) == pytest.approx(0.7 if norm == "1" else 0.4)


def test_numbers_in_words_are_not_below_the_numbers():
    for value in (1 / 3, 2 / 3, 0.1, 0.99999999, 1 - 2.0**-53, 1.0, 12.3456789, 1e-300, 7.0, 0.0, 1e200):
        text = at_most(value)
        assert float(text) >= value
        assert float(text) <= value * (1 + 2e-5)
        assert value >= 1 or float(text) < 1 or value == 0
    assert at_most(0.5) == "0.5"
    assert at_most(math.inf) == "inf"
    assert "<= 0.333334 |x - y|" in sx.certify(sx.Map(lambda x: x / 3, dim=1), "contraction").statement


def test_chords_are_from_a_point_close_to_the_equilibrium():
    found = sx.certify(sx.Map(lambda x: 0.95 * torch.nn.functional.gelu(x) + 0.3, dim=1), "stability")
    assert found.method == "attraction by chords"
    # in exact arithmetic the centre is none: what is said holds for it all the same
    assert f"|x - c| + {at_most((1 - found.rate) * found.bound)} in" in found.statement


def test_a_stable_equilibrium_may_be_nearer_than_the_unstable_one(problem):
    """Slope 2 from the unstable equilibrium 0 on, and a stable equilibrium at 0.0151 behind a kink at 0.01."""
    p = problem(lambda x: 2 * x - (2 + 0.0) * torch.relu(x - 0.01) - 0.49 * torch.relu(-x) + 0 * x, 1)
    network = p.network
    data = {
        "points": torch.zeros(1, 1, dtype=torch.float64),
        "radii": torch.tensor([1e-6], dtype=torch.float64),
        "reach": 0.0099,
    }
    assert zone_of(Enclosed(network), data["points"][0], 0.0099) is not None
    near, far = (torch.tensor([v], dtype=torch.float64) for v in (1e-3, 0.0098))
    assert unstable_equilibrium(network, p, data, near) > 0
    assert unstable_equilibrium(network, p, data, far) == 0
