"""Ridges of maps whose ridges are known in closed form, with their orders of convergence and their traps."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import separatrix as sx
from separatrix.tangent.ridge_exact import ExactField
from separatrix.tangent.ridges import ridges

B, R, A, K = 6.0, 0.6, 0.3, math.pi


class Sine(nn.Module):
    """tanh(b (y - A sin kx)), turned by an angle and multiplied by a factor."""

    def __init__(self, angle=0.0, factor=1.0):
        super().__init__()
        self.angle, self.factor = angle, factor

    def forward(self, x):
        c, s = math.cos(self.angle), math.sin(self.angle)
        u, v = c * x[:, :1] + s * x[:, 1:], c * x[:, 1:] - s * x[:, :1]
        return self.factor * torch.tanh(B * (v - A * torch.sin(K * u)))


class Circle(nn.Module):
    """tanh(b (rho - R)): its derivative is b sech^2 along the radius."""

    def forward(self, x):
        return torch.tanh(B * (x.norm(dim=1, keepdim=True) - R))


class Radial(nn.Module):
    """h(rho) x / rho with h = (tanh b(rho - R) + tanh bR) / 2: singular values h' along the radius, h / rho across."""

    def forward(self, x):
        rho = x.norm(dim=1, keepdim=True)
        return (torch.tanh(B * (rho - R)) + math.tanh(B * R)) / 2 * x / rho


class Shear(nn.Module):
    """(x + s(y), y) with s' = sech^2(by), 1 at y = 0."""

    def forward(self, x):
        return torch.cat([x[:, :1] + torch.tanh(B * x[:, 1:]) / B, x[:, 1:]], dim=1)


class Steep(nn.Module):
    """z + tanh(40 z) / 20 with z = w.x: the stretch is level but for the line z = 0."""

    def __init__(self, dtype):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.6], [0.8]], dtype=dtype))

    def forward(self, x):
        z = x @ self.w
        return z + torch.tanh(40 * z) / 20


def square(n):
    return sx.grid((-1, 1), (-1, 1), shape=n)


def on_curve(x):
    """Height of the ridge of the sine map over x: not the curve g = 0, because |grad g| varies along it."""
    c = np.cos(K * x)
    off = A**3 * K**4 * np.sin(K * x) * c**2 / (2 * B * (1 + A**2 * K**2 * c**2) ** 2)
    return A * np.sin(K * x) + np.arctanh(off) / B


def sine_error(position):
    return np.abs(position[:, 1] - on_curve(position[:, 0])).max()


def counts(field):
    """How many nodes the steps accept: with q, with Q, and with Q and the overlap mask; and the points of each."""
    f, v = field.stretch.values[0, 0, ..., 0], field.direction.values[0, 0]
    gap = field.gap.values[0, 0]
    h = float(field.x[1] - field.x[0])
    shift = lambda a, i, j: np.roll(a, (-i, -j), (0, 1))  # noqa: E731
    gradient = np.stack([(shift(f, *n) - shift(f, -n[0], -n[1])) / (2 * h) for n in ((1, 0), (0, 1))], -1)
    hessian = np.empty((*f.shape, 2, 2))
    hessian[..., 0, 0] = (shift(f, 1, 0) - 2 * f + shift(f, -1, 0)) / h**2
    hessian[..., 1, 1] = (shift(f, 0, 1) - 2 * f + shift(f, 0, -1)) / h**2
    mixed = (shift(f, 1, 1) - shift(f, 1, -1) - shift(f, -1, 1) + shift(f, -1, -1)) / (4 * h**2)
    hessian[..., 0, 1] = hessian[..., 1, 0] = mixed
    projector = v[..., :, None] * v[..., None, :]
    along = sum(
        v[..., k, None, None] * (shift(projector, *n) - shift(projector, -n[0], -n[1])) / (2 * h)
        for k, n in enumerate(((1, 0), (0, 1)))
    )
    g, q = (gradient * v).sum(-1), np.einsum("xyi,xyij,xyj->xy", v, hessian, v)
    Q = q + np.einsum("xyi,xyij,xyj->xy", gradient, along, v)
    usable = np.isfinite(f) & (gap > 1e-3)
    for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
        usable[edge] = False
    neighbours = [n for n in itertools.product((-1, 0, 1), repeat=2) if n != (0, 0)]
    straight = np.all([(v * shift(v, *n)).sum(-1) ** 2 >= 0.5 for n in neighbours], axis=0)
    found = []
    for divisor, mask in ((q, True), (Q, True), (Q, straight)):
        with np.errstate(all="ignore"):
            t = -g / divisor
            good = usable & mask & (q < 0) & (divisor / q > 0.25) & (np.abs(t[..., None] * v) <= h / 2).all(-1)
        nodes = np.stack([field.x.values[np.nonzero(good)[0]], field.y.values[np.nonzero(good)[1]]], 1)
        found.append(nodes + t[good, None] * v[good])
    return found


