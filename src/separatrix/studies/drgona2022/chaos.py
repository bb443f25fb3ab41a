"""Which cases are chaotic, quasi-periodic or lines of equilibria, against the titles of the original figures."""

from __future__ import annotations

import numpy as np

from separatrix.studies.drgona2022.cases import ACTIVATIONS, DEPTHS, NAMES, SETTINGS
from separatrix.studies.drgona2022.measure import column
from separatrix.studies.drgona2022.shares import share
from separatrix.studies.drgona2022.table import BEHAVIOURS, Cases
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Baseline, at_least
from separatrix.studies.study import Table

CHAOTIC_GROUP = (
    *(
        (f"softSVD ({lo:g}, {hi:g})", "selu")
        for lo, hi in ((0.99, 1), (0.99, 1.01), (0.99, 1.1), (1, 1.01), (-1.5, -1.1))
    ),
    ("softSVD (-1.5, -1.1)", "tanh"),
)
"""Figure group "chaotic attractors": weight setting and activation, n = 8, no bias."""


def near_one(found: Cases) -> Finding:
    """C4: share of seeds with a chaotic attractor in each case of the figure group."""
    chaotic = found[column("chaotic")] > 0
    base = Baseline("all 828 cases", float(chaotic.mean()))
    rows = []
    for setting, activation in CHAOTIC_GROUP:
        mask = found.where(setting=setting, activation=activation, depth=8, bias=False)
        rows.append(
            share(
                f"chaotic, {setting}, {NAMES[activation]}",
                chaotic[:, mask],
                of="seeds",
                target=1.0,
                baseline=base,
                accept=at_least(0.5),
            )
        )
    return Finding("C4", rows, not_measured="the quick scale has too few seeds" if found.seeds < 10 else "")


def line(found: Cases) -> Finding:
    """C5: a continuum of fixed points."""
    ray = found[column("continuum")] > 0
    mask = found.where(setting="pf (1, 1)", activation="relu", depth=1, bias=False)
    others = ray[:, ~found.where(setting="pf (1, 1)")]
    row = share(
        "a continuum of fixed points, pf (1, 1), ReLU, n = 1, no bias",
        ray[:, mask],
        of="seeds",
        target=1.0,
        baseline=Baseline("all other weight settings", float(others.mean())),
        accept=at_least(1.0),
    )
    return Finding("C5", [row])


def table(found: Cases) -> Table:
    """All cases in which some seed is chaotic or quasi-periodic, the most chaotic first."""
    chaotic, quasi = found[column("chaotic")] > 0, found[column("quasi-periodic")] > 0
    total = np.argwhere((chaotic | quasi).any(0))
    names = [s.name for s in SETTINGS]
    rows = []
    for place in total:
        s, a, d, b = (int(i) for i in place)
        one = (slice(None), s, a, d, b)
        exponents = found["exponent"][one][chaotic[one]]
        rows.append(
            (
                names[s].replace("-", "−"),
                NAMES[ACTIVATIONS[a]],
                str(DEPTHS[d]),
                "yes" if b else "no",
                str(int(chaotic[one].sum())),
                f"{exponents.max():.3f}" if len(exponents) else "–",
                str(int(quasi[one].sum())),
                str(int((found.behaviour[one] == BEHAVIOURS.index("cycle")).sum())),
            )
        )
    rows.sort(key=lambda row: (-int(row[4]), -int(row[6]), row))
    header = ("weights", "activation", "n", "bias", "chaotic", "largest exponent", "quasi-periodic", "cycle")
    shown = rows[:40]
    left = f"; the first {len(shown)} of {len(rows)}" if len(rows) > len(shown) else ""
    return Table(
        header,
        shown,
        f"Cases in which a seed has a chaotic or quasi-periodic attractor: number of seeds of {found.seeds}{left}",
        numbers=(2, 4, 5, 6, 7),
    )
