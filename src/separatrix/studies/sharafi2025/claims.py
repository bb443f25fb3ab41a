"""Claims of Sharafi, Martin, Hallerberg (2025) and their rules: set before the results, but for the folds of C3b."""

from __future__ import annotations

from separatrix.studies.ledger import Claim, Kind

SHARE = 0.5
"""Of the smooth cells of the grid, in which an effect must be there."""

AREA = 0.7
"""Median area under the ROC curve that counts as separation."""

LATEST = 500
"""Last step that counts as early; with 20,000 steps, 2.5 % of the training."""

CLAIMS = (
    Claim(
        "C1",
        "The tangent operator of the learning dynamics has a closed form for any number of nodes and any activation.",
        "abstract",
        Kind.PAPER,
        "the formulas are exact",
        "Hessian as autograd's to 1e-10, tangent as central differences of the step to 1e-6, for all sizes and "
        "activations tried",
        ("formulas",),
    ),
    Claim(
        "C2",
        "Finite-time exponents and covariant vectors depend on the initial condition and on the activation.",
        "abstract",
        Kind.PAPER,
        "they differ; no numbers known",
        "λ₁ and λ_min vary at least 3 times as much over initial conditions as over first frames, in the median of "
        "cells; the activation explains at least a tenth of the variance of λ₁, of λ_min and of the angle of the last "
        "covariant vector, in the median of groups of cells that have all else alike",
        ("dependence",),
    ),
    Claim(
        "C3",
        "Early finite-time exponents tell whether training goes to a low or a high final loss.",
        "abstract of the journal version, as summarised",
        Kind.PAPER,
        "they do; no areas known",
        f"up to step {LATEST}, an exponent with an area above 1/2 on held-out runs (Holm, over all cells, times and "
        f"exponents) in at least half of the smooth cells of the grid, decisive; at that step, median area of the "
        f"exponent that the exploring runs choose at least {AREA}",
        ("prediction",),
    ),
    Claim(
        "C3b",
        "They tell more than the loss itself does at that step.",
        "what early stopping by exponents needs",
        Kind.INFERRED,
        "not stated",
        f"up to step {LATEST}, a gain above 0 on held-out runs (Holm) over the loss and its power law in at least half "
        "of the smooth cells of the grid, decisive; and over all baselines, sharpness among them, in as many; models "
        "need not be monotone in a baseline",
        ("prediction",),
    ),
    Claim(
        "C4",
        "Covariant vectors tell it, too.",
        "abstract of the first preprint; not in the journal's",
        Kind.PAPER,
        "they do; no areas known",
        f"as C3, with angles of covariant vectors whose future ends at the step of the prediction; areas of at least "
        f"{AREA} in the median",
        ("covariant",),
    ),
)
