"""Bounds of activations over intervals: no value outside, checked with 40 digits, and no wider than need be."""

import math

import mpmath
import pytest
import torch
from curve_references import EXACT, cases, mpf
from torch import nn

from separatrix.results.errors import ArgumentError
from separatrix.systems.curves import curve

every = pytest.mark.parametrize("name", EXACT)


def scalar(v):
    return torch.tensor(v, dtype=torch.float64)


def inside(bounds, exact_value, slack=0):
    lo, hi = (mpf(float(b)) for b in bounds)
    return lo - slack <= exact_value <= hi + slack


def intervals(count, seed):
    """Left ends, right ends and base points, many of them at places where something turns, or equal."""
    generator = torch.Generator().manual_seed(seed)

    def numbers():
        free = torch.randn(count, generator=generator, dtype=torch.float64) * 4
        special = torch.tensor([-3.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 37.0, -37.0], dtype=torch.float64)
        chosen = special[torch.randint(len(special), (count,), generator=generator)]
        return torch.where(torch.rand(count, generator=generator) < 0.5, free, chosen)

    widths = torch.tensor([0.0, 1e-12, 1e-5, 0.01, 0.3, 2.0, 7.0, 30.0], dtype=torch.float64)
    lo, c = numbers(), numbers()
    c = torch.where(torch.rand(count, generator=generator) < 0.3, lo, c)
    return lo, lo + widths[torch.randint(len(widths), (count,), generator=generator)], c


@every
@pytest.mark.parametrize("seed", [0, 1])
def test_no_exact_value_lies_outside(name, seed):
    found, _, exact = cases(name)
    lo, hi, c = intervals(80, seed)
    values, chords, slopes = found.value_over(lo, hi), found.chord_over(c, lo, hi), found.slope_over(lo, hi)
    near = found.slope_over(torch.minimum(lo, c), torch.maximum(hi, c))
    assert (near[0] - 4e-12 <= chords[0]).all() and (chords[1] <= near[1] + 4e-12).all()
    with mpmath.workdps(80):
        for k, (left, right, base) in enumerate(zip(lo.tolist(), hi.tolist(), c.tolist(), strict=True)):
            of_value, of_chord, of_slope = ([b[k] for b in bounds] for bounds in (values, chords, slopes))
            for z in {left, right, left + 0.37 * (right - left), min(max(base, left), right)}:
                at = exact(mpf(z))
                assert inside(of_value, at)
                assert inside(of_value, mpf(float(found.value(scalar(z)))))
                if z != base:
                    assert inside(of_chord, (at - exact(mpf(base))) / (mpf(z) - mpf(base)))
                # chords over 1e-15 are slopes, from one side
                for step in (mpf("1e-15"), mpf("-1e-15")):
                    if left <= z + step <= right:
                        slope = (exact(z + step) - at) / step
                        assert inside(of_slope, slope, 1e-14)
                        assert z != base or inside(of_chord, slope, 1e-14)


@every
def test_bounds_over_all_numbers_are_the_ranges(name):
    found, _, _ = cases(name)
    everywhere = scalar(-math.inf), scalar(math.inf)
    assert tuple(map(float, found.slope_over(*everywhere))) == pytest.approx(found.slope_range, rel=4e-16)
    lo, hi = map(float, found.value_over(*everywhere))
    assert (found.bounded or (lo, hi)) == (lo, hi)
    ends = found.value(torch.tensor([-1e200, -2.0, 1e200], dtype=torch.float64))
    assert (hi == math.inf) == bool(ends.max() > 1e100) and (lo == -math.inf) == bool(ends.min() < -1e100)
    lo, hi = map(float, found.chord_over(scalar(0.0), *everywhere))
    least, most = found.chord_range
    assert lo <= least and most <= hi and hi - lo <= (most - least) + 0.13


