"""Pieces of the image part on cases that can be computed by hand, and both parts on real digits."""

import math
import xml.dom.minidom

import numpy as np
import pytest
import torch
from torch import nn

from separatrix.studies.storm2024 import digits, predictors
from separatrix.studies.storm2024.attack import walk
from separatrix.studies.storm2024.digit_bottleneck import Picture, betweenness
from separatrix.studies.storm2024.digit_errors import binned
from separatrix.studies.storm2024.digit_looks import exponents
from separatrix.studies.storm2024.digit_networks import digit_network, digit_run, untrained
from separatrix.studies.storm2024.digit_path_numbers import random_cosine
from separatrix.studies.storm2024.digit_paths import TO, WAY, along, switches
from separatrix.studies.study import Context, MissingData


def test_cosines_of_random_directions():
    assert random_cosine(2) == pytest.approx(2 / math.pi)
    assert random_cosine(3) == pytest.approx(1 / 2)
    assert random_cosine(784) == pytest.approx(math.sqrt(2 / (math.pi * 784)), rel=1e-3)
    way = np.random.default_rng(0).normal(size=(200_000, 20))
    drawn = np.abs(way[:, 0] / np.linalg.norm(way, axis=1))
    assert random_cosine(20) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / math.sqrt(len(drawn)))


def test_paths_are_compared_at_their_switch():
    """At 1 the class 4 ties with the largest other one, on paths of any length, to the interpolation of the steps."""
    torch.manual_seed(0)
    net = nn.Linear(12, 10).double()
    X = torch.rand(30, 12, dtype=torch.float64)
    X = X[net(X).argmax(1) != TO]
    path = walk(net, X, TO, step=0.01, count=600)
    switch = switches(net, path)
    assert switch.isfinite().all()
    places = along(path, switch.clamp_max(300))
    assert places.shape == (len(X), len(WAY), 12)
    torch.testing.assert_close(places[:, 0], X)
    logits = net(places[:, len(WAY) // 2][switch < 300])
    lead = logits[:, TO] - logits.index_fill(1, torch.tensor([TO]), -torch.inf).amax(1)
    assert len(lead) > 5
    assert lead.abs().max() < 1e-3


def test_paths_that_never_switch_say_so():
    net = nn.Linear(12, 10).double()
    nn.init.zeros_(net.weight)
    with torch.no_grad():
        net.bias[:] = 0
        net.bias[3] = 1.0
    path = torch.rand(5, 4, 12, dtype=torch.float64)
    assert switches(net, path).isinf().all()


def test_bins_keep_every_image():
    rng = np.random.default_rng(1)
    exponent, entropy, wrong = rng.normal(size=500), rng.random(500), rng.random(500) < 0.2
    bins = binned(exponent, entropy, wrong)
    assert len(bins.count) == 60
    assert bins.count.sum() == 500
    full = bins.count > 0
    assert (bins.count[full] @ bins.entropy[full]) == pytest.approx(entropy.sum())
    assert (bins.count[full] @ bins.error[full]) == pytest.approx(wrong.sum())
    for one in exponent[:50]:
        at = bins.at(one)
        assert bins.edges[at] <= one <= bins.edges[at + 1]
    assert bins.at(exponent.max()) == 59
    assert bins.at(exponent.max() + 1e-6) is None


def test_between_is_zero_in_a_cluster_and_one_halfway():
    y = np.repeat([0, 1, 2], 5)
    middles = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 10.0]])
    places = middles[y]
    places[1] = (0.5, 0.0)
    between = betweenness(Picture(nn.Identity(), places, y, 0.0))
    np.testing.assert_allclose(between[[0, 1, 5]], [0, 0.5 / 1.5, 0])


def test_exponents_are_those_of_the_jacobian():
    run = digit_run("mnist", 10_000, (3,), width=8)
    net = untrained(run)[0].double()
    X = torch.rand(4, 784, dtype=torch.float64)
    hidden = torch.func.vmap(torch.func.jacrev(nn.Sequential(*list(net.children())[:-1])))(X)
    logits = torch.func.vmap(torch.func.jacrev(net))(X)
    known = [torch.linalg.matrix_norm(hidden, 2).log() / 16, torch.linalg.matrix_norm(logits, 2).log() / 17]
    np.testing.assert_allclose(exponents(net, X, 16), torch.stack(known).detach().numpy(), rtol=1e-9)


def test_initial_weights_are_the_declared_ones():
    run = digit_run("mnist", 10_000, tuple(range(4)))
    assert run["epochs"] * 10_000 == 30 * 60_000
    nets = untrained(run)
    first = torch.cat([net.linear1.weight.detach().flatten() for net in nets])
    later = torch.cat([net.linear5.weight.detach().flatten() for net in nets])
    bias = torch.cat([net.linear5.bias.detach().flatten() for net in nets])
    assert float(first.var() * 784) == pytest.approx(1, rel=0.02)
    assert float(later.var() * 20) == pytest.approx(1, rel=0.15)
    assert float(bias.square().mean()) == pytest.approx(1e-7, rel=0.5)
    assert len(digit_network(run)) == 33


@pytest.fixture(scope="module")
def enlarged(tmp_path_factory):
    """A folder "mnist" of scikit-learn's handwritten digits, in the size and the format of MNIST."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    big = np.kron(images.reshape(-1, 8, 8), np.ones((1, 3, 3)))
    big = np.pad(np.minimum(255, big * 16), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    root = tmp_path_factory.mktemp("data")
    (root / "mnist").mkdir()
    for name, part in (("train", slice(0, 1400)), ("t10k", slice(1400, None))):
        for kind, values in (("images-idx3", big[part]), ("labels-idx1", labels[part].astype(np.uint8))):
            header = np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes()
            (root / "mnist" / f"{name}-{kind}-ubyte").write_bytes(header + values.tobytes())
    return root


def test_both_parts_on_real_digits(enlarged, tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATRIX_DATA", str(enlarged))
    context = Context("quick", tmp_path)
    part = digits.run(context)
    found = {finding.claim: finding for finding in part.findings}
    assert sorted(found) == ["M1", "M2", "M3", "M4"]
    assert not any(finding.not_measured for finding in found.values())
    # these digits are easy: whatever else holds, errors and doubt go with the exponent
    assert all(m.holds for m in found["M1"].measurements)
    drawn = [xml.dom.minidom.parseString(str(figure.picture)) for figure in part.figures]
    ids = [
        node.getAttribute("id") for one in drawn for node in one.getElementsByTagName("g") if node.hasAttribute("id")
    ]
    assert len(drawn) == 4
    assert len(ids) == len(set(ids))

    monkeypatch.setattr(predictors, "DATA", {"mnist": "MNIST"})
    again = predictors.run(context)
    assert "MNIST" in again.settings
    whats = [m.what for m in again.measurements]
    assert len(whats) == len(set(whats))
    areas = [m for m in again.measurements if "AUC" in m.what and " less " not in m.what]
    assert len(areas) == 7
    assert all(0.5 < m.interval[0] <= m.value <= 1 for m in areas)
    # nothing was trained twice
    assert len(list((tmp_path / "digits").rglob("*.nc"))) == 3


def test_without_data_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATRIX_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingData, match="mnist"):
        digits.run(Context("quick", tmp_path / "store"))
