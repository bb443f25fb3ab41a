"""What is proved of the 828 cases, and what orbits and spectra say of the same networks."""

from __future__ import annotations

import numpy as np

from separatrix.studies.drgona2022.cases import ACTIVATIONS, DEPTHS, NAMES, known
from separatrix.studies.drgona2022.claims import CLAIMS
from separatrix.studies.drgona2022.shares import counted, share
from separatrix.studies.drgona2022.table import Cases
from separatrix.studies.ledger import Finding
from separatrix.studies.measurement import Accept, Baseline, Measurement, at_least, at_most, between, near

TARGETS = {claim.id: claim.numbers for claim in CLAIMS}

CHORD_ONE = ("relu", "gelu", "tanh")
"""Activations with s(0) = 0 and chords of at most one."""


def every(
    what: str,
    found: Cases,
    holds: np.ndarray,
    which: np.ndarray,
    other: tuple[str, np.ndarray] | None = None,
    accept: Accept | None = None,
) -> Measurement:
    """Share of networks in ``which`` of which something holds; those with undecided orbits are counted as lost."""
    base = None
    if other is not None:
        rest = holds[other[1] & found.known]
        base = Baseline(other[0], float(rest.mean())) if rest.size else None
    sample = holds[which & found.known]
    lost = int((which & ~found.known).sum())
    return counted(what, sample, lost=lost, baseline=base, accept=accept or at_least(1.0))


def one_attractor(found: Cases) -> Finding:
    """C2: products of layer norms below one, activations with chords of at most one."""
    below = found.product < 1 - 1e-12
    origin = found.single & (found["reach"] <= 1e-6)
    groups = {
        "one fixed point, at the origin: ReLU, tanh, GELU without bias": (origin, CHORD_ONE, False),
        "one fixed point: ReLU, tanh with bias": (found.single, ("relu", "tanh"), True),
        "no orbit leaves: GELU with bias": (~found.leaving, "gelu", True),
    }
    rows = []
    for name, (holds, activations, bias) in groups.items():
        mask = found.where(activation=activations, bias=bias)
        other = ("product of one or more", ~below & mask)
        rows.append(every(f"{name}; product of norms below one", found, holds, below & mask, other))
    return Finding("C2", rows)


def depth_power(found: Cases) -> Finding:
    """C3: the norm of A* against the product of the norms of the layers."""
    chords = np.array([known(a).chord_range[1] for a in ACTIVATIONS])[:, None, None]
    layers = np.array(DEPTHS)[None, :, None] + 1
    bound = found["product_2"] * chords**layers
    holds = found["norm_2"] <= bound * (1 + 1e-9)
    rows = [counted("‖A*‖₂ on the grid is at most the product", holds, accept=at_least(1.0, decisive=True))]
    for depth in DEPTHS:
        mask = found.where(("softSVD (0, 1)", "gershgorin (0, 1)"), CHORD_ONE, depth, False)
        with np.errstate(divide="ignore"):
            ratio = np.log(found["norm_2"]) / np.log(bound)
        rows.append(
            Measurement.of_samples(
                f"ln max ‖A*‖₂ over ln of the product, range (0, 1), no bias, n = {depth} (median)",
                [float(np.median(one[mask])) for one in ratio],
                target=1.0,
                accept=near(1.0, 0.1),
            )
        )
    mask = found.where("softSVD (0.99, 1)", "relu", 8, False)
    rows.append(
        Measurement.of_samples(
            "max ‖A*‖₂, softSVD (0.99, 1), ReLU, n = 8, no bias",
            found["norm_2"][:, mask].ravel(),
            baseline=Baseline("product of norms", float(bound[:, mask].mean())),
        )
    )
    return Finding("C3", rows)


