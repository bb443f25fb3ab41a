"""An optimizer of ``torch.optim`` read as a map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from separatrix.results.errors import ArgumentError
from separatrix.systems.optim.adaptive import Adam, AdamW, RMSprop
from separatrix.systems.optim.momentum import GradientDescent, HeavyBall, Nesterov
from separatrix.systems.optim.rule import Optimizer
from separatrix.systems.optim.settings import PerWeight

_NUMBERS = {
    torch.optim.SGD: ("lr", "momentum", "dampening", "weight_decay"),
    torch.optim.Adam: ("lr", "betas", "eps", "weight_decay"),
    torch.optim.AdamW: ("lr", "betas", "eps", "weight_decay"),
    torch.optim.RMSprop: ("lr", "alpha", "eps", "weight_decay", "momentum"),
}
_FLAGS = ("nesterov", "amsgrad", "decoupled_weight_decay", "centered", "maximize")
_MEMORY = {
    "momentum": ("momentum_buffer", "exp_avg"),
    "second_moment": ("exp_avg_sq", "square_avg"),
    "mean_gradient": ("grad_avg",),
}


def from_torch(
    optimizer: torch.optim.Optimizer, *, lr: Any = None, parameters: Iterable[Tensor] | None = None
) -> Optimizer:
    """Read an optimizer of ``torch.optim`` as a map; it is not changed.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        An SGD, Adam, AdamW or RMSprop. Its memory is not read: see ``Training.state_of``.
    lr : float, sequence of float, or callable, optional
        Stands for the optimizer's own rate; needed where a scheduler changes that.
    parameters : iterable of Tensor, optional
        The order of the weights in a state, where groups differ: numbers then become tensors with one for each weight.
        By default the order of the groups.

    Returns
    -------
    Optimizer
        :class:`GradientDescent`, :class:`HeavyBall`, :class:`Nesterov`, :class:`Adam`, :class:`AdamW` or
        :class:`RMSprop`. ``foreach``, ``fused``, ``capturable`` and ``differentiable`` make no difference.

    Raises
    ------
    ArgumentError
        For any other optimizer (LBFGS and SparseAdam do not treat every weight alone), a subclass, ``amsgrad``, a
        scheduler without ``lr=`` or one that changes the momentum too (``OneCycleLR``, ``CyclicLR``), groups that
        differ in more than numbers, and parameters that are in no group.
    """
    kind = type(optimizer)
    if kind not in _NUMBERS:
        known = ", ".join(k.__name__ for k in _NUMBERS)
        got = kind.__name__ if isinstance(optimizer, torch.optim.Optimizer) else f"{kind.__name__}, no optimizer"
        raise ArgumentError("optimizer", got, f"give a torch.optim {known}, or one of sx.optim")
    groups = optimizer.param_groups
    if lr is None and any("initial_lr" in group and "max_momentum" not in group for group in groups):
        raise ArgumentError(
            "optimizer",
            f"{kind.__name__} with a learning-rate scheduler",
            "say what it does: from_torch(optimizer, lr=...) with a function of the step t, or a list",
        )
    if not isinstance(lr, int | float) and any("max_momentum" in group for group in groups):
        raise ArgumentError(
            "optimizer",
            f"{kind.__name__} with a schedule that changes its momentum",
            "maps have one momentum: give the schedule cycle_momentum=False, or measure with sx.Monitor",
        )
    flags = {}
    for name in _FLAGS:
        values = {bool(group.get(name, False)) for group in groups}
        if len(values) > 1:
            raise ArgumentError("optimizer", f"groups that differ in {name}", "groups may differ in numbers only")
        flags[name] = values.pop()
    if flags["amsgrad"]:
        raise ArgumentError(
            "optimizer", f"{kind.__name__} with amsgrad=True", "its maximum has no map here: use amsgrad=False"
        )
    owned = _places(groups, parameters)
    settings = {name: _spread(name, groups, owned) for name in _NUMBERS[kind] if name != "betas"}
    settings["maximize"] = flags["maximize"]
    if lr is not None:
        settings["lr"] = lr
    elif isinstance(settings["lr"], Tensor):
        settings["lr"] = PerWeight(settings["lr"])
    if kind is torch.optim.RMSprop:
        return RMSprop(**settings, centered=flags["centered"])
    if kind is not torch.optim.SGD:
        pairs = [[{**group, "beta": float(group["betas"][i])} for group in groups] for i in (0, 1)]
        settings["betas"] = tuple(_spread("beta", pair, owned) for pair in pairs)
        decoupled = kind is torch.optim.AdamW or flags["decoupled_weight_decay"]
        return AdamW(**settings) if decoupled else Adam(**settings)
    if flags["nesterov"]:
        del settings["dampening"]  # torch insists that it is zero
        return Nesterov(**settings)
    if isinstance(settings["momentum"], float) and settings["momentum"] == 0:
        return GradientDescent(settings["lr"], settings["weight_decay"], settings["maximize"])
    return HeavyBall(**settings)


def memory_of(optimizer: torch.optim.Optimizer, parameter: Tensor, part: str) -> Tensor | None:
    """Read what an optimizer of torch remembers of a parameter, by the name of the part; None where it is empty."""
    held = optimizer.state.get(parameter, {})
    names = _MEMORY.get(part, ())
    if isinstance(optimizer, torch.optim.RMSprop) and part == "momentum":
        names = ("momentum_buffer",)
    return next((held[name] for name in names if isinstance(held.get(name), Tensor)), None)


def _places(groups: list[dict[str, Any]], parameters: Iterable[Tensor] | None) -> list[tuple[int, int, torch.device]]:
    """Group, size and device of every parameter, in the order of a state."""
    group_of = {id(p): i for i, group in enumerate(groups) for p in group["params"]}
    order = list(parameters) if parameters is not None else [p for group in groups for p in group["params"]]
    missing = [tuple(p.shape) for p in order if id(p) not in group_of]
    if missing:
        raise ArgumentError("parameters", f"some that the optimizer does not have, of shapes {missing}", "add them")
    return [(group_of[id(p)], p.numel(), p.device) for p in order]


def _spread(name: str, groups: list[dict[str, Any]], owned: list[tuple[int, int, torch.device]]) -> Any:
    """One number where all groups agree, otherwise one for each weight."""
    values = [float(group[name]) for group in groups]
    used = {values[place] for place, _, _ in owned}
    if len(used) <= 1:
        return used.pop() if used else values[0]
    return torch.cat([torch.full((size,), values[p], dtype=torch.float64, device=device) for p, size, device in owned])
