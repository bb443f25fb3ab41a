"""Whether an exponent or a covariant vector of an orbit may be believed, and if not, why."""

from __future__ import annotations

from enum import IntEnum


class OrbitStatus(IntEnum):
    """Why a number of an orbit is what it is. Ordered: where two apply, the larger one is stored."""

    OK = 0
    """The number means what its name says."""
    SHORT = 1
    """Too few steps, or a form, for which there is no standard error."""
    TRANSIENT = 2
    """The two halves of the orbit disagree by more than five standard errors: an average over a transient."""
    UNCONVERGED = 3
    """Too few steps for the gap between this exponent and its neighbours; only the span of its group has a meaning."""
    SINGULAR = 4
    """A step removed this direction (pivots at rounding level): each such step counts with the floor only."""
    MISSING = 5
    """The state has fewer components than indices asked for (a bottleneck); the exponent is -inf."""
    NONFINITE = 6
    """The orbit left the floating-point numbers; the values are NaN from there on."""
