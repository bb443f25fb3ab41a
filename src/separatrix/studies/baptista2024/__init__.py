"""Baptista, Barp, Chakraborti, Harbron, MacArthur, Banerji: Deep Learning as Ricci Flow (2024)."""

from separatrix.studies.baptista2024.claims import CLAIMS
from separatrix.studies.study import Piece, Study

_HERE = "separatrix.studies.baptista2024"

STUDY = Study(
    name="baptista2024",
    title="Deep learning as Ricci flow",
    paper=(
        "A. Baptista, A. Barp, T. Chakraborti, C. Harbron, B. D. MacArthur, C. R. S. Banerji, Deep Learning as Ricci "
        "Flow, Scientific Reports 14, 23383 (2024), arXiv 2404.14265"
    ),
    claims=CLAIMS,
    parts=(
        Piece(
            "coefficients",
            "The aggregated coefficient against k (Fig. 3)",
            f"{_HERE}.coefficients",
            "1,512 networks in 42 cells, the coefficient pooled over each for every k, and the k that makes it least.",
        ),
        Piece(
            "networks",
            "Networks one by one (Section 3.2, Fig. 4)",
            f"{_HERE}.single_networks",
            "Which networks are connected, and negative, at the best k, beside what permutations, regression to the "
            "mean and untrained networks give.",
        ),
        Piece(
            "accuracy",
            "Accuracy and the adjusted coefficient (Section 3.4)",
            f"{_HERE}.accuracy",
            "The paper's regression, what the coefficient adds to it, and what depends on the choices.",
        ),
        Piece(
            "controls",
            "Shuffled labels, linear networks, points and local coefficients",
            f"{_HERE}.controls",
            "The same numbers where there is nothing to be learned, and the follow-up's local version.",
            beyond=True,
        ),
    ),
    notes=(
        "The coefficient is the correlation over layers l of the total Forman curvature of layer l's neighbour graph "
        "and the growth of the sum of hop distances from layer l to the next. It is judged as the authors' code makes "
        "it (authors-r): arcs and in- plus out-degrees for the curvature, the undirected union for the distances.",
        "For layers without any flow the coefficient is −c/√2 on average, where c is the correlation of the two sums "
        "over layers: the growth begins at the very layer whose curvature it is compared with (regression to the "
        "mean; for few layers a little more than that). So every coefficient stands beside permutation nulls and "
        "untrained networks, and what is left of it is said in the part on networks one by one.",
        "Problems A, B and C are generated here, since the paper shows them without formulas. Fashion-MNIST is the "
        "paper's; of MNIST the test sets are, while the training side has 2,197 digits for 1 against 7 and 1,958 for "
        "6 against 8, a sixth of the paper's: accuracies are lower for it, and networks above 98 % are used there.",
        "Epochs, batch size, initialisation and validation split are those of the one training script that the authors "
        "released, for all problems.",
    ),
)
