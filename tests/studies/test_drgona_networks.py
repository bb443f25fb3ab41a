"""Weights of the 828 cases, and the kernel that steps many small networks at once."""

import numpy as np
import pytest
import torch

from separatrix.local.affine import affine
from separatrix.local.spectrum import eigenvalues
from separatrix.studies.drgona2022.cases import ACTIVATIONS, BY_NAME, CASES, RANGES, SETTINGS, Setting, known
from separatrix.studies.drgona2022.factorisations import complex_share, realised
from separatrix.studies.drgona2022.measure import grid_points
from separatrix.studies.drgona2022.networks import Networks, joined, stacked
from separatrix.studies.drgona2022.norm_products import ORDERS, norm_2, norm_products
from separatrix.studies.drgona2022.weights import layers

SEEDS = (0, 1)


def nets_of(activation, *, depth=4, setting="softSVD (0.99, 1.1)", biases=(False, True)):
    return stacked(BY_NAME[setting], activation, depth, SEEDS, biases)


def test_there_are_828_cases():
    assert len(CASES) == len({case.name for case in CASES}) == 828 and len(SETTINGS) == 23


def test_draws_are_paired_over_ranges_and_biases_and_repeat():
    one, bias = layers(BY_NAME["softSVD (0, 1)"], 4, 3)
    other, same = layers(BY_NAME["softSVD (0.99, 1)"], 4, 3)
    np.testing.assert_array_equal(bias, same)
    U, s, Vh = np.linalg.svd(one)
    np.testing.assert_allclose(np.abs(np.diagonal(U.swapaxes(1, 2) @ other @ Vh.swapaxes(1, 2), axis1=1, axis2=2)),
                               0.99 + 0.01 * s, atol=1e-13)  # fmt: skip
    np.testing.assert_array_equal(layers(BY_NAME["softSVD (0, 1)"], 4, 3)[0], one)
    assert not np.allclose(layers(BY_NAME["softSVD (0, 1)"], 4, 4)[0], one)
    nets = nets_of("relu")
    assert torch.equal(nets.A[0][:2], nets.A[0][2:])
    assert not nets.b[0][:2].any() and nets.b[0][2:].all() and nets.b[0].abs().max() <= 0.5**0.5


@pytest.mark.parametrize("size", [2, 5])
def test_released_gershgorin_layers(size):
    """Three norms, discs, column sums, and spectra of products in two dimensions."""
    for kind in ("gershgorin", "gershgorin complex"):
        for lo, hi in RANGES:
            A = np.concatenate([layers(Setting(kind, lo, hi), 8, seed, size)[0] for seed in range(5)])
            for p in (1, 2, np.inf):
                assert np.linalg.norm(A, p, axis=(1, 2)).max() <= max(abs(lo), abs(hi)) + 1e-12
            assert np.abs(np.linalg.eigvals(A) - (lo + hi) / 2).max() <= (hi - lo) / 2 + 1e-12
            off = A.sum((1, 2)) - np.trace(A, axis1=1, axis2=2)
            np.testing.assert_allclose(off, -(hi - lo) / 4, rtol=1e-12)
            if kind == "gershgorin":
                np.testing.assert_allclose(A, A.swapaxes(1, 2), rtol=1e-12)
            if size == 2:
                rng = np.random.default_rng(0)
                P = np.eye(2)
                for one in A:
                    P = rng.uniform(size=2)[:, None] * (one @ P)
                    P /= np.abs(P).max()
                    assert np.isreal(np.linalg.eigvals(P)).all()


def test_spectra_of_the_other_factorisations():
    assert all(one.contained for one in (realised(s, range(20)) for s in SETTINGS if s.kind == "softSVD"))
    assert realised(BY_NAME["softSVD (0, 1)"], range(300)).coverage == pytest.approx(0.2311, abs=0.002)
    A, _ = layers(BY_NAME["pf (1, 1)"], 8, 0)
    np.testing.assert_allclose(A.sum(1), 1, rtol=1e-14)
    assert A.min() > 0
    s = np.linalg.svd(layers(Setting("spectral", 0.9, 1.0), 2, 0, 16)[0], compute_uv=False)
    np.testing.assert_allclose(s, 0.95, atol=2e-4)
    S, _ = layers(Setting("skew"), 2, 0, 6)
    np.testing.assert_array_equal(S, -S.swapaxes(1, 2))
    J = np.block([[np.zeros((3, 3)), np.eye(3)], [-np.eye(3), np.zeros((3, 3))]])
    M, _ = layers(Setting("symplectic"), 0, 0, 6)
    assert M.shape == (1, 6, 6) and np.abs(M[0].T @ J @ M[0] - J).max() > 0.1
    np.testing.assert_array_equal(M, -M.swapaxes(1, 2))
    assert np.abs(layers(BY_NAME["linear"], 8, 0)[0]).max() <= 0.5**0.5


