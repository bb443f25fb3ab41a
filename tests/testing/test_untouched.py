"""Snapshots notice every kind of change, and modules are found wherever they hide."""

import dataclasses
import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from separatrix.testing.reachable import modules_of
from separatrix.testing.untouched import differences, snapshot, untouched

GLOBAL_NET = nn.Linear(2, 2)


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()


def named(change):
    net = model()
    before = snapshot([net])
    change(net)
    return " | ".join(differences(before, snapshot([net])))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda n: n.train(), "Sequential.1: training changed from False to True"),
        (lambda n: n[0].weight.data.add_(1), "Sequential.0: parameter weight (value)"),
        (lambda n: n[1].running_mean.add_(1), "Sequential.1: buffer running_mean (value)"),
        (lambda n: n[0].weight.detach().mul_(1), "Sequential.0: parameter weight (version)"),
        (lambda n: n[0].weight.requires_grad_(False), "Sequential.0: parameter weight (requires_grad)"),
        (lambda n: n(torch.ones(1, 2)).sum().backward(), "Sequential.2: parameter bias (grad)"),
        (lambda n: setattr(n[0], "weight", nn.Parameter(n[0].weight.detach())), "parameter weight (object)"),
        (lambda n: setattr(n[0], "bias", None), "Sequential.0: parameter bias (value) is gone"),
        (lambda n: n.append(nn.Tanh()), "Sequential.3: training is new"),
        (lambda n: n.half(), "Sequential.0: parameter weight (value)"),
        (lambda n: setattr(n[0], "forward", lambda x: x), "Sequential.0: forward changed"),
        (lambda n: n[0].register_forward_hook(lambda *_: None), "Sequential.0: _forward_hooks changed"),
        (lambda n: n[0].register_full_backward_hook(lambda *_: None), "Sequential.0: _backward_hooks changed"),
        (lambda n: n[0].weight.register_hook(lambda g: g), "Sequential.0: parameter weight (hooks)"),
        (
            lambda n: n[0].weight.register_post_accumulate_grad_hook(lambda p: None),
            "Sequential.0: parameter weight (grad hooks)",
        ),
        (lambda n: nn.utils.parametrizations.weight_norm(n[0]), "Sequential.0: class changed"),
    ],
)
def test_every_change_of_a_module_is_named(change, name):
    assert name in named(change)


def test_running_it_without_gradients_changes_nothing():
    def run(net):
        with torch.no_grad():
            net(torch.ones(4, 2))

    assert named(run) == ""


def test_nan_equals_nan():
    net = model()
    nn.init.constant_(net[0].weight, torch.nan)
    assert not differences(snapshot([net]), snapshot([net]))


def test_open_modes_are_noticed():
    outside = snapshot()
    with torch.inference_mode(), torch.autograd.forward_ad.dual_level(), torch.device("meta"), torch.autocast("cpu"):
        inside = snapshot()
    names = " | ".join(differences(outside, inside))
    for name in ("inference mode", "forward-mode level", "default device", "autocast", "open function modes"):
        assert name in names
    seen = []
    torch.func.vmap(lambda x: seen.append(snapshot()) or x)(torch.ones(2))
    assert "open functorch level changed" in " | ".join(differences(outside, seen[0]))


def test_context_manager():
    net = model()
    with untouched(net):
        net(torch.ones(2, 2))
    with pytest.raises(AssertionError, match=r"not left as found: Sequential: training changed"), untouched(net):
        net.training = True
    with pytest.raises(ZeroDivisionError), untouched(net):
        1 / 0  # noqa: B018
    with pytest.raises(AssertionError, match="default dtype") as caught, untouched(net):
        torch.set_default_dtype(torch.float64)
        try:
            1 / 0  # noqa: B018
        finally:
            pass
    torch.set_default_dtype(torch.float32)
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_modules_are_found_wherever_they_hide():
    net = nn.Linear(1, 1)

    class Slotted:
        __slots__ = ("inside",)

        def __init__(self):
            self.inside = net

    @dataclasses.dataclass
    class Record:
        held: object

    class Classwide:
        shared = net

    class Method:
        def __init__(self):
            self.hidden = net

        def call(self, x):
            return self.hidden(x)

    def default(x, f=net):
        return f(x)

    places = {
        "itself": net,
        "list in a dict": {"a": [1, (net,)]},
        "attribute": SimpleNamespace(deep=SimpleNamespace(er=net)),
        "slot": Slotted(),
        "dataclass": Record(net),
        "class attribute": Classwide(),
        "closure": lambda x: net(x),
        "nested closure": (lambda g: lambda x: g(x))(lambda x: net(x)),
        "default argument": default,
        "partial": functools.partial(lambda f, x: f(x), net),
        "bound method": Method().call,
        "bound method of the module": net.forward,
    }
    for name, place in places.items():
        assert modules_of(place) == [net], name


def test_modules_behind_global_names_are_found():
    class Uses:
        def step(self, x):
            return (lambda y: GLOBAL_NET(y))(x)

    assert modules_of(Uses()) == [GLOBAL_NET]
    assert modules_of(lambda x: GLOBAL_NET(x)) == [GLOBAL_NET]


def test_submodules_are_not_listed_beside_their_parent():
    net = model()
    assert modules_of([net[0], net]) == [net]
    assert modules_of(SimpleNamespace(x=torch.ones(2), n=3, text="no module here")) == []


def test_cycles_end():
    a, b = SimpleNamespace(), SimpleNamespace()
    a.other, b.other = b, a
    assert modules_of(a) == []
