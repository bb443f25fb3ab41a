"""Sharafi, Martin, Hallerberg: Weight dynamics of learning networks (2025)."""

from separatrix.studies.sharafi2025.claims import CLAIMS
from separatrix.studies.study import Piece, Study

_HERE = "separatrix.studies.sharafi2025"

STUDY = Study(
    name="sharafi2025",
    title="Weight dynamics of learning networks",
    paper=(
        "N. Sharafi, C. Martin, S. Hallerberg, Weight dynamics of learning networks, Phys. Rev. E 111, 054208 (2025), "
        "arXiv 2405.00743"
    ),
    claims=CLAIMS,
    parts=(
        Piece(
            "formulas",
            "The tangent operator",
            f"{_HERE}.formulas",
            "Closed formulas for the Hessian and the tangent of a step, against autograd and against differences.",
        ),
        Piece(
            "losses",
            "Final losses",
            f"{_HERE}.losses",
            "Where the initial conditions of each cell end, and whether they end in more than one place.",
        ),
        Piece(
            "dependence",
            "Initial conditions, activations and what is arbitrary",
            f"{_HERE}.dependence",
            "Spread of exponents and angles over initial conditions, activations, first frames and forms.",
        ),
        Piece(
            "prediction",
            "The final loss foretold by exponents",
            f"{_HERE}.prediction",
            "Areas under ROC curves on held-out runs, beside the loss, its power law, gradient norm and sharpness.",
        ),
        Piece(
            "covariant",
            "Covariant vectors",
            f"{_HERE}.covariant",
            "Angles that know nothing of the future, as predictors and beside their nulls.",
        ),
        Piece(
            "optimizers",
            "Heavy ball and Adam",
            f"{_HERE}.optimizers",
            "The same exponents and predictions for the maps of other optimizers.",
            beyond=True,
        ),
    ),
    notes=(
        "The paper's text was not at hand beyond its abstracts: node counts, target, learning rate, number of steps, "
        "initial weights and thresholds are a grid that is declared here, and all cells of it are shown. Settings of "
        "the paper, or any others, can be written into a file sharafi2025.toml in the folder of the store (a table "
        '[[cell]] for each, with the names under "settings"); they then run and are shown beside the grid\'s.',
        "Finite-time exponents are those of the map of a training step, M = 1 − ηH for gradient descent, per step, by "
        "orthonormal frames (QR form) from step 0 to t and over the later half of that window. They are exponents of "
        "training, not those of the map from inputs to outputs.",
        "Verdicts rest on the smooth activations of the grid; ReLU, whose second derivative is zero almost everywhere, "
        "is a control.",
    ),
)