def test_no_complex_gershgorin_network_has_a_complex_spectrum():
    some, total, share = complex_share("gershgorin complex", range(1), depths=(4,))
    assert (some, share) == (0, 0.0) and total == 7 * 6 * 2
    points = grid_points(5).expand(1, -1, -1)
    nets = stacked(BY_NAME["softSVD (0.99, 1)"], "tanh", 4, (0,), (False,))
    assert (eigenvalues(nets.chords(points)).imag != 0).any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_kernel_agrees_with_single_networks(activation):
    """Steps, chords and Jacobians against the module, sx.affine and autograd, at z = 0 too."""
    nets, x = nets_of(activation), grid_points(7)
    states = x.expand(len(nets), -1, -1)
    for net in range(len(nets)):
        module = nets.module(net)
        torch.testing.assert_close(nets.step(states)[net].T, module(x.T), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(nets.chords(states)[net], affine(module, x.T).A, rtol=1e-12, atol=1e-13)
        exact = affine(module, x.T, of="jacobian").A
        torch.testing.assert_close(nets.jacobian(states)[net], exact, rtol=1e-12, atol=1e-13)
        if activation != "relu" and activation != "selu":
            auto = torch.func.vmap(torch.func.jacrev(module))(x.T)
            torch.testing.assert_close(nets.jacobian(states)[net], auto, rtol=1e-10, atol=1e-12)
    V = torch.randn(3, len(nets), 2, x.shape[1], dtype=torch.float64)
    following, MV = nets.push(states, V)
    torch.testing.assert_close(following, nets.step(states), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(MV, torch.einsum("nsij,knjs->knis", nets.jacobian(states), V), rtol=1e-12, atol=1e-13)


def test_joined_and_taken_networks():
    first, second = nets_of("tanh"), nets_of("tanh", setting="linear")
    whole = joined([first, second])
    x = torch.randn(len(whole), 2, 5, dtype=torch.float64)
    torch.testing.assert_close(whole.step(x)[4:], second.step(x[4:]))
    torch.testing.assert_close(whole.take(torch.tensor([5, 0])).step(x[[5, 0]]), whole.step(x)[[5, 0]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_products_of_norms(activation):
    nets = nets_of(activation, depth=2, setting="softSVD (0, 1)")
    found = norm_products(nets)
    curve = known(activation)
    chord, slope = (max(map(abs, r)) for r in (curve.chord_range, curve.slope_range))
    for net in range(len(nets)):
        A, b = [M[net].numpy() for M in nets.A], [v[net, :, 0].numpy() for v in nets.b]
        products = [np.prod([np.linalg.norm(M, p) for M in A]) for p in ORDERS]
        np.testing.assert_allclose(found.norms[net], products, rtol=1e-12)
        assert bool(found.contraction[net]) == (min(products) * slope**3 < 1)
        best = int(np.argmin(products))
        q = products[best] * chord**3
        assert int(found.order[net]) == best and float(found.growth[net]) == pytest.approx(q, rel=1e-12)
        beta = 0.0
        for M, v in zip(A, b, strict=True):
            size = np.linalg.norm(v, ORDERS[best]) * chord + np.linalg.norm([curve.at_zero] * 2, ORDERS[best])
            beta = chord * np.linalg.norm(M, ORDERS[best]) * beta + size
        assert float(found.radius[net]) == pytest.approx(beta / (1 - q) if q < 1 else np.inf, rel=1e-12)
        assert bool(found.bounded[net]) == (q < 1 or activation in ("tanh", "sigmoid"))


def test_spectral_norm_of_two_by_two():
    A = torch.randn(200, 2, 2, dtype=torch.float64)
    A[0], A[1] = 0, torch.tensor([[0.0, 2], [0, 0]])
    torch.testing.assert_close(norm_2(A), torch.linalg.svdvals(A)[:, 0], rtol=1e-13, atol=1e-300)


def test_networks_of_one_layer_have_the_slope_at_zero():
    A = torch.tensor([[[5.0, 0.0], [0.0, -1.0]]], dtype=torch.float64)
    nets = Networks((A,), (torch.zeros(1, 2, 1, dtype=torch.float64),), known("tanh"))
    torch.testing.assert_close(nets.chords(torch.zeros(1, 2, 1, dtype=torch.float64))[:, 0], A)
