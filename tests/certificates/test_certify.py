"""Statements as a user asks them: verdicts, words, files, checks, and careless calls."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.certificates.gains import norms
from separatrix.certificates.problem import Proof

GELU = sx.Map(lambda x: F.gelu(x) + 0.12, dim=1)
SLOPED = sx.Map(lambda x: 0.5 * x + 3 * F.relu(x - 2), dim=1)


def test_norms_are_not_necessary():
    A = torch.tensor([[0.5, 4.0], [0.0, 0.5]], dtype=torch.float64)
    f = sx.Map(lambda x: x @ A.T, dim=2)
    assert sx.certify(f, "contraction").verdict == "certified"
    for norm in (1, 2, float("inf"), "2"):
        assert sx.certify(f, "contraction", norm=norm).verdict == "unknown"


def test_gelu_has_a_local_certificate_and_no_global_one():
    for statement in ("contraction", "stability", "boundedness"):
        assert sx.certify(GELU, statement).verdict != sx.Verdict.CERTIFIED
    found = sx.certify(GELU, "stability")
    assert found.verdict is sx.Verdict.REFUTED  # the other equilibrium
    local = sx.certify(GELU, "stability", at=0.3207)
    assert local.verdict == "certified"
    assert float(local.equilibrium) == pytest.approx(0.32068, abs=1e-4)
    assert not bool(local.region.contains(1.346))
    assert bool(local.region.contains(1.3))
    assert float(local.lyapunov(local.equilibrium)) == 0.0


def test_three_equilibria_in_one_ball():
    f = sx.Map(lambda x: 0.95 * F.gelu(x) + 0.17, dim=1)
    found = sx.certify(f, "boundedness")
    assert found.bound == pytest.approx(3.4, rel=1e-4)
    assert bool(found.region.contains(3.3764))
    assert not bool(found.region.contains(3.41))
    assert sx.certify(f, "stability").verdict == "refuted"


def test_a_kink_outside_of_the_box_makes_a_local_statement_only():
    found = sx.certify(SLOPED, "contraction", box=(-1, 1))
    assert found.verdict == "certified"
    assert "on the box (-1) to (1)" in found.statement
    assert found.domain == "the box (-1) to (1)"
    assert sx.certify(SLOPED, "contraction").verdict == "refuted"
    assert sx.certify(SLOPED, "contraction", box=(-1, 3)).verdict != "certified"


def test_a_lipschitz_bound_on_a_box_that_orbits_leave_is_named_so():
    found = sx.certify(sx.Map(lambda x: 0.5 * torch.tanh(x) + 10, dim=1), "contraction", box=(-1, 1))
    assert found.verdict == "unknown"
    assert any("local Lipschitz bound of 0.5" in line for line in found.evidence)


def test_spectra_in_the_disc_and_a_growing_orbit():
    from separatrix.studies.drgona2022.counterexamples import two_regions

    net = two_regions()
    box = sx.regions(net, (-1, 1))
    assert max(abs(torch.linalg.eigvals(torch.from_numpy(A))).max() for A in box.A.values) < 0.93
    for statement in ("contraction", "stability", "boundedness"):
        found = sx.certify(net, statement)
        assert found.verdict == "refuted"
        assert found.check(net)


def test_unknown_activations_are_unknown():
    found = sx.certify(sx.Map(lambda x: torch.softmax(x, -1), dim=2), "contraction")
    assert found.verdict == "unknown"
    assert "softmax" in found.evidence[0]
    assert found.advice
    assert not found.check(GELU)


def test_selu_is_not_one_lipschitz():
    f = sx.Map(F.selu, dim=1)
    assert sx.certify(f, "lipschitz").bound == pytest.approx(1.7580993408, rel=1e-6)
    assert sx.certify(f, "contraction").verdict == "refuted"


def test_every_sequence_of_inputs(net):
    f = net([3, 16, 2], nn.Tanh, gain=0.6)
    loop = sx.Loop(f, 0.0)
    found = sx.certify(loop, "contraction", u_box=(-1, 1))
    assert found.verdict == "certified"
    assert "every sequence of inputs" in found.statement
    assert found.equilibrium is None
    bounded = sx.certify(loop, "boundedness", u_box=(-1, 1))
    wider = sx.certify(sx.Loop(nn.Sequential(f, nn.LeakyReLU(0.9)), 0.0), "boundedness", u_box=(-5, 5))
    assert wider.verdict == bounded.verdict == "certified"
    driven = sx.Loop(f, 2 * torch.rand(400, 1, dtype=torch.float64) - 1)
    x, y = torch.randn(2, 50, 2, dtype=torch.float64)
    for t in range(60):
        x, y, before = driven.step(x, t), driven.step(y, t), x - y
        ratio = norms.distance(found.proof, x - y) / norms.distance(found.proof, before)
        if float(before.abs().max()) > 1e-12:
            assert float(ratio.max()) <= found.rate * (1 + 1e-9)
    assert bool(bounded.region.contains(x).all())
    assert sx.certify(loop, "stability", u_box=(-1, 1)).verdict == "unknown"
    recorded = sx.certify(driven, "contraction")
    assert recorded.verdict == "certified"
    assert recorded.check(driven)


@pytest.mark.parametrize(
    ("statement", "options"),
    [
        ("contraction", {}),
        ("stability", {}),
        ("boundedness", {}),
        ("lipschitz", {"norm": "inf"}),
        ("contraction", {"box": (-1, 1)}),
        ("stability", {"at": (0.0, 0.0)}),
        ("stability", {"at": (0.0, 0.0), "box": (-2, 2)}),
        ("boundedness", {"box": (-3, 3)}),
    ],
)
def test_saved_certificates_are_checked_for_their_map_alone(net, tmp_path, statement, options):
    f = net([2, 8, 2], nn.Tanh, gain=0.6, seed=1, bias=0.0)
    found = sx.certify(f, statement, **options)
    assert found.verdict == "certified"
    again = sx.Certificate.load(found.save(tmp_path / "proof.json"))
    assert (again.statement, again.rate, again.bound, again.verdict) == (
        found.statement, found.rate, found.bound, found.verdict,
    )  # fmt: skip
    assert again.check(f)
    assert b"pickle" not in (tmp_path / "proof.json").read_bytes()
    steep = sx.Map(lambda x: 6 * f(x), dim=2)
    checked = again.check(steep)
    assert not checked
    assert checked.reason


def test_a_certificate_that_says_more_than_its_proof_is_refused(net):
    f = net([2, 8, 2], nn.Tanh, gain=0.6, seed=1)
    found = sx.certify(f, "contraction")
    assert found.check(f)
    assert not replace(found, rate=0.9 * found.rate).check(f)
    data = {**found.proof.data, "rate": 0.9 * found.rate}
    assert not replace(found, rate=0.9 * found.rate, proof=replace(found.proof, data=data)).check(f)
    assert not replace(found, proof=Proof("guess", 0.5, data={"check": "guess"})).check(f)
    assert not replace(found, proof=replace(found.proof, data={"check": "contraction"})).check(f)


def test_float32_models_are_taken_at_their_exact_weights():
    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(2, 16), nn.GELU(), nn.Linear(16, 2))
    found = sx.certify(f, "stability")
    assert found.verdict == "certified"
    assert found.rate == sx.certify(f.double(), "stability").rate


def test_lyapunov_falls_along_orbits(net):
    f = net([3, 12, 3], nn.ELU, gain=0.8, seed=3)
    found = sx.certify(f, "stability")
    assert found.verdict == "certified"
    x = found.equilibrium + 5 * torch.randn(300, 3, dtype=torch.float64)
    V = [found.lyapunov(x)]
    for _ in range(5):
        x = f(x)
        V.append(found.lyapunov(x))
        assert bool((V[-1] <= found.rate**2 * V[-2] * (1 + 1e-9)).all())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sx.certify(GELU, "stable"), "one of contraction, stability"),
        (lambda: sx.certify(GELU, "contraction", norm="3"), "one of best, 1, 2"),
        (lambda: sx.certify(GELU, "contraction", box=(1, -1)), "lo < hi"),
        (lambda: sx.certify(GELU, "contraction", at=1), "local stability"),
        (lambda: sx.certify(GELU, "stability", at=(1, 2)), "one finite state of 1"),
        (lambda: sx.certify(GELU, "stability", at=float("nan")), "one finite state"),
        (lambda: sx.certify(GELU, "stability", at=3, box=(-1, 1)), "in the box"),
        (lambda: sx.certify(GELU, "contraction", u_box=(-1, 1)), "sx.Loop(f, u)"),
        (lambda: sx.certify(lambda x: x.tanh(), "contraction"), "dim=n"),
        (lambda: sx.certify(GELU, "contraction", budget=0), "positive number of seconds"),
        (lambda: sx.certify(nn.Linear(2, 3), "contraction"), "'lipschitz' takes any"),
        (lambda: sx.certify(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), "contraction"), ".eval()"),
        (lambda: sx.certify(nn.Linear(2, 2), "lipschitz", norm="P"), "'1', '2' or 'inf'"),
        (lambda: sx.Certificate.load(__file__), "Certificate.save"),
        (lambda: sx.certify(GELU, "lipschitz").lyapunov(1.0), "nothing that falls"),
        (lambda: sx.certify(GELU, "stability", at=0.32).region.contains(torch.zeros(4, 2)), "(*batch, 1)"),
    ],
)
def test_careless_calls_get_words(as_user, call, words):
    with pytest.raises(sx.ArgumentError) as error:
        call()
    assert words in str(error.value)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("way", ["alone", "joined", "closure", "cell"])
def test_loops_in_half_precision_get_words(net, half, way):
    f = net([2, 4, 2]).to(half)
    joined = net([3, 4, 2]).to(half)
    loop, options = {
        "alone": (sx.Loop(f), {}),
        "joined": (sx.Loop(joined, 0.0), {"u_box": (-1, 1)}),
        "closure": (sx.Loop(lambda x: 0.1 * f(x), dim=2), {}),
        "cell": (sx.Loop(nn.RNNCell(1, 2).to(half), 0.5), {}),
    }[way]
    with pytest.raises(sx.ArgumentError) as error:
        sx.certify(loop, "contraction", **options)
    assert (error.value.argument, error.value.got) == ("system", f"a function of {half} alone")
    assert "model.float() or model.double()" in error.value.remedy
    if way == "alone":
        # what the words say is done, and proves it of the same weights; a model by itself is computed in float32
        assert sx.certify(sx.Loop(f.double()), "lipschitz").bound == sx.certify(f.to(half), "lipschitz").bound


def test_what_fails_for_another_reason_is_not_laid_to_precision(net):
    f = net([3, 4, 2])
    with pytest.raises(sx.ArgumentError) as error:
        sx.certify(sx.Loop(f, dim=2), "contraction")
    assert error.value.argument == "system" and "a failure on" in error.value.got


def test_a_box_that_leaves_out_the_loops_own_input_is_warned_of(net):
    f = net([3, 16, 2], nn.Tanh, gain=0.6)
    recorded = sx.Loop(f, torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None])
    for loop, box, words in (
        (
            sx.Loop(f, 0.5),
            (1, 2),
            "from 1 to 2, which leaves out the loop's own input, from 0.5 to 0.5",
        ),
        (recorded, (-2, 0.5), "from -2 to 0.5, which leaves out the loop's own input, from -1 to 1"),
    ):
        with pytest.warns(sx.SeparatrixWarning) as caught:
            found = sx.certify(loop, "contraction", u_box=box)
        assert len(caught) == 1 and words in str(caught[0].message)
        # the statement itself is about the box, and true
        assert found.verdict == "certified"
        with pytest.warns(sx.SeparatrixWarning, match="leaves out"):
            assert found.check(loop)
    # warnings are errors here: a border belongs to the box, and a recording to the box of its values
    assert sx.certify(sx.Loop(f, 0.5), "contraction", u_box=(0.5, 0.5)).verdict == "certified"
    whole = sx.certify(recorded, "contraction")
    assert whole.check(recorded)
    with pytest.warns(sx.SeparatrixWarning, match="leaves out"):
        whole.check(sx.Loop(f, 1.5))


def test_nan_weights_get_words(net):
    f = net([2, 4, 2])
    f[0].weight[0, 0] = torch.nan
    with pytest.raises(sx.ArgumentError, match="NaN"):
        sx.certify(f, "contraction")


def test_the_file_is_plain_json(net, tmp_path):
    found = sx.certify(net([2, 8, 2], nn.ReLU, gain=0.6), "contraction")
    record = json.loads(found.save(tmp_path / "c.json").read_text())
    assert record["verdict"] == "certified"
    assert record["question"]["statement"] == "contraction"
    assert json.loads(record["provenance"])["function"] == "certify"
    # numbers keep all their digits
    P = torch.tensor(record["proof"]["data"]["P"]["tensor"], dtype=torch.float64)
    assert torch.equal(P, found.proof.data["P"])
