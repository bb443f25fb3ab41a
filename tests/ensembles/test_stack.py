from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import separatrix as sx
from separatrix.ensembles import Stack
from separatrix.testing.zoo import cases


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_a_stack_equals_its_members(case):
    members, x = [case.build(seed=seed) for seed in range(3)], case.points(4)
    stack = Stack(members)
    single = [tree_leaves(member(x.clone())) for member in members]
    for place, value in enumerate(tree_leaves(stack(x.clone()))):
        expected = torch.stack([values[place] for values in single])
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6 if value.dtype == torch.float32 else 2e-2)
    for mine, theirs in zip(stack.members, members, strict=True):
        assert [n for n, _ in mine.named_parameters()] == [n for n, _ in theirs.named_parameters()]
        for a, b in zip(tree_leaves(mine(x.clone())), tree_leaves(theirs(x.clone())), strict=True):
            assert torch.equal(a, b)


def net(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))


def test_members_are_copies_and_slices_are_stacks(tmp_path):
    one = net()
    stack = Stack([one, net(), net()])
    before = stack[0][0].weight.detach().clone()
    with torch.no_grad():
        one[0].weight.zero_()
        stack[0][0].weight.zero_()
    torch.testing.assert_close(stack[0][0].weight, before)
    part = stack[1:]
    assert isinstance(part, Stack) and len(part) == 2 and len(stack) == 3
    x = torch.randn(5, 2)
    torch.testing.assert_close(part(x), stack(x)[1:])
    torch.save(stack.state_dict(), tmp_path / "stack.pt")
    other = Stack([net(), net(), net()])
    other.load_state_dict(torch.load(tmp_path / "stack.pt"))
    torch.testing.assert_close(other(x), stack(x))
    with pytest.raises(IndexError):
        stack[3]


def test_gradients_flow_through_a_stack():
    stack = Stack([net(), net()])
    x = torch.randn(5, 2)
    stack(x).sum().backward()
    for i, member in enumerate(stack.members):
        member(x).sum().backward()
        torch.testing.assert_close(stack.network[0].weight.grad[i], member[0].weight.grad)


def test_tied_parameters_stay_tied():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    stack = Stack([Tied(), Tied()])
    member = stack[1]
    assert member.b.weight is member.a.weight and stack.network.b.weight is stack.network.a.weight


@pytest.mark.parametrize(
    "others",
    [[], [net(5)], [net().double()], [nn.Sequential(*net(), nn.Tanh())], [net().eval()], [nn.Linear(2, 4)]],
    ids=["none", "width", "dtype", "layers", "mode", "class"],
)
def test_members_of_different_kinds_are_refused(others):
    with pytest.raises(sx.ArgumentError, match=r"^members"):
        Stack([net(), *others] if others else [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.LeakyReLU(0.01), nn.LeakyReLU(0.5)),
        (nn.MultiheadAttention(4, 2), nn.MultiheadAttention(4, 1)),
        (nn.RNN(2, 3), nn.RNN(2, 3, nonlinearity="relu")),
        (nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, padding=1)),
        (nn.TransformerEncoderLayer(4, 2, 6), nn.TransformerEncoderLayer(4, 2, 6, activation="gelu")),
    ],
    ids=lambda m: type(m).__name__,
)
def test_members_with_other_settings_are_refused(one, other):
    # same names, same shapes, another function
    with pytest.raises(sx.ArgumentError, match=f"member 1 whose .*{type(one).__name__}.* has other settings"):
        Stack([nn.Sequential(nn.Linear(2, 2), one), nn.Sequential(nn.Linear(2, 2), other)])
