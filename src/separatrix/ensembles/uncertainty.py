"""What an ensemble of classifiers does not know: entropy of the mean prediction, and how members disagree."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from separatrix.results.errors import ArgumentError


def predictive_entropy(logits: Float[Tensor, "member *batch classes"]) -> Float[Tensor, "*batch"]:
    """Entropy of the members' mean prediction, in nats.

    H = -sum_c P_c ln P_c, where P is the mean over members of their softmax (Storm et al., Phys. Rev. Lett. 132, 057301
    (2024), Fig. 4). Between 0 and ln(classes).

    Parameters
    ----------
    logits : Tensor, shape (member, *batch, classes)
        Values before the softmax; computed in float64.

    Raises
    ------
    ArgumentError
        If there are fewer than two classes, or values that are not finite.
    """
    _check(logits)
    mean = torch.log_softmax(logits.double(), -1).logsumexp(0) - torch.log(torch.tensor(len(logits)).double())
    return _entropy(mean)


def mutual_information(logits: Float[Tensor, "member *batch classes"]) -> Float[Tensor, "*batch"]:
    """Mutual information between prediction and member, in nats: the entropy of the mean less the mean entropy.

    The part of the predictive entropy that comes from disagreement between members (Houlsby et al., 2011); between 0
    and the smaller of ln(members) and ln(classes).

    Parameters
    ----------
    logits : Tensor, shape (member, *batch, classes)
        Values before the softmax; computed in float64.

    Raises
    ------
    ArgumentError
        If there are fewer than two classes, or values that are not finite.
    """
    _check(logits)
    own = _entropy(torch.log_softmax(logits.double(), -1)).mean(0)
    # never negative but for rounding (Jensen)
    return (predictive_entropy(logits) - own).clamp_min(0)


def _entropy(log: Tensor) -> Tensor:
    # 0 ln 0 = 0
    return -torch.where(log.isneginf(), 0.0, log.exp() * log).sum(-1)


def _check(logits: Tensor) -> None:
    if logits.ndim < 2 or logits.shape[-1] < 2 or not len(logits):
        raise ArgumentError(
            "logits", f"shape {tuple(logits.shape)}", "give (member, ..., classes) with at least two classes"
        )
    if not torch.isfinite(logits).all():
        raise ArgumentError("logits", "values that are not finite", "leave out members that diverged")
