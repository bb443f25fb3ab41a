"""Numbers of a ledger as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from separatrix.studies.measurement import Accept, Baseline, Measurement


def number(value: float, spread: float | None = None) -> str:
    """Write a number to the second digit of its spread, or to three digits; a true minus sign, never "−0"."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(spread) if spread and math.isfinite(spread) else abs(value)
    places = (1 if spread and math.isfinite(spread) else 2) - math.floor(math.log10(size)) if size else 0
    largest = max(abs(value), size)
    if largest and (largest >= 1e6 or largest < 1e-4):
        shift = math.floor(math.log10(largest))
        digits = f"{Decimal(value).scaleb(-shift):.{max(0, min(places + shift, 3))}f}×10{str(shift).translate(_HIGH)}"
    else:
        digits = f"{value:,.{max(0, min(places, 6))}f}"
    if not any(d in "123456789" for d in digits.split("×")[0]):
        digits = digits.lstrip("-")
    return digits.replace("-", "−")


def given(value: float) -> str:
    """Write a number that people chose, such as a target or a bound: at most four digits, no zeros at the end."""
    if not math.isfinite(value) or (value and not 1e-3 <= abs(value) < 1e6):
        mantissa, _, power = f"{value:.3e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        text = f"{mantissa}×10{str(int(power)).translate(_HIGH)}" if math.isfinite(value) else number(value)
        return text.removeprefix("1×").replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


_HIGH = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def amount(m: Measurement) -> str:
    """Measured value with its spread and unit, such as "1.41 ± 0.08 nat" or "0.93 [0.90, 0.95]"."""
    half = m.spread
    if half is None and m.interval is not None:
        half = (m.interval[1] - m.interval[0]) / 2
    text = number(m.value, half)
    if m.spread is not None:
        text += f" ± {number(m.spread, m.spread)}"
    if m.interval is not None:
        text += f" [{number(m.interval[0], half)}, {number(m.interval[1], half)}]"
    return text + unit(m)


def unit(m: Measurement) -> str:
    """Unit with the space before it."""
    return f" {m.unit}" if m.unit else ""


def sample(m: Measurement) -> str:
    """What the spread is and over how many, such as "standard deviation, 9 of 10 seeds"."""
    words = [m.spread_name] * bool(m.spread_name)
    if m.lost:
        words.append(f"{m.n:,} of {m.n + m.lost:,} {m.of}")
    elif m.n != 1 or m.spread_name:
        words.append(f"{m.n:,} {m.of if m.n != 1 else m.of.removesuffix('s')}")
    return ", ".join(words)


def beside(baseline: Baseline | None) -> str:
    """Baseline as text, such as "0.11 ± 0.02 (random directions)"."""
    if baseline is None:
        return ""
    text = number(baseline.value, baseline.spread)
    if baseline.spread is not None:
        text += f" ± {number(baseline.spread, baseline.spread)}"
    return f"{text} ({baseline.name})"


def condition(accept: Accept | None) -> str:
    """Condition as text, such as "0.75 to 1.25" or "> 0, decisive"."""
    if accept is None:
        return ""
    low, high = (math.isfinite(v) for v in (accept.low, accept.high))
    if low and high:
        text = f"{given(accept.low)} to {given(accept.high)}" + (", ends excluded" if accept.strict else "")
    elif low:
        text = f"{'>' if accept.strict else '≥'} {given(accept.low)}"
    elif high:
        text = f"{'<' if accept.strict else '≤'} {given(accept.high)}"
    else:
        text = "any number"
    return text + ", whole interval" * accept.whole + ", decisive" * accept.decisive


def conditions(measurements: Sequence[Measurement]) -> str:
    """One sentence on which conditions hold and which do not."""
    judged = [m for m in measurements if m.accept is not None]
    failed = [m for m in judged if not m.holds]
    count = f"{len(judged) - len(failed)} of {len(judged)} conditions hold" if len(judged) > 1 else ""
    if not failed:
        return "The condition holds." if len(judged) == 1 else f"All {len(judged)} conditions hold."
    shown = [
        f"{m.what} is {amount(m)}{', the opposite' if m.opposes else ''} (accepted: {condition(m.accept)})"
        for m in failed[:3]
    ]
    rest = f", and {len(failed) - 3} more" if len(failed) > 3 else ""
    return (f"{count}; " if count else "") + "; ".join(shown) + rest + "."
