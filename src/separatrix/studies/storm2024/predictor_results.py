"""How well each number foretells errors and margins, over members and resampled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from separatrix.studies.measurement import Baseline, Measurement
from separatrix.studies.storm2024.attack import Search, margins
from separatrix.studies.storm2024.digit_looks import Look, evenly
from separatrix.studies.storm2024.predictor_scores import CONFIDENCE, ENTROPY, EXPONENT, GAP, MEANINGS, READOUT, scores
from separatrix.studies.storm2024.ranking import (
    INTERVAL,
    auc,
    auc_resampled,
    interval,
    resamples,
    spearman,
    spearman_resampled,
)


@dataclass(frozen=True)
class Quality:
    """How well one number foretells, on one data set.

    Attributes
    ----------
    members : ndarray, shape (member,)
    resampled : ndarray, shape (resample,)
        Mean over members, of images drawn with replacement; the same draws for all numbers.
    """

    members: np.ndarray
    resampled: np.ndarray

    @property
    def value(self) -> float:
        """Mean over members."""
        return float(self.members.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval over images."""
        return interval(self.resampled, self.value) or (self.value, self.value)


@dataclass(frozen=True)
class Result:
    """One data set.

    Attributes
    ----------
    name : str
    look : Look
    errors : dict of str to Quality
        Area under the ROC curve for the errors of each member, over all test images.
    margins : dict of str to Quality
        Spearman's rho with the adversarial margin, sign turned, over recognised test images.
    distances : ndarray, shape (member, images)
        The margins; 0 where the member does not recognise the image.
    images : int
        Test images that were attacked on each member, evenly spread.
    lost : int
        How many attacks found nothing, in all members.
    """

    name: str
    look: Look
    errors: dict[str, Quality]
    margins: dict[str, Quality]
    distances: np.ndarray
    images: int
    lost: int


def assess(name: str, look: Look, search: Search, images: int, draws: int, seed: int) -> Result:
    """Compute everything for one data set."""
    ranked = [scores(look, i) for i in range(len(look.members))]
    rows = resamples(len(look.X), draws, seed)
    errors = {
        score: Quality(
            np.array([auc(one[score], bad) for one, bad in zip(ranked, look.wrong, strict=True)]),
            np.mean(
                [auc_resampled(one[score], bad, rows) for one, bad in zip(ranked, look.wrong, strict=True)], axis=0
            ),
        )
        for score in MEANINGS
    }
    at = evenly(len(look.X), images)
    X, y = look.X[at], look.y[at]
    far = np.stack([margins(net, X, y, search)[0].numpy() for net in look.members])
    lost = int(np.isinf(far).sum())
    # what is not recognised has no margin
    near = np.where(far > 0, -far, np.nan)
    few = resamples(len(X), draws, seed)
    foretold = {
        score: Quality(
            np.array([spearman(one[score][at], one_near) for one, one_near in zip(ranked, near, strict=True)]),
            np.mean(
                [spearman_resampled(one[score][at], mine, few) for one, mine in zip(ranked, near, strict=True)],
                axis=0,
            ),
        )
        for score in MEANINGS
    }
    return Result(name, look, errors, foretold, far, len(X), lost)


def measurements(result: Result) -> list[Measurement]:
    """Every number's quality, and the exponent's less that of the simplest ones with paired intervals."""
    made = []
    members = len(result.look.members)
    kinds = (
        ("AUC for errors", result.errors, len(result.look.X), 0.5, "chance"),
        ("Spearman ρ with small margins", result.margins, result.images, 0.0, "no relation"),
    )
    for what, table, n, chance, name in kinds:
        for score, quality in table.items():
            spread = f", ±{quality.members.std(ddof=1):.3f} over {members} members" if members > 1 else ""
            made.append(
                Measurement(
                    f"{result.name}, {what}: {score}",
                    quality.value,
                    interval=quality.interval,
                    spread_name=INTERVAL + spread,
                    n=n,
                    of="test images",
                    baseline=Baseline(name, chance),
                )
            )
        for simple in (ENTROPY, CONFIDENCE, GAP):
            value = table[EXPONENT].value - table[simple].value
            ends = interval(table[EXPONENT].resampled - table[simple].resampled, value)
            made.append(
                Measurement(
                    f"{result.name}, {what}: {EXPONENT} less {simple}",
                    value,
                    interval=ends,
                    spread_name=INTERVAL + ", paired" if ends else "",
                    n=n,
                    of="test images",
                )
            )
    return made


def ranking_note(result: Result) -> str:
    """A paragraph on what the exponent is better and worse than, by paired intervals."""
    far = result.distances[result.distances > 0]
    return (
        f"{result.name}: for errors the exponent at the last hidden layer (AUC {result.errors[EXPONENT].value:.3f}) is "
        f"{_standing(result.errors)}. For margins (ρ = {result.margins[EXPONENT].value:.2f}) it is "
        f"{_standing(result.margins)}. Test error of members {100 * result.look.wrong.mean():.1f} %, median margin "
        f"{np.median(far):.2f}."
    )


def _standing(table: dict[str, Quality]) -> str:
    """What the exponent is better than, not told apart from, and worse than; its twin at the logits is left out."""
    groups: dict[str, list[str]] = {"better than": [], "not told apart from": [], "worse than": []}
    for name, other in table.items():
        if name not in (EXPONENT, READOUT):
            value = table[EXPONENT].value - other.value
            low, high = interval(table[EXPONENT].resampled - other.resampled, value) or (value, value)
            groups["better than" if low > 0 else "worse than" if high < 0 else "not told apart from"].append(
                f"{name} ({other.value:.3f})"
            )
    return "; ".join(f"{word} {', '.join(names)}" for word, names in groups.items() if names)
