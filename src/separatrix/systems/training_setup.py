"""What a training is made of: the network, the optimizer's map, and the way to derivatives of the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError
from separatrix.systems import modes
from separatrix.systems.batches import Batches
from separatrix.systems.hessian_blocks import BlockDerivatives
from separatrix.systems.initial_weights import fresh
from separatrix.systems.loss_derivatives import METHODS, Autodiff, Derivatives
from separatrix.systems.optim.convert import from_torch
from separatrix.systems.optim.rule import Optimizer
from separatrix.systems.squared_error import squared_factor
from separatrix.systems.three_layers import three_layers
from separatrix.systems.weights import WeightPlaces

_AGREEMENT = {torch.float64: 1e-8, torch.float32: 1e-3}


def choose_derivatives(
    network: nn.Module, places: WeightPlaces, loss: Any, batches: Batches, method: str, mask_seed: int, budget: int
) -> tuple[Derivatives, Autodiff]:
    """Take the fastest way to derivatives that works, and autograd's, with which it was compared.

    Raises
    ------
    ArgumentError
        If network, data and loss do not fit together, or the method asked for does not work.
    """
    theta = places.vector(network)[None]
    theta = theta + 0.01 * modes.probe(theta, 1)  # at zero weights much would agree
    autodiff = _autodiff(network, places, loss, batches, method, mask_seed, theta)
    if method in METHODS:
        return autodiff, autodiff
    factor = squared_factor(loss)
    X, _ = batches.at(0)
    if factor is not None and not autodiff.random:
        found = three_layers(network, X, places.slices, factor)
        if found is not None and batches.widths == {((found.inputs,), (found.outputs,))}:
            blocks = BlockDerivatives(found, batches)
            if _agree(blocks, autodiff, theta, budget):
                return blocks, autodiff
    if method == "blocks":
        raise ArgumentError(
            "method",
            "'blocks'",
            "these are for a linear layer, an elementwise activation, a linear layer and perhaps an activation, "
            "with mse_loss or half_squared_error and targets (rows, outputs); use 'auto'",
        )
    return autodiff, autodiff


def _autodiff(
    network: nn.Module, places: WeightPlaces, loss: Any, batches: Batches, method: str, mask_seed: int, theta: Tensor
) -> Autodiff:
    ways = (method,) if method in METHODS else METHODS
    for way in ways:
        autodiff = Autodiff(network, places, loss, batches, way, mask_seed)
        try:
            autodiff.prepare(theta)
        except ArgumentError as error:
            # what vmap cannot do may be done member by member
            if error.argument != "method" or way == ways[-1]:
                raise
        else:
            break
    return autodiff


def _agree(blocks: BlockDerivatives, autodiff: Autodiff, theta: Tensor, budget: int) -> bool:
    """Compare gradient and Hessian on one member, at the first batch."""
    V = modes.probe(theta, 0)[None]
    results = []
    for way in (blocks, autodiff):
        gradient, product = way.linearise(theta, 0, budget)
        results.append(torch.cat([gradient, product(V)[0]]))
    return bool((results[0] - results[1]).norm() <= _AGREEMENT[theta.dtype] * results[1].norm())


def network_of(model: Any) -> nn.Module:
    """Network to look at: the one that was given, or one that the function builds.

    Raises
    ------
    ArgumentError
        If there is no network, or it has batch statistics in train mode.
    """
    if isinstance(model, type) or not callable(model):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ArgumentError("model", got, "give an instance of nn.Module, or a function that builds one")
    if isinstance(model, nn.Module):
        network = unwrapped(model)
        _refuse_statistics(network)
        return network
    try:
        network = fresh(model, 0, "torch")
    except TypeError as error:
        raise ArgumentError("model", f"a function that fails without arguments ({error})", "build a network") from error
    if not isinstance(network, nn.Module):
        raise ArgumentError("model", f"a function that returns {type(network).__name__}", "return an nn.Module")
    _refuse_statistics(network)
    return network


def unwrapped(model: Any) -> nn.Module:
    """Return what a compiled or parallel network was made of."""
    while (inner := getattr(model, "_orig_mod", None)) is not None or isinstance(model, nn.DataParallel):
        model = model.module if inner is None else inner
    return model


def rule_of(optimizer: Any, network: nn.Module) -> tuple[Optimizer, list[str] | None]:
    """Optimizer as a map, and the names of what it trains where it says so itself.

    Raises
    ------
    ArgumentError
        If it is no optimizer, has no map, or holds other parameters than the network's.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer, None
    if not isinstance(optimizer, torch.optim.Optimizer):
        got = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
        remedy = "give one of sx.optim, such as sx.optim.Adam(lr=0.001), or of torch.optim"
        raise ArgumentError("optimizer", got, remedy)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    foreign = held - {id(p) for p in network.parameters()}
    chosen = {name: p for name, p in network.named_parameters() if p.requires_grad and id(p) in held}
    if foreign or not chosen:
        got = f"{len(foreign)} parameters that are not this model's" if foreign else "frozen parameters only"
        raise ArgumentError("optimizer", got, "build it on model.parameters(), or give one of sx.optim")
    return from_torch(optimizer, parameters=chosen.values()), list(chosen)


def _refuse_statistics(network: nn.Module) -> None:
    for name, part in network.named_modules():
        batch_norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        tracked = getattr(part, "track_running_stats", False)
        if (part.training and (batch_norm or tracked)) or (batch_norm and part.running_mean is None):
            raise ArgumentError(
                "model",
                f"{type(part).__name__} {name!r} with batch statistics",
                "they are a memory beside the weights: call .eval() on that part (its running statistics then stay), "
                "or use GroupNorm or LayerNorm",
            )
