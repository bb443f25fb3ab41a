"""Elementwise activations with their first and second derivatives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from separatrix.systems.activations import closed_form, tanh


def value_slope_bend(activation: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value f(z), slope f'(z) and second derivative f''(z) of an elementwise activation.

    Closed forms for tanh, sigmoid, ReLU, softplus and sine; reverse mode twice for all others. At a kink each is what
    autograd takes.
    """
    match _form(activation):
        case "identity":
            return z, torch.ones_like(z), torch.zeros_like(z)
        case "tanh":
            y = tanh(z)
            slope = torch.addcmul(y.new_ones(()), y, y, value=-1)
            return y, slope, -2 * y * slope
        case "sigmoid":
            y = torch.sigmoid(z)
            slope = torch.addcmul(y, y, y, value=-1)
            return y, slope, (1 - 2 * y) * slope
        case "relu":
            # NaN goes through, unlike with heaviside
            return torch.clamp_min(z, 0), (z > 0).to(z.dtype), torch.zeros_like(z)
        case "softplus":
            assert isinstance(activation, nn.Softplus)
            beta, threshold = activation.beta, activation.threshold
            part = torch.sigmoid(beta * z)
            beyond = beta * z > threshold  # torch goes over to z there
            slope = torch.where(beyond, 1.0, part)
            return activation(z), slope, torch.where(beyond, 0.0, beta * part * (1 - part))
        case "sin":
            y = torch.sin(z)
            return y, torch.cos(z), -y
    return _by_autograd(activation, z)


def _form(activation: Callable[[Tensor], Tensor]) -> str | None:
    if isinstance(activation, nn.Identity):
        return "identity"
    if type(activation) is nn.Softplus:
        return "softplus"
    if activation in (torch.sin, Tensor.sin):
        return "sin"
    return closed_form(activation)


def _by_autograd(activation: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    with torch.inference_mode(False), torch.enable_grad():
        x = z.detach().clone().requires_grad_()
        # in-place activations may overwrite their argument: give them a copy
        y = activation(x.clone())
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True, materialize_grads=True)
        if not slope.requires_grad:
            return y.detach(), slope.detach(), torch.zeros_like(z)
        (bend,) = torch.autograd.grad(slope.sum(), x, materialize_grads=True)
    return y.detach(), slope.detach(), bend.detach()
