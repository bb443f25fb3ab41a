"""Numbers that may foretell errors and margins of a classifier: higher is meant to be worse."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from separatrix.studies.storm2024.digit_looks import Look

EXPONENT, READOUT = "λ₁, last hidden layer", "λ₁, logits"
ENTROPY, CONFIDENCE = "softmax entropy", "1 − largest probability"
LOSS, GAP = "gradient of the loss", "gap over its gradient"
ENSEMBLE = "predictive entropy"

MEANINGS = {
    EXPONENT: "first exponent at the last hidden layer of the member",
    READOUT: "first exponent at the logits of the member",
    ENTROPY: "entropy of the member's softmax",
    CONFIDENCE: "one less its largest probability",
    LOSS: "norm of the gradient, by the image, of the cross entropy at the predicted class",
    GAP: "gap between the two largest logits over the norm of its gradient, sign turned: the distance at which a "
    "linear classifier would switch",
    ENSEMBLE: "entropy of the mean softmax of all members",
}
"""What is compared, in the order of the figures."""


def scores(look: Look, member: int) -> dict[str, np.ndarray]:
    """All of them for one member, each (image,)."""
    logits = look.logits[member].double()
    log = torch.log_softmax(logits, 1)
    top = log.topk(2, dim=1).indices
    # 1 - P by the other classes: the difference itself loses its digits where P is near 1
    rest = log.scatter(1, top[:, :1], -torch.inf).logsumexp(1)
    loss, gap, slope = slopes(look.members[member], look.X, top)
    return {
        EXPONENT: look.hidden[member],
        READOUT: look.readout[member],
        ENTROPY: -(log.exp() * log).sum(1).numpy(),
        CONFIDENCE: rest.numpy(),
        LOSS: loss.log().numpy(),
        GAP: -(gap / slope).numpy(),
        ENSEMBLE: look.entropy,
    }


def slopes(net: nn.Module, X: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Norms of gradients by the image: of the cross entropy at the first class; and gap of two logits with its norm.

    ``top``, shape (image, 2), holds the two classes.
    """
    with torch.enable_grad():
        at = X.detach().requires_grad_()
        logits = net(at)
        ahead, behind = logits.gather(1, top).T
        gap = ahead - behind
        losses = torch.nn.functional.cross_entropy(logits.double(), top[:, 0], reduction="sum")
        (by_gap,) = torch.autograd.grad(gap.sum(), at, retain_graph=True)
        (by_loss,) = torch.autograd.grad(losses, at)
    norms = [slope.double().norm(dim=1).clamp_min(1e-300) for slope in (by_loss, by_gap)]
    return norms[0], gap.detach().double(), norms[1]
