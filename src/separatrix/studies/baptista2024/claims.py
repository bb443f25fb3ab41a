"""The claims of Baptista et al. (2024), with targets as they are printed or were read off the figures."""

from __future__ import annotations

from separatrix.studies.ledger import Claim, Kind

BEST_K: dict[str, dict[tuple[str, int], int]] = {
    "A": {("narrow", 5): 30, ("wide", 5): 30, ("bottleneck", 5): 50, ("narrow", 11): 100, ("wide", 11): 90,
          ("bottleneck", 11): 100},
    "B": {("narrow", 5): 10, ("wide", 5): 6, ("bottleneck", 5): 6, ("narrow", 11): 9, ("wide", 11): 6,
          ("bottleneck", 11): 6},
    "C": {("narrow", 5): 30, ("wide", 5): 18, ("bottleneck", 5): 50, ("narrow", 11): 6, ("wide", 11): 6,
          ("bottleneck", 11): 7},
    "1v7": {("narrow", 5): 500, ("wide", 5): 350, ("bottleneck", 5): 350, ("narrow", 11): 350, ("wide", 11): 350,
            ("bottleneck", 11): 350},
    "6v8": {("narrow", 5): 500, ("wide", 5): 350, ("bottleneck", 5): 350, ("narrow", 11): 350, ("wide", 11): 350,
            ("bottleneck", 11): 350},
    "sandal/boot": {("narrow", 5): 500, ("wide", 5): 500, ("bottleneck", 5): 500, ("narrow", 11): 350,
                    ("wide", 11): 350, ("bottleneck", 11): 250},
    "shirt/coat": {("narrow", 5): 500, ("wide", 5): 500, ("bottleneck", 5): 500, ("narrow", 11): 500,
                   ("wide", 11): 500, ("bottleneck", 11): 500},
}  # fmt: skip
"""k* of every cell, read off Fig. 3."""

EXAMPLES = {
    "C9a": {("A", "wide", 11): -0.91, ("B", "bottleneck", 11): -0.82, ("C", "narrow", 11): -0.70},
    "C9b": {
        ("1v7", "wide", 11): -0.99,
        ("6v8", "narrow", 11): -0.95,
        ("sandal/boot", "wide", 11): -0.83,
        ("shirt/coat", "narrow", 11): -0.45,
    },
}
"""Networks of Fig. 4, by cell."""

CLAIMS = (
    Claim(
        "C1",
        "Most of 1,512 networks come out near-perfect, with at least 25 in each of the 42 cells.",
        "Section 3.1",
        Kind.PAPER,
        "1,512 trained, 151 below the thresholds, 1,361 left; at least 25 of 36 a cell",
        "as many trained; at most twice as many below; at least 25 in every cell",
        ("coefficients",),
        {"trained": 1512, "below": 151, "least": 25},
    ),
    Claim(
        "C2",
        "Every problem has a k at which the aggregated Ricci coefficient is negative.",
        "Section 3.2, Fig. 3",
        Kind.PAPER,
        "all 7 problems; every one of the 42 cells",
        "all 7 problems; at least nine in ten cells, also where k was chosen on the other half of the networks",
        ("coefficients",),
        {"problems": 7, "cells": 42},
    ),
    Claim(
        "C3",
        "The best k is small for the synthetic problems and large for images.",
        "Fig. 3",
        Kind.DIGITISED,
        "0.6 to 10 % of the points for A, B, C; 12.5 to 25 % for images; cell by cell as in the table",
        "medians on both sides in those ranges; within a factor of 2 of the paper's in at least half of the cells",
        ("coefficients",),
        {"cells": 42},
    ),
    Claim(
        "C4",
        "The aggregated coefficient spans a wide range over k, wider for images.",
        "Fig. 3",
        Kind.DIGITISED,
        "−0.6 to 0.4 (synthetic), −0.9 to 0.9 (images)",
        "each end within 0.2",
        ("coefficients",),
        {"synthetic, low": -0.6, "synthetic, high": 0.4, "images, low": -0.9, "images, high": 0.9},
    ),
    Claim(
        "C5",
        "Curves of the coefficient against k cluster by data set for the synthetic problems, by depth for images.",
        "Section 3.2, Fig. 3",
        Kind.PAPER,
        "by eye",
        "problems explain more of the variance of the synthetic curves than depth does, and the reverse for images",
        ("coefficients",),
    ),
    Claim(
        "C6",
        "Shallow MNIST networks have strongly positive coefficients up to k = 150.",
        "Fig. 3B",
        Kind.DIGITISED,
        "clearly positive in all six cells",
        "mean above 0.5, and positive in all six cells",
        ("coefficients",),
        {"cells": 6},
    ),
    Claim(
        "C7",
        "At the best k about a tenth of the near-perfect networks have a layer whose graph is not connected.",
        "Section 3.2",
        Kind.PAPER,
        "134 of 1,361, or 9.8 %",
        "within a factor of 2",
        ("networks",),
        {"share": 9.8},
    ),
    Claim(
        "C8",
        "At the best k nearly all connected near-perfect networks have a negative coefficient.",
        "Section 3.2",
        Kind.PAPER,
        "1,144 of 1,227, or 93.2 %",
        "within 5 percentage points; and, decisive, more than in both permutation nulls and in untrained networks by "
        "more than two standard errors, with k chosen on other networks",
        ("networks",),
        {"share": 93.2},
    ),
    Claim(
        "C9a",
        "Networks of 11 layers on the synthetic problems have strongly negative coefficients.",
        "Fig. 4",
        Kind.PAPER,
        "−0.91 (A, wide), −0.82 (B, bottleneck), −0.70 (C, narrow)",
        "within the middle 95 % of their cells",
        ("networks",),
        {"A": -0.91, "B": -0.82, "C": -0.70},
    ),
    Claim(
        "C9b",
        "Networks of 11 layers on images have strongly negative coefficients.",
        "Fig. 4",
        Kind.PAPER,
        "−0.99 (1 against 7, wide), −0.95 (6 against 8, narrow), −0.83 (sandal/boot, wide), −0.45 (shirt/coat, narrow)",
        "within the middle 95 % of their cells",
        ("networks",),
        {"1v7": -0.99, "6v8": -0.95, "sandal/boot": -0.83, "shirt/coat": -0.45},
    ),
    Claim(
        "C10",
        "Networks with a more negative adjusted coefficient are more accurate.",
        "Section 3.4, linear regression with problem, width and depth",
        Kind.PAPER,
        "t = −2.27, p = 0.023 over 1,227 networks",
        "t below −1.96",
        ("accuracy",),
        {"t": -2.27, "p": 0.023},
    ),
)
