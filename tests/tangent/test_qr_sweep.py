"""What a step of a sweep says of orbits that end, and of those that are only large."""

import torch

from separatrix.systems.maps import Map
from separatrix.tangent.ginelli import step_back
from separatrix.tangent.orbits import Orbits
from separatrix.tangent.qr_sweep import carry

F64 = torch.float64


def taken(states):
    """A step of x+ = 1.5e308 x, near the largest number there is, with one tangent of length 1."""
    orbits = Orbits(Map(lambda x: 1.5e308 * x), states, 1)
    alive = torch.ones(len(states), dtype=torch.bool)
    return carry(orbits, states, torch.ones(1, len(states), 1, dtype=F64), alive, 0)


def test_states_whose_sum_overflows_are_finite():
    following, MV, alive = taken(torch.tensor([[1.0], [0.5], [1.0]], dtype=F64))
    assert alive.tolist() == [True, True, True]
    assert following.flatten().tolist() == [1.5e308, 0.75e308, 1.5e308]
    assert MV.flatten().tolist() == [1.5e308] * 3


def test_infinities_that_cancel_are_found():
    following, MV, alive = taken(torch.tensor([[2.0], [-2.0], [1.0]], dtype=F64))
    assert alive.tolist() == [False, False, True]
    assert following.flatten().tolist() == [2.0, -2.0, 1.5e308]  # held where they were
    assert MV.flatten().tolist() == [1.0, 1.0, 1.5e308]


def test_columns_whose_sum_overflows_go_back_a_step():
    # entries of R^{-1} C of up to 1e308
    C = torch.tensor([[1.0, 0.6], [0.0, 0.8]], dtype=F64).expand(2, 2, 2)
    R = torch.tensor([1e-308, 2e-308], dtype=F64)[:, None, None] * torch.eye(2, dtype=F64)
    assert torch.isfinite(C / R[:, :1, :1]).all() and torch.isinf((C / R[:, :1, :1]).sum())
    c, growth = step_back(R, C)
    torch.testing.assert_close(c, C, rtol=1e-14, atol=0)
    torch.testing.assert_close(growth, R[:, :1, 0].log().expand(2, 2), rtol=1e-14, atol=0)
