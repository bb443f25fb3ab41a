"""Activations: values, chords and slopes against 40 digits, and their ranges."""

import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from curve_references import EXACT, SIGNED, cases, mpf
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.curves import curve

every = pytest.mark.parametrize("name", EXACT)


def points():
    near = 10.0 ** torch.arange(-300, 0, 7, dtype=torch.float64)
    grid = torch.linspace(-9, 9, 181, dtype=torch.float64)
    far = torch.tensor([12.0, 19.5, 30.0, 100.0, 600.0], dtype=torch.float64)
    return torch.cat([near, -near, grid + 0.013, grid, far, -far])


@every
def test_value_is_torchs(name):
    found, module, _ = cases(name)
    for dtype in (torch.float64, torch.float32):
        z = torch.cat([torch.linspace(-8, 8, 1001), torch.tensor([math.inf])]).to(dtype)
        kept = z.clone()
        value = found.value(z)
        expected = module.to(dtype)(z) if isinstance(module, nn.Module) else module(z)
        torch.testing.assert_close(value, expected, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(z, kept)


@every
def test_chord_is_exact_to_the_last_digits(name):
    found, _, exact = cases(name)
    z = points()
    at_zero = exact(mpf(0))
    assert float(abs(at_zero - found.at_zero)) < 1e-16
    with mpmath.workdps(650):  # s(z) - s(0) cancels 300 digits
        at_zero = exact(mpf(0))
        for argument, got in zip(z.tolist(), found.chord(z).tolist(), strict=True):
            if argument == 0:
                continue
            expected = (exact(mpf(argument)) - at_zero) / mpf(argument)
            tail = 1 + max(0.0, -argument) ** 2 if name.startswith(("gelu", "celu", "softplus steep")) else 1.0
            tolerance = 4e-15 * tail * abs(expected) + (1e-15 if name == "sin" else 1e-300)
            assert abs(mpf(got) - expected) <= tolerance, (argument, got, float(expected))


@every
def test_centred_chord_is_exact_near_and_far(name):
    found, _, exact = cases(name)
    generator = torch.Generator().manual_seed(1)
    c = torch.cat(
        [torch.randn(150, generator=generator, dtype=torch.float64) * 4, torch.zeros(20, dtype=torch.float64)]
    )
    away = torch.cat([10.0 ** torch.linspace(-300, 1.3, 85, dtype=torch.float64)] * 2)
    z = c + away * torch.where(torch.rand(170, generator=generator) < 0.5, -1.0, 1.0)
    got = found.centred(z, c).tolist()
    with mpmath.workdps(400):
        for a, b, value in zip(z.tolist(), c.tolist(), got, strict=True):
            if a == b:
                continue
            expected = (exact(mpf(a)) - exact(mpf(b))) / (mpf(a) - mpf(b))
            tolerance = 2e-14 * abs(expected) + (1e-14 if name in SIGNED else 1e-300)
            assert abs(mpf(value) - expected) <= tolerance, (a, b, value, float(expected))


@every
def test_slope_and_the_limits_of_chords(name):
    found, _, exact = cases(name)
    kinks = found.pieces.breakpoints.tolist() if found.pieces is not None else [0.0, 3.0, -3.0]
    z = torch.tensor([v for v in torch.linspace(-9.01, 9, 100).tolist() if v not in kinks]).double()
    for argument, got in zip(z.tolist(), found.slope(z).tolist(), strict=True):
        expected = mpmath.diff(exact, mpf(argument))
        assert abs(mpf(got) - expected) <= 1e-14, (argument, got, expected)
    torch.testing.assert_close(found.centred(z, z), found.slope(z), rtol=1e-13, atol=1e-14)
    zero = torch.zeros(3, dtype=torch.float64)
    right = float(mpmath.diff(exact, mpf(0), direction=1))
    assert float(found.chord(zero)[0]) == pytest.approx(right, rel=1e-14, abs=1e-15)
    assert float(found.slope(zero)[0]) == pytest.approx(right, rel=1e-14, abs=1e-15)


@every
def test_a_value_is_chord_times_argument_plus_value_at_zero(name):
    found, _, _ = cases(name)
    z = torch.cat([points(), torch.tensor([1e4, -1e4], dtype=torch.float64)])
    again = found.chord(z) * z + found.at_zero
    assert ((again - found.value(z)).abs() <= 4e-15 * (1 + z.abs())).all()


RANGES = {
    "relu": ((0, 1), (0, 1)),
    "leaky_relu": ((0.25, 1), (0.25, 1)),
    "leaky_relu negative": ((-1.5, 1), (-1.5, 1)),
    "prelu": ((0.75, 1), (0.75, 1)),
    "rrelu": ((0.25, 1), (0.25, 1)),
    "relu6": ((0, 1), (0, 1)),
    "hardtanh": ((0, 1), (0, 1)),
    "hardtanh off centre": ((0, 0.75), (0, 1)),
    "hardsigmoid": ((0, 1 / 6), (0, 1 / 6)),
    "hardswish": ((0, 1), (-0.5, 1.5)),
    "tanh": ((0, 1), (0, 1)),
    "softsign": ((0, 1), (0, 1)),
    "elu": ((0, 1), (0, 1)),
    "elu steep": ((0, 2.5), (0, 2.5)),
    "elu negative": ((-0.5, 1), (-0.5, 1)),
    "celu": ((0, 1), (0, 1)),
    "selu": ((0, 1.7580993408473766), (0, 1.7580993408473766)),
    "gelu": ((0, 1), (-0.128904145185154786341, 1.128904145185154786341)),
    "gelu tanh": ((0, 1), (-0.1289930686587717654559, 1.128993068658771765456)),
    "silu": ((0, 1), (-0.09983932012886691695818, 1.099839320128866916958)),
    "mish": ((0, 1), (-0.1125261223894625564073, 1.088498161251727861228)),
    "tanhshrink": ((0, 1), (0, 1)),
    "softshrink": ((0, 1), (0, 1)),
    "sigmoid": ((0, 0.25), (0, 0.25)),
    "softplus": ((0, 1), (0, 1)),
    "softplus steep": ((0, 1), (0, 1)),
    "logsigmoid": ((0, 1), (0, 1)),
    "sin": ((-0.2172336282112216574083, 1), (-1, 1)),
    "abs": ((-1, 1), (-1, 1)),
    "identity": ((1, 1), (1, 1)),
}


@every
def test_ranges_are_attained_and_not_exceeded(name):
    found, _, exact = cases(name)
    for got, expected in zip((found.chord_range, found.slope_range), RANGES[name], strict=True):
        assert got == pytest.approx(expected, rel=4e-16, abs=4e-16)
    # beyond the ends by nothing; to the ends on a fine grid, with the places of extremes, and in the limits
    spots = [0.0, -0.0, 4.493409457909064, 2**0.5, 2.3993572805154677, 1.4185040087908284, 2.256376396360793]
    spots += [1.4905711794854284, 3.0, math.pi, 1e-14, 1e16, math.nextafter(3, 0)]
    z = torch.tensor([*torch.linspace(-60, 60, 120_001).tolist(), *spots, *(-s for s in spots)], dtype=torch.float64)
    for method, (lo, hi) in ((found.chord, found.chord_range), (found.slope, found.slope_range)):
        values = method(z)
        assert values.min() >= lo - 1e-15 and values.max() <= hi + 1e-15
        if method == found.slope or name != "hardtanh off centre":
            assert values.min() <= lo + 1e-12 + 1e-15 * abs(lo)
            assert values.max() >= hi - 1e-12
    assert found.chord_range[1] >= float(exact(mpf(10) ** -20) - exact(mpf(0))) / 1e-20 - 1e-15


def test_ranges_of_chords_that_turn_at_kinks():
    # hardtanh between 1/2 and 2: chord (2 - 1/2)/2 at z = 2
    found = curve(nn.Hardtanh(0.5, 2.0))
    assert found.at_zero == 0.5 and found.chord_range == (0, 0.75)
    assert float(found.chord(torch.tensor(2.0))) == 0.75
    shifted = curve(torch.clamp, (-3.0, -1.0))
    assert shifted.at_zero == -1 and shifted.chord_range == (0, 2 / 3)
    assert curve(torch.clamp, (), {"min": 0}).chord_range == (0, 1)
    assert curve(torch.clamp, (2.0, 1.0)).bounded == (1, 1)  # upside down: torch gives max


@every
def test_what_is_said_of_homogeneity_and_boundedness(name):
    found, _, _ = cases(name)
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    scaled = torch.stack([found.value(t * z) - t * found.value(z) for t in (0.5, 4.0)])
    assert found.homogeneous == (scaled.abs().max() < 1e-12)
    wide = torch.cat([z, 10.0 ** torch.linspace(1, 30, 100).double(), -(10.0 ** torch.linspace(1, 30, 100).double())])
    values = found.value(wide)
    assert (found.bounded is not None) == bool(values.abs().max() < 1e3)
    if found.bounded is not None:
        for dtype in (torch.float32, torch.float64):
            values = found.value(wide.to(dtype)).double()
            assert values.min() >= found.bounded[0] and values.max() <= found.bounded[1]
            assert values.min() <= found.bounded[0] + 1e-3 and values.max() >= found.bounded[1] - 1e-3


@every
def test_pieces_are_the_function(name):
    found, _, _ = cases(name)
    linear = ["relu", "relu6", "hardtanh", "hardsigmoid", "softshrink", "abs", "identity", "prelu"]
    assert (found.pieces is not None) == any(word in name for word in linear)
    if found.pieces is None:
        return
    breakpoints, slopes, offsets = found.pieces.breakpoints, found.pieces.slopes, found.pieces.offsets
    assert (breakpoints.diff() > 0).all() and len(slopes) == len(offsets) == len(breakpoints) + 1
    z = torch.cat([torch.linspace(-9, 9, 999, dtype=torch.float64), breakpoints])
    piece = torch.searchsorted(breakpoints, z, right=True)
    torch.testing.assert_close(slopes[piece] * z + offsets[piece], found.value(z), rtol=1e-15, atol=1e-15)
    torch.testing.assert_close(found.slope(z), slopes[piece], rtol=0, atol=0)


@every
def test_infinite_arguments_give_limits(name):
    found, _, _ = cases(name)
    ends = torch.tensor([math.inf, -math.inf], dtype=torch.float64)
    far = torch.tensor([1e150, -1e150], dtype=torch.float64)
    c = torch.tensor(0.7, dtype=torch.float64)
    if name != "sin":  # its slope has none
        torch.testing.assert_close(found.slope(ends), found.slope(far), rtol=1e-15, atol=1e-140)
        torch.testing.assert_close(found.chord(ends), found.chord(far), rtol=1e-15, atol=1e-140)
        torch.testing.assert_close(found.centred(ends, c), found.centred(far, c), rtol=1e-15, atol=1e-140)
        assert found.centred(far, far.flip(0)).isfinite().all()
    nan = torch.tensor(math.nan, dtype=torch.float64)
    for got in (found.value(nan), found.slope(nan), found.chord(nan), found.centred(nan, c), found.centred(c, nan)):
        assert got.isnan()


def test_softplus_follows_torchs_switch_and_says_how_far_it_jumps():
    found = curve(nn.Softplus())
    assert found.jump == pytest.approx(2.06e-9, rel=1e-2)
    z = torch.tensor([19.9, 20.0, math.nextafter(20, 21), 20.1, 400.0], dtype=torch.float64)
    c = torch.tensor([3.0, 19.0, 20.5], dtype=torch.float64)[:, None]
    assert ((found.chord(z) * z + found.at_zero - found.value(z)).abs() < 1e-14 * z).all()
    step = found.centred(z, c) * (z - c) + found.value(c)
    assert ((step - found.value(z)).abs() < 1e-14 * z).all()
    jump = found.value(torch.tensor(20.0, dtype=torch.float64)) - 20
    assert float(jump) == pytest.approx(found.jump, rel=1e-5)
    assert all(curve(module).jump == 0 for module, _ in EXACT.values() if not isinstance(module, nn.Softplus))


def test_a_prelu_with_many_slopes_acts_on_the_last_dimension():
    module = nn.PReLU(3)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.25, -0.5, 1.5]))
    found = curve(module)
    z = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(found.value(z), module(z).detach(), rtol=0, atol=0)
    torch.testing.assert_close(found.chord(z) * z, module(z).detach())
    assert found.slope_range == (-0.5, 1.5) and found.chord_range == (-0.5, 1.5) and found.homogeneous
    assert found.pieces.slopes.tolist() == [[0.25, -0.5, 1.5], [1, 1, 1]]
    lo, hi = found.slope_over(-torch.ones(3), torch.ones(3))
    assert lo.tolist() == [0.25, -0.5, 1] and hi.tolist() == [1, 1, 1.5]