def in_rows(points):
    return points[np.lexsort((points[:, 1], points[:, 0]))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_neuron_has_a_straight_ridge(dtype):
    model = nn.Sequential(nn.Linear(2, 1), nn.Tanh()).to(dtype)
    model[0].weight.data = torch.tensor([[3.0, -4.0]], dtype=dtype)
    model[0].bias.data = torch.tensor([-0.75], dtype=dtype)
    worst = []
    for n in (121, 241):
        field = sx.ftle(model, square(n))
        coarse, fine = ridges(field), ridges(field, model=model)
        for found in (coarse, fine):
            assert found.sizes["line"] == 1 and found["count"] == found.sizes["point"] > n
            assert found.dropped_points == 0 and (np.diff(found.position.values @ [4, 3]) > 0).all()
        off = np.abs(coarse.position.values @ [3, -4] - 0.75).max() / 5
        worst.append([off, np.abs(coarse.strength.values / 50 - 1).max()])
        assert np.abs(fine.position.values @ [3, -4] - 0.75).max() / 5 < 1e-12
        np.testing.assert_allclose(fine.stretch, math.log(5), atol=1e-12)
        np.testing.assert_allclose(fine.strength, 50, rtol=1e-12)
        np.testing.assert_allclose(fine.alignment, 1, atol=1e-12)
    assert (np.array(worst[1]) < [3e-6, 1e-3]).all()
    assert (np.log2(np.divide(*worst)) > 1.8).all()


def test_circle_converges_with_order_two_and_newton_ends_on_it():
    worst = {}
    for n in (101, 201):
        field = sx.ftle(Circle(), square(n))
        coarse, fine = ridges(field), ridges(field, model=Circle())
        radius = np.linalg.norm(coarse.position, axis=1)
        worst[n] = np.abs(radius - R).max()
        assert coarse.sizes["line"] == fine.sizes["line"] == 1 and coarse.closed == fine.closed == 1
        assert coarse.method == "sub-pixel" and fine.method == "newton"
        assert np.abs(np.linalg.norm(fine.position, axis=1) - R).max() < 1e-12
        np.testing.assert_allclose(fine.strength, 2 * B**2, rtol=1e-12)
        np.testing.assert_allclose(fine.stretch, math.log(B), atol=1e-12)
        np.testing.assert_allclose(fine.alignment, 1, atol=1e-12)
        assert (fine.status == 0).all() and fine.residual.max() < 1e-12
        # one passes around, and not to and fro
        around = np.unwrap(np.arctan2(fine.position[:, 1], fine.position[:, 0]))
        assert abs(around[-1] - around[0]) < 2 * math.pi
        assert (np.diff(around) > 0).all() or (np.diff(around) < 0).all()
    assert 1.9e-4 < worst[101] < 2.1e-4 and 4.4e-5 < worst[201] < 4.6e-5
    assert 1.9 < math.log2(worst[101] / worst[201]) < 2.4


def test_sine_has_order_two_with_the_turning_term_and_order_one_without():
    frozen, whole, ours = [], [], []
    for n in (201, 401, 801):
        field = sx.ftle(Sine(), square(n))
        with_q, with_Q, masked = counts(field)
        found = ridges(field)
        np.testing.assert_allclose(in_rows(found.position.values), in_rows(masked), atol=1e-12)
        assert found.accepted == len(masked) and found.dropped_points == 0 and found.sizes["line"] == 1
        frozen.append(sine_error(with_q))
        whole.append(sine_error(with_Q))
        ours.append(sine_error(found.position.values))
    np.testing.assert_allclose(ours, [2.9e-5, 7.3e-6, 1.8e-6], rtol=0.03)
    np.testing.assert_allclose(whole, ours, rtol=1e-6)
    np.testing.assert_allclose(frozen, [5.1e-5, 2.9e-5, 1.4e-5], rtol=0.05)


@pytest.mark.parametrize("n", [41, 101])
def test_newton_reaches_the_sine_s_ridge_from_any_grid(n):
    found = ridges(sx.ftle(Sine(), square(n)), model=Sine())
    assert sine_error(found.position.values) < 1e-12
    assert (found.status == 0).all() and found.unconverged_points == 0 and found.sizes["line"] == 1
    assert np.abs(on_curve(found.position[:, 0].values) - A * np.sin(K * found.position[:, 0].values)).max() > 0.005


def test_the_sheet_of_false_ridge_points_is_not_reported():
    field = sx.ftle(Radial(), square(801))
    with_q, with_Q, masked = counts(field)
    assert (len(with_q), len(with_Q), len(masked)) == (332276, 2780, 1648)
    found = ridges(field)
    assert found.accepted == found.sizes["point"] == 1648
    assert found.sizes["line"] == 1 and found.closed == 1
    assert np.abs(np.linalg.norm(found.position, axis=1) - R).max() < 1e-5
    fine = ridges(field, model=Radial())
    assert np.abs(np.linalg.norm(fine.position, axis=1) - R).max() < 1e-12 and fine.sizes["point"] == 1648
    # the curvature across the ridge is that of ln h', -2 b^2
    np.testing.assert_allclose(fine.strength, 2 * B**2, rtol=1e-12)


def test_a_shear_shows_in_the_alignment():
    field = sx.ftle(Shear(), square(81), k=2)
    np.testing.assert_allclose(field.stretch.sum("index"), 0, atol=1e-12)
    found = ridges(field, model=Shear())
    assert found.sizes["line"] == 1
    assert np.abs(found.position[:, 1]).max() < 1e-12
    np.testing.assert_allclose(found.stretch, math.asinh(0.5), atol=1e-12)
    np.testing.assert_allclose(found.alignment, math.cos(math.atan2(2, 1) / 2), atol=1e-12)
    assert 0.85 < found.alignment[0] < 0.851
    # f = asinh(s'/2) depends on y alone: f'' = -2 b^2 s' / sqrt(4 + s'^2), and only the part of v_1 along y sees it
    strength = 2 * B**2 / math.sqrt(5) * math.cos(math.atan2(2, 1) / 2) ** 2
    np.testing.assert_allclose(found.strength, strength, rtol=1e-12)
    np.testing.assert_allclose(ridges(field).alignment, found.alignment, atol=0.005)


class Logit(nn.Module):
    """ln p/(1 - p) of a sigmoid: a linear map, but for rounding."""

    def __init__(self, dtype):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[2.0], [-3.0]], dtype=dtype))

    def forward(self, x):
        p = torch.sigmoid(x @ self.w)
        return torch.log(p / (1 - p))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_constant_fields_have_no_ridge(dtype):
    torch.manual_seed(0)
    for model in (nn.Linear(2, 3).to(dtype), nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)).to(dtype), Logit(dtype)):
        field = sx.ftle(model, square(61))
        for given in (None, model):
            found = ridges(field, model=given)
            assert found.sizes["line"] == found.sizes["point"] == 0 and found.status.dtype == np.int8
            assert found.attrs["status"].startswith("constant")


