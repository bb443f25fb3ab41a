"""The networks of the Ricci-flow paper: widths, Keras' start and update, features, problems."""

import math

import numpy as np
import pytest
import torch

from separatrix.data import load
from separatrix.results.errors import ArgumentError
from separatrix.studies.baptista2024 import networks, problems
from separatrix.studies.baptista2024.networks import DECLARED, hidden, network, trained, untrained, widths
from separatrix.studies.baptista2024.problems import PROBLEMS, problem

SMALL = {**DECLARED, "problem": "C", "widths": "narrow", "depth": 5, "seeds": (0, 1), "epochs": 2}


def test_width_patterns():
    assert widths("narrow", 5) == (25,) * 5 and widths("wide", 11) == (50,) * 11
    assert widths("bottleneck", 5) == (50, 50, 25, 50, 50)
    assert widths("bottleneck", 11) == (50,) * 5 + (25,) + (50,) * 5
    net = network(784, "bottleneck", 11)
    assert [m.out_features for m in net if isinstance(m, torch.nn.Linear)] == [*widths("bottleneck", 11), 1]
    assert sum(isinstance(m, torch.nn.ReLU) for m in net) == 11
    assert not any(isinstance(m, torch.nn.ReLU) for m in network(3, "wide", 5, "linear"))


def test_networks_start_as_in_keras():
    nets = untrained({**SMALL, "widths": "wide", "seeds": (0, 1, 2)}, problem("C", train=20, test=20))
    for net in nets:
        for layer in (m for m in net if isinstance(m, torch.nn.Linear)):
            limit = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert layer.bias.abs().max() == 0 and layer.weight.abs().max() <= limit
    hidden_weights = torch.cat([net.linear2.weight.flatten() for net in nets]) / math.sqrt(6 / 100)
    # uniform on [-1, 1]: variance 1/3
    assert abs(hidden_weights.var().item() - 1 / 3) < 0.02
    assert not torch.equal(nets[0].linear1.weight, nets[1].linear1.weight)


def keras(member, X, y, config, order):
    """Keras' RMSprop with its constants, by hand, on the loss of the sigmoid itself, in double precision."""
    net = member.double()
    parameters = list(net.parameters())
    mean_square = [torch.zeros_like(p) for p in parameters]
    for rows in order.split(config["batch"]):
        p = torch.sigmoid(net(X[rows].double()))
        loss = -(y[rows] * torch.log(p) + (1 - y[rows]) * torch.log(1 - p)).mean()
        for i, g in enumerate(torch.autograd.grad(loss, parameters)):
            mean_square[i] = 0.9 * mean_square[i] + 0.1 * g**2
            parameters[i].data -= config["rate"] * g / (mean_square[i].sqrt() + 1e-7)
    return torch.cat([p.detach().flatten() for p in parameters])


def test_training_is_keras_update_on_the_first_part_of_the_data():
    data = problem("C", train=100, test=20)
    config = {**SMALL, "epochs": 1}
    found = trained(config, data, False)
    # Keras holds back the last fifth, and never trains on it
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    y = data.y_train[:, None].double()
    for member, start in zip(found.members, untrained(config, data), strict=True):
        expected = keras(start, data.X_train, y, config, order)
        weights = torch.cat([p.detach().flatten() for p in member.parameters()]).double()
        # every step of RMSprop moves a weight by up to rate / sqrt(0.1); rounding of small gradients is a part of one
        assert (weights - expected).abs().max() < 1e-5
        moved = torch.cat([p.detach().flatten() for p in untrained(config, data)[0].parameters()])
        assert (weights - moved).abs().max() > 1e-3


def test_labels_can_be_shuffled_and_activations_left_away():
    data = problem("C", train=100, test=20)
    plain, shuffled = (trained({**SMALL, "labels": kind}, data, False) for kind in ("true", "shuffled"))
    assert not torch.equal(plain.members[0].linear1.weight, shuffled.members[0].linear1.weight)
    linear = trained({**SMALL, "activation": "linear"}, data, False).members[0].double()
    layers = hidden(linear, data.X_test)
    # a linear network: hidden values are affine in the inputs, of rank 3 and a constant
    X = np.column_stack([data.X_test.double().numpy(), np.ones(20)])
    left = layers[-1].numpy() - X @ np.linalg.lstsq(X, layers[-1].numpy(), rcond=None)[0]
    assert len(layers) == 5 and np.abs(left).max() < 1e-12


def test_hidden_layers_are_those_after_the_activation():
    data = problem("A", train=20, test=30)
    net = untrained({**SMALL, "depth": 11, "widths": "bottleneck"}, data)[0]
    before = {name: p.clone() for name, p in net.named_parameters()}
    found = hidden(net, data.X_test)
    assert [x.shape for x in found] == [(30, w) for w in widths("bottleneck", 11)]
    x = data.X_test.double().numpy()
    for layer, value in enumerate(found, 1):
        linear = getattr(net, f"linear{layer}")
        x = np.maximum(x @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy(), 0)
        np.testing.assert_allclose(value.numpy(), x, rtol=1e-12, atol=1e-14)
    assert all(torch.equal(p, before[name]) and p.dtype == torch.float32 for name, p in net.named_parameters())


def test_generated_problems_and_the_grids_of_the_paper():
    assert [len(one.ks) for one in PROBLEMS.values()] == [17] * 3 + [11] * 4
    assert all(max(one.ks) == (500 if one.image else 200) for one in PROBLEMS.values())
    p = problem("B")
    assert (len(p.X_train), len(p.X_test)) == (1000, 1000)
    assert torch.equal(problem("B", seed=2, test=10).X_test, problem("B", seed=2, test=10).X_test)


SIZES = {"1v7": (2197, 2163), "6v8": (1958, 1932), "sandal/boot": (12000, 2000), "shirt/coat": (12000, 2000)}


@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
def test_image_problems_have_the_sizes_of_the_paper(data):
    try:
        load(data)
    except ArgumentError:
        pytest.skip(f"data: {data} is not on this machine")
    for name in [name for name, one in PROBLEMS.items() if one.data == data]:
        p = problem(name)
        assert (len(p.X_train), len(p.X_test)) == SIZES[name]
        assert set(p.y_train.unique().tolist()) == {0, 1} and float(p.X_train.max()) == 1.0
        if data == "fashion-mnist":
            assert p.y_train.sum() == 6000 and p.y_test.sum() == 1000
    problems._loaded.cache_clear()


def test_the_declared_setting_is_that_of_the_script():
    assert (DECLARED["epochs"], DECLARED["batch"], DECLARED["rate"], DECLARED["held_back"]) == (50, 32, 1e-3, 0.2)
    assert networks.RMSPROP == {"alpha": 0.9, "eps": 1e-7, "centered": False}
