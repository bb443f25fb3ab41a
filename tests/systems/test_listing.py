"""Layers are listed in execution order, and cuts are found exactly."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import separatrix as sx
from separatrix.systems.guest import Guest
from separatrix.systems.listing import anatomy


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.b(torch.tanh(self.a(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(2, 4)
        self.blocks = nn.Sequential(Block(), Block())
        self.leave = nn.Linear(4, 3)

    def forward(self, x):
        return {"logits": self.leave(self.blocks(F.relu(self.enter(x))))}


def endpoints(model, x, **options):
    guest = Guest(model, **options)
    with guest.visit():
        seen = anatomy(guest, x)
    return [r.label for r in seen.select("hidden")], [r.label for r in seen.select("all")]


def test_cuts_and_depth_of_a_residual_network():
    rows = {r.label: r for r in sx.layers(Net(), torch.randn(2, 2), output="logits")}
    cuts = [label for label, r in rows.items() if r.cut]
    assert cuts == ["enter#1", "relu#1", "blocks.0#1", "blocks.1#1", "blocks#1", "leave#1"]
    depth = {label: r.depth for label, r in rows.items()}
    assert depth["blocks.0.tanh#1"] == 2 and depth["blocks.0#1"] == 3 and depth["leave#1"] == 6
    assert rows["blocks.0.tanh#1"].kind == "tanh" and rows["leave#1"].shape == (3,)


def test_hidden_ends_each_layer_after_its_activation():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(144, 5),
        nn.Tanh(),
        nn.Linear(5, 2),
    ).eval()
    hidden, every = endpoints(model, torch.randn(2, 1, 8, 8))
    assert hidden == ["2#1", "5#1"]
    assert every == ["2#1", "5#1", "output"]


def test_layers_inside_a_branch_are_listed_but_not_hidden():
    hidden, every = endpoints(Net(), torch.randn(2, 2), output="logits")
    assert hidden == ["relu#1", "blocks.0#1", "blocks#1"]
    assert every == ["relu#1", "blocks.0.tanh#1", "blocks.0#1", "blocks.1.tanh#1", "blocks#1", "output"]


def test_a_module_used_twice_has_two_calls():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    assert [r.label for r in sx.layers(model, torch.randn(1, 3))] == ["0#1", "1#1", "0#2"]


def test_a_detached_branch_is_no_path():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.b(self.a(x)) + x.detach()

    assert all(r.cut for r in sx.layers(Detached(), torch.randn(1, 2)))


def test_split_outputs_are_told_apart():
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.left, self.right = nn.Linear(2, 4), nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            a, b = self.first(x).chunk(2, dim=1)
            return self.left(a) + self.right(b)

    assert [r.cut for r in sx.layers(Split(), torch.randn(1, 2))] == [True, False, False]


def test_the_listing_prints_as_a_table():
    table = str(sx.layers(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), torch.randn(1, 2)))
    assert table.splitlines()[0].split() == ["label", "kind", "shape", "depth", "cut"]
    assert table.splitlines()[2].split() == ["1#1", "Tanh", "3", "1", "yes"]


def test_start_names_where_perturbations_enter():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(10, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.embedding(x).mean(1))

    rows = sx.layers(Tokens(), torch.tensor([[1, 2], [3, 4]]), start="embedding#1")
    assert [(r.label, r.depth) for r in rows] == [("embedding#1", 0), ("head#1", 1)]


def test_an_output_without_a_path_is_refused():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Linear(2, 1)

        def forward(self, x):
            return self.w(x.detach())

    with pytest.raises(sx.ArgumentError, match=r"does not depend on the perturbed input.*detach"):
        sx.layers(Constant(), torch.randn(1, 2))