def test_noise_has_no_ridge():
    model = Steep(torch.float64)
    field = sx.ftle(model, square(201))
    noisy = field.copy(deep=True)
    noise = np.random.default_rng(0).standard_normal(field.stretch.shape)
    noisy["stretch"] = field.stretch + 1e-7 * noise
    found = ridges(noisy)
    assert found.rejected_noise > 1000
    assert found.sizes["line"] == 1
    assert np.abs(found.position.values @ [0.6, 0.8]).max() < 2e-4
    only = field.copy(deep=True)
    only["stretch"] = field.stretch * 0 + 1e-7 * noise
    assert ridges(only).attrs["status"].startswith("rough")


def test_rounding_of_single_precision_has_no_ridge():
    found = ridges(sx.ftle(Steep(torch.float32), square(201)))
    assert found.sizes["line"] == 1 and np.abs(found.position.values @ [0.6, 0.8]).max() < 2e-4


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("given", [False, True])
def test_the_scale_of_the_output_changes_the_stretch_only(factor, given):
    plain, scaled = Sine(), Sine(factor=factor)
    before = ridges(sx.ftle(plain, square(101)), model=plain if given else None)
    after = ridges(sx.ftle(scaled, square(101)), model=scaled if given else None)
    assert after.sizes == before.sizes
    np.testing.assert_allclose(after.position, before.position, atol=1e-10)
    np.testing.assert_allclose(after.stretch, before.stretch + math.log(factor), atol=1e-12)
    np.testing.assert_allclose(after.strength, before.strength, rtol=1e-8)
    np.testing.assert_allclose(after.prominence, before.prominence, atol=1e-10)
    assert factor > 1 or (after.stretch < -4).all()


def test_rotating_the_input_rotates_the_ridge():
    angle = 0.4
    turned = Sine(angle)
    found = ridges(sx.ftle(turned, square(101)), model=turned)
    c, s = math.cos(angle), math.sin(angle)
    back = found.position.values @ np.array([[c, -s], [s, c]])
    assert found.sizes["point"] > 100 and (found.status == 0).all()
    assert sine_error(back) < 1e-12
    exact = ExactField(Sine(), None, "output", None, torch.zeros(2), torch.eye(2), False, 10**9)
    local = exact.at(torch.from_numpy(back))
    np.testing.assert_allclose(found.stretch, local.f, atol=1e-12)
    np.testing.assert_allclose(found.strength, -local.curvature, rtol=1e-10)
    coarse = [sine_error(ridges(sx.ftle(turned, square(n))).position.values @ [[c, -s], [s, c]]) for n in (101, 201)]
    assert coarse[1] < 1e-4 and 1.8 < math.log2(coarse[0] / coarse[1]) < 2.6