FUNCTIONS = [
    (F.relu, (), {"inplace": True}, nn.ReLU()),
    (torch.relu_, (), {}, nn.ReLU()),
    (torch.Tensor.clamp, (-1.0,), {"max": 2.0}, nn.Hardtanh(-1.0, 2.0)),
    (torch.clip, (), {"min": 0}, nn.ReLU()),
    (torch.clamp_min, (torch.tensor(0.0),), {}, nn.ReLU()),
    (F.leaky_relu, (0.3, True), {}, nn.LeakyReLU(0.3)),
    (F.prelu, (torch.tensor([0.3]),), {}, nn.PReLU(init=0.3)),
    (F.rrelu, (0.1, 0.3), {}, nn.RReLU(0.1, 0.3).eval()),
    (F.hardtanh, (-2.0, 2.0), {}, nn.Hardtanh(-2.0, 2.0)),
    (F.gelu, (), {"approximate": "tanh"}, nn.GELU("tanh")),
    (F.softplus, (2.0,), {"threshold": 15}, nn.Softplus(2, 15)),
    (torch.celu, (0.5,), {}, nn.CELU(0.5)),
    (torch.Tensor.sigmoid_, (), {}, nn.Sigmoid()),
    (abs, (), {}, nn.LeakyReLU(-1.0)),
]


