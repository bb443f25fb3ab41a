"""Where members start: seeds, and schemes of initial weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from separatrix.results.errors import ArgumentError

Initialise = str | Callable[[nn.Module], None]


def gaussian(module: nn.Module, *, gain: float = 1.0, bias_std: float = 0.0, first_fan: int | None = None) -> None:
    """Draw weights from N(0, gain / fan-in), and biases from N(0, bias_std^2), in place.

    The scheme of Storm et al., Phys. Rev. Lett. 132, 057301 (2024); with random thresholds for networks whose hidden
    layers stay random, since without them a network of odd activations is odd.

    Parameters
    ----------
    module : nn.Module
        Every parameter of two or more dimensions counts as a weight (first dimension: outputs), every other one whose
        name ends in "bias" as a bias. The rest (scales of normalisations) is left alone.
    gain : float
        Variance times fan-in.
    bias_std : float
        Standard deviation of the biases; 0 puts them at zero.
    first_fan : int, optional
        What stands for the fan-in of the first weight, which the letter leaves open: N instead of the number of inputs.
    """
    first = True
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2:
            fan = first_fan if first and first_fan is not None else parameter[0].numel()
            nn.init.normal_(parameter, std=(gain / fan) ** 0.5)
            first = False
        elif name.endswith("bias"):
            _bias(parameter, bias_std)


def glorot(module: nn.Module) -> None:
    """Draw weights from Glorot's uniform distribution and put biases at zero, in place; the default of Keras.

    Glorot, Bengio, AISTATS 2010, eq. 16. Parameters are told apart as in :func:`gaussian`.
    """
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def _bias(parameter: Tensor, std: float) -> None:
    nn.init.normal_(parameter, std=std) if std else nn.init.zeros_(parameter)


SCHEMES: dict[str, Callable[[nn.Module], None]] = {"torch": lambda module: None, "glorot": glorot, "gaussian": gaussian}


def scheme(initialise: Initialise) -> Callable[[nn.Module], None]:
    """Look up a scheme of initial weights by name; a function of a module is its own."""
    if callable(initialise):
        return initialise
    if initialise not in SCHEMES:
        raise ArgumentError("initialise", repr(initialise), f"choose from {', '.join(SCHEMES)}, or give a function")
    return SCHEMES[initialise]


def make_members(
    factory: Callable[[], nn.Module], seeds: Iterable[int], initialise: Initialise = "torch"
) -> list[nn.Module]:
    """Make one network per seed: seed, call the factory, draw its weights. The caller's random numbers are left alone.

    Raises
    ------
    ArgumentError
        If the factory gives no module, or the same module twice.
    """
    draw = scheme(initialise)
    found: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in seeds:
            torch.manual_seed(seed)
            member = factory()
            if not isinstance(member, nn.Module):
                raise ArgumentError(
                    "factory", f"a function that returns {type(member).__name__}", "return an nn.Module"
                )
            if any(member is other for other in found):
                raise ArgumentError(
                    "factory", "a function that returns one module twice", "build a new one at each call"
                )
            draw(member)
            found.append(member)
    return found