def ball(found: Cases) -> Finding:
    """C6: where attractors are, with and without bias."""
    proved = np.isfinite(found["ball"]) & (found["attractors"] > 0)
    zero = proved & found.where(activation=("relu", "selu", "gelu", "tanh"))
    at = found["reach"] <= 1e-6
    inside = found["within"].astype(bool)
    rows = [
        every("at the origin, without bias (q < 1, s(0) = 0)", found, at, zero & found.where(bias=False)),
        every("elsewhere, with bias (q < 1, s(0) = 0)", found, ~at, zero & found.where(bias=True)),
        every("all attractors within the ball (q < 1)", found, inside, proved, accept=at_least(1.0, decisive=True)),
    ]
    dead = every("of those with bias, at the origin: ReLU", found, at, zero & found.where(activation="relu", bias=True))
    return Finding(
        "C6",
        rows,
        reason=f"Biases can switch the last layer of ReLU off wherever orbits go ({dead.value:.0%} of its networks): "
        "its output, and the attractor, is then the origin.",
    )


def certificates(found: Cases) -> Finding:
    """C7: counts of proofs, and whether orbits bear them out."""
    target = TARGETS["C7"]
    proved = found["contraction"].astype(bool)
    counts, bounds = proved.sum((1, 2, 3, 4)), found["bounded"].sum((1, 2, 3, 4))
    sigmoid = proved[:, found.where(activation="sigmoid")].sum(1)
    rows = [
        Measurement("contraction proved, fewest over seeds", float(counts.min()), n=found.seeds, target=target["least"],
                    accept=at_least(target["least"])),
        Measurement.of_samples("contraction proved, of 828", counts, target=target["contraction"],
                               accept=near(target["contraction"], 5)),
        Measurement.of_samples("boundedness proved, of 828", bounds, target=target["bounded"],
                               accept=near(target["bounded"], 5)),
        Measurement.of_samples("of them with sigmoid, of 138", sigmoid, target=target["sigmoid"],
                               accept=near(target["sigmoid"], 0)),
        Measurement("largest number of limits from many starts where contraction is proved",
                    float(found["limits"][proved].max()), n=int(proved.sum()), of="networks", target=1.0,
                    accept=between(1, 1, decisive=True)),
        every("no orbit leaves where boundedness is proved", found, ~found.leaving, found["bounded"].astype(bool),
              accept=at_least(1.0, decisive=True)),
    ]  # fmt: skip
    return Finding("C7", rows)


def necessary(found: Cases) -> Finding:
    """C8: networks that attract every start to one fixed point though no product of norms is below one."""
    above = (found.product >= 1) & found.known
    mask = found.where(activation=CHORD_ONE)
    row = share(
        "one fixed point attracts all starts, product of one or more in all three norms (ReLU, GELU, tanh)",
        found.single[above & mask],
        target=0.0,
        baseline=Baseline("product below one", float(found.single[~above & mask & found.known].mean())),
        accept=at_most(0.0, contrary=(0.0, 1.01)),
    )
    return Finding("C8", [row], reason="A sufficient condition says nothing where it fails.")


def unit_disc(found: Cases) -> Finding:
    """C9: maps whose spectral radius is below one on the grid."""
    inside = found["radius"] < 1 - 1e-9
    rows = []
    for activation in ACTIVATIONS:
        mask = found.where(activation=activation)
        if (inside & mask & found.known).any():
            what = f"one fixed point attracts all starts, ρ(A*) < 1 on the grid, {NAMES[activation]}"
            rows.append(every(what, found, found.single, inside & mask, ("ρ(A*) ≥ 1 somewhere", ~inside & mask)))
    reason = (
        "On the square the chords of softplus and GELU are still below one; farther out they come up to it, and orbits "
        "leave where the picture ends. GELU with bias has several fixed points though ρ(A*) < 1."
    )
    return Finding("C9", rows, reason=reason)


def layer_radii(found: Cases) -> Finding:
    """C18: layers with spectral radii below one, and chords of at most one."""
    mask = found.where(activation=(*CHORD_ONE, "sigmoid", "softplus"))
    sample = (found["radius"] < 1)[(found["layer_modulus_hi"] < 1) & mask]
    what = "ρ(A*) < 1 on the grid, all layers with spectral radius below one, chords of at most one"
    return Finding("C18", [counted(what, sample, accept=at_least(1.0))])
