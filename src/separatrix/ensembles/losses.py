"""Loss of each member, and its derivative by that member's outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss of (output, target) with one number as its value, averaged over the batch."""


def losses_and_slopes(loss: Loss, outputs: Tensor, target: Tensor, private: bool) -> tuple[Tensor, Tensor]:
    """Loss of each member, (member,), and its derivative by the outputs, (member, batch, ...).

    Closed forms for the plain mean squared error and the plain cross entropy of class numbers; autograd for others.
    """
    kind = _plain(loss)
    if kind == "mse" and outputs.shape[1:] == target.shape[int(private) :]:
        residual = outputs - target
        size = residual[0].numel()
        return residual.square().flatten(1).mean(1), residual.mul_(2 / size)
    if kind == "cross entropy" and outputs.ndim == 3 and not target.is_floating_point():
        log = F.log_softmax(outputs, -1)
        chosen = target.expand(outputs.shape[:2])[..., None]
        losses = -log.gather(-1, chosen)[..., 0].mean(1)
        slopes = log.exp_().scatter_add_(-1, chosen, log.new_full((), -1.0).expand(chosen.shape))
        return losses, slopes.div_(outputs.shape[1])
    with torch.enable_grad():
        outputs = outputs.detach().requires_grad_()
        losses = torch.vmap(loss, in_dims=(0, 0 if private else None))(outputs, target)
        (slopes,) = torch.autograd.grad(losses.sum(), outputs)
    return losses.detach(), slopes


def _plain(loss: Loss) -> str | None:
    if loss is F.mse_loss or (type(loss) is nn.MSELoss and loss.reduction == "mean"):
        return "mse"
    plain = type(loss) is nn.CrossEntropyLoss and (
        loss.reduction == "mean" and loss.weight is None and loss.label_smoothing == 0 and loss.ignore_index == -100
    )
    return "cross entropy" if plain or loss is F.cross_entropy else None
