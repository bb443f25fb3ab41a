"""Rigorous bounds of an activation's values, slopes and chords over intervals, rounded outwards.

Between the places where it turns a function is monotone, so that its range over an interval is the hull of its values
at the ends and at those places within. Every evaluation is widened by its rounding error: see
:data:`separatrix.systems.curve_forms.ROUNDING`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from separatrix.systems.curve_forms import ROUNDING, Bounds, Extreme, Form, One, Range

_TINY = 1e-300
"""Covers what underflows."""
_CELLS = 32
"""Parts of an interval where its chords turn and are bounded too loosely as a whole."""
_LOOSE = 1e-2


def range_over(function: One, extremes: tuple[Extreme, ...], lo: Tensor, hi: Tensor, error: Range) -> Bounds:
    """Bounds of a function that is monotone between its extremes, over [lo, hi]."""
    a, b = function(lo), function(hi)
    least, most = torch.minimum(a, b), torch.maximum(a, b)
    relative, absolute = error
    if relative or absolute:
        least = least - (relative * least.abs() + (absolute + _TINY))
        most = most + (relative * most.abs() + (absolute + _TINY))
    for extreme in extremes:
        inside = (lo <= extreme.at + extreme.slack) & (hi >= extreme.at - extreme.slack)
        for value in extreme.values:
            level = torch.as_tensor(value, dtype=lo.dtype).to(lo.device)
            least = torch.where(inside, torch.minimum(least, level), least)
            most = torch.where(inside, torch.maximum(most, level), most)
    return least, most


def value_over(form: Form, lo: Tensor, hi: Tensor) -> Bounds:
    """Bounds of s over [lo, hi]."""
    if form.value_bounds is not None:
        least, most = form.value_bounds(lo, hi)
    else:
        # beyond the reach the limits are taken on, and a few units more
        least, most = range_over(form.value, form.turns, lo.clamp(*form.reach), hi.clamp(*form.reach), form.value_error)
        if form.bounded is None:
            least, most = _unbounded(form, lo, hi, least, most)
    if form.bounded is not None:
        least, most = least.clamp(min=form.bounded[0]), most.clamp(max=form.bounded[1])
    return least, most


def _unbounded(form: Form, lo: Tensor, hi: Tensor, least: Tensor, most: Tensor) -> Bounds:
    """Infinite where an end lies beyond the reach on a side where the values grow without end."""
    for end, past in ((lo, lo < form.reach[0]), (hi, hi > form.reach[1])):
        if bool(past.any()):
            slope = form.slope(end)
            least = torch.where(past & (slope * torch.sign(end) < 0), -torch.inf, least)
            most = torch.where(past & (slope * torch.sign(end) > 0), torch.inf, most)
    return least, most


def slope_over(form: Form, lo: Tensor, hi: Tensor) -> Bounds:
    """Bounds of all slopes, both at a kink, over [lo, hi]."""
    if form.slope_bounds is not None:
        least, most = form.slope_bounds(lo, hi)
    else:
        least, most = range_over(form.slope, form.bends, lo, hi, form.slope_error)
    return least.clamp(min=form.slope_range[0]), most.clamp(max=form.slope_range[1])


def chord_over(form: Form, c: Tensor, lo: Tensor, hi: Tensor, fine: bool = True) -> Bounds:
    """Bounds of (s(z) - s(c))/(z - c) over z in [lo, hi]; slopes at c where c lies inside.

    A chord is a mean of slopes, so it is monotone in z where the slope is. Elsewhere left and right of c are bounded
    apart: the chord to z is a weighted mean of the chord to an end of the interval and of slopes between the two, which
    bounds it on both sides, sharply where slopes and chords do not overlap. If ``fine``, intervals that are bounded too
    loosely are cut into 32, and at kinks.
    """
    if form.chord_bounds is not None:
        least, most = form.chord_bounds(c, lo, hi)
        return least.clamp(min=form.slope_range[0]), most.clamp(max=form.slope_range[1])
    chord = form.bounding_chord or form.centred
    a, b = chord(lo, c), chord(hi, c)
    error = _chord_error(form)
    least, most = torch.minimum(a, b) - error, torch.maximum(a, b) + error
    # at a point of its own a chord is a slope, and at a kink there are two
    hard = _bent(form, torch.minimum(lo, c), torch.maximum(hi, c)) | (lo == c) | (hi == c) | a.isnan() | b.isnan()
    if bool(hard.any()):
        found = _two_sides(form, c[hard], lo[hard], hi[hard], fine)
        least[hard], most[hard] = found
    return least.clamp(min=form.slope_range[0]), most.clamp(max=form.slope_range[1])


def _chord_error(form: Form) -> float:
    return form.slope_error[0] * max(map(abs, form.slope_range)) + form.slope_error[1] + _TINY


def _two_sides(form: Form, c: Tensor, lo: Tensor, hi: Tensor, fine: bool) -> Bounds:
    right = _one_side(form, c, torch.maximum(lo, c), torch.maximum(hi, c), fine)
    left = _one_side(form, c, torch.minimum(hi, c), torch.minimum(lo, c), fine)
    no_left, no_right = lo >= c, hi <= c
    # an interval on one side of c alone leaves a point, c itself, on the other
    least = torch.where(no_left, right[0], torch.where(no_right, left[0], torch.minimum(left[0], right[0])))
    most = torch.where(no_left, right[1], torch.where(no_right, left[1], torch.maximum(left[1], right[1])))
    return least, most


def _one_side(form: Form, c: Tensor, near: Tensor, far: Tensor, fine: bool) -> Bounds:
    """The bounds for intervals on one side of c, whose ends are told by their distance from it."""
    least, most, exact = _cell(form, c, near, far)
    loose = ~exact & (most - least > _LOOSE)
    if not fine or not bool(loose.any()):
        return least, most
    c, near, far = c[loose], near[loose], far[loose]
    end = near + (far - near).clamp(-16, 16)
    steps = torch.linspace(0, 1, _CELLS + 1, dtype=near.dtype, device=near.device)[:, None]
    # an edge at every kink, so that it lies inside no cell
    low, high = torch.minimum(near, far), torch.maximum(near, far)
    kinks = [torch.full_like(near, b.at).clamp(low, high)[None] for b in form.bends if b.slack == 0]
    edges = torch.cat([near + (end - near) * steps[:-1], end[None], far[None], *kinks])
    edges = torch.where(far >= near, edges.sort(0).values, edges.sort(0, descending=True).values)
    lower, upper, _ = _cell(form, c.expand_as(edges[1:]), edges[:-1], edges[1:])
    least, most = least.clone(), most.clone()
    least[loose] = torch.maximum(least[loose], lower.amin(0))
    most[loose] = torch.minimum(most[loose], upper.amax(0))
    return least, most


def _cell(form: Form, c: Tensor, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    chord = form.bounding_chord or form.centred
    first, last = chord(near, c), chord(far, c)
    error = _chord_error(form)
    all_least, all_most = slope_over(form, torch.minimum(c, far), torch.maximum(c, far))
    least, most = slope_over(form, torch.minimum(near, far), torch.maximum(near, far))
    # from the near end z is at most this share of the way from c; from the far end it is back by at most that share
    ahead = torch.nan_to_num((far - near).abs() / (far - c).abs(), nan=1.0).clamp(0, 1)
    behind = torch.nan_to_num((far - near).abs() / (near - c).abs(), nan=1e300, posinf=1e300)
    lower = torch.fmax(
        first - ahead * (first - least + error).clamp(min=0), last - behind * (most - last + error).clamp(min=0)
    )
    upper = torch.fmin(
        first + ahead * (most - first + error).clamp(min=0), last + behind * (last - least + error).clamp(min=0)
    )
    monotone = ~_bent(form, torch.minimum(c, far), torch.maximum(c, far)) & ~first.isnan() & ~last.isnan()
    # at c itself the chords start from a slope, at a kink from either
    low_slope, high_slope = slope_over(form, c, c)
    low_first = torch.where(near == c, torch.minimum(first, low_slope), first)
    high_first = torch.where(near == c, torch.maximum(first, high_slope), first)
    lower = torch.where(monotone, torch.minimum(low_first, last), lower) - error
    upper = torch.where(monotone, torch.maximum(high_first, last), upper) + error
    if form.bounded is not None:
        # the values differ by no more than their range
        most_apart = (form.bounded[1] - form.bounded[0]) * (1 + ROUNDING) / (near - c).abs()
        all_least, all_most = torch.fmax(all_least, -most_apart), torch.fmin(all_most, most_apart)
    return torch.fmax(lower, all_least), torch.fmin(upper, all_most), monotone


def _bent(form: Form, lo: Tensor, hi: Tensor) -> Tensor:
    """Whether the slope may turn within (lo, hi)."""
    if form.bent is not None:
        return form.bent(lo, hi)
    found = torch.zeros_like(lo, dtype=torch.bool)
    for extreme in form.bends:
        if extreme.turns:
            found = found | ((lo < extreme.at + extreme.slack) & (hi > extreme.at - extreme.slack))
    return found