@pytest.mark.parametrize("function, args, kwargs, module", FUNCTIONS)
def test_functions_are_the_modules(function, args, kwargs, module):
    z = torch.linspace(-7, 25, 400, dtype=torch.float64)
    one, other = curve(function, args, kwargs), curve(module.double().eval())
    for method in ("value", "chord", "slope"):
        torch.testing.assert_close(getattr(one, method)(z), getattr(other, method)(z), rtol=1e-7, atol=0)


class MyTanh(nn.Tanh):
    def forward(self, x):
        return torch.tanh(x) * 2


STRANGE = [nn.Hardshrink(), nn.Threshold(0.1, 0.0), nn.Softmax(-1), nn.GLU(), MyTanh(), nn.Linear(1, 1), F.softmax]
STRANGE += [torch.exp, lambda z: z, nn.LayerNorm(3), [1]]


@pytest.mark.parametrize("activation", STRANGE)
def test_what_is_not_known_gets_an_error_that_lists_what_is(activation, as_user):
    with pytest.raises(ArgumentError, match=r"gelu, .*hardswish, .*tanhshrink"):
        curve(activation)


BAD = [
    (nn.RReLU(), (), "train mode"),
    (nn.LeakyReLU(math.nan), (), "negative_slope"),
    (nn.ELU(math.inf), (), "alpha"),
    (nn.CELU(-1.0), (), "positive"),
    (nn.Softplus(-1.0), (), "beta"),
    (nn.Softplus(1.0, 2.0), (), "jumps"),
    (F.softshrink, (-1.0,), "lambd"),
    (torch.clamp, (torch.zeros(3),), "tensor of several"),
    (F.gelu, ("quick",), "takes|knows"),
    (F.leaky_relu, (0.1, 0.2, 0.3), "takes"),
    (F.prelu, (torch.ones(2, 2),), "weight"),
]


@pytest.mark.parametrize("activation, args, words", BAD)
def test_parameters_that_make_no_curve(activation, args, words):
    with pytest.raises(ArgumentError, match=words):
        curve(activation, args)


def test_a_subclass_that_changes_nothing_is_its_parent():
    class Renamed(nn.GELU):
        pass

    assert curve(Renamed("tanh")).name == "gelu_tanh" and curve(nn.ReLU6()).name == "relu6"
