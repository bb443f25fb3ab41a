"""Drgona, Skomski, Tuor, Vasisht, Vrabie: Dissipative Deep Neural Dynamical Systems (2020 to 2022)."""

from separatrix.studies.drgona2022.claims import CLAIMS
from separatrix.studies.study import Piece, Study

_HERE = "separatrix.studies.drgona2022"

STUDY = Study(
    name="drgona2022",
    title="Dissipative deep neural dynamical systems",
    paper=(
        "J. Drgona, A. Tuor, S. Vasisht, D. Vrabie, Dissipative Deep Neural Dynamical Systems, IEEE Open Journal of "
        "Control Systems 1, 100-112 (2022), arXiv 2011.13492; first version with E. Skomski: Spectral Analysis and "
        "Stability of Deep Neural Dynamics (2020)"
    ),
    claims=CLAIMS,
    parts=(
        Piece(
            "cases",
            "The 828 cases",
            f"{_HERE}.behaviour",
            "23 weight settings, 6 activations, 3 depths, with and without bias: attractors counted and typed, largest "
            "exponents, norms and spectra of A*, and what products of norms prove.",
        ),
        Piece(
            "portraits",
            "Phase portraits and spectra",
            f"{_HERE}.portraits",
            "The figure groups of the released code, and what other seeds do.",
        ),
        Piece(
            "factorisations",
            "Weight factorisations and their labels",
            f"{_HERE}.factorisations",
            "Realised spectra against labels, complex spectra, and A* at the origin.",
        ),
        Piece(
            "regions",
            "Maps of norms over the plane",
            f"{_HERE}.regions",
            "‖A*‖ and ρ(A*) over [−6, 6]², in the spectral norm and in the original's Frobenius norm.",
        ),
        Piece(
            "depth",
            "Eigenvalues against depth",
            f"{_HERE}.depth",
            "Densities of eigenvalue moduli for n = 1, 4, 8.",
        ),
        Piece(
            "high_dimension",
            "64 dimensions",
            f"{_HERE}.high_dimension",
            "Spectra of A* of eight factorisations.",
        ),
        Piece(
            "counterexamples",
            "What the pictures do not say",
            f"{_HERE}.counterexamples",
            "Exact maps against readings of spectra and chords.",
            beyond=True,
        ),
        Piece(
            "proved",
            "What can be proved of the 828 cases",
            f"{_HERE}.proved",
            "Contraction, stability and boundedness certified or refuted, beside products of norms and orbits.",
            beyond=True,
        ),
    ),
    notes=(
        "f(x) = A*(x) x + b*(x) holds exactly at every point, where A* is made of secants (chords) of the activations. "
        "Chords decide on boundedness, slopes on local stability: A* is the Jacobian only for activations like ReLU.",
        "All networks are untrained, as in the original. The paper's text was not at hand beyond its abstracts: claims "
        "are those of the abstracts, of the released code and its figure titles, and of what follows from the "
        "definitions. Seeds are labels: the original's draws depend on the order of calls in old code.",
        "The affine form used at the origin, and wherever a pre-activation is 0, is the limit (the slope).",
    ),
)