@every
def test_bounds_are_tight(name):
    """Against the range over a fine grid: slopes and values to rounding, chords to a few hundredths."""
    found, _, _ = cases(name)
    generator = torch.Generator().manual_seed(3)
    lo = torch.randn(60, generator=generator, dtype=torch.float64) * 3
    c = torch.randn(60, generator=generator, dtype=torch.float64) * 3
    for wide in (1e-3, 0.1, 1.0, 8.0):
        hi = lo + wide
        z = lo + wide * torch.linspace(0, 1, 801, dtype=torch.float64)[:, None]
        reachable = {"value": found.value(z), "slope": found.slope(z), "chord": found.centred(z, c.expand_as(z))}
        bounds = {
            "value": found.value_over(lo, hi),
            "slope": found.slope_over(lo, hi),
            "chord": found.chord_over(c, lo, hi),
        }
        for what, values in reachable.items():
            least, most = bounds[what]
            assert (least <= values.amin(0) + 2e-12).all() and (most >= values.amax(0) - 2e-12).all()
            excess = torch.maximum(values.amin(0) - least, most - values.amax(0)).max()
            # the grid itself misses extremes by its step times the steepest change of slope
            allowed = 2e-12 + 3 * wide / 800 + (0.04 if what == "chord" else 0)
            assert float(excess) <= allowed, (what, wide, float(excess))


@every
def test_points_and_short_intervals_lose_only_rounding(name):
    found, _, _ = cases(name)
    z = torch.linspace(-5.003, 5, 400, dtype=torch.float64)
    c = z.flip(0) * 0.77
    for method, value in (("value_over", found.value(z)), ("slope_over", found.slope(z))):
        lo, hi = getattr(found, method)(z, z)
        assert ((hi - lo) <= 4e-13 * (1 + value.abs())).all() and (lo <= value).all() and (value <= hi).all()
    for wide in (0.0, 1e-4):
        lo, hi = found.chord_over(c, z, z + wide)
        spread = found.centred(z + wide, c) - found.centred(z, c)
        # second order in the width, except beside c itself, where the slope may jump
        apart = (z - c).abs() > 0.1
        assert (((hi - lo) - spread.abs())[apart] <= (3e-12 if name == "sin" else 1e-12) + 2 * wide**2).all()


def test_extreme_arguments():
    for module, _ in EXACT.values():
        found = curve(module)
        lo = torch.tensor([-math.inf, -1e308, 1e308, -1e308, 1e4], dtype=torch.float64)
        hi = torch.tensor([-1e4, -1e307, math.inf, 1e308, 2e4], dtype=torch.float64)
        for bounds in (found.value_over(lo, hi), found.slope_over(lo, hi), found.chord_over(scalar(0.3), lo, hi)):
            assert not torch.stack(bounds).isnan().any() and (bounds[0] <= bounds[1]).all()
        nan = scalar(math.nan)
        assert all(b.isnan() for b in (*found.value_over(nan, nan), *found.slope_over(nan, nan)))


def test_shapes_broadcast_and_what_is_upside_down_is_refused():
    found = curve(nn.GELU())
    lo, hi = found.chord_over(scalar(0.0), torch.zeros(3, 1), torch.ones(1, 2))
    assert lo.shape == hi.shape == (3, 2) and lo.dtype == torch.float64
    with pytest.raises(ArgumentError, match="upside down"):
        found.value_over(torch.ones(2), torch.zeros(2))


def test_softplus_bounds_hold_on_both_sides_of_its_switch():
    found = curve(nn.Softplus())
    z = torch.tensor([19.5, 20.0, math.nextafter(20, 21), 20.5], dtype=torch.float64)
    exact = [mpmath.log1p(mpmath.exp(mpf(v))) for v in z.tolist()]
    lo, hi = found.value_over(z[0], z[-1])
    assert all(inside((lo, hi), e) for e in exact) and (lo <= found.value(z)).all() and (found.value(z) <= hi).all()
    for v, e in zip(z, exact, strict=True):
        bounds = found.value_over(v, v)
        assert inside(bounds, e) and inside(bounds, mpf(float(found.value(v)))) and bounds[1] - bounds[0] < 1e-8
        slopes = found.slope_over(v, v)
        assert inside(slopes, 1 / (1 + mpmath.exp(-mpf(float(v))))) and slopes[0] > 1 - 1e-8
