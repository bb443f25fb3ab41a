"""One number: when it agrees, when it says the opposite, and how it is written."""

import math
import statistics

import pytest

from separatrix.results.errors import ArgumentError
from separatrix.studies import Accept, Baseline, Measurement, at_least, at_most, between, factor, near, positive
from separatrix.studies.wording import amount, beside, condition, conditions, given, number, sample


@pytest.mark.parametrize(
    ("accept", "inside", "outside"),
    [
        (near(1.3, 0.5), [0.81, 1.3, 1.79], [0.79, 1.81, math.nan, math.inf]),
        (between(0.75, 1.25), [0.75, 1.25], [0.7499, 1.2501]),
        (factor(220.0, 2.0), [110.0, 220.0, 440.0], [109.0, 441.0, -220.0, 0.0]),
        (at_least(0.95), [0.95, 1.0, math.inf], [0.9499, math.nan]),
        (at_most(0.6), [0.6, -math.inf], [0.61, math.nan]),
        (positive(), [1e-300], [0.0, -1.0, math.nan]),
        (between(0.0, 1.0, strict=True), [0.5], [0.0, 1.0]),
    ],
)
def test_what_is_accepted(accept, inside, outside):
    assert all(accept.holds(value) for value in inside)
    assert not any(accept.holds(value) for value in outside)


def test_an_interval_counts_where_all_of_it_must_be_inside():
    assert at_least(0.5).holds(0.6, (0.4, 0.8))
    assert not at_least(0.5, whole=True).holds(0.6, (0.4, 0.8))
    assert at_least(0.5, whole=True).holds(0.6, (0.5, 0.8))
    with pytest.raises(ArgumentError, match="all of it must be accepted"):
        Measurement("AUC", 0.6, accept=at_least(0.5, whole=True))


def test_the_opposite_needs_the_whole_interval():
    rising = positive()
    assert rising.opposes(-1.0) and rising.opposes(-1.0, (-2.0, -0.1))
    assert not rising.opposes(-1.0, (-2.0, 0.1)) and not rising.opposes(math.nan) and not rising.opposes(0.0)
    assert not at_least(0.0).opposes(-5.0), "without contrary= nothing is the opposite"


@pytest.mark.parametrize(
    "make",
    [
        lambda: between(1.0, 0.0),
        lambda: between(1.0, 1.0, strict=True),
        lambda: at_least(0.0, contrary=(-1.0, 0.1)),
        lambda: Accept(contrary=(2.0, 1.0)),
        lambda: factor(-1.0, 2.0),
        lambda: factor(1.0, 0.5),
        lambda: Measurement("a", 1.0, spread=0.1),
        lambda: Measurement("a", 1.0, spread=-0.1, spread_name="standard deviation"),
        lambda: Measurement("a", 1.0, interval=(2.0, 3.0), spread_name="95 % interval"),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ArgumentError):
        make()


def test_samples_are_summed_up_and_lost_ones_are_counted():
    values = [1.0, 2.0, 4.0, math.nan, math.inf]
    m = Measurement.of_samples("level", values, unit="nat", accept=near(2.0, 1.0))
    assert m.value == pytest.approx(7 / 3) and m.spread == pytest.approx(statistics.stdev([1, 2, 4]))
    assert (m.n, m.lost, m.spread_name, m.holds) == (3, 2, "standard deviation", True)
    assert sample(m) == "standard deviation, 3 of 5 seeds"
    none = Measurement.of_samples("level", [math.nan], accept=positive())
    assert math.isnan(none.value) and none.holds is False and not none.opposes and none.spread is None
    assert Measurement.of_samples("level", [2.0]).spread is None


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (1.4142, 0.083, "1.414"),
        (1.4142, 0.83, "1.41"),
        (-0.31, None, "−0.310"),
        (0.0, None, "0"),
        (-1e-9, 0.5, "0.00"),
        (1437.0, None, "1,437"),
        (12345.6, 100.0, "12,346"),
        (3.2e-15, None, "3.20×10⁻¹⁵"),
        (5e-324, 5e-324, "4.9×10⁻³²⁴"),
        (2.5e9, None, "2.50×10⁹"),
        (math.nan, None, "NaN"),
        (-math.inf, None, "−∞"),
    ],
)
def test_numbers_have_the_digits_of_their_spread(value, spread, text):
    assert number(value, spread) == text


def test_chosen_numbers_have_no_zeros_at_the_end():
    assert [given(v) for v in (1.0, 0.295, -0.13, 1100.0, 1e-12, 2.5e-8, math.inf)] == [
        "1",
        "0.295",
        "−0.13",
        "1100",
        "10⁻¹²",
        "2.5×10⁻⁸",
        "∞",
    ]


def test_words_around_a_number():
    m = Measurement("AUC", 0.931, interval=(0.91, 0.95), spread_name="95 % interval", n=10_000, of="test images")
    assert amount(m) == "0.931 [0.910, 0.950]" and sample(m) == "95 % interval, 10,000 test images"
    assert amount(Measurement("level", 1.41, "nat", spread=0.08, spread_name="standard deviation", n=10)).endswith(
        " nat"
    )
    assert (
        beside(Baseline("random directions", 0.11, 0.02)) == "0.110 ± 0.020 (random directions)" and beside(None) == ""
    )
    assert condition(near(1.0, 0.25)) == "0.75 to 1.25" and condition(positive()) == "> 0"
    assert condition(at_least(0.95, whole=True, decisive=True)) == "≥ 0.95, whole interval, decisive"
    assert sample(Measurement("a", 1.0)) == "" and condition(None) == ""


def test_the_reason_names_what_fails():
    good, bad = Measurement("a", 1.0, accept=at_least(0.5)), Measurement("b", -1.0, accept=positive())
    assert conditions([good, Measurement("for information", 3.0)]) == "The condition holds."
    assert conditions([good, good]) == "All 2 conditions hold."
    assert conditions([good, bad]) == "1 of 2 conditions hold; b is −1.00, the opposite (accepted: > 0)."
    assert "and 2 more" in conditions([bad] * 5)
