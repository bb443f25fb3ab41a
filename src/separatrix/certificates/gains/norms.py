"""The norm that a proof is about: its values, its name in words, its balls."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.certificates.certificate import Region
from separatrix.certificates.gains.gain import Gain
from separatrix.certificates.problem import Proof
from separatrix.certificates.verified import UP


def distance(proof: Proof, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """The norm of vectors, in floating point."""
    if proof.norm == "inf":
        return x.abs().amax(-1)
    if proof.norm == "1":
        return x.abs().sum(-1)
    return Gain("", proof.norm, 0.0, proof.data.get("weights"), proof.data.get("P")).of(x)


def reach(proof: Proof, n: int) -> Float[Tensor, " n"]:
    """Bounds of the components of all vectors in the ball of a proof's bound."""
    radius = float(proof.bound or 0.0)
    if proof.norm in ("1", "inf"):
        return torch.full((n,), radius, dtype=torch.float64)
    return radius * Gain("", proof.norm, 0.0, proof.data.get("weights"), proof.data.get("P")).reach(n) * UP


def in_words(proof: Proof) -> str:
    """What the norm is, for a sentence."""
    if proof.norm == "P":
        return "|x|_P = sqrt(x'Px)"
    weights = proof.data.get("weights")
    if proof.norm in ("weighted inf", "weighted 1") and weights is not None:
        plain = proof.norm.removeprefix("weighted ")
        if bool((weights == 1).all()):
            return f"the {plain}-norm"
        return "the norm max |x_i|/w_i" if plain == "inf" else "the norm sum w_i |x_i|"
    return f"the {proof.norm}-norm"


def ball(proof: Proof, centre: Tensor) -> Region | None:
    """The ball of the proof's bound about a centre, where it is an ellipsoid or a box."""
    n, radius = len(centre), proof.bound
    none = torch.zeros(0, n, dtype=torch.float64)
    eye = torch.eye(n, dtype=torch.float64)
    if radius is None:
        return None
    if proof.norm in ("P", "2"):
        P = proof.data.get("P")
        return Region(eye if P is None else P, centre, radius**2, none, none)
    if proof.norm in ("inf", "weighted inf"):
        weights = proof.data.get("weights")
        side = radius * (torch.ones(n, dtype=torch.float64) if weights is None else weights)
        # an ellipsoid of a negative level is empty
        return Region(eye, centre, -1.0, (centre - side)[None], (centre + side)[None])
    return None
