"""What the attacks say of claim M4: bumps of the exponent, and directions beside chance."""

from __future__ import annotations

import math

import numpy as np

from separatrix.studies.measurement import Accept, Baseline, Measurement, at_least, positive
from separatrix.studies.storm2024.digit_paths import NULLS, RISE, WAY, Paths


def measurements(found: list[Paths]) -> list[Measurement]:
    """Of M4: bumps along the attack and along the paths of comparison, and the directions."""
    made = []
    share = {name: [float((p.bump(name) >= RISE).mean()) for p in found] for name in ("attack", *NULLS)}
    made.append(
        Measurement.of_samples(
            f"share of attacks 9 → 4 with the exponent between at least {RISE:g} above both ends",
            share["attack"],
            of="members",
            accept=at_least(0.5),
            baseline=_baseline("random directions that the first layer sees, same length", share["random seen"]),
        )
    )
    made += [
        Measurement.of_samples(
            "the same share less that of " + text,
            (np.array(share["attack"]) - np.array(share[name])).tolist(),
            of="members",
            accept=positive(),
            baseline=_baseline(text.split(",")[0], share[name]),
        )
        for name, text in NULLS.items()
    ]
    middle = len(WAY) // 2
    made += [
        Measurement.of_samples(
            f"exponent at the switch less that {where}, mean over attacks",
            [float((p.exponent["attack"][:, middle] - p.exponent["attack"][:, end]).mean()) for p in found],
            unit="per layer",
            of="members",
            accept=positive(),
            baseline=_baseline(
                "random directions that the first layer sees",
                [
                    float((p.exponent["random seen"][:, middle] - p.exponent["random seen"][:, end]).mean())
                    for p in found
                ],
            ),
        )
        for where, end in (("at the image", 0), ("twice as far", -1))
    ]
    made.append(
        Measurement.of_samples(
            "place of the largest exponent on the attack (1: at the switch), median",
            [float(np.median(WAY[p.exponent["attack"].argmax(1)])) for p in found],
            of="members",
        )
    )
    return made + _alignments(found)


def random_cosine(n: int) -> float:
    """Mean of |cos| between a direction and random ones in n dimensions: Gamma(n/2) / (sqrt(pi) Gamma((n+1)/2))."""
    return math.exp(math.lgamma(n / 2) - math.lgamma((n + 1) / 2)) / math.sqrt(math.pi)


def _alignments(found: list[Paths]) -> list[Measurement]:
    pixels, seen = found[0].places.shape[-1], found[0].seen
    nulls = (
        (f"random directions of {pixels} pixels, exact", random_cosine(pixels)),
        (f"random directions among the {seen} that the first layer sees, exact", random_cosine(seen)),
    )
    made = []
    for where in ("at the image", "at the switch"):
        means = {
            kind: [float(p.cosines[f"{kind}, {where}"].mean()) for p in found]
            for kind in ("attack", "gradient", "pulled back")
        }
        made += [
            Measurement.of_samples(
                f"|cos| of v₁ {where} and the attack, above {name.split(',')[0]}",
                means["attack"],
                of="members",
                accept=Accept(low=value, strict=True, contrary=(-math.inf, value)),
                baseline=Baseline(name, value),
            )
            for name, value in nulls
        ]
        made.append(
            Measurement.of_samples(
                f"|cos| of v₁ and the gradient that the attack follows, both {where}",
                means["gradient"],
                of="members",
                baseline=_baseline("gradients of random functions of the last hidden layer", means["pulled back"]),
            )
        )
    return made


def _baseline(name: str, values: list[float]) -> Baseline:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Baseline(name, float(np.mean(values)), spread)
