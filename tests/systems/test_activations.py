"""The hyperbolic tangent that routes without gradients use."""

import mpmath
import pytest
import torch

from separatrix.systems.activations import tanh


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_is_within_four_units_in_the_last_place(dtype):
    magnitudes = torch.logspace(-12, 1.3, 300, dtype=torch.float64).to(dtype)
    z = torch.cat([-magnitudes, magnitudes])
    for value, argument in zip(tanh(z).tolist(), z.tolist(), strict=True):
        with mpmath.workdps(40):
            exact = mpmath.tanh(mpmath.mpf(argument))
            assert abs((value - exact) / exact) <= 4 * torch.finfo(dtype).eps


def test_tanh_writes_where_it_is_told_and_keeps_what_is_not_finite():
    z = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])
    out = torch.empty_like(z)
    assert tanh(z, out) is out
    torch.testing.assert_close(out, torch.tensor([0.0, -0.0, 1.0, -1.0, torch.nan]), equal_nan=True)
    assert tanh(z, z) is z and z[2] == 1


def test_tanh_of_other_precisions_is_torchs():
    z = torch.linspace(-2, 2, 9).to(torch.bfloat16)
    assert torch.equal(tanh(z), torch.tanh(z))
