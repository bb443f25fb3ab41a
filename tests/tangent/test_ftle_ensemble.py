"""The fields of a stack are those of its members."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.ensembles import Stack, make_members


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 6), nn.Linear(6, 6)

    def forward(self, x):
        h = torch.tanh(self.a(x))
        return h + torch.sin(self.b(h))


@pytest.mark.parametrize("factory", [net, Skip])
@pytest.mark.parametrize("where", [sx.grid((-1, 1), (-1, 1), shape=(7, 6)), torch.randn(9, 2)], ids=["grid", "points"])
def test_members_of_a_stack(factory, where):
    members = make_members(factory, range(3))
    options = {"layers": "all", "k": "all", "directions": True, "verify": 2}
    field = sx.ftle(Stack(members), where, **options)
    alone = [sx.ftle(member, where, **options) for member in members]
    assert field.sizes["member"] == 3
    assert field.attrs["verify_points"] == 6
    assert field.attrs["verify_worst"] == max(one.attrs["verify_worst"] for one in alone)
    assert field.attrs["method"] == alone[0].attrs["method"]
    for i, one in enumerate(alone):
        assert set(field.data_vars) == set(one.data_vars)
        for name in one.data_vars:
            mine = field[name].isel(member=i) if "member" in field[name].dims else field[name]
            theirs = one[name].isel(member=0) if "member" in one[name].dims else one[name]
            np.testing.assert_array_equal(mine, theirs)


def test_a_figure_of_one_member():
    field = sx.ftle(Stack(make_members(net, range(2))), sx.grid((-1, 1), (-1, 1), shape=(12, 12)), layers="hidden")
    drawn = [sx.figures.field(field, member=i).images[0].get_array() for i in range(2)]
    assert not np.array_equal(*drawn)
