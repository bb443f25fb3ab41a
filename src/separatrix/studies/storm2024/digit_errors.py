"""Fig. 4(b): errors and predictive entropy of an ensemble against the exponent of one of its members."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from separatrix.figures.pages import Table
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, Measurement, at_most, near, positive
from separatrix.studies.storm2024.digit_looks import Look
from separatrix.studies.storm2024.ranking import (
    INTERVAL,
    interval,
    log10_p,
    resamples,
    spearman,
    spearman_resampled,
    spearman_shuffled,
)
from separatrix.studies.wording import number

BINS = 60

LETTER = (
    (0.0, 0.1, 0.0),
    (0.07, math.nan, 0.0),
    (0.10, 0.3, 0.03),
    (0.12, 0.4, 0.10),
    (0.15, 0.6, 0.10),
    (0.18, 0.8, 0.15),
    (0.246, 1.45, math.nan),
)
"""Exponent, predictive entropy and error as read off Fig. 4(b); NaN where nothing could be read."""


@dataclass(frozen=True)
class Bins:
    """Equal-width bins of the exponent.

    Attributes
    ----------
    edges : ndarray, shape (bins + 1,)
    count : ndarray, shape (bins,)
    entropy, error : ndarray, shape (bins,)
        Means over the images of a bin; NaN where there are none.
    """

    edges: np.ndarray
    count: np.ndarray
    entropy: np.ndarray
    error: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Middles of the bins."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def at(self, exponent: float) -> int | None:
        """Bin in which an exponent lies; None beyond the ends."""
        if not self.edges[0] <= exponent <= self.edges[-1]:
            return None
        return min(int(np.searchsorted(self.edges, exponent, side="right")) - 1, len(self.count) - 1)


def binned(exponent: np.ndarray, entropy: np.ndarray, wrong: np.ndarray, bins: int = BINS) -> Bins:
    """Means of entropy and error over equal-width bins from the least to the largest exponent."""
    count, edges = np.histogram(exponent, bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [np.histogram(exponent, edges, weights=v.astype(float))[0] / count for v in (entropy, wrong)]
    return Bins(edges, count, *means)


def correlations(look: Look, before: np.ndarray, seed: int, draws: int) -> Finding:
    """M1; ``before`` holds the exponents of the untrained members, (member, image)."""
    n, entropy = len(look.X), look.entropy
    rows = resamples(n, draws, seed)
    found = []
    for name, values in (
        ("predictive entropy", [entropy] * len(look.members)),
        ("error", list(look.wrong.astype(float))),
    ):
        rho = [spearman(a, b) for a, b in zip(look.hidden, values, strict=True)]
        null = spearman_shuffled(look.hidden[0], values[0], draws, seed)
        ends = interval(spearman_resampled(look.hidden[0], values[0], rows), rho[0])
        found += [
            Measurement.of_samples(
                f"Spearman ρ of exponent and {name}, one member after the other",
                rho,
                of="members",
                accept=positive(),
                baseline=Baseline("exponents shuffled", float(np.mean(null)), float(np.std(null, ddof=1))),
            ),
            Measurement(
                f"Spearman ρ of exponent and {name}, first member",
                rho[0],
                interval=ends,
                spread_name=INTERVAL if ends else "",
                n=n,
                of="test images",
                accept=positive(whole=ends is not None),
                baseline=Baseline("untrained member", spearman(before[0], values[0])),
            ),
            Measurement(
                f"log₁₀ p of exponent and {name}, largest over the members",
                max(log10_p(r, n) for r in rho),
                n=len(rho),
                of="members",
                accept=at_most(-2),
            ),
        ]
    return Finding("M1", found)


def ends(look: Look, low: float, high: float, before: np.ndarray) -> Finding:
    """M2: least and largest exponents over the test images, and the quantiles that leave out half a percent."""
    found = []
    for name, q, target in (("least", 0.0, low), ("0.5 % quantile", 0.005, None)):
        found.append(_end(name, look.hidden, before, q, target))
    for name, q, target in (("99.5 % quantile", 0.995, None), ("largest", 1.0, high)):
        found.append(_end(name, look.hidden, before, q, target))
    return Finding("M2", found)


def letter_table(bins: Bins) -> Table:
    """Entropy and error at the exponents for which the letter's figure was read."""
    rows = []
    for exponent, entropy, error in LETTER:
        place = bins.at(exponent)
        here = ("0", "–", "–")
        if place is not None and bins.count[place]:
            here = (
                f"{bins.count[place]:,}",
                number(float(bins.entropy[place]), 0.1),
                f"{100 * bins.error[place]:.1f} %",
            )
        said = ("–" if math.isnan(entropy) else f"{entropy:g}", "–" if math.isnan(error) else f"{100 * error:g} %")
        rows.append((f"{exponent:g}", here[0], said[0], here[1], said[1], here[2]))
    return Table(
        ("exponent", "test images in the bin", "entropy, letter", "entropy, here", "error, letter", "error, here"),
        rows,
        "Fig. 4(b) at the exponents for which it was read off, first member",
        numbers=(0, 1, 2, 3, 4, 5),
    )


def _end(name: str, after: np.ndarray, before: np.ndarray, q: float, target: float | None) -> Measurement:
    return Measurement.of_samples(
        f"{name} exponent over the test images",
        np.quantile(after, q, axis=1).tolist(),
        unit="per layer",
        of="members",
        target=target,
        accept=None if target is None else near(target, 0.05),
        baseline=Baseline("untrained", float(np.quantile(before, q, axis=1).mean())),
    )
