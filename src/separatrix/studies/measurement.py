"""One measured number: its spread, what the paper gives, what a baseline gives, and when it counts as agreement."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict, Unpack

from separatrix.results.errors import ArgumentError

Interval = tuple[float, float]


class More(TypedDict, total=False):
    """Further arguments of :class:`Accept`."""

    strict: bool
    whole: bool
    decisive: bool
    contrary: Interval | None


@dataclass(frozen=True)
class Accept:
    """When a measured number agrees with a claim, and when it says the opposite.

    Attributes
    ----------
    low, high : float
        The number agrees where it lies in this interval, ends included.
    strict : bool
        Ends excluded.
    whole : bool
        The whole interval of uncertainty must lie inside, not the number alone.
    decisive : bool
        Without this agreement the claim is not reproduced, whatever else agrees.
    contrary : (float, float) or None
        The number says the opposite where it (with its whole interval of uncertainty, if it has one) lies inside this
        interval, ends excluded. It must not overlap with ``low`` to ``high``.

    Raises
    ------
    ArgumentError
        If an interval is empty, or the two overlap.
    """

    low: float = -math.inf
    high: float = math.inf
    strict: bool = False
    whole: bool = False
    decisive: bool = False
    contrary: Interval | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.high or (self.strict and self.low == self.high):
            raise ArgumentError("accept", f"{self.low} to {self.high}", "give an interval that is not empty")
        if self.contrary is not None:
            below, above = self.contrary
            if not below < above or (below < self.high and above > self.low):
                raise ArgumentError("contrary", f"{self.contrary}", "give an interval outside of what is accepted")

    def holds(self, value: float, interval: Interval | None = None) -> bool:
        """Tell whether a number agrees; NaN never does."""
        for one in interval if self.whole and interval is not None else (value,):
            if not (self.low < one < self.high if self.strict else self.low <= one <= self.high):
                return False
        return not math.isnan(value)

    def opposes(self, value: float, interval: Interval | None = None) -> bool:
        """Tell whether a number, with all of its interval, says the opposite; NaN never does."""
        if self.contrary is None or math.isnan(value):
            return False
        return all(self.contrary[0] < one < self.contrary[1] for one in (value, *(interval or ())))


def between(low: float, high: float, **more: Unpack[More]) -> Accept:
    """Accept numbers from ``low`` to ``high``; further arguments as in :class:`Accept`."""
    return Accept(low, high, **more)


def near(target: float, tolerance: float, **more: Unpack[More]) -> Accept:
    """Accept numbers at most ``tolerance`` away from ``target``."""
    return Accept(target - tolerance, target + tolerance, **more)


def factor(target: float, by: float, **more: Unpack[More]) -> Accept:
    """Accept numbers at most a factor ``by`` above or below a positive ``target``."""
    if not (target > 0 and by >= 1):
        raise ArgumentError(
            "factor", f"target {target}, factor {by}", "give a positive target and a factor of 1 or more"
        )
    return Accept(target / by, target * by, **more)


def at_least(bound: float, **more: Unpack[More]) -> Accept:
    """Accept ``bound`` and more."""
    return Accept(low=bound, **more)


def at_most(bound: float, **more: Unpack[More]) -> Accept:
    """Accept ``bound`` and less."""
    return Accept(high=bound, **more)


def positive(**more: Unpack[More]) -> Accept:
    """Accept numbers above zero; those below say the opposite."""
    further: More = {"strict": True, "contrary": (-math.inf, 0.0)}
    return Accept(low=0.0, **(further | more))


@dataclass(frozen=True)
class Baseline:
    """What the same measurement gives where there is nothing to be found, or by simpler means.

    Attributes
    ----------
    name : str
        Such as "random directions" or "thresholds exactly zero".
    value : float
    spread : float or None
        In the sense of the measurement's ``spread_name``.
    """

    name: str
    value: float
    spread: float | None = None


@dataclass(frozen=True)
class Measurement:
    """A number that was measured.

    Attributes
    ----------
    what : str
        What was measured, in few words, such as "ring level, L = 2".
    value : float
    unit : str
        Such as "nat", "%"; empty for pure numbers.
    spread : float or None
        Half-width, drawn as ±.
    interval : (float, float) or None
        Ends of an interval of uncertainty.
    spread_name : str
        What ``spread`` or ``interval`` is: "standard deviation", "95 % bootstrap interval", ...
    n : int
        Over how many.
    of : str
        What is counted by ``n``: "seeds", "networks", "test images".
    lost : int
        How many more gave no number.
    target : float or None
        What the paper gives.
    baseline : Baseline or None
    accept : Accept or None
        When this number agrees with the claim; None where it is told for information only.

    Raises
    ------
    ArgumentError
        If a spread is not named, is negative, or an interval does not hold the value; if ``accept.whole`` is asked for
        without an interval.
    """

    what: str
    value: float
    unit: str = ""
    spread: float | None = None
    interval: Interval | None = None
    spread_name: str = ""
    n: int = 1
    of: str = "seeds"
    lost: int = 0
    target: float | None = None
    baseline: Baseline | None = None
    accept: Accept | None = None

    def __post_init__(self) -> None:
        if (self.spread is not None or self.interval is not None) and not self.spread_name:
            raise ArgumentError("spread_name", f"nothing for {self.what!r}", 'name it, such as "standard deviation"')
        if self.spread is not None and self.spread < 0:
            raise ArgumentError("spread", f"{self.spread} for {self.what!r}", "a half-width is not negative")
        if self.interval is not None and (self.interval[0] > self.value or self.interval[1] < self.value):
            raise ArgumentError("interval", f"{self.interval} for {self.what!r}", f"it must hold {self.value}")
        if self.accept is not None and self.accept.whole and self.interval is None:
            raise ArgumentError("interval", f"None for {self.what!r}", "give one: all of it must be accepted")

    @property
    def holds(self) -> bool | None:
        """Whether the number agrees with the claim; None where nothing was asked of it."""
        return None if self.accept is None else self.accept.holds(self.value, self.interval)

    @property
    def opposes(self) -> bool:
        """Whether the number says the opposite of the claim."""
        return self.accept is not None and self.accept.opposes(self.value, self.interval)

    @classmethod
    def of_samples(
        cls,
        what: str,
        samples: Iterable[float],
        *,
        unit: str = "",
        of: str = "seeds",
        target: float | None = None,
        baseline: Baseline | None = None,
        accept: Accept | None = None,
    ) -> Measurement:
        """Mean of samples, with their standard deviation (n - 1 in the divisor) as the spread.

        Samples that are not finite are left out and counted in ``lost``; if none is left, the value is NaN.
        """
        given = [float(v) for v in samples]
        kept = [v for v in given if math.isfinite(v)]
        return cls(
            what,
            statistics.fmean(kept) if kept else math.nan,
            unit,
            spread=statistics.stdev(kept) if len(kept) > 1 else None,
            spread_name="standard deviation" if len(kept) > 1 else "",
            n=len(kept),
            of=of,
            lost=len(given) - len(kept),
            target=target,
            baseline=baseline,
            accept=accept,
        )
