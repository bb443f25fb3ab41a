"""Spectra and norms of pointwise matrices, against exact answers and NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.local.spectrum import eigenvalues, spectrum


def linear(matrix) -> nn.Linear:
    matrix = torch.tensor(matrix, dtype=torch.float64)
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False).double()
    layer.weight.data = matrix
    return layer


def test_a_linear_map_whose_norms_are_far_above_its_radius():
    ds = spectrum(linear([[0.5, 4.0], [0.0, 0.5]]), torch.randn(3, 2))
    np.testing.assert_allclose(ds.radius, 0.5)
    np.testing.assert_allclose(ds.norm_1, 4.5)
    np.testing.assert_allclose(ds.norm_inf, 4.5)
    # singular values: product 1/4, sum of squares 16.5
    np.testing.assert_allclose(ds.norm_2, np.sqrt((16.5 + np.sqrt(16.5**2 - 4 / 16)) / 2), rtol=1e-14)
    np.testing.assert_allclose(ds.norm_fro, np.sqrt(16.5))
    np.testing.assert_allclose(ds.singular.prod("index"), 0.25)
    assert ds.radius.dims == ("member", "point")
    assert ds.singular.dims == ("member", "point", "index")


@pytest.mark.parametrize("n", [2, 3, 6])
def test_eigenvalues_against_lapack(n):
    torch.manual_seed(n)
    matrices = torch.cat(
        [
            torch.randn(200, n, n),
            torch.eye(n).expand(1, n, n),
            torch.zeros(1, n, n),
            torch.diag_embed(torch.randn(5, n)),
            torch.randn(5, n, 1) @ torch.randn(5, 1, n),
        ]
    ).double()
    got = eigenvalues(matrices).numpy()
    assert (np.diff(np.abs(got), axis=1) <= 1e-9).all()
    for matrix, values in zip(matrices.numpy(), got, strict=True):
        expected = np.linalg.eigvals(matrix)
        # each is an eigenvalue of the other set, and traces and determinants agree
        distance = np.abs(values[:, None] - expected[None, :])
        assert max(distance.min(0).max(), distance.min(1).max()) < 1e-7
        np.testing.assert_allclose(values.sum(), np.trace(matrix), atol=1e-12)
        np.testing.assert_allclose(values.prod(), np.linalg.det(matrix), atol=1e-11)


def test_two_by_two_eigenvalues_do_not_cancel():
    # eigenvalues 1e8 and 1e-8
    got = eigenvalues(torch.tensor([[[1e8, 1.0], [0.0, 1e-8]]], dtype=torch.float64))
    np.testing.assert_allclose(got.real[0], [1e8, 1e-8], rtol=1e-14)
    turned = eigenvalues(torch.tensor([[[0.0, -2.0], [2.0, 0.0]]], dtype=torch.float64))
    np.testing.assert_array_equal(turned[0], [2j, -2j])


def test_chord_and_jacobian_of_a_smooth_network_differ_and_meet_at_the_origin():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 6, bias=False), nn.Tanh(), nn.Linear(6, 2, bias=False)).double()
    x = torch.tensor([[0.0, 0.0], [1.5, -2.0]], dtype=torch.float64)
    chord, slope = spectrum(model, x), spectrum(model, x, of="jacobian")
    np.testing.assert_allclose(chord.norm_2[0, 0], slope.norm_2[0, 0], rtol=1e-14)
    assert abs(chord.norm_2[0, 1] - slope.norm_2[0, 1]) > 0.005
    dense = torch.func.vmap(torch.func.jacrev(model))(x).detach().numpy()
    np.testing.assert_allclose(slope.norm_fro[0], np.linalg.norm(dense, axis=(1, 2)), rtol=1e-13)


def test_maps_that_are_not_square_have_no_eigenvalues():
    ds = spectrum(nn.Linear(3, 5).double(), torch.randn(4, 3))
    assert "radius" not in ds and ds.singular.shape == (1, 4, 3)


def test_grid_budget_and_file(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 2))
    grid, seen = sx.grid((-1, 1), (-2, 2), shape=(13, 7)), []
    whole = spectrum(model, grid)
    parts = spectrum(model, grid, memory="3KB", progress=lambda done, total: seen.append((done, total)))
    for name in whole.data_vars:
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-12, atol=1e-14)
    assert whole.radius.dims == ("member", "x", "y") and seen[-1] == (91, 91) and len(seen) > 3
    whole.to_netcdf(tmp_path / "s.nc")
    import xarray as xr

    with xr.open_dataset(tmp_path / "s.nc") as back:
        xr.testing.assert_equal(back.load(), whole)


def test_bad_inputs():
    with pytest.raises(sx.ArgumentError, match="NaN"):
        spectrum(nn.Linear(2, 2), torch.full((1, 2), float("nan")))
    with pytest.raises(sx.ArgumentError, match="shape"):
        spectrum(nn.Linear(2, 2), torch.zeros(4, 3))
    with pytest.raises(sx.ArgumentError, match="softmax"):
        spectrum(nn.Softmax(dim=1), torch.zeros(4, 3))
