"""Storm, Linander, Bec, Gustavsson, Mehlig: Finite-Time Lyapunov Exponents of Deep Neural Networks (2024)."""

from separatrix.studies.storm2024.claims import CLAIMS
from separatrix.studies.study import Piece, Study

_HERE = "separatrix.studies.storm2024"

STUDY = Study(
    name="storm2024",
    title="Finite-time Lyapunov exponents of deep neural networks",
    paper=(
        "L. Storm, H. Linander, J. Bec, K. Gustavsson, B. Mehlig, Finite-Time Lyapunov Exponents of Deep Neural "
        "Networks, Phys. Rev. Lett. 132, 057301 (2024), arXiv 2306.12548"
    ),
    claims=CLAIMS,
    parts=(
        Piece(
            "fields",
            "Fields of small networks (Fig. 2)",
            f"{_HERE}.fields",
            "Stretch, its directions, ridges and the decision boundary in the plane, for three widths and four depths.",
        ),
        Piece(
            "features",
            "Random features against full training (Fig. 3a)",
            f"{_HERE}.features",
            "Test error with frozen random hidden weights and with all weights trained, against width.",
        ),
        Piece(
            "widths",
            "Boundary and centre against width (Fig. 3b)",
            f"{_HERE}.widths",
            "Stretch on the boundary and at the centre for four depths, the fits, and the open settings.",
        ),
        Piece(
            "digits",
            "Handwritten digits (Fig. 4)",
            f"{_HERE}.digits",
            "Errors and predictive entropy against the exponent, its range, width, and the path of an attack.",
        ),
        Piece(
            "gaussian",
            "Where a boundary is no ridge",
            f"{_HERE}.gaussian",
            "Gaussian classes, where the best network is known in closed form: the same boundary is a ridge, flat or a "
            "valley, depending on loss and endpoint.",
            beyond=True,
        ),
        Piece(
            "predictors",
            "The exponent as a predictor",
            f"{_HERE}.predictors",
            "Errors and adversarial margins of test images, foretold by the exponent and by simpler numbers.",
            beyond=True,
        ),
    ),
    notes=(
        "The paper's Supplemental Material was not at hand: learning rate, batch size, momentum, number of seeds, the "
        "size of the central patch, the depth of Fig. 4(c, d) and the parameters of the attack are choices of this "
        "study, declared below. Targets marked as digitised were read off the figures.",
        "ln σ₁ stands for L·λ₁, the logarithm of the largest singular value of the Jacobian from the input to the last "
        "of L hidden layers; λ₁ is the same per hidden layer.",
    ),
)
